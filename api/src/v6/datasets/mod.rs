//! `/v6/datasets/` (scale-v6 5.3): sets of inputs.

mod answer;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzzed;
mod members;
mod rows;
mod upload;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use fuzzed::check_rows;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use millrace_common::model::recipe::{DatasetDefinition, Place, echo};
use millrace_common::store::recipes::{Dataset, DatasetFilter, NewDataset, Window};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::Path;
use crate::openapi::schemas::{AddDatasetMembers, CreateDataset, V6Validation, ValidateDataset};
use crate::state::AppState;
use crate::v6::http::{Body, Fields, Query, Told, V6Page, created, id, refused, validated};
use crate::v6::not_found;
use crate::v6::wire::DataDocument;
use answer::{DatasetAnswer, DatasetDetails, DatasetMemberAnswer, DatasetMemberDetails};

/// The longest title, in characters.
const TITLE: usize = 255;

/// Members in a dataset's details; all of them are at `members/`.
const SHOWN: i64 = 1_000;

/// The routes. `validation` and `members` are literals and never ids.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(validate))
        .routes(routes!(member))
        .routes(routes!(show, extend))
        .routes(routes!(list_members))
        .routes(routes!(upload::upload))
        .routes(routes!(upload::list))
        .routes(routes!(upload::show))
}

async fn find(state: &AppState, auth: &Auth, text: &str) -> Result<Dataset, ApiError> {
    state.store.dataset(auth.0.tenant_id, id(text)?).await?.ok_or_else(not_found)
}

/// Datasets, by id unless ordered otherwise.
#[utoipa::path(get, path = "/v6/datasets/", tag = "Datasets", operation_id = "listDatasets",
    params(
        ("page" = Option<String>, Query, description = "1 and up, or `last`."),
        ("page_size" = Option<String>, Query, description = "At most 1,000; 100 when absent."),
        ("started" = Option<String>, Query, description = "Created no earlier: a datetime with a zone, or a duration back from now."),
        ("ended" = Option<String>, Query, description = "Created no later."),
        ("id" = Option<Vec<i64>>, Query, description = "Any of these; `dataset_id` means the same."),
        ("keyword" = Option<Vec<String>>, Query, description = "Any of these in title or description."),
        ("order" = Option<Vec<String>>, Query, description = "`id`, `title`, `description`, `created`; `-` before it for descending."),
    ),
    responses((status = 200, description = "One page.", body = V6Page<DatasetAnswer>)))]
async fn list(
    State(state): State<AppState>,
    Auth(caller): Auth,
    query: Query,
) -> Result<Json<V6Page<DatasetAnswer>>, ApiError> {
    let range = query.range()?;
    let ids = [query.integers("id")?, query.integers("dataset_id")?];
    let filter = DatasetFilter {
        started: range.started,
        ended: range.ended,
        ids: ids.into_iter().flatten().reduce(|one, other| [one, other].concat()),
        keywords: query.texts("keyword"),
    };
    let (page, order) = (query.page()?, query.order()?);
    let count = state.store.count_datasets(caller.tenant_id, &filter).await?;
    let found = state.store.datasets(caller.tenant_id, &filter, &order, page.window(count)?).await?;
    let with_files: Vec<i64> =
        found.iter().filter(|dataset| answer::has_files(dataset)).map(|dataset| dataset.id).collect();
    let files = match with_files.is_empty() {
        true => Vec::new(),
        false => state.store.dataset_files(&with_files).await?,
    };
    let number = |id: i64| files.iter().find(|(of, _)| *of == id).map_or(0, |(_, number)| *number);
    let items =
        found.iter().map(|dataset| DatasetAnswer { dataset: dataset.into(), files: number(dataset.id) });
    page.envelope(count, items.collect())
}

/// Makes a dataset, with members if there are any: all of them, or nothing.
#[utoipa::path(post, path = "/v6/datasets/", tag = "Datasets", operation_id = "createDataset",
    request_body(content = CreateDataset, example = json!({"title": "Numbers", "definition": {"parameters": {"json": [{"name": "x", "type": "number"}]}}, "data": [{"json": {"x": 1}}, {"json": {"x": 2}}]})),
    responses((status = 201, description = "The dataset; `Location` says where it is.", body = DatasetDetails)))]
async fn create(
    State(state): State<AppState>,
    auth: Auth,
    query: Query,
    request: Request,
) -> Result<Response, ApiError> {
    let store = state.acting(&auth.0);
    let body = Body::read(&state, request).await?;
    let (title, description, document) = {
        let fields = body.fields()?;
        refuse_template(&fields)?;
        let document = fields.required_object("definition")?;
        (fields.text_within("title", TITLE)?, fields.text("description")?, document)
    };
    let definition = read_definition(&document)?;
    let members = members::read(&state, body, definition).await?;
    let texts: Vec<String> = members.unwrap_or_default().into_iter().map(|member| member.text).collect();
    let new = NewDataset {
        tenant_id: auth.0.tenant_id,
        title: title.as_deref(),
        description: description.as_deref(),
        definition: &echo::dataset_definition(&document),
        created_by: &auth.0.name,
        members: &texts,
    };
    let made = store.create_dataset(&new).await?;
    let path = format!("/v6/datasets/{}/", made.id);
    Ok(created(&query, &path, details(&state, &made).await?))
}

