//! Excel values: numbers, text, booleans, blanks and errors.

use std::fmt;
use std::sync::Arc;

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

/// One Excel value of one cell.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// An empty cell: 0 in arithmetic, `""` in text.
    #[default]
    Blank,
    /// A finite IEEE double.
    Number(f64),
    /// Text.
    Text(Arc<str>),
    /// `TRUE` or `FALSE`.
    Boolean(bool),
    /// An error value.
    Error(ErrorValue),
}
