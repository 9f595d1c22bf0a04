//! The real store between a simulated broker, simulated workers and simulated callers. Each operation is done on the store
//! and on the oracle, and both must say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use millrace_common::model::Transition;
use millrace_common::store::{
    Batch as Row, CreateBatchError, FailedWork, FinishedChunk, Outcome, WorkerSlot,
};
use uuid::Uuid;

use super::operations::{Content, End, MAX_ATTEMPTS, Op, Step, WORKERS};
use super::oracle::{Batch, failed_work, name, records_failed};
use super::pushes::SlowPush;
use super::redrives::Redrive;
use super::tenant::Tenant;
use super::terms::Terms;
use crate::store::fixture::finished;

/// What the store did and should not have done.
pub type Fault = String;

/// A chunk on its way: in a lane, or at a worker.
#[derive(Debug, Clone)]
pub struct Message {
    pub batch: usize,
    pub id: usize,
    pub number: i64,
    pub content: Content,
    pub redelivered: bool,
    /// Started too often: it becomes a failed chunk.
    pub given_up: bool,
}

pub struct World<'a> {
    pub(super) tenant: Tenant<'a>,
    pub(super) oracle: Vec<Batch>,
    pub(super) rows: Vec<Row>,
    /// By batch: the lane while it is leased, then what still comes from it.
    pub(super) lanes: Vec<Vec<Message>>,
    leases: BTreeSet<(i32, i64)>,
    pub(super) workers: [Vec<Message>; WORKERS],
    pub(super) slow: Vec<SlowPush>,
    pub(super) redrives: Vec<Redrive>,
    pub(super) now: i64,
    /// Counts what happened, in its order.
    sequence: u64,
    pub(super) groups: u64,
}

pub fn same<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Result<(), Fault> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: the store says {found:?}, expected {expected:?}"))
    }
}

pub fn slot(worker: usize) -> WorkerSlot {
    WorkerSlot::of(Uuid::from_u128(worker as u128))
}

pub fn chunk_of(row: &Row, message: &Message, outcome: Outcome, body: Vec<u8>) -> FinishedChunk {
    FinishedChunk {
        records: message.content.records(),
        records_failed: records_failed(message.content, outcome),
        charged_bytes: message.content.bytes(),
        output_bytes: message.content.output_bytes(),
        body,
        compute_ms: 1,
        failed: failed_in(message.content, outcome),
        ..finished(row, &name(message.id), message.number, outcome)
    }
}

/// What a worker keeps of what failed: its input is the content's number.
fn failed_in(content: Content, outcome: Outcome) -> Option<FailedWork> {
    let count = records_failed(content, outcome);
    let work = failed_work(content, outcome);
    let positions = (outcome == Outcome::Completed).then(|| (0..count).collect::<Vec<_>>());
    (outcome == Outcome::Failed || count > 0).then(|| FailedWork {
        positions,
        input: work.map(|work| vec![work.0].into()),
        bytes: work.map_or(0, Content::bytes),
    })
}

impl<'a> World<'a> {
    /// Carries out a list of operations, then brings everything to rest and settles accounts.
    pub async fn run(tenant: Tenant<'a>, operations: &[Op]) -> Result<(), Fault> {
        let mut world = World {
            tenant,
            oracle: Vec::new(),
            rows: Vec::new(),
            lanes: Vec::new(),
            leases: BTreeSet::new(),
            workers: Default::default(),
            slow: Vec::new(),
            redrives: Vec::new(),
            now: 0,
            sequence: 0,
            groups: 0,
        };
        let played = world.play(operations).await;
        // Whatever happened, nothing of this list meets the next one.
        let cleared = world.tenant.clear().await;
        played.and(cleared)
    }

    async fn play(&mut self, operations: &[Op]) -> Result<(), Fault> {
        for (at, op) in operations.iter().enumerate() {
            self.apply(op).await.map_err(|fault| format!("operation {at}, {op:?}: {fault}"))?;
        }
        self.come_to_rest().await.map_err(|fault| format!("on the way to rest: {fault}"))
    }

