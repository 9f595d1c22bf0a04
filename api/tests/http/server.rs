//! A router with a database of its own.

use std::path::Path;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use millrace_api::state::AppState;
use millrace_common::config::{Config, Secret};
use millrace_common::store::{KeyTerms, NewBatch};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        assert!(self.headers["content-type"].to_str().unwrap().contains("application/json"), "{self:?}");
        serde_json::from_slice(&self.bytes).unwrap()
    }

    /// The body of a 200.
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()
    }

    /// Status and code of a v3 refusal.
    pub fn refusal(&self) -> (u16, String, Option<String>) {
        let body = self.json();
        let path = body["errors"][0]["source_path"].as_str().map(str::to_owned);
        (self.status, body["error"]["code"].as_str().unwrap_or_default().to_owned(), path)
    }
}

pub struct Server {
    pub state: AppState,
    pub router: Router,
    /// Key of the tenant `acme`.
    pub key: String,
    pub key_id: Uuid,
    /// Key of the tenant `other`.
    pub other_key: String,
    database: String,
    maintenance: String,
}

impl Server {
    /// `None` when there is no database to test with.
    pub async fn start() -> Option<Self> {
        Self::start_with(|_| {}).await
    }

    /// As [`Server::start`], with settings of the test's own.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Option<Self> {
        let Ok(maintenance) = std::env::var("MRT_DATABASE_URL") else {
            eprintln!("MRT_DATABASE_URL is not set: nothing is tested");
            return None;
        };
        let database = format!("mrt_api_{}", Uuid::new_v4().simple());
        sql(&maintenance, &format!("CREATE DATABASE {database}")).await;
        let mut config = Config::default();
        let (base, query) = maintenance.split_once('?').unwrap_or((&maintenance, ""));
        let (server, _) = base.rsplit_once('/').unwrap();
        config.database.url = Secret::new(format!("{server}/{database}?{query}"));
        config.broker.url = Secret::new("amqp://127.0.0.1:1/%2f");
        config.limits.service_bytes = 1_000_000;
        change(&mut config);
        let state = AppState::start(config, &CancellationToken::new()).unwrap();
        state.store.migrate().await.unwrap();
        state.store.check_schema().await.unwrap();
        state.set_ready(true);
        let quotas = &state.config.tenants;
        state.store.create_tenant("acme", quotas).await.unwrap();
        state.store.create_tenant("other", quotas).await.unwrap();
        let key = state.store.create_key("Acme", &owned_by("ann")).await.unwrap();
        let other = state.store.create_key("other", &owned_by("olaf")).await.unwrap();
        Some(Self {
            router: millrace_api::router(state.clone()),
            state,
            key: key.secret.expose().to_owned(),
            key_id: key.id,
            other_key: other.secret.expose().to_owned(),
            database,
            maintenance,
        })
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        // A stream of events has no end.
        let streams = parts.headers.get("content-type").is_some_and(|media| media == "text/event-stream");
        let bytes = match streams {
            true => Vec::new(),
            false => body.collect().await.unwrap().to_bytes().to_vec(),
        };
        Answer { status: parts.status.as_u16(), headers: parts.headers, bytes }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path).body(Body::empty()).unwrap()).await
    }

    /// A request of `acme`.
    pub fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1:8123")
            .header("x-tenant-name", "acme")
            .header("x-synthetic-key", &self.key)
    }

    /// Makes a folder as the Python SDK does.
    pub async fn create_folder(&self, name: &str) -> Answer {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("Name", name)
            .append_pair("Description", "A folder")
            .append_pair("Category", "Other")
            .append_pair("StartDate", "2026-01-01")
            .append_pair("LaunchDate", "2026-01-02T10:00:00.000Z")
            .append_pair("Status", "Design")
            .finish();
        let request = self
            .request(Method::POST, "/api/v1/product/create")
            .header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(form)).unwrap()).await
    }

    /// Uploads a file as the SDKs do.
    pub async fn upload(&self, folder: &str, service: &str, file_name: &str, content: &[u8]) -> Answer {
        let boundary = "b0undary";
        let mut body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"engineUploadRequestEntity\"\r\n\r\n\
             {{\"request_data\":{{\"version_difference\":\"minor\"}}}}\r\n--{boundary}\r\n\
             Content-Disposition: form-data; name=\"serviceFile\"; filename=\"{file_name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(content);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let request = self
            .request(Method::POST, &format!("/acme/api/v3/folders/{folder}/services/{service}/upload"))
            .header("content-type", format!("multipart/form-data; boundary={boundary}"));
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    /// Publishes an uploaded file.
    pub async fn publish(&self, folder: &str, service: &str, document: &Value, more: Value) -> Answer {
        let mut data = json!({
            "draft_service_name": service, "original_file_documentid": document, "engine_file_documentid": document,
            "version_difference": "minor", "should_trck_user_action": true, "version_label": null,
            "release_note": null, "tags": null,
        });
        for (name, value) in more.as_object().unwrap() {
            data[name] = value.clone();
        }
        let path = format!("/acme/api/v3/folders/{folder}/services/{service}/publish");
        self.post(&path, &json!({"request_data": data})).await
    }

    /// Uploads and publishes; the publication's answer.
    pub async fn release(&self, folder: &str, service: &str, content: &[u8], more: Value) -> Value {
        let name = if content.starts_with(b"PK") { "book.xlsx" } else { "formulas.json" };
        let uploaded = self.upload(folder, service, name, content).await.ok();
        let job = uploaded["response_data"]["nodegen_compilation_jobid"].as_str().unwrap();
        let path = format!("/acme/api/v3/folders/{folder}/services/{service}/getcompilationprogess/{job}");
        let progress = self.get(&path).await.ok();
        assert_eq!(
            progress["response_data"],
            json!({"status": "Success", "last_error_message": "null", "progress": 100})
        );
        let document = &uploaded["response_data"]["engine_file_documentid"];
        self.publish(folder, service, document, more).await.ok()
    }

    /// Batches of `acme` with these owners, made in the database: there is no broker here.
    pub async fn batches(&self, owners: &[&str]) -> Vec<Uuid> {
        self.create_folder("f").await.ok();
        let published = self.release("f", "s", &rectangle(), json!({})).await;
        let version_id = published["response_data"]["version_id"].as_str().unwrap().parse().unwrap();
        let service_id = published["response_meta"]["service_id"].as_str().unwrap().parse().unwrap();
        let tenant_id = self.state.store.tenant("acme").await.unwrap().unwrap().id;
        let mut ids = Vec::new();
        for owner in owners {
            let new = NewBatch {
                tenant_id,
                version_id,
                service_id,
                service_uri: "f/s[0.1.0]".to_owned(),
                version: "0.1.0".to_owned(),
                compiler_version: "x".to_owned(),
                created_by: (*owner).to_owned(),
                call_purpose: "test".to_owned(),
                correlation_id: Some(format!("of {owner}")),
                chunks_per_request: 1,
                runner_thread_count: 1,
                input_bytes: 1_000_000,
                output_bytes: 1_000_000,
                ..NewBatch::default()
            };
            ids.push(self.state.store.create_batch(&new).await.unwrap().batch.id);
        }
        ids
    }

    /// One statement on the test's own database.
    pub async fn sql(&self, statement: &str) {
        sql(self.state.config.database.url.expose(), statement).await;
    }

    /// As [`Server::sql`], when it may fail.
    pub async fn try_sql(&self, statement: &str) -> Result<(), tokio_postgres::Error> {
        let url = self.state.config.database.url.expose();
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute(statement).await
    }

    /// Drops the database.
    pub async fn stop(self) {
        let Self { state, router, database, maintenance, .. } = self;
        drop((state, router));
        sql(&maintenance, &format!("DROP DATABASE {database} WITH (FORCE)")).await;
    }
}

/// Terms of a key that names nothing but its owner.
pub fn owned_by(owner: &str) -> KeyTerms {
    KeyTerms { owner: owner.to_owned(), ..KeyTerms::default() }
}

/// One statement on the maintenance database.
async fn sql(url: &str, statement: &str) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(statement).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}

/// The sales workbook of the examples.
pub fn sales() -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/sales.xlsx")).unwrap()
}

/// A formula document with a subservice-free interface: `area` and `ratio` of two sides.
pub fn rectangle() -> Vec<u8> {
    json!({
        "name": "Rectangle",
        "inputs": [
            {"name": "width", "type": "number", "default": 2},
            {"name": "height", "type": "number", "default": 3, "description": "In metres"},
        ],
        "outputs": [
            {"name": "area", "formula": "width * height"},
            {"name": "ratio", "formula": "width / height"},
        ],
    })
    .to_string()
    .into_bytes()
}
