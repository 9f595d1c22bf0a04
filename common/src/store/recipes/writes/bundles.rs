//! Bundles of the jobs that became QUEUED, and the workloads that they belong to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use super::{Parameter, run};
use crate::model::recipe::running::{JobNode, JobRow, JobWrite, Running};
use crate::store::StoreError;
use crate::store::data::DataClient;
use crate::store::recipes::publication::BundleRef;

/// The most jobs of a bundle.
const BUNDLE_JOBS: usize = 400;

const WORKLOADS: &str = "
-- recipes: workloads of batches
INSERT INTO workloads (id, tenant_id, batch_id, priority, initial_workers, max_workers, seed)
SELECT gen_random_uuid(), b.tenant_id, b.id, (least(greatest(coalesce(nullif(b.priority, 0), 100), -1000000000), 1000000000) - 100)::int4, 1,
       greatest(t.max_workers, 1), (random() * 9007199254740991)::int8
FROM recipe_batches b JOIN tenants t ON t.id = b.tenant_id WHERE b.id = ANY($1)
ON CONFLICT DO NOTHING";

const WORKLOADS_OUTSIDE: &str = "
-- recipes: workloads outside of batches
INSERT INTO workloads (id, tenant_id, priority, initial_workers, max_workers, seed)
SELECT gen_random_uuid(), id, 0, 1, greatest(max_workers, 1), (random() * 9007199254740991)::int8
FROM tenants WHERE id = ANY($1)
ON CONFLICT DO NOTHING";

const FIND_WORKLOADS: &str = "
-- recipes: find workloads
SELECT id, tenant_id, batch_id FROM workloads
WHERE batch_id = ANY($1) OR (batch_id IS NULL AND tenant_id = ANY($2))";

const INSERT_BUNDLE: &str = "
-- recipes: insert a bundle
INSERT INTO job_bundles (workload_id, kind, recipe_type_rev_id, node, job_type_rev_id, priority, items, exe_nums, created_at)
VALUES ($1, 'jobs', $2, $3, $4, $5, $6, $7, CASE WHEN $8 THEN 'infinity' ELSE clock_timestamp() END) RETURNING id";

/// What the jobs of a bundle have in common: priority, workload, revision and node, program, and whether that is paused.
type BundleKey = (i64, Uuid, Option<(i64, i16)>, i64, bool);

/// Puts jobs that became QUEUED into bundles, those of the lowest priority first. Returns those that are
/// to be published now: while their job type is paused they are not.
pub(super) async fn write(client: &DataClient, running: &Running) -> Result<Vec<BundleRef>, StoreError> {
    let mut queued: Vec<&JobRow> =
        running.jobs.values().filter(|row| row.queued_now && row.write == JobWrite::Queue).collect();
    if queued.is_empty() {
        return Ok(Vec::new());
    }
    queued.sort_unstable_by_key(|row| row.id);
    let workloads = find_workloads(client, &queued).await?;
    let mut groups: BTreeMap<BundleKey, Vec<&JobRow>> = BTreeMap::new();
    for row in queued {
        let outside = row.batch_id.is_none().then_some(row.tenant_id);
        let workload = workloads.get(&(row.batch_id, outside)).ok_or(StoreError::NotFound("workload"))?;
        let node = row.place.and_then(|(recipe, node)| {
            running.recipes.get(&recipe).map(|recipe| (recipe.revision.id, node.number()))
        });
        let JobNode { job_type_rev_id, is_paused, .. } = row.node;
        let key = (row.priority.unwrap_or_default(), *workload, node, job_type_rev_id, is_paused);
        groups.entry(key).or_default().push(row);
    }
    let statement = client.prepare_cached(INSERT_BUNDLE).await?;
    let mut bundles = Vec::new();
    for ((priority, workload_id, node, job_type_rev_id, is_paused), rows) in groups {
        for rows in rows.chunks(BUNDLE_JOBS) {
            let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
            let exe_nums: Vec<i32> = rows.iter().map(|row| row.job.num_exes).collect();
            let (revision, node) = node.unzip();
            let parameters: [Parameter<'_>; 8] =
                [&workload_id, &revision, &node, &job_type_rev_id, &priority, &ids, &exe_nums, &is_paused];
            let bundle_id = client.query_one(&statement, &parameters).await?.try_get(0)?;
            if !is_paused {
                bundles.push(BundleRef { workload_id, bundle_id });
            }
        }
    }
    Ok(bundles)
}

/// The workloads of these jobs, by batch, or by tenant for those outside of batches. Missing ones are made.
async fn find_workloads(
    client: &DataClient,
    rows: &[&JobRow],
) -> Result<HashMap<(Option<i64>, Option<Uuid>), Uuid>, StoreError> {
    let batches: BTreeSet<i64> = rows.iter().filter_map(|row| row.batch_id).collect();
    let tenants: BTreeSet<Uuid> =
        rows.iter().filter(|row| row.batch_id.is_none()).map(|row| row.tenant_id).collect();
    let wanted = batches.len() + tenants.len();
    let (batches, tenants): (Vec<i64>, Vec<Uuid>) =
        (batches.into_iter().collect(), tenants.into_iter().collect());
    let statement = client.prepare_cached(FIND_WORKLOADS).await?;
    let mut made = false;
    loop {
        let mut found = HashMap::new();
        for row in client.query(&statement, &[&batches, &tenants]).await? {
            let batch: Option<i64> = row.try_get(2)?;
            let tenant = batch.is_none().then_some(row.try_get::<_, Uuid>(1)?);
            found.insert((batch, tenant), row.try_get(0)?);
        }
        if found.len() >= wanted || made {
            return Ok(found);
        }
        run(client, WORKLOADS, &[&batches]).await?;
        run(client, WORKLOADS_OUTSIDE, &[&tenants]).await?;
        made = true;
    }
}
