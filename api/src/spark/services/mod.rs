//! Services and their versions (contract 4.3, 4.5, 5.4).

pub mod files;
pub mod inspect;
pub mod locator;
pub mod publish;
pub mod resolve;
pub mod schema;
pub mod search;
pub mod swagger;
pub mod upload;

use axum::Router;
use axum::routing::{delete, get, post};

pub use resolve::{resolve, resolve_version};

use crate::state::AppState;

/// The routes.
pub fn routes() -> Router<AppState> {
    const SERVICE: &str = "/{tenant}/api/v3/folders/{folder}/services/{service}";
    let of_service = |tail: &str| format!("{SERVICE}/{tail}");
    let mut routes = Router::new()
        .route(&of_service("upload"), post(upload::upload))
        .route(&of_service("publish"), post(publish::publish))
        .route(&of_service("recompileNodgen"), post(files::recompile))
        .route(&of_service("exists"), get(inspect::exists))
        .route(&of_service("metadata"), get(inspect::metadata))
        .route(&of_service("schema"), get(inspect::json_schema))
        .route("/{tenant}/api/v3/service/{id}/schema", get(inspect::json_schema_of_service))
        .route("/{tenant}/api/v3/version/{id}/schema", get(inspect::json_schema_of_version))
        .route("/schemas/formula-document.json", get(inspect::document_schema))
        .route(&of_service("downloadswagger/{subservice}/{download}"), get(swagger::swagger))
        .route(&of_service("downloadswagger/{subservice}/{download}/{version}"), get(swagger::swagger))
        .route("/{tenant}/api/v3/service/{id}/metadata", get(inspect::metadata_of_service))
        .route("/{tenant}/api/v3/version/{id}/metadata", get(inspect::metadata_of_version))
        .route("/{tenant}/api/v3/services/search", post(search::search))
        .route("/{tenant}/api/v3/GetEngineDetailByVersionId/versionid/{id}", post(inspect::schema_of_version))
        .route("/api/v1/product/{folder}/engines", post(search::list))
        .route("/api/v1/product/{folder}/engines/getversions/{service}", get(inspect::versions))
        .route("/api/v1/product/{folder}/engines/get/{service}", get(inspect::schema))
        .route("/api/v1/product/{folder}/engines/delete/{service}", delete(files::remove))
        .route("/api/v1/product/{folder}/engines/{service}/download", get(files::download))
        .route("/api/v1/product/{folder}/engines/{service}/download/{version}", get(files::download));
    // The first spelling is the one on the wire (contract 0.1).
    for progress in ["getcompilationprogess/{job}", "getcompilationprogress/{job}"] {
        routes = routes.route(&of_service(progress), get(upload::progress));
    }
    routes
}
