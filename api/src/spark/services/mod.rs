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

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use resolve::{resolve, resolve_version};

use crate::openapi::also_at;
use crate::state::AppState;

/// The routes.
pub fn routes() -> OpenApiRouter<AppState> {
    const SERVICE: &str = "/{tenant}/api/v3/folders/{folder}/services/{service}";
    // The first spelling of the progress is the one on the wire (contract 0.1).
    let progress = format!("{SERVICE}/getcompilationprogress/{{job}}");
    let swagger = format!("{SERVICE}/downloadswagger/{{subservice}}/{{download}}");
    let download = "/api/v1/product/{folder}/engines/{service}/download";
    OpenApiRouter::new()
        .routes(routes!(upload::upload))
        .routes(routes!(upload::progress))
        .routes(also_at(&progress, "getCompilationProgressSpelt", routes!(upload::progress)))
        .routes(routes!(publish::publish))
        .routes(routes!(files::recompile))
        .routes(routes!(inspect::exists))
        .routes(routes!(inspect::metadata))
        .routes(routes!(inspect::metadata_of_service))
        .routes(routes!(inspect::metadata_of_version))
        .routes(routes!(inspect::json_schema))
        .routes(routes!(inspect::json_schema_of_service))
        .routes(routes!(inspect::json_schema_of_version))
        .routes(routes!(inspect::document_schema))
        .routes(routes!(swagger::swagger))
        .routes(also_at(&swagger, "getServiceSwagger", routes!(swagger::swagger)))
        .routes(routes!(search::search))
        .routes(routes!(search::list))
        .routes(routes!(inspect::schema_of_version))
        .routes(routes!(inspect::versions))
        .routes(routes!(inspect::schema))
        .routes(routes!(files::remove))
        .routes(routes!(files::download))
        .routes(also_at(download, "downloadService", routes!(files::download)))
}
