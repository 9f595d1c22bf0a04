//! Job types, recipe types, datasets and batches, as rows; and what must hold of them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millrace_common::model::recipe::{Graph, NodeKind, Place, RecipeDefinition};
use millrace_tests::{Fleet, Process, wait_until};
use serde_json::{Value, json};
use tokio_postgres::Client;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::calls::Calls;
use crate::lists;

/// Longer than anything takes that is not broken.
const LONG: Duration = Duration::from_secs(120);

/// A job type as nodes name it.
pub struct JobType {
    name: String,
}

/// A job node.
pub fn job(job_type: &JobType, parents: &[&str], input: Value) -> Value {
    let parents: Vec<Value> = parents.iter().map(|name| json!({"name": name})).collect();
    json!({
        "dependencies": parents,
        "input": input,
        "node_type": {
            "node_type": "job", "job_type_name": job_type.name, "job_type_version": "1.0.0", "job_type_revision": 1
        }
    })
}

/// A recipe node.
pub fn recipe(name: &str, parents: &[&str], input: Value) -> Value {
    let parents: Vec<Value> = parents.iter().map(|name| json!({"name": name})).collect();
    json!({
        "dependencies": parents,
        "input": input,
        "node_type": {"node_type": "recipe", "recipe_type_name": name, "recipe_type_revision": 1}
    })
}

/// Counters of a batch.
#[derive(Debug)]
pub struct Counts {
    pub blocked: i64,
    pub failed: i64,
    pub completed: i64,
    pub recipes_total: i64,
    pub recipes_completed: i64,
}

/// The rows of a fleet's first tenant.
pub struct Setup {
    client: std::sync::Arc<Client>,
    calls: Calls,
    tenant: Uuid,
    prefix: String,
}

impl Setup {
    pub async fn new(fleet: &Fleet) -> Result<Self> {
        let client = fleet.database().connect().await?;
        let row = client.query_one("SELECT id FROM tenants WHERE name = $1", &[&fleet.tenant()]).await?;
        let calls = Calls::to(fleet);
        Ok(Self { client: client.into(), calls, tenant: row.get(0), prefix: String::new() })
    }

    /// The same with other names of types.
    pub fn called(&self, prefix: &str) -> Self {
        let calls = self.calls.clone();
        Self { client: self.client.clone(), calls, tenant: self.tenant, prefix: format!("{prefix}-") }
    }

    pub async fn job_type(
        &self,
        name: &str,
        inputs: &[&str],
        outputs: &[(&str, &str, bool)],
    ) -> Result<JobType> {
        let name = format!("{}{name}", self.prefix);
        let taken: Vec<Value> = inputs.iter().map(|name| json!({"name": name, "type": "number"})).collect();
        let given: Vec<Value> = outputs
            .iter()
            .map(|(name, _, required)| json!({"name": name, "type": "number", "required": required}))
            .collect();
        let manifest = json!({"seedVersion": "1.0.0", "job": {
            "name": name, "jobVersion": "1.0.0", "packageVersion": "1.0.0", "title": name, "description": name,
            "maintainer": {"name": "m", "email": "m@example.com"}, "timeout": 60,
            "interface": {"inputs": {"json": taken}, "outputs": {"json": given}}
        }});
        let fields: Vec<Value> =
            inputs.iter().map(|name| json!({"name": name, "type": "number", "default": 0})).collect();
        let formulas: Vec<Value> =
            outputs.iter().map(|(name, formula, _)| json!({"name": name, "formula": formula})).collect();
        let content = serde_json::to_vec(&json!({"inputs": fields, "outputs": formulas}))?;
        let (document, program) = (Uuid::new_v4(), Uuid::new_v4());
        self.client
            .execute(
                "INSERT INTO documents (id, tenant_id, file_name, media_type, sha256, content)
                 VALUES ($1, $2, 'formulas.json', 'application/json', '', $3)",
                &[&document, &self.tenant, &content],
            )
            .await?;
        self.client
            .execute(
                "WITH t AS (INSERT INTO job_types (tenant_id, name, version) VALUES ($1, $2, '1.0.0') RETURNING id)
                 INSERT INTO job_type_revisions (job_type_id, revision_num, manifest, model, program_id, document_id)
                 SELECT id, 1, $3, '{}', $4, $5 FROM t",
                &[&self.tenant, &name, &Json(&manifest), &program, &document],
            )
            .await?;
        Ok(JobType { name })
    }

