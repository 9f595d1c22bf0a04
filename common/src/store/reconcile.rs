//! The reconciliation of a batch: its rows against its counters, in one snapshot (data plane).
//!
//! Chunks are read page by page in the order of their ids, so a batch of any size takes the memory of a page.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use deadpool_postgres::Transaction;
use tokio_postgres::{IsolationLevel, Row};
use uuid::Uuid;

use super::{Store, StoreError, no_answer};
use crate::model::reconcile::{Digests, result_digest};

/// Chunks of a page.
const PAGE: i32 = 500;
/// Bytes of results, as stored, that are read at once.
const BODIES: i64 = 8_000_000;

/// Chunks or records, by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Everything that was pushed and admitted.
    pub submitted: i64,
    /// Processed; of records those without errors.
    pub completed: i64,
    /// Not processed; of records those with errors as well.
    pub failed: i64,
    /// Withdrawn, because no confirm ever came: their pushes were never answered with success. No counter has them.
    pub withdrawn: i64,
    /// Waiting or being evaluated; of a cancelled batch, dropped.
    pub waiting: i64,
    /// Finished and handed out.
    pub pulled: i64,
    /// Finished and not handed out.
    pub unpulled: i64,
}

/// What the rows of a batch say, and what its counters say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciliation {
    /// The database's clock.
    pub at: DateTime<Utc>,
    /// Whether the batch was cancelled or its results dropped: then budgets are free and what waits is gone.
    pub is_dropped: bool,
    /// Chunks by rows.
    pub chunks: Tally,
    /// Records by rows.
    pub records: Tally,
    /// Bytes of unfinished chunks, by rows.
    pub input_bytes: i64,
    /// Bytes of results that were not pulled, by rows.
    pub output_bytes: i64,
    /// Chunks by counters; withdrawn ones are not counted there.
    pub counted_chunks: Tally,
    /// Records by counters.
    pub counted_records: Tally,
    /// Bytes of unfinished chunks, by counters.
    pub counted_input_bytes: i64,
    /// Bytes of results that were not pulled, by counters.
    pub counted_output_bytes: i64,
    /// Results beyond one a chunk, or of no chunk.
    pub doubles: i64,
    /// Results that cannot be read back; only looked for with digests.
    pub unreadable: i64,
    /// Over the ids and digests of what was pushed, and over the results; `None` when not asked for.
    pub digests: Option<(String, String)>,
}

const TOTALS: &str = "
-- reconcile: totals
SELECT clock_timestamp(), b.state = 'cancelled' OR b.dropped_at IS NOT NULL,
       sum(c.chunks_submitted)::int8, sum(c.chunks_completed)::int8, sum(c.chunks_failed)::int8, sum(c.chunks_pulled)::int8,
       sum(c.records_submitted)::int8, sum(c.records_completed)::int8, sum(c.records_failed)::int8, sum(c.records_pulled)::int8,
       sum(c.input_bytes)::int8, sum(c.output_bytes)::int8,
       w.chunks, w.records,
       (SELECT count(*) FROM results WHERE day = $2 AND batch_id = $1 AND pulled_at IS NULL)
           + (SELECT count(*) FROM results WHERE day = $2 AND batch_id = $1 AND pulled_at IS NOT NULL AND outcome <> 'withdrawn') AS results,
       to_regclass('results_p' || to_char($2::date, 'YYYYMMDD')) IS NOT NULL AS there
FROM batches b JOIN batch_counters c ON c.batch_id = b.id,
     (SELECT count(*) AS chunks, coalesce(sum(records), 0)::int8 AS records FROM results
      WHERE day = $2 AND batch_id = $1 AND outcome = 'withdrawn' AND outcome <> 'completed') w
WHERE b.id = $1 GROUP BY b.id, w.chunks, w.records";

/// Held by every report until it ends: no partition is dropped then.
const HOLD: &str = "
-- reconcile: hold
SELECT pg_advisory_xact_lock_shared(hashtext('millrace.reports'))";

const CHUNKS: &str = "
-- reconcile: chunks
SELECT c.chunk_id, c.chunk_no, c.digest, c.records, c.bytes, r.outcome, r.bytes, r.pulled_at IS NOT NULL, w.records
FROM chunks c
LEFT JOIN results r ON r.day = $2 AND r.chunk_no = c.chunk_no
LEFT JOIN failed_work w ON w.day = $2 AND w.chunk_no = c.chunk_no
WHERE c.day = $2 AND c.batch_id = $1
ORDER BY c.chunk_id COLLATE \"C\"";

