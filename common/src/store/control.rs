//! Connections of the control plane.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use parking_lot::Mutex;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Connection, Describe, Either, Execute, Executor, PgPool, Postgres, SqlStr, Transaction};

use crate::config::DatabaseConfig;
use crate::metrics::POOL_WAIT_SECONDS;

/// A connection that lay idle for longer is asked for a sign of life before it is used.
const TRUSTED: Duration = Duration::from_secs(1);

/// The pool of the control plane. It is used as the pool of sqlx is, and measures how long callers wait for a connection.
///
/// The pool of sqlx asks the server for a sign of life whenever a connection comes back. For a single statement that is as
/// much as the statement itself, so a connection whose last statement came to its end well is kept at hand for the next one.
#[derive(Debug, Clone)]
pub(super) struct ControlPool {
    pool: PgPool,
    at_hand: Arc<AtHand>,
}

/// Connections that are in order and wait to be used again, the last one on top.
#[derive(Debug, Default)]
struct AtHand {
    connections: Mutex<Vec<(Instant, PoolConnection<Postgres>)>>,
    /// Callers that ask the pool itself. While there are any, connections go back to it.
    asking: AtomicUsize,
}

impl AtHand {
    fn take(&self) -> Option<PoolConnection<Postgres>> {
        let mut connections = self.connections.lock();
        if let Some((_, connection)) = connections.pop_if(|(since, _)| since.elapsed() <= TRUSTED) {
            return Some(connection);
        }
        // Those below lie even longer: the pool asks them.
        let old = std::mem::take(&mut *connections);
        drop(connections);
        drop(old);
        None
    }

    fn put(&self, connection: PoolConnection<Postgres>) {
        let mut connections = self.connections.lock();
        if self.asking.load(Ordering::SeqCst) == 0 {
            connections.push((Instant::now(), connection));
        }
    }

    fn ask(&self) -> Asking<'_> {
        self.asking.fetch_add(1, Ordering::SeqCst);
        Asking(&self.asking)
    }
}

impl Drop for AtHand {
    fn drop(&mut self) {
        // The pool takes connections back in a task, and there may be no runtime any more.
        for (_, connection) in self.connections.get_mut().drain(..) {
            drop(connection.detach());
        }
    }
}

/// A caller that asks the pool.
struct Asking<'a>(&'a AtomicUsize);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl ControlPool {
    /// A pool whose connections are made when they are first needed.
    pub(super) fn new(config: &DatabaseConfig, options: PgConnectOptions) -> Self {
        let acquire = Duration::from_millis(config.acquire_timeout_ms);
        let pool = PgPoolOptions::new()
            .max_connections(config.control_connections)
            .acquire_timeout(acquire)
            // By default each use is preceded by a round trip; but a connection was in order when it came back to the pool.
            .test_before_acquire(false)
            .before_acquire(|connection, about| {
                Box::pin(async move {
                    if about.idle_for > TRUSTED {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            // The pool itself would wait for such an answer without end, and run out of connections.
            .after_release(move |connection, _| {
                Box::pin(async move {
                    match tokio::time::timeout(acquire, connection.ping()).await {
                        Ok(alive) => alive.map(|()| true),
                        Err(_) => Err(sqlx::Error::WorkerCrashed),
                    }
                })
            })
            .connect_lazy_with(options);
        Self { pool, at_hand: Arc::default() }
    }

    /// Takes a connection, waiting for one at most `database.acquire_timeout_ms`.
    pub(super) async fn acquire(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let began = Instant::now();
        // From now on nothing is put at hand that this caller would not see.
        let asking = self.at_hand.ask();
        let connection = match self.at_hand.take() {
            Some(connection) => connection,
            None => self.pool.acquire().await?,
        };
        drop(asking);
        POOL_WAIT_SECONDS.with("control").record(began.elapsed().as_secs_f64());
        Ok(connection)
    }

    /// Begins a transaction.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        Transaction::begin(self.acquire().await?, None).await
    }

    /// Brings the schema up to `migrations`.
    pub(super) async fn migrate(&self, migrations: &Migrator) -> Result<(), MigrateError> {
        migrations.run(&self.pool).await
    }

    /// Open connections, and how many of them are in use.
    pub(super) fn connections(&self) -> (usize, usize) {
        let open = self.pool.size() as usize;
        let idle = self.pool.num_idle() + self.at_hand.connections.lock().len();
        (open, open.saturating_sub(idle))
    }
}

impl<'p> Executor<'p> for &ControlPool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        let rows = async move {
            let mut connection = pool.acquire().await?;
            let rows: Vec<_> = connection.fetch_many(query).try_collect().await?;
            pool.at_hand.put(connection);
            Ok::<_, sqlx::Error>(futures_util::stream::iter(rows.into_iter().map(Ok)))
        };
        Box::pin(futures_util::stream::once(rows).try_flatten())
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        Box::pin(async move {
            let mut connection = pool.acquire().await?;
            let row = connection.fetch_optional(query).await?;
            pool.at_hand.put(connection);
            Ok(row)
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        Box::pin(async move { pool.acquire().await?.prepare_with(sql, parameters).await })
    }

    // A part of the trait because of the feature `macros`.
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        Box::pin(async move { pool.acquire().await?.describe(sql).await })
    }
}