    async fn apply(&mut self, op: &Op) -> Result<(), Fault> {
        if let Op::Create { input, output, terms } = op {
            return self.create(*input, *output, *terms).await;
        }
        let batches = self.rows.len();
        if batches == 0 {
            return Ok(());
        }
        // Callers find nothing of a batch whose day is gone; what is still under way of it goes on.
        if let Some(batch) = op.of_caller().map(|batch| batch % batches)
            && self.oracle[batch].expired
        {
            return self.look(batch).await;
        }
        match op {
            Op::Create { .. } => Ok(()),
            Op::Push(pushes) => self.push(pushes).await,
            Op::Answer(pick) => self.answer(*pick).await,
            Op::Deliver { batch, worker, pick, count } => {
                self.deliver(batch % batches, *worker, *pick, *count).await
            }
            Op::Duplicate { batch, pick } => {
                let lane = &mut self.lanes[batch % batches];
                if let Some(message) = pick.checked_rem(lane.len()).map(|at| lane[at].clone()) {
                    lane.push(Message { redelivered: false, ..message });
                }
                Ok(())
            }
            Op::DeadLetter { batch, pick } => self.dead_letter(batch % batches, *pick).await,
            Op::Commit { worker, count, failed, end } => self.commit(*worker, *count, *failed, *end).await,
            Op::Crash(worker) => {
                self.give_back(*worker, usize::MAX);
                Ok(())
            }
            Op::Pull { batch, max, max_bytes } => {
                self.pull(batch % batches, *max, *max_bytes).await.map(drop)
            }
            Op::PullOne { batch, id } => self.pull_one(batch % batches, *id).await,
            Op::Redeliver(batch) => self.redeliver(batch % batches).await,
            Op::ReadAndAck { batch, count } => self.read_and_ack(batch % batches, *count).await,
            Op::Close(batch) => self.change(batch % batches, Transition::Close).await,
            Op::Cancel(batch) => self.change(batch % batches, Transition::Cancel).await,
            Op::Start(batch) => self.start(batch % batches).await,
            Op::SettleOne(batch) => self.settle_one(batch % batches).await,
            Op::Pass(hundreds) => self.pass(hundreds * 100).await,
            Op::Reap { step, twice } => self.reap(&[*step], *twice).await,
            Op::Round { twice } => {
                let steps = [Step::TimeOut, Step::EndPauses, Step::Withdraw, Step::Settle, Step::Release];
                self.reap(&steps, *twice).await?;
                self.free_lanes(false).await
            }
            Op::FreeLanes { broker_away } => self.free_lanes(*broker_away).await,
            Op::Pause { batch, paused } => self.pause(batch % batches, *paused).await,
            Op::Alter { batch, change, close } => self.alter(batch % batches, *change, *close).await,
            Op::Lose { batch, pick, all } => {
                self.lose(batch % batches, *pick, *all);
                Ok(())
            }
            Op::EndLost => self.end_lost().await,
            Op::Redrive { source, kinds, close, input, output } => {
                self.redrive(source % batches, *kinds, *close, *input, *output).await
            }
            Op::Forget(batch) => self.forget(batch % batches).await,
            Op::Portion { most, way, twice } => self.portion(*most, *way, *twice).await,
        }
    }

    /// Bytes that the tenant has not reserved.
    fn free(&self) -> i64 {
        let held = self.oracle.iter().filter(|batch| !batch.released);
        Tenant::CAPACITY - held.map(|batch| batch.input_allocated + batch.output_allocated).sum::<i64>()
    }

    /// Whether a batch with buffers of this size, together, can be created.
    pub(super) fn fits(&self, size: i64) -> bool {
        self.free() * 10 >= size * 11
    }

