-- The Scale v6 Batch Services: job types, recipe types, datasets, batches of recipes, recipes, jobs (contract scale-v6.md).
-- Ids are numbers, as the protocol has them. Every row names its tenant or hangs on a row that does.

-- What can be computed ------------------------------------------------------------------------------------------------

CREATE TABLE job_types (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id     uuid NOT NULL REFERENCES tenants,
    name          text NOT NULL,
    version       text NOT NULL,
    title         text,
    description   text,
    -- The newest revision.
    revision_num  integer NOT NULL DEFAULT 1,
    is_active     boolean NOT NULL DEFAULT true,
    is_paused     boolean NOT NULL DEFAULT false,
    is_system     boolean NOT NULL DEFAULT false,
    is_published  boolean NOT NULL DEFAULT false,
    icon_code     text,
    docker_image  text,
    max_scheduled integer,
    max_tries     integer NOT NULL DEFAULT 3 CHECK (max_tries > 0),
    configuration jsonb NOT NULL DEFAULT '{}',
    created       timestamptz NOT NULL DEFAULT clock_timestamp(),
    deprecated    timestamptz,
    paused        timestamptz,
    last_modified timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (tenant_id, name, version)
);

-- Immutable; old ones stay runnable.
CREATE TABLE job_type_revisions (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_type_id  bigint NOT NULL REFERENCES job_types,
    revision_num integer NOT NULL,
    manifest     jsonb NOT NULL,
    -- As submitted: {"service": …} or {"formulas": …} (contract section 12).
    model        jsonb NOT NULL,
    -- What workers load: a service version's id, or that of the formula document made from `formulas`.
    program_id   uuid NOT NULL,
    document_id  uuid REFERENCES documents,
    docker_image text,
    created      timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (job_type_id, revision_num)
);
CREATE INDEX job_type_revisions_program ON job_type_revisions (program_id);

CREATE TABLE recipe_types (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id     uuid NOT NULL REFERENCES tenants,
    name          text NOT NULL,
    title         text NOT NULL,
    description   text,
    revision_num  integer NOT NULL DEFAULT 1,
    is_active     boolean NOT NULL DEFAULT true,
    is_system     boolean NOT NULL DEFAULT false,
    created       timestamptz NOT NULL DEFAULT clock_timestamp(),
    deprecated    timestamptz,
    last_modified timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (tenant_id, name)
);

CREATE TABLE recipe_type_revisions (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recipe_type_id bigint NOT NULL REFERENCES recipe_types,
    revision_num   integer NOT NULL,
    definition     jsonb NOT NULL,
    created        timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (recipe_type_id, revision_num)
);

-- What the nodes of a revision refer to. A node's number is its position in the revision's order (model::recipe::Graph).
CREATE TABLE recipe_type_jobs (
    revision_id     bigint NOT NULL REFERENCES recipe_type_revisions,
    node            smallint NOT NULL,
    job_type_rev_id bigint NOT NULL REFERENCES job_type_revisions,
    PRIMARY KEY (revision_id, node)
);
CREATE INDEX recipe_type_jobs_job_type ON recipe_type_jobs (job_type_rev_id);

CREATE TABLE recipe_type_recipes (
    revision_id     bigint NOT NULL REFERENCES recipe_type_revisions,
    node            smallint NOT NULL,
    sub_revision_id bigint NOT NULL REFERENCES recipe_type_revisions,
    PRIMARY KEY (revision_id, node)
);
CREATE INDEX recipe_type_recipes_sub ON recipe_type_recipes (sub_revision_id);

-- What it is computed from --------------------------------------------------------------------------------------------

