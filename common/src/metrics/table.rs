//! The table of all metrics.

use metrics::Unit;

use super::declaration::{About, Counter, Gauge, Histogram, Kind, Label, Process, Reading, Values};

/// Durations from half a millisecond to a minute, in seconds.
const DURATIONS: Kind = Kind::Histogram(&[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
]);

/// How many share something.
const GROUPS: Kind = Kind::Histogram(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0]);

const fn fixed(name: &'static str, values: &'static [&'static str]) -> Label {
    Label { name, values: Values::Fixed(values) }
}

const fn open(name: &'static str, what: &'static str) -> Label {
    Label { name, values: Values::Open(what) }
}

/// The tenants that have a batch now.
const TENANT: Label = open("tenant", "tenants with a batch");

/// The lanes of live batches.
const LANE: Label = open("lane", "lanes of live batches, as their queues are numbered");

/// Declares the metrics, and lists them all.
macro_rules! metrics {
    ($(
        $(#[doc = $help:literal])+
        $constant:ident = $type:ident($name:literal, $kind:expr, $unit:ident, $process:ident, $labels:expr);
    )+) => {
        $(
            $(#[doc = $help])+
            pub static $constant: $type = $type::new(About::new(
                stringify!($constant), $name, $kind, Unit::$unit, Process::$process, $labels, concat!($($help),+),
            ));
        )+

        /// Every metric, in the order of its declaration.
        pub static ALL: &[&About] = &[$(&$constant.about),+];

        /// Makes every series of this process whose labels are known.
        pub(super) fn show_zeros() {
            $($constant.show_zero();)+
        }
    };
}

metrics! {
    // The API.

    /// Requests that were answered.
    HTTP_REQUESTS = Counter("millrace_http_requests_total", Kind::Counter, Count, Api,
        &[open("route", "routes, `other` for none"), open("status", "status codes")]);
    /// Time from the head of a request to the head of its answer.
    HTTP_REQUEST_SECONDS = Histogram("millrace_http_request_seconds", DURATIONS, Seconds, Api, &[open("route", "as above")]);
    /// Requests that are being answered.
    HTTP_IN_FLIGHT = Gauge("millrace_http_requests_in_flight", Kind::Gauge, Count, Api, &[]);
    /// Requests that were answered with 429 or 503, by the code of the error.
    HTTP_REFUSALS = Counter("millrace_http_refusals_total", Kind::Counter, Count, Api, &[fixed("code", &[
        "INPUT_BUFFER_FULL", "OUTPUT_BUFFER_FULL", "TENANT_BUFFER_EXHAUSTED", "RATE_LIMITED", "SERVER_BUSY", "TOO_MANY_STREAMS",
        "DATABASE_UNAVAILABLE", "BROKER_UNAVAILABLE", "ENGINE_UNAVAILABLE", "CHUNKS_WITHDRAWN", "STARTING", "NO_ANSWER", "other",
    ])]);
    /// Bytes of request bodies that are in memory.
    HTTP_BODY_BYTES = Gauge("millrace_http_body_bytes", Kind::Gauge, Bytes, Api, &[]);
    /// Chunks of pushes that were answered with success; one that was pushed again counts again.
    PUSHED_CHUNKS = Counter("millrace_pushed_chunks_total", Kind::Counter, Count, Api, &[]);
    /// Records of these chunks.
    PUSHED_RECORDS = Counter("millrace_pushed_records_total", Kind::Counter, Count, Api, &[]);
    /// Bytes of these chunks, as they are counted in the input buffer.
    PUSHED_BYTES = Counter("millrace_pushed_bytes_total", Kind::Counter, Bytes, Api, &[]);
    /// Time of a transaction that admits a group of pushes, or marks one as queued.
    ADMISSION_SECONDS = Histogram("millrace_admission_seconds", DURATIONS, Seconds, Api,
        &[fixed("step", &["admit", "mark_queued"])]);
    /// Pushes that share such a transaction.
    ADMISSION_GROUP_PUSHES = Histogram("millrace_admission_group_pushes", GROUPS, Count, Api,
        &[fixed("step", &["admit", "mark_queued"])]);
    /// How long pushes of owners that ask for much were held back between two such transactions, because pushes of owners that ask
    /// for little took longer than before.
    ADMISSION_REST_SECONDS = Histogram("millrace_admission_rest_seconds", DURATIONS, Seconds, Api, &[]);
    /// Chunks that pulls handed out for the first time.
    PULLED_CHUNKS = Counter("millrace_pulled_chunks_total", Kind::Counter, Count, Api, &[]);
    /// Bytes of these chunks before compression: what was freed in output buffers.
    PULLED_BYTES = Counter("millrace_pulled_bytes_total", Kind::Counter, Bytes, Api, &[]);
    /// Batches that were opened.
    BATCHES_CREATED = Counter("millrace_batches_created_total", Kind::Counter, Count, Api, &[]);
    /// Portions of redrives that were pushed.
    REDRIVEN_PORTIONS = Counter("millrace_redriven_portions_total", Kind::Counter, Count, Api, &[]);
    /// Chunks of these portions. They count as pushed chunks as well.
    REDRIVEN_CHUNKS = Counter("millrace_redriven_chunks_total", Kind::Counter, Count, Api, &[]);
    /// Redrives that ended: everything that could be done again was pushed, or its batch took no more.
    REDRIVES_ENDED = Counter("millrace_redrives_ended_total", Kind::Counter, Count, Api,
        &[fixed("outcome", &["done", "stopped"])]);

    // Workers.

    /// Evaluations that the worker does at a time.
    SLOTS = Gauge("millrace_slots", Kind::Gauge, Count, Worker, &[]);
    /// Slots of the worker that the plan gives to batches; more than there are when shares are kept for first chunks.
    SLOTS_PLANNED = Gauge("millrace_slots_planned", Kind::Gauge, Count, Worker, &[]);
    /// Slots of the worker that evaluate now.
    SLOTS_BUSY = Gauge("millrace_slots_busy", Kind::Gauge, Count, Worker, &[]);
    /// Chunks that the worker holds and has not started.
    CHUNKS_WAITING = Gauge("millrace_chunks_waiting", Kind::Gauge, Count, Worker, &[]);
    /// Time of the evaluation of one chunk, with unpacking and packing.
    EVALUATION_SECONDS = Histogram("millrace_evaluation_seconds", DURATIONS, Seconds, Worker, &[]);
    /// Chunks whose outcome was stored; one that was computed twice counts twice.
    CHUNKS_FINISHED = Counter("millrace_chunks_finished_total", Kind::Counter, Count, Worker,
        &[fixed("outcome", &["completed", "failed"])]);
    /// Records of these chunks.
    RECORDS_FINISHED = Counter("millrace_records_finished_total", Kind::Counter, Count, Worker, &[]);
    /// Time of a transaction that stores a group of finished chunks.
    COMMIT_SECONDS = Histogram("millrace_commit_seconds", DURATIONS, Seconds, Worker, &[]);
    /// Chunks that share such a transaction.
    COMMIT_GROUP_CHUNKS = Histogram("millrace_commit_group_chunks", GROUPS, Count, Worker, &[]);
    /// Times that finished chunks had to be held because the database could not be reached.
    COMMITS_HELD = Counter("millrace_commits_held_total", Kind::Counter, Count, Worker, &[]);
    /// Chunks that were started once more, after a delivery that never came to an end.
    REDELIVERIES = Counter("millrace_redeliveries_total", Kind::Counter, Count, Worker, &[]);
    /// Dead letters, by what became of them: back on their lane, ended as a failed chunk, or of no use any more.
    DEAD_LETTERS = Counter("millrace_dead_letters_total", Kind::Counter, Count, Worker,
        &[fixed("outcome", &["returned", "failed", "dropped"])]);
    /// Messages that were no chunks and were refused.
    MALFORMED_MESSAGES = Counter("millrace_malformed_messages_total", Kind::Counter, Count, Worker, &[]);
    /// Rounds of the reaper that this worker did, with all steps well or with a step that failed. Only one worker reaps at a
    /// time; that all of them together do no rounds means that nothing is reaped.
    REAPER_ROUNDS = Counter("millrace_reaper_rounds_total", Kind::Counter, Count, Worker,
        &[fixed("outcome", &["well", "failed"])]);
    /// What the reaper did, counted in batches, chunks, bundles, lanes, partitions or workers.
    REAPER_ACTIONS = Counter("millrace_reaper_actions_total", Kind::Counter, Count, Worker, &[fixed("action", &[
        "batch_timed_out", "batch_settled", "batch_stopped", "chunk_withdrawn", "chunk_lost", "lane_freed", "lane_purged",
        "lane_declared", "partition_dropped", "reservation_released", "worker_removed", "bundle_published", "pause_ended",
    ])]);
    /// What was removed because its time was over: batches, batches of recipes, recipes and jobs (those of batches of recipes
    /// included), datasets, requests to cancel or requeue jobs, webhook messages, entries of the audit trail.
    REMOVED = Counter("millrace_removed_total", Kind::Counter, Count, Worker, &[fixed("kind", &[
        "batch", "recipe_batch", "recipe", "job", "dataset", "job_request", "webhook_message", "audit_entry",
    ])]);
    /// Counters of batches that had drifted from the rows and were set right, by counter. Each is a bug to report.
    COUNTER_REPAIRS = Counter("millrace_counter_repairs_total", Kind::Counter, Count, Worker, &[fixed("counter", &[
        "chunks_submitted", "records_submitted", "chunks_queued", "chunks_completed", "chunks_failed", "records_completed",
        "records_failed", "chunks_pulled", "records_pulled", "input_bytes", "output_bytes",
    ])]);

    /// Attempts to deliver a webhook message, by outcome: delivered, failed and tried again later, or failed and given up.
    WEBHOOK_ATTEMPTS = Counter("millrace_webhook_attempts_total", Kind::Counter, Count, Worker,
        &[fixed("outcome", &["delivered", "failed", "dead"])]);

    // Both.

    /// The version of the binary, as a label; the value is 1.
    BUILD = Gauge("millrace_build", Kind::Gauge, Count, Both, &[open("version", "the version")]);
    /// Batches that reached a terminal state by something that this process did.
    BATCHES_ENDED = Counter("millrace_batches_ended_total", Kind::Counter, Count, Both,
        &[fixed("state", &["completed", "completed_by_timeout", "failed", "cancelled"])]);
    /// Time until all confirms of a publication were in, from the call on.
    CONFIRM_SECONDS = Histogram("millrace_confirm_seconds", DURATIONS, Seconds, Both, &[]);
    /// Publications, by outcome: confirmed, refused by a full queue, returned because the queue does not exist, blocked by an alarm
    /// of the broker, or without an answer.
    PUBLICATIONS = Counter("millrace_publications_total", Kind::Counter, Count, Both,
        &[fixed("outcome", &["confirmed", "refused", "returned", "blocked", "unanswered"])]);
    /// Lanes that were missing on the broker and were declared anew: somebody had deleted them.
    LANES_REDECLARED = Counter("millrace_lanes_redeclared_total", Kind::Counter, Count, Both, &[]);
    /// Whether there is a connection to the broker, 1 or 0, by what it is for.
    BROKER_CONNECTED = Gauge("millrace_broker_connected", Kind::Gauge, Count, Both,
        &[fixed("connection", &["publisher", "light_publisher", "consumers", "control"])]);
    /// Whether the broker blocks this connection because of an alarm (memory, disk), 1 or 0.
    BROKER_BLOCKED = Gauge("millrace_broker_blocked", Kind::Gauge, Count, Both,
        &[fixed("connection", &["publisher", "light_publisher", "consumers", "control"])]);
    /// Connections to the broker that were lost.
    BROKER_CONNECTIONS_LOST = Counter("millrace_broker_connections_lost_total", Kind::Counter, Count, Both,
        &[fixed("connection", &["publisher", "light_publisher", "consumers", "control"])]);
    /// Spans of sampled traces: sent to the collector, or dropped because too many waited, because it refused them, or because it
    /// could not be reached.
    TRACE_SPANS = Counter("millrace_trace_spans_total", Kind::Counter, Count, Both,
        &[fixed("outcome", &["exported", "queue_full", "refused", "unreachable"])]);
    /// Time that work waited for a connection to the database: transactions of the data plane (admission, commits, pulls), or
    /// everything else.
    POOL_WAIT_SECONDS = Histogram("millrace_database_pool_wait_seconds", DURATIONS, Seconds, Both,
        &[fixed("pool", &["control", "data"])]);
    /// Open connections to the database.
    POOL_CONNECTIONS = Gauge("millrace_database_connections", Kind::Gauge, Count, Both,
        &[fixed("pool", &["control", "data"])]);
    /// Of these, connections that are in use.
    POOL_IN_USE = Gauge("millrace_database_connections_in_use", Kind::Gauge, Count, Both,
        &[fixed("pool", &["control", "data"])]);
    /// Transactions that were run again because another one had been in their way (deadlock, serialisation failure).
    TRANSACTION_RETRIES = Counter("millrace_transaction_retries_total", Kind::Counter, Count, Both,
        &[fixed("operation", &["admit", "mark_queued", "commit", "claim_attempt", "pull", "change_batch", "create_batch",
            "create_recipe_batch", "edit_recipe_batch", "request_jobs", "create_recipes", "finish_bundles", "lease_lane",
            "start_bundle", "carry_out", "remove"])]);

    // The whole installation.

    /// Live batches.
    LIVE_BATCHES = Reading("millrace_live_batches", Kind::Gauge, Count, Installation, &[TENANT]);
    /// Chunks that were pushed and have no outcome yet.
    LANE_BACKLOG = Reading("millrace_lane_backlog_chunks", Kind::Gauge, Count, Installation, &[TENANT, LANE]);
    /// For how long the oldest of these chunks has waited at least. It is judged by what was submitted and finished at earlier
    /// readings, so it is as exact as the time between two of them. While the batch is paused it is 0, and it begins anew afterwards.
    LANE_OLDEST = Reading("millrace_lane_oldest_chunk_age_seconds", Kind::Gauge, Seconds, Installation, &[TENANT, LANE]);
    /// Whether the batch of the lane is held back until its results are pulled, 1 or 0.
    LANE_HELD_BACK = Reading("millrace_lane_held_back", Kind::Gauge, Count, Installation, &[TENANT, LANE]);
    /// Whether the batch of the lane is paused, 1 or 0.
    LANE_PAUSED = Reading("millrace_lane_paused", Kind::Gauge, Count, Installation, &[TENANT, LANE]);
    /// Slots that evaluate chunks of the tenant.
    WORKERS_IN_USE = Reading("millrace_workers_in_use", Kind::Gauge, Count, Installation, &[TENANT]);
    /// What the batches of a tenant may reserve together.
    TENANT_CAPACITY = Reading("millrace_tenant_capacity_bytes", Kind::Gauge, Bytes, Installation, &[TENANT]);
    /// What they have reserved.
    TENANT_RESERVED = Reading("millrace_tenant_reserved_bytes", Kind::Gauge, Bytes, Installation, &[TENANT]);
    /// What is in their buffers.
    TENANT_USED = Reading("millrace_tenant_used_bytes", Kind::Gauge, Bytes, Installation,
        &[TENANT, fixed("buffer", &["input", "output"])]);
    /// Workers that live.
    LIVE_WORKERS = Reading("millrace_live_workers", Kind::Gauge, Count, Installation, &[]);
    /// Their slots together, without those of workers that are stopping.
    LIVE_SLOTS = Reading("millrace_live_slots", Kind::Gauge, Count, Installation, &[]);
    /// Dead letters that wait for a worker to judge them.
    DEAD_LETTERS_WAITING = Reading("millrace_dead_letters_waiting", Kind::Gauge, Count, Installation, &[]);
    /// Webhook messages that wait to be delivered, for the first time or again.
    WEBHOOK_MESSAGES_WAITING = Reading("millrace_webhook_messages_waiting", Kind::Gauge, Count, Installation, &[]);
    /// For how long the oldest of these messages has been due since it was written or asked for again.
    WEBHOOK_OLDEST_MESSAGE = Reading("millrace_webhook_oldest_message_age_seconds", Kind::Gauge, Seconds, Installation, &[]);
}
