//! The batches of a chain side by side (scale-v6 2.5).

use axum::Json;
use axum::extract::State;
use millrace_common::model::recipe::{Durations, JobStatus, NodeMetrics, side_by_side};
use millrace_common::store::recipes::{Comparison, RecipeBatch};
use serde_json::{Map, Value, json};

use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::Path;
use crate::openapi::schemas::RecipeBatchComparison;
use crate::state::AppState;
use crate::v6::http::{duration, id};
use crate::v6::wire::RecipeBatchBase;

/// Compares the batches of a chain.
#[utoipa::path(get, path = "/v6/batches/comparison/{id}/", tag = "Recipe batches", operation_id = "compareRecipeBatches",
    params(("id" = i64, Path, description = "The first batch of the chain; of any other id there is nothing to compare.")),
    responses((status = 200, description = "The chain.", body = RecipeBatchComparison)))]
pub(super) async fn compare(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path(root): Path<String>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(comparison(&state.store.recipe_batch_chain(caller.tenant_id, id(&root)?).await?)))
}

fn comparison(chain: &Comparison) -> Value {
    let list = |of: &dyn Fn(&RecipeBatch) -> i64| -> Value { chain.batches.iter().map(of).collect() };
    let mut metrics = Map::new();
    metrics.insert("jobs_total".to_owned(), list(&|batch| batch.counts.jobs.total()));
    for status in JobStatus::ALL {
        metrics.insert(counter(status), list(&|batch| batch.counts.jobs.of(status)));
    }
    metrics.insert("recipes_estimated".to_owned(), list(&|batch| batch.recipes_estimated));
    metrics.insert("recipes_total".to_owned(), list(&|batch| batch.counts.recipes_total));
    metrics.insert("recipes_completed".to_owned(), list(&|batch| batch.counts.recipes_completed));
    let nodes: Map<String, Value> = side_by_side(&chain.nodes)
        .into_iter()
        .map(|(name, entries)| (name.to_owned(), node(&entries)))
        .collect();
    metrics.insert("job_metrics".to_owned(), Value::Object(nodes));
    let batches: Vec<RecipeBatchBase> = chain.batches.iter().map(|batch| batch.base.clone().into()).collect();
    json!({"batches": batches, "metrics": metrics})
}

/// `jobs_pending` and so on.
fn counter(status: JobStatus) -> String {
    format!("jobs_{}", status.as_str().to_ascii_lowercase())
}

/// A figure of durations: its name, and how it is read.
type Figure = (&'static str, fn(&Durations) -> Option<i64>);

const FIGURES: [Figure; 3] =
    [("min", Durations::shortest), ("avg", Durations::mean), ("max", Durations::longest)];

fn node(entries: &[Option<NodeMetrics>]) -> Value {
    let counts = |of: &dyn Fn(&NodeMetrics) -> i64| -> Value {
        entries.iter().map(|entry| entry.as_ref().map(of)).map(|number| json!(number)).collect()
    };
    let mut lists = Map::new();
    lists.insert("jobs_total".to_owned(), counts(&|entry| entry.jobs.total()));
    for status in JobStatus::ALL {
        lists.insert(counter(status), counts(&|entry| entry.jobs.of(status)));
    }
    let mut durations = |name: &str, of: &dyn Fn(&NodeMetrics) -> Durations| {
        for (figure, read) in FIGURES {
            let of_entry = |entry: &Option<NodeMetrics>| {
                let micros = entry.as_ref().and_then(|entry| read(&of(entry)));
                json!(micros.map(duration))
            };
            lists.insert(format!("{figure}_{name}_duration"), entries.iter().map(of_entry).collect());
        }
    };
    durations("seed", &|entry| entry.seed);
    durations("job", &|entry| entry.job);
    Value::Object(lists)
}
