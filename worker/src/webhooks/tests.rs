//! What a sender sends, and where to, without a database: receivers on loopback, and a resolver that says what the test wants.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use millrace_common::config::WebhooksConfig;
use millrace_common::model::webhook::{Sealer, SigningSecret};
use millrace_common::store::Attempt;
use parking_lot::Mutex;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::rules;
use super::send::Sender;

/// Says one address after the other, whatever the name; the last one for ever.
#[derive(Debug)]
struct Script {
    addresses: Mutex<VecDeque<Vec<Ipv4Addr>>>,
    asked: Mutex<usize>,
}

impl Script {
    fn new(addresses: &[&[Ipv4Addr]]) -> Arc<Self> {
        let addresses = addresses.iter().map(|list| list.to_vec()).collect();
        Arc::new(Self { addresses: Mutex::new(addresses), asked: Mutex::new(0) })
    }
}

impl Resolve for Script {
    fn resolve(&self, _: Name) -> Resolving {
        *self.asked.lock() += 1;
        let mut addresses = self.addresses.lock();
        let now = if addresses.len() > 1 { addresses.pop_front() } else { addresses.front().cloned() };
        let now: Vec<SocketAddr> =
            now.unwrap_or_default().into_iter().map(|address| SocketAddr::from((address, 0))).collect();
        Box::pin(async move { Ok(Box::new(now.into_iter()) as Addrs) })
    }
}

