//! Folders (contract 4.2).

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use millrace_common::model::Caller;
use millrace_common::model::time::{self, timestamp};
use millrace_common::store::{Folder, FolderFilter, FolderUpdate, NewFolder, StoreError};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::envelope::v1;
use super::forms::{FilePart, read_form};
use super::names::check_name;
use super::services::resolve::no_folder;
use crate::auth::Auth;
use crate::body::{read_body, read_json};
use crate::error::ApiError;
use crate::extract::Path;
use crate::openapi::schemas::{
    Category, CoverImage, CreateFolder, CreatedFolderAnswer, FolderAnswer, ListFolders, UpdateFolder, V1,
    V1Page,
};
use crate::origin::base_url;
use crate::state::AppState;

/// Largest cover image, in bytes.
const IMAGE_BYTES: usize = 5_000_000;
/// Services shown with a folder.
const SERVICES_SHOWN: i64 = 100;
/// Most folders on one page.
const PAGE: i64 = 1_000;
/// Categories that every tenant has.
const CATEGORIES: [(&str, &str); 6] = [
    ("Actuarial", "Actuarial"),
    ("Claims", "Claims"),
    ("Finance", "Finance"),
    ("Other", "Other"),
    ("Pricing", "Pricing"),
    ("Sales", "Sales"),
];

/// The routes; their words are in lower case, see [`crate::middleware::tolerate_path`].
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(show))
        .routes(routes!(list))
        .routes(routes!(exists))
        .routes(routes!(update))
        .routes(routes!(remove))
        .routes(routes!(upload_cover_image))
        .routes(routes!(cover_image))
        .routes(routes!(categories))
}

/// Creates a folder.
#[utoipa::path(post, path = "/api/v1/product/create", tag = "Folders", operation_id = "createFolder",
    request_body(description = "A form, or the same fields as JSON. A multipart form may have a file `CoverImage`.", content(
        (CreateFolder = "application/x-www-form-urlencoded", example = json!({"Name": "pricing", "Category": "Pricing"})),
        (CreateFolder = "multipart/form-data"),
        (CreateFolder = "application/json"),
    )),
    responses((status = 200, description = "The folder; or, with `errorCode`, that there is one of this name already.", body = CreatedFolderAnswer)))]
async fn create(
    State(state): State<AppState>,
    Auth(caller): Auth,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let base = base_url(request.headers());
    let form = read_form(&state, request, IMAGE_BYTES).await?;
    let name = check_name(form.text("Name").unwrap_or_default(), "Name")?;
    let now = Utc::now();
    let date = |field: &str| read_date(form.text(field), field).map(|date| date.unwrap_or(now));
    let new = NewFolder {
        tenant_id: caller.tenant_id,
        name,
        description: form.text("Description").unwrap_or_default().to_owned(),
        category: form.text("Category").unwrap_or("Other").to_owned(),
        status: form.text("Status").unwrap_or("Design").to_owned(),
        start_date: date("StartDate")?,
        launch_date: date("LaunchDate")?,
        created_by: caller.name.clone(),
    };
    let folder = match state.acting(&caller).create_folder(&new).await {
        Ok(folder) => folder,
        // 200 with this code is what the SDK turns into its ConflictError.
        Err(StoreError::Conflict(_)) => {
            let message = format!("the folder {:?} exists already", new.name);
            return Ok(Json(json!({
                "status": "Error", "message": message, "errorCode": "PRODUCT_ALREADY_EXISTS", "data": null,
            })));
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(image) = form.file("CoverImage") {
        store_image(&state, &caller, folder.id, image).await?;
    }
    let path = utf8_percent_encode(&folder.name, NON_ALPHANUMERIC);
    Ok(v1(json!({
        "folderId": folder.id,
        "name": folder.name,
        "get_product_url": format!("{base}/api/v1/product/GetProduct/{path}"),
    })))
}

fn read_date(text: Option<&str>, field: &str) -> Result<Option<DateTime<Utc>>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let date = time::parse(text).ok_or_else(|| {
        ApiError::unprocessable("INVALID_DATE", format!("{text:?} is no date"), field.to_owned())
    })?;
    Ok(Some(date))
}

/// A folder, with its services.
#[utoipa::path(get, path = "/api/v1/product/getproduct/{folder}", tag = "Folders", operation_id = "getFolder",
    responses((status = 200, description = "The folder, and its first services.", body = V1<FolderAnswer>)))]
async fn show(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let folder = state.store.folder(caller.tenant_id, &name).await?.ok_or_else(|| no_folder(&name))?;
    let (services, count) =
        state.store.services(caller.tenant_id, Some(&folder.name), None, 0, SERVICES_SHOWN).await?;
    let engines: Vec<Value> = services.iter().map(super::services::search::listing).collect();
    let mut data = folder_json(&folder);
    data["calculationEngines"] = json!({
        "count": count, "next": null, "previous": null, "message": null, "data": engines, "errorCode": null,
        "status": "Success",
    });
    data["sections"] = json!([]);
    Ok(v1(data))
}

