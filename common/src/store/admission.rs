//! Admission: whether a push fits its batch, and its chunk rows (data plane; design section 2, step 2).

use chrono::NaiveDate;
use futures_util::future::try_join_all;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::batches::ADMISSION_SLOT;
use super::data::pipelined;
use super::retry::retrying;
use super::views::{BatchView, VIEWS, read_view};
use super::{Store, StoreError};
use crate::model::BatchState;

/// The chunks of one push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// The batch.
    pub batch_id: Uuid,
    /// The batch's day.
    pub day: NaiveDate,
    /// The chunks; ids are distinct.
    pub chunks: Vec<PushedChunk>,
}

/// A chunk as the store sees it: no content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedChunk {
    /// The caller's id.
    pub chunk_id: String,
    /// BLAKE3 of the chunk's data.
    pub digest: [u8; 32],
    /// Records in the chunk.
    pub records: i32,
    /// What the chunk takes of the input budget.
    pub bytes: i32,
}

/// The answer to a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// The chunks are stored. Publish those listed, then call [`Store::mark_queued`].
    Admitted {
        /// The batch's lane.
        lane_id: i32,
        /// The lease number that messages carry.
        epoch: i64,
        /// New chunks, and chunks of an earlier try whose confirms never came. A chunk that is queued already is absent.
        publish: Vec<(String, i64)>,
    },
    /// No such batch.
    NotFound,
    /// The batch takes no chunks any more.
    NotOpen(BatchState),
    /// These ids are taken by other content.
    Conflict {
        /// The ids.
        chunk_ids: Vec<String>,
    },
    /// The push is larger than the whole input buffer.
    TooLarge {
        /// Bytes of the push that are new.
        needed: i64,
        /// Size of the buffer.
        allocated: i64,
    },
    /// The input buffer has not enough room now.
    InputFull {
        /// Bytes of the push that are new.
        needed: i64,
        /// Bytes that are free.
        free: i64,
    },
}

/// A push whose confirms are all in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedPush {
    /// The batch.
    pub batch_id: Uuid,
    /// The batch's day.
    pub day: NaiveDate,
    /// The published chunks with their numbers.
    pub chunks: Vec<(String, i64)>,
}

/// What became of a push whose confirms are in.
#[derive(Debug, Clone, PartialEq)]
pub struct Marked {
    /// Chunks that were withdrawn before: a push with such chunks has not succeeded, and must be made again.
    pub withdrawn: Vec<String>,
    /// Its batch, the push included; `None` when that is gone.
    pub view: Option<BatchView>,
}

const LOCK: &str = "
-- admission: lock
SELECT batch_id FROM batch_counters WHERE batch_id = ANY($1) AND slot = $2 ORDER BY batch_id FOR UPDATE";

/// One push, all or nothing. The budget check reads released bytes conservatively: workers only ever lower `input_bytes`.
const ADMIT: &str = "
-- admission: admit
WITH input AS (
    SELECT * FROM unnest($3::text[], $4::bytea[], $5::int4[], $6::int4[]) AS t (chunk_id, digest, records, bytes)
), batch AS (
    SELECT state, input_allocated, lane_id, lane_epoch,
           (SELECT sum(input_bytes) FROM batch_counters WHERE batch_id = $1)::bigint AS used
    FROM batches WHERE id = $1
), known AS (
    SELECT c.chunk_id, c.chunk_no, c.digest = i.digest AS same, c.queued_at IS NULL AS accepted
    FROM input i CROSS JOIN LATERAL (
        -- The limit keeps this a look-up by key whatever the planner thinks of the table.
        SELECT * FROM chunks WHERE day = $2 AND batch_id = $1 AND chunk_id = i.chunk_id LIMIT 1
    ) c
), fresh AS (
    SELECT * FROM input i WHERE NOT EXISTS (SELECT FROM known k WHERE k.chunk_id = i.chunk_id)
), need AS (
    SELECT count(*) AS chunks, coalesce(sum(records), 0)::bigint AS records, coalesce(sum(bytes), 0)::bigint AS bytes,
           coalesce(max(bytes), 0) AS largest
    FROM fresh
), verdict AS (
    SELECT CASE
        WHEN batch.state <> 'open' THEN 'not_open'
        WHEN EXISTS (SELECT FROM known WHERE NOT same) THEN 'conflict'
        WHEN need.bytes > batch.input_allocated THEN 'too_large'
        WHEN batch.used + need.bytes > batch.input_allocated THEN 'input_full'
        ELSE 'admitted'
    END AS verdict
    FROM batch, need
), inserted AS (
    INSERT INTO chunks (day, batch_id, chunk_id, digest, records, bytes)
    SELECT $2, $1, f.chunk_id, f.digest, f.records, f.bytes FROM fresh f, verdict v WHERE v.verdict = 'admitted'
    RETURNING chunk_id, chunk_no
), counted AS (
    UPDATE batch_counters SET
        chunks_submitted = chunks_submitted + need.chunks,
        records_submitted = records_submitted + need.records,
        input_bytes = input_bytes + need.bytes,
        input_total = input_total + need.bytes,
        largest_chunk = greatest(largest_chunk, need.largest),
        touched_at = clock_timestamp()
    FROM need, verdict
    WHERE batch_id = $1 AND slot = $7 AND verdict.verdict = 'admitted'
), publish AS (
    SELECT chunk_id, chunk_no FROM inserted
    UNION ALL
    SELECT chunk_id, chunk_no FROM known WHERE accepted
)
SELECT verdict.verdict, batch.state, batch.input_allocated, batch.used, need.bytes, batch.lane_id, batch.lane_epoch,
       ARRAY(SELECT chunk_id FROM publish ORDER BY chunk_no),
       ARRAY(SELECT chunk_no FROM publish ORDER BY chunk_no),
       ARRAY(SELECT chunk_id FROM known WHERE NOT same ORDER BY chunk_id)
