//! Collecting concurrent calls into one transaction.

use std::sync::Arc;

use millrace_common::store::StoreError;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

/// Calls that wait for the task; further callers wait before that.
const WAITING: usize = 1_024;

/// What a group does with its calls.
pub(super) trait Work: Send + Sync + 'static {
    /// One call.
    type Item: Send + Sync + 'static;
    /// Its answer.
    type Answer: Send + 'static;

    /// How much of [`Work::LIMIT`] a call takes.
    fn weight(item: &Self::Item) -> usize;

    /// A group is full when its weights reach this.
    const LIMIT: usize;

    /// Does the work of a whole group at once; the answers come in the order of the calls.
    fn run(&self, items: &[Self::Item])
    -> impl Future<Output = Result<Vec<Self::Answer>, StoreError>> + Send;
}

type Outcome<A> = Result<A, Arc<StoreError>>;
type Call<W> = (<W as Work>::Item, oneshot::Sender<Outcome<<W as Work>::Answer>>);

/// A task that takes what has gathered while it was busy, and does it at once.
///
/// A call that was taken is carried out even when its caller stops waiting.
pub(super) struct Group<W: Work> {
    calls: mpsc::Sender<Call<W>>,
}

impl<W: Work> Clone for Group<W> {
    fn clone(&self) -> Self {
        Self { calls: self.calls.clone() }
    }
}

impl<W: Work> std::fmt::Debug for Group<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("waiting", &(WAITING - self.calls.capacity())).finish()
    }
}

impl<W: Work> Group<W> {
    /// Starts the task; to be called within a runtime. It ends when the last clone is dropped.
    pub(super) fn start(work: W) -> Self {
        let (calls, waiting) = mpsc::channel(WAITING);
        tokio::spawn(serve(work, waiting));
        Self { calls }
    }

    /// Has one item done in the next group.
    pub(super) async fn call(&self, item: W::Item) -> Outcome<W::Answer> {
        let (answer, outcome) = oneshot::channel();
        let gone = || Arc::new(StoreError::Unavailable("the process is shutting down".to_owned()));
        self.calls.send((item, answer)).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}

async fn serve<W: Work>(work: W, mut waiting: mpsc::Receiver<Call<W>>) {
    while let Some(first) = waiting.recv().await {
        let mut weight = W::weight(&first.0);
        let (mut items, mut answers) = (vec![first.0], vec![first.1]);
        while weight < W::LIMIT {
            let Ok((item, answer)) = waiting.try_recv() else { break };
            weight += W::weight(&item);
            items.push(item);
            answers.push(answer);
        }
        match run(&work, &items).await {
            Ok(done) => {
                for (answer, done) in answers.into_iter().zip(done) {
                    // A caller that has gone away needs no answer.
                    let _ = answer.send(Ok(done));
                }
            }
            // Trouble that concerns one call only must not concern its neighbours.
            Err(error)
                if items.len() > 1
                    && !matches!(error, StoreError::Unavailable(_) | StoreError::Contended(_)) =>
            {
                warn!(%error, calls = items.len(), "a group failed; its calls are done one by one");
                for (answer, item) in answers.into_iter().zip(&items) {
                    let done = run(&work, std::slice::from_ref(item)).await;
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
    }
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

    /// Doubles numbers; notes the groups; fails where a group contains 13.
    struct Doubler {
        groups: Arc<Mutex<Vec<usize>>>,
        failure: fn() -> StoreError,
    }

    impl Work for Doubler {
        type Item = u32;
        type Answer = u32;
        const LIMIT: usize = 10;

        fn weight(_: &u32) -> usize {
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
        let answers = join_all(items.map(|item| group.call(item))).await;
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
}
