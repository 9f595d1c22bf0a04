//! The spans of messages on lanes, in the words of OpenTelemetry's conventions for messaging.

use super::attribute::{
    MESSAGING_BATCH_MESSAGE_COUNT, MESSAGING_DESTINATION_NAME, MESSAGING_MESSAGE_BODY_SIZE,
    MESSAGING_OPERATION_NAME, MESSAGING_OPERATION_TYPE, MESSAGING_RABBITMQ_DESTINATION_ROUTING_KEY,
    MESSAGING_SYSTEM,
};
use super::{Span, SpanKind, TraceContext};

const PUBLISH: &str = "publish";
const EVALUATE: &str = "evaluate";

/// Publishing so many messages, below what they follow from; where they follow from nothing, as the first span of a trace.
pub fn publish(
    parent: Option<&TraceContext>,
    queue: impl FnOnce() -> String,
    messages: usize,
) -> Option<Span> {
    let mut span = match parent {
        Some(_) => Span::child(PUBLISH, SpanKind::Producer, parent)?,
        None => Span::root(PUBLISH, SpanKind::Producer, None)?,
    };
    if span.is_recording() {
        let queue = queue();
        // Messages go to the nameless exchange, which routes by the name of the queue.
        span.set(MESSAGING_RABBITMQ_DESTINATION_ROUTING_KEY, queue.clone());
        describe(&mut span, PUBLISH, "send", queue);
        span.count(MESSAGING_BATCH_MESSAGE_COUNT, messages);
    }
    Some(span)
}

/// Evaluating one message, below the span that published it. `None` for one of no sampled trace.
pub fn evaluate(parent: Option<&TraceContext>, queue: &str, body_bytes: usize) -> Option<Span> {
    let mut span = Span::child(EVALUATE, SpanKind::Consumer, parent)?;
    describe(&mut span, EVALUATE, "process", queue.to_owned());
    span.count(MESSAGING_MESSAGE_BODY_SIZE, body_bytes);
    Some(span)
}

fn describe(span: &mut Span, operation: &'static str, kind: &'static str, queue: String) {
    span.set(MESSAGING_SYSTEM, "rabbitmq");
    span.set(MESSAGING_OPERATION_NAME, operation);
    span.set(MESSAGING_OPERATION_TYPE, kind);
    span.set(MESSAGING_DESTINATION_NAME, queue);
}