FROM batch, need, verdict";

/// The number tells a chunk from a newer one of the same id. Rows that are gone were withdrawn; they are only looked for when
/// not every chunk was marked now.
const MARK_QUEUED: &str = "
-- admission: mark queued
WITH marked AS (
    UPDATE chunks SET queued_at = clock_timestamp()
    WHERE day = $2 AND batch_id = $1 AND chunk_id = ANY($3) AND chunk_no = ANY($4) AND queued_at IS NULL
    RETURNING 1
), counted AS (
    UPDATE batch_counters SET chunks_queued = chunks_queued + (SELECT count(*) FROM marked)
    WHERE batch_id = $1 AND slot = $5
)
SELECT p.chunk_id FROM unnest($3::text[], $4::int8[]) AS p (chunk_id, chunk_no)
WHERE (SELECT count(*) FROM marked) < cardinality($3) AND NOT EXISTS (
    SELECT FROM chunks c
    WHERE c.day = $2 AND c.batch_id = $1 AND c.chunk_id = p.chunk_id AND c.chunk_no = p.chunk_no)";

impl Store {
    /// Admits a group of pushes in one transaction; each of them on its own is stored wholly or not at all. The answers come in
    /// the order of the pushes.
    pub async fn admit(&self, pushes: &[Push]) -> Result<Vec<Admission>, StoreError> {
        retrying("admit", || self.admit_once(pushes)).await
    }

    async fn admit_once(&self, pushes: &[Push]) -> Result<Vec<Admission>, StoreError> {
        let client = self.data_client().await?;
        let (lock, admit) = tokio::try_join!(client.prepare_cached(LOCK), client.prepare_cached(ADMIT))?;
        let batches = batch_ids(pushes.iter().map(|push| push.batch_id));
        let columns: Vec<_> = pushes.iter().map(PushColumns::new).collect();

        let locked: [&(dyn ToSql + Sync); 2] = [&batches, &ADMISSION_SLOT];
        // Everything is sent at once: the group costs one round trip and one flush of the log.
        let rows = pipelined(&client, "push.inserted", async {
            let (_, rows) = tokio::try_join!(
                biased;
                client.query(&lock, &locked),
                try_join_all(pushes.iter().zip(&columns).map(|(push, columns)| {
                    let parameters: [&(dyn ToSql + Sync); 7] = [
                        &push.batch_id,
                        &push.day,
                        &columns.ids,
                        &columns.digests,
                        &columns.records,
                        &columns.bytes,
                        &ADMISSION_SLOT,
                    ];
                    let client = &client;
                    let admit = &admit;
                    async move { client.query_opt(admit, &parameters).await }
                }))
            )?;
            Ok(rows)
        })
        .await?;
        rows.into_iter().map(|row| row.map_or(Ok(Admission::NotFound), |row| read_admission(&row))).collect()
    }

