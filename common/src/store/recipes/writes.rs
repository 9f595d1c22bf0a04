//! Writing what changed in a working set: each kind of row in one statement (data plane).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::publication::BundleRef;
use crate::model::recipe::running::{JobRow, JobWrite, PutBy, Running, Slot};
use crate::model::recipe::{BatchCounts, Data, JobCounts, NodeMetrics};
use crate::store::data::DataClient;
use crate::store::{Store, StoreError, WorkerSlot};

/// The most jobs of a bundle.
pub(super) const BUNDLE_JOBS: usize = 400;

const INSERT_RECIPES: &str = "
-- recipes: insert
INSERT INTO recipes (id, tenant_id, batch_id, recipe_type_id, recipe_type_rev_id, event_id, member_id, source_recipe_id,
    parent_recipe_id, parent_node, root_recipe_id, superseded_recipe_id, root_superseded_recipe_id, input, input_hash,
    is_blocked, is_completed, completed, created, last_modified)
SELECT id, tenant_id, batch_id, recipe_type_id, recipe_type_rev_id, event_id, member_id, source_recipe_id,
    parent_recipe_id, parent_node, root_recipe_id, superseded_recipe_id, root_superseded_recipe_id, input::jsonb, input_hash,
    is_blocked, is_completed, CASE WHEN is_completed THEN $18::timestamptz END, $18::timestamptz, $18::timestamptz
FROM unnest($1::int8[], $2::uuid[], $3::int8[], $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::int8[], $9::int8[],
            $10::int2[], $11::int8[], $12::int8[], $13::int8[], $14::text[], $15::bytea[], $16::bool[], $17::bool[])
    AS n (id, tenant_id, batch_id, recipe_type_id, recipe_type_rev_id, event_id, member_id, source_recipe_id,
          parent_recipe_id, parent_node, root_recipe_id, superseded_recipe_id, root_superseded_recipe_id, input, input_hash,
          is_blocked, is_completed)";

const UPDATE_RECIPES: &str = "
-- recipes: update
UPDATE recipes r SET is_blocked = n.is_blocked, is_completed = n.is_completed, is_superseded = n.is_superseded,
    input = coalesce(n.input::jsonb, r.input),
    completed = CASE WHEN n.is_completed THEN coalesce(r.completed, $6) END,
    superseded = CASE WHEN n.is_superseded THEN coalesce(r.superseded, $6) END, last_modified = $6
FROM unnest($1::int8[], $2::bool[], $3::bool[], $4::bool[], $5::text[])
    AS n (id, is_blocked, is_completed, is_superseded, input)
WHERE r.id = n.id";

const INSERT_JOBS: &str = "
-- recipes: insert jobs
INSERT INTO jobs (id, tenant_id, batch_id, recipe_id, node, job_type_id, job_type_rev_id, event_id, status, priority, num_exes,
    max_tries, superseded_job_id, queued, created, last_status_change, last_modified)
SELECT id, tenant_id, batch_id, recipe_id, node, job_type_id, job_type_rev_id, event_id, status, priority, num_exes,
    max_tries, superseded_job_id, CASE WHEN num_exes > 0 THEN $14::timestamptz END, $14::timestamptz, $14::timestamptz,
    $14::timestamptz
FROM unnest($1::int8[], $2::uuid[], $3::int8[], $4::int8[], $5::int2[], $6::int8[], $7::int8[], $8::int8[], $9::text[],
            $10::int8[], $11::int4[], $12::int4[], $13::int8[])
    AS n (id, tenant_id, batch_id, recipe_id, node, job_type_id, job_type_rev_id, event_id, status, priority, num_exes,
          max_tries, superseded_job_id)";

const FINISH_JOBS: &str = "
-- recipes: finish jobs
UPDATE jobs j SET status = n.status, num_exes = n.num_exes, priority = coalesce(n.priority, j.priority),
    queued = CASE WHEN n.priority IS NULL THEN j.queued ELSE $10 END, started = n.started, ended = $10,
    output = n.output::jsonb, error_id = n.error_id, error_detail = n.error_detail, seed_micros = n.seed_micros,
    worker_id = $11, worker_name = $12, last_status_change = $10, last_modified = $10
FROM unnest($1::int8[], $2::text[], $3::int4[], $4::int8[], $5::timestamptz[], $6::text[], $7::int8[], $8::text[],
            $9::int8[])
    AS n (id, status, num_exes, priority, started, output, error_id, error_detail, seed_micros)
WHERE j.id = n.id";

