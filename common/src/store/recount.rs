//! Whether counters say what the rows say, and setting them right where they do not (control plane).
//!
//! Every writer changes rows and counters in one transaction, so a single statement, which sees one snapshot, finds them equal
//! however much goes on meanwhile. It locks nothing. Only a batch where they differ is locked, counted again, and repaired.
//! How often a chunk was started and how long it took are in no counter that anything depends on, and are not compared.

use chrono::NaiveDate;
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::batches::ADMISSION_SLOT;
use super::lifecycle::lock_batch;
use super::{Store, StoreError};

/// The most batches that are counted in one statement. It reads all rows of their day, so there should be few such statements.
const BATCHES: i64 = 2_000;

/// How long such a statement may run.
const PATIENCE: &str = "SET LOCAL statement_timeout = '10min'";

/// As a report does: whoever drops a day does not wait for it, and so keeps nobody else waiting.
const AS_A_REPORT: &str = "SELECT pg_advisory_xact_lock_shared(hashtext('millrace.reports'))";

/// A counter that had drifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterRepair {
    /// The batch.
    pub batch_id: Uuid,
    /// The counter, as its column is named.
    pub counter: String,
    /// What it said.
    pub counted: i64,
    /// What the rows said.
    pub found: i64,
}

/// Counters of a batch beside what its rows give. Bytes of a batch whose results were dropped count as none.
struct Recount {
    batch_id: Uuid,
    chunks_submitted: (i64, i64),
    records_submitted: (i64, i64),
    chunks_queued: (i64, i64),
    chunks_completed: (i64, i64),
    chunks_failed: (i64, i64),
    records_completed: (i64, i64),
    records_failed: (i64, i64),
    chunks_pulled: (i64, i64),
    records_pulled: (i64, i64),
    input_bytes: (i64, i64),
    output_bytes: (i64, i64),
}

impl Recount {
    /// What differs.
    fn drifts(&self) -> Vec<CounterRepair> {
        let all = [
            ("chunks_submitted", self.chunks_submitted),
            ("records_submitted", self.records_submitted),
            ("chunks_queued", self.chunks_queued),
            ("chunks_completed", self.chunks_completed),
            ("chunks_failed", self.chunks_failed),
            ("records_completed", self.records_completed),
            ("records_failed", self.records_failed),
            ("chunks_pulled", self.chunks_pulled),
            ("records_pulled", self.records_pulled),
            ("input_bytes", self.input_bytes),
            ("output_bytes", self.output_bytes),
        ];
        let drifted = all.into_iter().filter(|(_, (counted, found))| counted != found);
        drifted
            .map(|(counter, (counted, found))| CounterRepair {
                batch_id: self.batch_id,
                counter: counter.to_owned(),
                counted,
                found,
            })
            .collect()
    }
}

impl Store {
    /// Compares the counters of every batch that lives, or ended within `ended_seconds`, with its rows, and repairs those that
    /// drifted. Returns what was repaired; each repair is also kept with its batch. May take minutes where days are large.
    pub async fn recount_batches(&self, ended_seconds: f64) -> Result<Vec<CounterRepair>, StoreError> {
        let days = sqlx::query_scalar!(
            r#"SELECT DISTINCT day AS "day!" FROM batches
               WHERE finished_at IS NULL OR finished_at > clock_timestamp() - make_interval(secs => $1)"#,
            ended_seconds
        )
        .fetch_all(&self.control)
        .await?;
        let mut repairs = Vec::new();
        for day in days {
            let mut after = Uuid::nil();
            loop {
                let batches = sqlx::query_scalar!(
                    r#"SELECT id AS "id!" FROM batches
                       WHERE day = $1 AND id > $3 AND (finished_at IS NULL
                           OR finished_at > clock_timestamp() - make_interval(secs => $2))
                       ORDER BY id LIMIT $4"#,
                    day,
                    ended_seconds,
                    after,
                    BATCHES
                )
                .fetch_all(&self.control)
                .await?;
                let Some(last) = batches.last() else { break };
                after = *last;
                let mut tx = self.control.begin().await?;
                sqlx::query(PATIENCE).execute(&mut *tx).await?;
                sqlx::query(AS_A_REPORT).execute(&mut *tx).await?;
                let recounts = recount(&mut tx, day, &batches).await?;
                tx.commit().await?;
                for drifted in recounts.iter().filter(|recount| !recount.drifts().is_empty()) {
                    repairs.extend(self.repair_counters(drifted.batch_id, day).await?);
                }
            }
        }
        Ok(repairs)
    }

