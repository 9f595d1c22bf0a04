//! Totals of a whole batch: statistics of outputs that merge over chunks (beyond the contract; 2.6 leaves them to the client).
//!
//! Evaluating a chunk gives a [`Totals`] state beside the records. States merge by adding, and what they add is exact: sums and
//! sums of squares are kept without rounding, counts and buckets of the histogram are whole numbers. So the answer does
//! not depend on how records are cut into chunks, nor on the order in which chunks finish, to the last bit; and merging is
//! associative and commutative. Merging a state twice would count it twice: whoever stores states keeps one for each chunk.
//!
//! | statistic | how exact |
//! |---|---|
//! | `count`, `errors`, `non_numeric`, `blank` | exact |
//! | `sum`, `mean`, `variance` (of a sample, `VAR.S`) | the true value, rounded once to the nearest double |
//! | `standard_deviation` | the square root of that variance |
//! | `min`, `max` | exact |
//! | `quantiles` | within 1/256 (0.4 %) of the number at place `⌊q (count − 1)⌋` of all numbers in order, from 0; `q` 0 and 1 are exact |

mod codec;
mod exact;
mod histogram;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value as Json};
use thiserror::Error;

use crate::number;
use crate::program::Column;
use crate::value::Value;
use codec::{Broken, Reader, put};
use exact::{Squares, Sum, variance};
use histogram::Histogram;

/// Outputs that one batch may ask totals of.
pub const MAX_OUTPUTS: usize = 64;
/// Quantiles of one output.
pub const MAX_QUANTILES: usize = 64;
/// The version of the stored form.
const VERSION: u8 = 1;

/// Totals that a caller asks for of one output.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TotalRequest {
    /// The output, compared without case. All cells of a table output count.
    pub output_name: String,
    /// Which quantiles, each from 0 to 1.
    pub quantiles: Vec<f64>,
}

/// The state of one output.
#[derive(Debug, Clone, Default)]
struct State {
    count: u64,
    errors: u64,
    non_numeric: u64,
    blank: u64,
    min: f64,
    max: f64,
    sum: Sum,
    squares: Squares,
    histogram: Option<Histogram>,
}

/// Totals of some chunks. See the module's documentation for what they promise.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    chunks: u64,
    records: u64,
    outputs: Vec<State>,
}

/// Why stored totals cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TotalsError {
    /// The bytes were not written by [`Totals::encode`].
    #[error("the bytes are no totals")]
    Broken,
    /// The states are not of the same outputs.
    #[error("totals of {0} and of {1} outputs cannot be merged")]
    Different(usize, usize),
}

impl From<Broken> for TotalsError {
    fn from(_: Broken) -> Self {
        Self::Broken
    }
}

impl Totals {
    /// Totals of one chunk of so many records, before its first block.
    pub fn of_chunk(requests: &[TotalRequest], records: u32) -> Self {
        let state = |request: &TotalRequest| State {
            histogram: (!request.quantiles.is_empty()).then(Histogram::default),
            ..State::default()
        };
        Self { chunks: 1, records: records.into(), outputs: requests.iter().map(state).collect() }
    }

    /// Takes a block in. `columns` answers the columns of a request, by its place.
    pub(crate) fn add<'c>(&mut self, rows: usize, columns: impl Fn(usize) -> &'c [Column]) {
        for (request, state) in self.outputs.iter_mut().enumerate() {
            for column in columns(request) {
                match column.numbers() {
                    Some(lanes) => lanes.iter().take(rows).for_each(|lane| state.lane(*lane)),
                    None => (0..rows).for_each(|row| state.value(&column.get(row))),
                }
            }
        }
    }

    /// Adds other totals of the same requests.
    ///
    /// # Errors
    ///
    /// [`TotalsError::Different`] for totals of other requests.
    pub fn merge(&mut self, other: &Self) -> Result<(), TotalsError> {
        if self.chunks == 0 {
            *self = other.clone();
            return Ok(());
        }
        if other.chunks == 0 {
            return Ok(());
        }
        if self.outputs.len() != other.outputs.len() {
            return Err(TotalsError::Different(self.outputs.len(), other.outputs.len()));
        }
        self.chunks = self.chunks.saturating_add(other.chunks);
        self.records = self.records.saturating_add(other.records);
        for (state, other) in self.outputs.iter_mut().zip(&other.outputs) {
            state.merge(other);
        }
        Ok(())
    }

    /// Chunks in these totals, those without records not counted.
    pub const fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Records in these totals.
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// The stored form: some 60 bytes an output, and 3 to 5 more for every bucket of its quantiles. Equal totals give equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put(&mut out, self.chunks);
        put(&mut out, self.records);
        put(&mut out, self.outputs.len() as u64);
        for state in &self.outputs {
            state.encode(&mut out);
        }
        out
    }

    /// Reads the stored form.
    ///
    /// # Errors
    ///
    /// [`TotalsError::Broken`]; no bytes make this panic.
    pub fn decode(bytes: &[u8]) -> Result<Self, TotalsError> {
        let mut bytes = Reader::new(bytes);
        if bytes.take()? != [VERSION] {
            return Err(TotalsError::Broken);
        }
        let (chunks, records) = (bytes.number()?, bytes.number()?);
        let outputs = bytes.count(MAX_OUTPUTS)?;
        let outputs = (0..outputs).map(|_| State::decode(&mut bytes)).collect::<Result<_, _>>()?;
        if !bytes.is_empty() {
            return Err(TotalsError::Broken);
        }
        Ok(Self { chunks, records, outputs })
    }

    /// The statistics, for the requests that the totals were made for: `{"chunks":…,"records":…,"outputs":[…]}`.
    pub fn report(&self, requests: &[TotalRequest]) -> Json {
        let nothing = State::default();
        let outputs = requests.iter().enumerate();
        let outputs =
            outputs.map(|(place, request)| self.outputs.get(place).unwrap_or(&nothing).report(request));
        serde_json::json!({
            "chunks": self.chunks,
            "records": self.records,
            "outputs": outputs.collect::<Vec<_>>(),
        })
    }
}

