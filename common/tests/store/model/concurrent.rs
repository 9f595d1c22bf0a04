//! The same promises when everybody acts at once: pushers, workers, pullers, reapers and an owner race on one batch. Nobody can
//! say which outcome is right at which moment, but some things must be true in every read, and the accounts must balance at
//! the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_common::model::{BatchState, Transition};
use millrace_common::store::{Admission, Batch as Row, Claim, Outcome, Store, TermsChange};
use proptest::test_runner::RngSeed;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::operations::{Content, MAX_ATTEMPTS};
use super::oracle::{name, number};
use super::pushes::{pushed, queued};
use super::tenant::{Place, Tenant};
use super::terms::Terms;
use super::world::{Fault, Message, chunk_of, same, slot};

/// Rounds in the suite.
const ROUNDS: u32 = 120;
/// What each task does in a round.
const STEPS: usize = 14;
const IDS: usize = 24;

struct Race<'a> {
    tenant: &'a Tenant<'a>,
    row: Row,
    lane: Mutex<Vec<Message>>,
    /// Ids whose push was answered with success.
    answered: Mutex<BTreeSet<usize>>,
    /// Results by id, and how often they came.
    pulled: Mutex<BTreeMap<String, usize>>,
    /// The answer to a cancel is out.
    cancelled: AtomicBool,
    /// The state may be an ending one from now on.
    ending: AtomicBool,
}

fn content(id: usize) -> Content {
    Content(u8::try_from(id % 4).unwrap())
}

fn fault(error: &dyn std::fmt::Display) -> Fault {
    error.to_string()
}

