//! Superseded batches.

use millrace_common::store::SharedJobs;
use millrace_tests::FleetOptions;
use serde_json::{Value, json};

use super::{A_WHILE_AGO, DAYS, LONG_AGO, World, all, nothing};
use crate::calls::at;

#[tokio::test]
async fn superseded_batches_go_with_everything_in_them() {
    let world = World::new(FleetOptions::workers(1)).await;
    let (calls, store) = (&world.calls, &world.store);
    let recipe_type = world.recipe_type().await;
    let dataset = calls.dataset(0..20).await;
    let first = calls.batch(recipe_type, json!({"dataset": dataset})).await;
    calls.completed(first).await;
    let second = world.follow(recipe_type, first, all()).await;
    let census = world.census().await;
    let third = world.follow(recipe_type, first, all()).await;
    let fourth = world.follow(recipe_type, first, all()).await;
    let before = world.census().await;
    assert!(before["jobs"] > census["jobs"] && before["recipe_conditions"] > census["recipe_conditions"]);

    assert_eq!(store.superseded_recipe_batch(DAYS, 0).await.unwrap(), None, "all of it is new");
    world.run(LONG_AGO).await;
    // Neither the first nor the newest.
    assert_eq!(store.superseded_recipe_batch(DAYS, 0).await.unwrap(), Some(second));
    assert_eq!(store.superseded_recipe_batch(DAYS, second).await.unwrap(), Some(third));
    assert_eq!(store.superseded_recipe_batch(DAYS, third).await.unwrap(), None);
    for batch in [first, fourth] {
        assert!(!store.hide_recipe_batch(batch).await.unwrap(), "{batch}");
    }

    // Hidden, it is gone for everybody, though every row is there.
    let recipes = world.ids(&format!("/v6/recipes/?batch_id={third}&page_size=1000")).await;
    let jobs = world.ids(&format!("/v6/jobs/?batch_id={third}&page_size=1000")).await;
    assert_eq!((recipes.len(), jobs.len()), (40, 80));
    let counts = |count: Value| json!([count["count"], count["results"].as_array().unwrap().len()]);
    let total = calls.get("/v6/jobs/?page_size=1000").await;
    assert_eq!(counts(total), json!([320, 320]));
    for batch in [second, third] {
        assert_eq!(world.shared(batch).await, SharedJobs::None);
        assert!(store.hide_recipe_batch(batch).await.unwrap());
        assert!(!store.hide_recipe_batch(batch).await.unwrap(), "once");
    }
    assert_eq!(world.census().await, before);
    for path in [
        format!("/v6/batches/{third}/"),
        format!("/v6/batches/{third}/export/"),
        format!("/v6/recipes/{}/", recipes[0]),
        format!("/v6/jobs/{}/", jobs[0]),
        format!("/v6/jobs/{}/executions/", jobs[0]),
    ] {
        assert_eq!(world.status(&path).await, 404, "{path}");
    }
    assert_eq!(calls.change(&format!("/v6/batches/{third}/"), &json!({"title": "x"})).await.status, 404);
    let again = format!("/v6/recipes/{}/reprocess/", recipes[0]);
    assert_eq!(calls.refused(&again, &json!({"forced_nodes": all()})).await.0, 404);
    for list in ["recipes", "jobs"] {
        for filter in [format!("batch_id={third}"), format!("batch_id={third}&is_superseded=true")] {
            assert_eq!(
                counts(calls.get(&format!("/v6/{list}/?{filter}")).await),
                json!([0, 0]),
                "{list} {filter}"
            );
        }
    }
    assert_eq!(counts(calls.get("/v6/jobs/?page_size=1000").await), json!([160, 160]));
    assert_eq!(counts(calls.get("/v6/jobs/?page_size=1000&is_superseded=true").await), json!([80, 80]));
    assert_eq!(counts(calls.get("/v6/recipes/?page_size=1000&is_completed=true").await), json!([80, 80]));
    assert_eq!(world.ids("/v6/batches/?order=id").await, [first, fourth]);
    let compared = calls.get(&format!("/v6/batches/comparison/{first}/")).await;
    assert_eq!(compared["metrics"]["jobs_total"], json!([80, 80]), "{compared}");
    let newest = calls.get(&format!("/v6/batches/{fourth}/")).await;
    assert_eq!((&newest["superseded_batch"], &newest["root_batch"]["id"]), (&Value::Null, &json!(first)));
    let living = world.ids(&format!("/v6/recipes/?batch_id={fourth}&page_size=1")).await[0];
    assert_eq!(calls.get(&format!("/v6/recipes/{living}/")).await["superseded_recipe"], Value::Null);
    world.setup.assert_exact().await.unwrap();

    // What is hidden waits until nobody can have seen it any more.
    assert_eq!(store.hidden_recipe_batch(0).await.unwrap(), None);
    world.run(A_WHILE_AGO).await;
    assert_eq!(store.hidden_recipe_batch(0).await.unwrap(), Some(second));
    assert_eq!(store.hidden_recipe_batch(second).await.unwrap(), Some(third));
    // Nothing of a batch goes that is not hidden, and the batch not before its recipes.
    let untouched = store.remove_recipes_of_batch(fourth, i64::MAX).await.unwrap();
    assert_eq!((untouched.recipes, untouched.jobs), (0, 0));
    assert!(!store.remove_hidden_recipe_batch(third).await.unwrap());
    for batch in [third, second] {
        let (one, two) = tokio::join!(world.remove(batch), world.remove(batch));
        assert!(one || two || world.remove(batch).await);
        assert!(!world.remove(batch).await, "once");
    }
    let mut after = world.census().await;
    // The last two batches of a chain have as many rows as any others.
    assert_eq!(after.remove("recipe_batches"), Some(2));
    let mut census = census;
    census.remove("recipe_batches");
    assert_eq!((after, world.orphans().await), (census, 0));
    world.setup.assert_exact().await.unwrap();
    assert_eq!(counts(calls.get("/v6/jobs/?page_size=1000").await), json!([160, 160]));

    // The chain goes on.
    let fifth = world.follow(recipe_type, first, nothing()).await;
    assert_eq!(calls.get(&format!("/v6/batches/{fifth}/")).await["superseded_batch"]["id"], json!(fourth));
    world.setup.assert_exact().await.unwrap();
}

