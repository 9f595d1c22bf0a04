//! What is over its time goes with everything in it, what others need stays, and nothing is left over.

mod batches;
mod others;

use std::collections::BTreeMap;

use millrace_common::config::{DatabaseConfig, Secret};
use millrace_common::store::{SharedJobs, Store};
use millrace_tests::{Fleet, FleetOptions, Scrape, wait_until};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::calls::{self, Calls, LONG, definition, of, own};
use crate::setup::Setup;

/// Everything happened a hundred days ago.
const LONG_AGO: &str = "
UPDATE recipe_batches SET superseded = superseded - interval '100 days', created = created - interval '100 days';
UPDATE recipe_batch_counters SET touched_at = touched_at - interval '100 days';
UPDATE recipes SET last_modified = last_modified - interval '100 days';
UPDATE jobs SET last_modified = last_modified - interval '100 days';
UPDATE datasets SET created = created - interval '100 days';
UPDATE dataset_members SET created = created - interval '100 days';
UPDATE job_requests SET finished = finished - interval '100 days'";

/// What was hidden was hidden a while ago, and lanes without work are given back.
const A_WHILE_AGO: &str = "
UPDATE recipe_batches SET removed = removed - interval '1 hour';
UPDATE datasets SET removed = removed - interval '1 hour';
WITH idle AS (UPDATE workloads SET lane_id = NULL, lane_epoch = NULL RETURNING id)
UPDATE lanes SET batch_id = NULL WHERE batch_id IN (SELECT id FROM idle)";

const ORPHANS: &str = "
SELECT (SELECT count(*) FROM recipe_conditions c WHERE NOT EXISTS (SELECT FROM recipes r WHERE r.id = c.recipe_id))
     + (SELECT count(*) FROM recipe_links l WHERE NOT EXISTS (SELECT FROM recipes r WHERE r.id = l.recipe_id))
     + (SELECT count(*) FROM recipe_links l WHERE l.job_id IS NOT NULL AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = l.job_id))
     + (SELECT count(*) FROM recipe_links l
        WHERE l.sub_recipe_id IS NOT NULL AND NOT EXISTS (SELECT FROM recipes r WHERE r.id = l.sub_recipe_id))
     + (SELECT count(*) FROM recipes s
        WHERE s.parent_recipe_id IS NOT NULL AND NOT EXISTS (SELECT FROM recipes r WHERE r.id = s.parent_recipe_id))
     + (SELECT count(*) FROM jobs j WHERE j.recipe_id IS NOT NULL AND NOT EXISTS (SELECT FROM recipes r WHERE r.id = j.recipe_id))
     + (SELECT count(*) FROM job_executions x WHERE NOT EXISTS (SELECT FROM jobs j WHERE j.id = x.job_id))
     + (SELECT count(*) FROM recipes r WHERE NOT EXISTS (SELECT FROM events e WHERE e.id = r.event_id))
     + (SELECT count(*) FROM jobs j WHERE NOT EXISTS (SELECT FROM events e WHERE e.id = j.event_id))
     + (SELECT count(*) FROM events e WHERE NOT EXISTS (SELECT FROM recipes r WHERE r.event_id = e.id)
        AND NOT EXISTS (SELECT FROM jobs j WHERE j.event_id = e.id)
        AND NOT EXISTS (SELECT FROM recipe_batches b WHERE b.event_id = e.id))";

const DAYS: u32 = 90;

/// A fleet whose calls, rows and store are at hand.
struct World {
    fleet: Fleet,
    calls: Calls,
    setup: Setup,
    store: Store,
    client: Client,
}

impl World {
    async fn new(options: FleetOptions) -> Self {
        let fleet = Fleet::start(options).await.unwrap();
        let url = Secret::new(fleet.database().url.clone());
        let store = Store::open(&DatabaseConfig { url, ..DatabaseConfig::default() }, "test").unwrap();
        Self {
            calls: Calls::to(&fleet),
            setup: Setup::new(&fleet).await.unwrap(),
            store,
            client: fleet.database().connect().await.unwrap(),
            fleet,
        }
    }

    async fn run(&self, statements: &str) {
        self.client.batch_execute(statements).await.unwrap();
    }

    /// How many rows each table has, but for those that come and go by themselves.
    async fn census(&self) -> BTreeMap<String, i64> {
        let tables = self
            .client
            .query(
                "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
                     AND relname NOT IN ('audit_log', 'lanes', 'leases', 'workers', 'job_requests', '_sqlx_migrations')",
                &[],
            )
            .await
            .unwrap();
        let mut census = BTreeMap::new();
        for row in tables {
            let table: String = row.get(0);
            let count = format!("SELECT count(*) FROM {table}");
            let count = self.client.query_one(&count, &[]).await.unwrap().get(0);
            census.insert(table, count);
        }
        census
    }

    /// A graph with a job, a condition, and a sub-recipe of two jobs.
    async fn recipe_type(&self) -> i64 {
        let calls = &self.calls;
        calls.job_type("add", "x + 1").await;
        let inner = definition(json!({
            "one": calls::job("add", 1, &[], own()), "two": calls::job("add", 1, &["one"], of("one")),
        }));
        calls.recipe_type("Inner", &inner).await;
        let graph = definition(json!({
            "first": calls::job("add", 1, &[], own()),
            "when": {
                "dependencies": [{"name": "first"}], "input": {"y": of("first")},
                "node_type": {
                    "node_type": "condition", "interface": {"json": [{"name": "y", "type": "number"}]},
                    "data_filter": {"filters": [{"name": "y", "type": "number", "condition": ">", "values": [0]}]},
                },
            },
            "last": calls::job("add", 1, &["when"], of("when")),
            "inside": calls::recipe("inner", 1, &["first"], of("first")),
        }));
        calls.recipe_type("Outer", &graph).await
    }

