//! Chains of batches: followed, raced for, compared (scale-v6 4.3, 2.5).

use serde_json::json;

use super::world::{CHAIN, EMPTY, NUMBERS, chain, create, created_recipes, job, number, revise_chain, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_follows_the_current_one_of_its_chain() {
    let Some(server) = start().await else { return };
    let first = create(
        &server,
        &json!({"title": "one", "recipe_type_id": CHAIN, "definition": {"dataset": NUMBERS}}),
    )
    .await;
    created_recipes(&server, first, 3).await;
    // A dataset beside a previous batch decides nothing, even an empty one.
    let follow = json!({"recipe_type_id": CHAIN, "definition": {"dataset": EMPTY, "previous_batch": {"root_batch_id": first}}});
    let valid = server.post("/v6/batches/validation/", &follow).await.ok();
    assert_eq!((&valid["is_valid"], &valid["recipes_estimated"]), (&json!(true), &json!(3)), "{valid}");
    assert_eq!(valid["prev_batch"]["diff"]["nodes"]["a"]["status"], "UNCHANGED");
    assert_eq!(
        valid["prev_batch"]["recipe_type_rev"],
        json!({"id": 11, "recipe_type": {"id": 1}, "revision_num": 1})
    );
    let second = create(&server, &follow).await;
    let (old, new) = (
        server.get(&format!("/v6/batches/{first}/")).await.ok(),
        server.get(&format!("/v6/batches/{second}/")).await.ok(),
    );
    assert_eq!(old["is_superseded"], true);
    assert!(old["superseded"].is_string(), "{old}");
    assert_eq!((&new["root_batch"]["id"], &new["superseded_batch"]["title"]), (&json!(first), &json!("one")));
    assert_eq!(new["recipes_estimated"], 3);
    // The source of its recipes is the batch before.
    assert_eq!(number(&server, &format!("SELECT count(*) FROM recipe_batches WHERE id = {second} AND dataset_id IS NULL AND superseded_batch_id = {first}")).await, 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_want_to_follow_a_batch_one_does() {
    let Some(server) = start().await else { return };
    let first = create(&server, &json!({"recipe_type_id": CHAIN, "definition": {"dataset": NUMBERS}})).await;
    let follow = json!({"recipe_type_id": CHAIN, "definition": {"previous_batch": {"root_batch_id": first}}});
    let mut current = first;
    for round in 1..=5 {
        created_recipes(&server, current, 3).await;
        let answers =
            futures_util::future::join_all((0..8).map(|_| server.post("/v6/batches/", &follow))).await;
        let made: Vec<&_> = answers.iter().filter(|answer| answer.status == 201).collect();
        assert_eq!(made.len(), 1, "{answers:?}");
        assert_eq!(made[0].json()["superseded_batch"]["id"], current);
        for answer in answers.iter().filter(|answer| answer.status != 201) {
            assert_eq!(
                (answer.status, answer.json()["name"].as_str()),
                (400, Some("PREV_BATCH_STILL_CREATING")),
                "{answer:?}"
            );
        }
        current = made[0].json()["id"].as_i64().unwrap();
        assert_eq!(number(&server, "SELECT count(*) FROM recipe_batches").await, round + 1);
        assert_eq!(
            number(&server, "SELECT count(*) FROM events").await,
            round + 1,
            "those who lost left no event"
        );
        assert_eq!(number(&server, "SELECT id FROM recipe_batches WHERE NOT is_superseded").await, current);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_compared_batch_by_batch() {
    let Some(server) = start().await else { return };
    let first = create(
        &server,
        &json!({"title": "one", "recipe_type_id": CHAIN, "definition": {"dataset": NUMBERS}}),
    )
    .await;
    created_recipes(&server, first, 3).await;
    server
        .sql(&format!(
            "UPDATE recipe_batch_nodes SET jobs_completed = 2, job_count = 2, job_sum = 3000001, job_min = 0, job_max = 3000001,
                 seed_count = 2, seed_sum = 24600, seed_min = 12300, seed_max = 12300
                 WHERE batch_id = {first} AND node_name = 'a' AND slot = 2;
             UPDATE recipe_batch_nodes SET jobs_completed = 1, jobs_failed = -1, job_count = 1, job_sum = 9, job_min = 9, job_max = 9
                 WHERE batch_id = {first} AND node_name = 'a' AND slot = 7;
             UPDATE recipe_batch_nodes SET jobs_failed = 1 WHERE batch_id = {first} AND node_name = 'a' AND slot = 1"
        ))
        .await;
    // The next revision has another node in place of `b`.
    let mut definition = chain(&json!([{"name": "x", "type": "number"}]));
    definition["nodes"] = json!({"a": definition["nodes"]["a"], "c": job(&["a"], &json!({}))});
    revise_chain(&server, 2, &definition).await;
    let second = create(
        &server,
        &json!({"recipe_type_id": CHAIN, "definition": {"previous_batch": {"root_batch_id": first}}}),
    )
    .await;

    let metrics = server.get(&format!("/v6/batches/{first}/")).await.ok()["job_metrics"]["a"].clone();
    assert_eq!(
        (&metrics["jobs_total"], &metrics["jobs_completed"], &metrics["jobs_failed"]),
        (&json!(3), &json!(3), &json!(0))
    );
    assert_eq!(
        (&metrics["min_job_duration"], &metrics["max_job_duration"]),
        (&json!("PT0S"), &json!("PT3.000001S"))
    );
    assert_eq!(
        (&metrics["avg_job_duration"], &metrics["avg_seed_duration"]),
        (&json!("PT1.000003S"), &json!("PT0.0123S"))
    );

    let compared = server.get(&format!("/v6/batches/comparison/{first}/")).await.ok();
    let batches = compared["batches"].as_array().unwrap();
    assert_eq!(
        batches.iter().map(|batch| batch["id"].as_i64().unwrap()).collect::<Vec<_>>(),
        [first, second]
    );
    assert_eq!(batches[0]["title"], "one");
    let metrics = &compared["metrics"];
    assert_eq!((&metrics["recipes_estimated"], &metrics["recipes_total"]), (&json!([3, 3]), &json!([3, 0])));
    let nodes = metrics["job_metrics"].as_object().unwrap();
    assert_eq!(nodes.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(nodes["a"]["jobs_completed"], json!([3, 0]));
    assert_eq!(nodes["a"]["min_job_duration"], json!(["PT0S", null]));
    assert_eq!(nodes["b"]["jobs_total"], json!([0, null]));
    assert_eq!(nodes["c"]["jobs_total"], json!([null, 0]));
    assert_eq!((metrics.as_object().unwrap().len(), nodes["c"].as_object().unwrap().len()), (12, 14));
    for node in nodes.values() {
        assert!(node.as_object().unwrap().values().all(|list| list.as_array().unwrap().len() == 2), "{node}");
    }
    // Neither unknown ids nor later batches are chains.
    for id in [second, 999] {
        let nothing = server.get(&format!("/v6/batches/comparison/{id}/")).await.ok();
        assert_eq!((&nothing["batches"], &nothing["metrics"]["job_metrics"]), (&json!([]), &json!({})));
        assert_eq!(nothing["metrics"]["jobs_total"], json!([]));
    }
    assert_eq!(server.get("/v6/batches/comparison/x/").await.status, 404);
    assert_eq!(compared["metrics"]["jobs_total"].as_array().map(Vec::len), Some(2));
    server.stop().await;
}
