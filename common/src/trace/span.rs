//! Spans: what took how long, and what it belongs to.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{EXPORTER, TraceContext};

/// What a span is to the other side, as OpenTelemetry numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Work within a process.
    Internal = 1,
    /// The answer to a request.
    Server = 2,
    /// Handing work over that somebody does later.
    Producer = 4,
    /// Doing work that was handed over.
    Consumer = 5,
}

/// The value of an attribute. Never a record, a result or a credential.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Integer(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Integer(number.into())
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// What is exported of a span.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) context: TraceContext,
    pub(super) parent: Option<u64>,
    pub(super) name: String,
    pub(super) kind: SpanKind,
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) attributes: Vec<(&'static str, Value)>,
    pub(super) links: Vec<TraceContext>,
    pub(super) failed: bool,
}

/// A span that has begun. It ends when it is dropped, and is exported then if its trace is sampled.
#[derive(Debug)]
pub struct Span {
    context: TraceContext,
    /// Boxed, so that a span of a trace that is not sampled stays small.
    record: Option<Box<Record>>,
}

impl Span {
    /// The first span of this process in a trace: of the caller's, where it sent one, else of a new one that is sampled by
    /// `telemetry.otlp.ratio`. `None` when traces are off.
    pub fn root(name: &str, kind: SpanKind, parent: Option<TraceContext>) -> Option<Self> {
        let exporter = EXPORTER.get()?;
        let (trace_id, sampled) = match parent {
            Some(parent) => (parent.trace_id, parent.sampled),
            None => {
                let trace_id = rand::random::<u128>().max(1);
                (trace_id, exporter.samples(trace_id))
            }
        };
        Some(Self::begin(name, kind, trace_id, sampled, parent))
    }

    /// A span below another one. `None` when traces are off, and for a trace that is not sampled: nothing is done for it.
    pub fn child(name: &str, kind: SpanKind, parent: Option<TraceContext>) -> Option<Self> {
        let parent = parent.filter(|parent| parent.sampled)?;
        EXPORTER.get()?;
        Some(Self::begin(name, kind, parent.trace_id, true, Some(parent)))
    }

    fn begin(
        name: &str,
        kind: SpanKind,
        trace_id: u128,
        sampled: bool,
        parent: Option<TraceContext>,
    ) -> Self {
        let context = TraceContext { trace_id, span_id: rand::random::<u64>().max(1), sampled };
        let record = sampled.then(|| {
            Box::new(Record {
                context,
                parent: parent.map(|parent| parent.span_id),
                name: name.to_owned(),
                kind,
                began: now(),
                ended: 0,
                attributes: Vec::new(),
                links: Vec::new(),
                failed: false,
            })
        });
        Self { context, record }
    }

    /// What those carry on who work for this span.
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// Another name than the first one.
    pub fn rename(&mut self, name: impl FnOnce() -> String) {
        if let Some(record) = &mut self.record {
            record.name = name();
        }
    }

    /// Says something of it, in the words of OpenTelemetry's conventions where they have one.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(record) = &mut self.record {
            record.attributes.push((name, value.into()));
        }
    }

    /// Names a span that this one works for besides its parent.
    pub fn link(&mut self, other: TraceContext) {
        if let Some(record) = &mut self.record {
            record.links.push(other);
        }
    }

    /// Notes that it came to nothing.
    pub fn fail(&mut self) {
        if let Some(record) = &mut self.record {
            record.failed = true;
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let (Some(mut record), Some(exporter)) = (self.record.take(), EXPORTER.get()) {
            record.ended = now();
            exporter.take(*record);
        }
    }
}

/// Nanoseconds since 1970, by this machine's clock.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_begins_while_traces_are_off() {
        let parent = TraceContext { trace_id: 1, span_id: 1, sampled: true };
        assert!(Span::root("a", SpanKind::Server, Some(parent)).is_none());
        assert!(Span::child("a", SpanKind::Internal, Some(parent)).is_none());
    }
}
