//! The accounts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::Options;
use crate::chaos::{Fault, Settled};
use crate::memory::Memory;
use crate::tally::Tally;

/// Processes that lived shorter than this are left out of the memory figures.
const LONG_ENOUGH: f64 = 20.0;

/// Everything that was counted.
#[derive(Debug)]
pub struct Report {
    seed: u64,
    time: Duration,
    counts: Vec<(&'static str, u64)>,
    stall: Duration,
    problems: Vec<String>,
    faults: BTreeMap<Fault, u64>,
    memory: Vec<Memory>,
    settled: Settled,
}

impl Report {
    pub fn new(
        options: &Options,
        time: Duration,
        tally: &Tally,
        faults: &BTreeMap<Fault, u64>,
        memory: Vec<Memory>,
        settled: Settled,
    ) -> Self {
        let counts = vec![
            ("batches", tally.batches.get()),
            ("of these cancelled midway", tally.cancelled_batches.get()),
            ("chunks pushed", tally.pushed.get()),
            ("records", tally.records.get()),
            ("chunks pulled", tally.pulled.get()),
            ("fetched again", tally.fetched_again.get()),
            ("failed as they must", tally.failed.get()),
            ("lost", tally.lost.get()),
            ("doubled", tally.doubled.get()),
            ("wrong values", tally.wrong.get()),
            ("pushes made again", tally.pushes_again.get()),
            ("pulls without their answer", tally.lost_pulls.get()),
        ];
        Self {
            seed: options.seed,
            time,
            counts,
            stall: tally.longest_stall(),
            problems: tally.problems(),
            faults: faults.clone(),
            memory: memory.into_iter().filter(|memory| memory.seconds >= LONG_ENOUGH).collect(),
            settled,
        }
    }

    fn count(&self, name: &str) -> u64 {
        self.counts.iter().find(|(count, _)| *count == name).map_or(0, |(_, count)| *count)
    }

    /// Nothing lost, nothing doubled, nothing wrong, budgets zero.
    pub fn is_good(&self) -> bool {
        let budgets = [self.settled.input_bytes, self.settled.output_bytes, self.settled.reserved_bytes];
        self.problems.is_empty()
            && ["lost", "doubled", "wrong values"].iter().all(|name| self.count(name) == 0)
            && self.count("chunks pushed") == self.count("chunks pulled") + self.count("fetched again")
            && budgets == [0; 3]
            && self.settled.drift == [0; 3]
            && self.settled.double_rows == 0
    }

    /// A page to read.
    pub fn render(&self) -> String {
        let mut page = String::new();
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(page, "{name:<28} {value}");
        };
        line("seed", &self.seed);
        line("time", &format!("{:.0} s", self.time.as_secs_f64()));
        line("faults", &self.faults.values().sum::<u64>());
        for (fault, made) in &self.faults {
            line(&format!("  {}", fault.text()), made);
        }
        for (name, count) in &self.counts {
            line(name, count);
        }
        line("longest time without result", &format!("{:.1} s", self.stall.as_secs_f64()));
        line(
            "bytes in budgets",
            &format!("{} in, {} out", self.settled.input_bytes, self.settled.output_bytes),
        );
        line("bytes reserved", &self.settled.reserved_bytes);
        line("batches of unknown creation", &self.settled.orphans);
        line("counters against rows", &format!("{:?}", self.settled.drift));
        line("results beyond one a chunk", &self.settled.double_rows);
        for kind in ["api", "worker"] {
            let of_kind: Vec<&Memory> =
                self.memory.iter().filter(|memory| memory.process.starts_with(kind)).collect();
            let max = of_kind.iter().map(|memory| memory.max).fold(0.0, f64::max);
            if let Some(longest) = of_kind.iter().max_by(|a, b| a.seconds.total_cmp(&b.seconds)) {
                let Memory { seconds, start, end, growth, .. } = longest;
                line(
                    &format!("memory of {kind}"),
                    &format!(
                        "at most {max:.0} MB; the one that lived longest ({seconds:.0} s): {start:.0} MB at its start, \
                         {end:.0} MB at its end, {growth:+.1} MB a minute over its second half"
                    ),
                );
            }
        }
        for problem in &self.problems {
            line("PROBLEM", problem);
        }
        line(
            "verdict",
            &if self.is_good() { "nothing lost, nothing doubled, budgets zero" } else { "FAILED" },
        );
        page
    }

    /// The same for programs.
    ///
    /// # Errors
    ///
    /// None that is known: the figures are numbers and texts.
    pub fn json(&self) -> Result<Vec<u8>> {
        let faults: BTreeMap<&str, u64> =
            self.faults.iter().map(|(fault, made)| (fault.text(), *made)).collect();
        let counts: BTreeMap<&str, u64> = self.counts.iter().copied().collect();
        Ok(serde_json::to_vec_pretty(&json!({
            "seed": self.seed,
            "seconds": self.time.as_secs_f64(),
            "faults": faults,
            "counts": counts,
            "longest_seconds_without_result": self.stall.as_secs_f64(),
            "settled": self.settled,
            "memory": self.memory,
            "problems": self.problems,
            "good": self.is_good(),
        }))?)
    }
}
