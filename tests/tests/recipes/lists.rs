//! Lists count exactly, whatever they count by.

use anyhow::{Result, ensure};
use millrace_tests::{Fleet, FleetOptions};
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::calls::{self, Calls, definition, of, own};
use crate::setup::Setup;

/// What lists count, whether by counters or by rows, against the rows. What changes meanwhile is looked at again.
pub async fn assert_exact(client: &Client, calls: &Calls, tenant: Uuid) -> Result<()> {
    for (path, condition) in lists(client).await? {
        let table = path.split('/').nth(2).unwrap_or_default();
        let rows = format!(
            "SELECT count(*) FROM {table} WHERE tenant_id = $1 AND {condition} AND NOT coalesce(batch_id IN (
                     SELECT id FROM recipe_batches WHERE removed IS NOT NULL), false)"
        );
        loop {
            let before: i64 = client.query_one(&rows, &[&tenant]).await?.get(0);
            let found = calls.get(&path).await["count"].as_i64();
            let after: i64 = client.query_one(&rows, &[&tenant]).await?.get(0);
            if before == after {
                ensure!(found == Some(before), "{path}: counted {found:?}, found {before}");
                break;
            }
        }
    }
    Ok(())
}

/// Lists of recipes and jobs, of all and of each batch, with the conditions that their rows must meet.
async fn lists(client: &Client) -> Result<Vec<(String, String)>> {
    let batches = client.query("SELECT id FROM recipe_batches ORDER BY id DESC LIMIT 5", &[]).await?;
    let mut scopes = vec![(String::new(), "true".to_owned())];
    for row in &batches {
        let id: i64 = row.get(0);
        scopes.push((format!("&batch_id={id}"), format!("batch_id = {id}")));
    }
    if let [first, second, ..] = batches.as_slice() {
        let (first, second): (i64, i64) = (first.get(0), second.get(0));
        let query = format!("&batch_id={first}&batch_id={second}&batch_id={first}");
        scopes.push((query, format!("batch_id IN ({first}, {second})")));
    }
    let mut lists = Vec::new();
    for (scope, within) in scopes {
        for (query, condition) in [
            ("", "true"),
            ("&status=COMPLETED", "status = 'COMPLETED'"),
            ("&status=PENDING&status=BLOCKED&status=PENDING", "status IN ('PENDING', 'BLOCKED')"),
            ("&status=QUEUED&status=RUNNING", "status IN ('QUEUED', 'RUNNING')"),
            ("&status=FAILED&status=CANCELED", "status IN ('FAILED', 'CANCELED')"),
            ("&is_superseded=true", "is_superseded"),
        ] {
            lists.push((format!("/v6/jobs/?page_size=1{scope}{query}"), format!("{within} AND {condition}")));
        }
        for (query, condition) in [
            ("", "true"),
            ("&is_completed=true", "is_completed"),
            ("&is_completed=false", "NOT is_completed"),
        ] {
            lists.push((
                format!("/v6/recipes/?page_size=1{scope}{query}"),
                format!("{within} AND {condition}"),
            ));
        }
    }
    Ok(lists)
}

/// The number and the page are of one moment.
#[tokio::test]
async fn lists_count_what_they_show_while_a_batch_runs() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    calls.job_type("add", "x + 1").await;
    let chain = definition(json!({
        "a": calls::job("add", 1, &[], own()), "b": calls::job("add", 1, &["a"], of("a")),
    }));
    let recipe_type = calls.recipe_type("Chain", &chain).await;
    let dataset = calls.dataset(0..450).await;
    let mut looks = 0;
    for supersedes in [false, true] {
        let definition = json!({"dataset": dataset, "supersedes": supersedes, "forced_nodes": {"all": true}});
        let batch = calls.batch(recipe_type, definition).await;
        loop {
            for list in
                ["jobs/?", "jobs/?status=COMPLETED&", "jobs/?status=QUEUED&status=PENDING&", "recipes/?"]
            {
                let page = calls.get(&format!("/v6/{list}page_size=1000&order=id&batch_id={batch}")).await;
                let shown = page["results"].as_array().unwrap().len();
                assert_eq!(page["count"], json!(shown), "{list}");
                looks += usize::from(shown > 0);
            }
            let batch = calls.get(&format!("/v6/batches/{batch}/")).await;
            if batch["is_creation_done"] == json!(true) && batch["jobs_completed"] == json!(900) {
                break;
            }
        }
    }
    assert!(looks > 4, "{looks}");
    setup.assert_exact().await.unwrap();
}