const QUEUE_JOBS: &str = "
-- recipes: queue jobs
UPDATE jobs j SET status = 'QUEUED', num_exes = n.num_exes, max_tries = n.max_tries, priority = n.priority, queued = $5,
    started = NULL, ended = NULL, output = NULL, error_id = NULL, error_detail = NULL, seed_micros = NULL, worker_id = NULL,
    worker_name = NULL, last_status_change = $5, last_modified = $5
FROM unnest($1::int8[], $2::int4[], $3::int4[], $4::int8[]) AS n (id, num_exes, max_tries, priority)
WHERE j.id = n.id";

const MOVE_JOBS: &str = "
-- recipes: move jobs
UPDATE jobs j SET status = n.status, started = coalesce(n.started, j.started), error_id = n.error_id,
    error_detail = n.error_detail, worker_id = n.worker_id, worker_name = n.worker_name, last_status_change = $8,
    last_modified = $8
FROM unnest($1::int8[], $2::text[], $3::timestamptz[], $4::int8[], $5::text[], $6::uuid[], $7::text[])
    AS n (id, status, started, error_id, error_detail, worker_id, worker_name)
WHERE j.id = n.id";

const SUPERSEDE_JOBS: &str = "
-- recipes: supersede jobs
UPDATE jobs SET is_superseded = true, superseded = $2, last_modified = $2 WHERE id = ANY($1)";

const PUT_BY_STORED: &str = "
-- recipes: put executions by
INSERT INTO job_executions (job_id, exe_num, status, worker_id, worker_name, queued, started, ended, seed_micros, error_id,
    error_detail)
SELECT id, num_exes, status, worker_id, worker_name, queued, started, ended, seed_micros, error_id, error_detail
FROM jobs WHERE id = ANY($1)
ON CONFLICT DO NOTHING";

const PUT_BY_FAILED: &str = "
-- recipes: put failed executions by
INSERT INTO job_executions (job_id, exe_num, status, worker_id, worker_name, queued, started, ended, seed_micros, error_id,
    error_detail)
SELECT n.job_id, n.exe_num, 'FAILED', $7::uuid, $8::text, j.queued, coalesce(n.started, j.started), $9::timestamptz, n.seed_micros, n.error_id,
    n.error_detail
FROM unnest($1::int8[], $2::int4[], $3::timestamptz[], $4::int8[], $5::int8[], $6::text[])
    AS n (job_id, exe_num, started, seed_micros, error_id, error_detail)
JOIN jobs j ON j.id = n.job_id
ON CONFLICT DO NOTHING";

const CONDITIONS: &str = "
-- recipes: conditions
INSERT INTO recipe_conditions (recipe_id, node, waiting, outcome, processed)
SELECT recipe_id, node, 0, outcome, CASE WHEN outcome IS NOT NULL THEN $4::timestamptz END
FROM unnest($1::int8[], $2::int2[], $3::bool[]) AS n (recipe_id, node, outcome)
ON CONFLICT (recipe_id, node) DO UPDATE SET outcome = excluded.outcome, processed = excluded.processed
    WHERE recipe_conditions.outcome IS NULL";

const LINKS: &str = "
-- recipes: link
INSERT INTO recipe_links (recipe_id, node, job_id, sub_recipe_id)
SELECT * FROM unnest($1::int8[], $2::int2[], $3::int8[], $4::int8[])";

const WORKLOADS: &str = "
-- recipes: workloads of batches
INSERT INTO workloads (id, tenant_id, batch_id, priority, initial_workers, max_workers, seed)
SELECT gen_random_uuid(), b.tenant_id, b.id, least(greatest(coalesce(b.priority, 100), -1000000000), 1000000000)::int4, 1,
       greatest(t.max_workers, 1), (random() * 9007199254740991)::int8
FROM recipe_batches b JOIN tenants t ON t.id = b.tenant_id WHERE b.id = ANY($1)
ON CONFLICT DO NOTHING";

const WORKLOADS_OUTSIDE: &str = "
-- recipes: workloads outside of batches
INSERT INTO workloads (id, tenant_id, priority, initial_workers, max_workers, seed)
SELECT gen_random_uuid(), id, 100, 1, greatest(max_workers, 1), (random() * 9007199254740991)::int8
FROM tenants WHERE id = ANY($1)
ON CONFLICT DO NOTHING";

const FIND_WORKLOADS: &str = "
-- recipes: find workloads
SELECT id, tenant_id, batch_id FROM workloads
WHERE batch_id = ANY($1) OR (batch_id IS NULL AND tenant_id = ANY($2))";

