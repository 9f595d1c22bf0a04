-- Work that failed, kept so that it can be looked at and done again; and results that can be handed out again.

-- Pulled results in order of completion: what a redelivery reads.
CREATE INDEX results_pulled ON results (batch_id, ordinal) WHERE pulled_at IS NOT NULL AND outcome <> 'withdrawn';

-- Failed and withdrawn chunks, few as a rule.
CREATE INDEX results_exceptions ON results (batch_id, chunk_no) WHERE outcome <> 'completed';

-- A failed chunk, or the failed records of a completed one, stored in the transaction that stores the result. Message bodies
-- are gone once a chunk is acknowledged, so this is the only copy of their inputs.
CREATE TABLE failed_work (
    day       date NOT NULL,
    chunk_no  bigint NOT NULL,
    batch_id  uuid NOT NULL,
    kind      text NOT NULL CHECK (kind IN ('chunk', 'records')),
    -- How many records failed.
    records   integer NOT NULL,
    -- Of failed records: their numbers within the chunk, from 0 on, in the order of `input`. NULL for a whole chunk.
    positions integer[],
    -- The `data` object: of a failed chunk as it was pushed, of failed records one with only these. Compressed with zstd.
    -- NULL when results.keep_failed_inputs is off.
    input     bytea,
    -- Size of `input` before compression.
    bytes     integer NOT NULL,
    PRIMARY KEY (chunk_no, day)
) PARTITION BY RANGE (day);
ALTER TABLE failed_work ALTER COLUMN input SET STORAGE EXTERNAL;
CREATE INDEX failed_work_batch ON failed_work (batch_id, chunk_no);

-- Every day that has results gets its partition; later ones are made with those of the other tables.
DO $$
DECLARE
    there record;
BEGIN
    FOR there IN
        SELECT right(c.relname, 8) AS name, to_date(right(c.relname, 8), 'YYYYMMDD') AS day
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'results'::regclass
    LOOP
        EXECUTE format('CREATE TABLE failed_work_p%s PARTITION OF failed_work FOR VALUES FROM (%L) TO (%L)',
                       there.name, there.day, there.day + 1);
    END LOOP;
END $$;

-- A batch that does the failed work of another one again. Its inputs are pushed by whichever server holds the row; `next_no`
-- says from where on.
CREATE TABLE redrives (
    batch_id     uuid PRIMARY KEY REFERENCES batches,
    source_id    uuid NOT NULL REFERENCES batches,
    source_day   date NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('chunks', 'records', 'all')),
    state        text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'stopped')),
    -- Why it stopped.
    reason       text,
    -- Whether the batch is closed when everything is in.
    close        boolean NOT NULL,
    chunks_total bigint NOT NULL,
    chunks_done  bigint NOT NULL DEFAULT 0,
    next_no      bigint NOT NULL DEFAULT 0,
    -- Until then one server works on it. Correctness does not rest on it.
    leased_until timestamptz NOT NULL DEFAULT now(),
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX redrives_source ON redrives (source_id, created_at);
CREATE INDEX redrives_running ON redrives (leased_until) WHERE state = 'running';
