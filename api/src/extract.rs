//! Parts of requests, as handlers take them: axum's extractors, with refusals in the dialects of the API (contract 0.5) where axum
//! answers plain text.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::error::ApiError;
use crate::middleware::{Dialect, current};

/// The variables of the path. What is no text is 400.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        #[expect(clippy::disallowed_types, reason = "here its refusal is translated")]
        let read = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        match read {
            Ok(path) => Ok(Self(path.0)),
            // Whatever is no id or name there, names nothing (scale-v6 1.1).
            Err(refused) if refused.status().is_client_error() && current().dialect == Dialect::V6 => {
                Err(ApiError::not_found("NOT_FOUND", "Not found."))
            }
            Err(refused) if refused.status().is_client_error() => {
                Err(ApiError::bad_request("INVALID_PATH", refused.body_text(), None))
            }
            Err(refused) => Err(ApiError::internal(&refused)),
        }
    }
}

/// The parameters of the query. What cannot be read is 400.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        #[expect(clippy::disallowed_types, reason = "here its refusal is translated")]
        let read = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        match read {
            Ok(query) => Ok(Self(query.0)),
            Err(refused) => Err(ApiError::bad_request("INVALID_QUERY", refused.body_text(), None)),
        }
    }
}