const INSERT_BUNDLE: &str = "
-- recipes: insert a bundle
INSERT INTO job_bundles (workload_id, kind, recipe_type_rev_id, node, job_type_rev_id, priority, items, exe_nums)
VALUES ($1, 'jobs', $2, $3, $4, $5, $6, $7) RETURNING id";

const COUNT_BATCHES: &str = "
-- recipes: count
INSERT INTO recipe_batch_counters AS c (batch_id, slot, jobs_pending, jobs_blocked, jobs_queued, jobs_running, jobs_failed,
    jobs_completed, jobs_canceled, recipes_total, recipes_completed, touched_at)
SELECT batch_id, $2::int2, pending, blocked, queued, running, failed, completed, canceled, total, done, $12::timestamptz
FROM unnest($1::int8[], $3::int8[], $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::int8[], $9::int8[], $10::int8[],
            $11::int8[])
    AS n (batch_id, pending, blocked, queued, running, failed, completed, canceled, total, done)
ON CONFLICT (batch_id, slot) DO UPDATE SET jobs_pending = c.jobs_pending + excluded.jobs_pending,
    jobs_blocked = c.jobs_blocked + excluded.jobs_blocked, jobs_queued = c.jobs_queued + excluded.jobs_queued,
    jobs_running = c.jobs_running + excluded.jobs_running, jobs_failed = c.jobs_failed + excluded.jobs_failed,
    jobs_completed = c.jobs_completed + excluded.jobs_completed, jobs_canceled = c.jobs_canceled + excluded.jobs_canceled,
    recipes_total = c.recipes_total + excluded.recipes_total,
    recipes_completed = c.recipes_completed + excluded.recipes_completed, touched_at = excluded.touched_at";

const COUNT_NODES: &str = "
-- recipes: count nodes
INSERT INTO recipe_batch_nodes AS c (batch_id, node_name, slot, jobs_pending, jobs_blocked, jobs_queued, jobs_running,
    jobs_failed, jobs_completed, jobs_canceled, job_count, job_sum, job_min, job_max, seed_count, seed_sum, seed_min, seed_max)
SELECT batch_id, node_name, $3::int2, pending, blocked, queued, running, failed, completed, canceled, job_count, job_sum,
    CASE WHEN job_count > 0 THEN job_min END, CASE WHEN job_count > 0 THEN job_max END, seed_count, seed_sum,
    CASE WHEN seed_count > 0 THEN seed_min END, CASE WHEN seed_count > 0 THEN seed_max END
FROM unnest($1::int8[], $2::text[], $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::int8[], $9::int8[], $10::int8[],
            $11::int8[], $12::int8[], $13::int8[], $14::int8[], $15::int8[], $16::int8[], $17::int8[], $18::int8[])
    AS n (batch_id, node_name, pending, blocked, queued, running, failed, completed, canceled, job_count, job_sum, job_min,
          job_max, seed_count, seed_sum, seed_min, seed_max)
ON CONFLICT (batch_id, node_name, slot) DO UPDATE SET jobs_pending = c.jobs_pending + excluded.jobs_pending,
    jobs_blocked = c.jobs_blocked + excluded.jobs_blocked, jobs_queued = c.jobs_queued + excluded.jobs_queued,
    jobs_running = c.jobs_running + excluded.jobs_running, jobs_failed = c.jobs_failed + excluded.jobs_failed,
    jobs_completed = c.jobs_completed + excluded.jobs_completed, jobs_canceled = c.jobs_canceled + excluded.jobs_canceled,
    job_count = c.job_count + excluded.job_count, job_sum = c.job_sum + excluded.job_sum,
    job_min = least(c.job_min, excluded.job_min), job_max = greatest(c.job_max, excluded.job_max),
    seed_count = c.seed_count + excluded.seed_count, seed_sum = c.seed_sum + excluded.seed_sum,
    seed_min = least(c.seed_min, excluded.seed_min), seed_max = greatest(c.seed_max, excluded.seed_max)";

type Parameter<'a> = &'a (dyn ToSql + Sync);

impl Store {
    /// Writes everything that changed, with counters in this slot. Returns the bundles that were made. Within a transaction.
    pub(super) async fn write(
        &self,
        client: &DataClient,
        slot: WorkerSlot,
        running: &Running,
    ) -> Result<Vec<BundleRef>, StoreError> {
        write_recipes(client, running).await?;
        write_jobs(client, running).await?;
        write_conditions(client, running).await?;
        write_links(client, running).await?;
        let bundles = write_bundles(client, running).await?;
        // The slot's rows are locked until the end: last, so that others wait as briefly as possible.
        write_counters(client, slot, running).await?;
        Ok(bundles)
    }
}

