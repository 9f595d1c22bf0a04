//! The reference engine's trees: names replaced by what they stand for, volatile functions by cells, references found.

use std::collections::BTreeSet;

use ironcalc_base::expressions::parser::Node;
use ironcalc_base::expressions::parser::static_analysis::add_implicit_intersection;
use ironcalc_base::language::get_default_language;

use super::definition::Rectangle;
use super::screen::Shape;

/// Where a formula stands: sheet, row and column, all from 0.
pub(super) type Place = (u32, u32, u32);

/// The last row and column of a sheet, from 1.
const LAST_ROW: i32 = 1_048_576;
const LAST_COLUMN: i32 = 16_384;

/// What the nodes of a formula are replaced by.
pub(super) trait Rewrite {
    /// The tree of a name's definition, rewritten as well; `None` leaves the name as it is.
    fn name(&mut self, name: &str, scope: Option<u32>) -> Result<Option<Node>, String>;
    /// The data of a table.
    fn table(&mut self, name: &str) -> Result<Rectangle, String>;
    /// The cell that stands for a volatile function without arguments.
    fn volatile(&mut self, function: &str) -> Option<Node>;
    /// A function is used.
    fn function(&mut self, name: &str);
    /// A function is called that is defined by a name of the workbook, or bound in the formula.
    fn named_function(&mut self, name: &str) -> Result<(), String>;
}

/// How many operators and calls the engine read.
pub(super) fn shape(node: &Node) -> Shape {
    let mut shape = Shape::default();
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        match node {
            Node::OpRangeKind { .. }
            | Node::OpConcatenateKind { .. }
            | Node::OpSumKind { .. }
            | Node::OpProductKind { .. }
            | Node::OpPowerKind { .. }
            | Node::CompareKind { .. } => shape.operators += 1,
            Node::FunctionKind { .. }
            | Node::NamedFunctionKind { .. }
            | Node::LambdaDefKind { .. }
            | Node::LambdaCallKind { .. } => shape.calls += 1,
            _ => {}
        }
        open.extend(children(node));
    }
    shape
}

fn children(node: &Node) -> Vec<&Node> {
    match node {
        Node::OpRangeKind { left, right }
        | Node::OpConcatenateKind { left, right }
        | Node::OpSumKind { left, right, .. }
        | Node::OpProductKind { left, right, .. }
        | Node::OpPowerKind { left, right }
        | Node::CompareKind { left, right, .. } => vec![left, right],
        Node::FunctionKind { args, .. } | Node::NamedFunctionKind { args, .. } => args.iter().collect(),
        Node::LambdaDefKind { body, .. } => vec![body],
        Node::LambdaCallKind { lambda, args } => std::iter::once(&**lambda).chain(args).collect(),
        Node::ImplicitIntersection { child, .. } | Node::SpillRangeOperator { child } => vec![child],
        Node::UnaryKind { right, .. } => vec![right],
        _ => Vec::new(),
    }
}

fn children_mut(node: &mut Node) -> Vec<&mut Node> {
    match node {
        Node::OpRangeKind { left, right }
        | Node::OpConcatenateKind { left, right }
        | Node::OpSumKind { left, right, .. }
        | Node::OpProductKind { left, right, .. }
        | Node::OpPowerKind { left, right }
        | Node::CompareKind { left, right, .. } => vec![left, right],
        Node::FunctionKind { args, .. } | Node::NamedFunctionKind { args, .. } => args.iter_mut().collect(),
        Node::LambdaDefKind { body, .. } => vec![body],
        Node::LambdaCallKind { lambda, args } => std::iter::once(&mut **lambda).chain(args).collect(),
        Node::ImplicitIntersection { child, .. } | Node::SpillRangeOperator { child } => vec![child],
        Node::UnaryKind { right, .. } => vec![right],
        _ => Vec::new(),
    }
}

/// Rewrites a tree in place.
pub(super) fn rewrite(node: &mut Node, with: &mut dyn Rewrite) -> Result<(), String> {
    match node {
        Node::ParseErrorKind { message, .. } => {
            return Err(format!("the formula cannot be read: {message}"));
        }
        Node::DefinedNameKind((name, scope, _)) => {
            if let Some(definition) = with.name(name, *scope)? {
                *node = definition;
            }
            return Ok(());
        }
        Node::TableNameKind(name) => {
            *node = rectangle(with.table(name)?);
            return Ok(());
        }
        Node::FunctionKind { kind, args } => {
            let name = kind.to_localized_name(get_default_language());
            with.function(&name);
            if args.is_empty()
                && let Some(cell) = with.volatile(&name)
            {
                *node = cell;
                return Ok(());
            }
        }
        Node::NamedFunctionKind { name, .. } => with.named_function(name)?,
        _ => {}
    }
    children_mut(node).into_iter().try_for_each(|child| rewrite(child, with))
}

