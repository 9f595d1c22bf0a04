//! Searching rows and columns. Source: Excel's descriptions of `MATCH`, `VLOOKUP`, `XMATCH`; numbers are equal here only when
//! all their bits are, text without case, and only values of the key's type are looked at.

use std::cmp::Ordering;

use super::argument::Grid;
use super::{Answer, Arg, Env, FunctionInfo};
use crate::program::graph::Search;
use crate::program::table::Index;
use crate::value::{ErrorValue, Value, compare_text};

pub(super) fn functions() -> Vec<FunctionInfo> {
    vec![FunctionInfo::general("ADDRESS", 2, 5, address, "The text of a reference from its row and column.")]
}

fn address(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (row, column) = (args[0].number()?.trunc(), args[1].number()?.trunc());
    let kind = match args.get(2) {
        None | Some(Arg::Omitted) => 1.0,
        Some(arg) => arg.number()?.trunc(),
    };
    let a1 =
        args.get(3).map_or(Ok(true), |a| if matches!(a, Arg::Omitted) { Ok(true) } else { a.boolean() })?;
    let (fixed_row, fixed_column) = match kind as i32 {
        1 => (true, true),
        2 => (true, false),
        3 => (false, true),
        4 => (false, false),
        _ => return Err(ErrorValue::Value),
    };
    let text = if a1 {
        if !(1.0..=1_048_576.0).contains(&row) || !(1.0..=16_384.0).contains(&column) {
            return Err(ErrorValue::Value);
        }
        let cell = crate::formula::a1(row as u32 - 1, column as u32 - 1);
        let (letters, digits) = cell.split_at(cell.bytes().take_while(u8::is_ascii_alphabetic).count());
        let mark = |fixed: bool| if fixed { "$" } else { "" };
        format!("{}{letters}{}{digits}", mark(fixed_column), mark(fixed_row))
    } else {
        let part = |letter: char, place: f64, fixed: bool| match (fixed, place == 0.0) {
            (true, _) => format!("{letter}{place}"),
            (false, true) => letter.to_string(),
            (false, false) => format!("{letter}[{place}]"),
        };
        let beyond = |place: f64, fixed: bool, most: f64| place.abs() > most || (fixed && place < 1.0);
        if beyond(row, fixed_row, 1_048_576.0) || beyond(column, fixed_column, 16_384.0) {
            return Err(ErrorValue::Value);
        }
        part('R', row, fixed_row) + &part('C', column, fixed_column)
    };
    let Some(sheet) = args.get(4) else { return Ok(text.into()) };
    let sheet = sheet.text()?;
    let plain = sheet.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
    let plain = plain && !sheet.starts_with(|c: char| c.is_ascii_digit());
    Ok(if plain { format!("{sheet}!{text}") } else { format!("'{}'!{text}", sheet.replace('\'', "''")) }
        .into())
}

/// The zero-based place of a key in a row or column.
pub(crate) fn find(search: Search, key: &Value, grid: &Grid<'_>) -> Option<usize> {
    match key {
        Value::Number(x) => find_number(search, *x, grid.items, grid.index),
        Value::Blank => find_number(search, 0.0, grid.items, grid.index),
        Value::Text(text) => find_text(search, text, grid),
        Value::Boolean(b) => find_with(search, grid.items, |value| match value {
            Value::Boolean(other) => Some(other.cmp(b)),
            _ => None,
        }),
        Value::Error(_) => None,
    }
}

/// The zero-based place of a number, with the index of the items where there is one.
#[inline]
pub(crate) fn find_number(search: Search, key: f64, items: &[Value], index: Option<&Index>) -> Option<usize> {
    if let Some(index) = index {
        match search {
            Search::Exact | Search::Equal { last: false } => {
                return index.number(key).map(|found| found.0 as usize);
            }
            Search::Equal { last: true } => return index.number(key).map(|found| found.1 as usize),
            Search::Ascending => {
                // Where numbers fall, the result depends on how the halves are taken.
                let after = if index.ascending {
                    index.numbers.partition_point(|x| *x <= key)
                } else {
                    halve(&index.numbers, key)
                };
                return after.checked_sub(1).map(|i| index.number_places[i] as usize);
            }
            Search::NextSmaller { last } if index.ascending => {
                let after = index.numbers.partition_point(|x| *x <= key);
                let smaller = after.checked_sub(1)?;
                // Equal numbers stand together in ascending order: the first or the last of them.
                let found = index.number(index.numbers[smaller])?;
                return Some(if last { found.1 } else { found.0 } as usize);
            }
            _ => {}
        }
    }
    find_with(search, items, |value| match value {
        Value::Number(x) => x.partial_cmp(&key),
        _ => None,
    })
}

