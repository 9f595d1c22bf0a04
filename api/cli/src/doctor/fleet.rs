//! The workers, as their heartbeats say, and the API, as it answers.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use millrace_common::config::Config;
use millrace_common::https;
use millrace_common::model::Protocol;
use millrace_common::store::{Store, WorkerFacts, WorkerRow};

use super::super::{Globals, profile};
use super::database::{CLOCK_WHY, clock_status};
use super::finding::{Findings, Status};

/// How long the API may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);

pub fn check(facts: &WorkerFacts, config: &Config, findings: &mut Findings) {
    let silent_after = Duration::from_millis(config.worker.silent_after_ms).as_secs_f64();
    let (alive, silent): (Vec<_>, Vec<_>) =
        facts.workers.iter().partition(|worker| worker.silent_seconds <= silent_after);
    let working = alive.iter().filter(|worker| !worker.draining);
    let slots: i64 = working.clone().map(|worker| i64::from(worker.slots)).sum();
    let status = match (slots, facts.live_batches) {
        (0, 0) => Status::Warning,
        (0, _) => Status::Error,
        _ => Status::Ok,
    };
    findings.judge(
        "workers",
        status,
        format!("{} with {slots} slots; {} live batches", working.count(), facts.live_batches),
        "nothing is evaluated, so input buffers fill up and pushes are refused",
        "start millrace-worker; its log and its /readyz say why when it does not come",
    );
    let names = |workers: &[&WorkerRow]| {
        workers.iter().map(|worker| worker.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    findings.judge(
        "silent-workers",
        if silent.is_empty() { Status::Ok } else { Status::Warning },
        if silent.is_empty() { "none".to_owned() } else { names(&silent) },
        "their process is gone or cut off, and no reaper has cleared them away yet: reapers run in workers",
        "look at their machines; with a worker that lives their rows go within seconds",
    );
    versions(&alive, findings);
    let off: Vec<_> = alive
        .iter()
        .filter_map(|worker| Some((worker, TimeDelta::milliseconds(worker.clock_ahead_ms?))))
        .collect();
    let worst = off.iter().max_by_key(|(_, ahead)| ahead.abs());
    findings.judge(
        "worker-clocks",
        worst.map_or(Status::Ok, |(_, ahead)| clock_status(*ahead)),
        match worst {
            Some((worker, ahead)) => format!(
                "{} of {} say; {} is furthest off: {} ms ahead of the database",
                off.len(),
                alive.len(),
                worker.name,
                ahead.num_milliseconds()
            ),
            None => "no worker says".to_owned(),
        },
        CLOCK_WHY,
        "synchronise the clocks of these machines (chrony, systemd-timesyncd)",
    );
}

fn versions(alive: &[&WorkerRow], findings: &mut Findings) {
    let versions: BTreeSet<&str> = alive.iter().map(|worker| worker.version.as_str()).collect();
    let own = env!("CARGO_PKG_VERSION");
    let behind =
        alive.iter().filter(|worker| Protocol::announced(worker.protocol) < Protocol::CURRENT).count();
    let foreign = versions.iter().any(|version| *version != own);
    let mut seen = versions.into_iter().collect::<Vec<_>>().join(", ");
    if seen.is_empty() {
        seen.push_str("no worker");
    }
    if behind > 0 {
        seen.push_str(&format!(
            "; {behind} workers do not know all that this release has them do, and are not given it"
        ));
    }
    findings.judge(
        "versions",
        if foreign || behind > 0 { Status::Warning } else { Status::Ok },
        seen,
        "releases share a fleet while it is upgraded, not for longer: recipes run on the workers alone that know them",
        format!("end the upgrade; this program is {own}"),
    );
}

/// Asks the API whether it is ready, and what time it is there.
pub async fn check_api(globals: &Globals, store: Option<&Store>, findings: &mut Findings) {
    let Some(url) = globals.url.as_deref() else {
        findings.skipped("api", "no address given", "--url or MILLRACE_URL");
        return;
    };
    let why = "callers are refused, or do not reach it at all";
    let advice = "the API's log says why; /readyz names what it misses";
    let answer = async {
        let url = profile::server_url(url).map_err(|error| error.to_string())?;
        let client = https::client_within(globals.ca.as_deref(), url.starts_with("https://"), DEADLINE)
            .map_err(|error| error.to_string())?
            .build()
            .map_err(|error| error.to_string())?;
        let answer = client.get(format!("{url}/readyz")).send().await;
        let answer = answer.map_err(|_| format!("no answer from {url}"))?;
        let date = answer.headers().get("date").and_then(|date| date.to_str().ok()).and_then(http_date);
        Ok::<_, String>((answer.status(), date))
    };
    match answer.await {
        Err(error) => findings.error("api", error, why, advice),
        Ok((status, date)) => {
            findings.judge(
                "api",
                if status.is_success() { Status::Ok } else { Status::Error },
                format!("/readyz says {}", status.as_u16()),
                why,
                advice,
            );
            let Some((date, store)) = date.zip(store) else { return };
            let Ok(now) = store.in_time(store.now()).await else { return };
            let ahead = date - now;
            findings.judge(
                "api-clock",
                // The answer's date has whole seconds, and is a moment older.
                clock_status(ahead + TimeDelta::milliseconds(500)),
                format!("{} s ahead of the database, within 1 s", ahead.num_seconds()),
                CLOCK_WHY,
                "synchronise the clock of its machine (chrony, systemd-timesyncd)",
            );
        }
    }
}

fn http_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text).ok().map(|date| date.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(change: impl FnOnce(&mut WorkerRow)) -> WorkerRow {
        let mut worker = WorkerRow {
            name: "a:1".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            slots: 2,
            draining: false,
            silent_seconds: 0.5,
            clock_ahead_ms: Some(-3),
            protocol: Some(Protocol::CURRENT.number()),
        };
        change(&mut worker);
        worker
    }

    fn checked(workers: Vec<WorkerRow>, live_batches: i64) -> Findings {
        let mut findings = Findings::default();
        findings.enter("fleet");
        let facts = WorkerFacts { workers, live_batches, ..WorkerFacts::default() };
        check(&facts, &Config::default(), &mut findings);
        findings
    }

    #[test]
    fn a_fleet_is_as_good_as_its_worst_worker() {
        assert_eq!(checked(vec![worker(|_| {})], 3).worst(), Status::Ok);
        assert_eq!(checked(Vec::new(), 0).status("fleet.workers"), Some(Status::Warning));
        assert_eq!(
            checked(vec![worker(|worker| worker.draining = true)], 1).status("fleet.workers"),
            Some(Status::Error)
        );
        type Change = fn(&mut WorkerRow);
        let changes: [(Change, &str, Status); 4] = [
            (|worker| worker.silent_seconds = 60.0, "silent-workers", Status::Warning),
            (|worker| worker.version = "0.0.9".to_owned(), "versions", Status::Warning),
            (|worker| worker.protocol = None, "versions", Status::Warning),
            (|worker| worker.clock_ahead_ms = Some(-90_000), "worker-clocks", Status::Error),
        ];
        for (change, check, status) in changes {
            let findings = checked(vec![worker(|_| {}), worker(change)], 1);
            assert_eq!(findings.status(&format!("fleet.{check}")), Some(status), "{check}");
            assert_eq!(findings.worst(), status, "{check}: {:?}", findings.all());
        }
        // Workers of before say nothing of their clocks.
        let old = worker(|worker| worker.clock_ahead_ms = None);
        assert_eq!(checked(vec![old], 1).status("fleet.worker-clocks"), Some(Status::Ok));
    }

    #[test]
    fn dates_of_answers_are_read() {
        let date = http_date("Sun, 29 Nov 2026 20:50:41 GMT").map(|date| date.timestamp());
        assert_eq!(date, Some(1_795_985_441));
        assert_eq!(http_date("yesterday"), None);
    }
}