    /// Records that the confirms of these pushes are in: their chunks are queued. Returns for each push what became of it.
    pub async fn mark_queued(&self, pushes: &[QueuedPush]) -> Result<Vec<Marked>, StoreError> {
        retrying("mark_queued", || self.mark_queued_once(pushes)).await
    }

    async fn mark_queued_once(&self, pushes: &[QueuedPush]) -> Result<Vec<Marked>, StoreError> {
        let client = self.data_client().await?;
        let (lock, mark, views) = tokio::try_join!(
            client.prepare_cached(LOCK),
            client.prepare_cached(MARK_QUEUED),
            client.prepare_cached(VIEWS)
        )?;
        let batches = batch_ids(pushes.iter().map(|push| push.batch_id));
        let columns: Vec<(Vec<&str>, Vec<i64>)> = pushes
            .iter()
            .map(|push| push.chunks.iter().map(|(id, number)| (id.as_str(), *number)).unzip())
            .collect();
        let locked: [&(dyn ToSql + Sync); 2] = [&batches, &ADMISSION_SLOT];
        let viewed: [&(dyn ToSql + Sync); 1] = [&batches];
        let (gone, views) = pipelined(&client, "push.marked", async {
            let (_, gone, views) = tokio::try_join!(
                biased;
                client.query(&lock, &locked),
                try_join_all(pushes.iter().zip(&columns).map(|(push, (ids, numbers))| {
                    let client = &client;
                    let mark = &mark;
                    async move {
                        let parameters: [&(dyn ToSql + Sync); 5] =
                            [&push.batch_id, &push.day, ids, numbers, &ADMISSION_SLOT];
                        client.query(mark, &parameters).await
                    }
                })),
                client.query(&views, &viewed)
            )?;
            Ok((gone, views))
        })
        .await?;
        let views = views.iter().map(read_view).collect::<Result<Vec<_>, StoreError>>()?;
        let marked = |(push, rows): (&QueuedPush, Vec<tokio_postgres::Row>)| {
            let withdrawn = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
            let view = views.iter().find(|view| view.batch.id == push.batch_id).cloned();
            Ok(Marked { withdrawn, view })
        };
        pushes.iter().zip(gone).map(marked).collect()
    }
}

/// Distinct ids in the order in which every writer locks.
pub(super) fn batch_ids(ids: impl Iterator<Item = Uuid>) -> Vec<Uuid> {
    let mut ids: Vec<Uuid> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The columns of a push.
struct PushColumns<'a> {
    ids: Vec<&'a str>,
    digests: Vec<&'a [u8]>,
    records: Vec<i32>,
    bytes: Vec<i32>,
}

impl<'a> PushColumns<'a> {
    fn new(push: &'a Push) -> Self {
        Self {
            ids: push.chunks.iter().map(|chunk| chunk.chunk_id.as_str()).collect(),
            digests: push.chunks.iter().map(|chunk| chunk.digest.as_slice()).collect(),
            records: push.chunks.iter().map(|chunk| chunk.records).collect(),
            bytes: push.chunks.iter().map(|chunk| chunk.bytes).collect(),
        }
    }
}

fn read_admission(row: &tokio_postgres::Row) -> Result<Admission, StoreError> {
    let verdict: &str = row.try_get(0)?;
    let (allocated, used, needed): (i64, i64, i64) = (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
    Ok(match verdict {
        "not_open" => Admission::NotOpen(row.try_get::<_, &str>(1)?.parse().map_err(StoreError::Corrupt)?),
        "conflict" => Admission::Conflict { chunk_ids: row.try_get(9)? },
        "too_large" => Admission::TooLarge { needed, allocated },
        "input_full" => Admission::InputFull { needed, free: (allocated - used).max(0) },
        _ => {
            let missing = || StoreError::Corrupt("an open batch without a lane".to_owned());
            let (ids, numbers): (Vec<String>, Vec<i64>) = (row.try_get(7)?, row.try_get(8)?);
            Admission::Admitted {
                lane_id: row.try_get::<_, Option<i32>>(5)?.ok_or_else(missing)?,
                epoch: row.try_get::<_, Option<i64>>(6)?.ok_or_else(missing)?,
                publish: ids.into_iter().zip(numbers).collect(),
            }
        }
    })
}
