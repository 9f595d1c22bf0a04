//! Postgres: version, settings, schema, partitions, clock.

use chrono::{TimeDelta, Utc};
use millrace_common::config::Config;
use millrace_common::store::{DatabaseFacts, MigrationState, Store, StoreError, WorkerFacts};

use super::finding::{Findings, Status};

/// The oldest Postgres that is tested.
const OLDEST: i64 = 150_000;
/// How many transactions may pass before old rows must be frozen; Postgres itself begins at 200 million.
const FROZEN_AGE: i64 = 1_000_000_000;
/// Log that a forgotten replication slot may keep, in bytes.
const SLOT_BYTES: i64 = 1 << 30;
/// How long a transaction may be open in which nothing happens, in seconds: dead rows stay meanwhile.
const IDLE_SECONDS: i64 = 300;
/// How far a clock may be off before somebody should mend it.
pub const CLOCK_WARNING: TimeDelta = TimeDelta::seconds(2);
/// How far it may be off before tokens and signatures are refused.
pub const CLOCK_ERROR: TimeDelta = TimeDelta::seconds(60);

/// Says that there is no database.
pub fn unreachable(error: &StoreError, findings: &mut Findings) {
    findings.error(
        "reachable",
        error.to_string(),
        "without it nothing is accepted, evaluated or pulled",
        "check database.url (--config FILE, MILLRACE_DATABASE__URL) and that Postgres runs",
    );
}

/// Looks at the database; what it knows of the fleet, when its schema is new enough.
pub async fn check(store: &Store, config: &Config, findings: &mut Findings) -> Option<WorkerFacts> {
    let facts = match store.in_time(store.database_facts()).await {
        Ok(facts) => facts,
        Err(error) => {
            unreachable(&error, findings);
            return None;
        }
    };
    findings.ok(
        "reachable",
        format!("{} sessions of its own, {} MB", facts.sessions.own, facts.size_bytes / 1_000_000),
    );
    version(&facts, findings);
    durability(&facts, findings);
    capacity(&facts, findings);
    sessions(&facts, config, findings);
    upkeep(&facts, findings);
    clock(store, findings).await;
    let schema = match store.in_time(store.migration_state()).await {
        Ok(state) => schema(&state, findings),
        Err(error) => {
            findings.error(
                "schema",
                error.to_string(),
                "API and workers read it when they start",
                "check the rights of the role",
            );
            false
        }
    };
    if !schema {
        findings.skipped("partitions", "the schema is not this release's", "");
        return None;
    }
    match store.in_time(store.worker_facts()).await {
        Ok(fleet) => {
            partitions(&fleet, findings);
            connections(&facts, &fleet, config, findings);
            Some(fleet)
        }
        Err(error) => {
            findings.error(
                "tables",
                error.to_string(),
                "API and workers read them all the time",
                "check the rights of the role",
            );
            None
        }
    }
}

fn version(facts: &DatabaseFacts, findings: &mut Findings) {
    let number = facts.number("server_version_num").unwrap_or(0);
    findings.judge(
        "version",
        if number < OLDEST { Status::Error } else { Status::Ok },
        format!("Postgres {}", facts.value("server_version")),
        "Millrace is tested on Postgres 15 and newer",
        "upgrade Postgres",
    );
    findings.judge(
        "encoding",
        if facts.value("server_encoding") == "UTF8" { Status::Ok } else { Status::Error },
        facts.value("server_encoding"),
        "names and texts of callers are Unicode; others are refused with an error",
        "a database made with ENCODING 'UTF8' TEMPLATE template0",
    );
    let read_only = facts.in_recovery || facts.value("default_transaction_read_only") == "on";
    findings.judge(
        "writable",
        if read_only { Status::Error } else { Status::Ok },
        if facts.in_recovery {
            "a standby"
        } else if read_only {
            "default_transaction_read_only is on"
        } else {
            "yes"
        },
        "pushes, commits and pulls all write",
        "lead database.url to the primary, or make this server one",
    );
}

fn durability(facts: &DatabaseFacts, findings: &mut Findings) {
    let why = "an answer with 2xx relies on what Postgres said it had stored: after a crash results would be missing or torn";
    for name in ["fsync", "full_page_writes"] {
        let value = facts.value(name);
        findings.judge(
            &name.replace('_', "-"),
            if value == "on" { Status::Ok } else { Status::Error },
            value,
            why,
            format!("{name} = on in postgresql.conf, and reload"),
        );
    }
    let setting = facts.settings.get("synchronous_commit");
    let (value, source) =
        setting.map_or(("", ""), |setting| (setting.value.as_str(), setting.source.as_str()));
    findings.judge(
        "synchronous-commit",
        if value == "off" { Status::Error } else { Status::Ok },
        format!("{value} ({source})"),
        "a crash loses commits of the last moments, whose messages were acknowledged: such chunks have no outcome any more",
        "synchronous_commit = on; look for ALTER ROLE … SET and ALTER DATABASE … SET as well (\\drds in psql)",
    );
}