/// Answers every connection with the same bytes, and then does nothing, or closes it.
struct Receiver {
    port: u16,
    /// Heads and bodies as they came.
    requests: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    async fn start(answer: &str) -> Self {
        // On every address of loopback, so that each of them could be reached.
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&requests), answer.to_owned());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (seen, answer) = (Arc::clone(&seen), answer.clone());
                tokio::spawn(async move {
                    let mut text = String::new();
                    let mut piece = [0; 4_096];
                    while !text.ends_with('}') {
                        match stream.read(&mut piece).await {
                            Ok(0) | Err(_) => break,
                            Ok(count) => text.push_str(&String::from_utf8_lossy(&piece[..count])),
                        }
                    }
                    seen.lock().push(text);
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { port, requests }
    }

    fn seen(&self) -> usize {
        self.requests.lock().len()
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Only this address of loopback is allowed.
const ALLOWED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const REFUSED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn config() -> WebhooksConfig {
    WebhooksConfig {
        allow_private: vec!["127.0.0.1/32".parse().unwrap()],
        timeout_ms: 10_000,
        ..WebhooksConfig::default()
    }
}

fn sender(script: &Arc<Script>) -> Sender {
    Sender::with_resolver(&config(), Arc::<Script>::clone(script)).unwrap()
}

fn attempt(url: &str) -> Attempt {
    let webhook_id = Uuid::from_u128(7);
    let secret = Sealer::new(None).seal(&SigningSecret::generate(), webhook_id).unwrap();
    Attempt {
        delivery_id: Uuid::from_u128(1),
        webhook_id: Some(webhook_id),
        tenant_id: Uuid::from_u128(2),
        url: url.to_owned(),
        host: String::new(),
        body: "{}".to_owned(),
        number: 1,
        secret: Some(secret),
        previous_secret: None,
    }
}

#[test]
fn a_receiver_may_ask_for_more_time_but_not_for_days() {
    let config = WebhooksConfig::default();
    let delay = |asked: Option<u64>| rules(&config, 1, asked.map(Duration::from_secs)).delay_seconds;
    assert!(delay(None) < 10.0);
    assert!(delay(Some(120)) >= 120.0);
    assert!(delay(Some(10_000_000)) <= 4.0 * 3_600.0 * 1.25);
}

#[tokio::test]
async fn a_name_that_is_rebound_to_a_private_address_is_not_called_there() {
    let receiver = Receiver::start(OK).await;
    let script = Script::new(&[&[ALLOWED], &[REFUSED], &[ALLOWED, REFUSED]]);
    let sender = sender(&script);
    let url = format!("http://rebound.example:{}/hook", receiver.port);
    // What was checked is what is called: one question for one connection.
    assert_eq!(sender.send(&attempt(&url)).await.error, None);
    assert_eq!((receiver.seen(), *script.asked.lock()), (1, 1));
    for _ in 0..2 {
        let sent = sender.send(&attempt(&url)).await;
        assert_eq!(
            sent.error.as_deref(),
            Some("the name resolves to 127.0.0.2: private, local and reserved addresses are refused")
        );
    }
    assert_eq!((receiver.seen(), *script.asked.lock()), (1, 3));
}

#[tokio::test]
async fn addresses_in_urls_are_checked_again_before_they_are_called() {
    let receiver = Receiver::start(OK).await;
    let script = Script::new(&[&[ALLOWED]]);
    let sender = sender(&script);
    for host in
        ["127.0.0.2", "[::1]", "[::ffff:127.0.0.2]", "0x7f000002", "0.0.0.0", "100.64.0.1", "169.254.169.254"]
    {
        let sent = sender.send(&attempt(&format!("http://{host}:{}/hook", receiver.port))).await;
        assert!(sent.error.as_ref().is_some_and(|error| error.contains("are refused")), "{host}: {sent:?}");
    }
    let sent = sender.send(&attempt("file:///etc/passwd")).await;
    assert!(sent.error.is_some_and(|error| error.contains("must begin with")));
    assert_eq!((receiver.seen(), *script.asked.lock()), (0, 0));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let target = Receiver::start(OK).await;
    for status in [301, 302, 303, 307, 308] {
        let answer = format!(
            "HTTP/1.1 {status} X\r\nlocation: http://127.0.0.1:{}/private\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            target.port
        );
        let receiver = Receiver::start(&answer).await;
        let script = Script::new(&[&[ALLOWED]]);
        let sent = sender(&script).send(&attempt(&format!("http://a.example:{}/hook", receiver.port))).await;
        assert_eq!((sent.status, receiver.seen()), (Some(status), 1));
        assert!(sent.error.is_some_and(|error| error.contains("redirects are not followed")));
    }
    assert_eq!(target.seen(), 0);
}

#[tokio::test]
async fn an_answer_is_read_to_a_bound_and_an_error_names_no_path() {
    // The head promises a gigabyte that never comes: after the bound nobody waits for it.
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n{}", "x".repeat(100_000));
    let receiver = Receiver::start(&answer).await;
    let script = Script::new(&[&[ALLOWED]]);
    let sent = sender(&script).send(&attempt(&format!("http://a.example:{}/hook", receiver.port))).await;
    assert_eq!((sent.status, sent.error), (Some(200), None));

    let unavailable = "HTTP/1.1 503 X\r\nretry-after: 77\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let receiver = Receiver::start(unavailable).await;
    let sent = sender(&script).send(&attempt(&format!("http://a.example:{}/hook", receiver.port))).await;
    assert_eq!((sent.status, sent.retry_after), (Some(503), Some(Duration::from_secs(77))));

    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let sent = sender(&script).send(&attempt(&format!("http://a.example:{port}/hook?token=hunter2"))).await;
    let error = sent.error.unwrap();
    assert!(error.contains("cannot be reached") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_message_without_a_readable_secret_is_not_sent() {
    let receiver = Receiver::start(OK).await;
    let script = Script::new(&[&[ALLOWED]]);
    let sender = sender(&script);
    let url = format!("http://a.example:{}/hook", receiver.port);
    let sealed = Sealer::new(Some(&[1; 32])).seal(&SigningSecret::generate(), Uuid::from_u128(7)).unwrap();
    for secret in [None, Some(sealed)] {
        let sent = sender.send(&Attempt { secret, ..attempt(&url) }).await;
        assert!(sent.error.is_some_and(|error| error.contains("secret")));
    }
    assert_eq!(receiver.seen(), 0);
}
