//! `GET /stats/caller`: whose credential it is, and what it may do.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Audience;

/// Whose credential a request carried.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CallerAnswer {
    /// Whether it is the token of operators; then the rest is empty.
    operator: bool,
    /// The tenant.
    tenant: Option<String>,
    /// Who owns what is made with it.
    name: Option<String>,
    /// Groups of the owner.
    groups: Vec<String>,
    /// What it permits; `tenant:admin` includes every other scope.
    scopes: Vec<String>,
    /// Whether every batch of the tenant is shown, not only the caller's own.
    supervisor: bool,
}

/// Whose credential this is, and what it may do.
#[utoipa::path(get, path = "/stats/caller", tag = "Server", operation_id = "getCaller",
    responses((status = 200, description = "The caller.", body = CallerAnswer)))]
pub(super) async fn show(audience: Audience) -> Json<CallerAnswer> {
    Json(match audience {
        Audience::Operator => CallerAnswer {
            operator: true,
            tenant: None,
            name: None,
            groups: Vec::new(),
            scopes: Vec::new(),
            supervisor: false,
        },
        Audience::Tenant(caller, scopes) => CallerAnswer {
            operator: false,
            supervisor: caller.is_supervisor(),
            tenant: Some(caller.tenant),
            name: Some(caller.name),
            groups: caller.groups,
            scopes: scopes.names(),
        },
    })
}
