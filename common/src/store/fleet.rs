//! The fleet: heartbeats and the snapshot that the plan is made from (control plane).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::views::select_views;
use super::{BatchView, Store, StoreError};
use crate::model::Protocol;

/// What a worker says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// The process, new at every start.
    pub worker_id: Uuid,
    /// Host name and process id, for people.
    pub name: String,
    /// The binary's version.
    pub version: String,
    /// Evaluations at a time.
    pub slots: u32,
    /// Whether it takes no new work.
    pub draining: bool,
    /// Busy slots per batch.
    pub busy: BTreeMap<Uuid, u32>,
    /// Deliveries that it holds per batch: waiting, being evaluated, or on their way into the database; none of them 0.
    pub held: BTreeMap<Uuid, u32>,
    /// Its own clock.
    pub clock: DateTime<Utc>,
}

/// A worker that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetWorker {
    /// The process.
    pub id: Uuid,
    /// Evaluations at a time.
    pub slots: u32,
    /// Whether it takes no new work.
    pub draining: bool,
    /// The newest kind of work that it knows.
    pub protocol: Protocol,
}

/// A tenant's share in the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetTenant {
    /// The tenant.
    pub id: Uuid,
    /// Its weight against other tenants.
    pub weight: u32,
    /// Most slots of all its batches together.
    pub max_workers: u32,
}

/// What every worker plans from.
#[derive(Debug, Clone)]
pub struct FleetSnapshot {
    /// Workers with a recent heartbeat.
    pub workers: Vec<FleetWorker>,
    /// Tenants with live batches.
    pub tenants: Vec<FleetTenant>,
    /// Live batches.
    pub batches: Vec<BatchView>,
}

impl Store {
    /// Records a heartbeat.
    pub async fn heartbeat(&self, beat: &Heartbeat) -> Result<(), StoreError> {
        let busy =
            serde_json::to_value(&beat.busy).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let held =
            serde_json::to_value(&beat.held).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        sqlx::query!(
            "INSERT INTO workers (id, name, version, slots, draining, busy, held, protocol, clock_ahead_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, (extract(epoch FROM $9 - clock_timestamp()) * 1000)::bigint)
             ON CONFLICT (id) DO UPDATE SET draining = excluded.draining, busy = excluded.busy, held = excluded.held,
                 clock_ahead_ms = excluded.clock_ahead_ms, seen_at = clock_timestamp()",
            beat.worker_id,
            beat.name,
            beat.version,
            i32::try_from(beat.slots).unwrap_or(i32::MAX),
            beat.draining,
            busy,
            held,
            Protocol::CURRENT.number(),
            beat.clock
        )
        .execute(&self.control)
        .await?;
        Ok(())
    }

    /// Removes a worker that ends.
    pub async fn forget_worker(&self, worker_id: Uuid) -> Result<(), StoreError> {
        sqlx::query!("DELETE FROM workers WHERE id = $1", worker_id).execute(&self.control).await?;
        Ok(())
    }

    /// Workers seen within `silent_seconds`, live batches, and their tenants.
    pub async fn fleet_snapshot(&self, silent_seconds: f64) -> Result<FleetSnapshot, StoreError> {
        let workers = sqlx::query!(
            "SELECT id, slots, draining, protocol FROM workers WHERE seen_at > clock_timestamp() - make_interval(secs => $1) ORDER BY id",
            silent_seconds
        )
        .fetch_all(&self.control)
        .await?
        .into_iter()
        .map(|row| FleetWorker {
            id: row.id,
            slots: row.slots.unsigned_abs(),
            draining: row.draining,
            protocol: Protocol::announced(row.protocol),
        })
        .collect();
        let tenants = sqlx::query!(
            "SELECT id, weight, max_workers FROM tenants
             WHERE id IN (SELECT tenant_id FROM batches WHERE state IN ('open', 'closed', 'closed_by_timeout')) ORDER BY id"
        )
        .fetch_all(&self.control)
        .await?
        .into_iter()
        .map(|row| FleetTenant {
            id: row.id,
            weight: row.weight.unsigned_abs(),
            max_workers: row.max_workers.unsigned_abs(),
        })
        .collect();
        let batches =
            select_views!("WHERE state IN ('open', 'closed', 'closed_by_timeout') ORDER BY created_at, id")
                .fetch_all(&self.control)
                .await?
                .into_iter()
                .map(BatchView::from)
                .collect();
        Ok(FleetSnapshot { workers, tenants, batches })
    }

    /// The live batch that leases a lane under this epoch, whoever owns it.
    pub async fn live_batch(&self, id: Uuid) -> Result<Option<BatchView>, StoreError> {
        Ok(select_views!("WHERE id = $1", id).fetch_optional(&self.control).await?.map(BatchView::from))
    }

    /// Records that a worker took the first chunk of these batches.
    pub async fn mark_started(&self, batches: &[Uuid]) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE batches SET started_at = clock_timestamp(), updated_at = clock_timestamp()
             WHERE id = ANY($1) AND started_at IS NULL AND state IN ('open', 'closed', 'closed_by_timeout')",
            batches
        )
        .execute(&self.control)
        .await?;
        Ok(())
    }
}