const BODY: &str = "
-- reconcile: bodies
SELECT chunk_no, bytes, compressed, body FROM results WHERE day = $1 AND chunk_no = ANY($2)";

/// The longest that a report may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// This is no look-up by key: whole batches are read and sorted.
const SETTINGS: &str =
    "SET LOCAL enable_seqscan = on; SET LOCAL enable_bitmapscan = on; SET LOCAL plan_cache_mode = auto;
    SET LOCAL statement_timeout = '600s'";

impl Store {
    /// Compares a batch's rows with its counters; with `digests`, looks into its results too. `None` when its rows have expired.
    /// Reads every row of the batch: seconds for some hundred thousand chunks, and a connection for as long.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`], [`StoreError::Unavailable`], or what the database says.
    pub async fn reconcile(
        &self,
        batch_id: Uuid,
        day: NaiveDate,
        digests: bool,
    ) -> Result<Option<Reconciliation>, StoreError> {
        let mut client = self.data_client().await?;
        client.abandon();
        let tx = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await?;
        let Ok(report) = tokio::time::timeout(PATIENCE, reconcile(tx, batch_id, day, digests)).await else {
            return Err(no_answer(PATIENCE));
        };
        // Otherwise the transaction may still be open.
        if report.is_ok() {
            client.keep();
        }
        report
    }
}

async fn reconcile(
    tx: Transaction<'_>,
    batch_id: Uuid,
    day: NaiveDate,
    digests: bool,
) -> Result<Option<Reconciliation>, StoreError> {
    tx.batch_execute(SETTINGS).await?;
    tx.query(HOLD, &[]).await?;
    let row = tx.query_opt(TOTALS, &[&batch_id, &day]).await?.ok_or(StoreError::NotFound("batch"))?;
    if !row.try_get::<_, bool>("there")? {
        tx.commit().await?;
        return Ok(None);
    }
    let mut report = counted(&row)?;
    let chunks = tx.prepare(CHUNKS).await?;
    let portal = tx.bind(&chunks, &[&batch_id, &day]).await?;
    let mut sums = digests.then(Digests::default);
    loop {
        let page = tx.query_portal(&portal, PAGE).await?;
        if page.is_empty() {
            break;
        }
        let page = page.iter().map(ChunkRow::read).collect::<Result<Vec<_>, _>>()?;
        for chunk in &page {
            report.add(chunk);
        }
        if let Some(sums) = &mut sums {
            report.unreadable += digest(&tx, day, &page, sums).await?;
        }
    }
    report.chunks.submitted += report.chunks.withdrawn;
    report.records.submitted += report.records.withdrawn;
    report.doubles = row.try_get::<_, i64>("results")? - (report.chunks.completed + report.chunks.failed);
    if report.is_dropped {
        (report.input_bytes, report.output_bytes) = (0, 0);
    }
    report.digests = sums.map(Digests::finish);
    tx.commit().await?;
    Ok(Some(report))
}

/// A row of [`CHUNKS`].
struct ChunkRow {
    id: String,
    number: i64,
    digest: Vec<u8>,
    records: i32,
    bytes: i32,
    outcome: Option<String>,
    result_bytes: i64,
    pulled: bool,
    records_failed: i64,
}

impl ChunkRow {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.try_get(0)?,
            number: row.try_get(1)?,
            digest: row.try_get(2)?,
            records: row.try_get(3)?,
            bytes: row.try_get(4)?,
            outcome: row.try_get(5)?,
            result_bytes: row.try_get::<_, Option<i32>>(6)?.unwrap_or(0).into(),
            pulled: row.try_get(7)?,
            records_failed: row.try_get::<_, Option<i32>>(8)?.unwrap_or(0).into(),
        })
    }
}

/// The counters' side of the report.
fn counted(row: &Row) -> Result<Reconciliation, StoreError> {
    let number = |index: usize| row.try_get::<_, i64>(index);
    // Completed and failed exclude each other here; counters of finished records include failed ones.
    let tally = |at: usize, finished: i64, completed: i64, failed: i64| {
        let (submitted, pulled) = (number(at)?, number(at + 3)?);
        let (waiting, unpulled) = (submitted - finished, finished - pulled);
        Ok::<_, StoreError>(Tally { submitted, completed, failed, withdrawn: 0, waiting, pulled, unpulled })
    };
    let (completed, failed) = (number(3)?, number(4)?);
    let (records, records_failed) = (number(7)?, number(8)?);
    Ok(Reconciliation {
        at: row.try_get(0)?,
        is_dropped: row.try_get(1)?,
        chunks: Tally { withdrawn: number(12)?, ..Tally::default() },
        records: Tally { withdrawn: number(13)?, ..Tally::default() },
        input_bytes: 0,
        output_bytes: 0,
        counted_chunks: tally(2, completed + failed, completed, failed)?,
        counted_records: tally(6, records, records - records_failed, records_failed)?,
        counted_input_bytes: number(10)?,
        counted_output_bytes: number(11)?,
        doubles: 0,
        unreadable: 0,
        digests: None,
    })
}

