//! The page of all metrics.

use std::fmt::Write as _;

use super::declaration::{About, Kind, Label, Process, Values};
use super::{table, unit_name};

const HEAD: &str = "# Metrics

The API serves these at `/metrics` of `http.listen`, workers at `/metrics` of `worker.listen`, in the text form of Prometheus. Who may
read them is said in [SECURITY.md](../SECURITY.md). This page is made from `src/metrics/table.rs`:
`UPDATE_METRICS=1 cargo test -p millrace-common --lib metrics` writes it anew, and a test fails while it is out of date.

Counters begin at 0 with their process. A histogram has the series `_bucket`, `_sum` and `_count`. Series with fixed label values are
there from the start; others appear with their first value.
";

const SECTIONS: [(Process, &str, &str); 4] = [
    (Process::Api, "The API", "Each replica counts for itself."),
    (Process::Worker, "Workers", "Each worker counts for itself."),
    (Process::Both, "Both", "Each process counts for itself."),
    (
        Process::Installation,
        "The whole installation",
        "The API reads these from database and broker when it is asked, at most every five seconds, and shows them only to whoever has \
         `telemetry.metrics_token`: they name tenants. Every replica shows the same, so take the maximum over them, not the sum. \
         While the database is away they are missing.",
    ),
];

/// The text of `common/METRICS.md`.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for (process, title, about) in SECTIONS {
        let _ = write!(
            page,
            "\n## {title}\n\n{about}\n\n| metric | kind | labels | what it says |\n| --- | --- | --- | --- |\n"
        );
        for metric in table::ALL.iter().filter(|metric| metric.process == process) {
            row(metric, &mut page);
        }
    }
    page
}

fn row(about: &About, page: &mut String) {
    let kind = match about.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    let unit = unit_name(about.unit);
    let kind = if unit.is_empty() { kind.to_owned() } else { format!("{kind}, {unit}") };
    let labels: Vec<_> = about.labels.iter().map(label).collect();
    let _ = writeln!(page, "| `{}` | {kind} | {} | {} |", about.name, labels.join("; "), about.help());
}

fn label(label: &Label) -> String {
    match label.values {
        Values::Fixed(values) => {
            let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
            format!("`{}`: {}", label.name, values.join(", "))
        }
        Values::Open(what) => format!("`{}`: {what}", label.name),
    }
}
