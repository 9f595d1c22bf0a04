//! From a locator to a published version (contract 5.4).

use chrono::{DateTime, Utc};
use millrace_common::model::Caller;
use millrace_common::model::time::timestamp;
use millrace_common::store::{ServiceVersion, VersionSelector};
use uuid::Uuid;

use super::locator::{Locator, LocatorError};
use crate::error::ApiError;
use crate::state::AppState;

impl From<LocatorError> for ApiError {
    fn from(error: LocatorError) -> Self {
        let message = error.to_string();
        match error {
            LocatorError::Form(_) => Self::not_found("SERVICE_NOT_FOUND", message),
            LocatorError::Version(_) => Self::unprocessable("INVALID_VERSION", message, None),
        }
        .at("service")
    }
}

/// The version that a request means: `version_id` wins over the locator. Without an exact version it is the newest whose
/// effective window contains `at` (now when `None`). 400 when nothing is named; 404 when what is named does not exist.
pub async fn resolve_version(
    state: &AppState,
    caller: &Caller,
    locator: Option<&str>,
    version_id: Option<Uuid>,
    at: Option<DateTime<Utc>>,
) -> Result<ServiceVersion, ApiError> {
    let locator = match (version_id, locator.map(str::trim).filter(|locator| !locator.is_empty())) {
        (Some(id), _) => Locator::Version(id),
        (None, Some(text)) => Locator::parse(text)?,
        (None, None) => {
            let message = "name a service, or a version_id";
            return Err(ApiError::bad_request("SERVICE_MISSING", message, "service".to_owned()));
        }
    };
    resolve(state, caller, &locator, at).await
}

/// As [`resolve_version`], for a locator that was read already.
pub async fn resolve(
    state: &AppState,
    caller: &Caller,
    locator: &Locator,
    at: Option<DateTime<Utc>>,
) -> Result<ServiceVersion, ApiError> {
    let tenant_id = caller.tenant_id;
    let (service_id, selector, what) = match locator {
        Locator::Version(id) => return version(state, caller, *id).await,
        Locator::Either(id, selector) => {
            if *selector == VersionSelector::Latest
                && let Some(version) = state.store.version(tenant_id, *id).await?
            {
                return Ok(version);
            }
            (*id, *selector, format!("service {id}"))
        }
        Locator::Service(id, selector) => (*id, *selector, format!("service {id}")),
        Locator::Named { folder, service, selector } => {
            let id = service_id(state, caller, folder, service).await?;
            (id, *selector, format!("service {folder}/{service}"))
        }
    };
    if let Some(version) = state.store.select_version(tenant_id, service_id, selector, at).await? {
        return Ok(version);
    }
    let versions = state.store.versions(tenant_id, service_id).await?;
    let Some(newest) = versions.first() else {
        return Err(ApiError::not_found("SERVICE_NOT_FOUND", format!("there is no {what}")).at("service"));
    };
    let wanted = match selector {
        VersionSelector::Latest => "version".to_owned(),
        VersionSelector::Major(major) => format!("version [{major}]"),
        VersionSelector::Minor(major, minor) => format!("version [{major}.{minor}]"),
        VersionSelector::Exact(major, minor, patch) => format!("version [{major}.{minor}.{patch}]"),
    };
    let when = match (selector, at) {
        (VersionSelector::Exact(..), _) => String::new(),
        (_, Some(at)) => format!(" in force at {}", timestamp(at)),
        (_, None) => " in force now".to_owned(),
    };
    let message = format!("{what} has no {wanted}{when}; its newest is {}", newest.number());
    Err(ApiError::not_found("VERSION_NOT_FOUND", message).at("service"))
}

/// The id of `folder/service`; 404 says which of both is missing.
pub async fn service_id(
    state: &AppState,
    caller: &Caller,
    folder: &str,
    service: &str,
) -> Result<Uuid, ApiError> {
    if let Some(id) = state.store.service_id(caller.tenant_id, folder, service).await? {
        return Ok(id);
    }
    if state.store.folder(caller.tenant_id, folder).await?.is_none() {
        return Err(no_folder(folder).at("service"));
    }
    let message = format!("there is no service {folder}/{service}");
    Err(ApiError::not_found("SERVICE_NOT_FOUND", message).at("service"))
}

/// 404 for a folder.
pub fn no_folder(folder: &str) -> ApiError {
    ApiError::not_found("FOLDER_NOT_FOUND", format!("there is no folder {folder:?}"))
}

async fn version(state: &AppState, caller: &Caller, id: Uuid) -> Result<ServiceVersion, ApiError> {
    state.store.version(caller.tenant_id, id).await?.ok_or_else(|| {
        ApiError::not_found("VERSION_NOT_FOUND", format!("there is no version {id}")).at("version_id")
    })
}
