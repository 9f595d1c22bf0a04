//! What a declared metric is, and how it is recorded.

use std::fmt::Write as _;
use std::sync::OnceLock;

use metrics::{Key, Level, Metadata, Unit};

use super::records;

/// Where a metric is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// By the API.
    Api,
    /// By workers.
    Worker,
    /// By both.
    Both,
    /// By nobody: the API reads it from database and broker when it is asked.
    Installation,
}

impl Process {
    /// Whether what is recorded here is recorded by `process`.
    pub(super) fn includes(self, process: Self) -> bool {
        self == process || self == Self::Both
    }
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values by size; these are the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

/// The values that a label takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// These.
    Fixed(&'static [&'static str]),
    /// As many as there are of what is named here.
    Open(&'static str),
}

/// A label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Its values.
    pub values: Values,
}

/// A metric as it is declared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct About {
    /// How the code calls it.
    pub constant: &'static str,
    /// Its name, as scraped.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What is counted.
    pub unit: Unit,
    /// Where it is recorded.
    pub process: Process,
    /// Its labels.
    pub labels: &'static [Label],
    help: &'static str,
}

impl About {
    pub(super) const fn new(
        constant: &'static str,
        name: &'static str,
        kind: Kind,
        unit: Unit,
        process: Process,
        labels: &'static [Label],
        help: &'static str,
    ) -> Self {
        Self { constant, name, kind, unit, process, labels, help }
    }

    /// What it says, in a sentence or two.
    pub fn help(&self) -> &'static str {
        self.help.trim()
    }

    /// Whether it has a label whose values are not fixed: such series appear when they are first recorded.
    pub fn is_open(&self) -> bool {
        self.labels.iter().any(|label| matches!(label.values, Values::Open(_)))
    }

    /// The values of its only label; one empty value when it has none.
    fn series(&self) -> &'static [&'static str] {
        match self.labels {
            [Label { values: Values::Fixed(values), .. }] => values,
            [] => &[""],
            _ => &[],
        }
    }

    /// The key of one series.
    fn key(&self, values: &[&str]) -> Key {
        let labels = self.labels.iter().zip(values);
        let labels: Vec<_> =
            labels.map(|(label, value)| metrics::Label::new(label.name, (*value).to_owned())).collect();
        Key::from_parts(self.name, labels)
    }
}

const METADATA: Metadata<'static> = Metadata::new("millrace", Level::INFO, None);

/// Makes the type of one kind of metrics: its handles are made when it is first recorded after [`super::install`].
macro_rules! recorded {
    ($(#[$about:meta])* $name:ident, $handle:ty, $register:ident) => {
        $(#[$about])*
        #[derive(Debug)]
        pub struct $name {
            /// Its declaration.
            pub about: About,
            handles: OnceLock<Vec<$handle>>,
        }

        impl $name {
            pub(super) const fn new(about: About) -> Self {
                Self { about, handles: OnceLock::new() }
            }

            /// Makes the series with fixed values.
            pub(super) fn show_zero(&self) {
                self.handle(0);
            }

            fn handle(&self, index: usize) -> Option<&$handle> {
                if !records(self.about.process) {
                    return None;
                }
                let make = || self.about.series().iter().map(|value| self.of(&[value])).collect();
                self.handles.get_or_init(make).get(index)
            }

            /// The series with this value of the only label. A value that is not declared is a bug; it counts as the last one.
            pub fn with(&self, value: &str) -> Series<'_, $handle> {
                let values = self.about.series();
                let index = values.iter().position(|declared| *declared == value);
                debug_assert!(index.is_some(), "{} has no value `{value}`", self.about.name);
                Series(self.handle(index.unwrap_or(values.len().saturating_sub(1))))
            }

            /// As [`Self::with`], for values that come from elsewhere: one that is not declared counts as the last one.
            pub fn with_or_last(&self, value: &str) -> Series<'_, $handle> {
                let values = self.about.series();
                self.with(values.iter().find(|declared| **declared == value).or(values.last()).copied().unwrap_or(""))
            }

            /// The series with these values of open labels, to be kept by whoever records it often. It records nothing in
            /// processes that do not record this metric.
            pub fn of(&self, values: &[&str]) -> $handle {
                if !records(self.about.process) {
                    return <$handle>::noop();
                }
                metrics::with_recorder(|recorder| recorder.$register(&self.about.key(values), &METADATA))
            }
        }
    };
}

/// One series of a metric.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a, H>(Option<&'a H>);

recorded! {
    /// A number of events.
    Counter, metrics::Counter, register_counter
}
recorded! {
    /// A number that goes up and down.
    Gauge, metrics::Gauge, register_gauge
}
recorded! {
    /// Sizes or durations.
    Histogram, metrics::Histogram, register_histogram
}

impl Counter {
    /// Adds to a counter without labels.
    pub fn add(&self, amount: u64) {
        Series(self.handle(0)).add(amount);
    }
}

impl Gauge {
    /// Sets a gauge without labels.
    pub fn set(&self, value: f64) {
        Series(self.handle(0)).set(value);
    }
}

impl Histogram {
    /// Records in a histogram without labels.
    pub fn record(&self, value: f64) {
        Series(self.handle(0)).record(value);
    }
}

impl Series<'_, metrics::Counter> {
    /// Adds.
    pub fn add(&self, amount: u64) {
        if let Some(counter) = self.0 {
            counter.increment(amount);
        }
    }
}

impl Series<'_, metrics::Gauge> {
    /// Sets.
    pub fn set(&self, value: f64) {
        if let Some(gauge) = self.0 {
            gauge.set(value);
        }
    }
}

impl Series<'_, metrics::Histogram> {
    /// Records.
    pub fn record(&self, value: f64) {
        if let Some(histogram) = self.0 {
            histogram.record(value);
        }
    }
}

/// A gauge of the whole installation.
#[derive(Debug)]
pub struct Reading {
    /// Its declaration.
    pub about: About,
}

impl Reading {
    pub(super) const fn new(about: About) -> Self {
        Self { about }
    }

    /// There is nothing to show before it is read.
    pub(super) const fn show_zero(&self) {}

    /// One value, with the values of the labels in the order of their declaration.
    pub fn sample(&'static self, labels: &[&str], value: f64) -> Sample {
        debug_assert_eq!(labels.len(), self.about.labels.len(), "{}", self.about.name);
        let labels = labels.iter().map(|value| (*value).to_owned()).collect();
        Sample { about: &self.about, labels, value }
    }
}

/// A value of a [`Reading`].
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub(super) about: &'static About,
    labels: Vec<String>,
    value: f64,
}

impl Sample {
    pub(super) fn write(&self, text: &mut String) {
        text.push_str(self.about.name);
        for (index, (label, value)) in self.about.labels.iter().zip(&self.labels).enumerate() {
            let separator = if index == 0 { '{' } else { ',' };
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(text, "{separator}{}=\"{value}\"", label.name);
        }
        if !self.labels.is_empty() {
            text.push('}');
        }
        let _ = writeln!(text, " {}", self.value);
    }
}
