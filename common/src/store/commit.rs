//! Commits of finished chunks, and the claims of redelivered ones (data plane; design section 2, step 6).

use bytes::Bytes;
use chrono::NaiveDate;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::admission::batch_ids;
use super::batches::{FIRST_WORKER_SLOT, WORKER_SLOTS};
use super::data::pipelined;
use super::retry::retrying;
use super::views::tolerance;
use super::{Store, StoreError};
use crate::model::{BatchProgress, BatchState, Tolerance, is_certain_to_fail, is_held_back};

/// How a chunk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Evaluated; single records may carry errors.
    Completed,
    /// Could not be processed.
    Failed,
}

impl Outcome {
    /// The stored spelling.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// A finished chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedChunk {
    /// The batch.
    pub batch_id: Uuid,
    /// The batch's day.
    pub day: NaiveDate,
    /// The number given at admission.
    pub chunk_no: i64,
    /// The caller's id.
    pub chunk_id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Records in the chunk.
    pub records: i32,
    /// Of these, records with errors; all of them when the chunk failed.
    pub records_failed: i32,
    /// Input budget that the chunk held.
    pub charged_bytes: i32,
    /// The size of the body before compression: what the output budget counts.
    pub output_bytes: i32,
    /// Whether the body is compressed with zstd.
    pub compressed: bool,
    /// The chunk's result as the API sends it (contract 1.3).
    pub body: Vec<u8>,
    /// Sum of the records' process times.
    pub compute_ms: i64,
    /// What the chunk adds to its batch's totals; `None` when nobody asked, or the chunk failed.
    pub totals: Option<Vec<u8>>,
    /// What of it failed, if anything did.
    pub failed: Option<FailedWork>,
}

/// What of a chunk failed, kept to be looked at and done again.
#[derive(Clone, PartialEq, Eq)]
pub struct FailedWork {
    /// The numbers of the failed records, from 0 on, ascending; `None` for the whole chunk.
    pub positions: Option<Vec<i32>>,
    /// The chunk's data, or that of these records alone, compressed with zstd; `None` when inputs are not kept.
    pub input: Option<Bytes>,
    /// Size of `input` before compression.
    pub bytes: i32,
}

/// Never shows the input.
impl std::fmt::Debug for FailedWork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let records = self.positions.as_ref().map(Vec::len);
        f.debug_struct("FailedWork")
            .field("records", &records)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// What a commit left behind, per batch of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The batch.
    pub batch_id: Uuid,
    /// Its state.
    pub state: BatchState,
    /// Its sums after the commit.
    pub progress: BatchProgress,
    /// Whether it was stopped early.
    stopped: bool,
    /// Whether it wants to be.
    early_stop: bool,
    tolerance: Tolerance,
}

impl Committed {
    /// Whether evaluation waits for a pull ([`is_held_back`]).
    pub const fn is_held_back(&self) -> bool {
        is_held_back(self.state, self.stopped, &self.progress)
    }

    /// Whether the batch is to be settled or stopped now, by [`Store::settle_batch`].
    pub fn has_consequence(&self) -> bool {
        let closed = matches!(self.state, BatchState::Closed | BatchState::ClosedByTimeout);
        (closed && self.progress.is_drained())
            || (self.early_stop
                && !self.stopped
                && is_certain_to_fail(self.state, &self.progress, &self.tolerance))
    }
}

/// The counter slot that a worker writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerSlot(i16);

impl WorkerSlot {
    /// The slot of the worker with this id.
    pub fn of(worker_id: Uuid) -> Self {
        let spread = worker_id.as_u128() % WORKER_SLOTS.unsigned_abs() as u128;
        Self(FIRST_WORKER_SLOT + i16::try_from(spread).unwrap_or(0))
    }

    pub(super) const fn number(self) -> i16 {
        self.0
    }
}

const LOCK: &str = "
-- commit: lock
SELECT batch_id FROM batch_counters WHERE batch_id = ANY($1) AND slot = $2 ORDER BY batch_id FOR UPDATE";

