//! What `millrace doctor` reads from a database: its settings, its schema and what is in it, changed by nothing here.
//!
//! The database may be of another release, or not Millrace's at all, so these queries are not checked when they are compiled: each
//! asks for what may be missing in a way that bears it.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use sqlx::Row;

use super::partitions::{PARTITIONED, partition_name};
use super::{MIGRATIONS, Store, StoreError};
use crate::config::{DatabaseConfig, Secret};

/// The settings that are looked at.
const SETTINGS: [&str; 24] = [
    "autovacuum",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "fsync",
    "full_page_writes",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "log_min_duration_statement",
    "log_parameter_max_length",
    "log_parameter_max_length_on_error",
    "log_statement",
    "max_connections",
    "max_wal_size",
    "reserved_connections",
    "server_encoding",
    "server_version",
    "server_version_num",
    "shared_buffers",
    "statement_timeout",
    "superuser_reserved_connections",
    "synchronous_commit",
    "TimeZone",
    "transaction_timeout",
    "wal_level",
];

/// One setting of the server as it is for Millrace's own sessions: role, database and connection have had their say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSetting {
    /// Its value, in [`ServerSetting::unit`].
    pub value: String,
    /// `ms`, `8kB`, `MB` …; empty for a value without one.
    pub unit: String,
    /// Where the value comes from: `default`, `configuration file`, `database`, `user`, `client` …
    pub source: String,
}

/// Sessions of the whole server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionCount {
    /// All of them.
    pub all: i64,
    /// Those of this database.
    pub own: i64,
    /// Age of the oldest transaction in this database in which nothing happens, in seconds.
    pub oldest_idle_seconds: i64,
}

/// What every Postgres can tell.
#[derive(Debug, Clone)]
pub struct DatabaseFacts {
    /// By name; one that the server does not know is missing.
    pub settings: BTreeMap<String, ServerSetting>,
    /// Whether the server is a standby.
    pub in_recovery: bool,
    /// Sessions.
    pub sessions: SessionCount,
    /// Size of the database, in bytes.
    pub size_bytes: i64,
    /// Transactions since the oldest row was frozen.
    pub frozen_age: i64,
    /// Names of replication slots that nobody reads, with the bytes of log that each keeps.
    pub idle_slots: Vec<(String, i64)>,
}

impl DatabaseFacts {
    /// The value of a setting; empty when the server does not know it.
    pub fn value(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", |setting| setting.value.as_str())
    }

    /// The number that a setting is, in its own unit.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.value(name).parse().ok()
    }

    /// The bytes that a setting is.
    pub fn bytes(&self, name: &str) -> Option<i64> {
        let unit = match self.settings.get(name)?.unit.as_str() {
            "B" | "" => 1,
            "kB" => 1 << 10,
            "8kB" => 8 << 10,
            "MB" => 1 << 20,
            "16MB" => 16 << 20,
            "GB" => 1 << 30,
            _ => return None,
        };
        self.number(name)?.checked_mul(unit)
    }
}

/// How a schema compares with this program's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MigrationState {
    /// Migrations that were applied.
    pub applied: Vec<i64>,
    /// Migrations of this program that were not.
    pub pending: Vec<i64>,
    /// Migrations that are not what this program has under the same number.
    pub changed: Vec<i64>,
    /// Migrations of a later release.
    pub newer: Vec<i64>,
    /// Migrations that began and did not end.
    pub broken: Vec<i64>,
}

/// A worker, as its heartbeats say.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerRow {
    /// Host and process.
    pub name: String,
    /// Its release.
    pub version: String,
    /// Evaluations at a time.
    pub slots: i32,
    /// Whether it takes no new work.
    pub draining: bool,
    /// Seconds since its last heartbeat.
    pub silent_seconds: f64,
    /// How far its clock is ahead of the database's, in milliseconds; `None` from an older worker.
    pub clock_ahead_ms: Option<i64>,
    /// The number of the newest kind of work that it knows; `None` from an older worker.
    pub protocol: Option<i32>,
}

/// A lane that was declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownLane {
    /// Its number.
    pub id: i32,
    /// Whether a batch or workload leases it.
    pub leased: bool,
}

/// The fleet and what it works with.
#[derive(Debug, Clone, Default)]
pub struct WorkerFacts {
    /// Workers that have a row.
    pub workers: Vec<WorkerRow>,
    /// Declared lanes, leased ones first.
    pub lanes: Vec<KnownLane>,
    /// Live batches.
    pub live_batches: i64,
    /// Webhooks.
    pub webhooks: i64,
    /// The database's day, in UTC.
    pub today: NaiveDate,
    /// The days from today on, in order, for which each partitioned table has a partition.
    pub partitions: Vec<NaiveDate>,
}

