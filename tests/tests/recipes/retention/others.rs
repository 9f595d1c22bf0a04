//! Recipes and jobs outside of batches, and datasets.

use millrace_common::store::RemovedDataset;
use millrace_tests::FleetOptions;
use serde_json::json;
use uuid::Uuid;

use super::{A_WHILE_AGO, DAYS, LONG_AGO, World};

/// Recipes and jobs outside of batches.
#[tokio::test]
async fn single_recipes_and_jobs_go_when_nobody_shares_them() {
    let world = World::new(FleetOptions::workers(1)).await;
    let (calls, store) = (&world.calls, &world.store);
    let recipe_type = world.recipe_type().await;
    let add = calls.get("/v6/job-types/add/1.0.0/").await["id"].clone();
    let job = async || {
        let body = json!({"job_type_id": add, "input": {"json": {"x": 1}}});
        calls.post("/v6/jobs/", &body).await["id"].as_i64().unwrap()
    };
    let recipe = async |x: i64| {
        let body = json!({"recipe_type_id": recipe_type, "input": {"json": {"x": x}}});
        let id = calls.post("/v6/recipes/", &body).await["id"].as_i64().unwrap();
        calls.recipe_completed(id).await;
        id
    };
    let (old_job, lone, first) = (job().await, recipe(1).await, recipe(2).await);
    calls.job_until(old_job, "COMPLETED").await;
    let path = format!("/v6/recipes/{first}/reprocess/");
    let body = json!({"forced_nodes": {"all": false, "nodes": ["last"]}});
    assert_eq!(calls.0.post(&path, &body).await.unwrap().status, 202);
    let shown = calls.get(&format!("/v6/recipes/{first}/")).await;
    let second = shown["superseded_by_recipe"]["id"].as_i64().unwrap();
    calls.recipe_completed(second).await;
    // The same input in a batch takes the place of the lone one, and shares its jobs.
    let dataset = calls.dataset([1]).await;
    let batch = calls.batch(recipe_type, json!({"dataset": dataset})).await;
    calls.completed(batch).await;
    calls.patch("/v6/job-types/add/1.0.0/", &json!({"is_paused": true})).await;
    let waiting = job().await;
    calls.job_until(waiting, "QUEUED").await;

    let outside = (Uuid::nil(), 0);
    let removed = store.remove_outside_recipes(DAYS, outside).await.unwrap();
    assert_eq!((removed.recipes, removed.jobs, removed.next), (0, 0, None), "all is new");
    assert_eq!(store.remove_outside_jobs(DAYS, outside).await.unwrap().jobs, 0);
    world.run(LONG_AGO).await;
    let young = job().await;
    let removed = store.remove_outside_jobs(DAYS, outside).await.unwrap();
    assert_eq!(removed.jobs, 1);
    assert_eq!(world.ids("/v6/jobs/?status=QUEUED&order=id").await, [waiting, young]);
    assert_eq!(world.status(&format!("/v6/jobs/{old_job}/")).await, 404);
    // The second shares jobs of the first, so it goes before; the lone one stays, a batch needs it.
    let removed = store.remove_outside_recipes(DAYS, outside).await.unwrap();
    assert_eq!((removed.recipes, removed.jobs), (1, 1), "what the second made itself");
    let removed = store.remove_outside_recipes(DAYS, outside).await.unwrap();
    assert_eq!((removed.recipes, removed.jobs), (2, 4));
    let removed = store.remove_outside_recipes(DAYS, outside).await.unwrap();
    assert_eq!((removed.recipes, removed.jobs), (0, 0));
    for gone in [first, second] {
        assert_eq!(world.status(&format!("/v6/recipes/{gone}/")).await, 404);
    }
    let details = calls.get(&format!("/v6/recipes/{lone}/")).await;
    assert_eq!((&details["is_superseded"], &details["jobs_completed"]), (&json!(true), &json!(4)));
    world.setup.assert_exact().await.unwrap();

    assert_eq!(world.orphans().await, 0);
}

/// Members, uploads and the row go; what a batch was made of, or only named, stays.
#[tokio::test]
async fn datasets_go_that_no_batch_was_made_of() {
    let world = World::new(FleetOptions::workers(1)).await;
    let (calls, store) = (&world.calls, &world.store);
    let recipe_type = world.recipe_type().await;
    let used = calls.dataset([1]).await;
    let first = calls.batch(recipe_type, json!({"dataset": used})).await;
    calls.completed(first).await;
    let named = calls.dataset([2]).await;
    let beside = json!({"dataset": named, "previous_batch": {"root_batch_id": first}});
    let second = calls.batch(recipe_type, beside).await;
    calls.completed(second).await;
    let census = world.census().await;
    let unused = calls.dataset(0..7).await;
    let tempting = calls.dataset([3]).await;
    let extended = calls.dataset([4]).await;
    world
        .run(&format!(
            "INSERT INTO dataset_uploads (tenant_id, dataset_id, state, created) SELECT tenant_id, id, 'running',
                 now() - interval '100 days' FROM datasets WHERE id = {unused}"
        ))
        .await;
    assert_eq!(store.hide_unused_datasets(DAYS, 0).await.unwrap().hidden, 0, "all of them are new");
    world.run(LONG_AGO).await;
    calls.post(&format!("/v6/datasets/{extended}/"), &json!({"data": [{"json": {"x": 5}}]})).await;
    let member = calls.get(&format!("/v6/datasets/{unused}/")).await["members"][0]["id"].as_i64().unwrap();
    assert_eq!(store.hide_unused_datasets(DAYS, 0).await.unwrap().hidden, 2);
    for path in [
        format!("/v6/datasets/{unused}/"),
        format!("/v6/datasets/{unused}/members/"),
        format!("/v6/datasets/{unused}/uploads/"),
        format!("/v6/datasets/members/{member}/"),
    ] {
        assert_eq!(world.status(&path).await, 404, "{path}");
    }
    assert_eq!(world.ids("/v6/datasets/").await, [used, named, extended]);
    let more = json!({"data": [{"json": {"x": 5}}]});
    assert_eq!(calls.refused(&format!("/v6/datasets/{unused}/"), &more).await.0, 404);
    let batch = json!({"recipe_type_id": recipe_type, "definition": {"dataset": unused}});
    assert_eq!(calls.refused("/v6/batches/", &batch).await, (400, "DATASET_NOT_FOUND".to_owned()));

    assert_eq!(store.remove_hidden_dataset().await.unwrap(), RemovedDataset::Nothing, "hidden a moment ago");
    world.run(A_WHILE_AGO).await;
    // Somebody had seen one of them before it was hidden, and made a batch of it.
    world
        .run(&format!(
            "UPDATE recipe_batches SET definition = '{{\"dataset\": {tempting}}}' WHERE id = {second}"
        ))
        .await;
    let mut found =
        vec![store.remove_hidden_dataset().await.unwrap(), store.remove_hidden_dataset().await.unwrap()];
    found.sort_by_key(|removed| format!("{removed:?}"));
    assert_eq!(found, [RemovedDataset::Shown, RemovedDataset::Whole]);
    assert_eq!(store.remove_hidden_dataset().await.unwrap(), RemovedDataset::Nothing);
    assert_eq!(world.ids("/v6/datasets/").await, [used, named, tempting, extended]);
    let after = world.census().await;
    assert_eq!(
        (after["datasets"], after["dataset_members"]),
        (census["datasets"] + 2, census["dataset_members"] + 3)
    );
    assert_eq!(after["dataset_uploads"], census["dataset_uploads"]);
}
