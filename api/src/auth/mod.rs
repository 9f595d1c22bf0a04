//! Who calls, and what they may do: API keys, access tokens, tokens of other issuers, the tenant that the request is for (contract 4.1 and 1.8), and
//! the scope that its route demands.
//!
//! [`authenticate`] stands before every route; handlers take the caller that it found as [`Auth`].

mod crypto;
mod demands;
mod jwks;
mod jwt;
mod keys;
mod limits;
mod refusals;
mod tokens;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use millrace_common::metrics::{self, Access};
use millrace_common::model::{Actor, Caller, Scopes};
use millrace_common::store::Store;
use percent_encoding::percent_decode_str;

use crate::error::ApiError;
use crate::middleware::{self, tenant_of};
use crate::state::AppState;
use refusals::Reason;

pub(crate) use demands::demand;
pub use demands::{DEMANDS, Demand};
pub use jwt::IssuersError;
pub use keys::{Identity, KeyCache};
pub use limits::RateLimits;
pub use refusals::Refusals;
pub use tokens::{TOKEN_LIFE, issue_token};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use {jwt::check_claims, tokens::check_token_text};

pub(crate) const X_SYNTHETIC_KEY: HeaderName = HeaderName::from_static("x-synthetic-key");
pub(crate) const X_TENANT_NAME: HeaderName = HeaderName::from_static("x-tenant-name");

/// The caller of an authenticated route. The request's tenant is the caller's own.
#[derive(Debug, Clone)]
pub struct Auth(pub Caller);

impl FromRequestParts<AppState> for Auth {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.map(Self).ok_or_else(|| ApiError::internal(&"a public route asks for its caller"))
    }
}

/// Who asks a route that serves operators and tenants alike.
#[derive(Debug, Clone)]
pub enum Audience {
    /// Whoever has the token of operators: the whole installation is shown.
    Operator,
    /// A caller of a tenant, and what its credential may be used for.
    Tenant(Caller, Scopes),
}

impl Audience {
    /// The tenant that is shown; `None`: all of them.
    pub const fn tenant_id(&self) -> Option<uuid::Uuid> {
        match self {
            Self::Operator => None,
            Self::Tenant(caller, _) => Some(caller.tenant_id),
        }
    }
}

impl FromRequestParts<AppState> for Audience {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        let audience = parts.extensions.get::<Self>().cloned();
        audience.ok_or_else(|| ApiError::internal(&"a public route asks for its audience"))
    }
}

/// Lets a request through to its route when its caller may use it.
pub async fn authenticate(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    match demands::demand(request.method(), route) {
        Some(Demand::Nothing) => return next.run(request).await,
        Some(Demand::Operator | Demand::OperatorOrCredential) if is_operator(&state, request.headers()) => {
            request.extensions_mut().insert(Audience::Operator);
        }
        Some(Demand::Operator) => {
            let message = "this is shown to whoever has the token of operators (telemetry.metrics_token)";
            return ApiError::unauthorized(message).into_response();
        }
        Some(demand) => {
            let caller = credential(request.headers()).map(|credential| {
                let tenant = requested_tenant(request.uri().path(), request.headers());
                let route = format!("{} {route}", request.method());
                permit(&state, credential, tenant, demand, route)
            });
            let caller = match caller {
                Ok(permission) => permission.await,
                Err(refused) => Err(refused),
            };
            match caller {
                Ok((caller, scopes)) => {
                    if demand == Demand::OperatorOrCredential {
                        request.extensions_mut().insert(Audience::Tenant(caller.clone(), scopes));
                    }
                    request.extensions_mut().insert(caller);
                }
                Err(refused) => return refused.into_response(),
            }
        }
        None => {
            let cause = format!("auth/demands.rs does not say what {} {route} demands", request.method());
            return ApiError::internal(&cause).into_response();
        }
    }
    next.run(request).await
}