    /// A recipe type; its revision's id.
    pub async fn recipe_type(&self, name: &str, definition: &Value) -> Result<i64> {
        let name = format!("{}{name}", self.prefix);
        let row = self
            .client
            .query_one(
                "WITH t AS (INSERT INTO recipe_types (tenant_id, name, title) VALUES ($1, $2, $2) RETURNING id)
                 INSERT INTO recipe_type_revisions (recipe_type_id, revision_num, definition)
                 SELECT id, 1, $3 FROM t RETURNING id",
                &[&self.tenant, &name, &Json(definition)],
            )
            .await?;
        let id: i64 = row.get(0);
        let parsed = RecipeDefinition::parse(definition, Place::root("definition"))
            .map_err(|found| anyhow::anyhow!("{found:?}"))?;
        for (node, own) in Graph::compile(&parsed)?.nodes() {
            let (statement, name) = match &own.kind {
                NodeKind::Job(job) => (
                    "INSERT INTO recipe_type_jobs SELECT $1, $2, r.id FROM job_type_revisions r
                     JOIN job_types t ON t.id = r.job_type_id WHERE t.name = $3",
                    &job.name,
                ),
                NodeKind::Recipe(recipe) => (
                    "INSERT INTO recipe_type_recipes SELECT $1, $2, r.id FROM recipe_type_revisions r
                     JOIN recipe_types t ON t.id = r.recipe_type_id WHERE t.name = $3",
                    &recipe.name,
                ),
                NodeKind::Condition(_) => continue,
            };
            let made = self.client.execute(statement, &[&id, &node.number(), name]).await?;
            ensure!(made == 1, "the node {} refers to {name}", own.name);
        }
        Ok(id)
    }

    /// A batch over these members.
    pub async fn batch(&self, revision: i64, members: &[Value], definition: Value) -> Result<i64> {
        let parameters = self
            .client
            .query_one("SELECT definition -> 'input' FROM recipe_type_revisions WHERE id = $1", &[&revision])
            .await?;
        let Json(parameters): Json<Value> = parameters.get(0);
        let dataset: i64 = self
            .client
            .query_one(
                "INSERT INTO datasets (tenant_id, definition, created_by) VALUES ($1, $2, 'test') RETURNING id",
                &[&self.tenant, &Json(json!({"parameters": parameters}))],
            )
            .await?
            .get(0);
        let members: Vec<String> = members.iter().map(Value::to_string).collect();
        self.client
            .execute(
                "INSERT INTO dataset_members (dataset_id, data) SELECT $1, t::jsonb FROM unnest($2::text[]) t",
                &[&dataset, &members],
            )
            .await?;
        let mut definition = definition;
        definition["dataset"] = json!(dataset);
        let row = self
            .client
            .query_one(
                "WITH e AS (INSERT INTO events (tenant_id, description) VALUES ($1, '{}') RETURNING id),
                 n AS (SELECT nextval('recipe_batches_id_seq') AS id)
                 INSERT INTO recipe_batches (id, tenant_id, recipe_type_id, recipe_type_rev_id, event_id, definition,
                     supersedes, dataset_id, last_member_id, root_batch_id, recipes_estimated, created_by)
                 OVERRIDING SYSTEM VALUE
                 SELECT n.id, $1, r.recipe_type_id, r.id, e.id, $3, true, $4,
                     (SELECT max(id) FROM dataset_members WHERE dataset_id = $4), n.id, 0, 'test'
                 FROM n, e, recipe_type_revisions r WHERE r.id = $2 RETURNING id",
                &[&self.tenant, &revision, &Json(definition), &dataset],
            )
            .await?;
        Ok(row.get(0))
    }