    /// A batch that does the recipes of the current one of a chain again.
    async fn follow(&self, recipe_type: i64, root: i64, forced: Value) -> i64 {
        let definition = json!({"previous_batch": {"root_batch_id": root, "forced_nodes": forced}});
        let batch = self.calls.batch(recipe_type, definition).await;
        self.calls.completed(batch).await;
        self.setup.wait_until_at_rest().await.unwrap();
        batch
    }

    /// Rows whose owner is not there any more.
    async fn orphans(&self) -> i64 {
        self.client.query_one(ORPHANS, &[]).await.unwrap().get(0)
    }

    async fn status(&self, path: &str) -> u16 {
        self.calls.0.get(path).await.unwrap().status
    }

    async fn ids(&self, path: &str) -> Vec<i64> {
        let page = self.calls.get(path).await;
        page["results"].as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()).collect()
    }

    /// Whether others share jobs with a batch, looked at to the end.
    async fn shared(&self, batch: i64) -> SharedJobs {
        let mut after = 0;
        loop {
            match self.store.jobs_shared_with(batch, after).await.unwrap() {
                SharedJobs::NoneSoFar(last) => after = last,
                found => return found,
            }
        }
    }

    /// Removes what is left of a hidden batch; whether it is gone.
    async fn remove(&self, batch: i64) -> bool {
        let mut before = i64::MAX;
        while let Some(next) = self.store.remove_recipes_of_batch(batch, before).await.unwrap().next {
            before = next;
        }
        self.store.remove_hidden_recipe_batch(batch).await.unwrap()
    }
}

fn all() -> Value {
    json!({"all": true})
}

fn nothing() -> Value {
    json!({"all": false})
}

/// The reaper finds all of it by itself, as its settings say.
#[tokio::test]
async fn the_reaper_removes_what_is_over_its_time() {
    let options = FleetOptions::workers(1)
        .set_worker("clocks.reaper_ms", 10)
        .set_worker("retention.recipe_batches_days", 1)
        .set_worker("retention.recipes_days", 1)
        .set_worker("retention.datasets_days", 1);
    let mut world = World::new(options).await;
    let calls = world.calls.clone();
    let recipe_type = world.recipe_type().await;
    let dataset = calls.dataset(0..10).await;
    let first = calls.batch(recipe_type, json!({"dataset": dataset})).await;
    calls.completed(first).await;
    let second = world.follow(recipe_type, first, all()).await;
    let census = world.census().await;
    let third = world.follow(recipe_type, first, all()).await;
    let fourth = world.follow(recipe_type, first, nothing()).await;
    calls.dataset(0..10).await;
    let body = json!({"recipe_type_id": recipe_type, "input": {"json": {"x": 99}}});
    let single = calls.post("/v6/recipes/", &body).await["id"].as_i64().unwrap();
    calls.recipe_completed(single).await;
    calls.ask("cancel", &json!({"recipe_ids": [single]})).await;
    wait_until("the request is carried out", LONG, || async {
        let open = "SELECT count(*) FROM job_requests WHERE finished IS NULL";
        let open: i64 = world.client.query_one(open, &[]).await?.get(0);
        Ok((open == 0).then_some(()))
    })
    .await
    .unwrap();
    world.setup.wait_until_at_rest().await.unwrap();
    world.run(LONG_AGO).await;
    wait_until("all of it is gone", LONG, || async {
        world.client.batch_execute("
            UPDATE recipe_batches SET removed = removed - interval '1 hour' WHERE removed > now() - interval '1 hour';
            UPDATE datasets SET removed = removed - interval '1 hour' WHERE removed > now() - interval '1 hour';
            UPDATE workloads SET active_at = active_at - interval '1 hour' WHERE lane_id IS NOT NULL").await?;
        let left = "SELECT (SELECT count(*) FROM recipe_batches) + (SELECT count(*) FROM datasets)
                         + (SELECT count(*) FROM job_requests) + (SELECT count(*) FROM recipes WHERE batch_id IS NULL)";
        let left: i64 = world.client.query_one(left, &[]).await?.get(0);
        // Three batches, of which the fourth shares all that the third made, and their dataset.
        Ok((left == 4).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(world.ids("/v6/batches/?order=id").await, [first, third, fourth]);
    assert_eq!(world.status(&format!("/v6/batches/{second}/")).await, 404);
    assert_eq!(world.status(&format!("/v6/recipes/{single}/")).await, 404);
    world.setup.assert_exact().await.unwrap();
    let after = world.census().await;
    for table in ["jobs", "datasets", "dataset_members"] {
        assert_eq!(after[table], census[table], "{table}");
    }
    let address = world.fleet.worker(0).unwrap().address().await.unwrap();
    let page = Scrape::of(&format!("http://{address}"), None).await.unwrap();
    for (kind, least) in
        [("recipe_batch", 1.0), ("recipe", 22.0), ("job", 44.0), ("dataset", 1.0), ("job_request", 1.0)]
    {
        let removed = page.value(&format!("millrace_removed_total{{kind=\"{kind}\"}}"));
        assert!(removed >= least, "{kind}: {removed}");
    }
}