/// How many numbers are not greater than the key, found by halving.
#[inline]
fn halve(numbers: &[f64], key: f64) -> usize {
    let (mut low, mut high) = (0, numbers.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if numbers[middle] <= key {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

fn find_text(search: Search, key: &str, grid: &Grid<'_>) -> Option<usize> {
    let wild = memchr::memchr3(b'*', b'?', b'~', key.as_bytes()).is_some();
    match search {
        Search::Exact | Search::Wildcard { .. } if wild => {
            let pattern = Pattern::new(key);
            let hit = |value: &Value| matches!(value, Value::Text(text) if pattern.matches(text));
            if search == (Search::Wildcard { last: true }) {
                return grid.items.iter().rposition(hit);
            }
            return grid.items.iter().position(hit);
        }
        Search::Exact | Search::Equal { .. } | Search::Wildcard { .. } => {
            if let Some(index) = grid.index {
                let found = index.text(key)?;
                let last = matches!(search, Search::Equal { last: true } | Search::Wildcard { last: true });
                return Some(if last { found.1 } else { found.0 } as usize);
            }
        }
        _ => {}
    }
    find_with(search, grid.items, |value| match value {
        Value::Text(text) => Some(compare_text(text, key)),
        _ => None,
    })
}

/// Search items; `compare` tells how an item stands to the key, and `None` that it is of another type.
fn find_with(search: Search, items: &[Value], compare: impl Fn(&Value) -> Option<Ordering>) -> Option<usize> {
    let equal = |value: &Value| compare(value) == Some(Ordering::Equal);
    match search {
        Search::Exact | Search::Equal { last: false } | Search::Wildcard { last: false } => {
            items.iter().position(equal)
        }
        Search::Equal { last: true } | Search::Wildcard { last: true } => items.iter().rposition(equal),
        // Downwards `MATCH` goes item by item, and stops at the first that is smaller. Source: Microsoft Support, MATCH:
        // 40 among 25, 38, 40, 41 is not found.
        Search::Descending => {
            let alike = items.iter().enumerate().filter_map(|(i, v)| compare(v).map(|o| (i, o)));
            alike.take_while(|(_, o)| *o != Ordering::Less).last().map(|(i, _)| i)
        }
        Search::Ascending => {
            let after = Ordering::Greater;
            let alike: Vec<(usize, Ordering)> =
                items.iter().enumerate().filter_map(|(i, v)| compare(v).map(|o| (i, o))).collect();
            let (mut low, mut high) = (0, alike.len());
            while low < high {
                let middle = low + (high - low) / 2;
                if alike[middle].1 == after { high = middle } else { low = middle + 1 }
            }
            low.checked_sub(1).map(|i| alike[i].0)
        }
        Search::NextSmaller { last } => nearest(items, Ordering::Less, last, &compare),
        Search::NextGreater { last } => nearest(items, Ordering::Greater, last, &compare),
    }
}

/// The place of an equal item, or else of the nearest on one side, in any order.
fn nearest(
    items: &[Value],
    side: Ordering,
    last: bool,
    compare: &impl Fn(&Value) -> Option<Ordering>,
) -> Option<usize> {
    let mut best: Option<usize> = None;
    let mut exact: Option<usize> = None;
    for (i, value) in items.iter().enumerate() {
        match compare(value) {
            Some(Ordering::Equal) if exact.is_none() || last => exact = Some(i),
            Some(Ordering::Equal) => {}
            Some(found) if found == side => {
                let better = match best {
                    None => true,
                    Some(b) => match value.compare(&items[b]) {
                        Ok(Ordering::Equal) => last,
                        // Nearer to the key: greater among the smaller, smaller among the greater.
                        Ok(order) => order != side,
                        Err(_) => false,
                    },
                };
                if better {
                    best = Some(i);
                }
            }
            _ => {}
        }
    }
    exact.or(best)
}

/// A text pattern: `*` any characters, `?` one, `~` before them for themselves. Without case.
#[derive(Debug)]
pub(crate) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Char(char),
}

impl Pattern {
    pub fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '*' => parts.push(Part::Any),
                '?' => parts.push(Part::One),
                '~' if matches!(chars.peek(), Some('*' | '?' | '~')) => {
                    parts.extend(chars.next().map(Part::Char));
                }
                c => parts.extend(c.to_lowercase().map(Part::Char)),
            }
        }
        Self { parts }
    }

    /// Whether the whole text matches. Takes at most characters × parts steps.
    pub fn matches(&self, text: &str) -> bool {
        let chars: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
        self.matches_from(&chars, 0).is_some()
    }

    /// The first place, from `from` on, where the beginning of the rest of the text matches. The characters are folded.
    pub fn find(&self, chars: &[char], from: usize) -> Option<usize> {
        let fixed = self.parts.iter().position(|part| *part == Part::Any).unwrap_or(self.parts.len());
        let (prefix, rest) = self.parts.split_at(fixed);
        let fits = |(part, c): (&Part, &char)| *part == Part::One || *part == Part::Char(*c);
        let last = chars.len().checked_sub(prefix.len())?;
        let start = (from..=last).find(|i| prefix.iter().zip(&chars[*i..]).all(fits))?;
        // What follows the first star has the most room after the first place of what precedes it.
        let rest = Self { parts: rest.iter().copied().chain([Part::Any]).collect() };
        rest.matches_from(chars, start + fixed).map(|()| start)
    }

    fn matches_from(&self, chars: &[char], from: usize) -> Option<()> {
        let (mut i, mut p) = (from, 0);
        let mut star: Option<(usize, usize)> = None;
        while i < chars.len() {
            match self.parts.get(p) {
                Some(Part::Any) => {
                    star = Some((p, i));
                    p += 1;
                }
                Some(Part::One) => {
                    p += 1;
                    i += 1;
                }
                Some(Part::Char(c)) if *c == chars[i] => {
                    p += 1;
                    i += 1;
                }
                _ => {
                    let (back, at) = star?;
                    star = Some((back, at + 1));
                    p = back + 1;
                    i = at + 1;
                }
            }
        }
        self.parts[p..].iter().all(|part| *part == Part::Any).then_some(())
    }
}
