//! Messages that vanish from their lanes, and the reaper that ends their chunks.

use std::collections::{BTreeMap, BTreeSet};

use millrace_calc::chunk::write_failed;
use millrace_common::store::{Heartbeat, Outcome, Suspect};
use uuid::Uuid;

use super::operations::WORKERS;
use super::oracle::{Batch, Fate, name};
use super::world::{Fault, World, same};

/// For how long a lane must have been empty. Time goes by in hundreds.
pub const LOST: i64 = 450;
#[expect(clippy::cast_precision_loss, reason = "clocks are far below 2^53 seconds")]
const LOST_SECONDS: f64 = LOST as f64;

/// What callers read instead of a result.
fn body(id: usize, records: i32) -> Vec<u8> {
    let reason = "the message with the records of this chunk is gone from its lane: push the records again under another id";
    let mut body = Vec::new();
    let records = records.unsigned_abs();
    write_failed(&name(id), records, "runtime", "error.BODY_LOST", None, reason, &mut body);
    body
}

impl Batch {
    /// Whether chunks of it are queued and have no outcome, as far as counters tell.
    fn waits(&self) -> bool {
        let sums = self.sums();
        self.is_live() && sums.chunks_queued > sums.chunks_completed + sums.chunks_failed
    }

    /// Ends what was queued before the lane was first seen empty. Gives the numbers.
    fn end_lost(&mut self, group: u64) -> Vec<i64> {
        let Some((since, _)) = self.empty_since else { return Vec::new() };
        let mut ended = Vec::new();
        for (number, chunk) in &mut self.chunks {
            if chunk.fate == Fate::Waiting && chunk.queued.is_some_and(|queued| queued < since) {
                let body = body(chunk.id, chunk.content.records());
                let bytes = i32::try_from(body.len()).unwrap();
                chunk.fate =
                    Fate::Finished { outcome: Outcome::Failed, group, body, bytes, work: None, pulled: None };
                ended.push(*number);
            }
        }
        ended
    }
}

impl World<'_> {
    /// A message is gone from a lane, or all of them: somebody purged it by hand.
    pub(super) fn lose(&mut self, batch: usize, pick: usize, all: bool) {
        let lane = &mut self.lanes[batch];
        if all {
            lane.clear();
        } else if let Some(at) = pick.checked_rem(lane.len()) {
            lane.remove(at);
        }
    }

    /// Workers say what they hold.
    async fn beat(&self) -> Result<(), Fault> {
        for worker in 0..WORKERS {
            let mut held: BTreeMap<Uuid, u32> = BTreeMap::new();
            for message in &self.workers[worker] {
                *held.entry(self.rows[message.batch].id).or_default() += 1;
            }
            let beat = Heartbeat {
                worker_id: Uuid::from_u128(worker as u128),
                name: String::new(),
                version: String::new(),
                slots: 1,
                draining: false,
                busy: BTreeMap::new(),
                held,
                clock: chrono::Utc::now(),
            };
            self.tenant.store().heartbeat(&beat).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// The reaper looks for batches whose messages are gone.
    pub(super) async fn end_lost(&mut self) -> Result<(), Fault> {
        self.beat().await?;
        let store = self.tenant.store().clone();
        let suspects = store.suspected_batches().await.map_err(|error| error.to_string())?;
        let held: BTreeSet<usize> = self.workers.iter().flatten().map(|message| message.batch).collect();
        let suspected = |at: &usize| self.oracle[*at].waits() && !held.contains(at);
        let expected: BTreeSet<usize> = (0..self.rows.len()).filter(suspected).collect();
        same("suspected batches", &self.places(&suspects)?, &expected)?;

        let mut empty = Vec::new();
        for suspect in suspects {
            let at = self.place(suspect)?;
            same("the lane of a suspect", &Some(suspect.lane_id), &self.oracle[at].lane)?;
            if self.lanes[at].is_empty() {
                empty.push(suspect);
            }
        }
        let empty_lanes = self.places(&empty)?;
        let now = (self.tick(), self.now);
        for (at, batch) in self.oracle.iter_mut().enumerate() {
            let since = batch.empty_since.unwrap_or(now);
            batch.empty_since = empty_lanes.contains(&at).then_some(since);
        }
        let lasting =
            store.note_empty_lanes(&empty, LOST_SECONDS).await.map_err(|error| error.to_string())?;
        let lasts = |batch: &Batch| batch.empty_since.is_some_and(|(_, since)| self.now - since > LOST);
        let expected = (0..self.rows.len()).filter(|at| lasts(&self.oracle[*at])).collect();
        same("lanes that are empty for long", &self.places(&lasting)?, &expected)?;

        for suspect in lasting {
            let at = self.place(suspect)?;
            self.groups += 1;
            let ended = self.oracle[at].end_lost(self.groups);
            // Whatever the oracle says: what somebody still holds, or can still be delivered, is not lost.
            let mut there = self.lanes[at].iter().chain(self.workers.iter().flatten());
            if there.any(|message| message.batch == at && ended.contains(&message.number)) {
                return Err(format!("chunks {ended:?} of batch {at} are not lost"));
            }
            let found = store.fail_lost_chunks(suspect).await.map_err(|error| error.to_string())?;
            same("lost chunks", &found, &(ended.len() as u64))?;
            let more = store.fail_lost_chunks(suspect).await.map_err(|error| error.to_string())?;
            same("lost chunks that are lost again", &more, &0)?;
            // What was lost later is looked for anew.
            self.oracle[at].empty_since = None;
            self.look(at).await?;
        }
        Ok(())
    }

    fn place(&self, suspect: Suspect) -> Result<usize, Fault> {
        let place = self.rows.iter().position(|row| row.id == suspect.batch_id);
        place.ok_or_else(|| format!("{suspect:?} is nobody's"))
    }

    fn places(&self, suspects: &[Suspect]) -> Result<BTreeSet<usize>, Fault> {
        suspects.iter().map(|suspect| self.place(*suspect)).collect()
    }

    /// Nothing is on its way any more: what is queued and has no outcome is lost, and ends.
    pub(super) async fn end_all_lost(&mut self) -> Result<(), Fault> {
        // Twice, for what was lost after the first look.
        for _ in 0..2 {
            self.end_lost().await?;
            self.pass(LOST + 50).await?;
        }
        self.end_lost().await
    }
}
