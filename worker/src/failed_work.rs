//! What is kept of failed work: the body of a message is gone once it is acknowledged.

use bytes::Bytes;
use millrace_calc::chunk::{Scan, select};
use millrace_common::broker::ChunkMessage;
use millrace_common::store::FailedWork;

/// Level of compression: the cheapest, as for results.
const LEVEL: i32 = 1;

/// A whole chunk; without its input unless that is to be kept (`results.keep_failed_inputs`).
pub fn whole(message: &ChunkMessage, keep_input: bool) -> FailedWork {
    if !keep_input {
        return FailedWork { positions: None, input: None, bytes: 0 };
    }
    let input = if message.compressed { Some(message.body.clone()) } else { compressed(&message.body) };
    FailedWork { positions: None, input, bytes: i32::try_from(message.charged_bytes).unwrap_or(i32::MAX) }
}

/// The failed records of a chunk that was processed (numbers from 0 on, ascending), with the chunk's header and parameters.
/// `None` when none failed.
pub fn records(data: &[u8], scan: Option<&Scan>, failed: &[u32], keep_input: bool) -> Option<FailedWork> {
    if failed.is_empty() {
        return None;
    }
    let positions = failed.iter().map(|record| i32::try_from(*record).unwrap_or(i32::MAX)).collect();
    // The data was evaluated, so it can be read.
    let input = if keep_input { select(data, scan, failed).ok() } else { None };
    let bytes = input.as_ref().map_or(0, |input| i32::try_from(input.len()).unwrap_or(i32::MAX));
    let input = input.and_then(|input| compressed(&input));
    Some(FailedWork { positions: Some(positions), input, bytes })
}

/// Without memory for the compressor the input is not kept.
fn compressed(input: &[u8]) -> Option<Bytes> {
    zstd::bulk::compress(input, LEVEL).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use uuid::Uuid;

    use super::*;

    const DATA: &[u8] = br#"{"inputs":[["a"],[1],[2],[3]],"parameters":{"p":1}}"#;

    fn message(compressed: bool) -> ChunkMessage {
        let body = if compressed { zstd::bulk::compress(DATA, 1).unwrap().into() } else { DATA.into() };
        ChunkMessage {
            kind: millrace_common::broker::MessageKind::Chunk,
            batch_id: Uuid::nil(),
            chunk_no: 1,
            chunk_id: "c".to_owned(),
            epoch: 1,
            records: 3,
            charged_bytes: i64::try_from(DATA.len()).unwrap(),
            scan: None,
            trace: None,
            compressed,
            body,
        }
    }

    fn unpacked(work: &FailedWork) -> Vec<u8> {
        zstd::bulk::decompress(work.input.as_ref().unwrap(), usize::try_from(work.bytes).unwrap()).unwrap()
    }

    #[test]
    fn a_chunk_is_kept_as_it_was_pushed_however_it_came() {
        for compressed in [true, false] {
            let work = whole(&message(compressed), true);
            assert_eq!((unpacked(&work).as_slice(), &work.positions), (DATA, &None));
            assert_eq!(whole(&message(compressed), false).input, None);
        }
    }

    #[test]
    fn of_a_processed_chunk_only_failed_records_are_kept() {
        assert_eq!(records(DATA, None, &[], true), None);
        let work = records(DATA, None, &[0, 2], true).unwrap();
        assert_eq!(work.positions, Some(vec![0, 2]));
        assert_eq!(unpacked(&work), br#"{"inputs":[["a"],[1],[3]],"parameters":{"p":1}}"#);
        let work = records(DATA, None, &[1], false).unwrap();
        assert_eq!((work.positions, work.input, work.bytes), (Some(vec![1]), None, 0));
    }
}
