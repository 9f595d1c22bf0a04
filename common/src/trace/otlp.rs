//! Spans as OTLP writes them: protobuf's JSON mapping, with ids in hexadecimal and 64-bit numbers as text.

use serde_json::{Map, Value as Json, json};

use super::span::{Record, Value};

/// The body of one request. `resource` says which process the spans are from.
pub(super) fn body(resource: &[(&'static str, String)], spans: &[Record]) -> Vec<u8> {
    let resource: Vec<Json> =
        resource.iter().map(|(name, value)| json!({"key": name, "value": {"stringValue": value}})).collect();
    let spans: Vec<Json> = spans.iter().map(span).collect();
    let scope = json!({"name": "millrace", "version": env!("CARGO_PKG_VERSION")});
    let document = json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{"scope": scope, "spans": spans}],
    }]});
    document.to_string().into_bytes()
}

fn span(record: &Record) -> Json {
    let mut span = Map::new();
    span.insert("traceId".into(), format!("{:032x}", record.context.trace_id).into());
    span.insert("spanId".into(), format!("{:016x}", record.context.span_id).into());
    if let Some(parent) = record.parent {
        span.insert("parentSpanId".into(), format!("{parent:016x}").into());
    }
    span.insert("name".into(), record.name.as_str().into());
    span.insert("kind".into(), (record.kind as u8).into());
    span.insert("startTimeUnixNano".into(), record.began.to_string().into());
    span.insert("endTimeUnixNano".into(), record.ended.max(record.began).to_string().into());
    let attributes = record.attributes.iter().map(|(name, value)| {
        let value = match value {
            Value::Text(text) => json!({"stringValue": text}),
            Value::Integer(number) => json!({"intValue": number.to_string()}),
        };
        json!({"key": name, "value": value})
    });
    span.insert("attributes".into(), attributes.collect());
    if !record.links.is_empty() {
        let links = record.links.iter().map(|link| {
            json!({"traceId": format!("{:032x}", link.trace_id), "spanId": format!("{:016x}", link.span_id)})
        });
        span.insert("links".into(), links.collect());
    }
    if record.failed {
        span.insert("status".into(), json!({"code": 2}));
    }
    Json::Object(span)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::super::{SpanKind, TraceContext};
    use super::*;

    #[test]
    fn a_span_is_written_as_the_specification_says() {
        let context = TraceContext { trace_id: 0xab, span_id: 1, sampled: true };
        let record = Record {
            context,
            parent: Some(2),
            name: "evaluate".to_owned(),
            kind: SpanKind::Consumer,
            began: 1_544_712_660_000_000_000,
            ended: 5,
            attributes: vec![("a", Value::Integer(-3)), ("b", Value::Text("ü".to_owned()))],
            links: vec![TraceContext { span_id: 9, ..context }],
            failed: true,
        };
        let written: Json =
            serde_json::from_slice(&body(&[("service.name", "x".to_owned())], &[record])).unwrap();
        let resource = &written["resourceSpans"][0];
        assert_eq!(
            resource["resource"]["attributes"],
            json!([{"key": "service.name", "value": {"stringValue": "x"}}])
        );
        let expected = json!({
            "traceId": "000000000000000000000000000000ab", "spanId": "0000000000000001", "parentSpanId": "0000000000000002",
            "name": "evaluate", "kind": 5,
            // A clock that was set back ends no span before it began.
            "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712660000000000",
            "attributes": [{"key": "a", "value": {"intValue": "-3"}}, {"key": "b", "value": {"stringValue": "ü"}}],
            "links": [{"traceId": "000000000000000000000000000000ab", "spanId": "0000000000000009"}],
            "status": {"code": 2},
        });
        assert_eq!(resource["scopeSpans"][0]["spans"], json!([expected]));
    }
}
