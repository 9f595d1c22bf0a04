//! Recipes and jobs: listed, shown, canceled and requeued (scale-v6 5.5, 5.6, 4.8). Their rows are written by the tests.

use serde_json::{Value, json};

use super::world::{NUMBERS, OUTER, create, ids, number, send, start};
use crate::server::Server;

/// A batch of `outer` with recipe 100, in it sub-recipe 101. Recipe 200 took the place of 100: it shares the job of `a` and made a
/// sub-recipe of its own, 201, which shares the job of `a` in 101 as well. Recipe 300 has its condition decided.
async fn running() -> Option<Server> {
    let server = start().await?;
    let batch = create(
        &server,
        &json!({"title": "Prices", "recipe_type_id": OUTER, "definition": {"dataset": NUMBERS}}),
    )
    .await;
    let with_condition = json!({
        "input": {"json": [{"name": "x", "type": "number"}]},
        "nodes": {
            "when": {
                "dependencies": [], "input": {"v": {"type": "recipe", "input": "x"}},
                "node_type": {
                    "node_type": "condition", "interface": {"json": [{"name": "v", "type": "number"}]},
                    "data_filter": {"filters": [{"name": "v", "type": "number", "condition": ">", "values": [1]}]},
                },
            },
        },
    });
    server
        .sql(&format!(
            r#"INSERT INTO recipe_type_revisions (id, recipe_type_id, revision_num, definition) OVERRIDING SYSTEM VALUE
                   VALUES (42, 4, 2, '{with_condition}');
               INSERT INTO recipes (id, tenant_id, batch_id, recipe_type_id, recipe_type_rev_id, event_id, parent_recipe_id,
                       parent_node, root_recipe_id, superseded_recipe_id, root_superseded_recipe_id, input, is_completed,
                       is_superseded, last_modified)
                   SELECT n.id, b.tenant_id, CASE WHEN n.id = 300 THEN NULL ELSE b.id END, n.type, n.revision, b.event_id, n.parent,
                       n.node::smallint, n.root, n.before, n.family, n.input::jsonb, n.done, n.id < 200,
                       '2026-01-01T00:00:00Z'::timestamptz + (400 - n.id) * interval '1 day'
                   FROM recipe_batches b, (VALUES
                       (100, 2, 21, NULL::bigint, NULL::int, NULL::bigint, NULL::bigint, NULL::bigint, '{{"json": {{"x": 2}}}}', false),
                       (101, 1, 11, 100, 1, 100, NULL, NULL, '{{"json": {{"x": 2}}}}', true),
                       (200, 2, 21, NULL, NULL, NULL, 100, 100, '{{"json": {{"x": 2}}}}', false),
                       (201, 1, 11, 200, 1, 200, NULL, NULL, NULL, false),
                       (300, 4, 42, NULL, NULL, NULL, NULL, NULL, '{{"json": {{"x": 2}}}}', true))
                       n (id, type, revision, parent, node, root, before, family, input, done) WHERE b.id = {batch};
               INSERT INTO jobs (id, tenant_id, batch_id, recipe_id, node, job_type_id, job_type_rev_id, event_id, status, priority,
                       num_exes, output, error_id, error_detail, worker_id, worker_name, superseded_job_id, is_superseded, queued,
                       started, ended, seed_micros, last_modified)
                   SELECT n.id, b.tenant_id, b.id, n.recipe, n.node::smallint, 1, 1, b.event_id, n.status, 70, n.exes,
                       n.output::jsonb, e.id, n.detail, CASE WHEN n.exes > 0 THEN b.tenant_id END,
                       CASE WHEN n.exes > 0 THEN 'w1' END, n.before, n.id = 1003,
                       CASE WHEN n.exes > 0 THEN '2026-01-01T00:00:00Z'::timestamptz END,
                       CASE WHEN n.took IS NOT NULL THEN '2026-01-01T00:00:01Z'::timestamptz END,
                       '2026-01-01T00:00:01Z'::timestamptz + n.took * interval '1 second', 12300,
                       '2026-01-01T00:00:00Z'::timestamptz + n.id * interval '1 day'
                   FROM recipe_batches b, (VALUES
                       (1001, 100, 0, 'COMPLETED', 1, '{{"json": {{"sum": 3}}}}', NULL, NULL, NULL::bigint, 5.0),
                       (1002, 101, 0, 'COMPLETED', 1, '{{"json": {{"sum": 4}}}}', NULL, NULL, NULL, 9.0),
                       (1003, 101, 1, 'COMPLETED', 1, '{{"json": {{"sum": 5}}}}', NULL, NULL, NULL, 7.0),
                       (1004, 201, 1, 'FAILED', 3, NULL, 'output-error', 'output `sum` is #DIV/0!', 1003, 1.5),
                       (1005, NULL, NULL, 'PENDING', 0, NULL, NULL, NULL, NULL, NULL))
                       n (id, recipe, node, status, exes, output, error, detail, before, took)
                   LEFT JOIN job_errors e ON e.name = n.error AND e.job_type_id IS NULL WHERE b.id = {batch};
               UPDATE jobs SET batch_id = NULL, input = '{{"json": {{"x": 8}}}}' WHERE id = 1005;
               INSERT INTO recipe_links (recipe_id, node, job_id) VALUES (200, 0, 1001), (201, 0, 1002);
               INSERT INTO recipe_conditions (recipe_id, node, waiting, outcome) VALUES (300, 0, 0, true);
               INSERT INTO job_executions (job_id, exe_num, status, error_id, queued) SELECT 1004, n, 'FAILED', id,
                   '2025-12-31T00:00:00Z' FROM job_errors, generate_series(1, 2) n WHERE name = 'worker-lost'"#
        ))
        .await;
    Some(server)
}

