//! A definition as a model of the reference engine.

use std::fmt;
use std::sync::Arc;

use ironcalc_base::Model;
use ironcalc_base::expressions::parser::static_analysis::StaticResult;
use ironcalc_base::expressions::token::Error as EngineError;
use ironcalc_base::types::{Cell, FormulaValue, SpillValue};

use super::definition::{Definition, Packed};
use super::nodes::Place;
use super::{Block, FallbackError, STACK_BYTES, Summary};
use crate::functions::Env;
use crate::program::{Column, MAX_TEXT, random};
use crate::value::{ErrorValue, Value};

mod assemble;
mod build;
mod read;

/// A model that evaluates one definition. Needs a thread with [`STACK_BYTES`] of stack, for loading as well.
pub struct Evaluator {
    model: Model<'static>,
    summary: Summary,
    inputs: Vec<Input>,
    outputs: Vec<Place>,
    volatile: Option<Sites>,
    /// The texts of input cells: each cell has its own place among the shared strings, which the engine never frees.
    first_text: usize,
}

/// An input cell and what it holds now.
struct Input {
    at: Place,
    value: Option<Value>,
}

/// The sheet of cells that stand for volatile functions: the time, the day, and random numbers from there on.
#[derive(Debug, Clone, Copy)]
struct Sites {
    sheet: u32,
    random: u32,
}

impl fmt::Debug for Evaluator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evaluator").field("summary", &self.summary).finish_non_exhaustive()
    }
}

impl Evaluator {
    /// Builds the model, and evaluates it once with the values of the definition.
    ///
    /// # Errors
    ///
    /// [`FallbackError::Refused`] with the cell that the engine cannot calculate.
    pub fn load(definition: &Definition) -> Result<Self, FallbackError> {
        let packed = definition.unpack()?;
        let built = build::build(&packed).map_err(FallbackError::Refused)?;
        let build::Built { mut workbook, formulas, functions, volatile_functions, count, volatile } = built;
        let first_text = workbook.shared_strings.len();
        let cells = |areas: &[super::definition::Rectangle]| {
            areas.iter().flat_map(|area| area.cells()).collect::<Vec<Place>>()
        };
        let inputs: Vec<Input> =
            cells(&packed.inputs).into_iter().map(|at| Input { at, value: None }).collect();
        workbook.shared_strings.resize(first_text + inputs.len(), String::new());
        // The engine reads each formula of the list: a number takes no time, and the trees are put in their place below.
        for (worksheet, formulas) in workbook.worksheets.iter_mut().zip(&formulas) {
            worksheet.shared_formulas = vec!["0".to_owned(); formulas.len()];
        }
        let mut model = Model::from_workbook(workbook, "en").map_err(FallbackError::Crashed)?;
        model.parsed_formulas = formulas
            .into_iter()
            .map(|list| list.into_iter().map(|node| (Arc::new(node), StaticResult::Scalar)).collect())
            .collect();
        model.set_max_evaluation_depth(100_000);
        model.set_max_evaluation_stack(STACK_BYTES / 4);
        let summary = Summary { functions, volatile_functions, formulas: count };
        let outputs = cells(&packed.outputs);
        let mut evaluator = Self { model, summary, inputs, outputs, volatile, first_text };
        evaluator.set_volatile(&Env::default());
        evaluator.model.evaluate();
        evaluator.verify(&packed)?;
        Ok(evaluator)
    }

    /// What loading found out.
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Evaluates a block; answers one column per wanted output.
    pub fn run(&mut self, block: &Block<'_>) -> Vec<Column> {
        let mut values: Vec<Vec<Value>> =
            block.outputs.iter().map(|_| Vec::with_capacity(block.rows)).collect();
        for (row, record) in (0..block.rows).zip(block.first_record..) {
            for index in 0..self.inputs.len() {
                let value = block.inputs.get(index).map_or(Value::Blank, |column| column.get(row));
                self.set(index, value);
            }
            self.set_volatile(&Env { now: block.volatile.now, seed: block.volatile.seed, record });
            self.model.evaluate();
            for (output, values) in block.outputs.iter().zip(&mut values) {
                values.push(self.outputs.get(*output).map_or(Value::Blank, |at| self.value(*at)));
            }
        }
        values.into_iter().map(Column::from_values).collect()
    }

    fn set(&mut self, index: usize, value: Value) {
        let Some(input) = self.inputs.get_mut(index) else { return };
        if input.value.as_ref() == Some(&value) {
            return;
        }
        let cell = match &value {
            Value::Blank => None,
            Value::Number(number) => Some(Cell::NumberCell { v: *number, s: 0 }),
            Value::Boolean(boolean) => Some(Cell::BooleanCell { v: *boolean, s: 0 }),
            Value::Error(error) => Some(Cell::ErrorCell { ei: engine_error(*error), s: 0 }),
            Value::Text(text) => {
                let place = self.first_text + index;
                if let Some(slot) = self.model.workbook.shared_strings.get_mut(place) {
                    text.as_str().clone_into(slot);
                }
                Some(Cell::SharedString { si: i32::try_from(place).unwrap_or(i32::MAX), s: 0 })
            }
        };
        let (sheet, row, column) = input.at;
        input.value = Some(value);
        put(&mut self.model, sheet, row, column, cell);
    }

    fn set_volatile(&mut self, env: &Env) {
        let Some(sites) = self.volatile else { return };
        let fixed = [env.now, env.now.trunc()];
        let random = (0..sites.random).map(|site| random(site, env));
        for (value, row) in fixed.into_iter().chain(random).zip(0..) {
            put(&mut self.model, sites.sheet, row, 0, Some(Cell::NumberCell { v: value, s: 0 }));
        }
    }

