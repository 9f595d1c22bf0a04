//! Batches created, shown, listed, changed (scale-v6 2.1 to 2.4).

use axum::http::Method;
use serde_json::{Value, json};

use super::world::{CHAIN, NUMBERS, OTHERS, OUTER, create, created_recipes, ids, keys, number, send, start};

const ITEM: [&str; 29] = [
    "created",
    "description",
    "event",
    "id",
    "is_creation_done",
    "is_paused",
    "is_superseded",
    "jobs_blocked",
    "jobs_canceled",
    "jobs_completed",
    "jobs_failed",
    "jobs_pending",
    "jobs_queued",
    "jobs_running",
    "jobs_total",
    "last_modified",
    "paused",
    "paused_by",
    "recipe_type",
    "recipe_type_rev",
    "recipes_completed",
    "recipes_estimated",
    "recipes_total",
    "root_batch",
    "superseded",
    "superseded_batch",
    "title",
    "configuration",
    "definition",
];

fn sorted(names: &[&'static str]) -> Vec<&'static str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_created_batch_is_answered_shown_and_listed() {
    let Some(server) = start().await else { return };
    let body = json!({
        "title": "Prices", "recipe_type_id": "2", "url": "ignored", "supersedes": false,
        "definition": {"version": "7", "dataset": NUMBERS, "forced_nodes": {"version": "6", "all": true}},
        "configuration": {"version": "6", "priority": 50, "inputMap": [{"input": "x", "datasetParameter": "x"}]},
    });
    let answer = server.post("/v6/batches/", &body).await;
    let made = answer.json();
    assert_eq!(answer.status, 201, "{made}");
    let path = format!("/v6/batches/{}/", made["id"]);
    assert_eq!(answer.headers["location"], format!("http://127.0.0.1:8123{path}").as_str());
    let details: Vec<&'static str> = ITEM.into_iter().chain(["job_metrics"]).collect();
    assert_eq!(keys(&made), sorted(&details));
    assert_eq!(
        made["recipe_type"],
        json!({"id": 2, "name": "outer", "title": "ant", "description": null, "revision_num": 1})
    );
    assert_eq!(made["recipe_type_rev"]["recipe_type"], json!({"id": 2}));
    assert_eq!(
        made["recipe_type_rev"]["definition"]["nodes"]["inner"]["dependencies"],
        json!([{"name": "a", "acceptance": true}])
    );
    assert_eq!(
        keys(&made["recipe_type_rev"]),
        ["created", "definition", "id", "recipe_type", "revision_num"]
    );
    assert_eq!(
        made["definition"],
        json!({"dataset": NUMBERS, "forced_nodes": {"all": true}, "supersedes": false})
    );
    assert_eq!(
        made["configuration"],
        json!({"priority": 50, "inputMap": [{"input": "x", "datasetParameter": "x"}]})
    );
    assert_eq!((&made["event"]["type"], &made["event"]["rule"]), (&json!("USER"), &Value::Null));
    assert_eq!(made["event"]["description"], json!({"user": "ann"}));
    assert_eq!(made["root_batch"]["id"], made["id"]);
    for (key, value) in [
        ("superseded_batch", Value::Null),
        ("is_superseded", json!(false)),
        ("superseded", Value::Null),
        ("is_creation_done", json!(false)),
        ("jobs_total", json!(0)),
        ("recipes_total", json!(0)),
        ("recipes_estimated", json!(6)),
        ("description", Value::Null),
    ] {
        assert_eq!(made[key], value, "{key}");
    }
    // Job nodes only.
    let zero = json!({
        "jobs_total": 0, "jobs_pending": 0, "jobs_blocked": 0, "jobs_queued": 0, "jobs_running": 0, "jobs_failed": 0,
        "jobs_completed": 0, "jobs_canceled": 0, "min_seed_duration": null, "avg_seed_duration": null,
        "max_seed_duration": null, "min_job_duration": null, "avg_job_duration": null, "max_job_duration": null,
    });
    assert_eq!(made["job_metrics"], json!({"a": zero}));
    assert_eq!(server.get(&path).await.ok(), made);
    // Without the slash it is the same.
    assert_eq!(server.get(path.trim_end_matches('/')).await.ok(), made);

    let listed = server.get("/v6/batches/").await.ok();
    assert_eq!(
        (&listed["count"], &listed["next"], &listed["previous"]),
        (&json!(1), &Value::Null, &Value::Null)
    );
    let item = &listed["results"][0];
    assert_eq!(keys(item), sorted(&ITEM[..27]));
    assert_eq!(keys(&item["event"]), ["id", "occurred", "rule", "type"]);
    assert_eq!(keys(&item["recipe_type_rev"]), ["id", "recipe_type", "revision_num"]);

    // What workers need: where recipes come from, and what leases a lane.
    let frozen =
        "SELECT last_member_id FROM recipe_batches WHERE dataset_id = 1 AND NOT supersedes AND priority = 50";
    assert_eq!(number(&server, frozen).await, 3);
    assert_eq!(number(&server, "SELECT priority::bigint FROM workloads").await, -50);
    assert_eq!(number(&server, "SELECT count(*) FROM recipe_batch_nodes").await, 10);
    let audit = server.get("/acme/api/v4/audit?action=recipe_batch").await.ok();
    assert_eq!(audit["data"][0]["action"], "recipe_batch.create", "{audit}");

    // It belongs to its tenant.
    for (method, path) in [(Method::GET, path.as_str()), (Method::PATCH, &path)] {
        assert_eq!(send(&server, method, path, Some(&server.other_key), &json!({})).await.status, 404);
    }
    let others = send(&server, Method::GET, "/v6/batches/", Some(&server.other_key), &json!({})).await.ok();
    assert_eq!(others["count"], 0);
    for path in ["/v6/batches/999/", "/v6/batches/x/", "/v6/batches/99999999999999999999/"] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.json()), (404, json!({"detail": "Not found."})), "{path}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_sorted() {
    let Some(server) = start().await else { return };
    let make = async |title: &str, recipe_type: i64| {
        create(
            &server,
            &json!({"title": title, "recipe_type_id": recipe_type, "definition": {"dataset": NUMBERS}}),
        )
        .await
    };
    let (b, a, c) = (make("b", CHAIN).await, make("A", CHAIN).await, make("c", OUTER).await);
    created_recipes(&server, a, 3).await;
    let follow = json!({"recipe_type_id": CHAIN, "title": "d", "definition": {"previous_batch": {"root_batch_id": a}}});
    let d = create(&server, &follow).await;
    // The times are those of a test.
    server
        .sql(&format!(
            "UPDATE recipe_batches SET last_modified = '2026-01-01T00:00:00Z'::timestamptz + id * interval '1 day';
             UPDATE recipe_batch_counters SET touched_at = '2026-01-01T00:00:00Z';
             UPDATE recipe_batch_counters SET touched_at = '2026-03-01T00:00:00Z', jobs_queued = 5 WHERE slot = 4 AND batch_id = {b};
             UPDATE recipe_batch_counters SET jobs_queued = -1 WHERE slot = 5 AND batch_id = {b}"
        ))
        .await;
    for (query, wanted) in [
        ("", vec![a, c, d, b]),
        ("order=-last_modified", vec![b, d, c, a]),
        ("order=title", vec![a, b, c, d]),
        ("order=-title", vec![d, c, b, a]),
        ("order=recipe_type&order=-id", vec![c, d, a, b]),
        ("order=-recipe_type_id&order=title", vec![c, a, b, d]),
        ("order=-jobs_total&order=id", vec![b, a, c, d]),
        ("order=superseded_batch_id", vec![d, b, a, c]),
        ("recipe_type_id=2", vec![c]),
        ("recipe_type_id=2&recipe_type_id=1&order=id", vec![b, a, c, d]),
        ("recipe_type_id=77", vec![]),
        ("is_creation_done=true", vec![a]),
        ("is_superseded=T", vec![a]),
        ("is_superseded=0&order=id", vec![b, c, d]),
        (&format!("root_batch_id={a}"), vec![a, d]),
        (&format!("root_batch_id={a}&is_superseded=false"), vec![d]),
        ("started=2026-02-01T00:00:00Z", vec![b]),
        ("ended=2026-02-01T00:00:00Z&order=id", vec![a, c, d]),
        ("order=id&page_size=2", vec![b, a]),
        ("order=id&page_size=2&page=last", vec![c, d]),
    ] {
        assert_eq!(ids(&server, &format!("/v6/batches/?{query}")).await, wanted, "{query}");
    }
    let item = server.get("/v6/batches/?order=-jobs_queued").await.ok()["results"][0].clone();
    assert_eq!((&item["jobs_queued"], &item["jobs_total"]), (&json!(4), &json!(4)));
    assert_eq!(item["last_modified"], "2026-03-01T00:00:00Z");
    for (query, status) in [
        ("order=nothing", 400),
        ("recipe_type_id=x", 400),
        ("is_superseded=maybe", 400),
        ("root_batch_id=", 400),
        ("started=2026-01-01", 400),
        ("started=PT1H&ended=PT1H", 400),
        ("page=5", 404),
        ("page=0", 404),
    ] {
        assert_eq!(server.get(&format!("/v6/batches/?{query}")).await.status, status, "{query}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_an_edit_like_others_and_a_superseded_batch_has_none() {
    let Some(server) = start().await else { return };
    let first = create(&server, &json!({"recipe_type_id": CHAIN, "definition": {"dataset": NUMBERS}})).await;
    let path = format!("/v6/batches/{first}/");
    let edit = async |body: &Value| send(&server, Method::PATCH, &path, None, body).await;
    let told = |batch: &Value| {
        (
            batch["is_paused"].clone(),
            batch["paused"].is_string(),
            batch["paused_by"].clone(),
            batch["title"].clone(),
        )
    };
    for body in [json!({"is_paused": "perhaps", "title": "t"}), json!({"is_paused": true, "title": 7})] {
        assert_eq!(edit(&body).await.status, 400, "{body}");
    }
    let untouched = server.get(&path).await.ok();
    assert_eq!(told(&untouched), (json!(false), false, Value::Null, Value::Null));
    assert_eq!(edit(&json!({"is_paused": true, "title": "t"})).await.status, 204);
    let paused = server.get(&path).await.ok();
    assert_eq!(told(&paused), (json!(true), true, json!("ann"), json!("t")));
    assert_ne!(paused["last_modified"], untouched["last_modified"]);
    assert_eq!(server.get("/v6/batches/").await.ok()["results"][0]["is_paused"], true);
    assert_eq!(edit(&json!({"is_paused": true})).await.status, 204);
    assert_eq!(server.get(&path).await.ok(), paused, "again is no change");
    assert_eq!(number(&server, "SELECT count(*) FROM workloads WHERE paused_by = 'ann'").await, 1);

    created_recipes(&server, first, 3).await;
    let follow = json!({"recipe_type_id": CHAIN, "definition": {"previous_batch": {"root_batch_id": first}}});
    create(&server, &follow).await;
    let superseded = server.get(&path).await.ok();
    assert_eq!(told(&superseded), (json!(false), false, Value::Null, json!("t")));
    let refused = edit(&json!({"is_paused": true, "title": "u"})).await;
    assert_eq!((refused.status, refused.json()["name"].as_str()), (400, Some("SUPERSEDED_BATCH")));
    assert_eq!(server.get(&path).await.ok(), superseded);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_changes_all_that_it_names_or_nothing() {
    let Some(server) = start().await else { return };
    let body = json!({
        "title": "t", "recipe_type_id": CHAIN, "definition": {"dataset": OTHERS},
        "configuration": {"priority": 5, "inputMap": [{"input": "x", "datasetParameter": "v"}]},
    });
    let path = format!("/v6/batches/{}/", create(&server, &body).await);
    server.sql("UPDATE recipe_batches SET last_modified = '2026-01-01T00:00:00Z'; UPDATE recipe_batch_counters SET touched_at = '2026-01-01T00:00:00Z'").await;
    let edit = async |body: &Value| send(&server, Method::PATCH, &path, None, body).await;
    let shown = server.get(&path).await.ok();
    for (body, name) in [
        (json!({"title": "new", "configuration": {"priority": "5"}}), "INVALID_BATCH_CONFIGURATION"),
        (json!({"title": "new", "configuration": []}), "INVALID_BATCH_CONFIGURATION"),
        (
            json!({"title": "new", "configuration": {"inputMap": [{"input": "x", "datasetParameter": "w"}]}}),
            "INVALID_INPUT_MAP",
        ),
        (json!({"title": 7}), "INVALID_PARAMETER"),
    ] {
        let answer = edit(&body).await;
        assert_eq!((answer.status, answer.json()["name"].as_str()), (400, Some(name)), "{body}");
        assert_eq!(server.get(&path).await.ok(), shown, "{body}");
    }
    for body in
        [json!({}), json!({"title": null, "definition": {"dataset": 1}}), json!({"configuration": {}})]
    {
        let answer = edit(&body).await;
        assert_eq!((answer.status, answer.bytes.len()), (204, 0), "{body}");
        assert_eq!(server.get(&path).await.ok(), shown, "{body}");
    }
    assert_eq!(edit(&json!({"title": "", "configuration": {"priority": 300}})).await.status, 204);
    let changed = server.get(&path).await.ok();
    assert_eq!((&changed["title"], &changed["configuration"]), (&json!(""), &json!({"priority": 300})));
    assert_ne!(changed["last_modified"], shown["last_modified"]);
    assert_eq!(number(&server, "SELECT priority::bigint FROM workloads").await, 200);
    assert_eq!(number(&server, "SELECT priority FROM recipe_batches").await, 300);
    assert_eq!(
        send(&server, Method::PATCH, "/v6/batches/999/", None, &json!({"title": "x"})).await.status,
        404
    );
    for (method, path) in [
        ("PUT", path.as_str()),
        ("DELETE", &path),
        ("PUT", "/v6/batches/"),
        ("GET", "/v6/batches/validation/"),
        ("POST", "/v6/batches/comparison/1/"),
    ] {
        let answer = send(&server, method.parse().unwrap(), path, None, &json!({})).await;
        assert_eq!(answer.status, 405, "{method} {path}");
        assert!(answer.headers.contains_key("allow"), "{method} {path}");
    }
    server.stop().await;
}
