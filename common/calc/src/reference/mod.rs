//! The fallback: whole services on the reference engine.
//!
//! A service whose formulas the compiler does not know is evaluated, whole, on `ironcalc`: every record sets the input cells of a
//! model, recalculates it, and reads the output cells. That is hundreds of times slower than a [`Program`](crate::program::Program),
//! and the engine can run away: it recurses, it has no deadline, and it trusts its memory. So this crate only says *what* is to be
//! evaluated ([`Definition`], [`Block`]) and *how* ([`Evaluator`]); *where* is up to the caller, who hands in a [`Fallback`].
//! Servers hand in child processes with limits on memory and time; [`InProcess`] is for tests and benchmarks.
//!
//! # What differs from the compiler
//!
//! The answers are the same within the last digits beyond the 15th, with the faults of the engine that `differential` in the tests
//! lists. Formulas are read by the engine itself. What it does not know either, or reads differently, is refused with the cell:
//! unions and intersections of references, references over several sheets, names that are qualified with a sheet, links to other
//! workbooks, `RANDBETWEEN` and `RANDARRAY` (they could not be repeated), circular references. `NOW`, `TODAY` and `RAND` see what
//! they see in a program: the batch's time, and numbers that follow from seed, record and place.

mod check;
mod definition;
mod evaluator;
mod functions;
mod in_process;
mod nodes;
mod screen;

use std::fmt::Debug;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::program::{Column, Volatile};

pub(crate) use check::check;
pub use check::{Check, Difference};
pub use definition::{Columns, Definition};
pub use evaluator::Evaluator;
pub use functions::reference_only_functions;
pub use in_process::InProcess;

/// Stack that [`Evaluator`] needs of its thread, in bytes: it recurses over formulas of thousands of operators.
pub const STACK_BYTES: usize = 256 << 20;

/// A construct that keeps a cell from being calculated in some way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Obstacle {
    /// `Sheet!A1`, or the defined name whose definition is meant.
    pub place: String,
    /// What is in the way, in one sentence.
    pub message: String,
}

/// Why the fallback gives no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum FallbackError {
    /// A formula is beyond the reference engine as well.
    #[error("{}: {}", .0.place, .0.message)]
    Refused(Obstacle),
    /// The time allowed is over.
    #[error("the calculation took too long")]
    Timeout,
    /// The calculation needs more memory than it may have.
    #[error("the calculation needs more than the {megabytes} MB of memory that it may have")]
    Memory {
        /// The limit in force.
        megabytes: u64,
    },
    /// The calculation recursed until its stack was used up.
    #[error("the calculation nests without end: its stack is used up")]
    Recursion,
    /// The engine failed in some other way.
    #[error("the calculation engine failed on this workbook ({0})")]
    Crashed(String),
    /// The engine could not be started or reached; trying again may help.
    #[error("the calculation engine is not available: {0}")]
    Unavailable(String),
}

/// What loading a definition found out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Functions that the outputs need, upper case, sorted.
    pub functions: Vec<String>,
    /// Volatile functions among them, sorted.
    pub volatile_functions: Vec<String>,
    /// Formulas that the outputs need.
    pub formulas: u64,
}

/// Records to evaluate together.
#[derive(Debug, Clone, Copy)]
pub struct Block<'b> {
    /// One column per input cell, flattened as for [`Program::run`](crate::program::Program::run).
    pub inputs: &'b [Column],
    /// How many records.
    pub rows: usize,
    /// What volatile functions see.
    pub volatile: &'b Volatile,
    /// The number of the first record.
    pub first_record: u64,
    /// The output cells that are wanted, by their flattened position.
    pub outputs: &'b [usize],
}

/// Somewhere to run the reference engine.
pub trait Fallback: Send + Sync + Debug {
    /// Loads a definition and evaluates its own values once, so that what cannot be calculated is known at once.
    ///
    /// # Errors
    ///
    /// [`FallbackError::Refused`] names the cell that is in the way; the others say how the engine failed.
    fn load(&self, definition: &Definition) -> Result<Summary, FallbackError>;

    /// Evaluates a block of a definition that [`Self::load`] took; answers one column per wanted output.
    ///
    /// # Errors
    ///
    /// How the engine failed. It is ready for the next block all the same.
    fn evaluate(
        &self,
        definition: &Definition,
        block: &Block<'_>,
        deadline: Option<Instant>,
    ) -> Result<Vec<Column>, FallbackError>;
}
