//! Connections of the data plane, and the deadline of what is done on them.
//!
//! The database ends a statement that takes too long. That does not help when the database itself is frozen, or the link to it
//! is dead without a word: then the wait ends here, and the connection is not used again.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use deadpool_postgres::{ClientWrapper, Object};
use tokio_postgres::Statement;

use super::{Store, StoreError, no_answer};
use crate::failpoint;
use crate::metrics::POOL_WAIT_SECONDS;

/// A connection of the data plane, taken from the pool.
pub(super) struct DataClient {
    /// `None` only while it is dropped.
    object: Option<Object>,
    deadline: Duration,
    /// An answer did not come: the connection does not go back to the pool.
    abandoned: AtomicBool,
}

impl Store {
    /// Takes a connection, waiting for one at most `database.acquire_timeout_ms`.
    pub(super) async fn data_client(&self) -> Result<DataClient, StoreError> {
        let began = Instant::now();
        let object = Some(self.data.get().await?);
        POOL_WAIT_SECONDS.with("data").record(began.elapsed().as_secs_f64());
        Ok(DataClient { object, deadline: self.deadline, abandoned: AtomicBool::new(false) })
    }
}

impl Deref for DataClient {
    type Target = Object;

    #[expect(clippy::expect_used, reason = "it is taken out in `drop` alone")]
    fn deref(&self) -> &Object {
        self.object.as_ref().expect("a connection that is not dropped")
    }
}

impl DerefMut for DataClient {
    #[expect(clippy::expect_used, reason = "it is taken out in `drop` alone")]
    fn deref_mut(&mut self) -> &mut Object {
        self.object.as_mut().expect("a connection that is not dropped")
    }
}

impl Drop for DataClient {
    fn drop(&mut self) {
        if *self.abandoned.get_mut()
            && let Some(object) = self.object.take()
        {
            drop(Object::take(object));
        }
    }
}

impl DataClient {
    /// Waits for work on this connection, for as long as one statement may take and a little more. Without an answer by then,
    /// nobody knows what became of the work.
    pub(super) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(self.deadline, work).await {
            Ok(done) => done,
            Err(_) => {
                self.abandoned.store(true, Ordering::Relaxed);
                Err(no_answer(self.deadline))
            }
        }
    }

    /// From now on the connection does not go back to the pool, until [`DataClient::keep`]: for work that may be given up in the
    /// middle.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// The work has ended: the connection can be used again.
    pub(super) fn keep(&self) {
        self.abandoned.store(false, Ordering::Relaxed);
    }

    /// The prepared statement, from the connection's cache where it is there.
    pub(super) async fn prepare_cached(&self, statement: &str) -> Result<Statement, StoreError> {
        self.in_time(async { Ok(ClientWrapper::prepare_cached(self, statement).await?) }).await
    }
}

/// Runs `work` between BEGIN and COMMIT without waiting for the answers in between. When a statement fails, the database turns
/// the COMMIT into a ROLLBACK and the statement's error is returned. The statements reach the server even when the caller
/// stops waiting, so a connection never goes back to the pool inside a transaction. `point` is the failpoint before the COMMIT.
///
/// `work` must look at its statements' answers in their order (`try_join!` with `biased`): after the first error the others only
/// say that the transaction is aborted.
pub(super) async fn pipelined<T>(
    client: &DataClient,
    point: &str,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoreError> {
    let transaction = async {
        if failpoint::is_armed(point) {
            client.batch_execute("BEGIN").await?;
            let done = work.await;
            failpoint::reach(point, "");
            client.batch_execute("COMMIT").await?;
            return Ok(done?);
        }
        // `join!` polls in order, and each future sends its message when it is first polled. `work` must send all of its
        // messages at its first poll, which holds for joined queries.
        let (begun, done, ended) =
            tokio::join!(client.batch_execute("BEGIN"), work, client.batch_execute("COMMIT"));
        begun?;
        let done = done?;
        ended?;
        Ok(done)
    };
    client.in_time(transaction).await
}