#[tokio::test]
async fn what_living_recipes_share_stays() {
    let world = World::new(FleetOptions::workers(1)).await;
    let (calls, store) = (&world.calls, &world.store);
    let recipe_type = world.recipe_type().await;
    let dataset = calls.dataset(0..5).await;
    let first = calls.batch(recipe_type, json!({"dataset": dataset})).await;
    calls.completed(first).await;
    let second = world.follow(recipe_type, first, all()).await;
    // It shares what the second made; one job of each recipe is its own.
    let third = world.follow(recipe_type, first, json!({"all": false, "nodes": ["last"]})).await;
    world.run(LONG_AGO).await;
    assert_eq!(store.superseded_recipe_batch(DAYS, 0).await.unwrap(), Some(second));
    assert_eq!(world.shared(second).await, SharedJobs::Some);
    let (before, census) = (calls.get(&format!("/v6/batches/{third}/")).await, world.census().await);

    // Whatever the look said: under the locks nothing goes that others share.
    assert!(store.hide_recipe_batch(second).await.unwrap());
    world.run(A_WHILE_AGO).await;
    let mut expected = census.clone();
    assert!(!world.remove(second).await);
    assert_eq!(world.census().await, expected);
    store.show_recipe_batch(second).await.unwrap();
    assert_eq!(world.status(&format!("/v6/batches/{second}/")).await, 200);
    assert_eq!(calls.get(&format!("/v6/batches/{third}/")).await["jobs_total"], before["jobs_total"]);

    // Where nothing is shared any more, it goes, and the one that shared it goes first.
    let fourth = world.follow(recipe_type, first, all()).await;
    world.run(LONG_AGO).await;
    assert_eq!(world.shared(third).await, SharedJobs::None);
    assert!(store.hide_recipe_batch(third).await.unwrap());
    world.run(A_WHILE_AGO).await;
    assert!(world.remove(third).await);
    assert_eq!(world.shared(second).await, SharedJobs::None);
    assert!(store.hide_recipe_batch(second).await.unwrap());
    world.run(A_WHILE_AGO).await;
    assert!(world.remove(second).await);
    expected = world.census().await;
    assert_eq!((expected["recipe_links"], expected["recipe_batches"], expected["recipes"]), (0, 2, 20));
    calls.completed(fourth).await;
    world.setup.assert_exact().await.unwrap();
}

