//! Ended batches that are removed when nothing refers to them any more, while everything else goes on.

use std::collections::BTreeSet;

use super::oracle::Batch;
use super::world::{Fault, World, same};

/// Batches are kept for so many days.
const DAYS: u32 = 90;
/// A little longer.
pub const LONG_AGO: i64 = 91 * 86_400;

impl Batch {
    /// Its day is dropped, and its end was long ago.
    fn expire(&mut self) {
        self.expired = true;
        self.dropped = true;
        self.finished_at = self.finished_at.map(|at| at - LONG_AGO);
    }
}

impl World<'_> {
    /// Long after the end of this batch its day is dropped, unless a redrive still needs it; then the reaper looks for batches that
    /// ended long ago.
    pub(super) async fn forget(&mut self, at: usize) -> Result<(), Fault> {
        let needed = self.redrives.iter().any(|redrive| redrive.source == at && redrive.state == "running");
        if !self.oracle[at].is_live() && !self.oracle[at].expired && !needed {
            self.tenant.expire(self.rows[at].id).await?;
            self.oracle[at].expire();
        }
        let due: BTreeSet<usize> = (0..self.rows.len()).filter(|at| self.may_go(*at)).collect();
        let removed = self.tenant.store().remove_ended_batches(DAYS).await;
        same("batches that were removed", &removed.map_err(|error| error.to_string())?, &(due.len() as u64))?;
        for at in &due {
            self.oracle[*at].removed = true;
            same("rows of a removed batch", &self.tenant.left(self.rows[*at].id).await?, &0)?;
        }
        // What was made for a removed batch, and what it was made for, know nothing of it.
        for redrive in 0..self.redrives.len() {
            self.check_links(redrive).await?;
        }
        self.look_at(0..self.rows.len()).await
    }

    /// Whether nothing refers to a batch that ended long ago.
    fn may_go(&self, at: usize) -> bool {
        let batch = &self.oracle[at];
        let refers = |redrive: &super::redrives::Redrive| {
            let is_there = !self.oracle[redrive.batch].removed;
            (redrive.source == at && is_there) || (redrive.batch == at && redrive.state == "running")
        };
        batch.expired
            && !batch.removed
            && batch.released
            && batch.lane.is_none()
            && !self.redrives.iter().any(refers)
    }
}