impl State {
    fn lane(&mut self, lane: f64) {
        match number::decode(lane) {
            None => self.number(lane),
            Some(_) => self.errors += 1,
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Number(x) => self.number(*x),
            Value::Error(_) => self.errors += 1,
            Value::Text(_) | Value::Boolean(_) => self.non_numeric += 1,
            Value::Blank => self.blank += 1,
        }
    }

    fn number(&mut self, x: f64) {
        // No negative zero, so that equal numbers give equal bytes.
        let x = x + 0.0;
        (self.min, self.max) = if self.count == 0 { (x, x) } else { (self.min.min(x), self.max.max(x)) };
        self.count += 1;
        self.sum.add(x);
        self.squares.add_square(x);
        if let Some(histogram) = &mut self.histogram {
            histogram.add(x);
        }
    }

    fn merge(&mut self, other: &Self) {
        (self.min, self.max) = match (self.count, other.count) {
            (0, _) => (other.min, other.max),
            (_, 0) => (self.min, self.max),
            _ => (self.min.min(other.min), self.max.max(other.max)),
        };
        self.count = self.count.saturating_add(other.count);
        self.errors = self.errors.saturating_add(other.errors);
        self.non_numeric = self.non_numeric.saturating_add(other.non_numeric);
        self.blank = self.blank.saturating_add(other.blank);
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
        match (&mut self.histogram, &other.histogram) {
            (Some(own), Some(other)) => own.merge(other),
            (own @ None, Some(other)) => *own = Some(other.clone()),
            (_, None) => {}
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        for count in [self.count, self.errors, self.non_numeric, self.blank] {
            put(out, count);
        }
        if self.count > 0 {
            out.extend_from_slice(&self.min.to_le_bytes());
            out.extend_from_slice(&self.max.to_le_bytes());
            self.sum.encode(out);
            self.squares.encode(out);
        }
        put(out, self.histogram.is_some().into());
        if let Some(histogram) = &self.histogram {
            histogram.encode(out);
        }
    }

    fn decode(bytes: &mut Reader<'_>) -> Result<Self, Broken> {
        let mut state = Self {
            count: bytes.number()?,
            errors: bytes.number()?,
            non_numeric: bytes.number()?,
            blank: bytes.number()?,
            ..Self::default()
        };
        if state.count > 0 {
            (state.min, state.max) = (bytes.double()?, bytes.double()?);
            if state.min > state.max {
                return Err(Broken);
            }
            state.sum = Sum::decode(bytes)?;
            state.squares = Squares::decode(bytes)?;
        }
        if bytes.number()? != 0 {
            state.histogram = Some(Histogram::decode(bytes)?);
        }
        Ok(state)
    }

    fn report(&self, request: &TotalRequest) -> Json {
        // What no double can hold, or what there is none of, is null.
        let number = |known: bool, x: f64| match Number::from_f64(x + 0.0) {
            Some(number) if known => Json::Number(number),
            _ => Json::Null,
        };
        let some = self.count > 0;
        let variance = if self.count > 1 { variance(&self.sum, &self.squares, self.count) } else { f64::NAN };
        let mut quantiles = Map::new();
        let answers = self
            .histogram
            .as_ref()
            .map(|histogram| histogram.quantiles(&request.quantiles))
            .unwrap_or_default();
        for (place, share) in request.quantiles.iter().enumerate() {
            let answer = match share {
                share if *share <= 0.0 => self.min,
                share if *share >= 1.0 => self.max,
                _ => answers.get(place).map_or(f64::NAN, |answer| answer.clamp(self.min, self.max)),
            };
            quantiles.insert(share.to_string(), number(some, answer));
        }
        serde_json::json!({
            "output_name": request.output_name,
            "count": self.count,
            "errors": self.errors,
            "non_numeric": self.non_numeric,
            "blank": self.blank,
            "sum": number(true, self.sum.value()),
            "min": number(some, self.min),
            "max": number(some, self.max),
            "mean": number(some, if some { self.sum.mean(self.count) } else { 0.0 }),
            "variance": number(self.count > 1, variance),
            "standard_deviation": number(self.count > 1, variance.sqrt()),
            "quantiles": quantiles,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::value::ErrorValue;

    fn requests() -> Vec<TotalRequest> {
        vec![
            TotalRequest { output_name: "a".into(), quantiles: vec![0.0, 0.5, 0.9, 1.0] },
            TotalRequest { output_name: "b".into(), ..TotalRequest::default() },
        ]
    }

    /// The totals of one chunk whose records give these values to both outputs.
    fn chunk(values: &[Value]) -> Totals {
        let mut totals = Totals::of_chunk(&requests(), u32::try_from(values.len()).unwrap());
        let column = [Column::from_values(values.to_vec())];
        totals.add(values.len(), |_| &column);
        totals
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            8 => prop::num::f64::NORMAL.prop_map(|x| Value::Number(x % 1e12)),
            2 => (-50_i32..50).prop_map(|x| Value::Number(x.into())),
            1 => Just(Value::Error(ErrorValue::NA)),
            1 => Just(Value::from("text")),
            1 => Just(Value::Boolean(true)),
            1 => Just(Value::Blank),
        ]
    }

    #[test]
    fn reports_what_there_is() {
        let totals = chunk(&[
            Value::Number(2.0),
            Value::Number(4.0),
            Value::Number(9.0),
            Value::Error(ErrorValue::Div0),
            Value::from("x"),
            Value::Blank,
        ]);
        let report = totals.report(&requests());
        assert_eq!((&report["chunks"], &report["records"]), (&json!(1), &json!(6)));
        let a = &report["outputs"][0];
        assert_eq!(
            (&a["count"], &a["errors"], &a["non_numeric"], &a["blank"]),
            (&json!(3), &json!(1), &json!(1), &json!(1))
        );
        assert_eq!(
            (&a["sum"], &a["min"], &a["max"], &a["mean"]),
            (&json!(15.0), &json!(2.0), &json!(9.0), &json!(5.0))
        );
        assert_eq!((&a["variance"], &a["standard_deviation"]), (&json!(13.0), &json!(13.0_f64.sqrt())));
        assert_eq!((&a["quantiles"]["0"], &a["quantiles"]["1"]), (&json!(2.0), &json!(9.0)));
        assert!((a["quantiles"]["0.5"].as_f64().unwrap() - 4.0).abs() <= 4.0 / 256.0);
        assert_eq!(report["outputs"][1]["quantiles"], json!({}));
    }

    #[test]
    fn nothing_is_null_not_zero() {
        let report = Totals::default().report(&requests());
        assert_eq!(report["outputs"][0]["sum"], 0.0);
        for field in ["min", "max", "mean", "variance", "standard_deviation"] {
            assert_eq!(report["outputs"][0][field], json!(null), "{field}");
        }
        assert_eq!(report["outputs"][0]["quantiles"]["0.5"], json!(null));
        let one = chunk(&[Value::Number(1e308), Value::Number(1e308)]).report(&requests());
        assert_eq!((&one["outputs"][0]["sum"], &one["outputs"][0]["mean"]), (&json!(null), &json!(1e308)));
    }

    #[test]
    fn totals_of_other_requests_do_not_merge() {
        let mut totals = chunk(&[]);
        let other = Totals::of_chunk(&requests()[..1], 0);
        assert_eq!(totals.merge(&other), Err(TotalsError::Different(2, 1)));
        assert_eq!(Totals::decode(&[]).unwrap_err(), TotalsError::Broken);
        let mut bytes = chunk(&[Value::Number(1.0)]).encode();
        bytes.push(0);
        assert_eq!(Totals::decode(&bytes).unwrap_err(), TotalsError::Broken);
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn merging_is_the_direct_computation_in_any_order(
            chunks in prop::collection::vec(prop::collection::vec(value(), 0..20), 1..8),
            order in any::<u64>(),
        ) {
            let all: Vec<Value> = chunks.iter().flatten().cloned().collect();
            let mut direct = chunk(&all);
            direct.chunks = chunks.len() as u64;
            let mut states: Vec<Totals> =
                chunks.iter().map(|values| Totals::decode(&chunk(values).encode()).unwrap()).collect();
            // Any order, and a tree of any shape.
            let mut random = order;
            while states.len() > 1 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let taken = states.swap_remove((random >> 33) as usize % states.len());
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (random >> 33) as usize % states.len();
                states[at].merge(&taken).unwrap();
            }
            prop_assert_eq!(direct.encode(), states[0].encode());
            prop_assert_eq!(direct.report(&requests()), states[0].report(&requests()));
        }

        #[test]
        fn damaged_totals_never_panic(values in prop::collection::vec(value(), 0..10), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = chunk(&values).encode();
            let place = at.index(bytes.len());
            bytes[place] = byte;
            if let Ok(totals) = Totals::decode(&bytes) {
                let report = totals.report(&requests());
                prop_assert!(report["records"].is_u64());
            }
        }
    }
}
