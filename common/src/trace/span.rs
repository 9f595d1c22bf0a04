//! Spans: what took how long, and what it belongs to.

use std::borrow::Cow;
use std::time::{Instant, SystemTime};

use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::SdkTracer;

use super::attribute::ERROR_TYPE;
use super::{TRACER, TraceContext};

/// A span that has begun. It ends when it is dropped, and is exported then if its trace is sampled.
#[derive(Debug)]
pub struct Span {
    context: TraceContext,
    /// Boxed, so that a span of a trace that is not sampled stays small.
    recording: Option<Box<Recording>>,
}

#[derive(Debug)]
struct Recording {
    span: opentelemetry_sdk::trace::Span,
    started: SystemTime,
    /// For its length: a clock that is set back ends no span before it began.
    began: Instant,
}

impl Span {
    /// The first span of this process in a trace: of the caller's, where it sent one, else of a new one that is sampled by
    /// `telemetry.otlp.ratio`. `None` when traces are off.
    pub fn root(name: &'static str, kind: SpanKind, parent: Option<&TraceContext>) -> Option<Self> {
        Self::begin(TRACER.get()?, name, kind, parent)
    }

    /// A span below another one. `None` when traces are off, and for a trace that is not sampled: nothing is done for it.
    pub fn child(name: &'static str, kind: SpanKind, parent: Option<&TraceContext>) -> Option<Self> {
        let parent = parent.filter(|parent| parent.is_sampled())?;
        Self::begin(TRACER.get()?, name, kind, Some(parent))
    }

    /// `None` when the tracer has ended already.
    fn begin(
        tracer: &SdkTracer,
        name: &'static str,
        kind: SpanKind,
        parent: Option<&TraceContext>,
    ) -> Option<Self> {
        let parent = match parent {
            Some(parent) => Context::new().with_remote_span_context(parent.span_context().clone()),
            None => Context::new(),
        };
        let started = SystemTime::now();
        let builder = SpanBuilder::from_name(name).with_kind(kind).with_start_time(started);
        let span = tracer.build_with_context(builder, &parent);
        let context = TraceContext::of(span.span_context())?;
        let recording =
            span.is_recording().then(|| Box::new(Recording { span, started, began: Instant::now() }));
        Some(Self { context, recording })
    }

    /// What those carry on who work for this span.
    pub fn context(&self) -> TraceContext {
        self.context.clone()
    }

    /// Whether it will be exported: nobody need work out attributes for one that is not.
    pub fn is_recording(&self) -> bool {
        self.recording.is_some()
    }

    /// Another name than the first one.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        if let Some(recording) = &mut self.recording {
            recording.span.update_name(name);
        }
    }

    /// Says something of it, in the words of OpenTelemetry's conventions where they have one. Never a record, a result or a
    /// credential.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(recording) = &mut self.recording {
            recording.span.set_attribute(KeyValue::new(name, value));
        }
    }

    /// Says how many of something there were.
    pub fn count(&mut self, name: &'static str, number: usize) {
        self.set(name, i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// Names a span that this one works for besides its parent; of more than 128 the number alone is kept.
    pub fn link(&mut self, other: &TraceContext) {
        if let Some(recording) = &mut self.recording {
            recording.span.add_link(other.span_context().clone(), Vec::new());
        }
    }

    /// Notes that it came to nothing, and by which of a few kinds of errors.
    pub fn fail(&mut self, error: impl Into<Value>) {
        if let Some(recording) = &mut self.recording {
            recording.span.set_attribute(KeyValue::new(ERROR_TYPE, error));
            recording.span.set_status(Status::error(""));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(mut recording) = self.recording.take() {
            let ended = recording.started + recording.began.elapsed();
            recording.span.end_with_timestamp(ended);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::sync::Arc;

    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanProcessor};
    use parking_lot::Mutex;

    use super::super::export::sampler;
    use super::*;

    const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0";

    fn caller(sampled: u8) -> TraceContext {
        TraceContext::parse(&format!("{CALLER}{sampled}"), Some("vendor=1")).unwrap()
    }

    /// Keeps what has ended.
    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanProcessor for Kept {
        fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &Context) {}

        fn on_end(&self, span: SpanData) {
            self.0.lock().push(span);
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: std::time::Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    fn tracer(ratio: f64) -> (SdkTracerProvider, SdkTracer, Kept) {
        let kept = Kept::default();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(kept.clone())
            .with_sampler(sampler(ratio))
            .build();
        let tracer = provider.tracer("tests");
        (provider, tracer, kept)
    }

    #[test]
    fn nothing_begins_while_traces_are_off() {
        assert!(Span::root("a", SpanKind::Server, Some(&caller(1))).is_none());
        assert!(Span::child("a", SpanKind::Internal, Some(&caller(1))).is_none());
    }

    #[test]
    fn callers_decide_and_the_ratio_where_there_is_none() {
        for (ratio, parent, recorded) in [
            (0.0, None, false),
            (1.0, None, true),
            (0.0, Some(caller(1)), true),
            (1.0, Some(caller(0)), false),
        ] {
            let (_provider, tracer, kept) = tracer(ratio);
            let span = Span::begin(&tracer, "a", SpanKind::Server, parent.as_ref()).unwrap();
            let context = span.context();
            assert_eq!((span.is_recording(), context.is_sampled()), (recorded, recorded));
            drop(span);
            assert_eq!(kept.0.lock().len(), usize::from(recorded));
            if let Some(parent) = parent {
                assert_eq!(context.trace_id(), parent.trace_id());
                assert_ne!(context.to_string(), parent.to_string());
                assert_eq!(context.state().as_deref(), Some("vendor=1"));
            }
        }
    }

    #[test]
    fn a_span_is_exported_with_all_that_was_said_of_it() {
        let (provider, tracer, kept) = tracer(0.0);
        let mut span = Span::begin(&tracer, "a", SpanKind::Consumer, Some(&caller(1))).unwrap();
        span.rename(format!("b {}", 1));
        span.set("text", "ü");
        span.count("number", usize::MAX);
        span.link(&caller(0));
        span.fail("timeout");
        let context = span.context();
        drop(span);
        let ended = kept.0.lock().pop().unwrap();
        assert_eq!(ended.span_context, *context.span_context());
        assert_eq!(ended.parent_span_id, caller(1).span_context().span_id());
        assert!(ended.parent_span_is_remote && ended.end_time >= ended.start_time);
        assert_eq!((ended.name.as_ref(), ended.span_kind), ("b 1", SpanKind::Consumer));
        let expected = [
            KeyValue::new("text", "ü"),
            KeyValue::new("number", i64::MAX),
            KeyValue::new("error.type", "timeout"),
        ];
        assert_eq!(ended.attributes, expected);
        assert_eq!(ended.links[0].span_context, *caller(0).span_context());
        assert_eq!(ended.status, Status::error(""));

        // When the process ends, what begins still has no identity to carry on.
        provider.shutdown().unwrap();
        assert!(Span::begin(&tracer, "late", SpanKind::Server, None).is_none());
    }
}
