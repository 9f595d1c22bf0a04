//! What must be true, kept without a database: each chunk's fate, from which every counter is summed up anew.

use std::collections::BTreeMap;

use millrace_common::model::BatchState;
use millrace_common::store::{Admission, Outcome, PauseEnd};

use super::operations::Content;
use super::terms::Terms;

/// Clocks of the reaper in seconds. Time goes by in hundreds, so that an operation that takes a while decides nothing.
pub const INACTIVITY: i64 = 1_850;
pub const ACCEPTED: i64 = 650;
pub const COOL_OFF: i64 = 150;
/// A pause that lasts longer ends, and times its batch out.
pub const PAUSED: i64 = 2_450;
/// For how long pulled results are handed out again.
pub const GRACE: i64 = 350;

/// A chunk that was admitted.
#[derive(Debug, Clone)]
pub struct Chunk {
    pub id: usize,
    pub content: Content,
    pub accepted_at: i64,
    /// When its confirm was in, as a number that grows with every operation.
    pub queued: Option<u64>,
    /// A caller was told of its success.
    pub answered: bool,
    pub attempts: i32,
    pub retries: i64,
    pub fate: Fate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    Waiting,
    /// `group` counts commits: results of an earlier group are pulled first. `bytes` is the size of the result, `work` what can be
    /// done again of it, `pulled` when it was pulled.
    Finished {
        outcome: Outcome,
        group: u64,
        body: Vec<u8>,
        bytes: i32,
        work: Option<Content>,
        pulled: Option<i64>,
    },
    Withdrawn,
}

impl Chunk {
    pub fn is_unpulled(&self) -> bool {
        matches!(self.fate, Fate::Finished { pulled: None, .. })
    }

    /// The commit that finished it.
    pub fn group(&self) -> Option<u64> {
        match self.fate {
            Fate::Finished { group, .. } => Some(group),
            Fate::Waiting | Fate::Withdrawn => None,
        }
    }

    /// The size of its result.
    pub fn output_bytes(&self) -> i32 {
        match self.fate {
            Fate::Finished { bytes, .. } => bytes,
            Fate::Waiting | Fate::Withdrawn => 0,
        }
    }

    pub fn has_body(&self, wanted: &[u8]) -> bool {
        matches!(&self.fate, Fate::Finished { body, .. } if body == wanted)
    }

    pub fn pull(&mut self, now: i64) {
        if let Fate::Finished { pulled, .. } = &mut self.fate {
            *pulled = Some(now);
        }
    }
}

/// The counters that readers see, summed up from the chunks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    pub chunks_submitted: i64,
    pub records_submitted: i64,
    pub chunks_queued: i64,
    pub chunks_completed: i64,
    pub chunks_failed: i64,
    pub records_completed: i64,
    pub records_failed: i64,
    pub chunks_retried: i64,
    pub records_retried: i64,
    pub chunks_pulled: i64,
    pub records_pulled: i64,
    pub input_bytes: i64,
    pub output_bytes: i64,
    pub input_total: i64,
    pub output_total: i64,
    pub largest_chunk: i32,
}

#[derive(Debug, Clone)]
pub struct Batch {
    pub state: BatchState,
    pub input_allocated: i64,
    pub output_allocated: i64,
    pub terms: Terms,
    /// It was stopped early.
    pub stopped: bool,
    /// Since when it is paused.
    pub paused: Option<i64>,
    /// When its lane was first seen empty while chunks of it waited: as [`Chunk::queued`], and in seconds.
    pub empty_since: Option<(u64, i64)>,
    /// By number.
    pub chunks: BTreeMap<i64, Chunk>,
    /// Ids that are taken, and by which number.
    pub ids: BTreeMap<usize, i64>,
    /// The last change of the state, and the last push or pull.
    pub updated_at: i64,
    pub touched_at: i64,
    pub started: bool,
    pub finished_at: Option<i64>,
    pub released: bool,
    pub dropped: bool,
    pub lane: Option<i32>,
    /// Its day was dropped, long after its end.
    pub expired: bool,
    pub removed: bool,
}

/// Records with errors in a finished chunk.
pub fn records_failed(content: Content, outcome: Outcome) -> i32 {
    if outcome == Outcome::Failed { content.records() } else { content.bad_records() }
}

/// What of a finished chunk can be done again.
pub fn failed_work(content: Content, outcome: Outcome) -> Option<Content> {
    match outcome {
        Outcome::Failed => content.is_kept().then_some(content),
        Outcome::Completed => (content.bad_records() > 0).then(|| content.part()),
    }
}

