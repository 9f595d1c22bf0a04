//! A server of the batch calls for tests, in memory, with faults on demand. It doubles the column `n`.

// It is no part of the API: its routes are plain, and so are its refusals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_types)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use millrace_common::config::Secret;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::profile::Connection;

/// Faults to come, and what was seen.
#[derive(Debug, Default)]
pub struct World {
    /// Batches by id, in order of creation.
    pub batches: BTreeMap<String, Batch>,
    /// Statuses that the next pushes are answered with, instead of being done. 0: done, but the answer is a 503.
    pub push_faults: VecDeque<u16>,
    /// For the next reads: whether the answer gets lost.
    pub pull_losses: VecDeque<bool>,
    /// Results that one read gives at most.
    pub pull_chunks: usize,
    /// The most chunks that may be finished and not pulled; more pushes get 429.
    pub output_chunks: usize,
    /// After this many results were given, nothing is given any more until it is raised.
    pub give: Option<usize>,
    /// Chunks (by id) that fail.
    pub failing: BTreeSet<String>,
    /// Pushes that were answered with success.
    pub pushes: usize,
    /// Results given in all.
    pub given: usize,
}

/// One batch.
#[derive(Debug, Default)]
pub struct Batch {
    /// `in_progress`, `closed`, …
    pub state: String,
    chunks: BTreeMap<String, Value>,
    available: Vec<Value>,
    /// Results in the order in which they are read, and how many of them are acknowledged.
    order: Vec<Value>,
    acknowledged: usize,
    completed: u64,
    records: u64,
}

/// The server, shared with its test.
pub type Shared = Arc<Mutex<World>>;

/// Starts a server; gives a client for it too.
#[expect(clippy::disallowed_methods, reason = "these routes are the test's own")]
pub async fn start() -> (Shared, Client) {
    let world = Shared::default();
    {
        let mut world = world.lock();
        world.pull_chunks = 3;
        world.output_chunks = usize::MAX;
    }
    let app = Router::new()
        .route("/acme/api/v4/batch", post(create))
        .route("/acme/api/v4/batch/{id}", patch(change))
        .route("/acme/api/v4/batch/{id}/status", get(status))
        .route("/acme/api/v4/batch/{id}/chunks", post(push))
        .route("/acme/api/v4/batch/{id}/results", get(results))
        .route("/acme/api/v4/batch/{id}/results/ack", post(acknowledge))
        .with_state(Arc::clone(&world));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let connection = Connection { url, tenant: "acme".to_owned(), key: Secret::new("k"), ca: None };
    (world, Client::new(connection).unwrap())
}

fn refuse(status: u16, code: &str) -> Response {
    let body = json!({ "status": "Error", "error": { "code": code, "message": "by the test" } });
    (StatusCode::from_u16(status).unwrap(), [("x-retry-after", "0.01")], Json(body)).into_response()
}

impl Batch {
    /// A closed batch is completed once nothing of it is left.
    fn settle(&mut self) {
        if self.state == "closed" && self.outstanding() == 0 {
            self.state = "completed".to_owned();
        }
    }

    fn outstanding(&self) -> usize {
        self.available.len() + self.order.len() - self.acknowledged
    }

    fn status(&self) -> Value {
        json!({
            "batch_status": self.state, "pipeline_status": "running",
            "chunks_submitted": self.chunks.len(), "chunks_completed": self.completed,
            "chunks_available": self.outstanding(),
            "record_submitted": self.records, "records_completed": self.records,
        })
    }
}

async fn create(State(world): State<Shared>, Json(body): Json<Value>) -> Response {
    if body["service"] == "demo/unknown" {
        return refuse(404, "SERVICE_NOT_FOUND");
    }
    let mut world = world.lock();
    let id = format!("batch-{}", world.batches.len() + 1);
    let batch = Batch { state: "in_progress".to_owned(), ..Batch::default() };
    world.batches.insert(id.clone(), batch);
    Json(json!({ "object": "batch", "id": id, "data": { "service_uri": "demo/double[0.1.0]" } }))
        .into_response()
}

fn result_of(chunk: &Value, failing: bool) -> Value {
    let id = &chunk["id"];
    let rows = chunk["data"]["inputs"].as_array().unwrap();
    let records = rows.len() - 1;
    if failing {
        return json!({ "id": id, "outputs": [], "warnings": [], "errors": [{ "message": "it was told to fail" }],
                       "status": "failed", "size": records });
    }
    let column = rows[0].as_array().unwrap().iter().position(|name| name == "n").unwrap();
    let doubled = |row: &Value| match row[column].as_str().map(str::parse::<u64>) {
        Some(Ok(n)) => json!([row[column], 2 * n]),
        _ => json!([row[column], "#VALUE!"]),
    };
    let outputs: Vec<Value> =
        std::iter::once(json!(["n", "double"])).chain(rows[1..].iter().map(doubled)).collect();
    let errors = vec![Value::Null; records];
    json!({ "id": id, "outputs": outputs, "warnings": errors, "errors": errors, "status": "completed", "size": records })
}

