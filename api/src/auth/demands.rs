//! What each route demands of its callers: one list for the whole server, so that who may do what can be read, and tested, in
//! one place. A route that is not in it serves nobody.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::http::Method;
use millrace_common::model::Scope;

/// What a route demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Nothing: the route is public.
    Nothing,
    /// Any valid credential of the tenant.
    Credential,
    /// A credential with this scope.
    Scope(Scope),
    /// The token of operators (`telemetry.metrics_token`), and no credential of a tenant.
    Operator,
    /// The token of operators, or any valid credential of a tenant, whose own is all that is shown.
    OperatorOrCredential,
}

use Demand::{Credential, Nothing, Operator, OperatorOrCredential};

const BATCH: Demand = Demand::Scope(Scope::Batch);
const EXECUTE: Demand = Demand::Scope(Scope::Execute);
const READ: Demand = Demand::Scope(Scope::ServicesRead);
const WRITE: Demand = Demand::Scope(Scope::ServicesWrite);
const ADMIN: Demand = Demand::Scope(Scope::TenantAdmin);
const AUDIT: Demand = Demand::Scope(Scope::AuditRead);

/// Method, path as it is routed, demand.
pub const DEMANDS: &[(&str, &str, Demand)] = &[
    // Batches.
    ("POST", "/{tenant}/api/v4/batch", BATCH),
    ("GET", "/{tenant}/api/v4/batch/status", BATCH),
    ("GET", "/{tenant}/api/v4/batch/events", BATCH),
    ("GET", "/{tenant}/api/v4/batch/{id}", BATCH),
    ("PATCH", "/{tenant}/api/v4/batch/{id}", BATCH),
    ("GET", "/{tenant}/api/v4/batch/{id}/status", BATCH),
    ("GET", "/{tenant}/api/v4/batch/{id}/events", BATCH),
    ("POST", "/{tenant}/api/v4/batch/{id}/chunks", BATCH),
    ("GET", "/{tenant}/api/v4/batch/{id}/chunkresults", BATCH),
    ("GET", "/{tenant}/api/v4/batch/{id}/chunkresults/{chunk_id}", BATCH),
    ("GET", "/{tenant}/api/v4/batch/{id}/results", BATCH),
    ("POST", "/{tenant}/api/v4/batch/{id}/results/ack", BATCH),
    ("GET", "/{tenant}/api/v4/batch/{id}/export", BATCH),
    ("POST", "/{tenant}/api/v4/batch/{id}/upload", BATCH),
    ("GET", "/{tenant}/api/v4/batch/{id}/failures", BATCH),
    ("POST", "/{tenant}/api/v4/batch/{id}/redrive", BATCH),
    ("GET", "/{tenant}/api/v4/batch/{id}/reconciliation", BATCH),
    ("GET", "/{tenant}/api/v4/batch/{id}/deliveries", BATCH),
    ("POST", "/{tenant}/api/v4/batch/{id}/deliveries/{delivery}/redeliver", BATCH),
    // Webhooks: of the caller's batches, or of everybody's for supervisors.
    ("GET", "/{tenant}/api/v4/webhooks", BATCH),
    ("POST", "/{tenant}/api/v4/webhooks", BATCH),
    ("GET", "/{tenant}/api/v4/webhooks/secret", BATCH),
    ("POST", "/{tenant}/api/v4/webhooks/secret", ADMIN),
    ("GET", "/{tenant}/api/v4/webhooks/{id}", BATCH),
    ("PATCH", "/{tenant}/api/v4/webhooks/{id}", BATCH),
    ("DELETE", "/{tenant}/api/v4/webhooks/{id}", BATCH),
    ("POST", "/{tenant}/api/v4/webhooks/{id}/secret", BATCH),
    ("POST", "/{tenant}/api/v4/webhooks/{id}/test", BATCH),
    ("GET", "/{tenant}/api/v4/webhooks/{id}/deliveries", BATCH),
    ("POST", "/{tenant}/api/v4/webhooks/{id}/deliveries/{delivery}/redeliver", BATCH),
    // Recipes (scale-v6): batches, recipes, jobs.
    ("GET", "/v6/batches/", BATCH),
    ("POST", "/v6/batches/", BATCH),
    ("POST", "/v6/batches/validation/", BATCH),
    ("GET", "/v6/batches/comparison/{id}/", BATCH),
    ("GET", "/v6/batches/{id}/", BATCH),
    ("PATCH", "/v6/batches/{id}/", BATCH),
    ("GET", "/v6/batches/{id}/export/", BATCH),
    ("GET", "/v6/recipes/", BATCH),
    ("POST", "/v6/recipes/", BATCH),
    ("GET", "/v6/recipes/{id}/", BATCH),
    ("POST", "/v6/recipes/{id}/reprocess/", BATCH),
    ("GET", "/v6/jobs/", BATCH),
    ("POST", "/v6/jobs/", BATCH),
    ("POST", "/v6/jobs/cancel/", BATCH),
    ("POST", "/v6/jobs/requeue/", BATCH),
    ("GET", "/v6/jobs/{id}/", BATCH),
    ("GET", "/v6/jobs/{id}/executions/", BATCH),
    ("GET", "/v6/jobs/{id}/executions/{exe_num}/", BATCH),
    // Synchronous calls.
    ("POST", "/{tenant}/api/v4/execute", EXECUTE),
    ("POST", "/{tenant}/api/v3", EXECUTE),
    ("POST", "/{tenant}/api/v3/execute", EXECUTE),
    ("POST", "/{tenant}/api/v3/folders/{folder}/services/{service}/execute", EXECUTE),
    ("POST", "/{tenant}/api/v3/service/{id}", EXECUTE),
    ("POST", "/{tenant}/api/v3/service/{id}/execute", EXECUTE),
    ("POST", "/{tenant}/api/v3/version/{id}", EXECUTE),
    ("POST", "/{tenant}/api/v3/version/{id}/execute", EXECUTE),
    ("POST", "/{tenant}/api/v3/validation", EXECUTE),
    ("POST", "/{tenant}/api/v3/folders/{folder}/services/{service}/validation", EXECUTE),
    ("POST", "/{tenant}/api/v3/service/{id}/validation", EXECUTE),
    ("POST", "/{tenant}/api/v3/version/{id}/validation", EXECUTE),
    // Services.
    ("GET", "/{tenant}/api/v3/folders/{folder}/services/{service}/exists", READ),
    ("GET", "/{tenant}/api/v3/folders/{folder}/services/{service}/metadata", READ),
    ("GET", "/{tenant}/api/v3/folders/{folder}/services/{service}/schema", READ),
    (
        "GET",
        "/{tenant}/api/v3/folders/{folder}/services/{service}/downloadswagger/{subservice}/{download}",
        READ,
    ),
    (
        "GET",
        "/{tenant}/api/v3/folders/{folder}/services/{service}/downloadswagger/{subservice}/{download}/{version}",
        READ,
    ),
    ("GET", "/{tenant}/api/v3/service/{id}/metadata", READ),
    ("GET", "/{tenant}/api/v3/service/{id}/schema", READ),
    ("GET", "/{tenant}/api/v3/version/{id}/metadata", READ),
    ("GET", "/{tenant}/api/v3/version/{id}/schema", READ),
    ("POST", "/{tenant}/api/v3/services/search", READ),
    ("POST", "/{tenant}/api/v3/GetEngineDetailByVersionId/versionid/{id}", READ),
    ("POST", "/api/v1/product/{folder}/engines", READ),
    ("GET", "/api/v1/product/{folder}/engines/getversions/{service}", READ),
    ("GET", "/api/v1/product/{folder}/engines/get/{service}", READ),
    ("GET", "/api/v1/product/{folder}/engines/{service}/download", READ),
    ("GET", "/api/v1/product/{folder}/engines/{service}/download/{version}", READ),
    ("POST", "/{tenant}/api/v3/folders/{folder}/services/{service}/upload", WRITE),
    ("GET", "/{tenant}/api/v3/folders/{folder}/services/{service}/getcompilationprogess/{job}", WRITE),
    ("GET", "/{tenant}/api/v3/folders/{folder}/services/{service}/getcompilationprogress/{job}", WRITE),
    ("POST", "/{tenant}/api/v3/folders/{folder}/services/{service}/publish", WRITE),
    ("POST", "/{tenant}/api/v3/folders/{folder}/services/{service}/recompileNodgen", WRITE),
    ("DELETE", "/api/v1/product/{folder}/engines/delete/{service}", WRITE),
    // Folders.
    ("GET", "/api/v1/product/getproduct/{folder}", READ),
    ("POST", "/api/v1/product/list", READ),
    ("GET", "/api/v1/product/isproductexists/{folder}", READ),
    ("POST", "/api/v1/product/isproductexists/{folder}", READ),
    ("GET", "/api/v1/product/coverimage/{id}", READ),
    ("GET", "/api/v1/lookup/getcategories", READ),
    ("POST", "/api/v1/product/create", WRITE),
    ("POST", "/api/v1/product/update/{id}", WRITE),
    ("DELETE", "/api/v1/product/delete/{id}", WRITE),
    ("POST", "/api/v1/product/uploadcoverimage", WRITE),
    // Keys and the audit trail.
    ("GET", "/{tenant}/api/v4/keys", ADMIN),
    ("POST", "/{tenant}/api/v4/keys", ADMIN),
    ("DELETE", "/{tenant}/api/v4/keys/{id}", ADMIN),
    ("GET", "/{tenant}/api/v4/audit", AUDIT),
    // The installation.
    ("GET", "/stats/caller", OperatorOrCredential),
    ("GET", "/stats/fleet", OperatorOrCredential),
    ("GET", "/stats/tenants", OperatorOrCredential),
    ("GET", "/stats/backlog", Operator),
    // Scale v6: what is computed, and from what.
    ("GET", "/v6/job-types/", READ),
    ("POST", "/v6/job-types/", WRITE),
    ("POST", "/v6/job-types/validation/", READ),
    ("GET", "/v6/job-types/{name}/", READ),
    ("GET", "/v6/job-types/{name}/{version}/", READ),
    ("PATCH", "/v6/job-types/{name}/{version}/", WRITE),
    ("GET", "/v6/job-types/{name}/{version}/revisions/", READ),
    ("GET", "/v6/job-types/{name}/{version}/revisions/{revision}/", READ),
    ("GET", "/v6/recipe-types/", READ),
    ("POST", "/v6/recipe-types/", WRITE),
    ("POST", "/v6/recipe-types/validation/", READ),
    ("GET", "/v6/recipe-types/{name}/", READ),
    ("PATCH", "/v6/recipe-types/{name}/", WRITE),
    ("GET", "/v6/recipe-types/{name}/revisions/", READ),
    ("GET", "/v6/recipe-types/{name}/revisions/{revision}/", READ),
    ("GET", "/v6/datasets/", READ),
    ("POST", "/v6/datasets/", BATCH),
    ("POST", "/v6/datasets/validation/", READ),
    ("GET", "/v6/datasets/members/{id}/", READ),
    ("GET", "/v6/datasets/{id}/", READ),
    ("POST", "/v6/datasets/{id}/", BATCH),
    ("GET", "/v6/datasets/{id}/members/", READ),
    ("POST", "/v6/datasets/{id}/upload/", BATCH),
    ("GET", "/v6/datasets/{id}/uploads/", READ),
    ("GET", "/v6/datasets/{id}/uploads/{upload}/", READ),
    // Everybody.
    ("GET", "/api/v1/config/getsparkconfiguration", Credential),
    ("POST", "/auth/realms/{tenant}/protocol/openid-connect/token", Nothing),
    ("GET", "/schemas/formula-document.json", Nothing),
];

/// [`DEMANDS`] by path and method.
static BY_ROUTE: LazyLock<HashMap<(&str, &str), Demand>> =
    LazyLock::new(|| DEMANDS.iter().map(|(method, path, demand)| ((*path, *method), *demand)).collect());

/// What the route with this path demands; `None` when that is not stated.
pub fn demand(method: &Method, path: &str) -> Option<Demand> {
    // Whatever answers GET answers HEAD.
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    BY_ROUTE.get(&(path, method)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_is_stated_once() {
        assert_eq!(BY_ROUTE.len(), DEMANDS.len());
        assert_eq!(demand(&Method::HEAD, "/{tenant}/api/v4/audit"), Some(AUDIT));
        assert_eq!(demand(&Method::PUT, "/{tenant}/api/v4/audit"), None);
    }
}