impl Batch {
    pub fn is_live(&self) -> bool {
        matches!(self.state, BatchState::Open | BatchState::Closed | BatchState::ClosedByTimeout)
    }

    pub fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for chunk in self.chunks.values() {
            let (records, bytes) = (i64::from(chunk.content.records()), i64::from(chunk.content.bytes()));
            sums.input_total += bytes;
            sums.largest_chunk = sums.largest_chunk.max(chunk.content.bytes());
            sums.chunks_retried += chunk.retries;
            sums.records_retried += chunk.retries * records;
            if chunk.fate == Fate::Withdrawn {
                continue;
            }
            sums.chunks_submitted += 1;
            sums.records_submitted += records;
            sums.chunks_queued += i64::from(chunk.queued.is_some());
            match &chunk.fate {
                Fate::Finished { outcome, pulled, .. } => {
                    let output = i64::from(chunk.output_bytes());
                    let one = i64::from(*outcome == Outcome::Completed);
                    sums.chunks_completed += one;
                    sums.chunks_failed += 1 - one;
                    sums.records_completed += records;
                    sums.records_failed += i64::from(records_failed(chunk.content, *outcome));
                    sums.output_total += output;
                    sums.chunks_pulled += i64::from(pulled.is_some());
                    sums.records_pulled += if pulled.is_some() { records } else { 0 };
                    sums.output_bytes += if pulled.is_some() || self.dropped { 0 } else { output };
                }
                _ => sums.input_bytes += if self.dropped { 0 } else { bytes },
            }
        }
        sums
    }

    pub fn unpulled(&self) -> Vec<i64> {
        let unpulled = self.chunks.iter().filter(|(_, chunk)| chunk.is_unpulled() && !self.dropped);
        unpulled.map(|(number, _)| *number).collect()
    }

    pub fn is_drained(&self) -> bool {
        let sums = self.sums();
        sums.chunks_completed + sums.chunks_failed == sums.chunks_submitted
    }

    /// The answer to a push, as far as it is known before numbers are given.
    pub fn judge(&self, chunks: &[(usize, Content)]) -> Judged {
        let known = |id: &usize| self.ids.get(id).map(|number| &self.chunks[number]);
        if self.state != BatchState::Open {
            return Judged::Refused(Admission::NotOpen(self.state));
        }
        let taken =
            chunks.iter().filter(|(id, content)| known(id).is_some_and(|chunk| chunk.content != *content));
        let taken: Vec<String> = taken.map(|(id, _)| name(*id)).collect();
        if !taken.is_empty() {
            return Judged::Refused(Admission::Conflict { chunk_ids: taken });
        }
        let fresh = chunks.iter().filter(|(id, _)| known(id).is_none());
        let needed: i64 = fresh.map(|(_, content)| i64::from(content.bytes())).sum();
        if needed > self.input_allocated {
            return Judged::Refused(Admission::TooLarge { needed, allocated: self.input_allocated });
        }
        let free = self.input_allocated - self.sums().input_bytes;
        if needed > free {
            return Judged::Refused(Admission::InputFull { needed, free });
        }
        let publish = chunks
            .iter()
            .map(|(id, _)| *id)
            .filter(|id| known(id).is_none_or(|chunk| chunk.queued.is_none()));
        Judged::Admitted { publish: publish.collect() }
    }

    /// Chunks of a push that was admitted, with the numbers of those that are published.
    pub fn admit(&mut self, chunks: &[(usize, Content)], numbers: &BTreeMap<usize, i64>, now: i64) {
        for (id, content) in chunks {
            if self.ids.contains_key(id) {
                continue;
            }
            let number = numbers[id];
            let (queued, answered) = (None, false);
            self.chunks.insert(
                number,
                Chunk {
                    id: *id,
                    content: *content,
                    accepted_at: now,
                    queued,
                    answered,
                    attempts: 0,
                    retries: 0,
                    fate: Fate::Waiting,
                },
            );
            self.ids.insert(*id, number);
        }
        self.touched_at = now;
    }

    /// A caller is told of success: whatever it pushed is in, from now on for good.
    pub fn answer(&mut self, ids: impl Iterator<Item = usize>) {
        for id in ids {
            if let Some(chunk) = self.ids.get(&id).and_then(|number| self.chunks.get_mut(number)) {
                chunk.answered = true;
            }
        }
    }

    /// Confirms are in; gives the ids whose rows are no longer there.
    pub fn mark_queued(&mut self, published: &[(usize, i64)], sequence: u64) -> Vec<usize> {
        let mut gone = Vec::new();
        for (id, number) in published {
            if self.ids.get(id) == Some(number) {
                self.chunks.get_mut(number).unwrap().queued.get_or_insert(sequence);
            } else {
                gone.push(*id);
            }
        }
        gone
    }

    /// A redelivered chunk is started once more: its count, or `None` when it needs no start.
    pub fn start_again(&mut self, number: i64) -> Option<i32> {
        if !self.is_live() {
            return None;
        }
        let chunk = self.chunks.get_mut(&number).filter(|chunk| chunk.fate == Fate::Waiting)?;
        chunk.attempts += 1;
        chunk.retries += 1;
        Some(chunk.attempts)
    }

    pub fn attempts(&self, number: i64) -> Option<i32> {
        let chunk = self.chunks.get(&number).filter(|chunk| chunk.fate == Fate::Waiting)?;
        Some(chunk.attempts)
    }

    pub fn commit(&mut self, number: i64, outcome: Outcome, body: &[u8], group: u64) {
        if !self.is_live() {
            return;
        }
        let Some(chunk) = self.chunks.get_mut(&number) else { return };
        if chunk.fate == Fate::Waiting {
            let (bytes, work) = (chunk.content.output_bytes(), failed_work(chunk.content, outcome));
            chunk.fate = Fate::Finished { outcome, group, body: body.to_vec(), bytes, work, pulled: None };
        }
    }

    pub fn close(&mut self, now: i64) {
        if self.state == BatchState::Open {
            self.become_state(BatchState::Closed, now);
            self.reconsider(now);
        }
    }

    pub fn cancel(&mut self, now: i64) {
        match self.state {
            BatchState::Cancelled => return,
            _ if self.is_live() => self.become_state(BatchState::Cancelled, now),
            _ => self.updated_at = now,
        }
        self.released = true;
        self.dropped = true;
    }

    pub fn become_state(&mut self, state: BatchState, now: i64) {
        self.state = state;
        self.updated_at = now;
        if !matches!(state, BatchState::Open | BatchState::Closed) {
            self.paused = None;
        }
        if !self.is_live() {
            self.finished_at = Some(now);
        }
    }

    pub fn time_out(&mut self, now: i64) -> bool {
        let idle = now - self.updated_at.max(self.touched_at) > INACTIVITY;
        // A closed batch that waits for a pull is timed out as well.
        let held_back = self.is_held_back() && !self.is_drained();
        let due = self.state == BatchState::Open || (self.state == BatchState::Closed && held_back);
        if !due || !idle || self.paused.is_some() {
            return false;
        }
        self.become_state(BatchState::ClosedByTimeout, now);
        self.reconsider(now);
        true
    }

    /// A pause that has lasted too long ends.
    pub fn time_out_pause(&mut self, now: i64) -> Option<PauseEnd> {
        self.paused.filter(|since| now - since > PAUSED)?;
        if self.state == BatchState::ClosedByTimeout {
            self.paused = None;
            self.updated_at = now;
            return Some(PauseEnd::Resumed);
        }
        self.become_state(BatchState::ClosedByTimeout, now);
        self.reconsider(now);
        Some(PauseEnd::TimedOut)
    }

    /// Withdraws stale chunks; a stale one that has a result was delivered after all.
    pub fn withdraw(&mut self, now: i64, sequence: u64) -> u64 {
        if !self.is_live() {
            return 0;
        }
        let mut withdrawn = 0;
        for chunk in self.chunks.values_mut() {
            if chunk.queued.is_some() || chunk.fate == Fate::Withdrawn || now - chunk.accepted_at <= ACCEPTED
            {
                continue;
            }
            if chunk.fate == Fate::Waiting {
                chunk.fate = Fate::Withdrawn;
                self.ids.remove(&chunk.id);
                withdrawn += 1;
            } else {
                chunk.queued = Some(sequence);
            }
        }
        withdrawn
    }

    pub fn release(&mut self, now: i64) -> bool {
        let due = !self.released && self.finished_at.is_some_and(|finished| now - finished > COOL_OFF);
        self.released |= due;
        due
    }
}

/// What an admission must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    Refused(Admission),
    Admitted { publish: Vec<usize> },
}

/// The text of an id.
pub fn name(id: usize) -> String {
    format!("c{id}")
}

/// The id of a text.
pub fn number(name: &str) -> usize {
    name[1..].parse().unwrap()
}
