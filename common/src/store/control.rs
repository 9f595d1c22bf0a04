//! Connections of the control plane.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Connection, Describe, Either, Execute, Executor, PgPool, Postgres, SqlStr, Transaction};

use crate::config::DatabaseConfig;
use crate::metrics::POOL_WAIT_SECONDS;

/// The pool of the control plane. It is used as the pool of sqlx is, and measures how long callers wait for a connection.
#[derive(Debug, Clone)]
pub(super) struct ControlPool {
    pool: PgPool,
}

impl ControlPool {
    /// A pool whose connections are made when they are first needed. Each is asked for a sign of life before it is used: after a cut
    /// nobody gets a dead one.
    pub(super) fn new(config: &DatabaseConfig, options: PgConnectOptions) -> Self {
        let acquire = Duration::from_millis(config.acquire_timeout_ms);
        let pool = PgPoolOptions::new()
            .max_connections(config.control_connections)
            .acquire_timeout(acquire)
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
        Self { pool }
    }

    /// Takes a connection, waiting for one at most `database.acquire_timeout_ms`.
    pub(super) async fn acquire(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let began = Instant::now();
        let connection = self.pool.acquire().await?;
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
        (open, open.saturating_sub(self.pool.num_idle()))
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
            connection.fetch_optional(query).await
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
