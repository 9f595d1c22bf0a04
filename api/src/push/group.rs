//! Collecting concurrent calls into one transaction.
//!
//! One transaction for the calls of owners that ask for much is under way at a time, and beside it a few for those of owners that
//! ask for little, which therefore wait neither in the transaction of an owner that floods nor behind it, and seldom behind
//! each other. Where that is not enough, since they share the machine, the former rest: see [`Pace`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_common::metrics::ADMISSION_REST_SECONDS;
use millrace_common::model::{Charge, Class, FairQueue};
use millrace_common::store::StoreError;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;
use uuid::Uuid;

use super::pace::Pace;

/// What a group does with its calls.
pub(super) trait Work: Send + Sync + 'static {
    /// One call.
    type Item: Send + Sync + 'static;
    /// Its answer.
    type Answer: Send + 'static;

    /// How much of [`Work::LIMIT`] and [`Work::LIGHT`] a call takes.
    fn weight(item: &Self::Item) -> u64;

    /// A group is full when its weights reach this.
    const LIMIT: u64;

    /// An owner asks for little while the weights of all its calls, waiting and under way, reach no more than this.
    const LIGHT: u64;

    /// The limit of groups of owners that ask for much while those that ask for little suffer; the former rest after each such group.
    /// `None`: they never rest.
    const RESTING: Option<u64>;

    /// Does the work of a whole group at once; the answers come in the order of the calls.
    fn run(&self, items: &[Self::Item])
    -> impl Future<Output = Result<Vec<Self::Answer>, StoreError>> + Send;
}

/// Transactions at once for owners that ask for little: while one waits for its flush, others come.
const LIGHT_TASKS: usize = 3;

type Outcome<A> = Result<A, Arc<StoreError>>;

/// A call that waits.
struct Call<W: Work> {
    item: W::Item,
    answer: oneshot::Sender<Outcome<W::Answer>>,
}

/// What callers and the tasks share.
struct Shared<W: Work> {
    /// As many as there are requests under way, whose number the server bounds.
    calls: Mutex<FairQueue<Uuid, Call<W>>>,
    light: Notify,
    heavy: Notify,
    pace: Mutex<Pace>,
}

impl<W: Work> Shared<W> {
    /// How long owners that ask for much rest now, if they do.
    fn rest(&self) -> Option<Duration> {
        W::RESTING.map(|_| self.pace.lock().rest(Instant::now())).filter(|rest| !rest.is_zero())
    }

    /// What the next group of this class may weigh.
    fn limit(&self, class: Class) -> u64 {
        match (class, W::RESTING) {
            (Class::Heavy, Some(resting)) if self.rest().is_some() => resting,
            (Class::Heavy | Class::Light, _) => W::LIMIT,
        }
    }

    /// Gives the charges of a group back.
    fn ended(&self, charges: Vec<Charge<Uuid>>) {
        let mut calls = self.calls.lock();
        for charge in charges {
            calls.ended(charge);
        }
        drop(calls);
        self.wake();
    }

    /// Has the tasks look: a call may make its owner a heavy one, or leave it a light one.
    fn wake(&self) {
        self.light.notify_one();
        self.heavy.notify_one();
    }

    const fn woken(&self, class: Class) -> &Notify {
        match class {
            Class::Light => &self.light,
            Class::Heavy => &self.heavy,
        }
    }
}

/// Tasks that take what has gathered while they were busy, and do it at once.
///
/// A call that was taken is carried out even when its caller stops waiting.
pub(super) struct Group<W: Work> {
    shared: Arc<Shared<W>>,
    /// Ends the tasks when the last clone is dropped.
    _end: Arc<DropGuard>,
}

impl<W: Work> Clone for Group<W> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), _end: Arc::clone(&self._end) }
    }
}

impl<W: Work> std::fmt::Debug for Group<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("waiting", &self.shared.calls.lock().len()).finish()
    }
}

