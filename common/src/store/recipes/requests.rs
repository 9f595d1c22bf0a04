//! Cancels and requeues by filter, carried out bit by bit (contract 5.6; data plane). A bit is one transaction that holds the
//! request's row; jobs that were created after the request are not touched.

use std::collections::BTreeSet;

use tokio_postgres::Row;

use super::JobRequestFilter;
use super::commit::Settled;
use super::transaction::transaction;
use crate::model::recipe::JobEvent;
use crate::model::recipe::running::Report;
use crate::store::data::DataClient;
use crate::store::retry::retrying;
use crate::store::{Store, StoreError, WorkerSlot};

/// The most jobs of a bit.
const BIT: i64 = 500;

const REQUEST: &str = "
-- requests: next
SELECT id, tenant_id, kind, filter::text, priority, cursor, last_job_id FROM job_requests
WHERE finished IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED";

/// What lets a job through, but for ids that it is looked up by.
macro_rules! meant {
    () => {
        "
  AND CASE WHEN $4 THEN j.status IN ('FAILED', 'CANCELED') ELSE j.status NOT IN ('COMPLETED', 'CANCELED') END
  AND ($5::text::jsonb ->> 'started' IS NULL OR j.last_modified >= ($5::text::jsonb ->> 'started')::timestamptz)
  AND ($5::text::jsonb ->> 'ended' IS NULL OR j.last_modified <= ($5::text::jsonb ->> 'ended')::timestamptz)
  AND ($5::text::jsonb -> 'status' IS NULL OR $5::text::jsonb -> 'status' ? j.status)
  AND ($5::text::jsonb -> 'job_ids' IS NULL OR $5::text::jsonb -> 'job_ids' @> to_jsonb(j.id))
  AND ($5::text::jsonb -> 'job_type_ids' IS NULL OR $5::text::jsonb -> 'job_type_ids' @> to_jsonb(j.job_type_id))
  AND ($5::text::jsonb -> 'job_type_names' IS NULL OR EXISTS (
      SELECT FROM job_types t WHERE t.id = j.job_type_id AND $5::text::jsonb -> 'job_type_names' ? t.name))
  AND ($5::text::jsonb -> 'batch_ids' IS NULL OR $5::text::jsonb -> 'batch_ids' @> to_jsonb(j.batch_id))
  AND ($5::text::jsonb -> 'recipe_ids' IS NULL OR $5::text::jsonb -> 'recipe_ids' @> to_jsonb(j.recipe_id))
  AND ($5::text::jsonb -> 'error_ids' IS NULL OR $5::text::jsonb -> 'error_ids' @> to_jsonb(j.error_id))
  AND ($5::text::jsonb -> 'error_categories' IS NULL OR EXISTS (
      SELECT FROM job_errors e WHERE e.id = j.error_id AND $5::text::jsonb -> 'error_categories' ? e.category))
  AND NOT EXISTS (SELECT FROM recipe_batches b WHERE b.id = j.batch_id AND b.removed IS NOT NULL)
  AND ($5::text::jsonb -> 'is_superseded' IS NULL OR ($5::text::jsonb ->> 'is_superseded')::bool = j.is_superseded)"
    };
}

/// Jobs of a tenant, where no ids are named.
const JOBS: &str = concat!(
    "
-- requests: jobs
SELECT j.id FROM jobs j WHERE j.tenant_id = $1 AND j.id > $2 AND j.id <= $3 AND $7::int8[] IS NULL",
    meant!(),
    "
ORDER BY j.id LIMIT $6"
);

/// The same of these jobs.
const JOBS_BY_ID: &str = concat!(
    "
-- requests: jobs by id
SELECT j.id FROM jobs j WHERE j.tenant_id = $1 AND j.id > $2 AND j.id <= $3 AND j.id = ANY($7::int8[])",
    meant!(),
    "
ORDER BY j.id LIMIT $6"
);

/// The same of these recipes.
const JOBS_OF_RECIPES: &str = concat!(
    "
-- requests: jobs of recipes
SELECT j.id FROM unnest($7::int8[]) r (id), LATERAL (
    SELECT * FROM jobs o WHERE o.recipe_id = r.id OFFSET 0) j
WHERE j.tenant_id = $1 AND j.id > $2 AND j.id <= $3",
    meant!(),
    "
ORDER BY j.id LIMIT $6"
);