/// The statement that stores a group, with what is said of totals filled in. A result that is there already, or a batch that
/// is no longer live, leaves everything as it is.
macro_rules! commit_statement {
    ($name:literal, $array:literal, $column:literal, $totals:literal) => {
        concat!(
            "
-- commit: ",
            $name,
            "
WITH input AS (
    SELECT * FROM unnest($1::uuid[], $2::date[], $3::int8[], $4::text[], $5::text[], $6::int4[], $7::int4[], $8::int4[],
                         $9::int4[], $10::bool[], $11::bytea[], $12::int8[]",
            $array,
            ")
        AS t (batch_id, day, chunk_no, chunk_id, outcome, records, records_failed, charged, bytes, compressed, body, compute_ms",
            $column,
            ")
), inserted AS (
    INSERT INTO results (day, chunk_no, batch_id, chunk_id, outcome, records, bytes, compressed, body)
    SELECT i.day, i.chunk_no, i.batch_id, i.chunk_id, i.outcome, i.records, i.bytes, i.compressed, i.body
    FROM input i JOIN batches b ON b.id = i.batch_id AND b.state IN ('open', 'closed', 'closed_by_timeout')
    ON CONFLICT DO NOTHING
    RETURNING chunk_no
), ",
            $totals,
            "sums AS (
    SELECT i.batch_id,
           count(*) FILTER (WHERE i.outcome = 'completed') AS completed,
           count(*) FILTER (WHERE i.outcome = 'failed') AS failed,
           sum(i.records) AS records, sum(i.records_failed) AS records_failed,
           sum(i.charged) AS charged, sum(i.bytes) AS bytes, sum(i.compute_ms) AS compute_ms
    FROM input i JOIN inserted USING (chunk_no)
    GROUP BY i.batch_id
)
UPDATE batch_counters c SET
    chunks_completed = chunks_completed + s.completed,
    chunks_failed = chunks_failed + s.failed,
    records_completed = records_completed + s.records,
    records_failed = c.records_failed + s.records_failed,
    input_bytes = input_bytes - s.charged,
    output_bytes = output_bytes + s.bytes,
    output_total = output_total + s.bytes,
    compute_ms = c.compute_ms + s.compute_ms
FROM sums s WHERE c.batch_id = s.batch_id AND c.slot = $13"
        )
    };
}

/// For groups without totals: it knows nothing of them.
const COMMIT: &str = commit_statement!("results", "", "", "");

/// Totals are stored with the result that was inserted, so a chunk that is computed twice counts once.
const COMMIT_WITH_TOTALS: &str = commit_statement!(
    "results with totals",
    ", $14::bytea[]",
    ", totals",
    "totals AS (
    INSERT INTO chunk_totals (batch_id, chunk_no, state)
    SELECT i.batch_id, i.chunk_no, i.totals FROM input i JOIN inserted USING (chunk_no) WHERE i.totals IS NOT NULL
), "
);

/// For groups in which something failed: its inputs are stored with the results that were inserted, so once.
const COMMIT_WITH_FAILURES: &str = commit_statement!(
    "results with failures",
    ", $14::bytea[]",
    ", totals",
    "totals AS (
    INSERT INTO chunk_totals (batch_id, chunk_no, state)
    SELECT i.batch_id, i.chunk_no, i.totals FROM input i JOIN inserted USING (chunk_no) WHERE i.totals IS NOT NULL
), failed AS (
    INSERT INTO failed_work (day, chunk_no, batch_id, kind, records, positions, input, bytes)
    SELECT i.day, i.chunk_no, i.batch_id, f.kind, i.records_failed, f.positions::int4[], f.data, f.data_bytes
    FROM unnest($15::int8[], $16::text[], $17::text[], $18::bytea[], $19::int4[])
        AS f (chunk_no, kind, positions, data, data_bytes)
    JOIN input i USING (chunk_no) JOIN inserted USING (chunk_no)
), "
);

const SUMS: &str = "
-- commit: sums
SELECT b.id, b.state, b.output_allocated, sum(c.chunks_submitted)::bigint, sum(c.chunks_completed)::bigint,
       sum(c.chunks_failed)::bigint, sum(c.output_bytes)::bigint, sum(c.records_submitted)::bigint,
       sum(c.records_failed)::bigint, b.acceptable_error_percentage, b.acceptable_record_error_percentage, b.early_stop,
       b.stopped_at IS NOT NULL
FROM batches b JOIN batch_counters c ON c.batch_id = b.id
WHERE b.id = ANY($1)
GROUP BY b.id";

const ATTEMPTS: &str = "
-- commit: attempts
SELECT attempts FROM chunks c
WHERE day = $1 AND batch_id = $2 AND chunk_id = $3 AND chunk_no = $4
  AND NOT EXISTS (SELECT FROM results r WHERE r.day = $1 AND r.chunk_no = c.chunk_no)";

const CLAIM: &str = "
-- commit: claim attempt
WITH claimed AS (
    UPDATE chunks SET attempts = attempts + 1
    WHERE day = $1 AND batch_id = $2 AND chunk_id = $3 AND chunk_no = $5
      AND EXISTS (SELECT FROM batches WHERE id = $2 AND state IN ('open', 'closed', 'closed_by_timeout'))
      AND NOT EXISTS (SELECT FROM results r WHERE r.day = $1 AND r.chunk_no = chunks.chunk_no)
    RETURNING attempts, records
), counted AS (
    UPDATE batch_counters SET chunks_retried = chunks_retried + 1,
        records_retried = records_retried + (SELECT records FROM claimed)
    WHERE batch_id = $2 AND slot = $4 AND EXISTS (SELECT FROM claimed)
)
SELECT attempts FROM claimed";

