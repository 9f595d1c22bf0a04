//! `millrace recipe batch compare`: the batches of a chain, node by node.

use serde_json::Value;

use super::super::table::{count, table};
use super::cells::{clip, counted, text, took, when};
use super::progress::Jobs;

/// Help under `millrace recipe batch compare --help`.
pub const HELP: &str = "\
Any batch of the chain may be named. MEAN is the mean time of one evaluation of completed jobs; a batch whose revision lacks a node has \
no line for it. Jobs that a batch took over count in it as well.";

/// Every counter of the answer has a list with a value for each batch.
fn at(lists: &Value, name: &str, batch: usize) -> Value {
    lists[name][batch].clone()
}

/// The counters of one batch, as those of details.
fn of_batch(lists: &Value, batch: usize) -> Value {
    let fields = lists.as_object().into_iter().flatten().filter(|(_, values)| values.is_array());
    Value::Object(fields.map(|(name, _)| (name.clone(), at(lists, name, batch))).collect())
}

/// The batches, then each node in each of them.
pub fn side_by_side(compared: &Value) -> String {
    let batches: Vec<&Value> = compared["batches"].as_array().into_iter().flatten().collect();
    let metrics = &compared["metrics"];
    let rows: Vec<Vec<String>> = batches
        .iter()
        .enumerate()
        .map(|(index, batch)| {
            let recipes = |name: &str| counted(&at(metrics, name, index));
            vec![
                text(&batch["id"]),
                clip(&text(&batch["title"]), 28),
                when(&batch["created"]),
                format!("{}/{}", recipes("recipes_completed"), recipes("recipes_total")),
            ]
        })
        .collect();
    let mut shown = table(&["BATCH", "TITLE", "CREATED", "RECIPES"], &rows);
    shown.push('\n');
    let mut rows = Vec::new();
    let mut block = |name: &str, lists: &Value| {
        let mut name = clip(name, 20);
        for (index, batch) in batches.iter().enumerate() {
            let counters = of_batch(lists, index);
            if counters["jobs_total"].is_null() {
                continue;
            }
            let jobs = Jobs::of(&counters);
            rows.push(vec![
                std::mem::take(&mut name),
                text(&batch["id"]),
                count(jobs.total),
                count(jobs.completed),
                count(jobs.failed),
                count(jobs.other()),
                took(&counters["avg_seed_duration"]),
            ]);
        }
    };
    block("all", metrics);
    for (name, lists) in metrics["job_metrics"].as_object().into_iter().flatten() {
        block(name, lists);
    }
    shown.push_str(&table(&["NODE", "BATCH", "JOBS", "COMPLETED", "FAILED", "OTHER", "MEAN"], &rows));
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn batches_stand_under_each_other() {
        let compared = json!({
            "batches": [
                {"id": 3, "title": "as of today", "created": "2026-11-29T20:51:03Z"},
                {"id": 7, "title": null, "created": "2026-11-29T21:00:00.5Z"},
            ],
            "metrics": {
                "jobs_total": [17, 7], "jobs_completed": [17, 5], "jobs_failed": [0, 1],
                "recipes_total": [10, 10], "recipes_completed": [10, 8],
                "job_metrics": {
                    "price": {"jobs_total": [7, 7], "jobs_completed": [7, 5], "jobs_failed": [0, 1],
                        "avg_seed_duration": ["PT0.00002S", null]},
                    "old": {"jobs_total": [10, null], "jobs_completed": [10, null], "jobs_failed": [0, null],
                        "avg_seed_duration": ["PT1S", null]},
                },
            },
        });
        insta::assert_snapshot!(side_by_side(&compared), @r"
        BATCH  TITLE        CREATED              RECIPES
        3      as of today  2026-11-29 20:51:03  10/10
        7      -            2026-11-29 21:00:00  8/10

        NODE   BATCH  JOBS  COMPLETED  FAILED  OTHER  MEAN
        all    3      17    17         0       0      -
               7      7     5          1       1      -
        old    3      10    10         0       0      1.0 s
        price  3      7     7          0       0      20 µs
               7      7     5          1       1      -
        ");
    }
}
