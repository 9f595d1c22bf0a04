//! Job types, recipe types and datasets, as rows.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use tokio_postgres::NoTls;

use crate::server::{Answer, Server};

/// Recipe type `chain`: `b` follows `a`.
pub const CHAIN: i64 = 1;
/// Recipe type `outer`: sub-recipe `inner` of the type `chain` follows the job `a`.
pub const OUTER: i64 = 2;
/// A deprecated recipe type.
pub const DEPRECATED: i64 = 3;
/// A recipe type with a file as input.
pub const IMAGES: i64 = 4;
/// Dataset with a number `x`, three members.
pub const NUMBERS: i64 = 1;
/// The same without members.
pub const EMPTY: i64 = 2;
/// Dataset with a text `x`.
pub const TEXTS: i64 = 3;
/// Dataset with a number `v`, one member, and a global number `g`.
pub const OTHERS: i64 = 4;
/// Dataset with a text file.
pub const FILES: i64 = 5;

/// A job node.
pub fn job(dependencies: &[&str], input: &Value) -> Value {
    let dependencies: Vec<Value> = dependencies.iter().map(|name| json!({"name": name})).collect();
    json!({
        "dependencies": dependencies, "input": input,
        "node_type": {"node_type": "job", "job_type_name": "add", "job_type_version": "1.0.0", "job_type_revision": 1},
    })
}

/// The definition of `chain`, with these inputs.
pub fn chain(inputs: &Value) -> Value {
    json!({
        "input": {"json": inputs},
        "nodes": {
            "a": job(&[], &json!({"x": {"type": "recipe", "input": "x"}})),
            "b": job(&["a"], &json!({"x": {"type": "dependency", "node": "a", "output": "sum"}})),
        },
    })
}

/// A server with all of it.
pub async fn start() -> Option<Server> {
    let server = Server::start().await?;
    let number = json!([{"name": "x", "type": "number"}]);
    let outer = json!({
        "input": {"json": number},
        "nodes": {
            "a": job(&[], &json!({"x": {"type": "recipe", "input": "x"}})),
            "inner": {
                "dependencies": [{"name": "a"}], "input": {"x": {"type": "recipe", "input": "x"}},
                "node_type": {"node_type": "recipe", "recipe_type_name": "chain", "recipe_type_revision": 1},
            },
        },
    });
    let images = json!({
        "input": {"files": [{"name": "f", "media_types": ["image/png"]}]}, "nodes": {"a": job(&[], &json!({}))},
    });
    let dataset = |definition: Value| definition.to_string();
    let numbers = dataset(json!({"parameters": {"json": number}}));
    let others = dataset(json!({
        "parameters": {"json": [{"name": "v", "type": "number"}]},
        "global_parameters": {"json": [{"name": "g", "type": "number"}]}, "global_data": {"json": {"g": 7}},
    }));
    server
        .sql(&format!(
            r#"INSERT INTO job_types (id, tenant_id, name, version, title, configuration) OVERRIDING SYSTEM VALUE
                   SELECT 1, id, 'add', '1.0.0', 'Add', '{{"priority": 70}}' FROM tenants WHERE name = 'acme';
               INSERT INTO job_type_revisions (id, job_type_id, revision_num, manifest, model, program_id)
                   OVERRIDING SYSTEM VALUE VALUES (1, 1, 1, '{{"job": {{"timeout": 30}}}}', '{{}}', gen_random_uuid());
               INSERT INTO recipe_types (id, tenant_id, name, title, is_active) OVERRIDING SYSTEM VALUE
                   SELECT n.id, t.id, n.name, n.title, n.name <> 'deprecated' FROM tenants t, (VALUES (1, 'chain', 'Zebra'),
                       (2, 'outer', 'ant'), (3, 'deprecated', 'Old'), (4, 'images', 'Images')) n (id, name, title)
                   WHERE t.name = 'acme';
               INSERT INTO recipe_type_revisions (id, recipe_type_id, revision_num, definition) OVERRIDING SYSTEM VALUE VALUES
                   (11, 1, 1, '{chain}'), (21, 2, 1, '{outer}'), (31, 3, 1, '{chain}'), (41, 4, 1, '{images}');
               INSERT INTO recipe_type_jobs VALUES (11, 0, 1), (11, 1, 1), (21, 0, 1), (31, 0, 1), (31, 1, 1), (41, 0, 1);
               INSERT INTO recipe_type_recipes VALUES (21, 1, 11);
               INSERT INTO datasets (id, tenant_id, definition, created_by) OVERRIDING SYSTEM VALUE
                   SELECT n.id, t.id, n.definition::jsonb, 'ann' FROM tenants t, (VALUES (1, '{numbers}'), (2, '{numbers}'),
                       (3, '{texts}'), (4, '{others}'), (5, '{files}')) n (id, definition)
                   WHERE t.name = 'acme';
               INSERT INTO dataset_members (dataset_id, data) VALUES (1, '{{"json": {{"x": 1}}}}'), (1, '{{"json": {{"x": 2}}}}'),
                   (1, '{{"json": {{"x": 3}}}}'), (3, '{{"json": {{"x": "t"}}}}'), (4, '{{"json": {{"v": 1}}}}'),
                   (5, '{{"files": {{"f": [1]}}}}')"#,
            chain = chain(&number),
            texts = dataset(json!({"parameters": {"json": [{"name": "x", "type": "string"}]}})),
            files = dataset(json!({"parameters": {"files": [{"name": "f", "media_types": ["text/plain"]}]}})),
        ))
        .await;
    Some(server)
}

/// The number that a query gives.
pub async fn number(server: &Server, query: &str) -> i64 {
    let url = server.state.config.database.url.expose();
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let number = client.query_one(query, &[]).await.unwrap().get(0);
    drop(client);
    connection.await.unwrap().unwrap();
    number
}

/// The next revision of `chain`.
pub async fn revise_chain(server: &Server, revision: i64, definition: &Value) {
    server
        .sql(&format!(
            "UPDATE recipe_types SET revision_num = {revision} WHERE id = {CHAIN};
             INSERT INTO recipe_type_revisions (id, recipe_type_id, revision_num, definition) OVERRIDING SYSTEM VALUE
                 VALUES ({}, {CHAIN}, {revision}, '{definition}')",
            10 + revision
        ))
        .await;
}

/// Gives a batch the counters that it has when so many recipes were created.
pub async fn created_recipes(server: &Server, batch: i64, recipes: i64) {
    server
        .sql(&format!(
            "UPDATE recipe_batches SET is_creation_done = true WHERE id = {batch};
             UPDATE recipe_batch_counters SET recipes_total = recipes_total + {recipes} WHERE batch_id = {batch} AND slot = 3"
        ))
        .await;
}

/// A request of another method than GET and POST, with another key if one is given.
pub async fn send(server: &Server, method: Method, path: &str, key: Option<&str>, body: &Value) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "scale.example")
        .header("content-type", "application/json")
        .header("x-synthetic-key", key.unwrap_or(&server.key));
    server.send(request.body(Body::from(body.to_string())).unwrap()).await
}

/// Creates a batch, and returns its id.
pub async fn create(server: &Server, body: &Value) -> i64 {
    let answer = server.post("/v6/batches/", body).await;
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.bytes));
    answer.json()["id"].as_i64().unwrap()
}

/// The ids of a page of a list.
pub async fn ids(server: &Server, path: &str) -> Vec<i64> {
    let body = server.get(path).await.ok();
    body["results"].as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()).collect()
}

/// The keys of an object.
pub fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}
