//! Reading results without taking them: by cursor until they are acknowledged, and once more after they were pulled (data plane;
//! contract section 6, item 3).
//!
//! # Why a cursor never skips a chunk
//!
//! A cursor is an `ordinal`, given by a sequence when a result is inserted. A transaction that commits later may hold a smaller
//! one, and a reader that has gone past it would never see that chunk. So a reader stays below a *horizon* under which nothing
//! can appear any more. Every commit locks its slot of `batch_counters` before it draws an ordinal. The reader
//!
//! 1. notes the last ordinal that was drawn: the horizon;
//! 2. after that, looks which of the batch's worker slots a transaction holds that is still running (the `xmax` of their rows,
//!    against a snapshot), without waiting for locks or taking any;
//! 3. waits until these transactions have ended. Whatever was drawn below the horizon was drawn by one of them, or by one that
//!    had ended before, so it is visible now or never will be;
//! 4. reads up to the horizon.
//!
//! Writers pay nothing for this and are never held up; a reader waits for the commits under way, a few milliseconds.

use std::time::{Duration, Instant};

use chrono::NaiveDate;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::batches::{FIRST_WORKER_SLOT, PULL_SLOT};
use super::claims::{STATE, StoredResult, is_cancelled, read_result, record_pulled};
use super::data::{DataClient, pipelined};
use super::{Store, StoreError};

/// How long a reader waits for the commits under way. After that it is told that there is more, and asks again.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// The first pause between two looks at them; each is twice as long as the one before, up to the next constant.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// Rows that one statement acknowledges.
const ACK_ROWS: i64 = 2_000;

/// The answer to a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// No such batch.
    NotFound,
    /// The batch was cancelled: nothing of it is handed out any more.
    Cancelled,
    /// Results in order of completion.
    Page {
        /// The results; none when there is nothing behind the cursor.
        results: Vec<StoredResult>,
        /// Whether there are more right now.
        has_more: bool,
    },
}

/// The answer to an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledged {
    /// No such batch.
    NotFound,
    /// The batch was cancelled.
    Cancelled,
    /// So many chunks were freed; those that were acknowledged or pulled before count no second time.
    Chunks(u64),
}

/// A page bounded by count and bytes; a row more is looked at to tell whether there is more. Of the rows only the places are
/// gathered first, so that bodies are read for the page alone.
macro_rules! read_statement {
    ($name:literal, $rows:literal) => {
        concat!(
            "
-- reads: ",
            $name,
            "
WITH ready AS (
    SELECT chunk_no, ordinal, bytes, sum(bytes::bigint) OVER (ORDER BY ordinal) - bytes AS before,
           row_number() OVER (ORDER BY ordinal) AS place, count(*) OVER () AS there
    FROM (
        SELECT chunk_no, ordinal, bytes FROM results
        WHERE day = $2 AND batch_id = $1 AND ordinal > $3 AND ",
            $rows,
            "
          AND EXISTS (SELECT FROM batches WHERE id = $1 AND state <> 'cancelled' AND dropped_at IS NULL)
        ORDER BY ordinal LIMIT $4::int8 + 1
    ) found
)
SELECT chunk_id, ordinal, bytes, compressed, body, (SELECT max(there) FROM ready)
FROM results
WHERE day = $2 AND chunk_no = ANY(ARRAY(
    SELECT chunk_no FROM ready WHERE place <= $4::int8 AND (before = 0 OR before + bytes <= $5::int8)))
ORDER BY ordinal"
        )
    };
}

const READ: &str = read_statement!("unpulled", "pulled_at IS NULL AND ordinal <= $6");

const READ_AGAIN: &str = read_statement!(
    "pulled",
    "pulled_at IS NOT NULL AND outcome <> 'withdrawn' AND pulled_at > clock_timestamp() - make_interval(secs => $6)"
);

