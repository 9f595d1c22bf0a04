//! Who used the processors: on one machine, callers, API, workers, broker and database take time from each other.

use std::collections::BTreeMap;
use std::time::Instant;

/// Processes that are told apart, by the name that the system gives them, and what they are called in notes.
const GROUPS: [(&str, &str); 5] = [
    ("bench", "callers"),
    ("millrace-api", "API"),
    ("millrace-worke", "workers"),
    ("beam.smp", "broker"),
    ("postgres", "database"),
];

/// Ticks of the clock that `/proc` counts in, per second; Linux has had no other value since 2.6.
const TICKS: f64 = 100.0;

/// Processor time used so far, by kind of process.
#[derive(Debug)]
pub struct Used {
    at: Instant,
    /// User and system time of each process, in ticks.
    ticks: BTreeMap<(u32, &'static str), u64>,
}

impl Used {
    /// The time used so far by every process of the machine that is told apart.
    pub fn now() -> Self {
        let mut ticks = BTreeMap::new();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let stat = std::fs::read_to_string(entry.path().join("stat"));
            if let Some((name, used)) = stat.ok().as_deref().and_then(parse) {
                ticks.insert((process, name), used);
            }
        }
        Self { at: Instant::now(), ticks }
    }

    /// The share of one processor that each kind of process used since `before`, in percent: `API 45 %, workers 30 %`.
    pub fn since(&self, before: &Self) -> String {
        let seconds = (self.at - before.at).as_secs_f64();
        let shares = GROUPS.map(|(_, name)| {
            let used: u64 = self
                .ticks
                .iter()
                .filter(|((_, group), _)| *group == name)
                .map(|(process, ticks)| ticks.saturating_sub(before.ticks.get(process).copied().unwrap_or(0)))
                .sum();
            format!("{name} {:.0} %", used as f64 / TICKS / seconds * 100.0)
        });
        shares.join(", ")
    }
}

/// The kind of process that a line of `/proc/…/stat` is about, and its user and system time.
fn parse(stat: &str) -> Option<(&'static str, u64)> {
    let (before, after) = stat.rsplit_once(')')?;
    let (_, command) = before.split_once('(')?;
    let (_, name) = GROUPS.iter().find(|(beginning, _)| command.starts_with(beginning))?;
    let mut fields = after.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((name, user + system))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn time_is_read_whatever_the_name_has_in_it() {
        let line = "42 (postgres: (x) y) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15";
        assert_eq!(parse(line).unwrap(), ("database", 11 + 12));
        assert_eq!(parse("42 (bash) S 1 2 3 4 5 6 7 8 9 10 11 12 13"), None);
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn the_shares_are_those_of_the_time_between() {
        let at = Instant::now();
        let before = Used { at, ticks: [((1, "API"), 100), ((2, "database"), 7)].into() };
        let after = Used {
            at: at + std::time::Duration::from_secs(2),
            ticks: [((1, "API"), 200), ((2, "database"), 7), ((3, "database"), 50)].into(),
        };
        assert_eq!(after.since(&before), "callers 0 %, API 50 %, workers 0 %, broker 0 %, database 25 %");
    }
}
