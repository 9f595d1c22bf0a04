//! Datasets on the wire.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use millrace_common::store::recipes::{Dataset, DatasetMember};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::members::Member;
use crate::v6::http::datetime;
use crate::v6::wire::{DataDocument, Id};

/// What is told of every dataset.
#[derive(Debug, Serialize, ToSchema)]
pub struct DatasetBase {
    /// The dataset.
    pub id: i64,
    /// For people.
    pub title: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created: String,
    /// Parameters, global parameters and their data, as submitted.
    #[schema(value_type = Object)]
    pub definition: Value,
}

impl From<&Dataset> for DatasetBase {
    fn from(dataset: &Dataset) -> Self {
        Self {
            id: dataset.id,
            title: dataset.title.clone(),
            description: dataset.description.clone(),
            created: datetime(dataset.created),
            definition: dataset.definition.clone(),
        }
    }
}

/// A dataset in lists.
#[derive(Debug, Serialize, ToSchema)]
pub struct DatasetAnswer {
    /// The dataset.
    #[serde(flatten)]
    pub dataset: DatasetBase,
    /// How many files its members name.
    pub files: i64,
}

/// A dataset with members.
#[derive(Debug, Serialize, ToSchema)]
pub struct DatasetDetails {
    /// The dataset.
    #[serde(flatten)]
    pub dataset: DatasetBase,
    /// The first 1,000 of its members.
    pub members: Vec<DatasetMemberAnswer>,
    /// The files that these name.
    pub files: Vec<Id>,
}

/// A member of a dataset.
#[derive(Debug, Serialize, ToSchema)]
pub struct DatasetMemberAnswer {
    /// The member.
    pub id: i64,
    /// When it was added.
    #[schema(format = DateTime)]
    pub created: String,
    /// Its values.
    #[schema(value_type = DataDocument)]
    pub data: Value,
    /// The files that it names.
    pub file_ids: BTreeSet<i64>,
}

/// A member with what it is in.
#[derive(Debug, Serialize, ToSchema)]
pub struct DatasetMemberDetails {
    /// The member.
    #[serde(flatten)]
    pub member: DatasetMemberAnswer,
    /// The dataset.
    pub dataset: Id,
    /// The files that it names.
    pub files: Vec<Id>,
}

/// Whether a dataset's members, or its global data, may name files.
pub(super) fn has_files(dataset: &Dataset) -> bool {
    ["parameters", "global_parameters"]
        .into_iter()
        .any(|key| dataset.definition[key]["files"].as_array().is_some_and(|files| !files.is_empty()))
}

/// A dataset with these members.
pub(super) fn details(dataset: &Dataset, members: &[DatasetMember]) -> DatasetDetails {
    let mut ids: BTreeSet<i64> = file_ids(&dataset.definition["global_data"]);
    for member in members {
        ids.extend(file_ids(&member.data));
    }
    DatasetDetails {
        dataset: dataset.into(),
        members: members.iter().map(Into::into).collect(),
        files: files(&ids),
    }
}

impl From<&DatasetMember> for DatasetMemberAnswer {
    fn from(member: &DatasetMember) -> Self {
        Self {
            id: member.id,
            created: datetime(member.created),
            data: member.data.clone(),
            file_ids: file_ids(&member.data),
        }
    }
}

impl From<&DatasetMember> for DatasetMemberDetails {
    fn from(found: &DatasetMember) -> Self {
        let member = DatasetMemberAnswer::from(found);
        Self { dataset: Id { id: found.dataset_id }, files: files(&member.file_ids), member }
    }
}

/// Files by their ids: there is no catalogue that would know more of them.
fn files(ids: &BTreeSet<i64>) -> Vec<Id> {
    ids.iter().map(|id| Id { id: *id }).collect()
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
