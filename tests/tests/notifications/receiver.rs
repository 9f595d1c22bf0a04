//! A receiver of webhooks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

/// A message as it came.
#[derive(Debug, Clone)]
pub struct Message {
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Message {
    pub fn id(&self) -> &str {
        self.headers["webhook-id"].to_str().unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Checks the signature with the reference implementation of Standard Webhooks.
    pub fn verify(&self, secret: &str) -> Result<(), standardwebhooks::WebhookError> {
        standardwebhooks::Webhook::new(secret).unwrap().verify(&self.body, &self.headers)
    }
}

#[derive(Debug, Default)]
struct Shared {
    messages: Mutex<Vec<Message>>,
    /// Messages that get no answer at all, before the others do.
    ignored: AtomicUsize,
    /// Messages that get 500, before the others get 200.
    refused: AtomicUsize,
}

/// Keeps every message. It is gone when it is dropped.
#[derive(Debug)]
pub struct Receiver {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    pub async fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let routes = Router::new().route("/hook", post(receive)).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, shared, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn ignore(&self, messages: usize) {
        self.shared.ignored.store(messages, Ordering::SeqCst);
    }

    pub fn refuse(&self, messages: usize) {
        self.shared.refused.store(messages, Ordering::SeqCst);
    }

    pub async fn messages(&self) -> Vec<Message> {
        self.shared.messages.lock().await.clone()
    }

    /// Waits until this many messages came.
    pub async fn wait_for(&self, count: usize) -> Vec<Message> {
        let what = format!("{count} messages came");
        millrace_tests::wait_until(&what, millrace_tests::PATIENCE, || async {
            let messages = self.messages().await;
            Ok((messages.len() >= count).then_some(messages))
        })
        .await
        .unwrap()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    shared.messages.lock().await.push(Message { headers, body });
    let one_less = |count: &AtomicUsize| {
        count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    };
    if one_less(&shared.ignored) {
        std::future::pending::<()>().await;
    }
    if one_less(&shared.refused) { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
}
