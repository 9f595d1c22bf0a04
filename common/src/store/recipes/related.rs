//! What batches, recipes and jobs say of the things that they belong to.

use chrono::{DateTime, Utc};
use serde_json::Value;

/// A recipe type, as others refer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeTypeBase {
    /// The recipe type.
    pub id: i64,
    /// Its name, unique within the tenant.
    pub name: String,
    /// For people.
    pub title: String,
    /// For people.
    pub description: Option<String>,
    /// The newest revision, which need not be the one that is run.
    pub revision_num: i32,
}

/// A revision of a recipe type or a job type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision {
    /// The revision.
    pub id: i64,
    /// Whose it is.
    pub type_id: i64,
    /// Its number, from 1.
    pub revision_num: i32,
}

/// Why something was created.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The event.
    pub id: i64,
    /// `USER`.
    pub kind: String,
    /// More about it, such as the user.
    pub description: Value,
    /// When.
    pub occurred: DateTime<Utc>,
}

/// A batch, as others refer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchBase {
    /// The batch.
    pub id: i64,
    /// For people.
    pub title: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// When.
    pub created: DateTime<Utc>,
}

/// A job type, as others refer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the keys are those of the contract (5.1)")]
pub struct JobTypeBase {
    pub id: i64,
    pub name: String,
    pub version: String,
    pub title: Option<String>,
    pub description: Option<String>,
    pub is_active: bool,
    pub is_paused: bool,
    pub is_published: bool,
    pub icon_code: Option<String>,
}

/// From when to when something changed last, both inclusive (contract 1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modified {
    /// No earlier than this.
    pub started: Option<DateTime<Utc>>,
    /// No later than this.
    pub ended: Option<DateTime<Utc>>,
}