/// Both together. Each half has an index of its own.
const READ_ALL: &str = "
-- reads: all
WITH ready AS (
    SELECT chunk_no, ordinal, bytes, sum(bytes::bigint) OVER (ORDER BY ordinal) - bytes AS before,
           row_number() OVER (ORDER BY ordinal) AS place, count(*) OVER () AS there
    FROM (
        (SELECT chunk_no, ordinal, bytes FROM results
         WHERE day = $2 AND batch_id = $1 AND ordinal > $3 AND ordinal <= $6 AND pulled_at IS NULL
         ORDER BY ordinal LIMIT $4::int8 + 1)
        UNION ALL
        (SELECT chunk_no, ordinal, bytes FROM results
         WHERE day = $2 AND batch_id = $1 AND ordinal > $3 AND ordinal <= $6 AND pulled_at IS NOT NULL
           AND outcome <> 'withdrawn' AND pulled_at > clock_timestamp() - make_interval(secs => $7)
         ORDER BY ordinal LIMIT $4::int8 + 1)
        ORDER BY ordinal LIMIT $4::int8 + 1
    ) found
    WHERE EXISTS (SELECT FROM batches WHERE id = $1 AND state <> 'cancelled' AND dropped_at IS NULL)
)
SELECT chunk_id, ordinal, bytes, compressed, body, (SELECT max(there) FROM ready)
FROM results
WHERE day = $2 AND chunk_no = ANY(ARRAY(
    SELECT chunk_no FROM ready WHERE place <= $4::int8 AND (before = 0 OR before + bytes <= $5::int8)))
ORDER BY ordinal";

const GONE: &str = "
-- reads: gone
SELECT count(*) FROM results
WHERE day = $2 AND batch_id = $1 AND pulled_at IS NOT NULL AND outcome <> 'withdrawn'
  AND pulled_at <= clock_timestamp() - make_interval(secs => $3)";

const HORIZON: &str = "
-- reads: horizon
SELECT last_value FROM result_order";

const WRITERS: &str = "
-- reads: writers
SELECT xmax::text::int8, pg_current_snapshot()::text FROM batch_counters WHERE batch_id = $1 AND slot >= $2";

const SNAPSHOT: &str = "
-- reads: snapshot
SELECT pg_current_snapshot()::text";

const LOCK: &str = "
-- reads: lock
SELECT batch_id FROM batch_counters WHERE batch_id = $1 AND slot = $2 FOR UPDATE";

const ACK: &str = "
-- reads: acknowledge
WITH acked AS (
    UPDATE results r SET pulled_at = clock_timestamp()
    WHERE r.day = $2 AND r.chunk_no = ANY(ARRAY(
        SELECT chunk_no FROM results
        WHERE day = $2 AND batch_id = $1 AND pulled_at IS NULL AND ordinal <= $3
          AND EXISTS (SELECT FROM batches WHERE id = $1 AND state <> 'cancelled' AND dropped_at IS NULL)
        ORDER BY ordinal LIMIT $4
        FOR UPDATE))
    RETURNING r.records, r.bytes
), counted AS (
    UPDATE batch_counters SET
        chunks_pulled = chunks_pulled + (SELECT count(*) FROM acked),
        records_pulled = records_pulled + (SELECT coalesce(sum(records), 0) FROM acked),
        output_bytes = output_bytes - (SELECT coalesce(sum(bytes), 0) FROM acked),
        touched_at = clock_timestamp()
    WHERE batch_id = $1 AND slot = $5
)
SELECT count(*), coalesce(sum(bytes), 0)::int8 FROM acked";

impl Store {
    /// Finished chunks behind `after` that were neither pulled nor acknowledged: at most `max_chunks`, and at most `max_bytes`
    /// (but always at least one). Nothing is changed. No chunk ever appears before a place that was handed out.
    pub async fn read_results(
        &self,
        batch_id: Uuid,
        day: NaiveDate,
        after: i64,
        max_chunks: i64,
        max_bytes: i64,
    ) -> Result<Reading, StoreError> {
        let client = self.data_client().await?;
        let Some(horizon) = client.in_time(settled_horizon(&client, batch_id)).await? else {
            return Ok(Reading::Page { results: Vec::new(), has_more: true });
        };
        let parameters: [&(dyn ToSql + Sync); 6] =
            [&batch_id, &day, &after, &max_chunks, &max_bytes, &horizon];
        client.in_time(read(&client, READ, batch_id, &parameters)).await
    }

    /// Chunks behind `after` that were pulled or acknowledged within the last `grace_seconds`, as [`Store::read_results`].
    pub async fn read_pulled_results(
        &self,
        batch_id: Uuid,
        day: NaiveDate,
        after: i64,
        max_chunks: i64,
        max_bytes: i64,
        grace_seconds: f64,
    ) -> Result<Reading, StoreError> {
        let client = self.data_client().await?;
        let parameters: [&(dyn ToSql + Sync); 6] =
            [&batch_id, &day, &after, &max_chunks, &max_bytes, &grace_seconds];
        client.in_time(read(&client, READ_AGAIN, batch_id, &parameters)).await
    }

