//! What failed in a batch, and why (data plane). Nothing is changed by looking.

use chrono::NaiveDate;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{Store, StoreError};

/// Which failures are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureKinds {
    /// Chunks that could not be processed.
    pub chunks: bool,
    /// Records with errors in completed chunks.
    pub records: bool,
}

impl FailureKinds {
    /// Everything that failed.
    pub const ALL: Self = Self { chunks: true, records: true };

    /// `chunks`, `records` or `all`: as it is stored and answered.
    pub const fn as_str(self) -> &'static str {
        match (self.chunks, self.records) {
            (true, false) => "chunks",
            (false, true) => "records",
            _ => "all",
        }
    }

    /// Reads what [`FailureKinds::as_str`] wrote; callers may use the singular as well.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "all" => Some(Self::ALL),
            "chunks" | "chunk" => Some(Self { chunks: true, records: false }),
            "records" | "record" => Some(Self { chunks: false, records: true }),
            _ => None,
        }
    }
}

/// A chunk that failed, or that has failed records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedChunk {
    /// Its number.
    pub chunk_no: i64,
    /// The caller's id.
    pub chunk_id: String,
    /// Records in the chunk.
    pub records: i32,
    /// The numbers of the failed records, from 0 on, ascending; `None` when the whole chunk failed.
    pub positions: Option<Vec<i32>>,
    /// Whether its input is there to be done again.
    pub input_kept: bool,
    /// Size of the result before compression, in bytes.
    pub bytes: i32,
    /// Whether the result is compressed with zstd.
    pub compressed: bool,
    /// Its result: the errors are in there.
    pub body: Vec<u8>,
}

const PAGE: &str = "
-- failures: page
WITH places AS (
    SELECT chunk_no FROM (
        (SELECT chunk_no FROM results
         WHERE $5::bool AND day = $1 AND batch_id = $2 AND outcome = 'failed' AND outcome <> 'completed' AND chunk_no >= $3
         ORDER BY chunk_no LIMIT $4)
        UNION ALL
        (SELECT chunk_no FROM failed_work
         WHERE $6::bool AND day = $1 AND batch_id = $2 AND kind = 'records' AND chunk_no >= $3
         ORDER BY chunk_no LIMIT $4)
    ) either ORDER BY chunk_no LIMIT $4
), sized AS (
    SELECT r.chunk_no, r.bytes, sum(r.bytes::bigint) OVER (ORDER BY r.chunk_no) - r.bytes AS before
    FROM places p JOIN results r ON r.day = $1 AND r.chunk_no = p.chunk_no
)
SELECT r.chunk_no, r.chunk_id, r.records, w.positions, w.input IS NOT NULL, r.bytes, r.compressed, r.body
FROM sized s JOIN results r ON r.day = $1 AND r.chunk_no = s.chunk_no
LEFT JOIN failed_work w ON w.day = $1 AND w.chunk_no = s.chunk_no
WHERE s.before = 0 OR s.before + s.bytes <= $7::int8
ORDER BY r.chunk_no";

impl Store {
    /// Failed chunks from the number `from` on, in the order of their numbers: at most `max_chunks`, and at most `max_bytes` of
    /// results before compression (but always at least one).
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn failed_chunks(
        &self,
        batch_id: Uuid,
        day: NaiveDate,
        kinds: FailureKinds,
        from: i64,
        max_chunks: i64,
        max_bytes: i64,
    ) -> Result<Vec<FailedChunk>, StoreError> {
        let client = self.data_client().await?;
        let page = client.prepare_cached(PAGE).await?;
        let wanted: [&(dyn ToSql + Sync); 7] =
            [&day, &batch_id, &from, &max_chunks, &kinds.chunks, &kinds.records, &max_bytes];
        let rows = client.in_time(async { Ok(client.query(&page, &wanted).await?) }).await?;
        let read = |row: &tokio_postgres::Row| {
            Ok(FailedChunk {
                chunk_no: row.try_get(0)?,
                chunk_id: row.try_get(1)?,
                records: row.try_get(2)?,
                positions: row.try_get(3)?,
                input_kept: row.try_get(4)?,
                bytes: row.try_get(5)?,
                compressed: row.try_get(6)?,
                body: row.try_get(7)?,
            })
        };
        rows.iter().map(read).collect()
    }
}
