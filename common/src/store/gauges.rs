//! What is measured of the whole installation (control plane). Each call is one statement, whatever the number of batches.

use uuid::Uuid;

use super::{Store, StoreError};
use crate::model::{BatchProgress, BatchState, is_held_back, is_paused};

/// A live batch and its lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneGauges {
    /// The batch.
    pub batch_id: Uuid,
    /// The name of its tenant.
    pub tenant: String,
    /// Its lane; none for a moment at its end.
    pub lane_id: Option<i32>,
    /// Chunks pushed.
    pub chunks_submitted: i64,
    /// Of these, chunks with an outcome.
    pub chunks_finished: i64,
    /// Whether its evaluation waits for a pull.
    pub held_back: bool,
    /// Whether it is paused.
    pub paused: bool,
    /// Busy slots, as the workers report them, bounded by the chunks that can be running.
    pub workers_in_use: i64,
}

/// A tenant whose batches have a reservation. Amounts in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct TenantGauges {
    pub tenant: String,
    pub capacity: i64,
    pub reserved: i64,
    pub input_used: i64,
    pub output_used: i64,
}

/// The fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerGauges {
    /// Workers with a recent heartbeat.
    pub workers: i64,
    /// Slots of those that are not stopping.
    pub slots: i64,
}

/// Webhook messages that are to be delivered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WebhookGauges {
    /// Messages that wait, for their first or for another attempt.
    pub waiting: i64,
    /// Seconds since the first attempt of the oldest of them was due; 0 when none waits.
    pub oldest_seconds: f64,
}

impl Store {
    /// Every live batch.
    pub async fn lane_gauges(&self) -> Result<Vec<LaneGauges>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT b.id, t.name AS tenant, b.lane_id, b.state, b.stopped_at IS NOT NULL AS "stopped!", b.output_allocated,
                   b.paused_at IS NOT NULL AS "paused!",
                   s.chunks_submitted AS "chunks_submitted!", s.chunks_completed AS "chunks_completed!",
                   s.chunks_failed AS "chunks_failed!", s.output_bytes AS "output_bytes!", s.workers_in_use AS "workers_in_use!"
               FROM batches b JOIN batch_sums s ON s.batch_id = b.id JOIN tenants t ON t.id = b.tenant_id
               WHERE b.state IN ('open', 'closed', 'closed_by_timeout')"#
        )
        .fetch_all(&self.control)
        .await?;
        let gauges = rows.into_iter().map(|row| {
            let state: BatchState = row.state.parse().map_err(StoreError::Corrupt)?;
            let progress = BatchProgress {
                chunks_submitted: row.chunks_submitted,
                chunks_completed: row.chunks_completed,
                chunks_failed: row.chunks_failed,
                output_used: row.output_bytes,
                output_allocated: row.output_allocated,
                ..BatchProgress::default()
            };
            Ok(LaneGauges {
                batch_id: row.id,
                tenant: row.tenant,
                lane_id: row.lane_id,
                chunks_submitted: row.chunks_submitted,
                chunks_finished: progress.chunks_finished(),
                held_back: is_held_back(state, row.stopped, &progress),
                paused: is_paused(state, row.stopped, row.paused),
                // Heartbeats lag behind commits.
                workers_in_use: row
                    .workers_in_use
                    .clamp(0, (row.chunks_submitted - progress.chunks_finished()).max(0)),
            })
        });
        gauges.collect()
    }

    /// Every tenant with a reservation.
    pub async fn tenant_gauges(&self) -> Result<Vec<TenantGauges>, StoreError> {
        Ok(sqlx::query_as!(
            TenantGauges,
            r#"SELECT t.name AS tenant, t.capacity_bytes AS capacity,
                   sum(b.input_allocated + b.output_allocated)::bigint AS "reserved!",
                   sum(s.input_bytes)::bigint AS "input_used!", sum(s.output_bytes)::bigint AS "output_used!"
               FROM tenants t JOIN batches b ON b.tenant_id = t.id AND b.released_at IS NULL JOIN batch_sums s ON s.batch_id = b.id
               GROUP BY t.id"#
        )
        .fetch_all(&self.control)
        .await?)
    }

    /// Workers seen within `silent_seconds`.
    pub async fn worker_gauges(&self, silent_seconds: f64) -> Result<WorkerGauges, StoreError> {
        Ok(sqlx::query_as!(
            WorkerGauges,
            r#"SELECT count(*) AS "workers!", coalesce(sum(slots) FILTER (WHERE NOT draining), 0)::bigint AS "slots!"
               FROM workers WHERE seen_at > clock_timestamp() - make_interval(secs => $1)"#,
            silent_seconds
        )
        .fetch_one(&self.control)
        .await?)
    }

    /// Webhook messages that are neither delivered nor given up.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn webhook_gauges(&self) -> Result<WebhookGauges, StoreError> {
        Ok(sqlx::query_as!(
            WebhookGauges,
            r#"SELECT count(*) AS "waiting!",
                   coalesce(extract(epoch FROM clock_timestamp() - min(retry_from)), 0)::float8 AS "oldest_seconds!"
               FROM webhook_deliveries WHERE state = 'pending'"#
        )
        .fetch_one(&self.control)
        .await?)
    }
}
