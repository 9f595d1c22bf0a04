//! `GET`, `POST …/keys` and `DELETE …/keys/{id}`: the keys of a tenant.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use millrace_common::model::time::{self, timestamp};
use millrace_common::model::{Scope, Scopes};
use millrace_common::store::{CreateKeyError, KeyTerms};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::auth::Auth;
use crate::body::read_json;
use crate::error::ApiError;
use crate::extract::Path;
use crate::openapi::schemas::{CreateKey, CreatedKey, List, ListedKey, RevokedKey};
use crate::state::AppState;

/// The longest name of an owner or a group, in characters.
const NAME: usize = 200;
/// The most groups of a key.
const GROUPS: usize = 50;

/// The body of a creation; unknown keys are refused, because a misspelt one would make a stronger key than was meant.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CreateRequest {
    owner: Option<String>,
    groups: Option<Vec<String>>,
    scopes: Option<Vec<String>>,
    expires_at: Option<String>,
}

impl CreateRequest {
    /// The terms of the key; its owner is the caller unless another is named.
    fn terms(self, caller: &str) -> Result<KeyTerms, ApiError> {
        let refuse = |message: String, path: String| ApiError::unprocessable("INVALID_VALUE", message, path);
        let check = |text: &str, path: String| {
            if text.trim().is_empty() || text.chars().count() > NAME || text.chars().any(char::is_control) {
                return Err(refuse(format!("must have 1 to {NAME} printable characters"), path));
            }
            Ok(())
        };
        let owner = self.owner.unwrap_or_else(|| caller.to_owned());
        check(&owner, "owner".to_owned())?;
        let groups = self.groups.unwrap_or_default();
        if groups.len() > GROUPS {
            return Err(refuse(format!("at most {GROUPS} groups"), "groups".to_owned()));
        }
        for (index, group) in groups.iter().enumerate() {
            check(group, format!("groups[{index}]"))?;
        }
        let scopes = self.scopes.unwrap_or_else(|| Scopes::DEFAULT.names());
        let scopes = scopes.iter().enumerate().map(|(index, name)| {
            name.parse::<Scope>().map_err(|error| refuse(error.to_string(), format!("scopes[{index}]")))
        });
        let scopes = scopes.collect::<Result<Scopes, ApiError>>()?;
        let expires_at = match self.expires_at.as_deref() {
            None => None,
            Some(text) => Some(
                time::parse(text)
                    .ok_or_else(|| refuse(format!("{text:?} is no date"), "expires_at".to_owned()))?,
            ),
        };
        Ok(KeyTerms { owner, groups, scopes: Some(scopes), expires_at })
    }
}

/// Makes a key, and shows it this once.
#[utoipa::path(post, path = "/{tenant}/api/v4/keys", tag = "Identity", operation_id = "createKey",
    request_body(content = CreateKey, example = json!({"owner": "ann", "groups": ["analysts"], "scopes": ["batch", "execute"]})),
    responses((status = 201, description = "The key, shown this once.", body = CreatedKey)))]
pub(super) async fn create(
    State(state): State<AppState>,
    Auth(caller): Auth,
    request: Request,
) -> Result<Response, ApiError> {
    let wanted: CreateRequest = read_json(&state, request).await?;
    let terms = wanted.terms(&caller.name)?;
    let refuse = |error: CreateKeyError| {
        let (message, path) = (error.to_string(), |path: &str| Some(path.to_owned()));
        match error {
            CreateKeyError::Expired => ApiError::unprocessable("INVALID_VALUE", message, path("expires_at")),
            CreateKeyError::NoScope => ApiError::unprocessable("INVALID_VALUE", message, path("scopes")),
            CreateKeyError::NoTenant(_) => ApiError::not_found("TENANT_NOT_FOUND", message),
            CreateKeyError::Store(error) => error.into(),
        }
    };
    let key = state.acting(&caller).create_key(&caller.tenant, &terms).await.map_err(refuse)?;
    let body = json!({
        "object": "key", "id": key.id, "key": key.secret.expose(), "owner": terms.owner, "groups": terms.groups,
        "scopes": key.scopes, "expires_at": terms.expires_at.map(timestamp),
    });
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// The keys of the tenant, without the keys themselves.
#[utoipa::path(get, path = "/{tenant}/api/v4/keys", tag = "Identity", operation_id = "listKeys",
    responses((status = 200, description = "The keys.", body = List<ListedKey>)))]
pub(super) async fn list(State(state): State<AppState>, Auth(caller): Auth) -> Result<Json<Value>, ApiError> {
    let keys = state.store.keys(&caller.tenant).await?;
    let data: Vec<Value> = keys
        .iter()
        .map(|key| {
            json!({
                "object": "key", "id": key.id, "hint": key.hint, "owner": key.owner, "groups": key.groups,
                "scopes": key.scopes, "created_at": timestamp(key.created_at),
                "last_used_at": key.last_used_at.map(timestamp), "expires_at": key.expires_at.map(timestamp),
                "revoked_at": key.revoked_at.map(timestamp),
            })
        })
        .collect();
    Ok(Json(json!({"object": "list", "data": data})))
}

/// Makes a key useless: at once on this server, within seconds on others.
#[utoipa::path(delete, path = "/{tenant}/api/v4/keys/{id}", tag = "Identity", operation_id = "revokeKey",
    params(("id" = String, Path, description = "The id of the key.")), responses((status = 200, description = "It is revoked.", body = RevokedKey)))]
pub(super) async fn revoke(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, id)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let missing = || ApiError::not_found("KEY_NOT_FOUND", format!("there is no valid key {id}"));
    let key_id = Uuid::parse_str(&id).map_err(|_| missing())?;
    if !state.acting(&caller).revoke_key(Some(caller.tenant_id), key_id).await? {
        return Err(missing());
    }
    state.keys.forget();
    Ok(Json(json!({"object": "key", "id": key_id, "revoked": true})))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn terms(body: &str) -> Result<KeyTerms, ApiError> {
        serde_json::from_str::<CreateRequest>(body).unwrap().terms("ann")
    }

    #[test]
    fn a_key_without_terms_is_the_callers_with_the_default_scopes() {
        let key = terms("{}").unwrap();
        assert_eq!((key.owner.as_str(), key.scopes, key.expires_at), ("ann", Some(Scopes::DEFAULT), None));
        let key = terms(r#"{"owner":"bob","groups":["g"],"scopes":["batch"],"expires_at":"2030-01-01"}"#);
        assert_eq!(key.unwrap().scopes.unwrap().names(), ["batch"]);
    }

    #[test]
    fn bad_terms_are_refused_by_name() {
        for (body, path) in [
            (r#"{"owner":" "}"#, "owner"),
            (r#"{"groups":["a",""]}"#, "groups[1]"),
            (r#"{"scopes":["batch","root"]}"#, "scopes[1]"),
            (r#"{"expires_at":"soon"}"#, "expires_at"),
        ] {
            let error = terms(body).unwrap_err();
            assert_eq!((error.status().as_u16(), error.source_path()), (422, Some(path)), "{body}");
        }
        assert!(serde_json::from_str::<CreateRequest>(r#"{"scope":["batch"]}"#).is_err());
    }
}
