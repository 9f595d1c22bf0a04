//! The tenant overview (contract 1.7).

use millrace_common::model::{BatchStatus, PipelineStatus};
use millrace_common::store::BatchView;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Timestamp;
use super::info::{OBJECT, Summary, updated_at};
use crate::openapi::schemas::{batch_status, pipeline_status};

/// The tenant overview (contract 1.7).
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct OverviewBody {
    /// Batches that are not finished, newest first.
    pub in_progress_batches: Vec<OverviewBatch>,
    /// Batches that finished within the last hour, newest first.
    pub recent_batches: Vec<OverviewBatch>,
    /// The whole tenant.
    pub tenant: OverviewTenant,
    /// Unstable by the contract's own word.
    pub environment: Environment,
}

/// Something that changes when the installation is updated.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Environment {
    /// The revision of this contract's implementation.
    pub update: u32,
}

/// One batch of the overview.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct OverviewBatch {
    /// `batch`
    pub object: &'static str,
    /// The batch.
    pub id: Uuid,
    /// What there is to see.
    pub data: OverviewData,
}

/// A batch of the overview, in short.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct OverviewData {
    /// Contract 3.2.
    #[schema(schema_with = pipeline_status)]
    pub pipeline_status: PipelineStatus,
    /// Sums.
    pub summary: OverviewSummary,
    /// When the numbers were read.
    pub response_timestamp: Timestamp,
    /// Contract 3.1.
    #[schema(schema_with = batch_status)]
    pub batch_status: BatchStatus,
    /// Who created the batch.
    pub created_by: String,
    /// When.
    pub created_timestamp: Timestamp,
    /// When something last happened to it.
    pub updated_timestamp: Timestamp,
    /// `folder/service[0.1.0]`
    pub service_uri: String,
}

/// The sums of a batch of the overview; completed excludes failed, as in batch information.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct OverviewSummary {
    /// Records pushed.
    pub records_submitted: i64,
    /// Records of failed chunks, and records with errors.
    pub records_failed: i64,
    /// Records that finished well.
    pub records_completed: i64,
    /// Sum of the records' process times, in milliseconds.
    pub compute_time_ms: i64,
    /// From creation to the end, or until now, in milliseconds.
    pub batch_time_ms: i64,
}

impl OverviewBatch {
    /// A batch in short.
    pub fn new(view: &BatchView) -> Self {
        let Summary {
            records_submitted,
            records_failed,
            records_completed,
            compute_time_ms,
            batch_time_ms,
            ..
        } = Summary::new(view);
        Self {
            object: OBJECT,
            id: view.batch.id,
            data: OverviewData {
                pipeline_status: view.pipeline(),
                summary: OverviewSummary {
                    records_submitted,
                    records_failed,
                    records_completed,
                    compute_time_ms,
                    batch_time_ms,
                },
                response_timestamp: Timestamp(view.now),
                batch_status: view.status(),
                created_by: view.batch.created_by.clone(),
                created_timestamp: Timestamp(view.batch.created_at),
                updated_timestamp: Timestamp(updated_at(view)),
                service_uri: view.batch.service_uri.clone(),
            },
        }
    }
}

/// A tenant's capacity and its use.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct OverviewTenant {
    /// What there is.
    pub configuration: TenantConfiguration,
    /// What is used of it.
    pub status: TenantStatus,
}

/// What a tenant has. Input and output buffers share one capacity.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TenantConfiguration {
    /// The capacity, for input.
    pub input_buffer_allocated_bytes: i64,
    /// The capacity, for output.
    pub output_buffer_allocated_bytes: i64,
    /// Most slots of all batches together.
    pub max_workers: i32,
}

/// What a tenant's live batches have reserved; allocated = used + remaining.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TenantStatus {
    /// Reserved for input.
    pub input_buffer_used_bytes: i64,
    /// The rest.
    pub input_buffer_remaining_bytes: i64,
    /// Reserved for output.
    pub output_buffer_used_bytes: i64,
    /// The rest.
    pub output_buffer_remaining_bytes: i64,
    /// Busy slots.
    pub workers_in_use: i64,
}
