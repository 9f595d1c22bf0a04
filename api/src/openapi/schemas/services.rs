//! Services and their versions (contract 4.3, 4.5).

use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::texts;
use crate::spark::envelope::Meta;

/// A file to be compiled.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Upload {
    /// JSON: `{"request_data": {…}}`. Must be JSON; what it says is taken from the publication.
    #[schema(content_media_type = "application/json")]
    pub engine_upload_request_entity: Option<String>,
    /// An Excel workbook (`.xlsx`), or a formula document (JSON).
    #[schema(content_media_type = "application/octet-stream")]
    pub service_file: String,
}

/// What the compiler made of a file.
#[derive(Debug, ToSchema)]
pub struct UploadAnswer {
    /// Formulas.
    pub lines_of_code: i64,
    /// Always 0.
    pub hours_saved: i64,
    /// The compilation, for its progress.
    pub nodegen_compilation_jobid: Uuid,
    /// The file, for its publication.
    pub original_file_documentid: Uuid,
    /// The same.
    pub engine_file_documentid: Uuid,
    /// What the author should know.
    pub warnings: Vec<Value>,
    /// Always null.
    pub current_statistics: Option<Value>,
    /// Sheets.
    pub no_of_sheets: i64,
    /// Inputs.
    pub no_of_inputs: i64,
    /// Outputs.
    pub no_of_outputs: i64,
    /// Formulas.
    pub no_of_formulas: i64,
    /// Cells that are not empty.
    pub no_of_cellswithdata: i64,
    /// Which engine evaluates the service, and what keeps it off the fast path; null when it does not compile.
    pub calculation: Option<Value>,
}

/// How far a compilation is.
#[derive(Debug, ToSchema)]
pub struct Progress {
    /// `Success` or `Failed`.
    pub status: String,
    /// Why it failed, or the word `null`.
    pub last_error_message: String,
    /// 100: files are compiled inside their upload.
    pub progress: i64,
}

/// A file to be published as a version.
#[derive(Debug, ToSchema)]
pub struct Publish {
    /// Which file, and how.
    pub request_data: PublishData,
}

/// Which file, and how.
#[derive(Debug, ToSchema)]
pub struct PublishData {
    /// The uploaded file. Needed, unless `original_file_documentid` is given.
    pub engine_file_documentid: Option<String>,
    /// The same.
    pub original_file_documentid: Option<String>,
    /// `major`, `minor` (when absent) or `patch`.
    #[schema(pattern = "^(major|minor|patch)$")]
    pub version_difference: Option<String>,
    /// From when it is in force; now when absent or less than a day ahead.
    pub effective_start_date: Option<String>,
    /// Until when; ten years when absent.
    pub effective_end_date: Option<String>,
    /// Shown in lists.
    pub version_label: Option<String>,
    /// Shown in lists.
    pub release_note: Option<String>,
    /// Shown in lists.
    #[schema(schema_with = texts)]
    pub tags: Option<Value>,
}

/// A published version.
#[derive(Debug, ToSchema)]
pub struct Published {
    /// The version.
    pub version_id: Uuid,
    /// The service.
    pub service_id: Uuid,
    /// The number.
    #[schema(example = "0.1.0")]
    pub version: String,
    /// From when it is in force.
    #[schema(format = DateTime)]
    pub effective_start_date: String,
    /// Until when.
    #[schema(format = DateTime)]
    pub effective_end_date: String,
}

/// A version that was made by compiling again.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Recompiled {
    /// The version.
    pub version_id: Uuid,
    /// Its number.
    pub revision: String,
    /// The compilation.
    pub job_id: Uuid,
}

/// Whether a service exists.
#[derive(Debug, ToSchema)]
pub struct Exists {
    /// Whether it does.
    pub is_exists: bool,
}

/// Which services are wanted.
#[derive(Debug, ToSchema)]
pub struct SearchServices {
    /// The page, and what to search for.
    pub request_data: Option<ServicePage>,
}

/// A page of services.
#[derive(Debug, ToSchema)]
pub struct ServicePage {
    /// Counted from 1. Also `pageNumber`.
    #[schema(default = 1)]
    pub page: Option<i64>,
    /// At most 1,000. Also `pageSize`.
    #[schema(default = 100)]
    pub page_size: Option<i64>,
    /// What to search for.
    pub search: Option<Vec<SearchTerm>>,
}

/// One thing to search for.
#[derive(Debug, ToSchema)]
pub struct SearchTerm {
    /// The field.
    #[schema(example = "name")]
    pub field: String,
    /// What it has, in part.
    #[schema(example = "Sales")]
    pub value: Option<Value>,
}

/// Services that were found.
#[derive(Debug, ToSchema)]
pub struct FoundServices {
    /// `Success`
    pub status: String,
    /// The services of this page.
    pub response_data: Vec<FoundService>,
    /// About the call, and which page this is.
    pub response_meta: FoundMeta,
    /// Always null.
    pub error: Option<Value>,
}

/// A service that was found.
#[derive(Debug, ToSchema)]
pub struct FoundService {
    /// The service.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: String,
    /// `folder/service`
    pub service_uri: String,
    /// The number of the latest version.
    pub version: String,
    /// The latest version.
    pub version_id: Uuid,
    /// Who made it.
    pub created_by: String,
    /// When.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it last changed.
    #[schema(format = DateTime)]
    pub modified_at: String,
}

/// Which page this is.
#[derive(Debug, ToSchema)]
pub struct FoundMeta {
    /// About the call.
    #[serde(flatten)]
    pub meta: Meta,
    /// How many there are on all pages.
    pub count: i64,
    /// The page.
    pub page: i64,
    /// Its size.
    pub page_size: i64,
    /// How many pages there are.
    pub page_total: i64,
}

/// A service of a folder.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct ListedService {
    /// The service.
    pub id: Uuid,
    /// Its name.
    pub service_name: String,
    /// The same.
    pub name: String,
    /// The folder.
    pub product: String,
    /// The number of the latest version.
    pub revision: String,
    /// The latest version.
    pub version_id: Uuid,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it last changed.
    #[schema(format = DateTime)]
    pub last_modified_date: String,
    /// Who made it.
    pub author: String,
    /// Always true.
    pub is_active: bool,
}

/// A version of a service.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct ListedVersion {
    /// The version.
    pub id: Uuid,
    /// When it was published.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// The service.
    pub engine: String,
    /// The number.
    #[schema(example = "0.1.0")]
    pub revision: String,
    /// From when it is in force.
    #[schema(format = DateTime)]
    pub effective_start_date: String,
    /// Until when.
    #[schema(format = DateTime)]
    pub effective_end_date: String,
    /// Whether it can be used.
    pub is_active: bool,
    /// As given at publication.
    pub release_note: Option<String>,
    /// Always null.
    pub child_engines: Option<Value>,
    /// As given at publication.
    pub version_label: Option<String>,
    /// `Neuron`
    pub default_engine_type: String,
    /// As given at publication.
    pub tags: Option<String>,
    /// The folder.
    pub product: String,
    /// Who published it.
    pub author: String,
    /// The name of the file.
    pub original_file_name: String,
}