impl Reconciliation {
    fn add(&mut self, chunk: &ChunkRow) {
        let records = i64::from(chunk.records);
        self.chunks.submitted += 1;
        self.records.submitted += records;
        match chunk.outcome.as_deref() {
            None => {
                self.chunks.waiting += 1;
                self.records.waiting += records;
                self.input_bytes += i64::from(chunk.bytes);
                return;
            }
            Some("failed") => {
                self.chunks.failed += 1;
                self.records.failed += records;
            }
            Some(_) => {
                self.chunks.completed += 1;
                self.records.failed += chunk.records_failed;
                self.records.completed += records - chunk.records_failed;
            }
        }
        let (chunks, of_records) = if chunk.pulled {
            (&mut self.chunks.pulled, &mut self.records.pulled)
        } else {
            self.output_bytes += chunk.result_bytes;
            (&mut self.chunks.unpulled, &mut self.records.unpulled)
        };
        *chunks += 1;
        *of_records += records;
    }

    /// Whether rows and counters agree, everything that was submitted is accounted for, and nothing is there twice or broken.
    pub fn is_balanced(&self) -> bool {
        let adds_up = |tally: &Tally| {
            tally.submitted == tally.completed + tally.failed + tally.withdrawn + tally.waiting
        };
        let agree = |rows: &Tally, counted: &Tally| {
            Tally { submitted: rows.submitted - rows.withdrawn, withdrawn: 0, ..*rows } == *counted
        };
        adds_up(&self.chunks)
            && adds_up(&self.records)
            && self.doubles == 0
            && self.unreadable == 0
            && agree(&self.chunks, &self.counted_chunks)
            && agree(&self.records, &self.counted_records)
            && self.input_bytes == self.counted_input_bytes
            && self.output_bytes == self.counted_output_bytes
    }
}

/// Adds a page to the digests, reading its results a few megabytes at a time. Returns how many of them cannot be read.
async fn digest(
    tx: &Transaction<'_>,
    day: NaiveDate,
    page: &[ChunkRow],
    sums: &mut Digests,
) -> Result<i64, StoreError> {
    let mut rest = page;
    let mut unreadable = 0;
    while !rest.is_empty() {
        let (mut bytes, mut count) = (0, 0);
        for chunk in rest {
            if count > 0 && bytes + chunk.result_bytes > BODIES {
                break;
            }
            bytes += chunk.result_bytes;
            count += 1;
        }
        let (now, later) = rest.split_at(count);
        rest = later;
        let numbers: Vec<i64> =
            now.iter().filter(|chunk| chunk.outcome.is_some()).map(|chunk| chunk.number).collect();
        let rows = tx.query(BODY, &[&day, &numbers]).await?;
        let mut bodies = Vec::with_capacity(rows.len());
        for row in &rows {
            let (number, bytes): (i64, i32) = (row.try_get(0)?, row.try_get(1)?);
            bodies.push((number, bytes, row.try_get::<_, bool>(2)?, row.try_get::<_, Vec<u8>>(3)?));
        }
        let results = tokio::task::spawn_blocking(move || {
            let digest = |(number, bytes, compressed, body): (i64, i32, bool, Vec<u8>)| {
                let unpacked = if compressed {
                    zstd::bulk::decompress(&body, usize::try_from(bytes).unwrap_or(0)).ok()?
                } else {
                    body
                };
                Some((number, result_digest(&unpacked)?))
            };
            bodies.into_iter().filter_map(digest).collect::<HashMap<i64, [u8; 32]>>()
        });
        let results = results.await.map_err(|error| StoreError::Corrupt(error.to_string()))?;
        for chunk in now {
            let result = results.get(&chunk.number);
            unreadable += i64::from(chunk.outcome.is_some() && result.is_none());
            sums.add(&chunk.id, &chunk.digest, result);
        }
    }
    Ok(unreadable)
}