/// Template and file filters need a catalogue of files, which there is none of.
fn refuse_template(fields: &Fields<'_>) -> Result<(), ApiError> {
    match fields.raw("data_template") {
        None => Ok(()),
        Some(_) => Err(ApiError::bad_request(
            "UNSUPPORTED_PARAMETER",
            "data_template is not supported: there is no catalogue of files",
            None,
        )),
    }
}

fn read_definition(document: &Value) -> Result<DatasetDefinition, ApiError> {
    DatasetDefinition::parse(document, Place::root("definition")).map_err(|findings| {
        refused(findings.into_iter().map(|finding| (finding.name.as_str(), finding.to_string())))
    })
}

/// A dataset with its first members.
async fn details(state: &AppState, dataset: &Dataset) -> Result<DatasetDetails, ApiError> {
    let window = Window { offset: 0, limit: SHOWN };
    let members = state.store.dataset_members(dataset.id, window).await?;
    Ok(answer::details(dataset, &members))
}

/// One dataset, with its first 1,000 members.
#[utoipa::path(get, path = "/v6/datasets/{id}/", tag = "Datasets", operation_id = "getDataset",
    params(("id" = i64, Path, description = "The dataset.")),
    responses((status = 200, description = "The dataset.", body = DatasetDetails)))]
async fn show(
    State(state): State<AppState>,
    auth: Auth,
    Path(text): Path<String>,
) -> Result<Json<DatasetDetails>, ApiError> {
    let dataset = find(&state, &auth, &text).await?;
    Ok(Json(details(&state, &dataset).await?))
}

/// Adds members to a dataset: all of them, or none.
#[utoipa::path(post, path = "/v6/datasets/{id}/", tag = "Datasets", operation_id = "addDatasetMembers",
    params(("id" = i64, Path, description = "The dataset.")),
    request_body(content = AddDatasetMembers, example = json!({"data": [{"json": {"x": 3}}]})),
    responses(
        (status = 201, description = "The new members.", body = Vec<DatasetMemberAnswer>),
        (status = 200, description = "What would be stored, after a dry run.", body = Vec<DataDocument>),
    ))]
async fn extend(
    State(state): State<AppState>,
    auth: Auth,
    Path(text): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let store = state.acting(&auth.0);
    let body = Body::read(&state, request).await?;
    let dataset = find(&state, &auth, &text).await?;
    let dry_run = {
        let fields = body.fields()?;
        refuse_template(&fields)?;
        fields.required("data")?;
        fields.flag("dry_run")?.unwrap_or(false)
    };
    let definition = read_definition(&dataset.definition)?;
    let members = members::read(&state, body, definition).await?;
    let members = members.unwrap_or_default();
    if dry_run {
        let texts: Vec<&str> = members.iter().map(|member| member.text.as_str()).collect();
        return Ok(json_text(StatusCode::OK, format!("[{}]", texts.join(","))));
    }
    let texts: Vec<String> = members.iter().map(|member| member.text.clone()).collect();
    let added = store.add_dataset_members(auth.0.tenant_id, dataset.id, &texts).await?;
    let added = added.ok_or_else(not_found)?;
    Ok(json_text(StatusCode::CREATED, answer::added(&members, &added)))
}

fn json_text(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// The members of a dataset, by id.
#[utoipa::path(get, path = "/v6/datasets/{id}/members/", tag = "Datasets", operation_id = "listDatasetMembers",
    params(
        ("id" = i64, Path, description = "The dataset."),
        ("page" = Option<String>, Query, description = "1 and up, or `last`."),
        ("page_size" = Option<String>, Query, description = "At most 1,000; 100 when absent."),
    ),
    responses((status = 200, description = "One page.", body = V6Page<DatasetMemberAnswer>)))]
async fn list_members(
    State(state): State<AppState>,
    auth: Auth,
    Path(text): Path<String>,
    query: Query,
) -> Result<Json<V6Page<DatasetMemberAnswer>>, ApiError> {
    let dataset = find(&state, &auth, &text).await?;
    let page = query.page()?;
    let count = state.store.count_dataset_members(dataset.id).await?;
    let found = state.store.dataset_members(dataset.id, page.window(count)?).await?;
    page.envelope(count, found.iter().map(Into::into).collect())
}

/// One member of any dataset.
#[utoipa::path(get, path = "/v6/datasets/members/{id}/", tag = "Datasets", operation_id = "getDatasetMember",
    params(("id" = i64, Path, description = "The member.")),
    responses((status = 200, description = "The member.", body = DatasetMemberDetails)))]
async fn member(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path(text): Path<String>,
) -> Result<Json<DatasetMemberDetails>, ApiError> {
    let found = state.store.dataset_member(caller.tenant_id, id(&text)?).await?.ok_or_else(not_found)?;
    Ok(Json((&found).into()))
}

/// Checks a definition without making a dataset.
#[utoipa::path(post, path = "/v6/datasets/validation/", tag = "Datasets", operation_id = "validateDataset",
    request_body(content = ValidateDataset, example = json!({"definition": {"parameters": {"json": [{"name": "x", "type": "number"}]}}})),
    responses((status = 200, description = "What was found.", body = V6Validation)))]
async fn validate(
    State(state): State<AppState>,
    Auth(_): Auth,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let body = Body::read(&state, request).await?;
    let document = body.fields()?.required_object("definition")?;
    let errors: Vec<Told> = match DatasetDefinition::parse(&document, Place::root("definition")) {
        Ok(_) => Vec::new(),
        Err(findings) => findings.into_iter().map(Told::of).collect(),
    };
    Ok(Json(validated::<Told, Told>(&errors, &[])))
}
