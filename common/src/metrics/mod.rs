//! What is measured. Every metric is declared in one [`table`], with its name, kind, unit, meaning and labels, and is recorded
//! through its declaration, so nothing is measured that the table does not list. `common/METRICS.md` is made from it ([`page`]).
//!
//! [`install`] makes the process' recorder, which is served as text at `/metrics`. Without it, in tests and on the command line,
//! recording does nothing. Handles are made once: recording is a few atomic operations.
//!
//! Labels are bounded: values that are fixed here, routes of the API, tenants and lanes; never a batch, a chunk or a key.
//!
//! There are two sorts of gauges. Those of a process are set where they change. Those of the whole installation ([`Reading`]) are
//! read from database and broker when somebody asks, and belong to no process.

mod access;
mod declaration;
mod page;
pub mod table;

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use metrics::Unit;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub use access::{Access, access};
pub use declaration::{About, Counter, Gauge, Histogram, Kind, Label, Process, Reading, Sample, Values};
pub use page::page;
#[doc(inline)]
pub use table::*;

/// Time between two upkeeps of the recorder, which empty what histograms have gathered.
const UPKEEP: Duration = Duration::from_secs(5);

/// The media type of [`render`].
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The recorder, and whose metrics it records.
struct Recorder {
    process: Process,
    handle: PrometheusHandle,
}

static RECORDER: OnceLock<Recorder> = OnceLock::new();

/// Makes the recorder of this process; to be called within a runtime. Further calls do nothing.
///
/// Every metric of the process is there from the start, at zero: a rate over a counter that appears with its first event would
/// miss that event.
pub fn install(process: Process) {
    let mut first = false;
    let recorder = RECORDER.get_or_init(|| {
        first = true;
        let mut builder = PrometheusBuilder::new();
        for about in table::ALL {
            if let Kind::Histogram(buckets) = about.kind {
                let name = Matcher::Full(about.name.to_owned());
                match builder.set_buckets_for_metric(name, buckets) {
                    Ok(with_buckets) => builder = with_buckets,
                    // Only for a list without buckets, of which there is none.
                    Err(_) => builder = PrometheusBuilder::new(),
                }
            }
        }
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        // It fails where another recorder is installed already, which then records everything.
        let _ = metrics::set_global_recorder(recorder);
        Recorder { process, handle }
    });
    if !first {
        return;
    }
    for about in table::ALL.iter().filter(|about| about.process.includes(process)) {
        let help = about.help();
        match about.kind {
            Kind::Counter => metrics::describe_counter!(about.name, about.unit, help),
            Kind::Gauge => metrics::describe_gauge!(about.name, about.unit, help),
            Kind::Histogram(_) => metrics::describe_histogram!(about.name, about.unit, help),
        }
    }
    table::show_zeros();
    table::BUILD.of(&[env!("CARGO_PKG_VERSION")]).set(1.0);
    let upkeep = recorder.handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
}

/// Whether this process records metrics of `process`.
fn records(process: Process) -> bool {
    RECORDER.get().is_some_and(|recorder| process.includes(recorder.process))
}

/// Everything that this process recorded so far, in the text form of Prometheus, and then `samples` of the whole installation, those
/// of one metric together.
pub fn render(samples: &[Sample]) -> String {
    let mut text = RECORDER.get().map(|recorder| recorder.handle.render()).unwrap_or_default();
    for about in table::ALL.iter().filter(|about| about.process == Process::Installation) {
        let mut samples = samples.iter().filter(|sample| std::ptr::eq(sample.about, *about)).peekable();
        if samples.peek().is_none() {
            continue;
        }
        let _ = writeln!(text, "# HELP {} {}\n# TYPE {} gauge", about.name, about.help(), about.name);
        for sample in samples {
            sample.write(&mut text);
        }
        text.push('\n');
    }
    text
}

/// The word for a unit in the page.
const fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "seconds",
        Unit::Bytes => "bytes",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::path::Path;

    use super::*;

    #[test]
    fn names_follow_the_rules_and_are_unique() {
        let mut names: Vec<_> = ALL.iter().map(|about| about.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        for about in ALL {
            let name = about.name;
            assert!(name.starts_with("millrace_"), "{name}");
            assert_eq!(name.ends_with("_total"), about.kind == Kind::Counter, "{name}");
            let base = name.trim_end_matches("_total");
            assert_eq!(base.ends_with("_seconds"), about.unit == Unit::Seconds, "{name}");
            assert_eq!(base.ends_with("_bytes"), about.unit == Unit::Bytes, "{name}");
            assert!(about.help().ends_with('.') && !about.help().contains('\n'), "{name}");
            for label in about.labels {
                if let Values::Fixed(values) = label.values {
                    assert!((2..=24).contains(&values.len()), "{name}");
                }
            }
        }
    }

    #[test]
    fn the_page_is_what_the_table_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("METRICS.md");
        if std::env::var_os("UPDATE_METRICS").is_some() {
            std::fs::write(&path, page()).unwrap();
        }
        assert!(
            std::fs::read_to_string(&path).unwrap() == page(),
            "METRICS.md is out of date: UPDATE_METRICS=1 cargo test -p millrace-common --lib metrics"
        );
    }

    #[tokio::test]
    async fn a_process_shows_its_own_metrics_from_the_start_and_what_is_recorded() {
        BATCHES_ENDED.with("cancelled").add(7);
        install(Process::Worker);
        BATCHES_ENDED.with("failed").add(2);
        COMMIT_SECONDS.record(0.003);
        HTTP_IN_FLIGHT.set(3.0);
        let samples = [
            LANE_BACKLOG.sample(&["a\"b\\c\n", "0001"], 5.0),
            LIVE_WORKERS.sample(&[], 2.0),
            LANE_BACKLOG.sample(&["x", "0002"], 0.5),
        ];
        let text = render(&samples);
        for line in [
            "# HELP millrace_batches_ended_total Batches that reached",
            "millrace_batches_ended_total{state=\"failed\"} 2\n",
            "millrace_batches_ended_total{state=\"completed\"} 0\n",
            // What was recorded before went nowhere.
            "millrace_batches_ended_total{state=\"cancelled\"} 0\n",
            "millrace_commit_seconds_bucket{le=\"0.0025\"} 0\n",
            "millrace_commit_seconds_bucket{le=\"0.005\"} 1\n",
            "# TYPE millrace_lane_backlog_chunks gauge\n",
            "millrace_lane_backlog_chunks{tenant=\"a\\\"b\\\\c\\n\",lane=\"0001\"} 5\nmillrace_lane_backlog_chunks{tenant=\"x\",lane=\"0002\"} 0.5\n",
            "millrace_live_workers 2\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("millrace_http_"), "{text}");
        for about in ALL.iter().filter(|about| Process::Worker == about.process) {
            let shown = text.contains(&format!("# TYPE {} ", about.name));
            assert!(shown || about.is_open(), "{}", about.name);
        }
    }

    #[test]
    #[should_panic(expected = "has no value `other`")]
    fn values_that_are_not_declared_are_found_by_tests() {
        BATCHES_ENDED.with("other");
    }
}
