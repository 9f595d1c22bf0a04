//! Datasets on the wire.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use millrace_common::store::recipes::{Dataset, DatasetMember};
use serde_json::{Value, json};

use super::members::Member;
use crate::v6::http::datetime;

/// A dataset in lists; the number of its files is put in by those who know it.
pub(super) fn item(dataset: &Dataset) -> Value {
    json!({
        "id": dataset.id, "title": dataset.title, "description": dataset.description,
        "created": datetime(dataset.created), "definition": dataset.definition, "files": 0,
    })
}

/// Whether a dataset's members, or its global data, may name files.
pub(super) fn has_files(dataset: &Dataset) -> bool {
    ["parameters", "global_parameters"]
        .into_iter()
        .any(|key| dataset.definition[key]["files"].as_array().is_some_and(|files| !files.is_empty()))
}

/// A dataset with these members.
pub(super) fn details(dataset: &Dataset, members: &[DatasetMember]) -> Value {
    let mut ids: BTreeSet<i64> = file_ids(&dataset.definition["global_data"]);
    for member in members {
        ids.extend(file_ids(&member.data));
    }
    let mut body = item(dataset);
    body["members"] = members.iter().map(self::member).collect();
    body["files"] = files(&json!(ids));
    body
}

/// A member.
pub(super) fn member(member: &DatasetMember) -> Value {
    json!({
        "id": member.id, "created": datetime(member.created), "data": member.data,
        "file_ids": file_ids(&member.data),
    })
}

/// Files by their ids: there is no catalogue that would know more of them.
pub(super) fn files(ids: &Value) -> Value {
    ids.as_array().into_iter().flatten().map(|id| json!({"id": id})).collect()
}

/// The ids of files in a data document.
fn file_ids(data: &Value) -> BTreeSet<i64> {
    let lists = data["files"].as_object().into_iter().flat_map(serde_json::Map::values);
    lists.filter_map(Value::as_array).flatten().filter_map(Value::as_i64).collect()
}

/// The list of new members, written from their texts.
pub(super) fn added(members: &[Member], stored: &[(i64, DateTime<Utc>)]) -> String {
    let items = members.iter().zip(stored).map(|(member, (id, created))| {
        format!(
            r#"{{"id":{id},"created":"{}","data":{},"file_ids":{}}}"#,
            datetime(*created),
            member.text,
            json!(member.files)
        )
    });
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}