impl Store {
    /// Reads what every Postgres tells.
    pub async fn database_facts(&self) -> Result<DatabaseFacts, StoreError> {
        let settings =
            sqlx::query("SELECT name, setting, unit, source FROM pg_settings WHERE name = ANY($1)")
                .bind(SETTINGS.map(str::to_owned).to_vec())
                .fetch_all(&self.control)
                .await?;
        let mut known = BTreeMap::new();
        for row in settings {
            let setting = ServerSetting {
                value: row.try_get("setting")?,
                unit: row.try_get::<Option<String>, _>("unit")?.unwrap_or_default(),
                source: row.try_get("source")?,
            };
            known.insert(row.try_get("name")?, setting);
        }
        let sessions = sqlx::query(
            "SELECT count(*) AS all, count(*) FILTER (WHERE datname = current_database()) AS own,
                 coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)) FILTER (
                     WHERE datname = current_database() AND state LIKE 'idle in transaction%'), 0)::bigint AS oldest
             FROM pg_stat_activity WHERE backend_type = 'client backend'",
        )
        .fetch_one(&self.control)
        .await?;
        let slots = sqlx::query(
            "SELECT slot_name::text AS name, coalesce(pg_wal_lsn_diff(
                 CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn), 0)::bigint AS kept
             FROM pg_replication_slots WHERE NOT active ORDER BY 1",
        )
        .fetch_all(&self.control)
        .await?;
        let mut idle_slots = Vec::new();
        for row in slots {
            idle_slots.push((row.try_get("name")?, row.try_get("kept")?));
        }
        let row = sqlx::query(
            "SELECT pg_is_in_recovery() AS standby, pg_database_size(current_database()) AS size,
                 (SELECT age(datfrozenxid)::bigint FROM pg_database WHERE datname = current_database()) AS frozen",
        )
        .fetch_one(&self.control)
        .await?;
        Ok(DatabaseFacts {
            settings: known,
            in_recovery: row.try_get("standby")?,
            sessions: SessionCount {
                all: sessions.try_get("all")?,
                own: sessions.try_get("own")?,
                oldest_idle_seconds: sessions.try_get("oldest")?,
            },
            size_bytes: row.try_get("size")?,
            frozen_age: row.try_get("frozen")?,
            idle_slots,
        })
    }

    /// Compares the schema with this program's migrations.
    pub async fn migration_state(&self) -> Result<MigrationState, StoreError> {
        let there: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
            .fetch_one(&self.control)
            .await?;
        let rows: Vec<(i64, Vec<u8>, bool)> = if there {
            sqlx::query_as("SELECT version, checksum, success FROM _sqlx_migrations ORDER BY version")
                .fetch_all(&self.control)
                .await?
        } else {
            Vec::new()
        };
        let mut state = MigrationState::default();
        for (version, checksum, success) in rows {
            match MIGRATIONS.iter().find(|migration| migration.version == version) {
                _ if !success => state.broken.push(version),
                None => state.newer.push(version),
                Some(known) if checksum.as_slice() != known.checksum.as_ref() => state.changed.push(version),
                Some(_) => {}
            }
            if success {
                state.applied.push(version);
            }
        }
        let missing = MIGRATIONS.iter().map(|migration| migration.version);
        state.pending = missing.filter(|version| !state.applied.contains(version)).collect();
        Ok(state)
    }

    /// Reads the fleet and what it works with. The schema must be this program's or newer.
    pub async fn worker_facts(&self) -> Result<WorkerFacts, StoreError> {
        let rows = sqlx::query(
            "SELECT name, version, slots, draining, protocol, clock_ahead_ms,
                 extract(epoch FROM clock_timestamp() - seen_at)::double precision AS silent
             FROM workers ORDER BY name",
        )
        .fetch_all(&self.control)
        .await?;
        let mut facts = WorkerFacts::default();
        for row in rows {
            facts.workers.push(WorkerRow {
                name: row.try_get("name")?,
                version: row.try_get("version")?,
                slots: row.try_get("slots")?,
                draining: row.try_get("draining")?,
                silent_seconds: row.try_get("silent")?,
                clock_ahead_ms: row.try_get("clock_ahead_ms")?,
                protocol: row.try_get("protocol")?,
            });
        }
        let lanes: Vec<(i32, bool)> = sqlx::query_as(
            "SELECT id, batch_id IS NOT NULL FROM lanes WHERE declared ORDER BY batch_id IS NULL, id",
        )
        .fetch_all(&self.control)
        .await?;
        facts.lanes = lanes.into_iter().map(|(id, leased)| KnownLane { id, leased }).collect();
        let row = sqlx::query(
            "SELECT (now() AT TIME ZONE 'UTC')::date AS today, (SELECT count(*) FROM webhooks) AS webhooks,
                 (SELECT count(*) FROM batches WHERE state IN ('open', 'closed', 'closed_by_timeout')) AS live",
        )
        .fetch_one(&self.control)
        .await?;
        facts.today = row.try_get("today")?;
        facts.webhooks = row.try_get("webhooks")?;
        facts.live_batches = row.try_get("live")?;
        let mut day = facts.today;
        loop {
            let names: Vec<String> = PARTITIONED.iter().map(|table| partition_name(table, day)).collect();
            let there: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM unnest($1::text[]) name WHERE to_regclass(name) IS NOT NULL",
            )
            .bind(&names)
            .fetch_one(&self.control)
            .await?;
            let Some(next) = day.succ_opt().filter(|_| i64::try_from(names.len()) == Ok(there)) else {
                break;
            };
            facts.partitions.push(day);
            day = next;
        }
        Ok(facts)
    }

    /// Where `database.url` leads. Connects to nothing.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn destination(config: &DatabaseConfig) -> Result<DatabaseDestination, StoreError> {
        super::connect::destination(config)
    }
}

/// Where a database is, and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseDestination {
    /// The host names; a local socket has none.
    pub hosts: Vec<String>,
    /// Whether connections are encrypted for certain.
    pub encrypted: bool,
    /// Whether the server's certificate is checked against authorities.
    pub verified: bool,
    /// The password in the URL.
    pub password: Option<Secret>,
}