    fn value(&self, (sheet, row, column): Place) -> Value {
        let Some(cell) = found(&self.model, sheet, row, column) else { return Value::Blank };
        match cell.as_ref() {
            Cell::EmptyCell { .. } => Value::Blank,
            Cell::BooleanCell { v, .. } => Value::Boolean(*v),
            Cell::NumberCell { v, .. } => Value::from(*v),
            Cell::ErrorCell { ei, .. } => error(ei).into(),
            Cell::SharedString { si, .. } => {
                let text =
                    usize::try_from(*si).ok().and_then(|si| self.model.workbook.shared_strings.get(si));
                Value::from(text.map_or("", String::as_str))
            }
            Cell::CellFormula { v, .. } | Cell::ArrayFormula { v, .. } => match v {
                FormulaValue::Unevaluated => ErrorValue::Value.into(),
                FormulaValue::Boolean(b) => Value::Boolean(*b),
                FormulaValue::Number(x) => Value::from(*x),
                FormulaValue::Text(text) => shown(text),
                FormulaValue::Error { ei, .. } => error(ei).into(),
            },
            Cell::SpillCell { v, .. } => match v {
                SpillValue::Boolean(b) => Value::Boolean(*b),
                SpillValue::Number(x) => Value::from(*x),
                SpillValue::Text(text) => shown(text),
                SpillValue::Error(ei) => error(ei).into(),
            },
        }
    }

    /// Looks for what the engine itself says it cannot calculate.
    fn verify(&self, packed: &Packed) -> Result<(), FallbackError> {
        let mut first = None;
        for (worksheet, sheet) in self.model.workbook.worksheets.iter().zip(&packed.sheets) {
            for (row, column, cell) in worksheet.sheet_data.cells() {
                let (Cell::CellFormula { v, .. } | Cell::ArrayFormula { v, .. }) = cell.as_ref() else {
                    continue;
                };
                let FormulaValue::Error { ei, d } = v else { continue };
                let message = match ei {
                    EngineError::CIRC => "circular reference".to_owned(),
                    EngineError::NIMPL => format!("not supported: {}", d.m),
                    EngineError::ERROR => format!("the formula cannot be calculated: {}", d.m),
                    _ => continue,
                };
                let zero = |number: i32| u32::try_from(number - 1).unwrap_or(0);
                let place = build::place(&sheet.name, zero(row), zero(column));
                let origin = d.o == place;
                let obstacle = super::Obstacle { place, message };
                if origin {
                    return Err(FallbackError::Refused(obstacle));
                }
                first.get_or_insert(obstacle);
            }
        }
        first.map_or(Ok(()), |obstacle| Err(FallbackError::Refused(obstacle)))
    }
}

/// A text result; `#VALUE!` for one that is longer than a cell holds, which the engine does not look at.
fn shown(text: &str) -> Value {
    if text.len() > MAX_TEXT && text.chars().count() > MAX_TEXT {
        return ErrorValue::Value.into();
    }
    Value::from(text)
}

fn found<'m>(
    model: &'m Model<'static>,
    sheet: u32,
    row: u32,
    column: u32,
) -> Option<std::borrow::Cow<'m, Cell>> {
    let worksheet = model.workbook.worksheets.get(usize::try_from(sheet).ok()?)?;
    worksheet.sheet_data.cell(build::one_based(row), build::one_based(column))
}

fn put(model: &mut Model<'static>, sheet: u32, row: u32, column: u32, cell: Option<Cell>) {
    let Ok(sheet) = usize::try_from(sheet) else { return };
    let Some(worksheet) = model.workbook.worksheets.get_mut(sheet) else { return };
    let (row, column) = (build::one_based(row), build::one_based(column));
    match cell {
        None => {
            worksheet.sheet_data.remove_cell(row, column);
        }
        Some(cell) => match worksheet.sheet_data.cell_mut(row, column) {
            Some(known) => *known = cell,
            None => {
                worksheet.sheet_data.set_cell(row, column, cell);
            }
        },
    }
}

/// The engine's error as Excel's. What Excel has no error for comes up at loading; in a branch that only some records take,
/// a circular reference answers `#REF!`, a function that is not there `#NAME?`, anything else `#VALUE!`.
const fn error(error: &EngineError) -> ErrorValue {
    match error {
        EngineError::REF | EngineError::CIRC => ErrorValue::Ref,
        EngineError::NAME | EngineError::NIMPL => ErrorValue::Name,
        EngineError::VALUE | EngineError::ERROR => ErrorValue::Value,
        EngineError::DIV => ErrorValue::Div0,
        EngineError::NA => ErrorValue::NA,
        EngineError::NUM => ErrorValue::Num,
        EngineError::SPILL => ErrorValue::Spill,
        EngineError::CALC => ErrorValue::Calc,
        EngineError::NULL => ErrorValue::Null,
    }
}

const fn engine_error(error: ErrorValue) -> EngineError {
    match error {
        ErrorValue::Null => EngineError::NULL,
        ErrorValue::Div0 => EngineError::DIV,
        ErrorValue::Value | ErrorValue::Field => EngineError::VALUE,
        ErrorValue::Ref => EngineError::REF,
        ErrorValue::Name => EngineError::NAME,
        ErrorValue::Num => EngineError::NUM,
        ErrorValue::NA => EngineError::NA,
        ErrorValue::Spill => EngineError::SPILL,
        ErrorValue::Calc => EngineError::CALC,
    }
}
