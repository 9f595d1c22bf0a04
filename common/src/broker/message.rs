//! A chunk as a message, and back.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use millrace_calc::chunk::Scan;
use uuid::Uuid;

use crate::trace::{TRACEPARENT, TRACESTATE, TraceContext};

/// Largest message body that is sent, in bytes: the default limit of RabbitMQ 4.x. The broker answers a larger one by
/// closing the channel, which would take other callers' confirms along.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// Longest chunk id that is sent, in bytes: headers must fit one AMQP frame.
pub const MAX_CHUNK_ID_BYTES: usize = 32 * 1024;

const BATCH: &str = "batch-id";
const CHUNK_NO: &str = "chunk-no";
const CHUNK_ID: &str = "chunk-id";
const EPOCH: &str = "lane-epoch";
const RECORDS: &str = "records";
const CHARGED: &str = "charged-bytes";
const SCAN: &str = "scan";
const ZSTD: &str = "zstd";
const BUNDLE: &str = "bundle-id";

/// What a message on a lane is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MessageKind {
    /// A chunk, with its data.
    #[default]
    Chunk,
    /// A bundle of jobs, which are in the database: `batch_id` is the workload and `chunk_no` the bundle.
    Bundle,
}

/// One chunk on its way through a lane, or the name of a bundle of jobs.
#[derive(Clone, PartialEq, Eq)]
pub struct ChunkMessage {
    /// Which of them.
    pub kind: MessageKind,
    /// The batch.
    pub batch_id: Uuid,
    /// The chunk's number within the batch, given by the store.
    pub chunk_no: i64,
    /// The caller's chunk id, at most [`MAX_CHUNK_ID_BYTES`].
    pub chunk_id: String,
    /// The lease of the lane under which this was published; older leases are acked and dropped.
    pub epoch: i64,
    /// Rows in the chunk.
    pub records: u32,
    /// Bytes that the chunk takes from its batch's input budget.
    pub charged_bytes: i64,
    /// What the scan of the data found, so that nobody need scan it again. Whoever gets none scans.
    pub scan: Option<Scan>,
    /// Whether `body` is compressed (content encoding `zstd`).
    pub compressed: bool,
    /// The span that published it, where traces are on.
    pub trace: Option<TraceContext>,
    /// The chunk's `data` object, at most [`MAX_MESSAGE_BYTES`].
    pub body: Bytes,
}

/// Never shows the chunk's contents.
impl std::fmt::Debug for ChunkMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkMessage")
            .field("batch_id", &self.batch_id)
            .field("chunk_no", &self.chunk_no)
            .field("epoch", &self.epoch)
            .field("records", &self.records)
            .field("compressed", &self.compressed)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// What is wrong with a message that is no chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("the header {0} is missing or has the wrong type")]
    Header(&'static str),
    #[error("the content encoding is neither absent nor zstd")]
    Encoding,
}

impl ChunkMessage {
    /// Names a bundle of jobs. It has a header of its own, so that nobody takes it for a chunk.
    pub fn bundle(workload_id: Uuid, bundle_id: i64, epoch: i64) -> Self {
        Self {
            kind: MessageKind::Bundle,
            batch_id: workload_id,
            chunk_no: bundle_id,
            chunk_id: String::new(),
            epoch,
            records: 0,
            charged_bytes: 0,
            scan: None,
            compressed: false,
            trace: None,
            body: Bytes::new(),
        }
    }