CREATE TABLE datasets (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    title       text,
    description text,
    definition  jsonb NOT NULL,
    created_by  text NOT NULL,
    created     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX datasets_tenant ON datasets (tenant_id, id);

-- Members are only ever added. `data` is {"files": …, "json": …}, restricted to the dataset's parameters.
CREATE TABLE dataset_members (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dataset_id bigint NOT NULL REFERENCES datasets,
    data       jsonb NOT NULL,
    created    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX dataset_members_dataset ON dataset_members (dataset_id, id);

-- A file that becomes members of a dataset, and how far it is. Its members show when all of them are in.
CREATE TABLE dataset_uploads (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    dataset_id  bigint NOT NULL REFERENCES datasets,
    state       text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed')),
    reason      text,
    bytes       bigint NOT NULL DEFAULT 0,
    members     bigint NOT NULL DEFAULT 0,
    created     timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished    timestamptz
);
CREATE INDEX dataset_uploads_dataset ON dataset_uploads (dataset_id);

-- Batches -------------------------------------------------------------------------------------------------------------

-- Why something was created.
CREATE TABLE events (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants,
    type        text NOT NULL DEFAULT 'USER',
    description jsonb NOT NULL,
    occurred    timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE recipe_batches (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id           uuid NOT NULL REFERENCES tenants,
    title               text,
    description         text,
    recipe_type_id      bigint NOT NULL REFERENCES recipe_types,
    -- Fixed at creation.
    recipe_type_rev_id  bigint NOT NULL REFERENCES recipe_type_revisions,
    event_id            bigint NOT NULL REFERENCES events,
    -- As they are given back: as submitted, without `version`.
    definition          jsonb NOT NULL,
    configuration       jsonb NOT NULL DEFAULT '{}',
    -- What `definition` and the request's top level say together.
    supersedes          boolean NOT NULL,
    -- Where recipes come from: members of a dataset up to this one, or the recipes of `superseded_batch_id`.
    dataset_id          bigint REFERENCES datasets,
    last_member_id      bigint,
    -- Of the configuration; null and 0: none.
    priority            bigint,
    root_batch_id       bigint NOT NULL REFERENCES recipe_batches,
    superseded_batch_id bigint UNIQUE REFERENCES recipe_batches,
    is_superseded       boolean NOT NULL DEFAULT false,
    superseded          timestamptz,
    is_creation_done    boolean NOT NULL DEFAULT false,
    -- The last member or recipe that creation is done with.
    creation_cursor     bigint NOT NULL DEFAULT 0,
    -- Members and recipes from which none could be made.
    recipes_skipped     bigint NOT NULL DEFAULT 0,
    recipes_estimated   bigint NOT NULL,
    created_by          text NOT NULL,
    created             timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Of what callers changed; what moves with the counters is in recipe_batch_counters.touched_at.
    last_modified       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX recipe_batches_tenant ON recipe_batches (tenant_id, id);
CREATE INDEX recipe_batches_root ON recipe_batches (root_batch_id, id);
CREATE INDEX recipe_batches_creating ON recipe_batches (id) WHERE NOT is_creation_done;
-- A chain has one current batch.
CREATE UNIQUE INDEX recipe_batches_current ON recipe_batches (root_batch_id) WHERE NOT is_superseded;

-- Counters in ten slots, as batch_counters: a single slot may go below zero, the sum never does.
CREATE TABLE recipe_batch_counters (
    batch_id          bigint NOT NULL REFERENCES recipe_batches,
    slot              smallint NOT NULL,
    jobs_pending      bigint NOT NULL DEFAULT 0,
    jobs_blocked      bigint NOT NULL DEFAULT 0,
    jobs_queued       bigint NOT NULL DEFAULT 0,
    jobs_running      bigint NOT NULL DEFAULT 0,
    jobs_failed       bigint NOT NULL DEFAULT 0,
    jobs_completed    bigint NOT NULL DEFAULT 0,
    jobs_canceled     bigint NOT NULL DEFAULT 0,
    recipes_total     bigint NOT NULL DEFAULT 0,
    recipes_completed bigint NOT NULL DEFAULT 0,
    touched_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (batch_id, slot)
) WITH (fillfactor = 50);

-- `job_metrics`: the job nodes of the batch's revision, of top-level recipes only, in the same slots. Durations in microseconds.
CREATE TABLE recipe_batch_nodes (
    batch_id       bigint NOT NULL REFERENCES recipe_batches,
    node_name      text NOT NULL,
    slot           smallint NOT NULL,
    jobs_pending   bigint NOT NULL DEFAULT 0,
    jobs_blocked   bigint NOT NULL DEFAULT 0,
    jobs_queued    bigint NOT NULL DEFAULT 0,
    jobs_running   bigint NOT NULL DEFAULT 0,
    jobs_failed    bigint NOT NULL DEFAULT 0,
    jobs_completed bigint NOT NULL DEFAULT 0,
    jobs_canceled  bigint NOT NULL DEFAULT 0,
    job_count      bigint NOT NULL DEFAULT 0,
    job_sum        bigint NOT NULL DEFAULT 0,
    job_min        bigint,
    job_max        bigint,
    seed_count     bigint NOT NULL DEFAULT 0,
    seed_sum       bigint NOT NULL DEFAULT 0,
    seed_min       bigint,
    seed_max       bigint,
    PRIMARY KEY (batch_id, node_name, slot)
) WITH (fillfactor = 50);

-- Recipes and jobs ----------------------------------------------------------------------------------------------------

CREATE TABLE recipes (
    id                        bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    tenant_id                 uuid NOT NULL,
    batch_id                  bigint REFERENCES recipe_batches,
    recipe_type_id            bigint NOT NULL,
    recipe_type_rev_id        bigint NOT NULL,
    event_id                  bigint NOT NULL,
    -- The dataset member, or the recipe of the batch before, that it was made from.
    member_id                 bigint,
    source_recipe_id          bigint,
    -- Of a sub-recipe: the recipe and node that it is in, and the recipe at the top.
    parent_recipe_id          bigint,
    parent_node               smallint,
    root_recipe_id            bigint,
    superseded_recipe_id      bigint,
    -- The first of its family.
    root_superseded_recipe_id bigint,
    -- {"files": …, "json": …}; null until a sub-recipe gets it. input_hash is model::recipe::Data::hash, of top-level recipes.
    input                     jsonb,
    input_hash                bytea,
    -- Of a sub-recipe: parents that are not ready, and whether its jobs were told that something before it blocks.
    waiting                   smallint NOT NULL DEFAULT 0,
    is_blocked                boolean NOT NULL DEFAULT false,
    is_completed              boolean NOT NULL DEFAULT false,
    is_superseded             boolean NOT NULL DEFAULT false,
    created                   timestamptz NOT NULL DEFAULT clock_timestamp(),
    completed                 timestamptz,
    superseded                timestamptz,
    last_modified             timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX recipes_member ON recipes (batch_id, member_id) WHERE member_id IS NOT NULL;
CREATE UNIQUE INDEX recipes_source ON recipes (batch_id, source_recipe_id) WHERE source_recipe_id IS NOT NULL;
-- A recipe is superseded once.
CREATE UNIQUE INDEX recipes_superseded ON recipes (superseded_recipe_id) WHERE superseded_recipe_id IS NOT NULL;
CREATE INDEX recipes_family ON recipes (root_superseded_recipe_id) WHERE root_superseded_recipe_id IS NOT NULL;
CREATE UNIQUE INDEX recipes_parent ON recipes (parent_recipe_id, parent_node) WHERE parent_recipe_id IS NOT NULL;
CREATE INDEX recipes_root ON recipes (root_recipe_id) WHERE root_recipe_id IS NOT NULL;
CREATE INDEX recipes_batch ON recipes (batch_id, id);
CREATE INDEX recipes_tenant ON recipes (tenant_id, id);
CREATE INDEX recipes_input ON recipes (recipe_type_id, input_hash) WHERE parent_recipe_id IS NULL AND NOT is_superseded;

-- A condition of a recipe. Copies have rows of their own.
CREATE TABLE recipe_conditions (
    id        bigint GENERATED ALWAYS AS IDENTITY,
    recipe_id bigint NOT NULL,
    node      smallint NOT NULL,
    waiting   smallint NOT NULL,
    outcome   boolean,
    created   timestamptz NOT NULL DEFAULT clock_timestamp(),
    processed timestamptz,
    PRIMARY KEY (recipe_id, node)
) WITH (fillfactor = 80);

-- Nodes that a recipe shares with the one it superseded. The rest of its jobs and sub-recipes name it themselves.
CREATE TABLE recipe_links (
    recipe_id     bigint NOT NULL,
    node          smallint NOT NULL,
    job_id        bigint,
    sub_recipe_id bigint,
    PRIMARY KEY (recipe_id, node),
    CHECK (num_nonnulls(job_id, sub_recipe_id) = 1)
);
CREATE INDEX recipe_links_job ON recipe_links (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX recipe_links_sub_recipe ON recipe_links (sub_recipe_id) WHERE sub_recipe_id IS NOT NULL;

-- No index on what changes while a job runs, in a predicate neither: its updates stay within the page (HOT).
CREATE TABLE jobs (
    id                 bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    tenant_id          uuid NOT NULL,
    batch_id           bigint,
    recipe_id          bigint,
    node               smallint,
    job_type_id        bigint NOT NULL,
    job_type_rev_id    bigint NOT NULL,
    event_id           bigint NOT NULL,
    status             text NOT NULL DEFAULT 'PENDING' CHECK (status IN
        ('PENDING', 'BLOCKED', 'QUEUED', 'RUNNING', 'FAILED', 'COMPLETED', 'CANCELED')),
    -- Parents that are not ready.
    waiting            smallint NOT NULL DEFAULT 0,
    -- Lower goes first; of the last time that it was queued.
    priority           bigint,
    num_exes           integer NOT NULL DEFAULT 0,
    max_tries          integer NOT NULL DEFAULT 3,
    -- Of a job outside recipes; in a recipe it follows from the recipe's input and the outputs of the jobs before.
    input              jsonb,
    output             jsonb,
    error_id           bigint,
    error_detail       text,
    worker_id          uuid,
    worker_name        text,
    superseded_job_id  bigint,
    is_superseded      boolean NOT NULL DEFAULT false,
    superseded         timestamptz,
    created            timestamptz NOT NULL DEFAULT clock_timestamp(),
    queued             timestamptz,
    started            timestamptz,
    ended              timestamptz,
    -- The evaluation alone, in microseconds.
    seed_micros        bigint,
    last_status_change timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_modified      timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 60);
CREATE UNIQUE INDEX jobs_node ON jobs (recipe_id, node) WHERE recipe_id IS NOT NULL;
CREATE INDEX jobs_batch ON jobs (batch_id, id);
CREATE INDEX jobs_tenant ON jobs (tenant_id, id);
CREATE INDEX jobs_superseded ON jobs (superseded_job_id) WHERE superseded_job_id IS NOT NULL;

-- Executions before the current one, which stands in the job's own row.
CREATE TABLE job_executions (
    job_id       bigint NOT NULL,
    exe_num      integer NOT NULL,
    status       text NOT NULL,
    worker_id    uuid,
    worker_name  text,
    queued       timestamptz,
    started      timestamptz,
    ended        timestamptz,
    seed_micros  bigint,
    error_id     bigint,
    error_detail text,
    created      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (job_id, exe_num)
);

-- Kinds of errors: built-in ones belong to nobody, the others to a job type's manifest.
CREATE TABLE job_errors (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_type_id       bigint REFERENCES job_types,
    name              text NOT NULL,
    title             text NOT NULL,
    description       text NOT NULL,
    category          text NOT NULL CHECK (category IN ('SYSTEM', 'DATA', 'ALGORITHM')),
    should_be_retried boolean NOT NULL,
    created           timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_modified     timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE NULLS NOT DISTINCT (job_type_id, name)
);

-- The built-in ones.
INSERT INTO job_errors (name, title, description, category, should_be_retried) VALUES
    ('worker-lost', 'Worker Lost', 'Workers ended while they had the job.', 'SYSTEM', true),
    ('program-unavailable', 'Program Unavailable', 'The program of the job type cannot be loaded.', 'SYSTEM', false),
    ('timeout', 'Timeout', 'The evaluation took longer than the manifest allows.', 'SYSTEM', false),
    ('evaluation', 'Evaluation Failed', 'The calculation ended unexpectedly.', 'ALGORITHM', false),
    ('invalid-input', 'Invalid Input', 'The input does not fit the interface of the job type.', 'DATA', false),
    ('record', 'Record Refused', 'The calculation refused the input.', 'DATA', false),
    ('output-error', 'Output Is An Error', 'A required output is an error value.', 'DATA', false),
    ('missing-output', 'Missing Output', 'A required output is missing, or is of another type.', 'DATA', false);

-- Work on the lanes ---------------------------------------------------------------------------------------------------

-- What leases a lane for jobs: a batch of recipes, or all jobs of a tenant that belong to no batch. It holds the lane while it
-- has bundles, or recipes to create.
CREATE TABLE workloads (
    id              uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL REFERENCES tenants,
    batch_id        bigint UNIQUE REFERENCES recipe_batches,
    lane_id         integer REFERENCES lanes,
    lane_epoch      bigint,
    -- In the plan: lower goes first.
    priority        integer NOT NULL DEFAULT 0,
    initial_workers integer NOT NULL CHECK (initial_workers > 0),
    max_workers     integer NOT NULL CHECK (max_workers > 0),
    -- Volatile functions see this clock and this seed in every job of it.
    seed            bigint NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    -- When it last had something to do.
    active_at       timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX workloads_outside_batches ON workloads (tenant_id) WHERE batch_id IS NULL;
CREATE INDEX workloads_leasing ON workloads (lane_id) WHERE lane_id IS NOT NULL;

-- `lanes.batch_id` is a batch's or a workload's id.
ALTER TABLE lanes DROP CONSTRAINT lanes_batch_id_fkey;

-- Jobs of one program, or conditions of one node, that wait for a worker together. The row goes with its commit. The message on
-- the lane names the bundle; one that is lost is published again from here.
CREATE TABLE job_bundles (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workload_id        uuid NOT NULL REFERENCES workloads,
    kind               text NOT NULL CHECK (kind IN ('jobs', 'conditions')),
    -- Null for jobs outside recipes.
    recipe_type_rev_id bigint,
    node               smallint,
    -- Null for conditions.
    job_type_rev_id    bigint,
    priority           bigint NOT NULL,
    -- Ids of jobs with their executions' numbers; ids of recipes with nulls for conditions.
    items              bigint[] NOT NULL,
    exe_nums           integer[],
    attempts           integer NOT NULL DEFAULT 0,
    -- Null while it was never confirmed by the broker.
    published_at       timestamptz,
    created_at         timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 70);
CREATE INDEX job_bundles_workload ON job_bundles (workload_id, priority, id);

-- Cancels and requeues by filter, which are carried out bit by bit.
CREATE TABLE job_requests (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  uuid NOT NULL REFERENCES tenants,
    kind       text NOT NULL CHECK (kind IN ('cancel', 'requeue')),
    filter     jsonb NOT NULL,
    priority   bigint,
    -- Jobs up to this one are done; jobs created after the request are not touched.
    cursor     bigint NOT NULL DEFAULT 0,
    last_job_id bigint NOT NULL,
    jobs       bigint NOT NULL DEFAULT 0,
    created_by text NOT NULL,
    created    timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished   timestamptz
);
CREATE INDEX job_requests_open ON job_requests (id) WHERE finished IS NULL;