impl Race<'_> {
    fn store(&self) -> &Store {
        self.tenant.store()
    }

    async fn push(&self, random: &mut StdRng) -> Result<(), Fault> {
        for _ in 0..STEPS {
            let ids: BTreeSet<usize> =
                (0..random.random_range(1..4)).map(|_| random.random_range(0..IDS)).collect();
            let chunks: Vec<_> = ids.iter().map(|id| (*id, content(*id))).collect();
            let answer =
                self.store().admit(&[pushed(&self.row, &chunks)]).await.map_err(|e| fault(&e))?.remove(0);
            let published: Vec<(usize, i64)> = match answer {
                Admission::Admitted { publish, .. } => {
                    publish.iter().map(|(id, no)| (number(id), *no)).collect()
                }
                Admission::InputFull { .. } | Admission::NotOpen(_) => continue,
                other => return Err(format!("a push: {other:?}")),
            };
            let way = random.random_range(0..8);
            if way == 0 {
                continue;
            }
            self.lane.lock().unwrap().extend(published.iter().map(|(id, number)| Message {
                batch: 0,
                id: *id,
                number: *number,
                content: content(*id),
                redelivered: false,
                given_up: false,
            }));
            if way == 1 {
                continue;
            }
            let mark = [queued(&self.row, &published)];
            let gone = self.store().mark_queued(&mark).await.map_err(|e| fault(&e))?.remove(0).withdrawn;
            if gone.is_empty() {
                self.answered.lock().unwrap().extend(ids);
            }
        }
        Ok(())
    }

    /// Takes what is in the lane, commits it, and acknowledges or gives back.
    async fn work(&self, worker: usize, random: &mut StdRng) -> Result<(), Fault> {
        for _ in 0..STEPS * 2 {
            self.work_once(worker, random.random_range(1..5), random.random_range(0..8)).await?;
        }
        Ok(())
    }

    async fn work_once(&self, worker: usize, most: usize, end: u8) -> Result<usize, Fault> {
        let mut held = {
            let mut lane = self.lane.lock().unwrap();
            let count = most.min(lane.len());
            lane.drain(..count).collect::<Vec<_>>()
        };
        let taken = held.len();
        let mut started = Vec::new();
        for mut message in held.drain(..) {
            if message.redelivered {
                let (row, no) = (&self.row, message.number);
                let attempts =
                    self.store().claim_attempt(slot(worker), row.day, row.id, &name(message.id), no).await;
                let Some(attempts) = attempts.map_err(|e| fault(&e))? else { continue };
                message.given_up = attempts > MAX_ATTEMPTS;
            }
            started.push(message);
        }
        let group: Vec<_> = started
            .iter()
            .map(|message| {
                let outcome = if message.given_up { Outcome::Failed } else { Outcome::Completed };
                chunk_of(&self.row, message, outcome, message.number.to_string().into_bytes())
            })
            .collect();
        if !group.is_empty() && end != 0 {
            self.store().commit(slot(worker), &group).await.map_err(|e| fault(&e))?;
        }
        // Neither a crash before the commit nor a lost acknowledgement loses a message.
        if end <= 1 {
            let again = started.into_iter().map(|message| Message { redelivered: true, ..message });
            self.lane.lock().unwrap().extend(again);
        }
        Ok(taken)
    }

    async fn pull(&self, random: &mut StdRng) -> Result<(), Fault> {
        for _ in 0..STEPS {
            self.pull_once(random.random_range(1..6)).await?;
        }
        Ok(())
    }

    async fn pull_once(&self, max: i64) -> Result<usize, Fault> {
        let after_cancel = self.cancelled.load(Ordering::SeqCst);
        let claim =
            self.store().claim_results(self.row.id, self.row.day, max, 2_000).await.map(|(claim, _)| claim);
        match claim.map_err(|e| fault(&e))? {
            Claim::Results(results) if after_cancel => {
                Err(format!("{} results after a cancel", results.len()))
            }
            Claim::Results(results) => {
                let mut pulled = self.pulled.lock().unwrap();
                for result in &results {
                    *pulled.entry(result.chunk_id.clone()).or_default() += 1;
                }
                Ok(results.len())
            }
            Claim::Cancelled if self.ending.load(Ordering::SeqCst) => Ok(0),
            other => Err(format!("a pull: {other:?}")),
        }
    }

    async fn reap(&self, random: &mut StdRng) -> Result<(), Fault> {
        for _ in 0..STEPS / 2 {
            // Whatever is accepted and not confirmed at this moment is stale.
            self.tenant.age_touches(self.row.id).await?;
            self.store().withdraw_accepted(0.0).await.map_err(|e| fault(&e))?;
            self.store().settle_batches().await.map_err(|e| fault(&e))?;
            self.store().release_reservations(0.0).await.map_err(|e| fault(&e))?;
            if random.random_ratio(1, 12) {
                self.ending.store(true, Ordering::SeqCst);
                self.store().time_out_batches(3.0).await.map_err(|e| fault(&e))?;
                self.store().time_out_pauses(0.0).await.map_err(|e| fault(&e))?;
            }
        }
        Ok(())
    }

    async fn own(&self, random: &mut StdRng) -> Result<(), Fault> {
        for _ in 0..random.random_range(1..STEPS) {
            self.look().await?;
            if random.random_ratio(1, 3) {
                let terms = TermsChange { paused: Some(random.random_ratio(1, 2)), ..TermsChange::default() };
                let paused =
                    self.store().alter_batch(self.row.id, &terms, None).await.map_err(|e| fault(&e))?;
                if let Err(refused) = paused
                    && !self.ending.load(Ordering::SeqCst)
                {
                    return Err(format!("a pause: {refused}"));
                }
            }
        }
        let event = if random.random_ratio(1, 3) { Transition::Cancel } else { Transition::Close };
        if random.random_ratio(1, 4) {
            return Ok(());
        }
        self.ending.store(true, Ordering::SeqCst);
        let changed = self.store().change_batch(self.row.id, event).await.map_err(|e| fault(&e))?;
        same("a change was refused", &changed.is_err(), &false)?;
        let state = self.look().await?;
        self.cancelled.store(state == BatchState::Cancelled, Ordering::SeqCst);
        Ok(())
    }

    /// What must be true in every read. Gives the state.
    async fn look(&self) -> Result<BatchState, Fault> {
        let view = self.tenant.view(self.row.id).await?;
        let counters = &view.counters;
        let finished = counters.chunks_completed + counters.chunks_failed;
        let (free, rest) =
            (view.batch.input_allocated - counters.input_bytes, counters.chunks_submitted - finished);
        if counters.input_bytes < 0 || counters.output_bytes < 0 || free < 0 || rest < 0 {
            return Err(format!("counters: {counters:?}"));
        }
        same(
            "the sum of the parts",
            &(finished + view.waiting() + view.running()),
            &counters.chunks_submitted,
        )?;
        same("more was pulled than finished", &(counters.chunks_pulled > finished), &false)?;
        same(
            "more was queued than submitted",
            &(counters.chunks_queued > counters.chunks_submitted),
            &false,
        )?;
        Ok(view.batch.state)
    }

    async fn watch(&self) -> Result<(), Fault> {
        let mut before = self.look().await?;
        for _ in 0..STEPS * 2 {
            let now = self.look().await?;
            // A closed one is timed out when it was paused too long.
            let is_allowed = now == before
                || before == BatchState::Open
                || (before == BatchState::Closed && now == BatchState::ClosedByTimeout)
                || (matches!(before, BatchState::Closed | BatchState::ClosedByTimeout) && now.is_terminal());
            if !is_allowed {
                return Err(format!("{before} became {now}"));
            }
            before = now;
        }
        Ok(())
    }

    /// Everything arrives and is pulled; then the accounts must balance.
    async fn settle(&self) -> Result<(), Fault> {
        while self.work_once(0, 100, 7).await? > 0 {}
        self.tenant.age_touches(self.row.id).await?;
        self.store().withdraw_accepted(0.0).await.map_err(|e| fault(&e))?;
        if self.look().await? != BatchState::Cancelled {
            self.store()
                .change_batch(self.row.id, Transition::Close)
                .await
                .map_err(|e| fault(&e))?
                .map_err(|e| fault(&e))?;
        }
        self.ending.store(true, Ordering::SeqCst);
        self.store().settle_batches().await.map_err(|e| fault(&e))?;
        let state = self.look().await?;
        same("the batch has ended", &state.is_terminal(), &true)?;
        while self.pull_once(50).await? > 0 {}

        let pulled = self.pulled.lock().unwrap().clone();
        if let Some((id, times)) = pulled.iter().find(|(_, times)| **times != 1) {
            return Err(format!("chunk {id} was pulled {times} times"));
        }
        let answered = self.answered.lock().unwrap().clone();
        let lost = answered.into_iter().find(|id| !pulled.contains_key(&name(*id)));
        if let (Some(id), false) = (lost, state == BatchState::Cancelled) {
            return Err(format!("chunk {id} was taken and is lost"));
        }
        let view = self.tenant.view(self.row.id).await?;
        let counters = &view.counters;
        same("budgets at rest", &(counters.input_bytes, counters.output_bytes), &(0, 0))?;
        let found = (
            (counters.chunks_submitted, counters.records_submitted, counters.chunks_queued),
            (counters.chunks_completed, counters.chunks_failed, counters.records_completed),
            (counters.chunks_pulled, counters.output_total),
        );
        same("the counters", &found, &self.tenant.rows(self.row.id).await?)
    }
}

