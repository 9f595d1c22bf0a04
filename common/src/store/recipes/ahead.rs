//! Recipes of a batch whose jobs are evaluated before they are stored (data plane). A page is read and made in memory without a
//! lock; one transaction then stores it in its last state, provided that creation still stands where the page begins.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::commit::Settled;
use super::creation::{ADVANCE, Batch, Wanted, make, members};
use super::transaction::transaction;
use super::writes::NewRows;
use super::{CreationStep, Foreseen};
use crate::model::recipe::Data;
use crate::model::recipe::running::{Report, Revision, Running, WorkerName};
use crate::store::retry::retrying;
use crate::store::{Store, StoreError, WorkerSlot};

/// A page of recipes to come, with their numbers.
#[derive(Debug)]
pub struct AheadPage {
    batch: Batch,
    end: i64,
    looked_at: usize,
    done: bool,
    skipped: i64,
    recipes: Vec<(i64, Wanted)>,
    at: DateTime<Utc>,
    read: Instant,
    /// The workload of the batch.
    pub workload: AheadWorkload,
}

/// What the jobs of a batch have in common.
#[derive(Debug, Clone, Copy)]
pub struct AheadWorkload {
    /// The workload.
    pub id: Uuid,
    /// What volatile functions see as the time.
    pub created_at: DateTime<Utc>,
    /// What volatile functions see.
    pub seed: i64,
    /// Whether nothing of it is to be evaluated.
    pub paused: bool,
}

impl AheadPage {
    /// What the recipes run.
    pub const fn revision(&self) -> &Arc<Revision> {
        &self.batch.revision
    }

    /// The recipes to come, with their inputs.
    pub fn inputs(&self) -> impl Iterator<Item = (i64, &Data)> {
        self.recipes.iter().filter_map(|(id, wanted)| Some((*id, &wanted.input.as_ref()?.0)))
    }
}

/// A page that only has to be written.
#[derive(Debug)]
pub struct ReadyPage {
    batch_id: i64,
    start: i64,
    end: i64,
    looked_at: usize,
    done: bool,
    skipped: i64,
    priority: Option<i64>,
    running: Running,
    rows: NewRows,
}

impl ReadyPage {
    /// Where the next page begins; none behind the last one.
    pub fn next(&self) -> Option<i64> {
        (!self.done).then_some(self.end)
    }
}

/// Batches over a dataset alone: what supersedes older recipes is made in its transaction.
const BATCH: &str = "
-- creation: batch ahead
SELECT b.id, b.tenant_id, b.recipe_type_rev_id, b.event_id, b.definition::text, b.configuration::text, b.supersedes, b.dataset_id,
    b.last_member_id, b.superseded_batch_id, b.creation_cursor, b.priority, w.id, w.created_at, w.seed, clock_timestamp(), w.paused_at IS NOT NULL
FROM recipe_batches b JOIN workloads w ON w.batch_id = b.id
WHERE b.id = $1 AND NOT b.is_creation_done AND b.dataset_id IS NOT NULL AND b.superseded_batch_id IS NULL";

const HOLD: &str = "
-- creation: hold a batch
SELECT priority FROM recipe_batches WHERE id = $1 AND creation_cursor = $2 AND NOT is_creation_done
FOR NO KEY UPDATE SKIP LOCKED";

