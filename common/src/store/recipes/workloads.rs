//! Workloads: what leases a lane for jobs (data plane). To the plan and the dispatcher they are batches of another kind.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::store::{FleetTenant, Store, StoreError};

/// A workload that has a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkloadView {
    /// Its id, which stands for a batch's on its lane.
    pub id: Uuid,
    /// The tenant.
    pub tenant_id: Uuid,
    /// Its lane.
    pub lane_id: i32,
    /// The number of the lease.
    pub lane_epoch: i64,
    /// Lower goes first.
    pub priority: i32,
    /// Slots that it gets first.
    pub initial_workers: u32,
    /// Most slots.
    pub max_workers: u32,
    /// What volatile functions see.
    pub seed: i64,
    /// What volatile functions see as the time.
    pub created_at: DateTime<Utc>,
    /// Bundles that are not committed and may run; counted up to a limit.
    pub bundles: u32,
    /// For how long its batch has been paused, if it is.
    pub paused: Option<Duration>,
}

macro_rules! views {
    ($condition:literal) => {
        concat!(
            "
-- recipes: workloads
SELECT w.id, w.tenant_id, w.lane_id, w.lane_epoch, w.priority, w.initial_workers, w.max_workers, w.seed, w.created_at,
    (SELECT count(*) FROM (SELECT FROM job_bundles b WHERE b.workload_id = w.id AND b.created_at < 'infinity' LIMIT 1000) b), t.weight, t.max_workers,
    extract(epoch FROM clock_timestamp() - w.paused_at)::float8
FROM workloads w JOIN tenants t ON t.id = w.tenant_id WHERE w.lane_id IS NOT NULL AND ",
            $condition
        )
    };
}

const LEASING: &str = views!("true ORDER BY w.created_at, w.id");
const ONE: &str = views!("w.id = $1");

/// Workloads with bundles of which no worker holds any, by the workers' own word.
const FORSAKEN: &str = views!(
    "EXISTS (SELECT FROM job_bundles b WHERE b.workload_id = w.id AND b.published_at IS NOT NULL)
    AND NOT EXISTS (SELECT FROM workers k WHERE k.held IS NULL OR k.held ? w.id::text)"
);

/// Workloads with a lane and nothing to do: no bundle, no recipe to create.
const IDLE: &str = "
-- recipes: idle workloads
SELECT w.id, w.lane_id FROM workloads w
WHERE w.lane_id IS NOT NULL AND w.active_at < clock_timestamp() - make_interval(secs => $1)
  AND NOT EXISTS (SELECT FROM job_bundles b WHERE b.workload_id = w.id)
  AND NOT EXISTS (SELECT FROM recipe_batches r WHERE r.id = w.batch_id AND NOT r.is_creation_done)
LIMIT 100";

const ACTIVE: &str = "
-- recipes: active workloads
UPDATE workloads w SET active_at = clock_timestamp()
WHERE w.lane_id IS NOT NULL AND w.active_at < clock_timestamp() - make_interval(secs => $1::float8 / 2)
  AND EXISTS (SELECT FROM job_bundles b WHERE b.workload_id = w.id)";

/// The key's lock is that which a new bundle of the workload waits for.
const LOCK_IDLE: &str = "
-- recipes: lock an idle workload
SELECT lane_id FROM workloads WHERE id = $1 AND lane_id = $2 FOR UPDATE";

const STILL_IDLE: &str = "
-- recipes: whether a workload is still idle
SELECT NOT EXISTS (SELECT FROM job_bundles WHERE workload_id = $1)";

const FREE: &str = "
-- recipes: free a lane
WITH freed AS (UPDATE workloads SET lane_id = NULL, lane_epoch = NULL WHERE id = $1)
UPDATE lanes SET batch_id = NULL, declared = declared AND $3, freed_at = clock_timestamp()
WHERE id = $2 AND batch_id = $1";