impl Store {
    /// Stores a group of finished chunks in one transaction: result rows once each and only for live batches, budgets,
    /// counters. Afterwards every one of them may be acked. Returns the sums of the batches concerned.
    pub async fn commit(
        &self,
        slot: WorkerSlot,
        finished: &[FinishedChunk],
    ) -> Result<Vec<Committed>, StoreError> {
        retrying("commit", || self.commit_once(slot, finished)).await
    }

    async fn commit_once(
        &self,
        slot: WorkerSlot,
        finished: &[FinishedChunk],
    ) -> Result<Vec<Committed>, StoreError> {
        let client = self.data_client().await?;
        // Of a chunk that is there twice one is taken: what failed of the other does not count.
        let group = Group::new(finished);
        let statement = match (&group.failures, &group.totals) {
            (Some(_), _) => COMMIT_WITH_FAILURES,
            (None, Some(_)) => COMMIT_WITH_TOTALS,
            (None, None) => COMMIT,
        };
        let (lock, commit, sums) = tokio::try_join!(
            client.prepare_cached(LOCK),
            client.prepare_cached(statement),
            client.prepare_cached(SUMS)
        )?;
        let batches = batch_ids(finished.iter().map(|chunk| chunk.batch_id));
        let locked: [&(dyn ToSql + Sync); 2] = [&batches, &slot.0];
        let stored = group.parameters(&slot.0);
        let summed: [&(dyn ToSql + Sync); 1] = [&batches];
        let rows = pipelined(&client, "commit.inserted", async {
            let (_, _, rows) = tokio::try_join!(
                biased;
                client.query(&lock, &locked),
                client.execute(&commit, &stored),
                client.query(&sums, &summed)
            )?;
            Ok(rows)
        })
        .await?;
        rows.iter().map(read_committed).collect()
    }

    /// Counts one more start of a redelivered chunk. `None`: its result is there already, it was withdrawn, or its batch has
    /// ended; ack and go on. `chunk_no` tells it from a newer chunk of the same id.
    pub async fn claim_attempt(
        &self,
        slot: WorkerSlot,
        day: NaiveDate,
        batch_id: Uuid,
        chunk_id: &str,
        chunk_no: i64,
    ) -> Result<Option<i32>, StoreError> {
        retrying("claim_attempt", || self.claim_attempt_once(slot, day, batch_id, chunk_id, chunk_no)).await
    }

    async fn claim_attempt_once(
        &self,
        slot: WorkerSlot,
        day: NaiveDate,
        batch_id: Uuid,
        chunk_id: &str,
        chunk_no: i64,
    ) -> Result<Option<i32>, StoreError> {
        let client = self.data_client().await?;
        let (lock, claim) = tokio::try_join!(client.prepare_cached(LOCK), client.prepare_cached(CLAIM))?;
        let batches = vec![batch_id];
        let locked: [&(dyn ToSql + Sync); 2] = [&batches, &slot.0];
        let claimed: [&(dyn ToSql + Sync); 5] = [&day, &batch_id, &chunk_id, &slot.0, &chunk_no];
        let row = pipelined(&client, "attempt.counted", async {
            let (_, row) =
                tokio::try_join!(biased; client.query(&lock, &locked), client.query_opt(&claim, &claimed))?;
            Ok(row)
        })
        .await?;
        row.map(|row| row.try_get(0)).transpose().map_err(StoreError::from)
    }

    /// How often a redelivered chunk was started; `None` when it has an outcome or was withdrawn.
    pub async fn attempts(
        &self,
        day: NaiveDate,
        batch_id: Uuid,
        chunk_id: &str,
        chunk_no: i64,
    ) -> Result<Option<i32>, StoreError> {
        let client = self.data_client().await?;
        let attempts = client.prepare_cached(ATTEMPTS).await?;
        let of_chunk: [&(dyn ToSql + Sync); 4] = [&day, &batch_id, &chunk_id, &chunk_no];
        let row = client.in_time(async { Ok(client.query_opt(&attempts, &of_chunk).await?) }).await?;
        row.map(|row| row.try_get(0)).transpose().map_err(StoreError::from)
    }
}

/// A group of finished chunks, column by column.
struct Group<'a> {
    batch_ids: Vec<Uuid>,
    days: Vec<NaiveDate>,
    numbers: Vec<i64>,
    chunk_ids: Vec<&'a str>,
    outcomes: Vec<&'static str>,
    records: Vec<i32>,
    records_failed: Vec<i32>,
    charged: Vec<i32>,
    bytes: Vec<i32>,
    compressed: Vec<bool>,
    bodies: Vec<&'a [u8]>,
    compute: Vec<i64>,
    /// `None` when no chunk of the group has totals and nothing failed.
    totals: Option<Vec<Option<&'a [u8]>>>,
    /// `None` when nothing of the group failed.
    failures: Option<Failures<'a>>,
}

