//! Lists of services (contract 4.5).

use axum::Json;
use axum::extract::{Request, State};
use millrace_common::model::time::timestamp;
use millrace_common::store::ServiceListing;
use serde::Deserialize;
use serde_json::{Value, json};

use super::resolve::no_folder;
use crate::auth::Auth;
use crate::body::read_body;
use crate::error::ApiError;
use crate::extract::Path;
use crate::openapi::schemas::{FoundServices, ListedService, SearchServices, ServicePage, V1Page};
use crate::spark::envelope::Meta;
use crate::state::AppState;

/// Most services on one page.
const PAGE: i64 = 1_000;

/// The page of a list that is asked for; unknown keys are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    #[serde(alias = "pageNumber")]
    page: Option<i64>,
    #[serde(alias = "pageSize")]
    page_size: Option<i64>,
    search: Option<Vec<Term>>,
}

#[derive(Debug, Deserialize)]
struct Term {
    field: String,
    #[serde(default)]
    value: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SearchBody {
    request_data: Wanted,
}

impl Wanted {
    fn page(&self) -> i64 {
        self.page.unwrap_or(1).clamp(1, i64::MAX / PAGE)
    }

    fn size(&self) -> i64 {
        self.page_size.unwrap_or(100).clamp(1, PAGE)
    }

    fn offset(&self) -> i64 {
        (self.page() - 1).saturating_mul(self.size())
    }

    /// The text searched for in one of these fields.
    fn term(&self, fields: &[&str]) -> Option<String> {
        let terms = self.search.iter().flatten();
        let mut found =
            terms.filter(|term| fields.iter().any(|field| term.field.eq_ignore_ascii_case(field)));
        found.find_map(|term| term.value.as_str().filter(|text| !text.is_empty()).map(str::to_owned))
    }
}

/// A service as v1 lists show it.
pub(crate) fn listing(service: &ServiceListing) -> Value {
    json!({
        "id": service.id,
        "serviceName": service.name,
        "name": service.name,
        "product": service.folder,
        "revision": service.version,
        "versionId": service.version_id,
        "createdAt": timestamp(service.created_at),
        "lastModifiedDate": timestamp(service.updated_at),
        "author": service.created_by,
        "isActive": true,
    })
}

/// Searches the whole tenant.
#[utoipa::path(post, path = "/{tenant}/api/v3/services/search", tag = "Services", operation_id = "searchServices",
    request_body(content = Option<SearchServices>, example = json!({"request_data": {"page": 1, "page_size": 10, "search": [{"field": "name", "value": "Sales"}]}})),
    responses((status = 200, description = "A page of services.", body = FoundServices)))]
pub(super) async fn search(
    State(state): State<AppState>,
    Auth(caller): Auth,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let body = read_body(&state, request).await?;
    let wanted: SearchBody = if body.bytes.is_empty() { SearchBody::default() } else { body.json()? };
    let wanted = wanted.request_data;
    let folder = wanted.term(&["folder", "folder_name", "product"]);
    let name = wanted.term(&["name", "service", "service_name"]);
    let (services, count) = state
        .store
        .services(caller.tenant_id, folder.as_deref(), name.as_deref(), wanted.offset(), wanted.size())
        .await?;
    let data: Vec<Value> = services
        .iter()
        .map(|service| {
            json!({
                "id": service.id,
                "name": service.name,
                "folder": service.folder,
                "service_uri": format!("{}/{}", service.folder, service.name),
                "version": service.version,
                "version_id": service.version_id,
                "created_by": service.created_by,
                "created_at": timestamp(service.created_at),
                "modified_at": timestamp(service.updated_at),
            })
        })
        .collect();
    let mut meta = serde_json::to_value(Meta::new()).map_err(|error| ApiError::internal(&error))?;
    meta["count"] = json!(count);
    meta["page"] = json!(wanted.page());
    meta["page_size"] = json!(wanted.size());
    meta["page_total"] = json!(count.unsigned_abs().div_ceil(wanted.size().unsigned_abs()));
    Ok(Json(json!({"status": "Success", "response_data": data, "response_meta": meta, "error": null})))
}

/// Lists a folder.
#[utoipa::path(post, path = "/api/v1/product/{folder}/engines", tag = "Services", operation_id = "listServices",
    request_body(content = Option<ServicePage>, example = json!({"page": 1, "pageSize": 10})),
    responses((status = 200, description = "A page of services.", body = V1Page<ListedService>)))]
pub(super) async fn list(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path(folder): Path<String>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let body = read_body(&state, request).await?;
    let wanted: Wanted = if body.bytes.is_empty() { Wanted::default() } else { body.json()? };
    if state.store.folder(caller.tenant_id, &folder).await?.is_none() {
        return Err(no_folder(&folder));
    }
    let name = wanted.term(&["name", "serviceName"]);
    let (services, count) = state
        .store
        .services(caller.tenant_id, Some(&folder), name.as_deref(), wanted.offset(), wanted.size())
        .await?;
    Ok(Json(json!({
        "status": "Success", "count": count, "next": null, "previous": null, "message": null, "errorCode": null,
        "data": services.iter().map(listing).collect::<Vec<_>>(),
    })))
}