fn folder_json(folder: &Folder) -> Value {
    json!({
        "id": folder.id,
        "name": folder.name,
        "category": folder.category,
        "description": folder.description,
        "coverImagePath": folder.cover_image.map(|_| format!("/api/v1/product/coverimage/{}", folder.id)),
        "createdAt": timestamp(folder.created_at),
        "isStarred": false,
        "status": folder.status,
        "startDate": timestamp(folder.start_date),
        "launchDate": timestamp(folder.launch_date),
        "lastModifiedDate": timestamp(folder.updated_at),
        "kanbanStatus": null,
        "createdBy": folder.created_by,
        "activeServiceCount": folder.services,
    })
}

/// The body of a list call.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListRequest {
    search: Option<Vec<SearchTerm>>,
    page: Option<i64>,
    page_size: Option<i64>,
    sort: Option<String>,
}

#[derive(Debug, Deserialize)]
struct SearchTerm {
    field: String,
    #[serde(default)]
    value: Value,
}

/// Lists folders.
#[utoipa::path(post, path = "/api/v1/product/list", tag = "Folders", operation_id = "listFolders",
    request_body(content = Option<ListFolders>, example = json!({"search": [{"field": "name", "value": "sales"}], "page": 1, "pageSize": 10})),
    responses((status = 200, description = "A page of folders.", body = V1Page<FolderAnswer>)))]
async fn list(
    State(state): State<AppState>,
    Auth(caller): Auth,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let body = read_body(&state, request).await?;
    let wanted: ListRequest = if body.bytes.is_empty() { ListRequest::default() } else { body.json()? };
    let mut filter = FolderFilter::default();
    for (index, term) in wanted.search.unwrap_or_default().into_iter().enumerate() {
        let text = match term.value {
            Value::String(text) => text,
            Value::Null => continue,
            other => other.to_string(),
        };
        match term.field.to_ascii_lowercase().as_str() {
            "name" => filter.name = Some(text),
            "category" => filter.category = Some(text),
            "status" => filter.status = Some(text),
            "id" => match Uuid::parse_str(&text) {
                Ok(id) => filter.id = Some(id),
                Err(_) => filter.id = Some(Uuid::nil()),
            },
            // Nobody stars folders here.
            "isstarred" if text == "true" => filter.id = Some(Uuid::nil()),
            "isstarred" => {}
            other => {
                let message =
                    format!("cannot search by {other:?}; by name, id, category, status and isstarred");
                return Err(ApiError::unprocessable(
                    "INVALID_SEARCH",
                    message,
                    format!("search[{index}].field"),
                ));
            }
        }
    }
    let size = wanted.page_size.unwrap_or(100).clamp(1, PAGE);
    let offset = wanted.page.unwrap_or(1).clamp(1, i64::MAX / PAGE).saturating_sub(1) * size;
    let oldest_first = wanted.sort.as_deref() == Some("updated");
    let (folders, count) = state.store.folders(caller.tenant_id, &filter, oldest_first, offset, size).await?;
    let data: Vec<Value> = folders
        .iter()
        .map(|folder| {
            let mut data = folder_json(folder);
            data["totalServiceCount"] = json!(folder.services);
            data
        })
        .collect();
    Ok(Json(json!({
        "status": "Success", "count": count, "next": null, "previous": null, "message": null, "errorCode": null,
        "data": data,
    })))
}

/// Whether a folder exists; 200 also when it does not.
#[utoipa::path(method(get, post), path = "/api/v1/product/isproductexists/{folder}", tag = "Folders", operation_id = "folderExists",
    responses((status = 200, description = "Whether it does.", body = V1<bool>)))]
async fn exists(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    Ok(v1(state.store.folder(caller.tenant_id, &name).await?.is_some()))
}

/// The body of an update call.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct UpdateRequest {
    description: Option<String>,
    category: Option<String>,
    status: Option<String>,
    start_date: Option<String>,
    launch_date: Option<String>,
}

/// Changes what is said about a folder.
#[utoipa::path(post, path = "/api/v1/product/update/{id}", tag = "Folders", operation_id = "updateFolder",
    params(("id" = String, Path, description = "The folder, by id or name.", example = json!("sales"))), request_body(content = UpdateFolder, example = json!({"description": "All about sales"})),
    responses((status = 200, description = "It is changed.", body = V1<Value>)))]
async fn update(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let wanted: UpdateRequest = read_json(&state, request).await?;
    let update = FolderUpdate {
        start_date: read_date(wanted.start_date.as_deref(), "startDate")?,
        launch_date: read_date(wanted.launch_date.as_deref(), "launchDate")?,
        description: wanted.description,
        category: wanted.category,
        status: wanted.status,
        cover_image: None,
    };
    let folder_id = folder_id(&state, &caller, &id).await?;
    if !state.acting(&caller).update_folder(caller.tenant_id, folder_id, &update).await? {
        return Err(no_folder(&id));
    }
    Ok(v1(Value::Null))
}