/// Recipes that were done again one by one belong to the batch as well, and what waits or runs keeps all of it.
#[tokio::test]
async fn a_batch_stays_while_one_of_its_jobs_waits() {
    let world = World::new(FleetOptions::workers(1)).await;
    let (calls, store) = (&world.calls, &world.store);
    let recipe_type = world.recipe_type().await;
    let dataset = calls.dataset(0..3).await;
    let first = calls.batch(recipe_type, json!({"dataset": dataset})).await;
    calls.completed(first).await;
    let second = calls
        .batch(recipe_type, json!({"previous_batch": {"root_batch_id": first, "forced_nodes": all()}}))
        .await;
    calls.completed(second).await;
    let apart = json!({"previous_batch": {"root_batch_id": first}, "supersedes": false});
    let third = calls.batch(recipe_type, apart).await;
    calls.completed(third).await;
    // The recipes of the second are current still. One is done again, twice; a job of the last waits.
    let recipe = world.ids(&format!("/v6/recipes/?batch_id={second}&page_size=1&order=id")).await[0];
    let reprocess = async |recipe: i64| {
        let path = format!("/v6/recipes/{recipe}/reprocess/");
        let body = json!({"forced_nodes": {"all": false, "nodes": ["last"]}});
        let answer = calls.0.post(&path, &body).await.unwrap();
        assert_eq!(answer.status, 202, "{}", answer.describe());
        let old = calls.get(&format!("/v6/recipes/{recipe}/")).await;
        old["superseded_by_recipe"]["id"].as_i64().unwrap()
    };
    let again = reprocess(recipe).await;
    calls.recipe_completed(again).await;
    calls.patch("/v6/job-types/add/1.0.0/", &json!({"is_paused": true})).await;
    let newest = reprocess(again).await;
    let waiting = at(&calls.get(&format!("/v6/recipes/{newest}/")).await, "last")["job_id"].as_i64().unwrap();
    calls.job_until(waiting, "QUEUED").await;
    world.run(LONG_AGO).await;
    assert_eq!(store.superseded_recipe_batch(DAYS, 0).await.unwrap(), None, "a job of the second waits");
    assert!(!store.hide_recipe_batch(second).await.unwrap());
    calls.patch("/v6/job-types/add/1.0.0/", &json!({"is_paused": false})).await;
    calls.recipe_completed(newest).await;
    assert_eq!(store.superseded_recipe_batch(DAYS, 0).await.unwrap(), None, "it changed lately");
    world.setup.wait_until_at_rest().await.unwrap();
    world.run(LONG_AGO).await;
    assert_eq!(store.superseded_recipe_batch(DAYS, 0).await.unwrap(), Some(second));
    assert_eq!(world.shared(second).await, SharedJobs::None, "they share among themselves");
    assert!(store.hide_recipe_batch(second).await.unwrap());
    world.run(A_WHILE_AGO).await;
    // A recipe goes before the one that it took the place of: the newest first, one generation at a time.
    let mut tries = 0;
    while !world.remove(second).await {
        tries += 1;
        assert!(tries < 5, "something of the batch does not go");
    }
    assert_eq!(world.status(&format!("/v6/jobs/{waiting}/")).await, 404);
    assert_eq!((world.orphans().await, world.census().await["recipe_links"]), (0, 0));
    world.setup.assert_exact().await.unwrap();
}
