//! Spans of what a worker does with deliveries.

use std::collections::BTreeMap;

use millrace_common::broker::{ChunkMessage, Receipt};
use millrace_common::trace::{self, Span, SpanKind, TraceContext};

/// The most spans of one commit, one for each trace that has a part in it.
const TRACES: usize = 32;

/// The span of an evaluation, below the one that published the message. `None` for one of no sampled trace.
pub fn evaluation(message: &ChunkMessage, receipt: &Receipt, redelivered: bool) -> Option<Span> {
    let mut span = trace::lane::evaluate(message.trace.as_ref(), receipt.queue(), message.body.len())?;
    span.set("millrace.batch.id", message.batch_id.to_string());
    span.set("millrace.chunk.no", message.chunk_no.to_string());
    span.set("millrace.records", i64::from(message.records));
    if redelivered {
        span.set("millrace.redelivered", true);
    }
    Some(span)
}

/// The spans of a commit of so many deliveries, whose evaluations were these. A commit has many parents, and a span one: there is
/// a span in each trace, below its first evaluation and with links to its others.
pub fn commits(evaluations: &[TraceContext], deliveries: usize) -> Vec<Span> {
    let mut traces: BTreeMap<[u8; 16], Vec<&TraceContext>> = BTreeMap::new();
    for evaluation in evaluations {
        traces.entry(evaluation.trace_id().to_bytes()).or_default().push(evaluation);
    }
    let mut spans = Vec::new();
    for parents in traces.into_values().take(TRACES) {
        let Some((first, others)) = parents.split_first() else { continue };
        let Some(mut span) = Span::child("commit", SpanKind::Internal, Some(first)) else { continue };
        span.count("millrace.commit.deliveries", deliveries);
        for other in others {
            span.link(other);
        }
        spans.push(span);
    }
    spans
}