#[tokio::test(flavor = "multi_thread")]
async fn recipes_count_what_they_share_and_what_is_in_them() {
    let Some(server) = running().await else { return };
    let old = server.get("/v6/recipes/100/").await.ok();
    let new = server.get("/v6/recipes/200/").await.ok();
    for (recipe, completed, failed, done) in [(&old, 3, 0, 1), (&new, 2, 1, 0)] {
        let counts =
            ["jobs_total", "jobs_completed", "jobs_failed", "sub_recipes_total", "sub_recipes_completed"];
        let counts: Vec<i64> = counts.iter().map(|name| recipe[*name].as_i64().unwrap()).collect();
        assert_eq!(counts, [3, completed, failed, 1, done], "{recipe}");
    }
    assert_eq!(
        (&old["superseded_by_recipe"], &old["superseded_recipe"]),
        (&json!({"id": 200}), &Value::Null)
    );
    assert_eq!(
        (&new["superseded_by_recipe"], &new["superseded_recipe"]),
        (&Value::Null, &json!({"id": 100}))
    );
    assert_eq!((&new["batch"]["title"], &new["recipe"]), (&json!("Prices"), &Value::Null));
    assert_eq!(
        (&new["input"], &new["event"]["description"]),
        (&json!({"json": {"x": 2}}), &json!({"user": "ann"}))
    );
    assert_eq!(new["job_types"][0]["name"], "add");
    assert_eq!(
        new["sub_recipe_types"],
        json!([{"id": 1, "name": "chain", "title": "Zebra", "description": null, "revision_num": 1}])
    );
    assert_eq!(
        new["details"]["nodes"],
        json!({
            "a": {"dependencies": [], "node_type": {
                "node_type": "job", "job_type_name": "add", "job_type_version": "1.0.0", "job_type_revision": 1, "job_id": 1001,
                "status": "COMPLETED",
            }},
            "inner": {"dependencies": [{"name": "a"}], "node_type": {
                "node_type": "recipe", "recipe_type_name": "chain", "recipe_type_revision": 1, "recipe_id": 201,
                "is_completed": false, "jobs_total": 2, "jobs_pending": 0, "jobs_blocked": 0, "jobs_queued": 0, "jobs_running": 0,
                "jobs_failed": 1, "jobs_completed": 1, "jobs_canceled": 0, "sub_recipes_total": 0, "sub_recipes_completed": 0,
            }},
        })
    );
    let inner = server.get("/v6/recipes/201/").await.ok();
    assert_eq!(
        (&inner["recipe"]["id"], &inner["recipe"]["recipe_type"]["name"]),
        (&json!(200), &json!("outer"))
    );
    assert_eq!((&inner["root_recipe"], &inner["input"]), (&json!({"id": 200}), &Value::Null));
    let decided = server.get("/v6/recipes/300/").await.ok();
    let condition = &decided["details"]["nodes"]["when"]["node_type"];
    assert_eq!((&condition["is_processed"], &condition["is_accepted"]), (&json!(true), &json!(true)));

    for (query, wanted) in [
        ("", vec![300, 201, 200, 101, 100]),
        ("order=id", vec![100, 101, 200, 201, 300]),
        ("order=recipe_type&order=-id", vec![200, 100, 300, 201, 101]),
        ("recipe_id=100&recipe_id=300&order=id", vec![100, 300]),
        ("recipe_type_id=1&order=id", vec![101, 201]),
        ("recipe_type_name=outer&recipe_type_name=x&order=id", vec![100, 200]),
        ("batch_id=1&order=id", vec![100, 101, 200, 201]),
        ("root_recipe_id=200", vec![201]),
        ("is_superseded=true&order=id", vec![100, 101]),
        ("is_completed=true&order=id", vec![101, 300]),
        ("started=2026-07-01T00:00:00Z&ended=2026-10-25T00:00:00Z", vec![201, 200]),
        ("order=id&page=2&page_size=2", vec![200, 201]),
    ] {
        assert_eq!(ids(&server, &format!("/v6/recipes/?{query}")).await, wanted, "{query}");
    }
    let listed = server.get("/v6/recipes/?recipe_id=200").await.ok()["results"][0].clone();
    assert_eq!((&listed["jobs_failed"], &listed["sub_recipes_total"]), (&json!(1), &json!(1)));
    assert!(listed.get("details").is_none() && listed.get("source_started") == Some(&Value::Null));
    for path in ["/v6/recipes/7/", "/v6/recipes/x/"] {
        assert_eq!(server.get(path).await.status, 404);
    }
    let other = Some(server.other_key.as_str());
    for path in
        ["/v6/recipes/200/", "/v6/jobs/1001/", "/v6/jobs/1001/executions/", "/v6/jobs/1001/executions/1/"]
    {
        assert_eq!(
            send(&server, "GET".parse().unwrap(), path, other, &json!({})).await.status,
            404,
            "{path}"
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_show_what_they_compute() {
    let Some(server) = running().await else { return };
    let failed = server.get("/v6/jobs/1004/").await.ok();
    // The recipe has no input yet.
    assert_eq!(failed["input"], json!({"files": {}, "json": {}}));
    server.sql(r#"UPDATE recipes SET input = '{"json": {"x": 2}}' WHERE id = 201"#).await;
    let failed = server.get("/v6/jobs/1004/").await.ok();
    // Of the shared job before it.
    assert_eq!(failed["input"], json!({"files": {}, "json": {"x": 4}}));
    assert_eq!((&failed["output"], &failed["status"]), (&Value::Null, &json!("FAILED")));
    let error = &failed["error"];
    assert_eq!(
        (&error["name"], &error["category"], &error["is_builtin"]),
        (&json!("output-error"), &json!("DATA"), &json!(true))
    );
    assert_eq!((&error["job_type_name"], &error["should_be_retried"]), (&Value::Null, &json!(false)));
    assert_eq!(error["detail"], "output `sum` is #DIV/0!");
    assert_eq!(
        (&failed["superseded_job"], &failed["superseded_by_job"]),
        (&json!({"id": 1003}), &Value::Null)
    );
    assert_eq!((&failed["recipe"]["id"], &failed["batch"]["title"]), (&json!(201), &json!("Prices")));
    assert_eq!(
        (&failed["configuration"], &failed["node"]["hostname"]),
        (&json!({"priority": 70}), &json!("w1"))
    );
    assert_eq!(
        (&failed["execution"]["exe_num"], &failed["execution"]["seed_duration"]),
        (&json!(3), &json!("PT0.0123S"))
    );
    assert_eq!(server.get("/v6/jobs/1003/").await.ok()["superseded_by_job"], json!({"id": 1004}));
    let completed = server.get("/v6/jobs/1001/").await.ok();
    assert_eq!(
        (&completed["input"]["json"], &completed["output"]),
        (&json!({"x": 2}), &json!({"json": {"sum": 3}}))
    );
    let single = server.get("/v6/jobs/1005/").await.ok();
    assert_eq!(
        (&single["input"]["json"], &single["recipe"], &single["batch"]),
        (&json!({"x": 8}), &Value::Null, &Value::Null)
    );
    assert_eq!((&single["execution"], &single["node"]), (&Value::Null, &Value::Null));

    let executions = server.get("/v6/jobs/1004/executions/").await.ok();
    let numbers: Vec<i64> = executions["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["exe_num"].as_i64().unwrap())
        .collect();
    assert_eq!((numbers, &executions["count"]), (vec![3, 2, 1], &json!(3)));
    let first = server.get("/v6/jobs/1004/executions/1/").await.ok();
    assert_eq!((&first["error"]["name"], &first["job"]), (&json!("worker-lost"), &json!({"id": 1004})));
    assert_eq!(server.get("/v6/jobs/1004/executions/4/").await.status, 404);
    assert_eq!(
        server.get("/v6/jobs/1004/executions/?page=2&page_size=2").await.ok()["results"][0]["exe_num"],
        1
    );
    assert_eq!(server.get("/v6/jobs/1005/executions/").await.ok()["count"], 0);

    for (query, wanted) in [
        ("", vec![1001, 1002, 1003, 1004, 1005]),
        ("order=-duration", vec![1005, 1002, 1003, 1001, 1004]),
        ("order=duration", vec![1004, 1001, 1003, 1002, 1005]),
        ("status=FAILED&status=PENDING", vec![1004, 1005]),
        ("job_id=1002&job_id=7", vec![1002]),
        ("job_type_id=1&page_size=1&page=last", vec![1005]),
        ("job_type_name=add&is_superseded=true", vec![1003]),
        ("job_type_name=other", vec![]),
        ("batch_id=1&order=-id", vec![1004, 1003, 1002, 1001]),
        ("recipe_id=101", vec![1002, 1003]),
        ("error_category=DATA", vec![1004]),
        ("error_category=SYSTEM", vec![]),
        ("started=2028-10-01T00:00:00Z", vec![1004, 1005]),
    ] {
        assert_eq!(ids(&server, &format!("/v6/jobs/?{query}")).await, wanted, "{query}");
    }
    for query in ["status=DONE", "error_category=data", "order=x", "job_id=x"] {
        assert_eq!(server.get(&format!("/v6/jobs/?{query}")).await.status, 400, "{query}");
    }
    for path in ["/v6/jobs/7/", "/v6/jobs/7/executions/", "/v6/jobs/x/"] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancels_and_requeues_are_noted_with_their_filter() {
    let Some(server) = running().await else { return };
    for path in ["/v6/jobs/cancel/", "/v6/jobs/requeue/"] {
        for body in [
            json!({}),
            json!({"url": "x"}),
            json!({"priority": 5}),
            json!({"job_types": [{"name": "add", "version": "2.0.0"}]}),
            json!({"job_types": ["add"]}),
            json!({"job_ids": 1}),
            json!({"job_ids": ["x"]}),
            json!({"status": ["DONE"]}),
            json!({"error_categories": ["data"]}),
            json!({"started": "2026-01-01"}),
            json!({"is_superseded": "maybe"}),
            json!([]),
        ] {
            let answer = server.post(path, &body).await;
            assert_eq!(answer.status, 400, "{path} {body}");
        }
    }
    assert_eq!(
        server.post("/v6/jobs/requeue/", &json!({"batch_ids": [1], "priority": "high"})).await.status,
        400
    );
    assert_eq!(number(&server, "SELECT count(*) FROM job_requests").await, 0);

    let cancel = json!({
        "url": "ignored", "batch_ids": [1, "2"], "status": ["PENDING"], "started": "2026-01-01T00:00:00Z",
        "job_types": [{"name": "add", "version": "1.0.0"}], "job_type_ids": [1, 5],
    });
    let answer = server.post("/v6/jobs/cancel/", &cancel).await;
    assert_eq!((answer.status, answer.bytes.len()), (202, 0));
    let requeue = json!({"error_categories": ["SYSTEM"], "is_superseded": false, "priority": 7});
    assert_eq!(server.post("/v6/jobs/requeue/", &requeue).await.status, 202);
    let noted = |kind: &str, filter: Value, rest: &str| {
        format!(
            "SELECT count(*) FROM job_requests WHERE kind = '{kind}' AND filter = '{filter}' AND last_job_id = 1005
             AND finished IS NULL AND created_by = 'ann' AND {rest}"
        )
    };
    let filter = json!({"batch_ids": [1, 2], "status": ["PENDING"], "started": "2026-01-01T00:00:00Z", "job_type_ids": [1]});
    assert_eq!(number(&server, &noted("cancel", filter, "priority IS NULL")).await, 1);
    let filter = json!({"error_categories": ["SYSTEM"], "is_superseded": false});
    assert_eq!(number(&server, &noted("requeue", filter, "priority = 7")).await, 1);
    let audit = server.get("/acme/api/v4/audit?action=jobs").await.ok();
    let actions: Vec<&Value> =
        audit["data"].as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["jobs.cancel", "jobs.requeue"]);
    // Job types of others are unknown.
    let theirs = json!({"job_types": [{"name": "add", "version": "1.0.0"}]});
    let answer =
        send(&server, "POST".parse().unwrap(), "/v6/jobs/cancel/", Some(&server.other_key), &theirs).await;
    assert_eq!(answer.status, 400);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn single_recipes_are_refused_at_the_place() {
    let Some(server) = running().await else { return };
    let before = number(&server, "SELECT count(*) FROM recipes").await
        + number(&server, "SELECT count(*) FROM events").await;
    for (body, status, name) in [
        (json!({"input": {}}), 400, "MISSING_PARAMETER"),
        (json!({"recipe_type_id": 1}), 400, "MISSING_PARAMETER"),
        (json!({"recipe_type_id": 1, "input": {"x": 1}}), 400, "INVALID_DATA"),
        (json!({"recipe_type_id": 1, "input": {}}), 400, "PARAM_REQUIRED"),
        (json!({"recipe_type_id": 1, "input": {"json": {"x": "t"}}}), 400, "INVALID_JSON_TYPE"),
        (json!({"recipe_type_id": 1, "input": {"files": {"x": [1]}}}), 400, "MISMATCHED_PARAM_TYPE"),
        (json!({"recipe_type_id": 3, "input": {"json": {"x": 1}}}), 400, "INACTIVE_RECIPE_TYPE"),
        (json!({"recipe_type_id": 9, "input": {"json": {"x": 1}}}), 404, ""),
    ] {
        let answer = server.post("/v6/recipes/", &body).await;
        assert_eq!(
            (answer.status, answer.json()["name"].as_str().unwrap_or_default()),
            (status, name),
            "{body}"
        );
    }
    for (recipe, body, status, name) in [
        (200, json!({}), 400, "MISSING_PARAMETER"),
        (200, json!({"forced_nodes": {}}), 400, "INVALID_FORCED_NODES"),
        (200, json!({"forced_nodes": {"all": false, "nodes": ["z"]}}), 400, "UNKNOWN_FORCED_NODE"),
        (
            200,
            json!({"forced_nodes": {"all": false, "sub_recipes": {"a": {"all": true}}}}),
            400,
            "NOT_A_SUB_RECIPE",
        ),
        (
            200,
            json!({"forced_nodes": {"all": false, "sub_recipes": {"inner": {"all": false, "nodes": ["z"]}}}}),
            400,
            "UNKNOWN_FORCED_NODE",
        ),
        (200, json!({"forced_nodes": {"all": true}, "revision_num": 9}), 404, ""),
        (200, json!({"forced_nodes": {"all": true}, "revision_num": "x"}), 400, "INVALID_PARAMETER"),
        (100, json!({"forced_nodes": {"all": true}}), 400, "INVALID_PARAMETER"),
        (9, json!({"forced_nodes": {"all": true}}), 404, ""),
    ] {
        let answer = server.post(&format!("/v6/recipes/{recipe}/reprocess/"), &body).await;
        assert_eq!(
            (answer.status, answer.json()["name"].as_str().unwrap_or_default()),
            (status, name),
            "{recipe} {body}"
        );
    }
    let after = number(&server, "SELECT count(*) FROM recipes").await
        + number(&server, "SELECT count(*) FROM events").await;
    assert_eq!(after, before);
    server.stop().await;
}
