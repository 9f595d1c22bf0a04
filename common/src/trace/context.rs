//! The identity of a span on its way between processes: W3C Trace Context.

use std::fmt;
use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceId};
use opentelemetry_sdk::propagation::TraceContextPropagator;

/// The header of requests and of messages that carries a [`TraceContext`].
pub const TRACEPARENT: &str = "traceparent";

/// The header beside it with what tracing systems on the way add for themselves.
pub const TRACESTATE: &str = "tracestate";

/// The longest `tracestate` that is carried on: what W3C asks for at least. Every message of a push carries it.
const MAX_STATE_BYTES: usize = 512;

/// A trace, a span in it, and whether its spans are recorded. As text it is a `traceparent`.
///
/// Shared by its copies: all messages of a push have one, and those without a trace have no room for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TraceContext(Arc<SpanContext>);

impl TraceContext {
    /// Reads a `traceparent` and the `tracestate` beside it; `None` for a `traceparent` that is none, which is then as if it were
    /// not there. So is a `tracestate` that cannot be read, or is longer than 512 bytes.
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let headers = Headers {
            traceparent: well_formed(traceparent.trim())?,
            tracestate: tracestate.filter(|state| state.len() <= MAX_STATE_BYTES),
        };
        let extracted = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
        Self::of(extracted.span().span_context())
    }

    /// That of a span; `None` for one without an identity.
    pub(super) fn of(span: &SpanContext) -> Option<Self> {
        span.is_valid().then(|| Self(Arc::new(span.clone())))
    }

    pub(super) fn span_context(&self) -> &SpanContext {
        &self.0
    }

    /// The trace.
    pub fn trace_id(&self) -> TraceId {
        self.0.trace_id()
    }

    /// Whether whoever began the trace wants it recorded.
    pub fn is_sampled(&self) -> bool {
        self.0.is_sampled()
    }

    /// The `tracestate`, where there is one.
    pub fn state(&self) -> Option<String> {
        Some(self.0.trace_state().header()).filter(|state| !state.is_empty())
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.0.trace_id(), self.0.span_id(), u8::from(self.is_sampled()))
    }
}

/// The text, when its parts have the lengths and digits that W3C demands: the propagator also reads shorter numbers and signs.
fn well_formed(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let fit = [2, 32, 16, 2]
        .into_iter()
        .all(|length| parts.next().is_some_and(|part| part.len() == length && is_hex(part)));
    // Later versions may add parts behind these.
    (fit && (parts.next().is_none() || !traceparent.starts_with("00"))).then_some(traceparent)
}

/// Both headers, as the propagator asks for them.
struct Headers<'a> {
    traceparent: &'a str,
    tracestate: Option<&'a str>,
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => Some(self.traceparent),
            TRACESTATE => self.tracestate,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_specification_is_read_and_written() {
        let read = |text: &str| TraceContext::parse(text, None);
        let expected = read(GOOD).unwrap();
        assert_eq!(expected.trace_id(), TraceId::from(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736));
        assert!(expected.is_sampled());
        assert_eq!((expected.to_string(), expected.state()), (GOOD.to_owned(), None));
        // Flags and versions of later days.
        assert_eq!(read(&GOOD.replace("-01", "-03")).unwrap(), expected);
        let later = format!("cc{}-what-follows", GOOD.trim_start_matches("00"));
        assert_eq!(read(&later).unwrap(), expected);
        let unsampled = read(&GOOD.replace("-01", "-00")).unwrap();
        assert!(!unsampled.is_sampled() && unsampled.to_string().ends_with("-00"));
    }

    #[test]
    fn what_is_no_traceparent_is_as_if_it_were_not_there() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(bad, None), None, "{bad}");
        }
    }

    #[test]
    fn a_tracestate_is_kept_when_it_is_one_and_not_too_long() {
        let state = |text: &str| TraceContext::parse(GOOD, Some(text)).unwrap().state();
        assert_eq!(
            state("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE").unwrap(),
            "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
        );
        assert_eq!(state(" rojo=1 ,\tcongo=2").unwrap(), "rojo=1,congo=2");
        for bad in ["", "no list", "UPPER=1", "a=b=c,"] {
            assert_eq!(state(bad), None, "{bad}");
        }
        let long = |bytes: usize| vec![format!("a={}", "x".repeat(200)); 3].join(",")[..bytes].to_owned();
        assert_eq!(state(&long(512)), Some(long(512)));
        assert_eq!(state(&long(513)), None);
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn contexts_survive_the_way_and_no_text_is_a_panic(
            trace_id in 1_u128.., span_id in 1_u64.., sampled in any::<bool>(),
            state in proptest::option::of("[a-z]{1,9}=[a-z0-9]{1,9}"), text in ".{0,80}", other in ".{0,80}",
        ) {
            let text_of = format!("00-{trace_id:032x}-{span_id:016x}-{:02x}", u8::from(sampled));
            let context = TraceContext::parse(&text_of, state.as_deref()).unwrap();
            prop_assert_eq!(context.to_string(), text_of);
            prop_assert_eq!(context.state(), state.clone());
            prop_assert_eq!(TraceContext::parse(&context.to_string(), context.state().as_deref()), Some(context));
            let _ = TraceContext::parse(&text, Some(&other));
            let _ = TraceContext::parse(GOOD, Some(&other));
        }
    }
}
