-- Terms of a batch that may change while it runs.

-- Tolerated share of failed records, in per cent of the submitted ones; NULL for no such limit.
ALTER TABLE batches ADD COLUMN acceptable_record_error_percentage double precision
    CHECK (acceptable_record_error_percentage >= 0 AND acceptable_record_error_percentage <= 100);
-- Whether the batch stops as soon as it is certain to fail, and when it did so: what had no outcome by then ends as failed chunks.
ALTER TABLE batches ADD COLUMN early_stop boolean NOT NULL DEFAULT false;
ALTER TABLE batches ADD COLUMN stopped_at timestamptz;

-- The sums of each batch's counters, and its busy slots. Code joins `batches` with this view, so a new column of `batches` needs
-- no new view. `batch_views` stays for binaries of before.
CREATE VIEW batch_sums AS
SELECT b.id AS batch_id,
       c.*,
       coalesce((SELECT sum((w.busy ->> b.id::text)::bigint) FROM workers w), 0)::bigint AS workers_in_use
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
