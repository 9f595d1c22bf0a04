//! The Scale v6 batch services (contract scale-v6.md).

mod datasets;
mod job_types;
mod protocol;
mod recipe_types;

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};

use crate::server::{Answer, Server};

impl Server {
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::PATCH, path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// A job type over formulas; its answer.
    pub async fn job_type(&self, name: &str, inputs: Value, outputs: Value, formulas: Value) -> Value {
        let body = json!({
            "manifest": manifest(name, inputs, outputs), "model": {"formulas": formulas}, "configuration": {},
        });
        let made = self.post("/v6/job-types/", &body).await;
        assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.bytes));
        made.json()
    }

    /// The job type `double`: `y = 2 * x`.
    pub async fn double(&self) -> Value {
        let (inputs, outputs) =
            (json!([{"name": "x", "type": "number"}]), json!([{"name": "y", "type": "number"}]));
        self.job_type("double", inputs, outputs, json!({"y": "2 * x"})).await
    }

    /// A recipe type; its answer.
    pub async fn recipe_type(&self, title: &str, definition: &Value) -> Value {
        let made = self.post("/v6/recipe-types/", &json!({"title": title, "definition": definition})).await;
        assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.bytes));
        made.json()
    }
}

/// A manifest of version 1.0.0.
pub fn manifest(name: &str, inputs: Value, outputs: Value) -> Value {
    json!({"seedVersion": "1.0.0", "job": {
        "name": name, "jobVersion": "1.0.0", "packageVersion": "1.0.0", "title": format!("The {name}"),
        "description": "For tests", "timeout": 10,
        "interface": {"inputs": {"json": inputs}, "outputs": {"json": outputs}},
    }})
}

/// A recipe of one number `x` with the node `first`, which runs a revision of `double`.
pub fn doubling(revision: i64) -> Value {
    json!({
        "input": {"json": [{"name": "x", "type": "number"}]},
        "nodes": {"first": {
            "dependencies": [], "input": {"x": {"type": "recipe", "input": "x"}},
            "node_type": {
                "node_type": "job", "job_type_name": "double", "job_type_version": "1.0.0",
                "job_type_revision": revision,
            },
        }},
    })
}

/// A recipe whose node `inner` runs a revision of the recipe type `name` over `x`.
pub fn around(name: &str, revision: i64) -> Value {
    json!({
        "input": {"json": [{"name": "x", "type": "number"}]},
        "nodes": {"inner": {
            "dependencies": [], "input": {"x": {"type": "recipe", "input": "x"}},
            "node_type": {"node_type": "recipe", "recipe_type_name": name, "recipe_type_revision": revision},
        }},
    })
}

/// Status, text and name of a refusal.
pub fn refusal(answer: &Answer) -> (u16, String, String) {
    let body = answer.json();
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    (answer.status, text("detail"), text("name"))
}
