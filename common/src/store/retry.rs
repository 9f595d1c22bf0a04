//! Transactions that another one was in the way of: a deadlock or a serialisation failure rolled them back, and they may simply be
//! run again.

use std::time::Duration;

use super::StoreError;
use crate::metrics::TRANSACTION_RETRIES;
use crate::startup::Backoff;

/// How often a transaction is run before its failure is told.
const ATTEMPTS: u32 = 5;

/// Runs a whole transaction, and again when another one was in its way, with short growing pauses. After the last attempt the
/// failure is [`StoreError::Unavailable`]: the caller may well succeed later. `operation` is a label of
/// [`TRANSACTION_RETRIES`].
pub(super) async fn retrying<T, F>(
    operation: &'static str,
    mut transaction: impl FnMut() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(160));
    for _ in 1..ATTEMPTS {
        match transaction().await {
            Err(StoreError::Contended(reason)) => {
                TRANSACTION_RETRIES.with(operation).add(1);
                tracing::debug!(operation, reason, "running a transaction again");
                tokio::time::sleep(backoff.next_wait()).await;
            }
            done => return done,
        }
    }
    transaction().await.map_err(|error| match error {
        StoreError::Contended(reason) => StoreError::Unavailable(reason),
        other => other,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::cell::Cell;

    use super::*;

    async fn with_failures(failures: u32, error: fn() -> StoreError) -> (Result<u32, StoreError>, u32) {
        let runs = Cell::new(0);
        let result = retrying("commit", || {
            runs.set(runs.get() + 1);
            let run = runs.get();
            async move { if run <= failures { Err(error()) } else { Ok(run) } }
        })
        .await;
        (result, runs.get())
    }

    #[tokio::test]
    async fn only_contention_is_tried_again_and_not_for_ever() {
        let contended = || StoreError::Contended("deadlock".to_owned());
        assert_eq!(with_failures(0, contended).await.0.unwrap(), 1);
        assert_eq!(with_failures(4, contended).await.0.unwrap(), 5);
        let (result, runs) = with_failures(u32::MAX, contended).await;
        assert!(matches!(result, Err(StoreError::Unavailable(_))) && runs == ATTEMPTS);
        let (result, runs) = with_failures(1, || StoreError::Unavailable("away".to_owned())).await;
        assert!(matches!(result, Err(StoreError::Unavailable(_))) && runs == 1);
    }
}
