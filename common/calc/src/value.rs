//! Excel values: numbers, text, booleans, blanks and errors.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use smol_str::SmolStr;

use crate::functions::serial;
use crate::number;

/// An Excel error value. Errors are values: they flow through formulas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorValue {
    /// `#NULL!`
    Null,
    /// `#DIV/0!`
    Div0,
    /// `#VALUE!`
    Value,
    /// `#REF!`
    Ref,
    /// `#NAME?`
    Name,
    /// `#NUM!`
    Num,
    /// `#N/A`
    NA,
    /// `#SPILL!`
    Spill,
    /// `#CALC!`
    Calc,
    /// `#FIELD!`
    Field,
}

impl ErrorValue {
    /// The spelling that Excel shows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Null => "#NULL!",
            Self::Div0 => "#DIV/0!",
            Self::Value => "#VALUE!",
            Self::Ref => "#REF!",
            Self::Name => "#NAME?",
            Self::Num => "#NUM!",
            Self::NA => "#N/A",
            Self::Spill => "#SPILL!",
            Self::Calc => "#CALC!",
            Self::Field => "#FIELD!",
        }
    }
}

impl fmt::Display for ErrorValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Bytes of a text that lies in the value itself, at most; longer texts are shared by the values that are clones of each other.
pub(crate) const INLINE: usize = 23;

/// One Excel value of one cell.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// An empty cell: 0 in arithmetic, `""` in text.
    #[default]
    Blank,
    /// A finite IEEE double.
    Number(f64),
    /// Text: 23 bytes lie in the value itself, a longer text is shared by the clones.
    Text(SmolStr),
    /// `TRUE` or `FALSE`.
    Boolean(bool),
    /// An error value.
    Error(ErrorValue),
}

impl ErrorValue {
    /// The error value of a spelling such as `#N/A`, without regard to case.
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Null,
            Self::Div0,
            Self::Value,
            Self::Ref,
            Self::Name,
            Self::Num,
            Self::NA,
            Self::Spill,
            Self::Calc,
            Self::Field,
        ]
        .into_iter()
        .find(|error| error.as_str().eq_ignore_ascii_case(text))
    }
}

impl From<f64> for Value {
    /// A number; `#NUM!` for what is not finite, and no negative zero.
    fn from(x: f64) -> Self {
        number::value(x)
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Boolean(b)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<ErrorValue> for Value {
    fn from(error: ErrorValue) -> Self {
        Self::Error(error)
    }
}

impl Value {
    /// The value as a number in arithmetic: blank is 0, a boolean 0 or 1, text is read as a number, a percentage, a date or a time.
    ///
    /// # Errors
    /// `#VALUE!` for other text, or the error value itself.
    pub fn to_number(&self) -> Result<f64, ErrorValue> {
        match self {
            Self::Number(x) => Ok(*x),
            Self::Blank => Ok(0.0),
            Self::Boolean(b) => Ok(f64::from(u8::from(*b))),
            Self::Text(text) => text_to_number(text).ok_or(ErrorValue::Value),
            Self::Error(e) => Err(*e),
        }
    }

    /// [`Self::to_number`] as a lane of a column of numbers, errors as NaN payloads.
    pub(crate) fn to_lane(&self) -> f64 {
        match self {
            Self::Number(x) => *x,
            other => other.to_number().unwrap_or_else(number::error),
        }
    }

    /// The value as text in `&`: a number with 15 digits, `TRUE`, `FALSE`, blank as nothing.
    ///
    /// # Errors
    /// The error value itself.
    pub fn to_text(&self) -> Result<Cow<'_, str>, ErrorValue> {
        match self {
            Self::Text(text) => Ok(Cow::Borrowed(text)),
            Self::Number(x) => Ok(Cow::Owned(number::to_text(*x))),
            Self::Blank => Ok(Cow::Borrowed("")),
            Self::Boolean(true) => Ok(Cow::Borrowed("TRUE")),
            Self::Boolean(false) => Ok(Cow::Borrowed("FALSE")),
            Self::Error(e) => Err(*e),
        }
    }

    /// The value as a condition: a number is true unless 0, the texts `TRUE` and `FALSE` count, blank is false.
    ///
    /// # Errors
    /// `#VALUE!` for other text, or the error value itself.
    pub fn to_boolean(&self) -> Result<bool, ErrorValue> {
        match self {
            Self::Boolean(b) => Ok(*b),
            Self::Number(x) => Ok(*x != 0.0),
            Self::Blank => Ok(false),
            Self::Text(text) if text.eq_ignore_ascii_case("TRUE") => Ok(true),
            Self::Text(text) if text.eq_ignore_ascii_case("FALSE") => Ok(false),
            Self::Text(_) => Err(ErrorValue::Value),
            Self::Error(e) => Err(*e),
        }
    }

    /// Compare as the operators `=` and `<` do: numbers by 15 digits, before text without case, before booleans;
    /// blank is the zero of the other side.
    ///
    /// # Errors
    /// The first error value of the two.
    pub fn compare(&self, other: &Self) -> Result<Ordering, ErrorValue> {
        Ok(match (self, other) {
            (Self::Error(e), _) | (_, Self::Error(e)) => return Err(*e),
            (Self::Number(a), Self::Number(b)) => number::compare(*a, *b),
            (Self::Text(a), Self::Text(b)) => compare_text(a, b),
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            (Self::Blank, Self::Blank) => Ordering::Equal,
            (Self::Blank, Self::Number(b)) => number::compare(0.0, *b),
            (Self::Number(a), Self::Blank) => number::compare(*a, 0.0),
            (Self::Blank, Self::Text(b)) => "".cmp(b.as_str()),
            (Self::Text(a), Self::Blank) => a.as_str().cmp(""),
            (Self::Blank, Self::Boolean(b)) => false.cmp(b),
            (Self::Boolean(a), Self::Blank) => a.cmp(&false),
            (a, b) => a.type_order().cmp(&b.type_order()),
        })
    }

    /// Numbers sort before text, text before booleans.
    const fn type_order(&self) -> u8 {
        match self {
            Self::Number(_) | Self::Blank => 0,
            Self::Text(_) => 1,
            Self::Boolean(_) => 2,
            Self::Error(_) => 3,
        }
    }
}

/// Text as a number: a number, or a date or time as ISO text.
pub fn text_to_number(text: &str) -> Option<f64> {
    number::parse(text).or_else(|| serial::parse(text))
}

/// Compare two texts without regard to case.
pub fn compare_text(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() {
        let fold = |s: &u8| s.to_ascii_lowercase();
        return a.as_bytes().iter().map(fold).cmp(b.as_bytes().iter().map(fold));
    }
    let fold = char::to_lowercase;
    a.chars().flat_map(fold).cmp(b.chars().flat_map(fold))
}

/// Text without case, the key under which lookups find it.
pub(crate) fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Cow::Owned(text.to_ascii_lowercase());
        }
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().flat_map(char::to_lowercase).collect())
}
