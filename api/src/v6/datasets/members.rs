//! Members as callers send them: read one by one, so that no more than one of them is a tree of values at a time.

use millrace_common::model::recipe::names::DataError;
use millrace_common::model::recipe::{Data, DatasetDefinition, Finding, MAX_FINDINGS, Place};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::ApiError;
use crate::state::AppState;
use crate::v6::http::{Body, refused};

/// A member that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// The data document as JSON, with nothing in it that the dataset does not declare.
    pub(super) text: String,
    /// The ids of files in it, each once.
    pub(super) files: Vec<i64>,
}

impl Member {
    pub(super) fn of(data: &Data) -> Result<Self, ApiError> {
        let text = serde_json::to_string(data).map_err(|error| ApiError::internal(&error))?;
        let mut files: Vec<i64> = data.files.values().flatten().copied().collect();
        files.sort_unstable();
        files.dedup();
        Ok(Self { text, files })
    }
}

/// Reads the field `data` of a body, one document or a list of them, on a thread for such work. `None` when there is none.
pub(super) async fn read(
    state: &AppState,
    body: Body,
    definition: DatasetDefinition,
) -> Result<Option<Vec<Member>>, ApiError> {
    let work = move || -> Result<Option<Vec<Member>>, ApiError> {
        body.fields()?.raw("data").map(|text| parse(text, &definition)).transpose()
    };
    state.programs.on_core(work).await?
}

fn parse(text: &str, definition: &DatasetDefinition) -> Result<Vec<Member>, ApiError> {
    let malformed = |error: &serde_json::Error| {
        ApiError::bad_request(DataError::InvalidData.as_str(), format!("data: {error}"), None)
    };
    let root = Place::root("data");
    if !text.starts_with('[') {
        let value: Value = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        let data = definition.member(&value, root).map_err(told)?;
        return Ok(vec![Member::of(&data)?]);
    }
    let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    let mut members = Vec::with_capacity(items.len());
    let mut findings = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let value: Value = serde_json::from_str(item.get()).map_err(|error| malformed(&error))?;
        match definition.member(&value, root.index(at)) {
            Ok(data) if findings.is_empty() => members.push(Member::of(&data)?),
            Ok(_) => {}
            Err(found) => findings.extend(found),
        }
        if findings.len() >= MAX_FINDINGS {
            break;
        }
    }
    if findings.is_empty() { Ok(members) } else { Err(told(findings)) }
}

fn told(findings: Vec<Finding<DataError>>) -> ApiError {
    refused(findings.into_iter().map(|finding| (finding.name.as_str(), finding.to_string())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use serde_json::json;

    use super::*;

    fn definition() -> DatasetDefinition {
        let document = json!({"parameters": {
            "files": [{"name": "f", "multiple": true, "required": false}],
            "json": [{"name": "x", "type": "number"}],
        }});
        DatasetDefinition::parse(&document, Place::root("definition")).unwrap()
    }

    #[test]
    fn one_or_many_members_are_read_and_restricted() {
        let one = parse(r#"{"json": {"x": 1, "y": 2}}"#, &definition()).unwrap();
        assert_eq!(one, [Member { text: r#"{"files":{},"json":{"x":1}}"#.to_owned(), files: vec![] }]);
        let many =
            parse(r#"[{"json": {"x": 1}, "files": {"f": [2, 1, 2]}}, {"json": {"x": 2}}]"#, &definition());
        assert_eq!(
            many.unwrap().iter().map(|member| member.files.clone()).collect::<Vec<_>>(),
            [vec![1, 2], vec![]]
        );
        assert_eq!(parse("[]", &definition()).unwrap(), []);
    }

    #[test]
    fn a_wrong_member_is_named_by_its_place() {
        for (text, name, place) in [
            (r#"[{"json": {"x": 1}}, {"json": {"x": true}}]"#, "INVALID_JSON_TYPE", "data[1].x"),
            (r#"[{"json": {"x": 1}}, {}]"#, "PARAM_REQUIRED", "data[1]"),
            (r#"{"json": 1}"#, "INVALID_DATA", "data.json"),
            ("3", "INVALID_DATA", "data"),
        ] {
            let error = parse(text, &definition()).unwrap_err();
            assert_eq!((error.status().as_u16(), error.code()), (400, name), "{text}");
            assert!(error.message().starts_with(place), "{}", error.message());
        }
    }
}
