//! Bundles as workers take them: jobs with their inputs (data plane).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::families::data;
use super::known::JobProgram;
use crate::model::recipe::running::{Placed, Revision, WorkerName};
use crate::model::recipe::{Data, NodeIndex, Source};
use crate::store::data::DataClient;
use crate::store::{Store, StoreError};

/// A job that waits for its evaluation.
#[derive(Debug)]
pub struct BundleJob {
    /// The job.
    pub job_id: i64,
    /// The execution.
    pub exe_num: i32,
    /// The recipe that it is in.
    pub recipe_id: Option<i64>,
    /// Its input.
    pub input: Data,
    /// The recipe's input.
    pub recipe_input: Data,
    /// Outputs of jobs before it, by node.
    pub outputs: BTreeMap<NodeIndex, Arc<Data>>,
}

/// Jobs of one program.
#[derive(Debug)]
pub struct Bundle {
    /// Its id.
    pub id: i64,
    /// The workload.
    pub workload_id: Uuid,
    /// What they run.
    pub program: Arc<JobProgram>,
    /// The node that all of them are; none outside recipes.
    pub node: Option<(Arc<Revision>, NodeIndex)>,
    /// How often it was started before, as far as that was noted.
    pub attempts: u32,
    /// When it was read.
    pub at: DateTime<Utc>,
    /// Those of its jobs that still wait.
    pub jobs: Vec<BundleJob>,
}

/// How a job came out.
#[derive(Debug, Clone)]
pub enum JobOutcome {
    /// With an output.
    Completed(Arc<Data>),
    /// Not at all: its input does not fit the interface (contract 6.1).
    Refused(String),
    /// With an error.
    Failed {
        /// The name of a built-in error.
        error: &'static str,
        /// For people.
        detail: String,
        /// Whether another try can help.
        retryable: bool,
    },
}

/// A job's result.
#[derive(Debug, Clone)]
pub struct JobResult {
    /// The job.
    pub job_id: i64,
    /// The execution.
    pub exe_num: i32,
    /// How it came out.
    pub outcome: JobOutcome,
    /// The evaluation alone, in microseconds.
    pub seed_micros: i64,
}

/// What a job gives that is not on the queue yet: its recipe and node, its output, and the microseconds of its evaluation.
pub type Foreseen = (Placed, Arc<Data>, i64);

/// A bundle that was evaluated.
#[derive(Debug, Clone)]
pub struct FinishedBundle {
    /// The bundle.
    pub id: i64,
    /// Who did it.
    pub worker: WorkerName,
    /// When it was begun, by the database's clock.
    pub started: DateTime<Utc>,
    /// What came out.
    pub results: Vec<JobResult>,
    /// What jobs behind these will give, should they be queued next.
    pub foreseen: Vec<Foreseen>,
}

const BUNDLE: &str = "
-- bundles: read
SELECT b.workload_id, b.recipe_type_rev_id, b.node, b.job_type_rev_id, b.items, b.exe_nums, b.attempts, clock_timestamp(),
    t.is_paused
FROM job_bundles b JOIN job_type_revisions r ON r.id = b.job_type_rev_id JOIN job_types t ON t.id = r.job_type_id
WHERE b.id = $1 AND b.kind = 'jobs'";

const BUNDLE_AGAIN: &str = "
-- bundles: read and count a start
UPDATE job_bundles b SET attempts = attempts + 1
FROM job_type_revisions r JOIN job_types t ON t.id = r.job_type_id
WHERE b.id = $1 AND b.kind = 'jobs' AND r.id = b.job_type_rev_id
RETURNING b.workload_id, b.recipe_type_rev_id, b.node, b.job_type_rev_id, b.items, b.exe_nums, b.attempts, clock_timestamp(),
    t.is_paused";

const STARTS: &str = "
-- bundles: counted starts
SELECT attempts FROM job_bundles WHERE id = $1";