fn capacity(facts: &DatabaseFacts, findings: &mut Findings) {
    for (name, least, advice) in [
        ("shared_buffers", 128_i64 << 20, "a quarter of the memory that Postgres has"),
        (
            "max_wal_size",
            1 << 30,
            "2 GB or more: results are written once, and few large checkpoints write less",
        ),
    ] {
        let bytes = facts.bytes(name).unwrap_or(0);
        findings.judge(
            &name.replace('_', "-"),
            if bytes < least { Status::Warning } else { Status::Ok },
            format!("{} MB", bytes >> 20),
            "with little of it commits wait for the disk, and throughput with them",
            format!("{name}: {advice}"),
        );
    }
    findings.judge(
        "autovacuum",
        if facts.value("autovacuum") == "on" { Status::Ok } else { Status::Error },
        facts.value("autovacuum"),
        "tables of chunks and results are filled and emptied all day; without it they only grow and get slower",
        "autovacuum = on",
    );
}

/// Milliseconds of a setting in `ms`.
fn milliseconds(facts: &DatabaseFacts, name: &str) -> u64 {
    facts.number(name).and_then(|value| u64::try_from(value).ok()).unwrap_or(0)
}

fn sessions(facts: &DatabaseFacts, config: &Config, findings: &mut Findings) {
    let own = milliseconds(facts, "statement_timeout");
    let honoured = own == config.database.statement_timeout_ms;
    findings.judge(
        "session-settings",
        if honoured { Status::Ok } else { Status::Error },
        format!("statement_timeout is {own} ms, asked for were {} ms", config.database.statement_timeout_ms),
        "something between drops what connections ask for at their start: statements may hang, and plans may scan whole tables",
        "connect directly, or have the pooler pass `options` on (and not name it in ignore_startup_parameters)",
    );
    let isolation = facts.value("default_transaction_isolation");
    findings.judge(
        "isolation",
        if isolation == "read committed" { Status::Ok } else { Status::Error },
        isolation,
        "updates that wait for each other would fail instead of going on",
        "default_transaction_isolation = 'read committed' for the role and the database",
    );
    let idle = milliseconds(facts, "idle_session_timeout");
    findings.judge(
        "idle-sessions",
        if idle > 0 { Status::Warning } else { Status::Ok },
        format!("idle_session_timeout is {idle} ms"),
        "pooled connections that had nothing to do are cut, and the next call finds them dead",
        "idle_session_timeout = 0 for the role of database.url",
    );
    let whole = milliseconds(facts, "transaction_timeout");
    findings.judge(
        "transaction-timeout",
        if whole > 0 && whole < config.database.statement_timeout_ms { Status::Warning } else { Status::Ok },
        format!("transaction_timeout is {whole} ms"),
        "transactions end before their statements may: a commit under load fails again and again",
        "transaction_timeout = 0, or longer than database.statement_timeout_ms, for the role of database.url",
    );
    let zone = facts.value("TimeZone");
    let utc =
        matches!(zone, "UTC" | "Etc/UTC" | "GMT" | "Etc/GMT" | "Universal" | "Zulu" | "UCT" | "Etc/UCT");
    findings.judge(
        "time-zone",
        if utc { Status::Ok } else { Status::Warning },
        zone,
        "Millrace's days (partitions, usage, times in answers) are those of UTC; what people see in psql would be another day's",
        "timezone = 'UTC'",
    );
    let parameters = |name: &str| facts.number(name).unwrap_or(-1) != 0;
    let statements = !matches!(facts.value("log_statement"), "none" | "ddl")
        || facts.number("log_min_duration_statement") != Some(-1);
    let logged = (statements && parameters("log_parameter_max_length"))
        || parameters("log_parameter_max_length_on_error");
    findings.judge(
        "log-parameters",
        if logged { Status::Warning } else { Status::Ok },
        if logged { "statements are logged with their parameters" } else { "parameters are not logged" },
        "parameters are records and results: what callers push would be in the log of Postgres",
        "log_parameter_max_length = 0 and log_parameter_max_length_on_error = 0",
    );
}