impl<W: Work> Group<W> {
    /// Starts the tasks; to be called within a runtime. They end when the last clone is dropped.
    pub(super) fn start(work: W) -> Self {
        let work = Arc::new(work);
        let end = CancellationToken::new();
        let shared = Arc::new(Shared {
            calls: Mutex::new(FairQueue::new(W::LIGHT)),
            light: Notify::new(),
            heavy: Notify::new(),
            pace: Mutex::default(),
        });
        for class in [Class::Light; LIGHT_TASKS].into_iter().chain([Class::Heavy]) {
            tokio::spawn(serve(Arc::clone(&work), Arc::clone(&shared), class, end.clone()));
        }
        Self { shared, _end: Arc::new(end.drop_guard()) }
    }

    /// Has one item of an owner done in one of the next groups.
    pub(super) async fn call(&self, owner_id: Uuid, item: W::Item) -> Outcome<W::Answer> {
        let (answer, outcome) = oneshot::channel();
        let gone = || Arc::new(StoreError::Unavailable("the process is shutting down".to_owned()));
        let weight = W::weight(&item);
        self.shared.calls.lock().push(owner_id, weight, Call { item, answer });
        self.shared.wake();
        outcome.await.map_err(|_| gone())?
    }
}

/// Does the calls of owners of this class, group after group.
async fn serve<W: Work>(work: Arc<W>, shared: Arc<Shared<W>>, class: Class, end: CancellationToken) {
    loop {
        let limit = shared.limit(class);
        let group = shared.calls.lock().take(class, limit);
        if !group.is_empty() {
            let began = Instant::now();
            let charges = carry_out(&*work, group).await;
            shared.ended(charges);
            match class {
                Class::Light => shared.pace.lock().light(began.elapsed(), Instant::now()),
                Class::Heavy => rest(&shared, &end).await,
            }
            continue;
        }
        tokio::select! {
            () = shared.woken(class).notified() => {}
            () = end.cancelled() => return,
        }
    }
}

/// Leaves the machine to owners that ask for little, while these need it.
async fn rest<W: Work>(shared: &Shared<W>, end: &CancellationToken) {
    let Some(rest) = shared.rest() else { return };
    ADMISSION_REST_SECONDS.record(rest.as_secs_f64());
    tokio::select! {
        () = tokio::time::sleep(rest) => {}
        () = end.cancelled() => {}
    }
}

