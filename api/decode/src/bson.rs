//! A BSON push: the outer shape, and the data of the chunks transcoded to JSON text, element by element.

use bson::raw::{RawArray, RawBsonRef, RawDocument};
use bson::spec::BinarySubtype;
use bytes::Bytes;
use uuid::Uuid;

use super::{DecodeError, MAX_CHUNKS, RawChunk};

/// How deep documents and arrays may nest, as in JSON data.
const MAX_DEPTH: usize = 64;

/// The chunks of a BSON body. The JSON text of all data together has at most `limit` bytes.
pub(super) fn chunks(body: &[u8], limit: usize) -> Result<Vec<RawChunk>, DecodeError> {
    let malformed = |error: bson::error::Error| DecodeError::Malformed {
        path: None,
        message: format!("the body is no valid BSON document: {error}"),
    };
    let document = RawDocument::from_bytes(body).map_err(malformed)?;
    let mut list = None;
    for element in document.iter_elements() {
        let element = element.map_err(malformed)?;
        if element.key().as_str() == "chunks" {
            if list.is_some() {
                return Err(DecodeError::shape("chunks", "given twice"));
            }
            match element.value().map_err(malformed)? {
                RawBsonRef::Array(array) => list = Some(array),
                _ => return Err(DecodeError::shape("chunks", "must be an array of chunks")),
            }
        }
    }
    let list = list.ok_or_else(|| DecodeError::shape("chunks", "missing; give an array of chunks"))?;

    let mut writer = Writer { out: Vec::with_capacity(body.len().min(limit)), limit };
    let mut found = Vec::new();
    for element in list.iter_elements() {
        let index = found.len();
        let element = element.map_err(malformed)?;
        if index == MAX_CHUNKS {
            return Err(DecodeError::TooManyChunks);
        }
        match element.value().map_err(malformed)? {
            RawBsonRef::Document(chunk) => found.push(read_chunk(chunk, index, &mut writer)?),
            _ => {
                return Err(DecodeError::shape(
                    format!("chunks[{index}]"),
                    "must be a document with `id` and `data`",
                ));
            }
        }
    }
    let text = Bytes::from(writer.out);
    Ok(found.into_iter().map(|(id, range)| RawChunk { id, data: text.slice(range) }).collect())
}

/// Reads a chunk's id and appends its data to the text; answers where in the text that is.
fn read_chunk(
    chunk: &RawDocument,
    index: usize,
    writer: &mut Writer,
) -> Result<(Option<String>, std::ops::Range<usize>), DecodeError> {
    let at = |field: &str| format!("chunks[{index}]{field}");
    let malformed =
        |error: bson::error::Error| DecodeError::Malformed { path: Some(at("")), message: error.to_string() };
    let mut id = None;
    let mut data = None;
    for element in chunk.iter_elements() {
        let element = element.map_err(malformed)?;
        match element.key().as_str() {
            "id" => {
                if id.is_some() {
                    return Err(DecodeError::shape(at(".id"), "given twice"));
                }
                id = Some(match element.value().map_err(malformed)? {
                    RawBsonRef::String(text) => Some(text.to_owned()),
                    RawBsonRef::Null => None,
                    RawBsonRef::Binary(binary) => {
                        Some(uuid(binary.subtype, binary.bytes).ok_or_else(|| {
                            DecodeError::shape(at(".id"), "binary ids must be UUIDs of 16 bytes")
                        })?)
                    }
                    _ => return Err(DecodeError::shape(at(".id"), "must be a string or a UUID")),
                });
            }
            "data" => {
                if data.is_some() {
                    return Err(DecodeError::shape(at(".data"), "given twice"));
                }
                let start = writer.out.len();
                match element.value().map_err(malformed)? {
                    RawBsonRef::Document(document) => writer
                        .document(document, MAX_DEPTH)
                        .map_err(|failure| failure.into_error(&at(".data")))?,
                    RawBsonRef::Null => continue,
                    _ => return Err(DecodeError::shape(at(".data"), "must be a document with `inputs`")),
                }
                data = Some(start..writer.out.len());
            }
            _ => {}
        }
    }
    let data =
        data.ok_or_else(|| DecodeError::shape(at(".data"), "missing; give a document with `inputs`"))?;
    Ok((id.flatten(), data))
}

/// A UUID in any of its binary subtypes; the bytes are taken in the order of RFC 9562, but for the two legacy byte orders
/// nothing tells which one was meant.
fn uuid(subtype: BinarySubtype, bytes: &[u8]) -> Option<String> {
    match subtype {
        BinarySubtype::Uuid | BinarySubtype::UuidOld | BinarySubtype::Generic => {
            Uuid::from_slice(bytes).ok().map(|id| id.to_string())
        }
        _ => None,
    }
}

/// Why a value cannot be transcoded, with the path to it, innermost part first.
struct Failure {
    path: Vec<String>,
    message: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Malformed,
    Shape,
}

impl Failure {
    #[cold]
    fn shape(message: impl Into<String>) -> Self {
        Self { path: Vec::new(), message: message.into(), kind: Kind::Shape }
    }

