//! Synchronous calls (contract 4.4).

use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{ErrorObject, Summary, any_object, records, texts};

/// A v4 call: records, and which service. `service` or `version_id` is needed.
#[derive(Debug, ToSchema)]
pub struct Call {
    /// The records; one object is one record, and nothing is one record of defaults.
    #[schema(schema_with = call_inputs)]
    pub inputs: Option<Value>,
    /// Inputs of all records that do not give their own.
    #[schema(schema_with = any_object)]
    pub parameters: Option<Value>,
    /// Aggregation over the records.
    pub summary: Option<Summary>,
    /// `folder/service`, `folder/service[1.2.3]`, or an id.
    #[schema(example = "sales/SalesExample")]
    pub service: Option<String>,
    /// Another name of `service`.
    pub service_id: Option<String>,
    /// Another name of `service`.
    pub service_uri: Option<String>,
    /// The version; wins over `service`.
    pub version_id: Option<Uuid>,
    /// The version that was in force at this time.
    pub version_by_timestamp: Option<String>,
    /// Which outputs; all when absent.
    #[schema(schema_with = texts)]
    pub output: Option<Value>,
    /// Which subservices.
    #[schema(schema_with = texts)]
    pub subservice: Option<Value>,
    /// Columns of the records that are copied into the outputs.
    #[schema(schema_with = texts)]
    pub unique_record_key: Option<Value>,
    /// Echoed.
    pub correlation_id: Option<String>,
}

fn call_inputs() -> utoipa::openapi::schema::Schema {
    utoipa::openapi::schema::AnyOfBuilder::new().item(records()).item(any_object()).build().into()
}

/// The answer to a v4 call, in the form of the inputs.
#[derive(Debug, ToSchema)]
pub struct CallAnswer {
    /// A row of names and rows of values, or objects.
    #[schema(schema_with = records)]
    pub outputs: Value,
    /// By record: milliseconds.
    pub process_time: Vec<i64>,
    /// By record: null, or what to know about it.
    pub warnings: Vec<Value>,
    /// By record: null, or its errors.
    pub errors: Vec<Value>,
    /// Aggregates.
    pub summary_output: Option<Vec<Value>>,
    /// What went wrong with aggregates.
    pub summary_errors: Option<Vec<Value>>,
    /// Always null.
    pub service_chain: Option<Value>,
    /// The service.
    pub service_id: Uuid,
    /// The version that was used.
    pub version_id: Uuid,
    /// Its number.
    pub version: String,
    /// Identifies the call.
    pub call_id: Uuid,
    /// The compiler that accepted the version.
    pub compiler_version: String,
    /// As in the request.
    pub correlation_id: Option<String>,
    /// When the request came.
    #[schema(format = DateTime)]
    pub request_timestamp: String,
}

/// A v3 call: one record.
#[derive(Debug, ToSchema)]
pub struct CallV3 {
    /// The record.
    pub request_data: Option<CallV3Data>,
    /// Which service where the path does not say, and how to answer.
    pub request_meta: Option<CallV3Meta>,
}

/// The record of a v3 call.
#[derive(Debug, ToSchema)]
pub struct CallV3Data {
    /// An object, or a list with one object. The service's defaults when absent.
    #[schema(schema_with = one_record)]
    pub inputs: Option<Value>,
}

fn one_record() -> utoipa::openapi::schema::Schema {
    use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder};
    let list = ArrayBuilder::new().items(any_object()).max_items(Some(1));
    AnyOfBuilder::new().item(any_object()).item(list).build().into()
}

/// Which service, and how to answer.
#[derive(Debug, ToSchema)]
pub struct CallV3Meta {
    /// The version.
    pub version_id: Option<Uuid>,
    /// The service.
    pub service_id: Option<String>,
    /// `folder/service`.
    #[schema(example = "sales/SalesExample")]
    pub service_uri: Option<String>,
    /// A number, or its beginning: `1.4.3`, `1.4`, `1`.
    pub version: Option<String>,
    /// The version that was in force at this time.
    pub transaction_date: Option<String>,
    /// Echoed.
    pub correlation_id: Option<String>,
    /// Which outputs, by name or pattern.
    #[schema(schema_with = texts)]
    pub requested_output: Option<Value>,
    /// Which outputs, by regular expression; not beside `requested_output`.
    #[schema(schema_with = texts)]
    pub requested_output_regex: Option<Value>,
    /// Outputs that are tables and shall come as headings and rows.
    #[schema(schema_with = texts)]
    pub array_outputs: Option<Value>,
    /// Which subservices; `all` for all of them.
    #[schema(schema_with = texts)]
    pub service_category: Option<Value>,
    /// Whether the inputs are echoed.
    pub response_data_inputs: Option<bool>,
    /// Of validations only: `default_values` or `dynamic`.
    #[schema(pattern = "^(default_values|static|dynamic)$")]
    pub validation_type: Option<String>,
}

/// Outputs of one record.
#[derive(Debug, ToSchema)]
pub struct Outputs {
    /// By name.
    #[schema(schema_with = any_object)]
    pub outputs: Value,
    /// What to know about them.
    pub warnings: Option<Vec<Value>>,
    /// What is wrong with the inputs.
    pub errors: Option<Vec<ErrorObject>>,
    /// Always null.
    pub service_chain: Option<Value>,
}
