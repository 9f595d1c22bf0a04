//! Batches: creation and views (control plane).

use chrono::{DateTime, Utc};
use millrace_calc::totals::TotalRequest;
use serde_json::json;
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::audit::Change;
use super::lifecycle::view_in;
use super::retry::retrying;
use super::views::select_views;
use super::{Batch, BatchView, Store, StoreError};
use crate::metrics::BATCHES_CREATED;
use crate::model::Action;

/// Counter slot of admission.
pub(super) const ADMISSION_SLOT: i16 = 0;
/// Counter slot of pulls.
pub(super) const PULL_SLOT: i16 = 1;
/// The first counter slot of workers.
pub(super) const FIRST_WORKER_SLOT: i16 = 2;
/// How many counter slots workers share.
pub(super) const WORKER_SLOTS: i16 = 8;

/// What a new batch is made from. Values above the tenant's caps are clamped to them.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "the fields are those of contract 1.1")]
pub struct NewBatch {
    pub tenant_id: Uuid,
    pub version_id: Uuid,
    pub service_id: Uuid,
    pub service_uri: String,
    pub version: String,
    pub compiler_version: String,
    pub created_by: String,
    pub unique_record_key: Option<String>,
    pub output_filter: Vec<String>,
    pub subservices: Vec<String>,
    pub version_by_timestamp: Option<DateTime<Utc>>,
    pub call_purpose: String,
    pub source_system: Option<String>,
    pub correlation_id: Option<String>,
    /// `None`: the tenant's setting.
    pub initial_workers: Option<i32>,
    /// `None`: the tenant's maximum.
    pub max_workers: Option<i32>,
    pub chunks_per_request: i32,
    pub runner_thread_count: i32,
    pub acceptable_error_percentage: f64,
    /// `None`: failed records do not matter.
    pub acceptable_record_error_percentage: Option<f64>,
    pub early_stop: bool,
    /// Lower goes first among the tenant's batches.
    pub priority: i32,
    /// Input buffer in bytes.
    pub input_bytes: i64,
    /// Output buffer in bytes.
    pub output_bytes: i64,
    /// Totals to keep over the whole batch; none, as a rule.
    pub totals: Vec<TotalRequest>,
    /// Told when the batch ends; checked by the caller.
    pub webhook_url: Option<String>,
}

