-- Tenants and who may act for them -----------------------------------------------------------------------------------

CREATE TABLE tenants (
    id              uuid PRIMARY KEY,
    name            text NOT NULL,
    capacity_bytes  bigint NOT NULL CHECK (capacity_bytes > 0),
    max_input_bytes bigint NOT NULL CHECK (max_input_bytes > 0),
    max_output_bytes bigint NOT NULL CHECK (max_output_bytes > 0),
    max_workers     integer NOT NULL CHECK (max_workers > 0),
    initial_workers integer NOT NULL CHECK (initial_workers > 0),
    weight          integer NOT NULL DEFAULT 1 CHECK (weight > 0),
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX tenants_name ON tenants (lower(name));

-- A key is 256 random bits; only its SHA-256 is stored.
CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenants,
    hash         bytea NOT NULL UNIQUE,
    hint         text NOT NULL,
    owner        text NOT NULL,
    groups       text[] NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    revoked_at   timestamptz
);
CREATE INDEX api_keys_tenant ON api_keys (tenant_id);

-- Services ---------------------------------------------------------------------------------------------------------------

CREATE TABLE folders (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    name        text NOT NULL,
    description text NOT NULL DEFAULT '',
    category    text NOT NULL DEFAULT 'Other',
    status      text NOT NULL DEFAULT 'Design',
    start_date  timestamptz NOT NULL,
    launch_date timestamptz NOT NULL,
    cover_image uuid,
    created_by  text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    deleted_at  timestamptz
);
CREATE UNIQUE INDEX folders_name ON folders (tenant_id, lower(name)) WHERE deleted_at IS NULL;

