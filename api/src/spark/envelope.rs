//! The envelopes of v3 and v1 answers (contract 4.2 to 4.5).

use axum::Json;
use millrace_common::model::time::timestamp;
use millrace_common::store::ServiceVersion;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::middleware;

/// The compiler that accepts services: what batches and answers show as `compiler_version`.
pub const COMPILER_VERSION: &str = concat!("Millrace_v", env!("CARGO_PKG_VERSION"));

/// `response_meta` of a v3 answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[expect(missing_docs, reason = "the fields are those of contract 4.3")]
pub struct Meta {
    pub service_id: Option<Uuid>,
    pub version_id: Option<Uuid>,
    pub version: Option<String>,
    pub process_time: u64,
    pub call_id: Uuid,
    pub compiler_type: &'static str,
    pub compiler_version: String,
    pub source_hash: Option<String>,
    pub engine_id: Option<Uuid>,
    pub correlation_id: Option<String>,
    pub parameterset_version_id: Option<Uuid>,
    pub system: &'static str,
    pub request_timestamp: String,
    pub request_id: String,
}

impl Meta {
    /// About no service in particular.
    pub fn new() -> Self {
        let request = middleware::current();
        Self {
            service_id: None,
            version_id: None,
            version: None,
            process_time: 0,
            call_id: Uuid::new_v4(),
            compiler_type: "Neuron",
            compiler_version: COMPILER_VERSION.to_owned(),
            source_hash: None,
            engine_id: None,
            correlation_id: None,
            parameterset_version_id: None,
            system: "SPARK",
            request_timestamp: timestamp(request.received_at),
            request_id: request.id.to_string(),
        }
    }

    /// About a version.
    pub fn of(version: &ServiceVersion) -> Self {
        Self {
            service_id: Some(version.service_id),
            version_id: Some(version.id),
            version: Some(version.number()),
            compiler_version: version.compiler_version.clone(),
            source_hash: Some(version.source_hash.clone()),
            engine_id: Some(version.service_id),
            parameterset_version_id: Some(version.id),
            ..Self::new()
        }
    }
}

impl Default for Meta {
    fn default() -> Self {
        Self::new()
    }
}

/// A v3 answer.
pub fn v3(response_data: impl Serialize, meta: &Meta) -> Json<Value> {
    Json(json!({
        "status": "Success",
        "response_data": response_data,
        "response_meta": meta,
        "error": null,
    }))
}

/// A v1 answer.
pub fn v1(data: impl Serialize) -> Json<Value> {
    Json(json!({"status": "Success", "data": data, "message": null, "errorCode": null}))
}