async fn push(State(world): State<Shared>, Path(id): Path<String>, body: Bytes) -> Response {
    let mut world = world.lock();
    let fault = world.push_faults.pop_front();
    if let Some(status @ 1..) = fault {
        return refuse(status, "BY_ORDER");
    }
    let World { batches, failing, output_chunks, .. } = &mut *world;
    let Some(batch) = batches.get_mut(&id) else { return refuse(404, "BATCH_NOT_FOUND") };
    if batch.state != "in_progress" {
        return refuse(409, "BATCH_NOT_OPEN");
    }
    if batch.outstanding() >= *output_chunks {
        return refuse(429, "OUTPUT_BUFFER_FULL");
    }
    let body: Value = serde_json::from_slice(&body).unwrap();
    for chunk in body["chunks"].as_array().unwrap() {
        let chunk_id = chunk["id"].as_str().unwrap().to_owned();
        match batch.chunks.get(&chunk_id) {
            Some(known) if known == chunk => continue,
            Some(_) => return refuse(409, "CHUNK_CONFLICT"),
            None => {}
        }
        let result = result_of(chunk, failing.contains(&chunk_id));
        batch.records += chunk["data"]["inputs"].as_array().unwrap().len() as u64 - 1;
        batch.chunks.insert(chunk_id, chunk.clone());
        batch.completed += 1;
        batch.available.push(result);
    }
    let status = batch.status();
    world.pushes += 1;
    if fault == Some(0) {
        return refuse(503, "LOST_ANSWER");
    }
    Json(status).into_response()
}

async fn results(
    State(world): State<Shared>,
    Path(id): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let mut world = world.lock();
    let lost = world.pull_losses.pop_front().unwrap_or(false);
    let room = world.give.map_or(usize::MAX, |give| give.saturating_sub(world.given));
    let most = world.pull_chunks.min(room);
    let Some(batch) = world.batches.get_mut(&id) else { return refuse(404, "BATCH_NOT_FOUND") };
    if batch.state == "cancelled" {
        return refuse(409, "BATCH_CANCELLED");
    }
    let status = batch.status();
    let after = query.get("after").map_or(0, |cursor| cursor.parse().unwrap());
    let from = batch.acknowledged.max(after);
    // Last finished first: never the order of the input.
    while batch.order.len() < from + most
        && let Some(result) = batch.available.pop()
    {
        batch.order.push(result);
    }
    batch.settle();
    let to = batch.order.len().min(from + most);
    let data = batch.order[from..to].to_vec();
    if lost {
        return refuse(500, "LOST_ANSWER");
    }
    world.given += data.len();
    Json(json!({ "data": data, "next_cursor": to.to_string(), "has_more": false, "status": status }))
        .into_response()
}

async fn acknowledge(
    State(world): State<Shared>,
    Path(id): Path<String>,
    Json(body): Json<Value>,
) -> Response {
    let mut world = world.lock();
    let Some(batch) = world.batches.get_mut(&id) else { return refuse(404, "BATCH_NOT_FOUND") };
    let cursor: usize = body["cursor"].as_str().unwrap().parse().unwrap();
    assert!(cursor <= batch.order.len(), "what nobody has read cannot be acknowledged");
    batch.acknowledged = batch.acknowledged.max(cursor);
    batch.settle();
    Json(batch.status()).into_response()
}

async fn status(State(world): State<Shared>, Path(id): Path<String>) -> Response {
    match world.lock().batches.get(&id) {
        Some(batch) => Json(batch.status()).into_response(),
        None => refuse(404, "BATCH_NOT_FOUND"),
    }
}

async fn change(State(world): State<Shared>, Path(id): Path<String>, Json(body): Json<Value>) -> Response {
    match world.lock().batches.get_mut(&id) {
        Some(batch) => {
            if batch.state == "in_progress" || body["batch_status"] == "cancelled" {
                batch.state = body["batch_status"].as_str().unwrap().to_owned();
            }
            Json(batch.status()).into_response()
        }
        None => refuse(404, "BATCH_NOT_FOUND"),
    }
}