/// What failed in a group, column by column.
#[derive(Default)]
struct Failures<'a> {
    numbers: Vec<i64>,
    kinds: Vec<&'static str>,
    /// Arrays as text: the wire has no arrays of arrays of different lengths.
    positions: Vec<Option<String>>,
    inputs: Vec<Option<&'a [u8]>>,
    bytes: Vec<i32>,
}

impl<'a> Failures<'a> {
    fn new(chunks: &[&'a FinishedChunk]) -> Option<Self> {
        let mut failures = Self::default();
        for chunk in chunks {
            let Some(work) = &chunk.failed else { continue };
            failures.numbers.push(chunk.chunk_no);
            failures.kinds.push(if work.positions.is_some() { "records" } else { "chunk" });
            failures.positions.push(work.positions.as_ref().map(|positions| {
                let positions: Vec<String> = positions.iter().map(i32::to_string).collect();
                format!("{{{}}}", positions.join(","))
            }));
            failures.inputs.push(work.input.as_deref());
            failures.bytes.push(work.bytes);
        }
        (!failures.numbers.is_empty()).then_some(failures)
    }
}

impl<'a> Group<'a> {
    fn new(finished: &'a [FinishedChunk]) -> Self {
        // A chunk that was published twice may finish twice in one group; it counts once.
        let mut chunks: Vec<&FinishedChunk> = finished.iter().collect();
        chunks.sort_by_key(|chunk| chunk.chunk_no);
        chunks.dedup_by_key(|chunk| chunk.chunk_no);
        let failures = Failures::new(&chunks);
        let with_totals = failures.is_some() || chunks.iter().any(|chunk| chunk.totals.is_some());
        Self {
            batch_ids: chunks.iter().map(|chunk| chunk.batch_id).collect(),
            days: chunks.iter().map(|chunk| chunk.day).collect(),
            numbers: chunks.iter().map(|chunk| chunk.chunk_no).collect(),
            chunk_ids: chunks.iter().map(|chunk| chunk.chunk_id.as_str()).collect(),
            outcomes: chunks.iter().map(|chunk| chunk.outcome.as_str()).collect(),
            records: chunks.iter().map(|chunk| chunk.records).collect(),
            records_failed: chunks.iter().map(|chunk| chunk.records_failed).collect(),
            charged: chunks.iter().map(|chunk| chunk.charged_bytes).collect(),
            bytes: chunks.iter().map(|chunk| chunk.output_bytes).collect(),
            compressed: chunks.iter().map(|chunk| chunk.compressed).collect(),
            bodies: chunks.iter().map(|chunk| chunk.body.as_slice()).collect(),
            compute: chunks.iter().map(|chunk| chunk.compute_ms).collect(),
            totals: with_totals.then(|| chunks.iter().map(|chunk| chunk.totals.as_deref()).collect()),
            failures,
        }
    }

    fn parameters<'b>(&'b self, slot: &'b i16) -> Vec<&'b (dyn ToSql + Sync)> {
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![
            &self.batch_ids,
            &self.days,
            &self.numbers,
            &self.chunk_ids,
            &self.outcomes,
            &self.records,
            &self.records_failed,
            &self.charged,
            &self.bytes,
            &self.compressed,
            &self.bodies,
            &self.compute,
            slot,
        ];
        if let Some(totals) = &self.totals {
            parameters.push(totals);
        }
        if let Some(failures) = &self.failures {
            let Failures { numbers, kinds, positions, inputs, bytes } = failures;
            let more: [&(dyn ToSql + Sync); 5] = [numbers, kinds, positions, inputs, bytes];
            parameters.extend(more);
        }
        parameters
    }
}

fn read_committed(row: &tokio_postgres::Row) -> Result<Committed, StoreError> {
    Ok(Committed {
        batch_id: row.try_get(0)?,
        state: row.try_get::<_, &str>(1)?.parse().map_err(StoreError::Corrupt)?,
        progress: BatchProgress {
            output_allocated: row.try_get(2)?,
            chunks_submitted: row.try_get(3)?,
            chunks_completed: row.try_get(4)?,
            chunks_failed: row.try_get(5)?,
            output_used: row.try_get(6)?,
            records_submitted: row.try_get(7)?,
            records_failed: row.try_get(8)?,
        },
        tolerance: tolerance(row.try_get(9)?, row.try_get(10)?),
        early_stop: row.try_get(11)?,
        stopped: row.try_get(12)?,
    })
}
