//! Day partitions of `chunks` and `results`: made ahead, dropped when nothing in them is kept any more.

use chrono::{Days, NaiveDate, Utc};
use sqlx::{AssertSqlSafe, Postgres, Transaction};

use super::{Store, StoreError};

/// The partitioned tables.
pub(super) const PARTITIONED: [&str; 3] = ["chunks", "results", "failed_work"];

/// How many days ahead partitions exist.
const DAYS_AHEAD: u64 = 2;

impl Store {
    /// Makes the partitions of today (UTC) and of the days to come. Asks the database only once a day and process.
    pub async fn ensure_partitions(&self) -> Result<(), StoreError> {
        let today = Utc::now().date_naive();
        if *self.partitions_checked.lock() == Some(today) {
            return Ok(());
        }
        let mut tx = self.control.begin().await?;
        sqlx::query!("SELECT pg_advisory_xact_lock(hashtext('millrace.partitions'))")
            .execute(&mut *tx)
            .await?;
        let today_there = sqlx::query_scalar!(r#"SELECT (now() AT TIME ZONE 'UTC')::date AS "today!""#)
            .fetch_one(&mut *tx)
            .await?;
        for ahead in 0..=DAYS_AHEAD {
            let day = today_there + Days::new(ahead);
            for table in PARTITIONED {
                let name = partition_name(table, day);
                let exists = sqlx::query_scalar!(r#"SELECT to_regclass($1) IS NOT NULL AS "exists!""#, name)
                    .fetch_one(&mut *tx)
                    .await?;
                if exists {
                    continue;
                }
                // Attaching a table of its own takes a weaker lock on the parent than CREATE … PARTITION OF.
                let until = day + Days::new(1);
                for statement in [
                    format!("CREATE TABLE {name} (LIKE {table} INCLUDING ALL) WITH (fillfactor = 80)"),
                    format!(
                        "ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{day}') TO ('{until}')"
                    ),
                ] {
                    sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await?;
                }
            }
        }
        tx.commit().await?;
        *self.partitions_checked.lock() = Some(today);
        Ok(())
    }

    /// Drops the partitions of days before `keep_seconds` ago that hold nothing of a live or lately finished batch, and no inputs
    /// that a redrive has still to push. Returns the days that went.
    pub async fn drop_expired_partitions(&self, keep_seconds: f64) -> Result<Vec<NaiveDate>, StoreError> {
        let days: Vec<NaiveDate> = sqlx::query_scalar!(
            r#"SELECT DISTINCT to_date(right(c.relname, 8), 'YYYYMMDD') AS "day!"
               FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
               WHERE i.inhparent = 'results'::regclass"#
        )
        .fetch_all(&self.control)
        .await?;
        let mut dropped = Vec::new();
        for day in days {
            let mut tx = self.control.begin().await?;
            // A report reads for long, and whoever waits for it with the lock of a drop keeps everybody else waiting.
            let reported = sqlx::query_scalar!(
                r#"SELECT NOT pg_try_advisory_xact_lock(hashtext('millrace.reports')) AS "reported!""#
            )
            .fetch_one(&mut *tx)
            .await?;
            if reported {
                tx.rollback().await?;
                break;
            }
            // The same goes for any other reader: rather try again later.
            sqlx::query("SET LOCAL lock_timeout = '1s'").execute(&mut *tx).await?;
            let over = sqlx::query_scalar!(
                r#"SELECT $1::date < ((now() - make_interval(secs => $2)) AT TIME ZONE 'UTC')::date
                       AND NOT EXISTS (SELECT FROM batches WHERE day = $1
                           AND (finished_at IS NULL OR finished_at > now() - make_interval(secs => $2))) AS "over!""#,
                day,
                keep_seconds
            )
            .fetch_one(&mut *tx)
            .await?;
            if !over || is_redriven(&mut tx, day).await? {
                tx.rollback().await?;
                continue;
            }
            match drop_day(&mut tx, day).await {
                Ok(true) => {
                    tx.commit().await?;
                    dropped.push(day);
                }
                Ok(false) => tx.rollback().await?,
                Err(StoreError::Unavailable(reason)) => {
                    tracing::debug!(%day, reason, "expired results are in use; they go later");
                    tx.rollback().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(dropped)
    }
}

/// Whether a redrive that runs has its inputs among those of this day.
async fn is_redriven(tx: &mut Transaction<'_, Postgres>, day: NaiveDate) -> Result<bool, StoreError> {
    let running = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM redrives WHERE state = 'running' AND source_day = $1) AS "running!""#,
        day
    );
    Ok(running.fetch_one(&mut **tx).await?)
}

/// Drops everything of a day; `false` when a redrive needs it after all.
async fn drop_day(tx: &mut Transaction<'_, Postgres>, day: NaiveDate) -> Result<bool, StoreError> {
    // In the order in which every writer locks: the row, then its slots.
    sqlx::query!("UPDATE batches SET dropped_at = now() WHERE day = $1 AND dropped_at IS NULL", day)
        .execute(&mut **tx)
        .await?;
    // Whoever began a redrive held its batch's row until now; later ones find the results dropped.
    if is_redriven(tx, day).await? {
        return Ok(false);
    }
    // What is not there takes no room in a buffer.
    sqlx::query!(
        "UPDATE batch_counters SET input_bytes = 0, output_bytes = 0
         WHERE batch_id IN (SELECT id FROM batches WHERE day = $1) AND (input_bytes <> 0 OR output_bytes <> 0)",
        day
    )
    .execute(&mut **tx)
    .await?;
    for table in PARTITIONED {
        let statement = format!("DROP TABLE IF EXISTS {}", partition_name(table, day));
        sqlx::query(AssertSqlSafe(statement)).execute(&mut **tx).await?;
    }
    Ok(true)
}

pub(super) fn partition_name(table: &str, day: NaiveDate) -> String {
    format!("{table}_p{}", day.format("%Y%m%d"))
}