/// The tree of a plain formula (one that is no array formula): where one value is wanted, a range gives the one of the formula's
/// own row or column.
pub(super) fn scalar(node: &mut Node) {
    add_implicit_intersection(node, true);
    let computed = matches!(node, Node::LambdaCallKind { .. } | Node::NamedFunctionKind { .. })
        || matches!(node, Node::FunctionKind { kind, .. }
            if kind.to_localized_name(get_default_language()) == "LET");
    if computed {
        *node = Node::ImplicitIntersection { automatic: true, child: Box::new(node.clone()) };
    }
}

/// An absolute reference to one cell of a sheet, row and column from 1.
pub(super) fn cell(sheet: u32, name: &str, row: i32, column: i32) -> Node {
    Node::ReferenceKind {
        sheet_name: Some(name.to_owned()),
        sheet_index: sheet,
        absolute_row: true,
        absolute_column: true,
        row,
        column,
    }
}

fn rectangle(area: Rectangle) -> Node {
    let place = |number: u32| i32::try_from(number).map_or(LAST_ROW, |number| number + 1);
    Node::RangeKind {
        sheet_name: None,
        sheet_index: area.sheet,
        absolute_row1: true,
        absolute_column1: true,
        row1: place(area.first_row),
        column1: place(area.first_column),
        absolute_row2: true,
        absolute_column2: true,
        row2: place(area.last_row),
        column2: place(area.last_column),
    }
}

/// What a formula reads.
#[derive(Debug, Default)]
pub(super) struct Reads {
    pub areas: Vec<Rectangle>,
    /// Whether it may also read what only its calculation tells.
    pub computed: bool,
}

/// What a formula at a place reads.
pub(super) fn reads(node: &Node, at: Place) -> Reads {
    let mut reads = Reads::default();
    let here = |first: u32, offset: i32, absolute: bool, last: i32| -> Option<u32> {
        let place = if absolute { offset } else { i32::try_from(first).ok()? + 1 + offset };
        (1..=last).contains(&place).then(|| u32::try_from(place - 1).ok()).flatten()
    };
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        match node {
            Node::ReferenceKind { sheet_index, absolute_row, absolute_column, row, column, .. } => {
                let row = here(at.1, *row, *absolute_row, LAST_ROW);
                let column = here(at.2, *column, *absolute_column, LAST_COLUMN);
                if let (Some(row), Some(column)) = (row, column) {
                    reads.areas.push(Rectangle {
                        sheet: *sheet_index,
                        first_row: row,
                        first_column: column,
                        last_row: row,
                        last_column: column,
                    });
                }
            }
            Node::RangeKind {
                sheet_index,
                absolute_row1,
                absolute_column1,
                row1,
                column1,
                absolute_row2,
                absolute_column2,
                row2,
                column2,
                ..
            } => {
                let row1 = here(at.1, *row1, *absolute_row1, LAST_ROW);
                let row2 = here(at.1, *row2, *absolute_row2, LAST_ROW);
                let column1 = here(at.2, *column1, *absolute_column1, LAST_COLUMN);
                let column2 = here(at.2, *column2, *absolute_column2, LAST_COLUMN);
                if let (Some(row1), Some(row2), Some(column1), Some(column2)) = (row1, row2, column1, column2)
                {
                    reads.areas.push(Rectangle {
                        sheet: *sheet_index,
                        first_row: row1.min(row2),
                        first_column: column1.min(column2),
                        last_row: row1.max(row2),
                        last_column: column1.max(column2),
                    });
                }
            }
            Node::OpRangeKind { .. } | Node::NamedFunctionKind { .. } => reads.computed = true,
            Node::FunctionKind { kind, .. } => {
                let name = kind.to_localized_name(get_default_language());
                reads.computed |= matches!(name.as_str(), "OFFSET" | "INDIRECT");
            }
            _ => {}
        }
        open.extend(children(node));
    }
    reads
}

/// Names of functions, for reports.
pub(super) type Functions = BTreeSet<String>;
