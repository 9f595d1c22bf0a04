//! The chunks that are measured: records of the sales example, with the totals that must come back.

use anyhow::{Context, Result, bail};
use bytes::{BufMut, Bytes, BytesMut};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

/// Chunks of one size.
#[derive(Debug)]
pub struct Payload {
    /// Records of each chunk.
    pub records: usize,
    chunks: Vec<Chunk>,
}

#[derive(Debug)]
struct Chunk {
    /// The chunk's `data` object, as JSON.
    data: Bytes,
    /// The expected totals in cents, record by record.
    cents: Vec<i64>,
}

impl Payload {
    /// Makes the chunks from a seed: the same seed gives the same bytes.
    ///
    /// There are only `different` chunks, at least one; they are sent again and again under new ids.
    pub fn sales(records: usize, different: usize, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed ^ records as u64);
        let chunks = (0..different.max(1)).map(|_| Chunk::sales(records, &mut random)).collect();
        Self { records, chunks }
    }

    /// The `data` object of chunk `number`.
    pub fn data(&self, number: u64) -> &Bytes {
        &self.chunk(number).data
    }

    fn chunk(&self, number: u64) -> &Chunk {
        &self.chunks[self.place(number)]
    }

    fn place(&self, number: u64) -> usize {
        number as usize % self.chunks.len()
    }

    /// The mean size of a `data` object in bytes.
    pub fn mean_bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.data.len()).sum::<usize>() / self.chunks.len()
    }

    /// The body of a push of these chunks.
    pub fn push_body(&self, numbers: impl Iterator<Item = u64>) -> Bytes {
        let mut body = BytesMut::with_capacity(64 * 1024);
        body.put_slice(br#"{"chunks":["#);
        for (at, number) in numbers.enumerate() {
            if at > 0 {
                body.put_u8(b',');
            }
            body.put_slice(br#"{"id":""#);
            body.put_slice(
                Uuid::from_u128(number.into())
                    .as_hyphenated()
                    .encode_lower(&mut Uuid::encode_buffer())
                    .as_bytes(),
            );
            body.put_slice(br#"","data":"#);
            body.put_slice(self.data(number));
            body.put_u8(b'}');
        }
        body.put_slice(b"]}");
        body.freeze()
    }
}

impl Chunk {
    fn sales(records: usize, random: &mut StdRng) -> Self {
        let mut data = String::from(r#"{"inputs":[["sales_id","price","quantity","tax"]"#);
        let mut cents = Vec::with_capacity(records);
        while cents.len() < records {
            let (price, quantity, tax) = (
                random.random_range(100..100_000_i64),
                random.random_range(1..1_000_i64),
                random.random_range(0..250_i64),
            );
            let exact = price * quantity * (1_000 + tax);
            // Ties are a matter for the tests of ROUND.
            if exact % 1_000 == 500 {
                continue;
            }
            let id = 100_000 + cents.len();
            data.push_str(&format!(",[{id},{}.{:02},{quantity},0.{tax:03}]", price / 100, price % 100));
            cents.push((exact + 500) / 1_000);
        }
        data.push_str(r#"],"parameters":{},"summary":null}"#);
        Self { data: Bytes::from(data), cents }
    }
}

/// What a pull answers, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Pulled<'a> {
    #[serde(borrow)]
    data: Vec<ResultOf<'a>>,
}

#[derive(Debug, Deserialize)]
struct ResultOf<'a> {
    id: Uuid,
    #[serde(borrow)]
    outputs: &'a RawValue,
}

/// Checks results while they come: every chunk once, every total right.
///
/// The outputs of a chunk are parsed and compared with the expected totals when they are first seen; the same bytes again need no second look,
/// so that checking costs next to nothing.
#[derive(Debug)]
pub struct Checker {
    seen: Vec<bool>,
    correct: Vec<Option<Box<str>>>,
    /// Chunks that have come.
    pub chunks: u64,
    /// The sum of all totals, in cents.
    pub cents: i128,
}

impl Checker {
    /// Nothing has come yet.
    pub const fn new() -> Self {
        Self { seen: Vec::new(), correct: Vec::new(), chunks: 0, cents: 0 }
    }

    /// Takes the body of a pull; gives the number of chunks in it.
    ///
    /// # Errors
    ///
    /// When a chunk came before, was never sent, or has other totals than expected.
    pub fn take(&mut self, payload: &Payload, sent: u64, body: &[u8]) -> Result<u64> {
        let pulled: Pulled<'_> = serde_json::from_slice(body).context("the answer of a pull")?;
        for result in &pulled.data {
            let number = u64::try_from(result.id.as_u128()).unwrap_or(u64::MAX);
            if number >= sent {
                bail!("chunk {} was never sent", result.id);
            }
            let at = number as usize;
            if at >= self.seen.len() {
                self.seen.resize((at + 1).next_power_of_two(), false);
            }
            if std::mem::replace(&mut self.seen[at], true) {
                bail!("chunk {} came twice", result.id);
            }
            let outputs = result.outputs.get();
            self.correct.resize(payload.chunks.len(), None);
            let correct = &mut self.correct[payload.place(number)];
            if correct.as_deref() != Some(outputs) {
                compare(outputs, &payload.chunk(number).cents)
                    .with_context(|| format!("chunk {}", result.id))?;
                *correct = Some(outputs.into());
            }
            self.cents += payload.chunk(number).cents.iter().map(|cents| i128::from(*cents)).sum::<i128>();
        }
        self.chunks += pulled.data.len() as u64;
        Ok(pulled.data.len() as u64)
    }

    /// Whether exactly the chunks `0..sent` came.
    pub fn is_complete(&self, sent: u64) -> bool {
        self.chunks == sent
            && self.seen.iter().take(sent as usize).filter(|seen| **seen).count() as u64 == sent
    }
}

fn compare(outputs: &str, cents: &[i64]) -> Result<()> {
    let rows: Vec<Vec<serde_json::Value>> = serde_json::from_str(outputs).context("its outputs")?;
    let Some((header, rows)) = rows.split_first() else { bail!("no header row in its outputs") };
    let total = header.iter().position(|name| name == "total").context("no column `total` in its outputs")?;
    if rows.len() != cents.len() {
        bail!("{} rows instead of {}", rows.len(), cents.len());
    }
    for (row, (cells, expected)) in rows.iter().zip(cents).enumerate() {
        let found =
            cells.get(total).and_then(serde_json::Value::as_f64).map(|value| (value * 100.0).round() as i64);
        if found != Some(*expected) {
            bail!("row {row} has {:?} instead of {} cents", cells.get(total), expected);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn answer(payload: &Payload, number: u64, change: i64) -> String {
        let rows: Vec<String> = payload
            .chunk(number)
            .cents
            .iter()
            .map(|c| format!("[{}]", (c + change) as f64 / 100.0))
            .collect();
        format!(
            r#"{{"data":[{{"id":"{}","outputs":[["total"],{}]}}],"status":{{}}}}"#,
            Uuid::from_u128(number.into()),
            rows.join(",")
        )
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_of_the_size_that_the_design_names() {
        let (one, other) = (Payload::sales(200, 64, 7), Payload::sales(200, 64, 7));
        assert_eq!(one.push_body(0..9), other.push_body(0..9));
        assert_ne!(one.data(0), Payload::sales(200, 64, 8).data(0));
        assert!((4_500..5_600).contains(&one.mean_bytes()), "{}", one.mean_bytes());
    }

    #[test]
    fn a_push_is_json_with_its_chunks() {
        let body: serde_json::Value =
            serde_json::from_slice(&Payload::sales(10, 64, 7).push_body(3..5)).unwrap();
        assert_eq!(body["chunks"][1]["id"], "00000000-0000-0000-0000-000000000004");
        assert_eq!(body["chunks"][0]["data"]["inputs"].as_array().unwrap().len(), 11);
    }

    #[test]
    fn every_chunk_must_come_once_and_be_right() {
        let payload = Payload::sales(10, 64, 7);
        let mut checker = Checker::new();
        assert_eq!(checker.take(&payload, 2, answer(&payload, 1, 0).as_bytes()).unwrap(), 1);
        assert!(!checker.is_complete(2));
        assert!(checker.take(&payload, 2, answer(&payload, 0, 1).as_bytes()).is_err());
        let mut checker = Checker::new();
        for number in [1, 0] {
            checker.take(&payload, 2, answer(&payload, number, 0).as_bytes()).unwrap();
        }
        assert!(checker.is_complete(2));
        assert!(
            checker
                .take(&payload, 2, answer(&payload, 1, 0).as_bytes())
                .unwrap_err()
                .to_string()
                .contains("twice")
        );
        assert!(
            checker
                .take(&payload, 2, answer(&payload, 2, 0).as_bytes())
                .unwrap_err()
                .to_string()
                .contains("never sent")
        );
    }
}
