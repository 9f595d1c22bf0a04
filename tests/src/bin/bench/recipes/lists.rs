//! How long lists and details take, with all the jobs of the rounds before in the tables.

use std::time::{Duration, Instant};

use anyhow::Result;
use millrace_tests::{Client, Fleet};
use reqwest::Method;
use serde_json::json;

use super::{Dataset, at_rest, create, id, post, upload, wait_for_rest};
use crate::rate::Times;
use crate::table::{Row, Target};
use crate::{Options, load, say};

/// Small batches beside the large ones, so that lists have pages.
const SMALL_BATCHES: usize = 150;
/// What answers to lists and details of batches may take.
const MOST_MS: f64 = 50.0;

/// Calls that are measured together.
struct Calls {
    name: &'static str,
    paths: Vec<String>,
    target: Target,
}

/// Calls one after the other, at rest and while a batch runs.
///
/// # Errors
///
/// When a call fails.
pub async fn measure(options: &Options, fleet: &Fleet, recipe_type: i64, last: Dataset) -> Result<Vec<Row>> {
    let client = fleet.client();
    let one = upload(client, Dataset { members: 1, ..last }).await?;
    let mut small = 0;
    for _ in 0..SMALL_BATCHES {
        let definition = json!({"dataset": one, "supersedes": false});
        let body = json!({"title": "One", "recipe_type_id": recipe_type, "definition": definition});
        small = id(&post(client, "/v6/batches/", &body).await?)?;
    }
    wait_for_rest(client, small, 1).await?;
    let database = fleet.database().connect().await?;
    database.batch_execute("VACUUM ANALYZE").await?;
    let counted = database
        .query_one("SELECT (SELECT count(*) FROM jobs), (SELECT min(id) FROM recipe_batches)", &[])
        .await?;
    let (jobs, large): (i64, i64) = (counted.get(0), counted.get(1));
    say(&format!("  lists with {jobs} jobs in the tables"));

    let calls = calls(recipe_type, large, small);
    let rounds = if options.quick { 20 } else { 60 };
    let mut rows = Vec::new();
    for calls in &calls {
        let mut times = Times::default();
        for _ in 0..rounds {
            times.extend(once(client, calls).await?);
        }
        rows.extend(shown(calls, &times, "at rest", &format!("{jobs} jobs in the tables")));
    }

    let dataset = upload(client, last).await?;
    let batch = create(client, recipe_type, dataset).await?;
    let began = Instant::now();
    let mut times: Vec<Times> = calls.iter().map(|_| Times::default()).collect();
    while !at_rest(client, batch, last.members).await? {
        for (calls, times) in calls.iter().zip(&mut times) {
            times.extend(once(client, calls).await?);
        }
        anyhow::ensure!(began.elapsed() < super::STALLED, "batch {batch} is not at rest");
    }
    for (calls, times) in calls.iter().zip(&times) {
        rows.extend(shown(calls, times, "while a batch runs", ""));
    }
    Ok(rows)
}

fn calls(recipe_type: i64, large: i64, small: i64) -> Vec<Calls> {
    let paths = |paths: &[String]| paths.to_vec();
    let target = Target::AtMost(MOST_MS);
    let list = |query: &str| format!("/v6/batches/?{query}");
    vec![
        Calls {
            name: "list of batches",
            paths: paths(&[
                list(""),
                list("order=-last_modified&page_size=25"),
                list("page=last"),
                list("is_creation_done=true&is_superseded=false&order=-created"),
                list(&format!("recipe_type_id={recipe_type}&order=title&order=-jobs_failed")),
                list("started=PT1H&order=-jobs_total"),
                list(&format!("root_batch_id={large}&root_batch_id={small}")),
            ]),
            target,
        },
        Calls {
            name: "details of a batch",
            paths: paths(&[format!("/v6/batches/{large}/"), format!("/v6/batches/{small}/")]),
            target,
        },
        Calls {
            name: "jobs and recipes of a batch",
            paths: paths(&[
                format!("/v6/jobs/?batch_id={large}&order=id&page_size=25"),
                format!("/v6/jobs/?batch_id={large}&status=FAILED"),
                format!("/v6/recipes/?batch_id={large}&order=id&page_size=25"),
            ]),
            target: Target::None,
        },
        Calls {
            name: "jobs of all batches",
            paths: paths(&[
                "/v6/jobs/?page_size=25".to_owned(),
                "/v6/jobs/?order=-last_modified&page_size=25".to_owned(),
                "/v6/jobs/?status=FAILED".to_owned(),
            ]),
            target: Target::None,
        },
    ]
}

/// Each of the calls once.
async fn once(client: &Client, calls: &Calls) -> Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(calls.paths.len());
    for path in &calls.paths {
        let asked = Instant::now();
        let (status, answer) = load::send(client, Method::GET, path, None).await?;
        times.push(asked.elapsed());
        anyhow::ensure!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&answer));
    }
    Ok(times)
}

fn shown(calls: &Calls, times: &Times, when: &str, note: &str) -> Vec<Row> {
    let row = |share: f64, target: Target| Row {
        measure: format!("{}, {when}, p{:.0}", calls.name, share * 100.0),
        unit: "ms",
        floor: None,
        millrace: Some(times.quantile_ms(share)),
        target,
        note: String::new(),
    };
    let note = format!("{} calls, {} different ones; {note}", times.count(), calls.paths.len());
    vec![
        row(0.5, Target::None),
        Row { note: note.trim_end_matches("; ").to_owned(), ..row(0.99, calls.target) },
    ]
}
