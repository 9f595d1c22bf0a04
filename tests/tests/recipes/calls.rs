//! Calls as a caller makes them, and the documents that they carry.

use std::time::Duration;

use millrace_tests::{Answer, Client, Fleet, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

/// Longer than anything takes that is not broken.
pub const LONG: Duration = Duration::from_secs(120);

/// A caller of the v6 API that expects success.
#[derive(Clone)]
pub struct Calls(pub Client);

impl Calls {
    pub fn to(fleet: &Fleet) -> Self {
        Self(fleet.client().clone())
    }

    pub async fn get(&self, path: &str) -> Value {
        self.0.get(path).await.unwrap().success().unwrap().body
    }

    pub async fn post(&self, path: &str, body: &Value) -> Value {
        self.0.post(path, body).await.unwrap().success().unwrap().body
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Value {
        self.change(path, body).await.success().unwrap().body
    }

    /// A PATCH, with whatever answer.
    pub async fn change(&self, path: &str, body: &Value) -> Answer {
        self.0.send(self.0.request(Method::PATCH, path).json(body)).await.unwrap()
    }

    /// What a refused POST was refused with.
    pub async fn refused(&self, path: &str, body: &Value) -> (u16, String) {
        let answer = self.0.post(path, body).await.unwrap();
        assert!((400..500).contains(&answer.status), "{}: {body}", answer.describe());
        (answer.status, answer.body["name"].as_str().unwrap_or_default().to_owned())
    }

    /// A job type of version 1.0.0 that gives the number `y` from the number `x`.
    pub async fn job_type(&self, name: &str, formula: &str) -> Value {
        self.post("/v6/job-types/", &job_type(name, formula)).await
    }

    /// A recipe type; its id.
    pub async fn recipe_type(&self, title: &str, definition: &Value) -> i64 {
        let made = self.post("/v6/recipe-types/", &json!({"title": title, "definition": definition})).await;
        made["id"].as_i64().unwrap()
    }

    /// A dataset of these values of the number `x`; its id.
    pub async fn dataset(&self, values: impl IntoIterator<Item = i64>) -> i64 {
        let members: Vec<Value> = values.into_iter().map(|x| json!({"json": {"x": x}})).collect();
        let dataset = json!({
            "title": "Numbers", "definition": {"parameters": {"json": [{"name": "x", "type": "number"}]}},
            "data": members,
        });
        self.post("/v6/datasets/", &dataset).await["id"].as_i64().unwrap()
    }

    /// A batch with this definition; its id.
    pub async fn batch(&self, recipe_type: i64, definition: Value) -> i64 {
        let body = json!({"recipe_type_id": recipe_type, "definition": definition});
        self.post("/v6/batches/", &body).await["id"].as_i64().unwrap()
    }

    /// Asks until the answer is what is waited for, and returns it.
    pub async fn until(&self, path: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait_until(what, LONG, || async {
            let answer = self.0.get(path).await?.success()?.body;
            anyhow::ensure!(wanted(&answer), "{answer}");
            Ok(Some(answer))
        })
        .await
        .unwrap()
    }

    /// Until the API's `/readyz` has this status.
    pub async fn until_ready(&self, status: u16) {
        wait_until("the API is ready, or no longer", LONG, || async {
            Ok((self.0.get("/readyz").await?.status == status).then_some(()))
        })
        .await
        .unwrap();
    }

    /// Until a batch is at rest with all recipes made, and `wanted` holds of it: what it is then.
    pub async fn batch_until(&self, batch: i64, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/v6/batches/{batch}/");
        self.until(&path, what, |batch| batch["is_creation_done"] == json!(true) && wanted(batch)).await
    }

    /// Until all recipes of a batch are completed.
    pub async fn completed(&self, batch: i64) -> Value {
        self.batch_until(batch, "the batch is completed", |batch| {
            batch["recipes_completed"] == batch["recipes_total"]
        })
        .await
    }

    /// Until a recipe is completed.
    pub async fn recipe_completed(&self, recipe: i64) -> Value {
        let path = format!("/v6/recipes/{recipe}/");
        self.until(&path, "the recipe is completed", |recipe| recipe["is_completed"] == json!(true)).await
    }

    /// Until a job has this status.
    pub async fn job_until(&self, job: i64, status: &str) -> Value {
        let path = format!("/v6/jobs/{job}/");
        self.until(&path, status, |job| job["status"] == json!(status)).await
    }

    /// The jobs of a list, of which there are at most 1000.
    pub async fn jobs(&self, query: &str) -> Vec<Value> {
        let page = self.get(&format!("/v6/jobs/?page_size=1000&order=id&{query}")).await;
        assert_eq!(page["next"], Value::Null, "{query}");
        page["results"].as_array().unwrap().clone()
    }

    /// Cancels or requeues by filter, which is carried out after the answer.
    pub async fn ask(&self, what: &str, filter: &Value) {
        let answer = self.0.post(&format!("/v6/jobs/{what}/"), filter).await.unwrap();
        assert_eq!((answer.status, answer.bytes.len()), (202, 0), "{}", answer.describe());
    }
}

/// A job type of version 1.0.0 as it is asked for: the number `y` from the number `x`.
pub fn job_type(name: &str, formula: &str) -> Value {
    let manifest = json!({"seedVersion": "1.0.0", "job": {
        "name": name, "jobVersion": "1.0.0", "packageVersion": "1.0.0", "title": name, "description": "For tests",
        "timeout": 60,
        "interface": {
            "inputs": {"json": [{"name": "x", "type": "number"}]}, "outputs": {"json": [{"name": "y", "type": "number"}]},
        },
    }});
    json!({"manifest": manifest, "model": {"formulas": {"y": formula}}, "configuration": {}})
}

/// A recipe type that takes the number `x`.
pub fn definition(nodes: Value) -> Value {
    json!({"input": {"json": [{"name": "x", "type": "number"}]}, "nodes": nodes})
}

/// A node that runs a job type, in a revision.
pub fn job(job_type: &str, revision: i64, parents: &[&str], x: Value) -> Value {
    json!({
        "dependencies": named(parents), "input": {"x": x},
        "node_type": {
            "node_type": "job", "job_type_name": job_type, "job_type_version": "1.0.0", "job_type_revision": revision,
        },
    })
}

/// A node that runs a recipe type, in a revision.
pub fn recipe(recipe_type: &str, revision: i64, parents: &[&str], x: Value) -> Value {
    json!({
        "dependencies": named(parents), "input": {"x": x},
        "node_type": {
            "node_type": "recipe", "recipe_type_name": recipe_type, "recipe_type_revision": revision,
        },
    })
}

fn named(parents: &[&str]) -> Value {
    parents.iter().map(|name| json!({"name": name})).collect()
}

/// The recipe's own `x`.
pub fn own() -> Value {
    json!({"type": "recipe", "input": "x"})
}

/// `y` of another node.
pub fn of(node: &str) -> Value {
    json!({"type": "dependency", "node": node, "output": "y"})
}

/// `jobs_total` and the other counters of jobs, in the order of contract 2.1.
pub fn counters(counted: &Value) -> [i64; 8] {
    ["total", "pending", "blocked", "queued", "running", "failed", "completed", "canceled"]
        .map(|name| counted[format!("jobs_{name}")].as_i64().unwrap())
}

/// The job, sub-recipe or condition at a node of a recipe's details.
pub fn at(recipe: &Value, node: &str) -> Value {
    recipe["details"]["nodes"][node]["node_type"].clone()
}