/// Does the work of a group and answers its calls.
async fn carry_out<W: Work>(work: &W, group: Vec<(Charge<Uuid>, Call<W>)>) -> Vec<Charge<Uuid>> {
    let (mut charges, mut items, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for (charge, Call { item, answer }) in group {
        charges.push(charge);
        items.push(item);
        answers.push(answer);
    }
    match run(work, &items).await {
        Ok(done) => {
            for (answer, done) in answers.into_iter().zip(done) {
                // A caller that has gone away needs no answer.
                let _ = answer.send(Ok(done));
            }
        }
        // Trouble that concerns one call only must not concern its neighbours.
        Err(error)
            if items.len() > 1 && !matches!(error, StoreError::Unavailable(_) | StoreError::Contended(_)) =>
        {
            warn!(%error, calls = items.len(), "a group failed; its calls are done one by one");
            for (answer, item) in answers.into_iter().zip(&items) {
                let done = run(work, std::slice::from_ref(item)).await;
                let done = done.and_then(|mut done| done.pop().ok_or_else(|| miscounted(1, 0)));
                let _ = answer.send(done.map_err(Arc::new));
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for answer in answers {
                let _ = answer.send(Err(Arc::clone(&error)));
            }
        }
    }
    charges
}

/// Does the work and checks that every call has its answer.
async fn run<W: Work>(work: &W, items: &[W::Item]) -> Result<Vec<W::Answer>, StoreError> {
    let done = work.run(items).await?;
    if done.len() == items.len() { Ok(done) } else { Err(miscounted(items.len(), done.len())) }
}

fn miscounted(calls: usize, answers: usize) -> StoreError {
    StoreError::Corrupt(format!("{answers} answers to {calls} calls"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use futures_util::future::join_all;
    use parking_lot::Mutex;

    use super::*;

    const ONE: Uuid = Uuid::from_u128(1);

    /// Doubles numbers; notes the groups; fails where a group contains 13.
    struct Doubler {
        groups: Arc<Mutex<Vec<usize>>>,
        failure: fn() -> StoreError,
    }

    impl Work for Doubler {
        type Item = u32;
        type Answer = u32;
        const LIMIT: u64 = 10;
        const LIGHT: u64 = 3;
        const RESTING: Option<u64> = None;

        fn weight(_: &u32) -> u64 {
            1
        }

        async fn run(&self, items: &[u32]) -> Result<Vec<u32>, StoreError> {
            self.groups.lock().push(items.len());
            tokio::task::yield_now().await;
            if items.contains(&13) {
                Err((self.failure)())
            } else {
                Ok(items.iter().map(|item| item * 2).collect())
            }
        }
    }

    async fn all(
        failure: fn() -> StoreError,
        items: std::ops::Range<u32>,
    ) -> (Vec<Outcome<u32>>, Vec<usize>) {
        let groups = Arc::new(Mutex::new(Vec::new()));
        let group = Group::start(Doubler { groups: Arc::clone(&groups), failure });
        let answers = join_all(items.map(|item| group.call(ONE, item))).await;
        let groups = groups.lock().clone();
        (answers, groups)
    }

    #[tokio::test]
    async fn concurrent_calls_share_groups_up_to_the_limit() {
        let (answers, groups) = all(|| StoreError::NotFound("x"), 20..50).await;
        let answers: Vec<u32> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, (20..50).map(|item| item * 2).collect::<Vec<_>>());
        assert_eq!(groups, [10, 10, 10]);
    }

    #[tokio::test]
    async fn a_poisonous_call_fails_alone() {
        let (answers, _) = all(|| StoreError::Database("bad value".to_owned()), 10..20).await;
        for (item, answer) in (10..20).zip(answers) {
            assert_eq!(answer.is_err(), item == 13, "{item}");
        }
    }

    #[tokio::test]
    async fn an_outage_fails_the_group_at_once() {
        let (answers, groups) = all(|| StoreError::Unavailable("down".to_owned()), 10..20).await;
        assert!(
            answers
                .iter()
                .all(|answer| matches!(answer, Err(error) if matches!(**error, StoreError::Unavailable(_))))
        );
        assert_eq!(groups, [10]);
    }

    /// Notes what it was given, and does calls from 100 on only when it is told to.
    struct Gated {
        done: Arc<Mutex<Vec<u32>>>,
        gate: Arc<Notify>,
    }

    impl Work for Gated {
        type Item = u32;
        type Answer = u32;
        const LIMIT: u64 = 10;
        const LIGHT: u64 = 3;
        const RESTING: Option<u64> = None;

        fn weight(_: &u32) -> u64 {
            1
        }

        async fn run(&self, items: &[u32]) -> Result<Vec<u32>, StoreError> {
            if items.iter().any(|item| *item >= 100) {
                self.gate.notified().await;
            }
            self.done.lock().extend(items);
            Ok(items.to_vec())
        }
    }

    #[tokio::test]
    async fn an_owner_that_asks_for_little_waits_for_no_group_of_one_that_asks_for_much() {
        let (done, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let group = Group::start(Gated { done: Arc::clone(&done), gate: Arc::clone(&gate) });
        let much = join_all((100..130).map(|item| group.call(ONE, item)));
        let mut much = std::pin::pin!(much);
        // The flood is under way and cannot end.
        assert!(futures_util::poll!(&mut much).is_pending());
        for item in 0..5 {
            assert_eq!(group.call(Uuid::from_u128(2), item).await.unwrap(), item);
        }
        assert_eq!(*done.lock(), [0, 1, 2, 3, 4]);
        let open = async {
            loop {
                gate.notify_one();
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            answers = much => assert_eq!(answers.len(), 30),
            () = open => {}
        }
        assert_eq!(done.lock().len(), 35);
    }

    #[tokio::test]
    async fn owners_that_ask_for_little_do_not_wait_for_each_other() {
        let (done, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let group = Group::start(Gated { done: Arc::clone(&done), gate: Arc::clone(&gate) });
        let mut slow = std::pin::pin!(group.call(ONE, 100));
        assert!(futures_util::poll!(&mut slow).is_pending());
        // It is under way and cannot end.
        tokio::task::yield_now().await;
        assert_eq!(group.call(Uuid::from_u128(2), 1).await.unwrap(), 1);
        assert_eq!(*done.lock(), [1]);
        gate.notify_one();
        assert_eq!(slow.await.unwrap(), 100);
    }
}
