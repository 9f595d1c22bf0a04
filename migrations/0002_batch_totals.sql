-- Totals over a whole batch, for batches that ask for them.

-- What was asked for: a list of {"output_name", "quantiles"}; NULL for nothing.
ALTER TABLE batches ADD COLUMN totals jsonb;

-- What a completed chunk adds, stored in the transaction that stores its result. Rows are folded into `batch_totals`, so this
-- table stays small. It is no column of `results`: those go with their day, these sums stay with their batch.
CREATE TABLE chunk_totals (
    batch_id uuid NOT NULL,
    chunk_no bigint NOT NULL,
    state    bytea NOT NULL,
    PRIMARY KEY (batch_id, chunk_no)
);
ALTER TABLE chunk_totals ALTER COLUMN state SET STORAGE EXTERNAL;

-- The sum of the rows folded so far, one row a batch.
CREATE TABLE batch_totals (
    batch_id uuid PRIMARY KEY REFERENCES batches,
    state    bytea NOT NULL
);

-- A view keeps the columns that its tables had when it was made.
DROP VIEW batch_views;
CREATE VIEW batch_views AS
SELECT b.*,
       c.*,
       coalesce((SELECT sum((w.busy ->> b.id::text)::bigint) FROM workers w), 0)::bigint AS workers_in_use,
       clock_timestamp() AS observed_at
FROM batches b
CROSS JOIN LATERAL (
    SELECT coalesce(sum(chunks_submitted), 0)::bigint  AS chunks_submitted,
           coalesce(sum(records_submitted), 0)::bigint AS records_submitted,
           coalesce(sum(chunks_queued), 0)::bigint     AS chunks_queued,
           coalesce(sum(chunks_completed), 0)::bigint  AS chunks_completed,
           coalesce(sum(chunks_failed), 0)::bigint     AS chunks_failed,
           coalesce(sum(records_completed), 0)::bigint AS records_completed,
           coalesce(sum(records_failed), 0)::bigint    AS records_failed,
           coalesce(sum(chunks_retried), 0)::bigint    AS chunks_retried,
           coalesce(sum(records_retried), 0)::bigint   AS records_retried,
           coalesce(sum(chunks_pulled), 0)::bigint     AS chunks_pulled,
           coalesce(sum(records_pulled), 0)::bigint    AS records_pulled,
           coalesce(sum(input_bytes), 0)::bigint       AS input_bytes,
           coalesce(sum(output_bytes), 0)::bigint      AS output_bytes,
           coalesce(sum(input_total), 0)::bigint       AS input_total,
           coalesce(sum(output_total), 0)::bigint      AS output_total,
           coalesce(max(largest_chunk), 0)::integer    AS largest_chunk,
           coalesce(sum(compute_ms), 0)::bigint        AS compute_ms,
           max(touched_at)                             AS touched_at
    FROM batch_counters
    WHERE batch_id = b.id
) c;
