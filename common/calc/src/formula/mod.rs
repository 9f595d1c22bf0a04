//! Formulas: from text to expressions whose references are resolved.

mod reference;
mod resolve;

use crate::book::Range;
use crate::functions::FunctionInfo;
use crate::value::Value;

pub(crate) use reference::a1;
pub(crate) use resolve::{MAX_COLUMN, MAX_ROW, Resolver, parse};

/// A binary operator that computes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
    Concat,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// A unary operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Unary {
    /// `-x`
    Negate,
    /// `x%`
    Percent,
    /// `@x`
    Intersect,
}

/// A formula with resolved references.
#[derive(Debug, Clone)]
pub(crate) enum Expr {
    /// A literal.
    Value(Value),
    /// An argument left empty.
    Omitted,
    /// A rectangle of cells; whole columns and rows reach to the sheet's bounds.
    Reference(Range),
    /// Several rectangles: a union, or one rectangle on several sheets.
    Areas(Vec<Range>),
    /// `a:b` where a side is computed.
    Span(Box<Expr>, Box<Expr>),
    /// A name bound by `LET`, folded.
    Local(String),
    /// An operator.
    Unary(Unary, Box<Expr>),
    /// An operator. Chains lean to the left and may be long: walk them with a loop.
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// A function call.
    Call(u16, &'static FunctionInfo, Vec<Expr>),
    /// An array literal, row-major.
    Array {
        /// Number of rows.
        rows: usize,
        /// Number of columns.
        columns: usize,
        /// Its items.
        items: Vec<Expr>,
    },
}
