use std::collections::BTreeMap;

use millrace_common::store::{ServerSetting, SessionCount, WorkerRow};

use super::*;

/// A healthy server with these settings changed.
fn facts(changes: &[(&str, &str)]) -> DatabaseFacts {
    let healthy = [
        ("server_version_num", "160004", ""),
        ("server_encoding", "UTF8", ""),
        ("fsync", "on", ""),
        ("full_page_writes", "on", ""),
        ("synchronous_commit", "on", ""),
        ("shared_buffers", "32768", "8kB"),
        ("max_wal_size", "2048", "MB"),
        ("autovacuum", "on", ""),
        ("statement_timeout", "30000", "ms"),
        ("idle_session_timeout", "0", "ms"),
        ("default_transaction_isolation", "read committed", ""),
        ("TimeZone", "Etc/UTC", ""),
        ("log_statement", "none", ""),
        ("log_min_duration_statement", "-1", "ms"),
        ("log_parameter_max_length", "-1", "B"),
        ("log_parameter_max_length_on_error", "0", "B"),
        ("max_connections", "100", ""),
        ("superuser_reserved_connections", "3", ""),
    ];
    let mut settings: BTreeMap<String, ServerSetting> = healthy
        .into_iter()
        .map(|(name, value, unit)| {
            (
                name.to_owned(),
                ServerSetting {
                    value: value.to_owned(),
                    unit: unit.to_owned(),
                    source: "default".to_owned(),
                },
            )
        })
        .collect();
    for (name, value) in changes {
        let unit = settings.get(*name).map(|setting| setting.unit.clone()).unwrap_or_default();
        settings.insert(
            (*name).to_owned(),
            ServerSetting { value: (*value).to_owned(), unit, source: "user".to_owned() },
        );
    }
    DatabaseFacts {
        settings,
        in_recovery: false,
        sessions: SessionCount { all: 5, own: 3, oldest_idle_seconds: 0 },
        size_bytes: 10_000_000,
        frozen_age: 5,
        idle_slots: Vec::new(),
    }
}

fn checked(facts: &DatabaseFacts) -> Findings {
    let mut findings = Findings::default();
    findings.enter("database");
    version(facts, &mut findings);
    durability(facts, &mut findings);
    capacity(facts, &mut findings);
    sessions(facts, &Config::default(), &mut findings);
    upkeep(facts, &mut findings);
    findings
}

#[test]
fn each_setting_that_hurts_is_named_and_no_other() {
    assert_eq!(checked(&facts(&[])).worst(), Status::Ok, "{:?}", checked(&facts(&[])).all());
    for (name, value, check, status) in [
        ("server_version_num", "140009", "version", Status::Error),
        ("server_encoding", "SQL_ASCII", "encoding", Status::Error),
        ("default_transaction_read_only", "on", "writable", Status::Error),
        ("fsync", "off", "fsync", Status::Error),
        ("full_page_writes", "off", "full-page-writes", Status::Error),
        ("synchronous_commit", "off", "synchronous-commit", Status::Error),
        ("shared_buffers", "1024", "shared-buffers", Status::Warning),
        ("max_wal_size", "512", "max-wal-size", Status::Warning),
        ("autovacuum", "off", "autovacuum", Status::Error),
        ("statement_timeout", "0", "session-settings", Status::Error),
        ("default_transaction_isolation", "serializable", "isolation", Status::Error),
        ("idle_session_timeout", "60000", "idle-sessions", Status::Warning),
        ("transaction_timeout", "1000", "transaction-timeout", Status::Warning),
        ("TimeZone", "Europe/Rome", "time-zone", Status::Warning),
        ("log_statement", "all", "log-parameters", Status::Warning),
        ("log_parameter_max_length_on_error", "-1", "log-parameters", Status::Warning),
    ] {
        let findings = checked(&facts(&[(name, value)]));
        assert_eq!(findings.status(&format!("database.{check}")), Some(status), "{name}");
        let bad: Vec<_> = findings.all().iter().filter(|finding| finding.status != Status::Ok).collect();
        assert!(bad.len() == 1 && !bad[0].why.is_empty() && !bad[0].advice.is_empty(), "{bad:?}");
    }
    // A standby that must have written is stricter, not weaker.
    assert_eq!(checked(&facts(&[("synchronous_commit", "remote_apply")])).worst(), Status::Ok);
}

#[test]
fn what_grows_in_silence_is_seen() {
    let standby = DatabaseFacts { in_recovery: true, ..facts(&[]) };
    assert_eq!(checked(&standby).status("database.writable"), Some(Status::Error));
    let old = DatabaseFacts { frozen_age: 1_500_000_000, ..facts(&[]) };
    assert_eq!(checked(&old).status("database.frozen"), Some(Status::Error));
    let idle = SessionCount { all: 1, own: 1, oldest_idle_seconds: 4_000 };
    assert_eq!(
        checked(&DatabaseFacts { sessions: idle, ..facts(&[]) }).status("database.idle-transactions"),
        Some(Status::Warning)
    );
    let slots = vec![("gone".to_owned(), 5 << 30), ("small".to_owned(), 5)];
    let findings = checked(&DatabaseFacts { idle_slots: slots, ..facts(&[]) });
    assert_eq!(findings.status("database.replication-slots"), Some(Status::Warning));
}

#[test]
fn pools_times_processes_fit_the_server() {
    let worker = WorkerRow {
        name: "w".to_owned(),
        version: String::new(),
        slots: 2,
        draining: false,
        silent_seconds: 0.1,
        clock_ahead_ms: None,
        protocol: None,
    };
    for (workers, others, expected) in [(3, 2, Status::Ok), (3, 20, Status::Warning), (4, 0, Status::Error)] {
        let fleet = WorkerFacts { workers: vec![worker.clone(); workers], ..WorkerFacts::default() };
        let sessions = SessionCount { all: others, own: 0, oldest_idle_seconds: 0 };
        let mut findings = Findings::default();
        findings.enter("database");
        connections(&DatabaseFacts { sessions, ..facts(&[]) }, &fleet, &Config::default(), &mut findings);
        assert_eq!(findings.status("database.connections"), Some(expected), "{workers}, {others}");
    }
}

#[test]
fn clocks_are_judged_by_how_far_they_are_off() {
    assert_eq!(clock_status(TimeDelta::milliseconds(-1_900)), Status::Ok);
    assert_eq!(clock_status(TimeDelta::seconds(-3)), Status::Warning);
    assert_eq!(clock_status(TimeDelta::seconds(61)), Status::Error);
}