impl Store {
    /// Reads the page of a batch that begins behind `cursor`, which is where creation stands or will stand. None when there is
    /// nothing to be made ahead: another batch is superseded, or recipes are.
    pub async fn read_ahead(
        &self,
        batch_id: i64,
        cursor: i64,
        limit: usize,
    ) -> Result<Option<AheadPage>, StoreError> {
        let client = self.data_client().await?;
        client
            .in_time(Box::pin(async {
                let read = Instant::now();
                let statement = client.prepare_cached(BATCH).await?;
                let Some(row) = client.query_opt(&statement, &[&batch_id]).await? else { return Ok(None) };
                let mut batch = self.read_batch(&client, &row).await?;
                batch.cursor = cursor;
                let Some(dataset) = batch.dataset_id else { return Ok(None) };
                let page = members(&client, &batch, dataset, limit).await?;
                if page.wanted.iter().any(|wanted| wanted.old.is_some()) {
                    return Ok(None);
                }
                let mut numbers = Running::new(row.try_get(15)?);
                self.reserve_recipes(&client, &mut numbers, page.wanted.len()).await?;
                Ok(Some(AheadPage {
                    end: page.cursor,
                    looked_at: page.looked_at,
                    done: page.looked_at < limit,
                    skipped: page.skipped,
                    recipes: numbers.recipe_ids.into_iter().zip(page.wanted).collect(),
                    at: row.try_get(15)?,
                    read,
                    workload: AheadWorkload {
                        id: row.try_get(12)?,
                        created_at: row.try_get(13)?,
                        seed: row.try_get(14)?,
                        paused: row.try_get(16)?,
                    },
                    batch,
                }))
            }))
            .await
    }

    /// Lets the recipes of a page go as far as what was foreseen carries them.
    pub async fn settle_ahead(
        &self,
        page: AheadPage,
        foreseen: Vec<Foreseen>,
        worker: &WorkerName,
    ) -> Result<ReadyPage, StoreError> {
        let client = self.data_client().await?;
        let AheadPage { batch, recipes, at, .. } = page;
        // The database's clock, as far as time went on since it was asked.
        let elapsed = TimeDelta::from_std(page.read.elapsed()).unwrap_or_default();
        let mut running = Running::new(at + elapsed);
        running.revisions.extend(self.revisions(&client, [batch.revision.id]).await?);
        running.batch_priorities.insert(batch.id, batch.priority);
        running.foreseen = foreseen
            .into_iter()
            .map(|(place, output, seed_micros)| {
                let report = Report {
                    output: Some(output),
                    error: None,
                    started: Some(at),
                    seed_micros: Some(seed_micros),
                    worker: Some(worker.clone()),
                };
                (place, report)
            })
            .collect::<HashMap<_, _>>();
        let wanted;
        (running.recipe_ids, wanted) = recipes.into_iter().unzip();
        let skipped = page.skipped + make(&mut running, &batch, wanted)?;
        client.in_time(Box::pin(self.reserve(&client, &mut running))).await?;
        running.settle()?;
        Ok(ReadyPage {
            batch_id: batch.id,
            start: batch.cursor,
            end: page.end,
            looked_at: page.looked_at,
            done: page.done,
            skipped,
            priority: batch.priority,
            rows: NewRows::of(&running)?,
            running,
        })
    }

    /// Stores a page. None when creation stands elsewhere, or somebody else is at it.
    pub async fn create_ahead(
        &self,
        slot: WorkerSlot,
        page: &ReadyPage,
    ) -> Result<Option<CreationStep>, StoreError> {
        retrying("create_ahead", || async {
            let client = self.data_client().await?;
            transaction(&client, "creation.commit", async {
                let statement = client.prepare_cached(HOLD).await?;
                let row = client.query_opt(&statement, &[&page.batch_id, &page.start]).await?;
                match row {
                    Some(row) if row.try_get::<_, Option<i64>>(0)? == page.priority => {}
                    _ => return Ok(None),
                }
                let bundles = Box::pin(self.write_with(&client, slot, &page.running, &page.rows)).await?;
                let statement = client.prepare_cached(ADVANCE).await?;
                client.execute(&statement, &[&page.batch_id, &page.end, &page.skipped, &page.done]).await?;
                let settled = Settled { bundles, ..Settled::default() };
                Ok(Some(CreationStep {
                    batch_id: page.batch_id,
                    looked_at: page.looked_at,
                    next: page.next(),
                    settled,
                }))
            })
            .await
        })
        .await
    }
}