    async fn create(&mut self, input: i64, output: i64, terms: Terms) -> Result<(), Fault> {
        let (input_allocated, output_allocated) = (Tenant::clamp(input), Tenant::clamp(output));
        let fits = self.fits(input_allocated + output_allocated);
        match self.tenant.create(input, output, terms).await {
            Ok(created) => {
                same("a creation was accepted", &true, &fits)?;
                self.enter(created.batch, input_allocated, output_allocated, terms)?;
                self.look(self.rows.len() - 1).await
            }
            Err(CreateBatchError::TenantExhausted { free, .. }) => {
                same("a creation was refused", &true, &!fits)?;
                same("free bytes of the tenant", &free, &self.free().max(0))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// A batch that was created.
    pub(super) fn enter(&mut self, row: Row, input: i64, output: i64, terms: Terms) -> Result<(), Fault> {
        let lease = row.lane_id.zip(row.lane_epoch).ok_or("no lane")?;
        if self.oracle.iter().any(|batch| batch.lane == row.lane_id) || !self.leases.insert(lease) {
            return Err(format!("the lease {lease:?} is somebody's already"));
        }
        self.oracle.push(Batch {
            state: row.state,
            input_allocated: input,
            output_allocated: output,
            terms,
            stopped: false,
            paused: None,
            empty_since: None,
            chunks: BTreeMap::new(),
            ids: BTreeMap::new(),
            updated_at: self.now,
            touched_at: self.now,
            started: false,
            finished_at: None,
            released: false,
            dropped: false,
            lane: row.lane_id,
            expired: false,
            removed: false,
        });
        self.lanes.push(Vec::new());
        self.rows.push(row);
        Ok(())
    }

    /// The next number in the order in which things happen.
    pub(super) fn tick(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(super) async fn deliver(
        &mut self,
        batch: usize,
        worker: usize,
        pick: usize,
        count: usize,
    ) -> Result<(), Fault> {
        for _ in 0..count {
            let Some(at) = pick.checked_rem(self.lanes[batch].len()) else { break };
            let mut message = self.lanes[batch].remove(at);
            if message.redelivered {
                let row = &self.rows[message.batch];
                let (id, no) = (name(message.id), message.number);
                let store = self.tenant.store();
                let found = store.claim_attempt(slot(worker), row.day, row.id, &id, no).await;
                let expected = self.oracle[message.batch].start_again(no);
                same(
                    "the start of a redelivered chunk",
                    &found.map_err(|error| error.to_string())?,
                    &expected,
                )?;
                self.look(message.batch).await?;
                match expected {
                    // It needs no start: acknowledged.
                    None => continue,
                    Some(attempts) => message.given_up = attempts > MAX_ATTEMPTS,
                }
            }
            self.workers[worker].push(message);
        }
        Ok(())
    }

    async fn dead_letter(&mut self, batch: usize, pick: usize) -> Result<(), Fault> {
        let Some(at) = pick.checked_rem(self.lanes[batch].len()) else { return Ok(()) };
        let message = self.lanes[batch].remove(at);
        if !self.oracle[batch].is_live() {
            return Ok(());
        }
        let row = &self.rows[batch];
        let attempts = self.tenant.store().attempts(row.day, row.id, &name(message.id), message.number).await;
        let expected = self.oracle[batch].attempts(message.number);
        same("the attempts of a dead letter", &attempts.map_err(|error| error.to_string())?, &expected)?;
        match expected {
            None => Ok(()),
            Some(attempts) if attempts >= MAX_ATTEMPTS => {
                self.workers[0].insert(0, Message { given_up: true, ..message });
                self.commit(0, 1, 0, End::Acked).await
            }
            Some(_) => {
                self.lanes[batch].push(Message { redelivered: false, ..message });
                Ok(())
            }
        }
    }

    pub(super) async fn commit(
        &mut self,
        worker: usize,
        count: usize,
        failed: u8,
        end: End,
    ) -> Result<(), Fault> {
        let count = count.min(self.workers[worker].len());
        if count == 0 {
            return Ok(());
        }
        let concerned: Vec<usize> =
            self.workers[worker][..count].iter().map(|message| message.batch).collect();
        if end != End::CrashBefore {
            let tries = if end == End::Repeated { 2 } else { 1 };
            for _ in 0..tries {
                self.store_group(worker, count, failed).await?;
            }
        }
        match end {
            End::Acked | End::Repeated => drop(self.workers[worker].drain(..count)),
            End::AckLost => self.give_back(worker, count),
            End::CrashAfter | End::CrashBefore => self.give_back(worker, usize::MAX),
        }
        self.look_at(concerned.into_iter()).await
    }

    async fn store_group(&mut self, worker: usize, count: usize, failed: u8) -> Result<(), Fault> {
        self.groups += 1;
        let group = self.groups;
        let mut chunks = Vec::new();
        for (at, message) in self.workers[worker][..count].iter().enumerate() {
            let fails = message.given_up || failed >> (at % 8) & 1 == 1;
            let outcome = if fails { Outcome::Failed } else { Outcome::Completed };
            let body = format!("{} of group {group}, place {at}", message.number).into_bytes();
            self.oracle[message.batch].commit(message.number, outcome, &body, group);
            chunks.push(chunk_of(&self.rows[message.batch], message, outcome, body));
        }
        let committed = self.tenant.store().commit(slot(worker), &chunks).await;
        let committed = committed.map_err(|error| error.to_string())?;
        let held = self.workers[worker][..count].iter().map(|message| message.batch);
        let there = held.filter(|batch| !self.oracle[*batch].removed);
        let concerned: BTreeSet<Uuid> = there.map(|batch| self.rows[batch].id).collect();
        same("batches of a commit", &committed.iter().map(|one| one.batch_id).collect(), &concerned)?;
        for one in committed {
            let Some(at) = self.rows.iter().position(|row| row.id == one.batch_id) else { continue };
            let batch = &self.oracle[at];
            same("the state after a commit", &one.state, &batch.state)?;
            let (progress, sums) = (one.progress, batch.sums());
            let follows = (batch.has_consequence(), batch.is_held_back());
            same("what follows from a commit", &(one.has_consequence(), one.is_held_back()), &follows)?;
            same(
                "the sums after a commit",
                &(progress.chunks_submitted, progress.chunks_finished(), progress.output_used),
                &(sums.chunks_submitted, sums.chunks_completed + sums.chunks_failed, sums.output_bytes),
            )?;
        }
        Ok(())
    }

    /// What a worker holds goes back to the lanes.
    pub(super) fn give_back(&mut self, worker: usize, count: usize) {
        let count = count.min(self.workers[worker].len());
        for message in self.workers[worker].drain(..count) {
            self.lanes[message.batch].insert(0, Message { redelivered: true, ..message });
        }
    }
}