    #[cold]
    fn malformed(error: bson::error::Error) -> Self {
        Self { path: Vec::new(), message: error.to_string(), kind: Kind::Malformed }
    }

    #[cold]
    fn within(mut self, part: String) -> Self {
        self.path.push(part);
        self
    }

    fn into_error(self, base: &str) -> DecodeError {
        let mut path = base.to_owned();
        for part in self.path.iter().rev() {
            path.push_str(part);
        }
        match self.kind {
            Kind::Malformed => DecodeError::Malformed { path: Some(path), message: self.message },
            Kind::Shape => DecodeError::Shape { path, message: self.message },
        }
    }
}

/// JSON text that grows up to a limit.
struct Writer {
    out: Vec<u8>,
    limit: usize,
}

impl Writer {
    fn document(&mut self, document: &RawDocument, depth: usize) -> Result<(), Failure> {
        let depth = depth.checked_sub(1).ok_or_else(|| Failure::shape("nested too deeply"))?;
        self.out.push(b'{');
        for (index, element) in document.iter_elements().enumerate() {
            let element = element.map_err(Failure::malformed)?;
            if index > 0 {
                self.out.push(b',');
            }
            let key = element.key().as_str();
            self.scalar(key)?;
            self.out.push(b':');
            let value = element.value().map_err(Failure::malformed);
            value
                .and_then(|value| self.value(value, depth))
                .map_err(|failure| failure.within(format!(".{key}")))?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn array(&mut self, array: &RawArray, depth: usize) -> Result<(), Failure> {
        let depth = depth.checked_sub(1).ok_or_else(|| Failure::shape("nested too deeply"))?;
        self.out.push(b'[');
        for (index, element) in array.iter_elements().enumerate() {
            let element = element.map_err(Failure::malformed)?;
            if index > 0 {
                self.out.push(b',');
            }
            let value = element.value().map_err(Failure::malformed);
            value
                .and_then(|value| self.value(value, depth))
                .map_err(|failure| failure.within(format!("[{index}]")))?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn value(&mut self, value: RawBsonRef<'_>, depth: usize) -> Result<(), Failure> {
        if self.out.len() > self.limit {
            return Err(Failure::shape(format!("the push has more than {} bytes as JSON", self.limit)));
        }
        match value {
            // A double that is no number has no place in JSON.
            RawBsonRef::Double(number) => self.scalar(&number),
            RawBsonRef::String(text) => self.scalar(text),
            RawBsonRef::Array(array) => self.array(array, depth),
            RawBsonRef::Document(document) => self.document(document, depth),
            RawBsonRef::Boolean(value) => self.scalar(&value),
            RawBsonRef::Null => self.scalar(&()),
            RawBsonRef::Int32(number) => self.scalar(&number),
            RawBsonRef::Int64(number) => self.scalar(&number),
            RawBsonRef::Decimal128(number) => {
                let text = number.to_string();
                if text.bytes().any(|byte| byte.is_ascii_digit()) {
                    // Digits, point and exponent as in JSON: every digit is kept.
                    self.out.extend_from_slice(text.as_bytes());
                    Ok(())
                } else {
                    self.scalar(&())
                }
            }
            RawBsonRef::DateTime(time) => {
                let time = chrono::DateTime::from_timestamp_millis(time.timestamp_millis())
                    .ok_or_else(|| Failure::shape("the time is out of range"))?;
                self.scalar(&time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
            }
            RawBsonRef::Binary(binary) => match uuid(binary.subtype, binary.bytes) {
                Some(id) => self.scalar(id.as_str()),
                None => Err(Failure::shape("binary values are not accepted, but for UUIDs")),
            },
            other => Err(Failure::shape(format!(
                "values of BSON type {:?} are not accepted",
                other.element_type()
            ))),
        }
    }

    /// A value without parts, as serde_json writes it.
    fn scalar<T: serde::Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.out, value).map_err(|error| Failure::shape(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use bson::{Bson, Document, doc};
    use proptest::prelude::*;

    use super::*;

    fn decode(document: &Document) -> Result<Vec<RawChunk>, DecodeError> {
        chunks(&bson::serialize_to_vec(document).unwrap(), 100_000)
    }

    fn data(value: impl Into<Bson>) -> String {
        let found = decode(&doc! {"chunks": [{"id": "a", "data": {"v": value.into()}}]}).unwrap();
        let text = String::from_utf8(found[0].data.to_vec()).unwrap();
        text.strip_prefix(r#"{"v":"#).unwrap().strip_suffix('}').unwrap().to_owned()
    }

    #[test]
    fn every_accepted_type_has_its_json_form() {
        assert_eq!(data(5_i32), "5");
        assert_eq!(data(9_007_199_254_740_993_i64), "9007199254740993");
        assert_eq!(data(0.1), "0.1");
        assert_eq!(data(1430.0), "1430.0");
        assert_eq!(data(f64::NAN), "null");
        assert_eq!(data(f64::NEG_INFINITY), "null");
        assert_eq!(data(true), "true");
        assert_eq!(data(Bson::Null), "null");
        assert_eq!(data("a\"\n"), r#""a\"\n""#);
        assert_eq!(data(bson::DateTime::from_millis(1_763_741_943_087)), r#""2025-11-21T16:19:03.087Z""#);
        for number in ["0.1000", "1E+3", "-12345678901234567890.123456789012", "0E-6176"] {
            let written = data(number.parse::<bson::Decimal128>().unwrap());
            assert_eq!(written.parse::<bson::Decimal128>().unwrap(), number.parse().unwrap());
            assert!(serde_json::from_str::<&serde_json::value::RawValue>(&written).is_ok(), "{written}");
        }
        assert_eq!(data("NaN".parse::<bson::Decimal128>().unwrap()), "null");
        assert_eq!(data("-Infinity".parse::<bson::Decimal128>().unwrap()), "null");
        assert_eq!(data(doc! {"b": [1, [], {}], "a": 2}), r#"{"b":[1,[],{}],"a":2}"#);
    }

    #[test]
    fn a_uuid_is_an_id() {
        let id = Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
        let binary = bson::Binary { subtype: BinarySubtype::Uuid, bytes: id.as_bytes().to_vec() };
        let found = decode(&doc! {"chunks": [{"id": binary, "size": 3, "data": {}}]}).unwrap();
        assert_eq!(found[0].id.as_deref(), Some("00112233-4455-6677-8899-aabbccddeeff"));
        assert_eq!(
            data(bson::Binary { subtype: BinarySubtype::Uuid, bytes: id.as_bytes().to_vec() }),
            format!("\"{id}\"")
        );
    }

    #[test]
    fn refusals_name_the_place() {
        let path = |document: Document| match decode(&document).unwrap_err() {
            DecodeError::Shape { path, .. } => path,
            other => panic!("{other:?}"),
        };
        assert_eq!(path(doc! {}), "chunks");
        assert_eq!(path(doc! {"chunks": 5}), "chunks");
        assert_eq!(path(doc! {"chunks": [5]}), "chunks[0]");
        assert_eq!(path(doc! {"chunks": [{"id": 5, "data": {}}]}), "chunks[0].id");
        assert_eq!(path(doc! {"chunks": [{"id": "a", "data": {}}, {"id": "b"}]}), "chunks[1].data");
        assert_eq!(path(doc! {"chunks": [{"id": "a", "data": [1]}]}), "chunks[0].data");
        let refused = Bson::Timestamp(bson::Timestamp { time: 1, increment: 1 });
        assert_eq!(
            path(doc! {"chunks": [{"id": "a", "data": {"inputs": [["x"], [1, refused]]}}]}),
            "chunks[0].data.inputs[1][1]"
        );
        let mut deep = Bson::Int32(1);
        for _ in 0..MAX_DEPTH {
            deep = Bson::Array(vec![deep]);
        }
        assert!(
            path(doc! {"chunks": [{"id": "a", "data": {"inputs": deep}}]})
                .starts_with("chunks[0].data.inputs[0][0]")
        );
    }

    #[test]
    fn text_that_grows_beyond_the_limit_is_refused() {
        let document = doc! {"chunks": [{"id": "a", "data": {"a": "\u{1}".repeat(1_000), "b": 1}}]};
        let bytes = bson::serialize_to_vec(&document).unwrap();
        assert!(chunks(&bytes, 3_000).is_err());
        assert!(chunks(&bytes, 10_000).is_ok());
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_filter("JSON has no others", |number| number.is_finite()).prop_map(Into::into),
            ".{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map("[^\0]{0,5}", inner, 0..6)
                    .prop_map(|map| { serde_json::Value::Object(map.into_iter().collect()) }),
            ]
        })
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn transcoding_equals_serde_json(values in prop::collection::btree_map("[a-z]{1,6}", json(), 0..5)) {
            let object = serde_json::Value::Object(values.into_iter().collect());
            let body = serde_json::json!({"chunks": [{"id": "a", "data": object}]});
            let bytes = bson::serialize_to_vec(&body).unwrap();
            let found = chunks(&bytes, 1_000_000).unwrap();
            let read: serde_json::Value = serde_json::from_slice(&found[0].data).unwrap();
            prop_assert_eq!(&read, &object);
            prop_assert_eq!(found[0].data.to_vec(), serde_json::to_vec(&object).unwrap());
        }

        #[test]
        fn mutilated_bson_never_panics(at in 0_usize..120, byte in any::<u8>(), cut in 0_usize..120) {
            let document = doc! {"chunks": [
                {"id": bson::Binary { subtype: BinarySubtype::Uuid, bytes: vec![7; 16] }, "data": {"inputs": [["x"], [1], [2.5]]}},
                {"id": "b", "data": {"inputs": [{"a": "text", "b": null}]}},
            ]};
            let mut bytes = bson::serialize_to_vec(&document).unwrap();
            let length = bytes.len();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            let _ = chunks(&bytes, 10_000);
            bytes.truncate(length.saturating_sub(cut));
            let _ = chunks(&bytes, 10_000);
        }
    }
}