CREATE TABLE services (
    id         uuid PRIMARY KEY,
    tenant_id  uuid NOT NULL REFERENCES tenants,
    folder_id  uuid NOT NULL REFERENCES folders,
    name       text NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
CREATE UNIQUE INDEX services_name ON services (folder_id, lower(name)) WHERE deleted_at IS NULL;

-- Uploaded files, byte for byte.
CREATE TABLE documents (
    id         uuid PRIMARY KEY,
    tenant_id  uuid NOT NULL REFERENCES tenants,
    file_name  text NOT NULL,
    media_type text NOT NULL,
    sha256     bytea NOT NULL,
    content    bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE documents ALTER COLUMN content SET STORAGE EXTERNAL;

-- One upload and what the compiler said about it. The document is kept only when it compiled.
CREATE TABLE compilations (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    folder      text NOT NULL,
    service     text NOT NULL,
    service_id  uuid NOT NULL,
    version_id  uuid NOT NULL,
    document_id uuid NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('workbook', 'formula_document')),
    error       text,
    interface   jsonb,
    report      jsonb,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX compilations_document ON compilations (document_id);
CREATE INDEX compilations_created ON compilations (created_at);

-- Published versions; immutable but for their label and whether they are active.
CREATE TABLE service_versions (
    id              uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL REFERENCES tenants,
    service_id      uuid NOT NULL REFERENCES services,
    major           integer NOT NULL CHECK (major >= 0),
    minor           integer NOT NULL CHECK (minor >= 0),
    patch           integer NOT NULL CHECK (patch >= 0),
    document_id     uuid NOT NULL REFERENCES documents,
    kind            text NOT NULL CHECK (kind IN ('workbook', 'formula_document')),
    interface       jsonb NOT NULL,
    report          jsonb NOT NULL,
    compiler_version text NOT NULL,
    source_hash     text NOT NULL,
    effective_start timestamptz NOT NULL,
    effective_end   timestamptz NOT NULL,
    label           text,
    release_note    text,
    tags            text,
    is_active       boolean NOT NULL DEFAULT true,
    created_by      text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (service_id, major, minor, patch)
);

-- Lanes and batches ------------------------------------------------------------------------------------------------------

-- The pool of durable queues. `epoch` is the lease number: messages of an older lease are dropped.
CREATE TABLE lanes (
    id       integer PRIMARY KEY CHECK (id > 0),
    broker   text NOT NULL DEFAULT 'default',
    declared boolean NOT NULL DEFAULT false,
    epoch    bigint NOT NULL DEFAULT 0,
    batch_id uuid
);

CREATE TABLE batches (
    id                  uuid PRIMARY KEY,
    tenant_id           uuid NOT NULL REFERENCES tenants,
    version_id          uuid NOT NULL REFERENCES service_versions,
    service_id          uuid NOT NULL REFERENCES services,
    service_uri         text NOT NULL,
    version             text NOT NULL,
    compiler_version    text NOT NULL,
    created_by          text NOT NULL,
    -- The UTC day whose partitions hold the batch's chunks and results.
    day                 date NOT NULL,
    state               text NOT NULL DEFAULT 'open' CHECK (state IN
        ('open', 'closed', 'closed_by_timeout', 'completed', 'completed_by_timeout', 'failed', 'cancelled')),
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    -- When a worker took the first chunk.
    started_at          timestamptz,
    closed_at           timestamptz,
    finished_at         timestamptz,
    -- When the tenant got the reservation back.
    released_at         timestamptz,
    -- When results that were not pulled were given up (cancel, expiry).
    dropped_at          timestamptz,
    lane_id             integer REFERENCES lanes,
    lane_epoch          bigint,
    unique_record_key   text,
    output_filter       text[] NOT NULL DEFAULT '{}',
    subservices         text[] NOT NULL DEFAULT '{}',
    version_by_timestamp timestamptz,
    call_purpose        text NOT NULL,
    source_system       text,
    correlation_id      text,
    initial_workers     integer NOT NULL CHECK (initial_workers > 0),
    max_workers         integer NOT NULL CHECK (max_workers > 0),
    chunks_per_request  integer NOT NULL CHECK (chunks_per_request > 0),
    runner_thread_count integer NOT NULL CHECK (runner_thread_count > 0),
    acceptable_error_percentage double precision NOT NULL
        CHECK (acceptable_error_percentage >= 0 AND acceptable_error_percentage <= 100),
    input_allocated     bigint NOT NULL CHECK (input_allocated > 0),
    output_allocated    bigint NOT NULL CHECK (output_allocated > 0),
    -- Lower goes first.
    priority            integer NOT NULL DEFAULT 0,
    -- Volatile functions see this clock and this seed in every record of the batch.
    seed                bigint NOT NULL
);
CREATE INDEX batches_tenant ON batches (tenant_id, updated_at);
CREATE INDEX batches_live ON batches (state) WHERE state IN ('open', 'closed', 'closed_by_timeout');
CREATE INDEX batches_reserved ON batches (tenant_id) WHERE released_at IS NULL;
CREATE INDEX batches_leasing ON batches (lane_id) WHERE lane_id IS NOT NULL;
ALTER TABLE lanes ADD FOREIGN KEY (batch_id) REFERENCES batches;

-- A batch's counters, split over slots so that its writers do not wait for each other: slot 0 belongs to admission,
-- slot 1 to pulls, the others to workers. A single slot may go below zero; the sum never does.
-- Whoever adds work to a batch locks its own slot before it reads the batch's state; whoever changes the state locks all slots.
CREATE TABLE batch_counters (
    batch_id          uuid NOT NULL REFERENCES batches,
    slot              smallint NOT NULL,
    chunks_submitted  bigint NOT NULL DEFAULT 0,
    records_submitted bigint NOT NULL DEFAULT 0,
    -- Of the submitted chunks, those whose confirms are in.
    chunks_queued     bigint NOT NULL DEFAULT 0,
    chunks_completed  bigint NOT NULL DEFAULT 0,
    chunks_failed     bigint NOT NULL DEFAULT 0,
    records_completed bigint NOT NULL DEFAULT 0,
    -- Records of failed chunks, and records with errors in completed ones.
    records_failed    bigint NOT NULL DEFAULT 0,
    chunks_retried    bigint NOT NULL DEFAULT 0,
    records_retried   bigint NOT NULL DEFAULT 0,
    chunks_pulled     bigint NOT NULL DEFAULT 0,
    records_pulled    bigint NOT NULL DEFAULT 0,
    -- Budgets in use now.
    input_bytes       bigint NOT NULL DEFAULT 0,
    output_bytes      bigint NOT NULL DEFAULT 0,
    -- Ever seen.
    input_total       bigint NOT NULL DEFAULT 0,
    output_total      bigint NOT NULL DEFAULT 0,
    largest_chunk     integer NOT NULL DEFAULT 0,
    compute_ms        bigint NOT NULL DEFAULT 0,
    touched_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (batch_id, slot)
) WITH (fillfactor = 50);

-- What was pushed. A chunk without `queued_at` is accepted, not yet confirmed by the broker; a chunk with a row in
-- `results` is finished.
CREATE SEQUENCE chunk_numbers;
CREATE TABLE chunks (
    day         date NOT NULL,
    batch_id    uuid NOT NULL,
    chunk_id    text NOT NULL,
    chunk_no    bigint NOT NULL DEFAULT nextval('chunk_numbers'),
    digest      bytea NOT NULL,
    records     integer NOT NULL,
    bytes       integer NOT NULL,
    attempts    integer NOT NULL DEFAULT 0,
    accepted_at timestamptz NOT NULL DEFAULT now(),
    queued_at   timestamptz,
    -- The id comes first: while a partition has no statistics, no plan must think that all chunks of a batch are few.
    PRIMARY KEY (chunk_id, batch_id, day)
) PARTITION BY RANGE (day);

-- The output buffer: one row a finished chunk, the body as the API sends it.
CREATE SEQUENCE result_order;
CREATE TABLE results (
    day         date NOT NULL,
    chunk_no    bigint NOT NULL,
    batch_id    uuid NOT NULL,
    chunk_id    text NOT NULL,
    ordinal     bigint NOT NULL DEFAULT nextval('result_order'),
    outcome     text NOT NULL CHECK (outcome IN ('completed', 'failed', 'withdrawn')),
    records     integer NOT NULL,
    -- Size of the body before compression: what the output budget counts.
    bytes       integer NOT NULL,
    compressed  boolean NOT NULL,
    body        bytea NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT now(),
    pulled_at   timestamptz,
    PRIMARY KEY (chunk_no, day)
) PARTITION BY RANGE (day);
ALTER TABLE results ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX results_ready ON results (batch_id, ordinal) WHERE pulled_at IS NULL;

-- The fleet --------------------------------------------------------------------------------------------------------------

CREATE TABLE workers (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    version    text NOT NULL,
    slots      integer NOT NULL CHECK (slots > 0),
    draining   boolean NOT NULL DEFAULT false,
    -- Busy slots per batch: {"<batch id>": n}.
    busy       jsonb NOT NULL DEFAULT '{}',
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- Saves double work between reapers; correctness does not rest on it.
CREATE TABLE leases (
    name       text PRIMARY KEY,
    holder     uuid NOT NULL,
    expires_at timestamptz NOT NULL
);

-- A batch with its counters summed up and its busy slots. (Rows of silent workers are removed by the reaper.)
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