    /// A batch that does the recipes of another one again.
    pub async fn next_batch(&self, previous: i64, definition: Value) -> Result<i64> {
        let mut definition = definition;
        definition["previous_batch"] = json!({"root_batch_id": previous});
        self.client
            .execute("UPDATE recipe_batches SET is_superseded = true WHERE id = $1", &[&previous])
            .await?;
        let row = self
            .client
            .query_one(
                "INSERT INTO recipe_batches (tenant_id, recipe_type_id, recipe_type_rev_id, event_id, definition, supersedes,
                     root_batch_id, superseded_batch_id, recipes_estimated, created_by)
                 SELECT tenant_id, recipe_type_id, recipe_type_rev_id, event_id, $2, true, root_batch_id, id, 0, 'test'
                 FROM recipe_batches WHERE id = $1 RETURNING id",
                &[&previous, &Json(definition)],
            )
            .await?;
        Ok(row.get(0))
    }

    pub async fn counts(&self, batch: i64) -> Result<Counts> {
        let row = self
            .client
            .query_one(
                "SELECT coalesce(sum(jobs_blocked), 0)::int8, coalesce(sum(jobs_failed), 0)::int8,
                     coalesce(sum(jobs_completed), 0)::int8, coalesce(sum(recipes_total), 0)::int8,
                     coalesce(sum(recipes_completed), 0)::int8
                 FROM recipe_batch_counters WHERE batch_id = $1",
                &[&batch],
            )
            .await?;
        Ok(Counts {
            blocked: row.get(0),
            failed: row.get(1),
            completed: row.get(2),
            recipes_total: row.get(3),
            recipes_completed: row.get(4),
        })
    }

    /// Until this many recipes of the batch are completed, and all of them exist.
    pub async fn wait_until_completed(&self, batch: i64, recipes: i64) -> Result<()> {
        self.wait_until_at_least(batch, recipes).await?;
        wait_until("all recipes exist", LONG, || async {
            let row = self
                .client
                .query_one("SELECT is_creation_done FROM recipe_batches WHERE id = $1", &[&batch])
                .await?;
            Ok(row.get::<_, bool>(0).then_some(()))
        })
        .await?;
        let counts = self.counts(batch).await?;
        ensure!(counts.recipes_completed == recipes, "{counts:?}");
        Ok(())
    }

    pub async fn wait_until_at_least(&self, batch: i64, recipes: i64) -> Result<()> {
        wait_until("recipes are completed", LONG, || async {
            let counts = self.counts(batch).await?;
            ensure!(counts.recipes_completed >= recipes, "{counts:?}");
            Ok(Some(()))
        })
        .await
    }

    /// Until this many jobs of a batch are at a worker.
    pub async fn wait_until_running(&self, batch: i64, jobs: i64) -> Result<()> {
        let count = "SELECT count(*) FROM jobs WHERE batch_id = $1 AND status = 'RUNNING'
                     AND started IS NOT NULL AND worker_name IS NOT NULL";
        wait_until("jobs are running", LONG, || async {
            let running: i64 = self.client.query_one(count, &[&batch]).await?.get(0);
            Ok((running == jobs).then_some(()))
        })
        .await
    }

    /// Until this many jobs of a batch wait for their job type to be resumed.
    pub async fn wait_until_held_back(&self, batch: i64, jobs: i64) -> Result<()> {
        let count = "SELECT coalesce(sum(cardinality(b.items)), 0)::int8
                     FROM job_bundles b JOIN workloads w ON w.id = b.workload_id
                     WHERE w.batch_id = $1 AND b.created_at = 'infinity' AND b.published_at IS NULL";
        wait_until("jobs are held back", LONG, || async {
            let held: i64 = self.client.query_one(count, &[&batch]).await?.get(0);
            Ok((held == jobs).then_some(()))
        })
        .await
    }

    /// How many bundles there are, and how many of them the broker confirmed.
    pub async fn published_bundles(&self) -> Result<(i64, i64)> {
        let count = "SELECT count(*), count(published_at) FROM job_bundles";
        let row = self.client.query_one(count, &[]).await?;
        Ok((row.get(0), row.get(1)))
    }

    /// Until no job waits for a worker.
    pub async fn wait_until_at_rest(&self) -> Result<()> {
        wait_until("no job waits for a worker", LONG, || async {
            let row = self.client.query_one("SELECT NOT EXISTS (SELECT FROM job_bundles)", &[]).await?;
            Ok(row.get::<_, bool>(0).then_some(()))
        })
        .await
    }

    /// Until a worker that kills itself has done so.
    pub async fn wait_until_gone(&self, process: &mut Process) -> Result<()> {
        let deadline = std::time::Instant::now() + LONG;
        while process.runs() {
            ensure!(std::time::Instant::now() < deadline, "the worker still runs");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The dataset member and the output of every completed job at a node.
    pub async fn outputs(&self, batch: i64, node: &str) -> Result<Vec<(Value, Value)>> {
        let rows = self
            .client
            .query(
                "SELECT r.input, j.output FROM recipes r JOIN jobs j ON j.recipe_id = r.id AND j.node = $2
                 WHERE r.batch_id = $1 AND j.status = 'COMPLETED'",
                &[&batch, &self.node(batch, node).await?],
            )
            .await?;
        Ok(rows.iter().map(|row| (row.get::<_, Json<Value>>(0).0, row.get::<_, Json<Value>>(1).0)).collect())
    }

    /// The errors of failed jobs at a node.
    pub async fn errors(&self, batch: i64, node: &str) -> Result<Vec<(String, String)>> {
        let rows = self
            .client
            .query(
                "SELECT e.name, j.error_detail FROM jobs j JOIN job_errors e ON e.id = j.error_id
                 WHERE j.batch_id = $1 AND j.node = $2",
                &[&batch, &self.node(batch, node).await?],
            )
            .await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    async fn node(&self, batch: i64, name: &str) -> Result<i16> {
        let row = self
            .client
            .query_one(
                "SELECT r.definition FROM recipe_batches b JOIN recipe_type_revisions r ON r.id = b.recipe_type_rev_id
                 WHERE b.id = $1",
                &[&batch],
            )
            .await?;
        let Json(definition): Json<Value> = row.get(0);
        let parsed = RecipeDefinition::parse(&definition, Place::root("definition"))
            .map_err(|found| anyhow::anyhow!("{found:?}"))?;
        Ok(Graph::compile(&parsed)?.find(name).context("no such node")?.number())
    }

    /// Jobs that belong to recipes of the batch itself.
    pub async fn own_jobs(&self, batch: i64) -> Result<i64> {
        let row = self.client.query_one("SELECT count(*) FROM jobs WHERE batch_id = $1", &[&batch]).await?;
        Ok(row.get(0))
    }

    /// Superseded recipes and jobs of a batch.
    pub async fn superseded(&self, batch: i64) -> Result<(i64, i64)> {
        let row = self
            .client
            .query_one(
                "SELECT (SELECT count(*) FROM recipes WHERE batch_id = $1 AND is_superseded),
                     (SELECT count(*) FROM jobs WHERE batch_id = $1 AND is_superseded)",
                &[&batch],
            )
            .await?;
        Ok((row.get(0), row.get(1)))
    }

    /// The counters of every batch against its rows, counted anew; and how many lists say that there are.
    pub async fn assert_exact(&self) -> Result<()> {
        let wrong = self.client.query(RECONCILE, &[]).await?;
        let text: Vec<String> = wrong.iter().map(|row| row.get(0)).collect();
        ensure!(text.is_empty(), "counters and rows differ: {text:?}");
        lists::assert_exact(&self.client, &self.calls, self.tenant).await
    }
}

/// What a batch holds: its recipes at the top, what is in them, and what they share with older ones.
const RECONCILE: &str = "
WITH RECURSIVE held (batch_id, top, id) AS (
    SELECT batch_id, id, id FROM recipes WHERE parent_recipe_id IS NULL AND batch_id IS NOT NULL
    UNION ALL
    SELECT h.batch_id, h.top, c.id FROM held h, LATERAL (
        SELECT id FROM recipes WHERE parent_recipe_id = h.id
        UNION ALL SELECT sub_recipe_id FROM recipe_links WHERE recipe_id = h.id AND sub_recipe_id IS NOT NULL) c
), held_jobs AS (
    SELECT h.batch_id, h.id = h.top AS direct, j.status, j.node, r.recipe_type_rev_id
    FROM held h JOIN recipes r ON r.id = h.id JOIN jobs j ON j.recipe_id = h.id
    UNION ALL
    SELECT h.batch_id, h.id = h.top, j.status, l.node, r.recipe_type_rev_id
    FROM held h JOIN recipes r ON r.id = h.id JOIN recipe_links l ON l.recipe_id = h.id JOIN jobs j ON j.id = l.job_id
), found AS (
    SELECT b.id,
        ARRAY[(SELECT count(*) FROM held_jobs j WHERE j.batch_id = b.id AND status = 'PENDING'),
              (SELECT count(*) FROM held_jobs j WHERE j.batch_id = b.id AND status = 'BLOCKED'),
              (SELECT count(*) FROM held_jobs j WHERE j.batch_id = b.id AND status = 'QUEUED'),
              (SELECT count(*) FROM held_jobs j WHERE j.batch_id = b.id AND status = 'RUNNING'),
              (SELECT count(*) FROM held_jobs j WHERE j.batch_id = b.id AND status = 'FAILED'),
              (SELECT count(*) FROM held_jobs j WHERE j.batch_id = b.id AND status = 'COMPLETED'),
              (SELECT count(*) FROM held_jobs j WHERE j.batch_id = b.id AND status = 'CANCELED'),
              (SELECT count(*) FROM held h WHERE h.batch_id = b.id),
              (SELECT count(*) FROM held h JOIN recipes r ON r.id = h.id WHERE h.batch_id = b.id AND r.is_completed),
              (SELECT count(*) FROM held_jobs j WHERE j.batch_id = b.id AND direct AND status = 'COMPLETED')] AS counts
    FROM recipe_batches b
), counted AS (
    SELECT b.id,
        ARRAY[coalesce(sum(jobs_pending), 0), coalesce(sum(jobs_blocked), 0), coalesce(sum(jobs_queued), 0),
              coalesce(sum(jobs_running), 0), coalesce(sum(jobs_failed), 0), coalesce(sum(jobs_completed), 0),
              coalesce(sum(jobs_canceled), 0), coalesce(sum(recipes_total), 0), coalesce(sum(recipes_completed), 0),
              (SELECT coalesce(sum(n.job_count), 0) FROM recipe_batch_nodes n WHERE n.batch_id = b.id)]::int8[] AS counts
    FROM recipe_batches b LEFT JOIN recipe_batch_counters c ON c.batch_id = b.id GROUP BY b.id
)
SELECT format('batch %s: counted %s, found %s', id, c.counts, f.counts)
FROM found f JOIN counted c USING (id) WHERE c.counts IS DISTINCT FROM f.counts";