/// Until its job type is no longer paused nobody publishes it.
const PUT_BY: &str = "
-- bundles: put by
UPDATE job_bundles SET created_at = 'infinity', published_at = NULL WHERE id = $1";

const JOBS: &str = "
-- bundles: jobs
SELECT id, recipe_id, num_exes, input::text FROM jobs WHERE id = ANY($1) AND status IN ('QUEUED', 'RUNNING')";

const INPUTS: &str = "
-- bundles: inputs
SELECT id, input::text FROM recipes WHERE id = ANY($1) AND input IS NOT NULL";

const OUTPUTS: &str = "
-- bundles: outputs
SELECT recipe_id, node, output::text FROM jobs WHERE recipe_id = ANY($1) AND node = ANY($2) AND output IS NOT NULL";

const LINKED_OUTPUTS: &str = "
-- bundles: outputs of shared jobs
SELECT l.recipe_id, l.node, j.output::text FROM recipe_links l JOIN jobs j ON j.id = l.job_id
WHERE l.recipe_id = ANY($1) AND l.node = ANY($2) AND j.output IS NOT NULL";

const SPLIT: &str = "
-- bundles: split
INSERT INTO job_bundles (workload_id, kind, recipe_type_rev_id, node, job_type_rev_id, priority, items, exe_nums, created_at)
SELECT b.workload_id, b.kind, b.recipe_type_rev_id, b.node, b.job_type_rev_id, b.priority, b.items[h.from_:h.to_],
       b.exe_nums[h.from_:h.to_], '-infinity'
FROM job_bundles b, LATERAL (VALUES (1, cardinality(b.items) / 2), (cardinality(b.items) / 2 + 1, cardinality(b.items)))
    AS h (from_, to_)
WHERE b.id = $1 AND cardinality(b.items) > 1";

const DELETE: &str = "
-- bundles: delete
DELETE FROM job_bundles WHERE id = $1";

impl Store {
    /// Reads a bundle with what its jobs are computed from; none when it was committed, or is put by because its job type is
    /// paused. `again` counts a start: for a delivery
    /// that was delivered before.
    pub async fn load_bundle(&self, id: i64, again: bool) -> Result<Option<Bundle>, StoreError> {
        let client = self.data_client().await?;
        client.in_time(Box::pin(self.read_bundle(&client, id, again))).await
    }

    /// How many starts of a bundle were counted; 0 when it is gone.
    pub async fn bundle_starts(&self, id: i64) -> Result<u32, StoreError> {
        let client = self.data_client().await?;
        let statement = client.prepare_cached(STARTS).await?;
        let row = client.in_time(async { Ok(client.query_opt(&statement, &[&id]).await?) }).await?;
        Ok(row.map(|row| row.try_get::<_, i32>(0)).transpose()?.unwrap_or_default().unsigned_abs())
    }