async fn run(client: &DataClient, statement: &str, parameters: &[Parameter<'_>]) -> Result<(), StoreError> {
    let statement = client.prepare_cached(statement).await?;
    client.execute(&statement, parameters).await?;
    Ok(())
}

/// A document as it is stored.
pub(super) fn text(data: &Data) -> Result<String, StoreError> {
    serde_json::to_string(data).map_err(|error| StoreError::Corrupt(error.to_string()))
}

async fn write_recipes(client: &DataClient, running: &Running) -> Result<(), StoreError> {
    let (new, old): (Vec<_>, Vec<_>) =
        running.recipes.values().filter(|recipe| recipe.changed).partition(|recipe| !recipe.stored);
    if !new.is_empty() {
        let inputs: Vec<Option<String>> =
            new.iter().map(|recipe| recipe.input.as_ref().map(text).transpose()).collect::<Result<_, _>>()?;
        macro_rules! column {
            ($recipe:ident => $value:expr) => {
                &new.iter().map(|$recipe| $value).collect::<Vec<_>>()
            };
        }
        run(
            client,
            INSERT_RECIPES,
            &[
                column!(r => r.id),
                column!(r => r.tenant_id),
                column!(r => r.batch_id),
                column!(r => r.revision.recipe_type_id),
                column!(r => r.revision.id),
                column!(r => r.event_id),
                column!(r => r.member_id),
                column!(r => r.source_recipe_id),
                column!(r => r.parent.map(|(parent, _)| parent)),
                column!(r => r.parent.map(|(_, node)| node.number())),
                column!(r => r.root_id),
                column!(r => r.superseded_recipe_id),
                column!(r => r.root_superseded_recipe_id),
                &inputs,
                column!(r => r.input_hash.map(|hash| hash.0.to_vec())),
                column!(r => r.is_blocked),
                column!(r => r.is_completed),
                &running.at(),
            ],
        )
        .await?;
    }
    if !old.is_empty() {
        let inputs: Vec<Option<String>> = old
            .iter()
            .map(|recipe| recipe.input.as_ref().filter(|_| !recipe.had_input).map(text).transpose())
            .collect::<Result<_, _>>()?;
        macro_rules! column {
            ($recipe:ident => $value:expr) => {
                &old.iter().map(|$recipe| $value).collect::<Vec<_>>()
            };
        }
        run(
            client,
            UPDATE_RECIPES,
            &[
                column!(r => r.id),
                column!(r => r.is_blocked),
                column!(r => r.is_completed),
                column!(r => r.is_superseded),
                &inputs,
                &running.at(),
            ],
        )
        .await?;
    }
    Ok(())
}

async fn write_jobs(client: &DataClient, running: &Running) -> Result<(), StoreError> {
    let mut all: Vec<&JobRow> = running.jobs.values().collect();
    all.sort_unstable_by_key(|row| row.id);
    put_executions_by(client, running, &all).await?;
    let new: Vec<&JobRow> = all.iter().copied().filter(|row| row.before.is_none()).collect();
    let with = |write: JobWrite| -> Vec<&JobRow> {
        all.iter().copied().filter(|row| row.before.is_some() && row.write == write).collect()
    };
    macro_rules! column {
        ($rows:ident, $row:ident => $value:expr) => {
            &$rows.iter().map(|$row| $value).collect::<Vec<_>>()
        };
    }
    if !new.is_empty() {
        run(
            client,
            INSERT_JOBS,
            &[
                column!(new, j => j.id),
                column!(new, j => j.tenant_id),
                column!(new, j => j.batch_id),
                column!(new, j => j.place.map(|(recipe, _)| recipe)),
                column!(new, j => j.place.map(|(_, node)| node.number())),
                column!(new, j => j.node.job_type_id),
                column!(new, j => j.node.job_type_rev_id),
                column!(new, j => j.event_id),
                column!(new, j => j.job.status.as_str()),
                column!(new, j => j.priority),
                column!(new, j => j.job.num_exes),
                column!(new, j => j.job.max_tries),
                column!(new, j => j.superseded_job_id),
                &running.at(),
            ],
        )
        .await?;
    }
    let finished = with(JobWrite::Finish);
    if !finished.is_empty() {
        let outputs: Vec<Option<String>> = finished
            .iter()
            .map(|row| row.report.output.as_deref().map(text).transpose())
            .collect::<Result<_, _>>()?;
        let worker = finished.iter().find_map(|row| row.report.worker.as_ref());
        run(
            client,
            FINISH_JOBS,
            &[
                column!(finished, j => j.id),
                column!(finished, j => j.job.status.as_str()),
                column!(finished, j => j.job.num_exes),
                column!(finished, j => j.priority),
                column!(finished, j => j.report.started),
                &outputs,
                column!(finished, j => j.report.error.as_ref().map(|(id, _)| *id)),
                column!(finished, j => j.report.error.as_ref().map(|(_, detail)| detail.as_str())),
                column!(finished, j => j.report.seed_micros),
                &running.at(),
                &worker.map(|worker| worker.id),
                &worker.map(|worker| worker.name.as_ref()),
            ],
        )
        .await?;
    }
    let queued = with(JobWrite::Queue);
    if !queued.is_empty() {
        run(
            client,
            QUEUE_JOBS,
            &[
                column!(queued, j => j.id),
                column!(queued, j => j.job.num_exes),
                column!(queued, j => j.job.max_tries),
                column!(queued, j => j.priority),
                &running.at(),
            ],
        )
        .await?;
    }
    let moved = with(JobWrite::Move);
    if !moved.is_empty() {
        let worker = |row: &JobRow| row.report.worker.as_ref().map(|worker| worker.id);
        run(
            client,
            MOVE_JOBS,
            &[
                column!(moved, j => j.id),
                column!(moved, j => j.job.status.as_str()),
                column!(moved, j => j.report.started),
                column!(moved, j => j.report.error.as_ref().map(|(id, _)| *id)),
                column!(moved, j => j.report.error.as_ref().map(|(_, detail)| detail.as_str())),
                column!(moved, j => worker(j)),
                column!(moved, j => j.report.worker.as_ref().map(|worker| worker.name.as_ref())),
                &running.at(),
            ],
        )
        .await?;
    }
    let superseded: Vec<i64> =
        all.iter().filter(|row| row.superseded_now && row.before.is_some()).map(|row| row.id).collect();
    if !superseded.is_empty() {
        run(client, SUPERSEDE_JOBS, &[&superseded, &running.at()]).await?;
    }
    Ok(())
}

async fn put_executions_by(
    client: &DataClient,
    running: &Running,
    rows: &[&JobRow],
) -> Result<(), StoreError> {
    let (mut stored, mut failed) = (Vec::new(), Vec::new());
    for row in rows {
        match &row.put_by {
            Some(PutBy::AsStored) => stored.push(row.id),
            Some(PutBy::Failed { exe_num, report }) => failed.push((row.id, *exe_num, report)),
            None => {}
        }
    }
    if !stored.is_empty() {
        run(client, PUT_BY_STORED, &[&stored]).await?;
    }
    if !failed.is_empty() {
        let worker = failed.iter().find_map(|(_, _, report)| report.worker.as_ref());
        macro_rules! column {
            ($row:pat => $value:expr) => {
                &failed.iter().map(|$row| $value).collect::<Vec<_>>()
            };
        }
        run(
            client,
            PUT_BY_FAILED,
            &[
                column!((id, _, _) => *id),
                column!((_, exe_num, _) => *exe_num),
                column!((_, _, report) => report.started),
                column!((_, _, report) => report.seed_micros),
                column!((_, _, report) => report.error.as_ref().map(|(id, _)| *id)),
                column!((_, _, report) => report.error.as_ref().map(|(_, detail)| detail.as_str())),
                &worker.map(|worker| worker.id),
                &worker.map(|worker| worker.name.as_ref()),
                &running.at(),
            ],
        )
        .await?;
    }
    Ok(())
}

async fn write_conditions(client: &DataClient, running: &Running) -> Result<(), StoreError> {
    let (mut recipes, mut nodes, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
    for recipe in running.recipes.values() {
        for (slot, (node, _)) in recipe.slots.iter().zip(recipe.revision.graph.nodes()) {
            if let Slot::Condition { outcome, changed: true, .. } = slot {
                recipes.push(recipe.id);
                nodes.push(node.number());
                outcomes.push(*outcome);
            }
        }
    }
    if recipes.is_empty() {
        return Ok(());
    }
    run(client, CONDITIONS, &[&recipes, &nodes, &outcomes, &running.at()]).await
}

/// Links are made with the recipe that has them, and never after.
async fn write_links(client: &DataClient, running: &Running) -> Result<(), StoreError> {
    let (mut recipes, mut nodes, mut jobs, mut subs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for recipe in running.recipes.values().filter(|recipe| !recipe.stored && !recipe.linked.is_empty()) {
        for (slot, (node, _)) in recipe.slots.iter().zip(recipe.revision.graph.nodes()) {
            let (job, sub) = match slot {
                Slot::Job(job) if recipe.linked.contains(node) => (Some(*job), None),
                Slot::Recipe(sub) if recipe.linked.contains(node) => (None, Some(*sub)),
                _ => continue,
            };
            recipes.push(recipe.id);
            nodes.push(node.number());
            jobs.push(job);
            subs.push(sub);
        }
    }
    if recipes.is_empty() {
        return Ok(());
    }
    run(client, LINKS, &[&recipes, &nodes, &jobs, &subs]).await
}

/// What the jobs of a bundle have in common: priority, workload, revision and node, program.
type BundleKey = (i64, Uuid, Option<(i64, i16)>, i64);

/// Puts jobs that became QUEUED into bundles, those of the lowest priority first.
async fn write_bundles(client: &DataClient, running: &Running) -> Result<Vec<BundleRef>, StoreError> {
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
        let key = (row.priority.unwrap_or_default(), *workload, node, row.node.job_type_rev_id);
        groups.entry(key).or_default().push(row);
    }
    let statement = client.prepare_cached(INSERT_BUNDLE).await?;
    let mut bundles = Vec::new();
    for ((priority, workload_id, node, job_type_rev_id), rows) in groups {
        for rows in rows.chunks(BUNDLE_JOBS) {
            let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
            let exe_nums: Vec<i32> = rows.iter().map(|row| row.job.num_exes).collect();
            let (revision, node) = node.unzip();
            let parameters: [Parameter<'_>; 7] =
                [&workload_id, &revision, &node, &job_type_rev_id, &priority, &ids, &exe_nums];
            let bundle_id = client.query_one(&statement, &parameters).await?.try_get(0)?;
            bundles.push(BundleRef { workload_id, bundle_id });
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

async fn write_counters(client: &DataClient, slot: WorkerSlot, running: &Running) -> Result<(), StoreError> {
    let counted = running.counted();
    let slot = slot.number();
    if !counted.batches.is_empty() {
        let batches: Vec<(i64, BatchCounts)> = counted.batches.into_iter().collect();
        let jobs = |count: fn(&JobCounts) -> i64| -> Vec<i64> {
            batches.iter().map(|(_, counts)| count(&counts.jobs)).collect()
        };
        run(
            client,
            COUNT_BATCHES,
            &[
                &batches.iter().map(|(batch, _)| *batch).collect::<Vec<_>>(),
                &slot,
                &jobs(|counts| counts.pending),
                &jobs(|counts| counts.blocked),
                &jobs(|counts| counts.queued),
                &jobs(|counts| counts.running),
                &jobs(|counts| counts.failed),
                &jobs(|counts| counts.completed),
                &jobs(|counts| counts.canceled),
                &batches.iter().map(|(_, counts)| counts.recipes_total).collect::<Vec<_>>(),
                &batches.iter().map(|(_, counts)| counts.recipes_completed).collect::<Vec<_>>(),
                &running.at(),
            ],
        )
        .await?;
    }
    if !counted.nodes.is_empty() {
        let nodes: Vec<_> = counted.nodes.into_iter().collect();
        let column = |value: fn(&NodeMetrics) -> i64| -> Vec<i64> {
            nodes.iter().map(|(_, metrics)| value(metrics)).collect()
        };
        run(
            client,
            COUNT_NODES,
            &[
                &nodes.iter().map(|((batch, _), _)| *batch).collect::<Vec<_>>(),
                &nodes.iter().map(|((_, name), _)| name.as_ref()).collect::<Vec<&str>>(),
                &slot,
                &column(|node| node.jobs.pending),
                &column(|node| node.jobs.blocked),
                &column(|node| node.jobs.queued),
                &column(|node| node.jobs.running),
                &column(|node| node.jobs.failed),
                &column(|node| node.jobs.completed),
                &column(|node| node.jobs.canceled),
                &column(|node| node.job.count),
                &column(|node| node.job.sum),
                &column(|node| node.job.min),
                &column(|node| node.job.max),
                &column(|node| node.seed.count),
                &column(|node| node.seed.sum),
                &column(|node| node.seed.min),
                &column(|node| node.seed.max),
            ],
        )
        .await?;
    }
    Ok(())
}