    /// Properties and headers; the body travels as it is.
    pub(super) fn properties(&self) -> BasicProperties {
        let mut headers = FieldTable::default();
        let mut put = |name: &'static str, value| {
            headers.insert(ShortString::from(name), value);
        };
        put(BATCH, AMQPValue::LongString(self.batch_id.to_string().into()));
        if let Some(trace) = &self.trace {
            put(TRACEPARENT, AMQPValue::LongString(trace.to_string().into()));
            if let Some(state) = trace.state() {
                put(TRACESTATE, AMQPValue::LongString(state.into()));
            }
        }
        if self.kind == MessageKind::Bundle {
            put(BUNDLE, AMQPValue::LongLongInt(self.chunk_no));
            put(EPOCH, AMQPValue::LongLongInt(self.epoch));
            return BasicProperties::default().with_delivery_mode(2).with_headers(headers);
        }
        put(CHUNK_NO, AMQPValue::LongLongInt(self.chunk_no));
        put(CHUNK_ID, AMQPValue::LongString(self.chunk_id.as_str().into()));
        put(EPOCH, AMQPValue::LongLongInt(self.epoch));
        put(RECORDS, AMQPValue::LongLongInt(i64::from(self.records)));
        put(CHARGED, AMQPValue::LongLongInt(self.charged_bytes));
        if let Some(scan) = &self.scan {
            put(SCAN, AMQPValue::ByteArray(scan.to_bytes().into()));
        }
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/json".into())
            .with_headers(headers);
        if self.compressed { properties.with_content_encoding(ZSTD.into()) } else { properties }
    }

    /// Reads a delivery's properties.
    pub(super) fn from_parts(properties: &BasicProperties, body: Vec<u8>) -> Result<Self, Malformed> {
        let compressed = match properties.content_encoding() {
            None => false,
            Some(encoding) if encoding.as_str().is_empty() => false,
            Some(encoding) if encoding.as_str() == ZSTD => true,
            Some(_) => return Err(Malformed::Encoding),
        };
        let headers = properties.headers().as_ref().ok_or(Malformed::Header(BATCH))?.inner();
        let integer = |name: &'static str| match headers.get(name) {
            Some(AMQPValue::LongLongInt(value)) => Ok(*value),
            _ => Err(Malformed::Header(name)),
        };
        let text = |name: &'static str| match headers.get(name) {
            Some(AMQPValue::LongString(value)) => {
                std::str::from_utf8(value.as_bytes()).map_err(|_| Malformed::Header(name))
            }
            _ => Err(Malformed::Header(name)),
        };
        // Nothing of the chunk: whatever is there instead is as if it were not.
        let trace = headers
            .get(TRACEPARENT)
            .and_then(|_| TraceContext::parse(text(TRACEPARENT).ok()?, text(TRACESTATE).ok()));
        if headers.contains_key(BUNDLE) {
            let workload_id = Uuid::parse_str(text(BATCH)?).map_err(|_| Malformed::Header(BATCH))?;
            let bundle = Self::bundle(workload_id, integer(BUNDLE)?, integer(EPOCH)?);
            return Ok(Self { trace, ..bundle });
        }
        Ok(Self {
            kind: MessageKind::Chunk,
            batch_id: Uuid::parse_str(text(BATCH)?).map_err(|_| Malformed::Header(BATCH))?,
            chunk_no: integer(CHUNK_NO)?,
            chunk_id: text(CHUNK_ID)?.to_owned(),
            epoch: integer(EPOCH)?,
            records: u32::try_from(integer(RECORDS)?).map_err(|_| Malformed::Header(RECORDS))?,
            charged_bytes: integer(CHARGED)?,
            scan: match headers.get(SCAN) {
                Some(AMQPValue::ByteArray(bytes)) => Scan::from_bytes(bytes.as_slice()),
                _ => None,
            },
            compressed,
            trace,
            body: Bytes::from(body),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn message() -> ChunkMessage {
        ChunkMessage {
            kind: MessageKind::Chunk,
            batch_id: Uuid::from_u128(7),
            chunk_no: i64::MAX,
            chunk_id: "käse/1".to_owned(),
            epoch: 3,
            records: u32::MAX,
            charged_bytes: -1,
            scan: millrace_calc::scan(br#"{"inputs":[["a"],[1]],"parameters":{}}"#).ok(),
            compressed: true,
            trace: None,
            body: Bytes::from_static(b"secret"),
        }
    }

    fn trace(sampled: u8, state: Option<&str>) -> Option<TraceContext> {
        let trace = TraceContext::parse(&format!("00-{:032x}-{:016x}-0{sampled}", 3, 4), state);
        assert!(trace.is_some());
        trace
    }

    #[test]
    fn properties_carry_everything() {
        let (plain, stated) = (trace(0, None), trace(1, Some("vendor=1,other=2")));
        for (compressed, trace) in [(true, None), (false, plain), (false, stated)] {
            let sent = ChunkMessage { compressed, trace, ..message() };
            let read = ChunkMessage::from_parts(&sent.properties(), sent.body.to_vec()).unwrap();
            assert_eq!(read, sent);
        }
    }

    #[test]
    fn bundles_are_no_chunks() {
        let sent = ChunkMessage { trace: trace(1, None), ..ChunkMessage::bundle(Uuid::from_u128(7), 9, 3) };
        let properties = sent.properties();
        assert_eq!(ChunkMessage::from_parts(&properties, Vec::new()).unwrap(), sent);
        assert!(!properties.headers().as_ref().unwrap().inner().contains_key(CHUNK_NO));
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        let nothing = BasicProperties::default();
        assert_eq!(ChunkMessage::from_parts(&nothing, Vec::new()), Err(Malformed::Header(BATCH)));
        for name in [BATCH, CHUNK_NO, CHUNK_ID, EPOCH, RECORDS, CHARGED] {
            let good = message().properties();
            let mut headers = FieldTable::default();
            for (key, value) in good.headers().as_ref().unwrap().inner() {
                let value = if key.as_str() == name { AMQPValue::Boolean(true) } else { value.clone() };
                headers.insert(key.clone(), value);
            }
            let bad = good.clone().with_headers(headers);
            assert_eq!(ChunkMessage::from_parts(&bad, Vec::new()), Err(Malformed::Header(name)));
        }
        let other = message().properties().with_content_encoding("gzip".into());
        assert_eq!(ChunkMessage::from_parts(&other, Vec::new()), Err(Malformed::Encoding));
    }

    #[test]
    fn contents_never_show() {
        let shown = format!("{:?}", message());
        assert!(!shown.contains("secret") && !shown.contains("115"), "{shown}");
    }
}