impl Store {
    /// Workloads that have a lane, and their tenants.
    pub async fn workloads(&self) -> Result<(Vec<WorkloadView>, Vec<FleetTenant>), StoreError> {
        let client = self.data_client().await?;
        let statement = client.prepare_cached(LEASING).await?;
        let rows = client.in_time(async { Ok(client.query(&statement, &[]).await?) }).await?;
        let mut tenants: Vec<FleetTenant> = Vec::new();
        for row in &rows {
            let id = row.try_get(1)?;
            if tenants.iter().all(|tenant| tenant.id != id) {
                let weight = row.try_get::<_, i32>(10)?.unsigned_abs();
                let max_workers = row.try_get::<_, i32>(11)?.unsigned_abs();
                tenants.push(FleetTenant { id, weight, max_workers });
            }
        }
        Ok((rows.iter().map(read).collect::<Result<_, _>>()?, tenants))
    }

    /// A workload that has a lane.
    pub async fn workload(&self, id: Uuid) -> Result<Option<WorkloadView>, StoreError> {
        let client = self.data_client().await?;
        let statement = client.prepare_cached(ONE).await?;
        let row = client.in_time(async { Ok(client.query_opt(&statement, &[&id]).await?) }).await?;
        row.as_ref().map(read).transpose()
    }

    /// Workloads with bundles of which no worker holds any.
    pub async fn forsaken_workloads(&self) -> Result<Vec<WorkloadView>, StoreError> {
        let client = self.data_client().await?;
        let statement = client.prepare_cached(FORSAKEN).await?;
        let rows = client.in_time(async { Ok(client.query(&statement, &[]).await?) }).await?;
        rows.iter().map(read).collect()
    }

    /// Workloads that have had a lane and nothing to do for `seconds`.
    pub async fn idle_workloads(&self, seconds: f64) -> Result<Vec<(Uuid, i32)>, StoreError> {
        let client = self.data_client().await?;
        let (active, idle) = (client.prepare_cached(ACTIVE).await?, client.prepare_cached(IDLE).await?);
        client
            .in_time(async {
                client.execute(&active, &[&seconds]).await?;
                let rows = client.query(&idle, &[&seconds]).await?;
                rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
            })
            .await
    }

    /// Purges the lane of an idle workload and puts it back into the pool; `purge` tells whether the queue is still there. No
    /// bundle is made meanwhile: a late purge would take it along.
    pub async fn free_workload_lane<E>(
        &self,
        id: Uuid,
        lane_id: i32,
        purge: impl Future<Output = Result<bool, E>>,
    ) -> Result<Result<bool, E>, StoreError> {
        let client = self.data_client().await?;
        let mut outcome = Ok(Ok(false));
        super::transaction::transaction(&client, "recipes.free", async {
            let statement = client.prepare_cached(LOCK_IDLE).await?;
            if client.query_opt(&statement, &[&id, &lane_id]).await?.is_none() {
                return Ok(());
            }
            let statement = client.prepare_cached(STILL_IDLE).await?;
            if !client.query_one(&statement, &[&id]).await?.try_get::<_, bool>(0)? {
                return Ok(());
            }
            match purge.await {
                Ok(there) => {
                    let statement = client.prepare_cached(FREE).await?;
                    client.execute(&statement, &[&id, &lane_id, &there]).await?;
                    outcome = Ok(Ok(true));
                }
                Err(error) => outcome = Ok(Err(error)),
            }
            Ok(())
        })
        .await?;
        outcome
    }
}

fn read(row: &Row) -> Result<WorkloadView, StoreError> {
    Ok(WorkloadView {
        id: row.try_get(0)?,
        tenant_id: row.try_get(1)?,
        lane_id: row.try_get(2)?,
        lane_epoch: row.try_get::<_, Option<i64>>(3)?.unwrap_or_default(),
        priority: row.try_get(4)?,
        initial_workers: row.try_get::<_, i32>(5)?.unsigned_abs(),
        max_workers: row.try_get::<_, i32>(6)?.unsigned_abs(),
        seed: row.try_get(7)?,
        created_at: row.try_get(8)?,
        bundles: u32::try_from(row.try_get::<_, i64>(9)?).unwrap_or(u32::MAX),
        paused: row.try_get::<_, Option<f64>>(12)?.map(|paused| Duration::from_secs_f64(paused.max(0.0))),
    })
}