/// Deletes a folder with all its services.
#[utoipa::path(delete, path = "/api/v1/product/delete/{id}", tag = "Folders", operation_id = "deleteFolder",
    params(("id" = String, Path, description = "The folder, by id or name.", example = json!("sales"))), responses((status = 200, description = "It is gone, with its services.", body = V1<Value>)))]
async fn remove(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let folder_id = folder_id(&state, &caller, &id).await?;
    if !state.acting(&caller).delete_folder(caller.tenant_id, folder_id).await? {
        return Err(no_folder(&id));
    }
    Ok(v1(Value::Null))
}

/// A folder by its id, or by its name.
async fn folder_id(state: &AppState, caller: &Caller, text: &str) -> Result<Uuid, ApiError> {
    if let Ok(id) = Uuid::parse_str(text) {
        return Ok(id);
    }
    let folder = state.store.folder(caller.tenant_id, text).await?;
    folder.map(|folder| folder.id).ok_or_else(|| no_folder(text))
}

/// Gives a folder an image.
#[utoipa::path(post, path = "/api/v1/product/uploadcoverimage", tag = "Folders", operation_id = "uploadCoverImage",
    request_body(content = CoverImage, content_type = "multipart/form-data"),
    responses((status = 200, description = "It is stored.", body = V1<Value>), (status = 404)))]
async fn upload_cover_image(
    State(state): State<AppState>,
    Auth(caller): Auth,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let form = read_form(&state, request, IMAGE_BYTES).await?;
    let missing = |field: &str| {
        ApiError::bad_request("MISSING_PART", format!("the part {field:?} is missing"), field.to_owned())
    };
    let id = folder_id(&state, &caller, form.text("id").ok_or_else(|| missing("id"))?).await?;
    let image = form.file("coverImage").or_else(|| form.any_file()).ok_or_else(|| missing("coverImage"))?;
    store_image(&state, &caller, id, image).await?;
    Ok(v1(Value::Null))
}

async fn store_image(
    state: &AppState,
    caller: &Caller,
    folder_id: Uuid,
    image: &FilePart,
) -> Result<(), ApiError> {
    let media_type = image_type(&image.bytes).ok_or_else(|| {
        let message = "the cover image is no PNG, JPEG, GIF or WebP";
        ApiError::unprocessable("INVALID_IMAGE", message, image.field.clone())
    })?;
    let document =
        state.store.create_document(caller.tenant_id, &image.file_name, media_type, &image.bytes).await?;
    let update = FolderUpdate { cover_image: Some(document), ..FolderUpdate::default() };
    if state.acting(caller).update_folder(caller.tenant_id, folder_id, &update).await? {
        Ok(())
    } else {
        Err(no_folder(&folder_id.to_string()))
    }
}

/// The media type that the first bytes tell; what callers state is not believed, because it is sent back to browsers.
fn image_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xFF, 0xD8, 0xFF, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

/// A folder's image.
#[utoipa::path(get, path = "/api/v1/product/coverimage/{id}", tag = "Folders", operation_id = "getCoverImage",
    params(("id" = String, Path, description = "The id of the folder.")),
    responses((status = 200, description = "The image.", content(
        (Vec<u8> = "image/png"), (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/gif"), (Vec<u8> = "image/webp"),
    ))))]
async fn cover_image(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let missing = || ApiError::not_found("IMAGE_NOT_FOUND", "the folder has no cover image");
    let filter = FolderFilter { id: Uuid::parse_str(&id).ok(), ..FolderFilter::default() };
    if filter.id.is_none() {
        return Err(missing());
    }
    let (folders, _) = state.store.folders(caller.tenant_id, &filter, false, 0, 1).await?;
    let image = folders.first().and_then(|folder| folder.cover_image).ok_or_else(missing)?;
    let document = state.store.document(caller.tenant_id, image).await?.ok_or_else(missing)?;
    Ok(([(header::CONTENT_TYPE, document.media_type)], document.content).into_response())
}

/// Categories that folders have or may have.
#[utoipa::path(get, path = "/api/v1/lookup/getcategories", tag = "Folders", operation_id = "listCategories",
    responses((status = 200, description = "The categories.", body = V1<Vec<Category>>)))]
async fn categories(State(state): State<AppState>, Auth(caller): Auth) -> Result<Json<Value>, ApiError> {
    let mut keys: Vec<(String, String)> =
        CATEGORIES.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    for used in state.store.folder_categories(caller.tenant_id).await? {
        if !keys.iter().any(|(key, _)| key.eq_ignore_ascii_case(&used)) {
            keys.push((used.clone(), used));
        }
    }
    let data: Vec<Value> =
        keys.into_iter().map(|(key, value)| json!({"key": key, "value": value, "icon": "folder"})).collect();
    Ok(v1(data))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn images_are_known_by_their_first_bytes() {
        assert_eq!(image_type(b"\x89PNG\r\n"), Some("image/png"));
        assert_eq!(image_type(b"RIFF0000WEBPVP8"), Some("image/webp"));
        assert_eq!(image_type(b"<svg onload=alert(1)>"), None);
    }
}