    /// The repairs of a batch's counters, oldest first; none, as a rule.
    pub async fn counter_repairs(&self, batch_id: Uuid) -> Result<Vec<CounterRepair>, StoreError> {
        Ok(sqlx::query_as!(
            CounterRepair,
            "SELECT batch_id, counter, counted, found FROM counter_repairs WHERE batch_id = $1 ORDER BY repaired_at, counter",
            batch_id
        )
        .fetch_all(&self.control)
        .await?)
    }

    /// Sets the counters of one batch right, with nobody else at work on it.
    async fn repair_counters(
        &self,
        batch_id: Uuid,
        day: NaiveDate,
    ) -> Result<Vec<CounterRepair>, StoreError> {
        let mut tx = self.control.begin().await?;
        sqlx::query(PATIENCE).execute(&mut *tx).await?;
        lock_batch(&mut tx, batch_id).await?;
        let recounts = recount(&mut tx, day, &[batch_id]).await?;
        let drifts: Vec<_> = recounts.iter().flat_map(Recount::drifts).collect();
        if !drifts.is_empty() {
            repair(&mut tx, batch_id, &drifts).await?;
        }
        tx.commit().await?;
        Ok(drifts)
    }
}

/// Puts the differences into the slot of admission, where they make the sums right, and keeps a note of each.
async fn repair(
    tx: &mut Transaction<'_, Postgres>,
    batch_id: Uuid,
    drifts: &[CounterRepair],
) -> Result<(), StoreError> {
    let by = |counter: &str| {
        drifts
            .iter()
            .filter(|drift| drift.counter == counter)
            .map(|drift| drift.found - drift.counted)
            .sum::<i64>()
    };
    sqlx::query!(
        "UPDATE batch_counters SET
             chunks_submitted = chunks_submitted + $3, records_submitted = records_submitted + $4,
             chunks_queued = chunks_queued + $5, chunks_completed = chunks_completed + $6,
             chunks_failed = chunks_failed + $7, records_completed = records_completed + $8,
             records_failed = records_failed + $9, chunks_pulled = chunks_pulled + $10,
             records_pulled = records_pulled + $11, input_bytes = input_bytes + $12, output_bytes = output_bytes + $13
         WHERE batch_id = $1 AND slot = $2",
        batch_id,
        ADMISSION_SLOT,
        by("chunks_submitted"),
        by("records_submitted"),
        by("chunks_queued"),
        by("chunks_completed"),
        by("chunks_failed"),
        by("records_completed"),
        by("records_failed"),
        by("chunks_pulled"),
        by("records_pulled"),
        by("input_bytes"),
        by("output_bytes"),
    )
    .execute(&mut **tx)
    .await?;
    for drift in drifts {
        sqlx::query!(
            "INSERT INTO counter_repairs (batch_id, counter, counted, found) VALUES ($1, $2, $3, $4)",
            batch_id,
            drift.counter,
            drift.counted,
            drift.found
        )
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// Counts the rows of some batches of one day, in the snapshot in which it reads their counters. Batches whose day was dropped have
/// no rows any more and are left out.
///
/// How many records of a completed chunk had errors is in no row. Their sum is held between what the rows allow: at least the
/// records of failed chunks, at most all that finished.
async fn recount(
    tx: &mut Transaction<'_, Postgres>,
    day: NaiveDate,
    batches: &[Uuid],
) -> Result<Vec<Recount>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT s.batch_id AS "batch_id!",
               s.chunks_submitted AS "chunks_submitted!", s.records_submitted AS "records_submitted!",
               s.chunks_queued AS "chunks_queued!", s.chunks_completed AS "chunks_completed!",
               s.chunks_failed AS "chunks_failed!", s.records_completed AS "records_completed!",
               s.records_failed AS "records_failed!", s.chunks_pulled AS "chunks_pulled!",
               s.records_pulled AS "records_pulled!", s.input_bytes AS "input_bytes!", s.output_bytes AS "output_bytes!",
               b.dropped_at IS NOT NULL AS "dropped!",
               coalesce(r.submitted, 0) AS "submitted!", coalesce(r.records, 0)::bigint AS "records!",
               coalesce(r.queued, 0) AS "queued!", coalesce(r.completed, 0) AS "completed!", coalesce(r.failed, 0) AS "failed!",
               coalesce(r.finished_records, 0)::bigint AS "finished_records!",
               coalesce(r.failed_records, 0)::bigint AS "failed_records!",
               coalesce(r.pulled, 0) AS "pulled!", coalesce(r.pulled_records, 0)::bigint AS "pulled_records!",
               coalesce(r.input, 0)::bigint AS "input!", coalesce(r.output, 0)::bigint AS "output!"
           FROM batches b JOIN batch_sums s ON s.batch_id = b.id LEFT JOIN (
               SELECT c.batch_id, count(*) AS submitted, sum(c.records) AS records,
                   count(c.queued_at) AS queued,
                   count(*) FILTER (WHERE r.outcome = 'completed') AS completed,
                   count(*) FILTER (WHERE r.outcome = 'failed') AS failed,
                   sum(r.records) AS finished_records,
                   sum(r.records) FILTER (WHERE r.outcome = 'failed') AS failed_records,
                   count(r.pulled_at) AS pulled,
                   sum(r.records) FILTER (WHERE r.pulled_at IS NOT NULL) AS pulled_records,
                   sum(c.bytes::bigint) FILTER (WHERE r.chunk_no IS NULL) AS input,
                   sum(r.bytes::bigint) FILTER (WHERE r.pulled_at IS NULL) AS output
               FROM chunks c LEFT JOIN results r ON r.day = c.day AND r.chunk_no = c.chunk_no
               WHERE c.day = $1 AND c.batch_id = ANY($2)
               GROUP BY c.batch_id
           ) r ON r.batch_id = b.id
           WHERE b.day = $1 AND b.id = ANY($2) AND to_regclass('chunks_p' || to_char($1::date, 'YYYYMMDD')) IS NOT NULL"#,
        day,
        batches
    )
    .fetch_all(&mut **tx)
    .await?;
    let recounts = rows.into_iter().map(|row| {
        let kept = |bytes: i64| if row.dropped { 0 } else { bytes };
        Recount {
            batch_id: row.batch_id,
            chunks_submitted: (row.chunks_submitted, row.submitted),
            records_submitted: (row.records_submitted, row.records),
            chunks_queued: (row.chunks_queued, row.queued),
            chunks_completed: (row.chunks_completed, row.completed),
            chunks_failed: (row.chunks_failed, row.failed),
            records_completed: (row.records_completed, row.finished_records),
            records_failed: (
                row.records_failed,
                row.records_failed.clamp(row.failed_records, row.finished_records.max(row.failed_records)),
            ),
            chunks_pulled: (row.chunks_pulled, row.pulled),
            records_pulled: (row.records_pulled, row.pulled_records),
            input_bytes: (row.input_bytes, kept(row.input)),
            output_bytes: (row.output_bytes, kept(row.output)),
        }
    });
    Ok(recounts.collect())
}
