//! Shapes of requests and answers that have no type in the code, because they are read and written field by field: the contract
//! lets callers spell, omit and add much. These types only describe; nothing makes a value of them.

mod batches;
mod calls;
mod folders;
mod identity;
mod recipes;
mod services;
mod v6;
mod webhooks;

pub use batches::*;
pub use calls::*;
pub use folders::*;
pub use identity::*;
pub use recipes::*;
pub use services::*;
pub use v6::*;
pub use webhooks::*;

use millrace_common::model::{BatchStatus, PipelineStatus};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, Object, ObjectBuilder, Schema, SchemaType, Type};

use crate::spark::envelope::Meta;

/// An error (contract 0.5).
#[derive(Debug, ToSchema)]
pub struct ErrorAnswer {
    /// `Error`
    pub status: String,
    /// Always null.
    pub response_data: Option<Value>,
    /// What went wrong, in short.
    pub error: ErrorCode,
    /// The same as the calculation engine writes it: one entry.
    pub errors: Vec<ErrorObject>,
    /// About the request.
    pub response_meta: ErrorMeta,
}

/// What went wrong, in short.
#[derive(Debug, ToSchema)]
pub struct ErrorCode {
    /// Stable, for programs.
    #[schema(example = "INVALID_VALUE")]
    pub code: String,
    /// For people.
    pub message: String,
    /// Figures for programs, such as the bytes that were needed and those that were free.
    pub details: Option<Value>,
}

/// One error, as the calculation engine writes it.
#[derive(Debug, ToSchema)]
pub struct ErrorObject {
    /// `bad_request`, `validation_error`, `not_found`, `conflict`, `capacity` or `runtime`.
    pub error_category: String,
    /// `error.` and the code.
    #[schema(example = "error.INVALID_VALUE")]
    pub error_type: String,
    /// For people.
    pub message: String,
    /// The place in the request.
    #[schema(example = "chunks[1].data.inputs[3]")]
    pub source_path: Option<String>,
    /// As `error.details`.
    pub additional_details: Option<Value>,
}

/// About the request that is refused.
#[derive(Debug, ToSchema)]
pub struct ErrorMeta {
    /// `SPARK`
    pub system: String,
    /// When the request came.
    #[schema(format = DateTime)]
    pub request_timestamp: String,
    /// As in the header `x-request-id`.
    pub request_id: String,
}

/// An error of a route under `/api/v1` (contract 0.5).
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct ErrorAnswerV1 {
    /// `Error`
    pub status: String,
    /// For people.
    pub message: String,
    /// Stable, for programs.
    #[schema(example = "FOLDER_NOT_FOUND")]
    pub error_code: String,
    /// Always null.
    pub data: Option<Value>,
    /// As in the header `x-request-id`.
    #[schema(rename = "request_id")]
    pub request_id: String,
}

/// An error of a route under `/v6` (scale-v6 1.3).
#[derive(Debug, ToSchema)]
pub struct ErrorAnswerV6 {
    /// For people; begins with the place of the fault where that is known.
    #[schema(example = "Missing required parameter: \"recipe_type_id\"")]
    pub detail: String,
    /// Stable, for programs; absent in 404 and 405.
    #[schema(example = "MISSING_PARAMETER")]
    pub name: Option<String>,
}

/// The envelope of a v3 answer (contract 4.3).
#[derive(Debug, ToSchema)]
pub struct V3<T> {
    /// `Success`
    pub status: String,
    /// The answer itself.
    pub response_data: T,
    /// About the call and the service version.
    pub response_meta: Meta,
    /// Always null.
    pub error: Option<Value>,
}

/// The envelope of a v1 answer (contract 4.2).
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct V1<T> {
    /// `Success`
    pub status: String,
    /// The answer itself.
    pub data: T,
    /// For people; null when all is well.
    pub message: Option<String>,
    /// For programs; null when all is well.
    pub error_code: Option<String>,
}

/// A page of a v1 list.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct V1Page<T> {
    /// `Success`
    pub status: String,
    /// How many there are on all pages.
    pub count: i64,
    /// Always null.
    pub next: Option<String>,
    /// Always null.
    pub previous: Option<String>,
    /// Always null.
    pub message: Option<String>,
    /// Always null.
    pub error_code: Option<String>,
    /// The entries of this page.
    pub data: Vec<T>,
}

/// One event of a stream (`text/event-stream`).
#[derive(Debug, ToSchema)]
pub struct StreamEvent {
    /// What it tells.
    #[schema(example = "status")]
    pub event: String,
    /// JSON: what it tells.
    pub data: String,
    /// What to give as `Last-Event-ID` to go on from here.
    pub id: Option<String>,
}

/// One text, or several: a list, or text with commas.
pub fn texts() -> Schema {
    AnyOfBuilder::new().item(nullable_text()).item(ArrayBuilder::new().items(text())).build().into()
}

/// A text.
pub(super) fn text() -> Object {
    ObjectBuilder::new().schema_type(Type::String).build()
}

fn nullable_text() -> Object {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Null])).build()
}

/// An object with fields of any name.
pub fn any_object() -> Object {
    ObjectBuilder::new().schema_type(Type::Object).build()
}

/// Anything at all.
fn anything() -> Object {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue).build()
}

/// Records: headings and rows, or objects (contract 2.1).
pub fn records() -> Schema {
    let array = |items: Object| ArrayBuilder::new().items(items).build();
    let rows = ArrayBuilder::new().items(RefOr::T(Schema::Array(array(anything())))).build();
    AnyOfBuilder::new()
        .item(Schema::Array(rows))
        .item(Schema::Array(array(any_object())))
        .description(Some(
            "Either a row of names and then a row of values for each record, or one object for each record. Null, a name \
             that no input has, and rows that are shorter or longer than the first are fine.",
        ))
        .build()
        .into()
}

/// The values of `batch_status` (contract 3.1).
pub fn batch_status() -> Object {
    use BatchStatus::{
        Cancelled, Closed, ClosedByTimeout, Completed, CompletedByTimeout, Created, Failed, InProgress,
        Pending,
    };
    let all = [
        Created,
        Pending,
        InProgress,
        Closed,
        ClosedByTimeout,
        Completed,
        CompletedByTimeout,
        Failed,
        Cancelled,
    ];
    words(&all, "Where the batch is in its life.")
}

/// The values of `pipeline_status` (contract 3.2).
pub fn pipeline_status() -> Object {
    use PipelineStatus::{Blocked, Closed, Idle, Paused, Running};
    words(&[Idle, Running, Blocked, Paused, Closed], "What happens to the batch's chunks right now.")
}

fn words(values: &[impl Serialize], about: &str) -> Object {
    let values = values.iter().filter_map(|value| serde_json::to_value(value).ok());
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(values)).description(Some(about)).build()
}