/// The owner of a credential, if that is good for the tenant and the demand.
async fn permit(
    state: &AppState,
    credential: String,
    tenant: Option<String>,
    demand: Demand,
    route: String,
) -> Result<(Caller, Scopes), ApiError> {
    let identity = state.keys.identify(&state.store, &credential, middleware::current().source).await?;
    if let Some(tenant) = tenant
        && tenant.to_lowercase() != identity.caller.tenant.to_lowercase()
    {
        refusals::note(state, &identity, &route, Reason::Tenant);
        return Err(ApiError::forbidden("the credential belongs to another tenant"));
    }
    if let Demand::Scope(scope) = demand
        && !identity.scopes.allow(scope)
    {
        refusals::note(state, &identity, &route, Reason::Scope(scope));
        return Err(ApiError::missing_scope(scope));
    }
    state.rate_limits.request(identity.caller.tenant_id, identity.limits)?;
    Ok((identity.caller.clone(), identity.scopes))
}

/// Whether a request carries the token of operators. Nobody does while none is set.
fn is_operator(state: &AppState, headers: &HeaderMap) -> bool {
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    metrics::access(&state.config.telemetry.metrics_token, given) == Access::Everything
}

impl AppState {
    /// The store, for changes in the name of this request's caller. To be called by the handler itself: tasks that it starts do
    /// not know the request.
    pub fn acting(&self, caller: &Caller) -> Store {
        let request = middleware::current();
        self.store.acting(Actor {
            name: caller.name.clone(),
            credential: caller.credential.clone(),
            request_id: Some(request.id.to_string()),
            source: request
                .source
                .filter(|_| self.config.audit.source_address)
                .map(|address| address.to_string()),
        })
    }
}

/// The tenant that a request is for: the one of its path, else of its header; `None` leaves it to the credential.
pub(crate) fn requested_tenant(path: &str, headers: &HeaderMap) -> Option<String> {
    if let Some(tenant) = tenant_of(path) {
        return Some(percent_decode_str(tenant).decode_utf8_lossy().into_owned());
    }
    let tenant = headers.get(X_TENANT_NAME)?.to_str().ok()?.trim();
    (!tenant.is_empty()).then(|| tenant.to_owned())
}

/// The key or token that a request carries.
pub(crate) fn credential(headers: &HeaderMap) -> Result<String, ApiError> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(key) = text(&X_SYNTHETIC_KEY).filter(|key| !key.is_empty()) {
        return Ok(key.to_owned());
    }
    let Some(authorization) = text(&header::AUTHORIZATION) else {
        return Err(ApiError::unauthorized("send x-synthetic-key, or Authorization: Bearer"));
    };
    let token = authorization.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match token.map(|(_, token)| token.trim()) {
        // What the SDKs send before they have fetched a token; 401 makes them fetch one.
        None | Some("" | "None" | "undefined" | "null") => {
            Err(ApiError::unauthorized("the authorization is no bearer token"))
        }
        Some(token) => Ok(token.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn keys_come_in_either_header() {
        assert_eq!(credential(&headers(&[("x-synthetic-key", "k")])).unwrap(), "k");
        assert_eq!(credential(&headers(&[("authorization", "bearer t")])).unwrap(), "t");
        assert_eq!(
            credential(&headers(&[("x-synthetic-key", "k"), ("authorization", "Bearer t")])).unwrap(),
            "k"
        );
    }

    #[test]
    fn placeholders_of_the_sdks_are_401() {
        for value in ["Bearer None", "Bearer undefined", "Bearer ", "Basic abc", "Bearer"] {
            assert_eq!(
                credential(&headers(&[("authorization", value)])).unwrap_err().status(),
                401,
                "{value}"
            );
        }
        assert_eq!(credential(&headers(&[])).unwrap_err().status(), 401);
        assert_eq!(credential(&headers(&[("x-synthetic-key", "")])).unwrap_err().status(), 401);
    }

    #[test]
    fn the_path_names_the_tenant_and_else_the_header() {
        let acme = headers(&[("x-tenant-name", "acme")]);
        assert_eq!(requested_tenant("/other/api/v4/batch", &acme).unwrap(), "other");
        assert_eq!(requested_tenant("/api/v1/product/list", &acme).unwrap(), "acme");
        assert_eq!(requested_tenant("/api/v1/product/list", &headers(&[("x-tenant-name", "")])), None);
    }
}