    /// Chunks behind `after`, whether they were pulled or not, those pulled more than `grace_seconds` ago left out; otherwise as
    /// [`Store::read_results`].
    pub async fn read_all_results(
        &self,
        batch_id: Uuid,
        day: NaiveDate,
        after: i64,
        max_chunks: i64,
        max_bytes: i64,
        grace_seconds: f64,
    ) -> Result<Reading, StoreError> {
        let client = self.data_client().await?;
        let Some(horizon) = client.in_time(settled_horizon(&client, batch_id)).await? else {
            return Ok(Reading::Page { results: Vec::new(), has_more: true });
        };
        let parameters: [&(dyn ToSql + Sync); 7] =
            [&batch_id, &day, &after, &max_chunks, &max_bytes, &horizon, &grace_seconds];
        client.in_time(read(&client, READ_ALL, batch_id, &parameters)).await
    }

    /// Chunks that [`Store::read_all_results`] leaves out because they were pulled more than `grace_seconds` ago.
    pub async fn count_gone_results(
        &self,
        batch_id: Uuid,
        day: NaiveDate,
        grace_seconds: f64,
    ) -> Result<i64, StoreError> {
        let client = self.data_client().await?;
        let gone = client.prepare_cached(GONE).await?;
        let parameters: [&(dyn ToSql + Sync); 3] = [&batch_id, &day, &grace_seconds];
        let row = client.in_time(async { Ok(client.query_one(&gone, &parameters).await?) }).await?;
        Ok(row.try_get(0)?)
    }

    /// Frees everything up to a place that was handed out. May be repeated.
    pub async fn acknowledge_results(
        &self,
        batch_id: Uuid,
        day: NaiveDate,
        up_to: i64,
    ) -> Result<Acknowledged, StoreError> {
        let client = self.data_client().await?;
        let (lock, state, ack) = tokio::try_join!(
            client.prepare_cached(LOCK),
            client.prepare_cached(STATE),
            client.prepare_cached(ACK)
        )?;
        let locked: [&(dyn ToSql + Sync); 2] = [&batch_id, &PULL_SLOT];
        let of_batch: [&(dyn ToSql + Sync); 1] = [&batch_id];
        let acked: [&(dyn ToSql + Sync); 5] = [&batch_id, &day, &up_to, &ACK_ROWS, &PULL_SLOT];
        let mut freed = 0;
        loop {
            let (state, row) = pipelined(&client, "pull.acknowledged", async {
                let (_, state, row) = tokio::try_join!(
                    biased;
                    client.query(&lock, &locked),
                    client.query_opt(&state, &of_batch),
                    client.query_one(&ack, &acked)
                )?;
                Ok((state, row))
            })
            .await?;
            let Some(state) = state else { return Ok(Acknowledged::NotFound) };
            if is_cancelled(&state)? {
                return Ok(Acknowledged::Cancelled);
            }
            let rows: i64 = row.try_get(0)?;
            freed += rows.unsigned_abs();
            record_pulled(usize::try_from(rows).unwrap_or(0), row.try_get(1)?);
            if rows < ACK_ROWS {
                return Ok(Acknowledged::Chunks(freed));
            }
        }
    }
}

