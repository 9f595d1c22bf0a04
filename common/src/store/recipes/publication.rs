//! From bundles in the database to messages on lanes (data plane).

use uuid::Uuid;

use super::transaction::transaction;
use crate::store::data::DataClient;
use crate::store::retry::retrying;
use crate::store::{Store, StoreError};

/// A bundle that is to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleRef {
    /// The workload whose lane it goes to.
    pub workload_id: Uuid,
    /// The bundle.
    pub bundle_id: i64,
}

/// The lane that a workload leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkloadLane {
    /// The workload.
    pub workload_id: Uuid,
    /// Its lane.
    pub lane_id: i32,
    /// The number of the lease.
    pub epoch: i64,
    /// Whether the lane's queue exists already; if not, declare it and call [`Store::mark_lane_declared`].
    pub declared: bool,
}

const LANES: &str = "
-- recipes: lanes
SELECT w.id, w.lane_id, w.lane_epoch, l.declared FROM workloads w JOIN lanes l ON l.id = w.lane_id WHERE w.id = ANY($1)";

const LOCK_WORKLOAD: &str = "
-- recipes: lock a workload
SELECT lane_id FROM workloads WHERE id = $1 FOR NO KEY UPDATE";

const FREE_LANE: &str = "
-- recipes: lease a lane
UPDATE lanes SET epoch = epoch + 1, batch_id = $1
WHERE id = (SELECT id FROM lanes WHERE batch_id IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, epoch";

const NEW_LANE: &str = "
-- recipes: add a lane
INSERT INTO lanes (id, epoch, batch_id) SELECT coalesce(max(id), 0) + 1, 1, $1::uuid FROM lanes RETURNING id, epoch";

const LEASE: &str = "
-- recipes: note a lease
UPDATE workloads SET lane_id = $2, lane_epoch = $3, active_at = clock_timestamp() WHERE id = $1";

const CONFIRMED: &str = "
-- recipes: confirmed
UPDATE job_bundles SET published_at = clock_timestamp() WHERE id = ANY($1)";

/// Bundles of job types that were paused and are not any more.
const RESUMED: &str = "
-- recipes: resume bundles
UPDATE job_bundles b SET created_at = '-infinity'
FROM job_type_revisions r JOIN job_types t ON t.id = r.job_type_id
WHERE b.created_at = 'infinity' AND r.id = b.job_type_rev_id AND NOT t.is_paused";

const UNPUBLISHED: &str = "
-- recipes: unpublished bundles
UPDATE job_bundles SET created_at = clock_timestamp() WHERE id IN (
    SELECT id FROM job_bundles
    WHERE published_at IS NULL AND created_at < clock_timestamp() - make_interval(secs => $1)
    ORDER BY priority, id LIMIT 500 FOR UPDATE SKIP LOCKED)
RETURNING workload_id, id";

const LOST: &str = "
-- recipes: lost bundles
UPDATE job_bundles SET published_at = clock_timestamp() WHERE id IN (
    SELECT id FROM job_bundles
    WHERE workload_id = $1 AND published_at < clock_timestamp() - make_interval(secs => $2)
    ORDER BY priority, id LIMIT 500 FOR UPDATE SKIP LOCKED)
RETURNING id";

impl Store {
    /// The lanes of these workloads; those that have none lease one.
    pub async fn workload_lanes(&self, workloads: &[Uuid]) -> Result<Vec<WorkloadLane>, StoreError> {
        let client = self.data_client().await?;
        let mut lanes = read_lanes(&client, workloads).await?;
        let without: Vec<Uuid> =
            workloads.iter().copied().filter(|id| lanes.iter().all(|lane| lane.workload_id != *id)).collect();
        for workload in &without {
            retrying("lease_lane", || transaction(&client, "recipes.lease", lease(&client, *workload)))
                .await?;
        }
        if !without.is_empty() {
            lanes.extend(read_lanes(&client, &without).await?);
        }
        Ok(lanes)
    }

    /// Notes that the broker has these bundles.
    pub async fn confirm_bundles(&self, bundles: &[i64]) -> Result<(), StoreError> {
        let client = self.data_client().await?;
        let statement = client.prepare_cached(CONFIRMED).await?;
        client.in_time(async { Ok(client.execute(&statement, &[&bundles]).await?) }).await?;
        Ok(())
    }

    /// Bundles that were not confirmed within `seconds`, or that a pause of their job type held back until now, for the caller to
    /// publish; others wait as long again before they take them.
    pub async fn unpublished_bundles(&self, seconds: f64) -> Result<Vec<BundleRef>, StoreError> {
        let client = self.data_client().await?;
        let resumed = client.prepare_cached(RESUMED).await?;
        let statement = client.prepare_cached(UNPUBLISHED).await?;
        let rows = client
            .in_time(async {
                client.execute(&resumed, &[]).await?;
                Ok(client.query(&statement, &[&seconds]).await?)
            })
            .await?;
        rows.iter()
            .map(|row| Ok(BundleRef { workload_id: row.try_get(0)?, bundle_id: row.try_get(1)? }))
            .collect()
    }

    /// Bundles of a workload that were published more than `seconds` ago, for the caller to publish again: their messages are
    /// gone. Should they not be, no harm is done.
    pub async fn lost_bundles(&self, workload_id: Uuid, seconds: f64) -> Result<Vec<BundleRef>, StoreError> {
        let client = self.data_client().await?;
        let statement = client.prepare_cached(LOST).await?;
        let rows =
            client.in_time(async { Ok(client.query(&statement, &[&workload_id, &seconds]).await?) }).await?;
        rows.iter().map(|row| Ok(BundleRef { workload_id, bundle_id: row.try_get(0)? })).collect()
    }
}

async fn read_lanes(client: &DataClient, workloads: &[Uuid]) -> Result<Vec<WorkloadLane>, StoreError> {
    let statement = client.prepare_cached(LANES).await?;
    let rows = client.in_time(async { Ok(client.query(&statement, &[&workloads]).await?) }).await?;
    rows.iter()
        .map(|row| {
            Ok(WorkloadLane {
                workload_id: row.try_get(0)?,
                lane_id: row.try_get(1)?,
                epoch: row.try_get(2)?,
                declared: row.try_get(3)?,
            })
        })
        .collect()
}

/// Leases a lane for a workload that has none, as a batch does at its creation.
async fn lease(client: &DataClient, workload: Uuid) -> Result<(), StoreError> {
    let statement = client.prepare_cached(LOCK_WORKLOAD).await?;
    let Some(row) = client.query_opt(&statement, &[&workload]).await? else { return Ok(()) };
    if row.try_get::<_, Option<i32>>(0)?.is_some() {
        return Ok(());
    }
    let statement = client.prepare_cached(FREE_LANE).await?;
    let lane = match client.query_opt(&statement, &[&workload]).await? {
        Some(lane) => lane,
        None => {
            // Whoever adds lanes takes turns here, as batches do.
            client.batch_execute("SELECT pg_advisory_xact_lock(hashtext('millrace.lanes'))").await?;
            let statement = client.prepare_cached(NEW_LANE).await?;
            client.query_one(&statement, &[&workload]).await?
        }
    };
    let (lane_id, epoch): (i32, i64) = (lane.try_get(0)?, lane.try_get(1)?);
    let statement = client.prepare_cached(LEASE).await?;
    client.execute(&statement, &[&workload, &lane_id, &epoch]).await?;
    Ok(())
}