fn upkeep(facts: &DatabaseFacts, findings: &mut Findings) {
    findings.judge(
        "frozen",
        if facts.frozen_age > FROZEN_AGE { Status::Error } else { Status::Ok },
        format!("{} million transactions since the oldest row was frozen", facts.frozen_age / 1_000_000),
        "at 2,000 million Postgres takes no more writes",
        "find what holds vacuum up: old transactions, replication slots, prepared transactions; then VACUUM FREEZE",
    );
    let oldest = facts.sessions.oldest_idle_seconds;
    findings.judge(
        "idle-transactions",
        if oldest > IDLE_SECONDS { Status::Warning } else { Status::Ok },
        format!("the oldest idle transaction is {oldest} s old"),
        "dead rows stay for as long as it is open, and every query gets slower",
        "end it: pg_stat_activity has the session; idle_in_transaction_session_timeout = '60s' keeps others out",
    );
    let kept: Vec<_> = facts.idle_slots.iter().filter(|(_, bytes)| *bytes > SLOT_BYTES).collect();
    let names = |slots: &[&(String, i64)]| {
        slots
            .iter()
            .map(|(name, bytes)| format!("{name} keeps {} MB", bytes >> 20))
            .collect::<Vec<_>>()
            .join(", ")
    };
    findings.judge(
        "replication-slots",
        if kept.is_empty() { Status::Ok } else { Status::Warning },
        if kept.is_empty() { format!("{} without a reader", facts.idle_slots.len()) } else { names(&kept) },
        "the log that nobody reads is kept until the disk is full, and then nothing is stored any more",
        "start its reader, or pg_drop_replication_slot()",
    );
}

async fn clock(store: &Store, findings: &mut Findings) {
    let before = Utc::now();
    let Ok(now) = store.in_time(store.now()).await else { return };
    let after = Utc::now();
    let ahead = (before + (after - before) / 2) - now;
    findings.judge(
        "clock",
        clock_status(ahead),
        format!(
            "this machine is {} ms ahead of the database, within {} ms",
            ahead.num_milliseconds(),
            (after - before).num_milliseconds()
        ),
        CLOCK_WHY,
        "synchronise both clocks (chrony, systemd-timesyncd)",
    );
}

pub const CLOCK_WHY: &str = "the database's clock decides about batches; but tokens expire, webhooks are signed and logs are dated by the machines' own";

pub fn clock_status(ahead: TimeDelta) -> Status {
    match ahead.abs() {
        off if off > CLOCK_ERROR => Status::Error,
        off if off > CLOCK_WARNING => Status::Warning,
        _ => Status::Ok,
    }
}

/// Whether the schema is good enough to read more.
fn schema(state: &MigrationState, findings: &mut Findings) -> bool {
    let list = |versions: &[i64]| {
        versions.iter().map(|version| format!("{version:04}")).collect::<Vec<_>>().join(", ")
    };
    if !state.broken.is_empty() || !state.changed.is_empty() {
        let versions = [state.broken.as_slice(), state.changed.as_slice()].concat();
        findings.error(
            "schema",
            format!("migrations {} are not this release's, or did not end", list(&versions)),
            "API and workers refuse to work on it",
            "find out who changed the schema; restore it, or use the programs that made it",
        );
        return false;
    }
    if !state.pending.is_empty() {
        findings.error(
            "schema",
            format!("{} applied, pending: {}", state.applied.len(), list(&state.pending)),
            "API and workers of this release wait until the schema has them",
            "millrace-api migrate",
        );
        return false;
    }
    let newer = if state.newer.is_empty() {
        String::new()
    } else {
        format!(", and {} of a later release", list(&state.newer))
    };
    findings.ok("schema", format!("{} migrations applied{newer}", state.applied.len()));
    true
}

fn partitions(fleet: &WorkerFacts, findings: &mut Findings) {
    findings.judge(
        "partitions",
        if fleet.partitions.len() > 1 { Status::Ok } else { Status::Warning },
        match fleet.partitions.last() {
            Some(day) => format!("made up to {day}; today is {}", fleet.today),
            None => format!("none for today, {}", fleet.today),
        },
        "workers make the partitions of the next two days; one that is missing is made with the first batch of its day, which waits for it",
        "start a worker; when one runs, its log says why its reaper cannot make them",
    );
}

fn connections(facts: &DatabaseFacts, fleet: &WorkerFacts, config: &Config, findings: &mut Findings) {
    let each = i64::from(config.database.control_connections) + i64::from(config.database.data_connections);
    let processes = i64::try_from(fleet.workers.len()).unwrap_or(i64::MAX).saturating_add(1);
    let reserved = facts.number("superuser_reserved_connections").unwrap_or(0)
        + facts.number("reserved_connections").unwrap_or(0);
    let others = facts.sessions.all - facts.sessions.own;
    let most = facts.number("max_connections").unwrap_or(0) - reserved;
    let needed = processes.saturating_mul(each);
    findings.judge(
        "connections",
        if needed > most { Status::Error } else if needed.saturating_add(others) > most { Status::Warning } else { Status::Ok },
        format!(
            "{} workers and one API need up to {needed} of {most}; {others} are those of other databases",
            fleet.workers.len()
        ),
        "a process that gets no connection refuses pushes, and workers hold what they cannot store",
        "raise max_connections, or lower database.control_connections and database.data_connections; each further API needs as much",
    );
}

#[cfg(test)]
mod tests;
