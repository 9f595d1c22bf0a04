//! Push bodies: what is accepted is what the caller wrote.

use std::collections::HashSet;

use bytes::Bytes;
use millrace_decode::{Chunk, DecodeError, DecodedPush, Format, MAX_CHUNKS, MAX_ID_CHARS, decode};
use serde_json::Value;

/// Limits far below those of a server, so that the fuzzer meets them.
const CHUNK_BYTES: usize = 4_096;
const TRANSCODED_BYTES: usize = 16_384;

/// A JSON push. The chunks that are found are JSON, have as many records as a plain reading counts, and a push that is
/// written anew from them is read as the same push.
pub fn push_json(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    let decoded = decode(Format::Json, &body, CHUNK_BYTES, TRANSCODED_BYTES);
    if let Some(push) = check(&decoded) {
        for chunk in &push.chunks {
            assert!(body.as_ptr_range().contains(&chunk.data.as_ptr()), "the data is a slice of the body");
        }
    }
}

/// A BSON push. As for JSON; and the JSON that it becomes stays within its limit.
pub fn push_bson(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    let decoded = decode(Format::Bson, &body, CHUNK_BYTES, TRANSCODED_BYTES);
    check(&decoded);
}

fn check(decoded: &Result<DecodedPush, DecodeError>) -> Option<&DecodedPush> {
    let push = match decoded {
        Ok(push) => push,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    assert!(push.chunks.len() <= push.ids.len() && push.ids.len() <= MAX_CHUNKS);
    let distinct: HashSet<&str> = push.ids.iter().map(String::as_str).collect();
    assert_eq!(distinct.len(), push.chunks.len(), "each id once");
    for chunk in &push.chunks {
        check_chunk(chunk);
    }
    let again = decode(Format::Json, &written(&push.chunks), CHUNK_BYTES, 0);
    assert_eq!(again.as_ref().map(|push| &push.chunks), Ok(&push.chunks), "the same push, written anew");
    Some(push)
}

fn check_chunk(chunk: &Chunk) {
    assert!((1..=MAX_ID_CHARS).contains(&chunk.id.chars().count()) && !chunk.id.contains('\0'));
    assert!(chunk.data.len() <= CHUNK_BYTES);
    assert_eq!(chunk.digest, *blake3::hash(&chunk.data).as_bytes());
    let value = match serde_json::from_slice::<Value>(&chunk.data) {
        Ok(value) => value,
        // Numbers beyond the doubles and lone surrogates are JSON, but no values of this library.
        Err(error) if error.is_syntax() && is_json(&chunk.data) => return,
        Err(error) => panic!("accepted data is no JSON: {error}"),
    };
    // A key that is given twice is refused or counted by one rule; the plain reading knows only the last.
    let inputs = value.get("inputs").and_then(Value::as_array);
    let rows = inputs.map(|inputs| match inputs.first() {
        Some(Value::Array(_)) => inputs.len() - 1,
        _ => inputs.len(),
    });
    assert_eq!(rows, usize::try_from(chunk.records).ok(), "records of {}", chunk.id);
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(bytes).is_ok()
}

/// A JSON push with these chunks.
fn written(chunks: &[Chunk]) -> Bytes {
    let mut body = b"{\"chunks\":[".to_vec();
    for (at, chunk) in chunks.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        let id = Value::from(chunk.id.as_str()).to_string();
        body.extend_from_slice(format!("{{\"id\":{id},\"data\":").as_bytes());
        body.extend_from_slice(&chunk.data);
        body.push(b'}');
    }
    body.extend_from_slice(b"]}");
    body.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn cell() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("JSON has no others", |number| number.is_finite()).prop_map(Value::from),
            "[^\0]{0,6}".prop_map(Value::from),
            prop::collection::vec(any::<i32>(), 0..3).prop_map(Value::from),
            Just(json!([{"a": 1, "b": "x"}, {"a": 2.5}])),
        ]
    }

    fn data() -> impl Strategy<Value = Value> {
        let rows = prop::collection::vec(prop::collection::vec(cell(), 0..4), 0..5).prop_map(|mut rows| {
            rows.insert(0, vec![json!("a"), json!("b")]);
            json!(rows)
        });
        let objects = prop::collection::vec(prop::collection::btree_map("[a-z]{1,3}", cell(), 0..3), 1..4)
            .prop_map(|o| json!(o));
        let parameters = prop::option::of(prop::collection::btree_map("[a-z]{1,4}", cell(), 0..3));
        (prop_oneof![rows, objects], parameters, any::<bool>()).prop_map(|(inputs, parameters, summary)| {
            let summary = summary
                .then(|| json!({"ignore_error": true, "aggregation": [{"output_name": "total", "operator": "SUM"}]}));
            json!({"inputs": inputs, "parameters": parameters, "summary": summary})
        })
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn a_push_is_the_same_in_json_and_bson(
            chunks in prop::collection::btree_map("[^\0]{1,8}", data(), 0..5), size in any::<Option<i32>>(),
        ) {
            let chunks: Vec<Value> =
                chunks.into_iter().map(|(id, data)| json!({"id": id, "size": size, "data": data})).collect();
            let document = json!({"chunks": chunks});
            let (text, binary) = (serde_json::to_vec(&document).unwrap(), bson::serialize_to_vec(&document).unwrap());
            let text = decode(Format::Json, &text.into(), 1_000_000, 0).unwrap();
            let binary = decode(Format::Bson, &binary.into(), 1_000_000, 1_000_000).unwrap();
            prop_assert_eq!(text, binary);
        }
    }
}
