//! Programs: a book compiled for evaluation over columns of records.
//!
//! [`Program::compile`] takes the cone from the outputs back to the inputs (`compile`, `lower`), folds what depends on no input and
//! keeps equal operations once (`graph`), and orders what is left so that few columns live at once (`schedule`).
//! [`Program::run`] evaluates up to [`BLOCK`] records at once. Which loop an instruction takes depends on the kinds of the columns
//! that it reads, which is settled once for each combination of kinds that comes along (`typing`) and not at every block: the
//! steps of a typed program (`steps`) run over lanes (`columnar`, `kernels`), with errors as NaN payloads. Texts and
//! mixed values have loops of their own (`texts`). A loop of lanes marks those that it cannot decide, and these alone go through the definition (`repair`, `scalar`). Records that do not fit the kinds, such as a
//! text in a column of numbers, run by themselves on the scalar execution (`records`), with the same bits as result.

mod arrange;
mod arrays;
mod column;
mod columnar;
mod compile;
mod error;
mod execute;
mod fill;
mod forms;
pub(crate) mod graph;
mod index;
mod kernels;
mod lanes;
mod lookups;
mod lower;
mod places;
mod power;
mod records;
mod reduce;
mod references;
mod repair;
mod scalar;
mod schedule;
mod single;
mod steps;
pub(crate) mod table;
mod texts;
mod typing;
mod varying;
mod watch;

pub use column::Column;
pub use error::{CompileError, CompileErrorKind};
pub use execute::Scratch;
pub(crate) use scalar::{MAX_TEXT, concatenated, power, random};

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::book::{Book, DateSystem, Range};
use crate::functions::serial;
use crate::limits::Limits;
use crate::value::Value;
use graph::{Graph, Src};
use schedule::Schedule;

/// Records evaluated at once, at most.
pub const BLOCK: usize = 128;

/// What volatile functions see. Fixed for a batch, so that every worker computes the same.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Volatile {
    /// The value of `NOW()`: an Excel serial date of the 1900 date system with its fraction of the day. `TODAY()` is its whole
    /// part. A workbook of the 1904 date system sees it in its own.
    pub now: f64,
    /// What `RAND()` hashes, together with the number of the record and the place in the program.
    pub seed: u64,
}

/// What went into a program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompileReport {
    /// Functions used in the cone, upper case, sorted.
    pub functions: Vec<String>,
    /// Volatile functions among them, sorted.
    pub volatile_functions: Vec<String>,
    /// Formulas in the cone.
    pub formulas: usize,
    /// Cells that the cone reads: formulas, constants and inputs.
    pub cells: usize,
    /// Instructions of the program.
    pub instructions: usize,
    /// Columns that are live at the same time, at most.
    pub live_columns: usize,
}

/// A compiled book: immutable, cheap to clone and to share.
#[derive(Debug, Clone)]
pub struct Program {
    graph: Arc<Graph>,
    /// Where the outputs come from in the graph.
    sources: Arc<[Src]>,
    schedule: Arc<Schedule>,
    input_count: usize,
    dates: DateSystem,
    report: Arc<CompileReport>,
}

impl Program {
    /// Compile what the `outputs` need of a book, where every cell of `inputs` is supplied by each record.
    ///
    /// The cells of the ranges count one by one, row-major, in the order of the ranges: so do the columns of [`Self::run`].
    ///
    /// # Errors
    /// A construct that the compiler does not support or a bound that is exceeded, with the cell.
    pub fn compile(
        book: &Book,
        inputs: &[Range],
        outputs: &[Range],
        limits: &Limits,
    ) -> Result<Self, CompileError> {
        Self::compile_or_obstacles(book, inputs, outputs, limits).map_err(|obstacles| {
            let unknown = || CompileError {
                place: "the workbook".to_owned(),
                kind: CompileErrorKind::Unsupported("an unknown construct".to_owned()),
            };
            obstacles.into_iter().next().unwrap_or_else(unknown)
        })
    }

    /// As [`Self::compile`], with everything that is in the way: one obstacle for each cell, up to a hundred, in the order in
    /// which the outputs need them.
    ///
    /// # Errors
    /// The obstacles; never an empty list.
    pub fn compile_or_obstacles(
        book: &Book,
        inputs: &[Range],
        outputs: &[Range],
        limits: &Limits,
    ) -> Result<Self, Vec<CompileError>> {
        let _dates = serial::enter(book.dates);
        let (graph, sources, input_count, report) = compile::compile(book, inputs, outputs, limits)?;
        Ok(Self::scheduled(Arc::new(graph), sources, input_count, book.dates, report))
    }

    /// The same program for some of its outputs only (by their flattened position), in that order.
    pub fn select(&self, outputs: &[usize]) -> Self {
        let sources: Vec<Src> = outputs.iter().filter_map(|i| self.sources.get(*i).copied()).collect();
        Self::scheduled(
            Arc::clone(&self.graph),
            sources,
            self.input_count,
            self.dates,
            (*self.report).clone(),
        )
    }

    fn scheduled(
        graph: Arc<Graph>,
        sources: Vec<Src>,
        input_count: usize,
        dates: DateSystem,
        report: CompileReport,
    ) -> Self {
        let schedule = Schedule::new(&graph, &sources);
        let report = CompileReport {
            instructions: schedule.instructions.len(),
            live_columns: schedule.live,
            ..report
        };
        Self {
            graph,
            sources: sources.into(),
            schedule: Arc::new(schedule),
            input_count,
            dates,
            report: Arc::new(report),
        }
    }

    /// Number of input columns that [`Self::run`] reads.
    pub fn input_count(&self) -> usize {
        self.input_count
    }

    /// Whether any output depends on this input (by its flattened position).
    pub fn reads_input(&self, input: usize) -> bool {
        u32::try_from(input).is_ok_and(|input| self.schedule.inputs.binary_search(&input).is_ok())
    }

    /// Number of output columns that [`Self::run`] writes.
    pub fn output_count(&self) -> usize {
        self.sources.len()
    }

    /// Evaluate `rows` records, at most [`BLOCK`]. A missing or short input column reads as blank.
    /// `first_record` is the number of the first record in its batch or chunk; only `RAND` and its kin look at it.
    pub fn run(
        &self,
        inputs: &[Column],
        rows: usize,
        volatile: &Volatile,
        first_record: u64,
        scratch: &mut Scratch,
        outputs: &mut Vec<Column>,
    ) {
        let rows = rows.min(BLOCK);
        let _dates = serial::enter(self.dates);
        let block = execute::Block {
            schedule: &self.schedule,
            graph: &self.graph,
            inputs,
            rows,
            volatile,
            first_record,
        };
        block.run(scratch, outputs);
    }

    /// What went into the program.
    pub fn report(&self) -> &CompileReport {
        &self.report
    }
}

/// Evaluate cells of a book once, from the values that are saved in it: for defaults that are formulas and for the self-test.
/// The values come row-major, in the order of the ranges.
///
/// # Errors
/// As [`Program::compile`].
pub fn evaluate(
    book: &Book,
    cells: &[Range],
    limits: &Limits,
    volatile: &Volatile,
) -> Result<Vec<Value>, CompileError> {
    let program = Program::compile(book, &[], cells, limits)?;
    let mut outputs = Vec::new();
    program.run(&[], 1, volatile, 0, &mut Scratch::default(), &mut outputs);
    Ok(outputs.iter().map(|column| column.get(0)).collect())
}
