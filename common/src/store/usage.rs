//! Who works, and who uses what (control plane): what operators and tenants are shown. Each call is one statement.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Store, StoreError};

/// A worker with a recent heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetMember {
    /// The process.
    pub id: Uuid,
    /// Its name, as it was configured: the host, in most installations.
    pub name: String,
    /// Its release.
    pub version: String,
    /// Evaluations at a time.
    pub slots: i32,
    /// Whether it takes no new work.
    pub draining: bool,
    /// Slots that evaluate, as it reported them: for the tenant that was asked for, or for anybody.
    pub busy: i64,
    /// Deliveries that it holds, in the same way.
    pub held: i64,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// Its last heartbeat.
    pub seen_at: DateTime<Utc>,
}

/// What a tenant may use, and what it does. Amounts in bytes; what is reserved and used is of batches that have a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it, and the columns are documented in the schema")]
pub struct TenantUsage {
    pub name: String,
    pub capacity: i64,
    pub output_capacity: i64,
    pub max_input: i64,
    pub max_output: i64,
    pub max_workers: i32,
    pub initial_workers: i32,
    pub weight: i32,
    pub requests_per_second: Option<i32>,
    pub push_bytes_per_second: Option<i64>,
    pub reserved_input: i64,
    pub reserved_output: i64,
    pub input_used: i64,
    pub output_used: i64,
    /// Batches that are not finished.
    pub live_batches: i64,
    /// Chunks of these without an outcome.
    pub unfinished_chunks: i64,
    /// Records of these.
    pub unfinished_records: i64,
    /// Busy slots, as the workers report them, bounded by the chunks that can be running.
    pub workers_in_use: i64,
}

impl Store {
    /// Workers seen within `silent_seconds`, by name; with what they do for one tenant, or for all of them.
    pub async fn fleet_members(
        &self,
        silent_seconds: f64,
        tenant_id: Option<Uuid>,
    ) -> Result<Vec<FleetMember>, StoreError> {
        Ok(sqlx::query_as!(
            FleetMember,
            r#"WITH mine AS (SELECT id::text AS id FROM batches
                   WHERE tenant_id = $2 AND state IN ('open', 'closed', 'closed_by_timeout'))
               SELECT w.id, w.name, w.version, w.slots, w.draining, w.started_at, w.seen_at,
                   coalesce((SELECT sum(u.value::bigint) FROM jsonb_each_text(w.busy) u
                       WHERE $2::uuid IS NULL OR u.key IN (SELECT id FROM mine)), 0)::bigint AS "busy!",
                   coalesce((SELECT sum(u.value::bigint) FROM jsonb_each_text(coalesce(w.held, '{}')) u
                       WHERE $2::uuid IS NULL OR u.key IN (SELECT id FROM mine)), 0)::bigint AS "held!"
               FROM workers w WHERE w.seen_at > clock_timestamp() - make_interval(secs => $1)
               ORDER BY w.name, w.id"#,
            silent_seconds,
            tenant_id
        )
        .fetch_all(&self.control)
        .await?)
    }

    /// What a tenant uses, or each of them, by name.
    pub async fn tenant_usage(&self, tenant_id: Option<Uuid>) -> Result<Vec<TenantUsage>, StoreError> {
        Ok(sqlx::query_as!(
            TenantUsage,
            r#"WITH used AS (
                   SELECT b.tenant_id, b.input_allocated, b.output_allocated, s.input_bytes, s.output_bytes, s.workers_in_use,
                       b.released_at IS NULL AS reserved, b.state IN ('open', 'closed', 'closed_by_timeout') AS live,
                       greatest(s.chunks_submitted - s.chunks_completed - s.chunks_failed, 0) AS chunks,
                       greatest(s.records_submitted - s.records_completed, 0) AS records
                   FROM batches b JOIN batch_sums s ON s.batch_id = b.id
                   WHERE b.released_at IS NULL OR b.state IN ('open', 'closed', 'closed_by_timeout'))
               SELECT t.name, t.capacity_bytes AS capacity, coalesce(t.output_capacity_bytes, t.capacity_bytes) AS "output_capacity!",
                   t.max_input_bytes AS max_input, t.max_output_bytes AS max_output, t.max_workers, t.initial_workers, t.weight,
                   t.requests_per_second, t.push_bytes_per_second,
                   coalesce(sum(u.input_allocated) FILTER (WHERE u.reserved), 0)::bigint AS "reserved_input!",
                   coalesce(sum(u.output_allocated) FILTER (WHERE u.reserved), 0)::bigint AS "reserved_output!",
                   coalesce(sum(u.input_bytes) FILTER (WHERE u.reserved), 0)::bigint AS "input_used!",
                   coalesce(sum(u.output_bytes) FILTER (WHERE u.reserved), 0)::bigint AS "output_used!",
                   count(*) FILTER (WHERE u.live) AS "live_batches!",
                   coalesce(sum(u.chunks) FILTER (WHERE u.live), 0)::bigint AS "unfinished_chunks!",
                   coalesce(sum(u.records) FILTER (WHERE u.live), 0)::bigint AS "unfinished_records!",
                   coalesce(sum(least(u.workers_in_use, u.chunks)) FILTER (WHERE u.live), 0)::bigint AS "workers_in_use!"
               FROM tenants t LEFT JOIN used u ON u.tenant_id = t.id
               WHERE $1::uuid IS NULL OR t.id = $1
               GROUP BY t.id ORDER BY lower(t.name)"#,
            tenant_id
        )
        .fetch_all(&self.control)
        .await?)
    }
}