/// The same of these batches: the first of each, of which the first of all are taken. Whatever went before a batch is not read.
const JOBS_OF_BATCHES: &str = concat!(
    "
-- requests: jobs of batches
SELECT f.id FROM unnest($7::int8[]) b (id), LATERAL (
    SELECT j.id FROM jobs j
    WHERE j.tenant_id = $1 AND (j.batch_id, j.id) > (b.id, $2) AND j.batch_id <= b.id AND j.id <= $3",
    meant!(),
    "
    ORDER BY j.batch_id, j.id LIMIT $6) f
ORDER BY f.id LIMIT $6"
);

const ADVANCE: &str = "
-- requests: advance
UPDATE job_requests SET cursor = $2, jobs = jobs + $3, finished = CASE WHEN $4 THEN clock_timestamp() END WHERE id = $1";

impl Store {
    /// Carries the next bit of some request out that nobody else is at; none when there is nothing to do.
    pub async fn carry_out_requests(&self, slot: WorkerSlot) -> Result<Option<Settled>, StoreError> {
        retrying("carry_out", || async {
            let client = self.data_client().await?;
            transaction(&client, "requests.commit", self.carry_out(&client, slot)).await
        })
        .await
    }

    async fn carry_out(&self, client: &DataClient, slot: WorkerSlot) -> Result<Option<Settled>, StoreError> {
        let statement = client.prepare_cached(REQUEST).await?;
        let Some(row) = client.query_opt(&statement, &[]).await? else { return Ok(None) };
        let requeue = row.try_get::<_, &str>(2)? == "requeue";
        let priority: Option<i64> = row.try_get(4)?;
        let jobs = meant(client, &row, requeue).await?;
        let (mut settled, mut changed) = (Settled::default(), 0_i64);
        if !jobs.is_empty() {
            let mut running = self.load_of_jobs(client, &jobs).await?;
            for job in &jobs {
                let Some(row) = running.jobs.get_mut(job) else { continue };
                row.asked_priority = priority;
                let event = match requeue {
                    true => JobEvent::Requeue { max_tries: row.node.max_tries },
                    false => JobEvent::Cancel,
                };
                changed += i64::from(running.happen(*job, event, Report::default())?);
            }
            let batches: BTreeSet<i64> = running.jobs.values().filter_map(|row| row.batch_id).collect();
            self.load_priorities(client, &mut running, batches).await?;
            settled = self.settle(client, slot, running).await?;
        }
        let done = jobs.len() < usize::try_from(BIT).unwrap_or(usize::MAX);
        let cursor = match jobs.last() {
            Some(last) => *last,
            None => row.try_get(5)?,
        };
        let statement = client.prepare_cached(ADVANCE).await?;
        client.execute(&statement, &[&row.try_get::<_, i64>(0)?, &cursor, &changed, &done]).await?;
        Ok(Some(settled))
    }
}

/// The next jobs that a request means, found by the narrowest of the ids that it names.
async fn meant(client: &DataClient, row: &Row, requeue: bool) -> Result<Vec<i64>, StoreError> {
    let tenant: uuid::Uuid = row.try_get(1)?;
    let filter: &str = row.try_get(3)?;
    let (cursor, last): (i64, i64) = (row.try_get(5)?, row.try_get(6)?);
    let named: JobRequestFilter =
        serde_json::from_str(filter).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let (statement, mut ids) = match (named.job_ids, named.recipe_ids, named.batch_ids) {
        (Some(jobs), _, _) => (JOBS_BY_ID, Some(jobs)),
        (None, Some(recipes), _) => (JOBS_OF_RECIPES, Some(recipes)),
        (None, None, Some(batches)) => (JOBS_OF_BATCHES, Some(batches)),
        (None, None, None) => (JOBS, None),
    };
    if let Some(ids) = &mut ids {
        ids.sort_unstable();
        ids.dedup();
    }
    let statement = client.prepare_cached(statement).await?;
    let rows = client.query(&statement, &[&tenant, &cursor, &last, &requeue, &filter, &BIT, &ids]).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}
