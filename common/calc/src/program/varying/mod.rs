//! Arrays whose size the inputs decide, such as what `FILTER` keeps.
//!
//! An operation of a program has a single value, and an array of a known size is as many operations as it has items. An array whose
//! size only the record decides is never spread out like that: it lives within one operation, from the function that makes it to
//! the one that reduces it to a single value, or to its first item. A [`Plan`] says how; it is evaluated record by record, the same
//! way in columns, for single records and when constants are folded.

mod evaluate;
mod lower;

pub(super) use evaluate::evaluate;
pub(super) use lower::{Pieces, any_varies};

use super::graph::Op;
use crate::functions::Form;

/// What one operation computes from its arguments. The result is the first item of the last piece.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Plan {
    pieces: Vec<Piece>,
}

/// A step of a plan: a single value or an array. Other pieces are named by their place, which comes before its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Piece {
    /// An argument of the operation.
    Argument(u32),
    /// A function of whole arrays. What it takes one by one is repeated for the items of an array.
    Call(u16, Vec<u32>),
    /// The same operations for each item, with single rows and columns repeated.
    Each { over: Vec<u32>, body: Body },
    /// How many rows, or else columns, an array has.
    Size { rows: bool, of: u32 },
    /// `INDEX` with the array and one or two places.
    Index(Vec<u32>),
    /// `TAKE` and its kin: the array, and what the function is told besides.
    Arrange(Form, Vec<u32>),
    /// `SEQUENCE` with what it is told.
    Sequence(Vec<u32>),
    /// `HSTACK`, or else `VSTACK`.
    Stack { across: bool, of: Vec<u32> },
}

impl Piece {
    /// The pieces that it reads.
    fn reads(&self) -> &[u32] {
        match self {
            Self::Argument(_) => &[],
            Self::Size { of, .. } => std::slice::from_ref(of),
            Self::Each { over: of, .. }
            | Self::Call(_, of)
            | Self::Index(of)
            | Self::Arrange(_, of)
            | Self::Sequence(of)
            | Self::Stack { of, .. } => of,
        }
    }

    fn reads_mut(&mut self) -> &mut [u32] {
        match self {
            Self::Argument(_) => &mut [],
            Self::Size { of, .. } => std::slice::from_mut(of),
            Self::Each { over: of, .. }
            | Self::Call(_, of)
            | Self::Index(of)
            | Self::Arrange(_, of)
            | Self::Sequence(of)
            | Self::Stack { of, .. } => of,
        }
    }
}

/// What is done with each item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Body {
    steps: Vec<(Op, Vec<Read>)>,
    result: Read,
}

/// What a step of a [`Body`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Read {
    /// The result of an earlier step.
    Step(u32),
    /// The item of one of the arrays.
    Item(u32),
    /// An argument of the operation.
    Argument(u32),
    Omitted,
}
