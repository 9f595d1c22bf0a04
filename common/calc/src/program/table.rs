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

/// A text of at most 23 characters of ASCII, folded, and its length in the last byte.
type Words = (u64, u64, u64);

/// The words of a short text: the same for texts that differ in case only. `None` for longer texts and for those with other
/// characters than ASCII.
#[inline]
fn words(text: &str) -> Option<Words> {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    const LOW: u64 = 0x0101_0101_0101_0101;
    let mut bytes = [0_u8; 24];
    if text.len() >= bytes.len() {
        return None;
    }
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    let (words, _) = bytes.as_chunks::<8>();
    let [a, b, c] = [0, 1, 2].map(|i| u64::from_le_bytes(words[i]));
    if (a | b | c) & HIGH != 0 {
        return None;
    }
    let fold = |word: u64| {
        // Adding lifts what lies from `A` on, and what lies behind `Z`, into the high bit of its byte.
        let capital = (word + LOW * (0x80 - 0x41)) & !(word + LOW * (0x80 - 0x5B)) & HIGH;
        word | capital >> 2
    };
    Some((fold(a), fold(b), fold(c) | (text.len() as u64) << 56))
}

/// What a lookup looks for in a row or column of constants.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// First and last place of each number, by its bits; zero without its sign.
    exact_numbers: FxHashMap<u64, (u32, u32)>,
    /// First and last place of each short text, by its folded words.
    short_texts: FxHashMap<Words, (u32, u32)>,
    /// First and last place of each other text, folded.
    long_texts: FxHashMap<String, (u32, u32)>,
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
                    let folded = fold(text);
                    let places = match words(&folded) {
                        Some(words) => index.short_texts.entry(words),
                        None => {
                            let places = index.long_texts.entry(folded.into_owned());
                            places.or_insert((place, place)).1 = place;
                            continue;
                        }
                    };
                    places.or_insert((place, place)).1 = place;
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
        let mut below = self.sorted.partition_point(|y| *y < x);
        // None is nearly equal, as a rule.
        if below > 0 && !number::compare(self.sorted[below - 1], x).is_lt() {
            below = self.sorted[..below].partition_point(|y| number::compare(*y, x).is_lt());
        }
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
        if let Some(words) = words(text) {
            return self.short_texts.get(&words).copied();
        }
        let folded = fold(text);
        // Folding may make characters of ASCII from others.
        match words(&folded) {
            Some(words) => self.short_texts.get(&words).copied(),
            None => self.long_texts.get(folded.as_ref()).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_fold_ascii_and_nothing_else() {
        for c in 0..128_u8 {
            let text = char::from(c).to_string();
            assert_eq!(words(&text), words(&text.to_ascii_lowercase()), "{text:?}");
            for other in 0..128_u8 {
                let other = char::from(other).to_string();
                assert_eq!(
                    words(&text) == words(&other),
                    text.eq_ignore_ascii_case(&other),
                    "{text:?} {other:?}"
                );
            }
        }
        assert_ne!(words("a"), words("a\0"));
        assert_ne!(words(""), words("\0"));
        assert!(words(&"x".repeat(23)).is_some());
        assert_eq!(words(&"x".repeat(24)), None);
        assert_eq!(words("é"), None);
    }

    #[test]
    fn texts_are_found_without_case_whatever_their_length() {
        let texts = ["", "k", "North", "É", &"long ".repeat(9), "north", "abcdefghijklmnopqrstuvwx"];
        let index = Index::new(&texts.map(Value::from));
        for (text, found) in [
            ("NORTH", Some((2, 5))),
            ("é", Some((3, 3))),
            ("", Some((0, 0))),
            // The sign of Kelvin folds to a k.
            ("\u{212A}", Some((1, 1))),
            (&"LONG ".repeat(9), Some((4, 4))),
            ("ABCDEFGHIJKLMNOPQRSTUVWX", Some((6, 6))),
            ("south", None),
            (&"long ".repeat(8), None),
        ] {
            assert_eq!(index.text(text), found, "{text:?}");
        }
        let index = Index::new(&[Value::from("\u{212A}")]);
        assert_eq!(index.text("K"), Some((0, 0)));
    }

    #[test]
    fn numbers_around_one_go_by_fifteen_digits() {
        let index = Index::new(&[0.3, 0.1, 0.2, 0.1 + 0.2, 5.0, 0.3].map(Value::Number));
        assert_eq!(index.around(0.3), (2, 5));
        assert_eq!(index.around(0.1 + 0.2), (2, 5));
        assert_eq!(index.around(0.0), (0, 0));
        assert_eq!(index.around(1.0), (5, 5));
        assert_eq!(index.around(9.0), (6, 6));
    }
}
