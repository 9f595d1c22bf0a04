//! Answers that several subjects give.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use millrace_common::model::recipe::Finding;
use serde::Serialize;
use serde_json::{Value, json};

use super::INVALID;
use crate::error::ApiError;
use crate::v6::http::Query;

/// The most findings whose texts are told in one refusal.
const TOLD: usize = 10;

/// An error or a warning in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// What programs know it by.
    pub name: &'static str,
    /// For people; begins with the place.
    pub description: String,
}

impl Told {
    /// A finding of the model.
    pub fn of<N: Into<&'static str>>(finding: Finding<N>) -> Self {
        let description = finding.to_string();
        Self { name: finding.name.into(), description }
    }
}

/// 201 with the new thing and where it is: `path` begins with `/v6/` and ends with a slash.
pub fn created(query: &Query, path: &str, body: impl Serialize) -> Response {
    let location = format!("{}{path}", query.origin());
    (StatusCode::CREATED, [(header::LOCATION, location)], Json(body)).into_response()
}

/// The 400 for a document with these findings, each with its name and its text: the first one's name stands for all.
pub fn refused(findings: impl IntoIterator<Item = (&'static str, String)>) -> ApiError {
    let mut findings = findings.into_iter();
    let Some((name, mut text)) = findings.next() else {
        return ApiError::bad_request(INVALID, "the document is invalid", None);
    };
    let mut more = 0;
    for (at, (_, other)) in findings.enumerate() {
        if at + 1 < TOLD {
            text = format!("{text}; {other}");
        } else {
            more += 1;
        }
    }
    if more > 0 {
        text = format!("{text}; and {more} more");
    }
    ApiError::bad_request(name, text, None)
}

/// What a dry run found: `{is_valid, errors, warnings}`.
pub fn validated<E: Serialize, W: Serialize>(errors: &[E], warnings: &[W]) -> Value {
    json!({"is_valid": errors.is_empty(), "errors": errors, "warnings": warnings})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_refusal_has_the_first_name_and_few_texts() {
        let error = refused((0..15).map(|at| (if at == 0 { "FIRST" } else { "OTHER" }, format!("n{at}"))));
        assert_eq!(error.code(), "FIRST");
        assert!(error.message().starts_with("n0; n1; ") && error.message().ends_with("n9; and 5 more"));
    }
}