async fn read(
    client: &DataClient,
    statement: &str,
    batch_id: Uuid,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Reading, StoreError> {
    let (state, statement) =
        tokio::try_join!(client.prepare_cached(STATE), client.prepare_cached(statement))?;
    let of_batch: [&(dyn ToSql + Sync); 1] = [&batch_id];
    // The state is read after the rows: what a cancelled batch had is not handed out.
    let (rows, state) =
        tokio::try_join!(client.query(&statement, parameters), client.query_opt(&state, &of_batch))?;
    let Some(state) = state else { return Ok(Reading::NotFound) };
    if is_cancelled(&state)? {
        return Ok(Reading::Cancelled);
    }
    let there: i64 = rows.first().map(|row| row.try_get(5)).transpose()?.unwrap_or(0);
    let has_more = there.unsigned_abs() > rows.len() as u64;
    let results = rows.iter().map(read_result).collect::<Result<_, StoreError>>()?;
    Ok(Reading::Page { results, has_more })
}

/// The last ordinal below which nothing of the batch can appear any more; `None` while a commit takes too long.
async fn settled_horizon(client: &DataClient, batch_id: Uuid) -> Result<Option<i64>, StoreError> {
    let (horizon, writers) =
        tokio::try_join!(client.prepare_cached(HORIZON), client.prepare_cached(WRITERS))?;
    let slots: [&(dyn ToSql + Sync); 2] = [&batch_id, &FIRST_WORKER_SLOT];
    // Pipelined on one connection, so the second one starts when the first has ended.
    let (horizon, writers) =
        tokio::try_join!(client.query_one(&horizon, &[]), client.query(&writers, &slots))?;
    let horizon = horizon.try_get(0)?;
    let mut running = Vec::new();
    for row in &writers {
        let snapshot = Snapshot::read(row.try_get(1)?)?;
        running.extend(snapshot.widen(row.try_get(0)?).filter(|xid| snapshot.is_running(*xid)));
    }
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    while !running.is_empty() {
        if started.elapsed() > LONGEST_WAIT {
            return Ok(None);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        let snapshot = client.prepare_cached(SNAPSHOT).await?;
        let row = client.query_one(&snapshot, &[]).await?;
        let snapshot = Snapshot::read(row.try_get(0)?)?;
        running.retain(|xid| snapshot.is_running(*xid));
    }
    Ok(Some(horizon))
}

/// Which transactions were running at one instant: `xmin:xmax:xid,xid,…`, as the database writes it.
#[derive(Debug, PartialEq, Eq)]
struct Snapshot {
    /// One behind the last id that had ended then.
    end: u64,
    running: Vec<u64>,
}

impl Snapshot {
    fn read(text: &str) -> Result<Self, StoreError> {
        let broken = || StoreError::Corrupt(format!("the snapshot {text:?} cannot be read"));
        let number = |text: &str| text.parse::<u64>().map_err(|_| broken());
        let mut parts = text.splitn(3, ':');
        let (Some(_), Some(end), Some(list)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(broken());
        };
        let running = list.split(',').filter(|xid| !xid.is_empty()).map(number).collect::<Result<_, _>>()?;
        Ok(Self { end: number(end)?, running })
    }

    /// A row's `xmax` (32 bits) as a whole id: the one next to the snapshot. `None` for ids that stand for no transaction.
    fn widen(&self, xmax: i64) -> Option<u64> {
        /// Below are ids with a meaning of their own.
        const FIRST_NORMAL: u32 = 3;
        let xmax = u32::try_from(xmax).ok().filter(|xmax| *xmax >= FIRST_NORMAL)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "ids wrap around")]
        let distance = xmax.wrapping_sub(self.end as u32) as i32;
        self.end.checked_add_signed(distance.into())
    }

    /// Whether an id that was seen in a row had not ended. Ids behind those of the snapshot are of transactions that no later
    /// one has outrun yet: nothing lists them.
    fn is_running(&self, xid: u64) -> bool {
        xid >= self.end || self.running.contains(&xid)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_snapshot_tells_who_was_running() {
        let snapshot = Snapshot::read("10:20:10,14").unwrap();
        let running: Vec<u64> = (5..23).filter(|xid| snapshot.is_running(*xid)).collect();
        assert_eq!(running, [10, 14, 20, 21, 22]);
        assert_eq!(Snapshot::read("7:7:").unwrap(), Snapshot { end: 7, running: Vec::new() });
        for broken in ["", "1", "1:2", "1:x:", "1:2:3,y"] {
            assert!(Snapshot::read(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn short_ids_are_widened_next_to_the_snapshot() {
        let at = |end: u64| Snapshot { end, running: Vec::new() };
        let epoch = 1_u64 << 32;
        assert_eq!(at(1_000).widen(998), Some(998));
        assert_eq!(at(1_000).widen(1_002), Some(1_002));
        assert_eq!(at(5 * epoch + 10).widen(9), Some(5 * epoch + 9));
        assert_eq!(at(5 * epoch + 10).widen(i64::from(u32::MAX)), Some(5 * epoch - 1));
        assert_eq!(at(5 * epoch - 1).widen(4), Some(5 * epoch + 4));
        for none in [0, 1, 2, -1] {
            assert_eq!(at(1_000).widen(none), None);
        }
    }
}
