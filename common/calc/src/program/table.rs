//! Constant ranges, and the indexes that lookups use on them.

use std::sync::OnceLock;

use rustc_hash::FxHashMap;

use crate::functions::Grid;
use crate::number;
use crate::program::column::lane;
use crate::value::{Value, fold};

/// A rectangle of constants, row-major.
#[derive(Debug)]
pub(crate) struct Table {
    pub rows: usize,
    pub columns: usize,
    pub values: Vec<Value>,
    /// The same as lanes, when every value is a number or an error; one more lane at the beginning stands for no place.
    pub padded: Option<Vec<f64>>,
    /// The same for a short line, so long that no byte lies behind its end.
    pub short: Option<Box<[f64; 256]>>,
    blanks: bool,
    index: OnceLock<Index>,
}

impl Table {
    pub fn new(rows: usize, columns: usize, values: Vec<Value>) -> Self {
        let plain = values.iter().all(|v| matches!(v, Value::Number(_) | Value::Error(_)));
        let padded: Option<Vec<f64>> =
            plain.then(|| std::iter::once(0.0).chain(values.iter().map(lane)).collect());
        let short =
            padded.as_ref().filter(|padded: &&Vec<f64>| padded.len() <= 256 && (rows == 1 || columns == 1));
        let short = short.map(|padded| {
            let mut line = Box::new([0.0; 256]);
            line[..padded.len()].copy_from_slice(padded);
            line
        });
        let blanks = values.contains(&Value::Blank);
        Self { rows, columns, values, padded, short, blanks, index: OnceLock::new() }
    }

    /// Whether any of the values is blank.
    pub const fn has_blanks(&self) -> bool {
        self.blanks
    }

    /// The values as a function sees them, with their index when a lookup searches them.
    pub fn grid(&self, searched: bool) -> Grid<'_> {
        Grid {
            rows: self.rows,
            columns: self.columns,
            items: &self.values,
            index: searched.then(|| self.index()),
        }
    }

    /// The index of a single row or column, built at first use.
    pub fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::new(&self.values))
    }
}

/// What a lookup looks for in a row or column of constants.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// First and last place of each number, by its bits; zero without its sign.
    exact_numbers: FxHashMap<u64, (u32, u32)>,
    /// First and last place of each text, folded.
    exact_texts: FxHashMap<String, (u32, u32)>,
    /// The numbers with their places, in order of appearance.
    pub numbers: Vec<f64>,
    pub number_places: Vec<u32>,
    /// Whether the numbers never fall.
    pub ascending: bool,
    /// The numbers in ascending order.
    sorted: Vec<f64>,
    /// The first number, when every value is a number and each is one more than the one before it.
    series: Option<f64>,
}

impl Index {
    fn new(values: &[Value]) -> Self {
        let mut index = Self { ascending: true, ..Self::default() };
        for (value, place) in values.iter().zip(0_u32..) {
            match value {
                Value::Number(x) => {
                    index.exact_numbers.entry((x + 0.0).to_bits()).or_insert((place, place)).1 = place;
                    index.ascending &= index.numbers.last().is_none_or(|last| last <= x);
                    index.numbers.push(*x);
                    index.number_places.push(place);
                }
                Value::Text(text) => {
                    index.exact_texts.entry(fold(text).into_owned()).or_insert((place, place)).1 = place;
                }
                _ => {}
            }
        }
        index.sorted.clone_from(&index.numbers);
        index.sorted.sort_by(f64::total_cmp);
        let (first, count) = (index.numbers.first().copied(), index.numbers.len());
        index.series = first.filter(|first| {
            let rises = index.numbers.iter().zip(0_u32..).all(|(x, i)| *x == first + f64::from(i));
            count == values.len() && rises && first.fract() == 0.0 && first.abs() < 1e9
        });
        index
    }

    /// The first of whole numbers that rise by one, when the values are nothing else.
    pub fn series(&self) -> Option<f64> {
        self.series
    }

    /// How many numbers lie below a number, and how many do not lie above it, by 15 digits as comparisons see them.
    pub fn around(&self, x: f64) -> (usize, usize) {
        let below = self.sorted.partition_point(|y| number::compare(*y, x).is_lt());
        // None is equal, as a rule.
        let rest = &self.sorted[below..];
        let equal = match rest.first() {
            Some(y) if number::compare(*y, x).is_le() => {
                rest.partition_point(|y| number::compare(*y, x).is_le())
            }
            _ => 0,
        };
        (below, below + equal)
    }

    /// First and last place of a number.
    pub fn number(&self, x: f64) -> Option<(u32, u32)> {
        self.exact_numbers.get(&(x + 0.0).to_bits()).copied()
    }

    /// First and last place of a text without wildcards.
    pub fn text(&self, text: &str) -> Option<(u32, u32)> {
        let mut buffer = [0_u8; 64];
        if let Some(place) = buffer.get_mut(..text.len())
            && text.is_ascii()
        {
            place.copy_from_slice(text.as_bytes());
            place.make_ascii_lowercase();
            return std::str::from_utf8(place).ok().and_then(|text| self.exact_texts.get(text).copied());
        }
        self.exact_texts.get(fold(text).as_ref()).copied()
    }
}