async fn round(place: &Place, seed: u64) -> Result<(), Fault> {
    let mut tenant = place.tenant().await;
    let row =
        tenant.create(6_000, 4_000, Terms::tolerant(100, None, false)).await.map_err(|e| fault(&e))?.batch;
    let race = Race {
        tenant: &tenant,
        row,
        lane: Mutex::default(),
        answered: Mutex::default(),
        pulled: Mutex::default(),
        cancelled: AtomicBool::new(false),
        ending: AtomicBool::new(false),
    };
    let random = |task: u64| StdRng::seed_from_u64(seed.wrapping_mul(16).wrapping_add(task));
    let mut randoms: Vec<StdRng> = (0..8).map(random).collect();
    let [one, two, three, four, five, six, seven, eight] = randoms.as_mut_slice() else { unreachable!() };
    // The database serves them at the same time, each on a connection of its own.
    tokio::try_join!(
        race.push(one),
        race.push(two),
        race.work(0, three),
        race.work(1, four),
        race.pull(five),
        race.pull(six),
        async { tokio::try_join!(race.reap(seven), race.watch()).map(drop) },
        race.own(eight),
    )?;
    race.settle().await?;
    tenant.clear().await
}

#[test]
fn tasks_that_race_keep_the_promises() {
    let config = super::config(ROUNDS);
    let RngSeed::Fixed(seed) = config.rng_seed else { panic!("a seed") };
    let runtime = super::runtime();
    let place = runtime.block_on(Place::new());
    for number in 0..config.cases {
        let seed = seed.wrapping_add(number.into());
        if let Err(fault) = runtime.block_on(round(&place, seed)) {
            panic!("round {number}, PROPTEST_RNG_SEED={seed} (one of many interleavings): {fault}");
        }
    }
}
