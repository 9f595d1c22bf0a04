//! Rows as they are read.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::Row;

use crate::model::recipe::running::{
    JobNode, JobRow, JobWrite, RecipeRow, Report, Revision, RunningError, Slot,
};
use crate::model::recipe::{InputHash, Job, NodeIndex, NodeSet};
use crate::store::StoreError;

/// What keeps recipes from being moved is a bug, or a row that is gone.
impl From<RunningError> for StoreError {
    fn from(error: RunningError) -> Self {
        Self::Corrupt(error.to_string())
    }
}

pub(super) fn read_recipe(
    row: &Row,
    revisions: &HashMap<i64, Arc<Revision>>,
) -> Result<RecipeRow, StoreError> {
    let revision_id: i64 = row.try_get(4)?;
    let revision = revisions.get(&revision_id).ok_or(RunningError::NoRevision(revision_id))?;
    let parent: Option<i64> = row.try_get(5)?;
    let parent_node: Option<i16> = row.try_get(6)?;
    let hash: Option<&[u8]> = row.try_get(14)?;
    // The node's number is that of another graph, which may not be here; it has the same form.
    let node = parent_node.and_then(NodeIndex::from_number);
    let has_input = row.try_get(10)?;
    let is_completed = row.try_get(12)?;
    let is_superseded = row.try_get(13)?;
    Ok(RecipeRow {
        id: row.try_get(0)?,
        tenant_id: row.try_get(1)?,
        batch_id: row.try_get(2)?,
        event_id: row.try_get(3)?,
        slots: vec![Slot::Absent; revision.graph.len()],
        revision: Arc::clone(revision),
        member_id: None,
        source_recipe_id: None,
        parent: parent.zip(node),
        root_id: row.try_get(7)?,
        superseded_recipe_id: row.try_get(8)?,
        root_superseded_recipe_id: row.try_get(9)?,
        input: None,
        input_hash: hash.and_then(|hash| hash.try_into().ok()).map(InputHash),
        has_input,
        is_blocked: row.try_get(11)?,
        is_completed,
        is_superseded,
        linked: NodeSet::default(),
        holders: Vec::new(),
        stored: true,
        changed: false,
        was_completed: is_completed,
        was_superseded: is_superseded,
        had_input: has_input,
    })
}

/// A job without its place.
pub(super) fn read_job(row: &Row) -> Result<JobRow, StoreError> {
    let status = row.try_get::<_, &str>(8)?.parse().map_err(StoreError::Corrupt)?;
    let max_tries = row.try_get(10)?;
    Ok(JobRow {
        id: row.try_get(0)?,
        tenant_id: row.try_get(1)?,
        batch_id: row.try_get(2)?,
        event_id: row.try_get(7)?,
        place: None,
        links: Vec::new(),
        node: JobNode {
            job_type_id: row.try_get(5)?,
            job_type_rev_id: row.try_get(6)?,
            max_tries,
            priority: None,
            is_paused: false,
        },
        job: Job {
            status,
            num_exes: row.try_get(9)?,
            max_tries,
            superseded: row.try_get(11)?,
            last_status_change: row.try_get(12)?,
        },
        priority: None,
        asked_priority: None,
        superseded_job_id: None,
        input: None,
        output: None,
        report: Report { started: row.try_get(13)?, seed_micros: row.try_get(15)?, ..Report::default() },
        ended: row.try_get(14)?,
        before: Some(status),
        write: JobWrite::Nothing,
        queued_now: false,
        superseded_now: false,
        put_by: None,
    })
}
