//! Why a book cannot become a program.

use thiserror::Error;

/// A construct that the compiler refuses, with the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place}: {kind}")]
pub struct CompileError {
    /// `Sheet!A1`, or the defined name whose definition is refused.
    pub place: String,
    /// What is refused and why.
    pub kind: CompileErrorKind,
}

/// What is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CompileErrorKind {
    /// The formula text cannot be parsed.
    #[error("the formula cannot be read: {0}")]
    Syntax(String),
    /// The formula is longer than [`Limits::formula_length`](crate::limits::Limits::formula_length).
    #[error("the formula has {length} characters, more than {limit}")]
    TooLong {
        /// Characters of the formula.
        length: usize,
        /// Characters allowed.
        limit: usize,
    },
    /// The formula nests deeper than [`Limits::formula_nesting`](crate::limits::Limits::formula_nesting).
    #[error("the formula nests deeper than {limit} levels")]
    TooDeep {
        /// Levels allowed.
        limit: usize,
    },
    /// A function that the engine does not know.
    #[error("the function {0} is not supported")]
    UnknownFunction(String),
    /// A function with too few or too many arguments.
    #[error("{function} takes {expected} arguments, not {given}")]
    ArgumentCount {
        /// The function.
        function: String,
        /// How many arguments it takes.
        expected: String,
        /// How many the formula gives.
        given: usize,
    },
    /// A construct that is valid in Excel and not supported here.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// The reference engine, the fallback, refuses the formula as well; its own words.
    #[error("{0}")]
    Fallback(String),
    /// A reference into another workbook.
    #[error("the reference {0} points into another workbook")]
    ExternalReference(String),
    /// The cell depends on itself.
    #[error("circular reference: {0}")]
    Circular(String),
    /// The program would grow beyond its bounds.
    #[error("the calculation is too large: more than {limit} {unit}")]
    TooLarge {
        /// How many are allowed.
        limit: usize,
        /// Of what.
        unit: &'static str,
    },
}