/// Why a batch could not be created.
#[derive(Debug, thiserror::Error)]
pub enum CreateBatchError {
    /// The tenant has not 110 % of the buffers free (contract 3.6).
    #[error("the tenant has {free} bytes free, the batch needs {needed}")]
    TenantExhausted {
        /// Bytes that must be free: 110 % of both buffers.
        needed: i64,
        /// Bytes that are free.
        free: i64,
        /// Of the batches in their cool-off that give back enough together, for how many seconds the last one has been finished;
        /// `None` when they do not.
        finished_for: Option<f64>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A created batch.
#[derive(Debug, Clone)]
pub struct CreatedBatch {
    /// The batch as stored.
    pub batch: Batch,
    /// Whether its lane's queue exists already; if not, declare it and call [`Store::mark_lane_declared`].
    pub lane_declared: bool,
}

/// A tenant's quotas and what its live batches use (contract 1.7).
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names say it; all amounts in bytes")]
pub struct TenantOverview {
    pub capacity_bytes: i64,
    pub max_workers: i32,
    pub reserved_input_bytes: i64,
    pub reserved_output_bytes: i64,
    pub used_input_bytes: i64,
    pub used_output_bytes: i64,
    pub workers_in_use: i64,
    /// Live batches, and terminal ones of the last 60 minutes; newest first.
    pub batches: Vec<BatchView>,
}

impl Store {
    /// Creates a batch: checks the tenant's reservation, leases a lane, stores the row and its counter slots.
    pub async fn create_batch(&self, new: &NewBatch) -> Result<CreatedBatch, CreateBatchError> {
        let created = retrying("create_batch", || async {
            match self.create_batch_once(new).await {
                Err(CreateBatchError::Store(error)) => Err(error),
                done => Ok(done),
            }
        });
        created.await?
    }

    async fn create_batch_once(&self, new: &NewBatch) -> Result<CreatedBatch, CreateBatchError> {
        self.ensure_partitions().await?;
        let mut tx = self.control.begin().await.map_err(StoreError::from)?;
        let (created, entry) = self.create_in(&mut tx, Uuid::new_v4(), new).await?;
        self.audit(&mut tx, new.tenant_id, entry).await?;
        tx.commit().await.map_err(StoreError::from)?;
        BATCHES_CREATED.add(1);
        Ok(created)
    }

    /// Creates a batch with this id as a part of a transaction, whose last act is to write the entry that comes back.
    pub(super) async fn create_in(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        id: Uuid,
        new: &NewBatch,
    ) -> Result<(CreatedBatch, Change), CreateBatchError> {
        // One creation at a time per tenant: two that each fit alone must not both get through.
        let tenant = sqlx::query!(
            "SELECT capacity_bytes, max_input_bytes, max_output_bytes, max_workers, initial_workers
             FROM tenants WHERE id = $1 FOR UPDATE",
            new.tenant_id
        )
        .fetch_optional(&mut **tx)
        .await
        .map_err(StoreError::from)?
        .ok_or(StoreError::NotFound("tenant"))?;
        let reserved = sqlx::query_scalar!(
            r#"SELECT coalesce(sum(input_allocated + output_allocated), 0)::bigint AS "sum!"
               FROM batches WHERE tenant_id = $1 AND released_at IS NULL"#,
            new.tenant_id
        )
        .fetch_one(&mut **tx)
        .await
        .map_err(StoreError::from)?;
        let input = new.input_bytes.clamp(1, tenant.max_input_bytes);
        let output = new.output_bytes.clamp(1, tenant.max_output_bytes);
        // 110 %, rounded up: a byte too few is too few.
        let size = i128::from(input) + i128::from(output);
        let needed = i64::try_from((size * 11 + 9) / 10).unwrap_or(i64::MAX);
        let free = (tenant.capacity_bytes - reserved).max(0);
        if free < needed {
            let finished_for = sqlx::query_scalar!(
                r#"SELECT extract(epoch FROM clock_timestamp() - finished_at)::float8 AS "age!" FROM (
                       SELECT finished_at, sum(input_allocated + output_allocated) OVER (ORDER BY finished_at, id) AS back
                       FROM batches WHERE tenant_id = $1 AND released_at IS NULL AND finished_at IS NOT NULL
                   ) finished WHERE back >= $2::bigint ORDER BY finished_at LIMIT 1"#,
                new.tenant_id,
                needed - free
            )
            .fetch_optional(&mut **tx)
            .await
            .map_err(StoreError::from)?;
            return Err(CreateBatchError::TenantExhausted { needed, free, finished_for });
        }
        let max_workers = new.max_workers.unwrap_or(tenant.max_workers).clamp(1, tenant.max_workers);
        let initial_workers = new.initial_workers.unwrap_or(tenant.initial_workers).clamp(1, max_workers);

        let totals = (!new.totals.is_empty()).then(|| serde_json::to_value(&new.totals)).transpose();
        let totals = totals.map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let lane = lease_lane(tx).await?;
        sqlx::query!(
            r#"INSERT INTO batches (id, tenant_id, version_id, service_id, service_uri, version, compiler_version, created_by,
                   day, lane_id, lane_epoch, unique_record_key, output_filter, subservices, version_by_timestamp,
                   call_purpose, source_system, correlation_id, initial_workers, max_workers, chunks_per_request,
                   runner_thread_count, acceptable_error_percentage, input_allocated, output_allocated, seed, totals,
                   acceptable_record_error_percentage, early_stop, priority, webhook_url)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, (now() AT TIME ZONE 'UTC')::date, $9, $10, $11, $12, $13, $14, $15, $16,
                   $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30)"#,
            id,
            new.tenant_id,
            new.version_id,
            new.service_id,
            new.service_uri,
            new.version,
            new.compiler_version,
            new.created_by,
            lane.id,
            lane.epoch,
            new.unique_record_key,
            &new.output_filter,
            &new.subservices,
            new.version_by_timestamp,
            new.call_purpose,
            new.source_system,
            new.correlation_id,
            initial_workers,
            max_workers,
            new.chunks_per_request,
            new.runner_thread_count,
            new.acceptable_error_percentage,
            input,
            output,
            rand::random::<i64>(),
            totals,
            new.acceptable_record_error_percentage,
            new.early_stop,
            new.priority,
            new.webhook_url,
        )
        .execute(&mut **tx)
        .await
        .map_err(StoreError::from)?;
        sqlx::query!("UPDATE lanes SET batch_id = $2 WHERE id = $1", lane.id, id)
            .execute(&mut **tx)
            .await
            .map_err(StoreError::from)?;
        sqlx::query!(
            "INSERT INTO batch_counters (batch_id, slot) SELECT $1, slot FROM generate_series(0, $2::int) AS slot",
            id,
            i32::from(FIRST_WORKER_SLOT + WORKER_SLOTS - 1)
        )
        .execute(&mut **tx)
        .await
        .map_err(StoreError::from)?;
        let view = view_in(tx, id).await?;
        let details = json!({"service": new.service_uri, "input_bytes": input, "output_bytes": output});
        let created = CreatedBatch { batch: view.batch, lane_declared: lane.declared };
        Ok((created, Change::new(Action::BatchCreate, id, details)))
    }

    /// Records that the lane's queue exists.
    pub async fn mark_lane_declared(&self, lane_id: i32) -> Result<(), StoreError> {
        sqlx::query!("UPDATE lanes SET declared = true WHERE id = $1", lane_id)
            .execute(&self.control)
            .await?;
        Ok(())
    }

    /// The batch, if the tenant has it.
    pub async fn batch(&self, tenant_id: Uuid, id: Uuid) -> Result<Option<Batch>, StoreError> {
        Ok(self.batch_view(tenant_id, id).await?.map(|view| view.batch))
    }

    /// The batch with its counters, if the tenant has it.
    pub async fn batch_view(&self, tenant_id: Uuid, id: Uuid) -> Result<Option<BatchView>, StoreError> {
        Ok(select_views!("WHERE id = $1 AND tenant_id = $2", id, tenant_id)
            .fetch_optional(&self.control)
            .await?
            .map(BatchView::from))
    }

    /// Quotas, use and recent batches of a tenant.
    pub async fn tenant_overview(&self, tenant_id: Uuid) -> Result<TenantOverview, StoreError> {
        let row = sqlx::query!(
            r#"SELECT t.capacity_bytes, t.max_workers,
                   coalesce(sum(b.input_allocated), 0)::bigint AS "reserved_input!",
                   coalesce(sum(b.output_allocated), 0)::bigint AS "reserved_output!",
                   coalesce(sum(s.input_bytes), 0)::bigint AS "used_input!",
                   coalesce(sum(s.output_bytes), 0)::bigint AS "used_output!",
                   coalesce(sum(CASE WHEN b.state IN ('open', 'closed', 'closed_by_timeout') THEN
                       least(s.workers_in_use, s.chunks_submitted - s.chunks_completed - s.chunks_failed) END), 0)::bigint
                       AS "workers_in_use!"
               FROM tenants t LEFT JOIN (batches b JOIN batch_sums s ON s.batch_id = b.id)
                   ON b.tenant_id = t.id AND b.released_at IS NULL
               WHERE t.id = $1
               GROUP BY t.id"#,
            tenant_id
        )
        .fetch_optional(&self.control)
        .await?
        .ok_or(StoreError::NotFound("tenant"))?;
        let batches = select_views!(
            "WHERE tenant_id = $1 AND (state IN ('open', 'closed', 'closed_by_timeout')
                OR updated_at > now() - interval '60 minutes') ORDER BY updated_at DESC LIMIT 1000",
            tenant_id
        )
        .fetch_all(&self.control)
        .await?
        .into_iter()
        .map(BatchView::from)
        .collect();
        Ok(TenantOverview {
            capacity_bytes: row.capacity_bytes,
            max_workers: row.max_workers,
            reserved_input_bytes: row.reserved_input,
            reserved_output_bytes: row.reserved_output,
            used_input_bytes: row.used_input,
            used_output_bytes: row.used_output,
            workers_in_use: row.workers_in_use,
            batches,
        })
    }
}

/// A leased lane.
struct Lane {
    id: i32,
    epoch: i64,
    declared: bool,
}

/// Leases the first free lane, or adds one to the pool. Each lease has its own epoch.
async fn lease_lane(tx: &mut Transaction<'_, Postgres>) -> Result<Lane, StoreError> {
    let free = sqlx::query_as!(
        Lane,
        "UPDATE lanes SET epoch = epoch + 1
         WHERE id = (SELECT id FROM lanes WHERE batch_id IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
         RETURNING id, epoch, declared"
    )
    .fetch_optional(&mut **tx)
    .await?;
    if let Some(lane) = free {
        return Ok(lane);
    }
    // Concurrent creations take turns here, for the length of their transactions, to choose distinct new numbers.
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtext('millrace.lanes'))").execute(&mut **tx).await?;
    Ok(sqlx::query_as!(
        Lane,
        "INSERT INTO lanes (id, epoch) SELECT coalesce(max(id), 0) + 1, 1 FROM lanes RETURNING id, epoch, declared"
    )
    .fetch_one(&mut **tx)
    .await?)
}