    async fn read_bundle(
        &self,
        client: &DataClient,
        id: i64,
        again: bool,
    ) -> Result<Option<Bundle>, StoreError> {
        let statement = client.prepare_cached(if again { BUNDLE_AGAIN } else { BUNDLE }).await?;
        let Some(row) = client.query_opt(&statement, &[&id]).await? else { return Ok(None) };
        if row.try_get(8)? {
            let statement = client.prepare_cached(PUT_BY).await?;
            client.execute(&statement, &[&id]).await?;
            return Ok(None);
        }
        let revision: Option<i64> = row.try_get(1)?;
        let number: Option<i16> = row.try_get(2)?;
        let items: Vec<i64> = row.try_get(4)?;
        let exe_nums: Vec<i32> = row.try_get(5)?;
        let program = self.job_program(client, row.try_get(3)?).await?;
        let node = match revision {
            Some(revision) => {
                let revision = self.revision(client, revision).await?;
                let node = number.and_then(|number| revision.graph.by_number(number));
                Some(node.map(|node| (revision, node)).ok_or(StoreError::NotFound("node of a bundle"))?)
            }
            None => None,
        };
        let wanted: HashMap<i64, i32> = items.iter().copied().zip(exe_nums).collect();
        let statement = client.prepare_cached(JOBS).await?;
        let mut jobs = Vec::with_capacity(items.len());
        for row in client.query(&statement, &[&items]).await? {
            let (job_id, exe_num) = (row.try_get(0)?, row.try_get(2)?);
            if wanted.get(&job_id) == Some(&exe_num) {
                let own: Option<&str> = row.try_get(3)?;
                jobs.push(BundleJob {
                    job_id,
                    exe_num,
                    recipe_id: row.try_get(1)?,
                    input: own.map(data).transpose()?.unwrap_or_default(),
                    recipe_input: Data::default(),
                    outputs: BTreeMap::new(),
                });
            }
        }
        if let Some((revision, node)) = &node {
            read_inputs(client, revision, *node, &mut jobs).await?;
        }
        Ok(Some(Bundle {
            id,
            workload_id: row.try_get(0)?,
            program,
            node,
            attempts: row.try_get::<_, i32>(6)?.unsigned_abs(),
            at: row.try_get(7)?,
            jobs,
        }))
    }

    /// Makes two bundles of one that kills its workers, so that a job that does stands alone in the end. False when it is one
    /// job, or gone.
    pub async fn split_bundle(&self, id: i64) -> Result<bool, StoreError> {
        let client = self.data_client().await?;
        super::transaction::transaction(&client, "recipes.split", async {
            let statement = client.prepare_cached(SPLIT).await?;
            let split = client.execute(&statement, &[&id]).await? > 0;
            if split {
                let statement = client.prepare_cached(DELETE).await?;
                client.execute(&statement, &[&id]).await?;
            }
            Ok(split)
        })
        .await
    }
}

/// Whatever the node and those behind it take from the recipe and from jobs before it.
async fn read_inputs(
    client: &DataClient,
    revision: &Revision,
    node: NodeIndex,
    jobs: &mut [BundleJob],
) -> Result<(), StoreError> {
    let own = revision.graph.node(node);
    let mut before = BTreeSet::new();
    for behind in std::iter::once(node).chain(own.descendants.iter()) {
        for (_, source) in &revision.graph.node(behind).sources {
            if let Source::JobOutput { node: from, .. } = source
                && *from != node
                && !own.descendants.contains(*from)
            {
                before.insert(*from);
            }
        }
    }
    let recipes: Vec<i64> = jobs.iter().filter_map(|job| job.recipe_id).collect();
    let places: HashMap<i64, usize> =
        jobs.iter().enumerate().filter_map(|(at, job)| Some((job.recipe_id?, at))).collect();
    let statement = client.prepare_cached(INPUTS).await?;
    for row in client.query(&statement, &[&recipes]).await? {
        if let Some(job) = places.get(&row.try_get(0)?).and_then(|at| jobs.get_mut(*at)) {
            job.recipe_input = data(row.try_get(1)?)?;
        }
    }
    if !before.is_empty() {
        let nodes: Vec<i16> = before.iter().map(|node| node.number()).collect();
        let mut found = Vec::new();
        for statement in [OUTPUTS, LINKED_OUTPUTS] {
            let statement = client.prepare_cached(statement).await?;
            found.extend(client.query(&statement, &[&recipes, &nodes]).await?);
        }
        for row in found {
            if let Some(job) = places.get(&row.try_get(0)?).and_then(|at| jobs.get_mut(*at))
                && let Some(from) = revision.graph.by_number(row.try_get(1)?)
            {
                job.outputs.insert(from, Arc::new(data(row.try_get(2)?)?));
            }
        }
    }
    for job in jobs {
        let BundleJob { input, recipe_input, outputs, .. } = job;
        *input = revision
            .graph
            .node_input(node, recipe_input, |from| outputs.get(&from).map(|output| output.as_ref()));
    }
    Ok(())
}
