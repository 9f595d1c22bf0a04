//! From formula text to an [`Expr`]: screen, parse, and resolve names, sheets and tables.

use formualizer_parse::parser::ReferenceType;
use formualizer_parse::{
    ASTNode, ASTNodeType, BinaryOperator, ExcelErrorKind, LiteralValue, Parser, ParserLimits, UnaryOperator,
};
use rustc_hash::FxHashMap;

use super::reference::{self, intersect};
use super::{Binary, Expr, Unary};
use crate::book::{Book, Range};
use crate::functions::{self, Form, Kind};
use crate::limits::Limits;
use crate::program::{CompileError, CompileErrorKind};
use crate::value::{ErrorValue, Value, fold};

/// The last row of a sheet, zero-based.
pub(crate) const MAX_ROW: u32 = 1_048_575;
/// The last column of a sheet, zero-based.
pub(crate) const MAX_COLUMN: u32 = 16_383;

/// How deep expressions may nest through names, left-leaning chains not counted.
const DEPTH: usize = 256;
/// Expressions that one formula may become, names expanded.
const NODES: usize = 200_000;

/// Resolves formulas against one book.
#[derive(Debug)]
pub(crate) struct Resolver<'b> {
    pub(super) book: &'b Book,
    limits: Limits,
    pub(super) sheets: FxHashMap<String, u32>,
    names: FxHashMap<(Option<u32>, String), usize>,
    pub(super) tables: FxHashMap<String, usize>,
    /// Last used row and column of each sheet.
    used: Vec<(u32, u32)>,
}

/// Where a formula stands, and what is known while walking it.
struct Walk {
    sheet: u32,
    cell: Option<(u32, u32)>,
    depth: usize,
    nodes: usize,
    locals: Vec<String>,
    open_names: Vec<usize>,
}

type Resolved = Result<Expr, CompileErrorKind>;

impl<'b> Resolver<'b> {
    pub fn new(book: &'b Book, inputs: &[Range], limits: &Limits) -> Self {
        let mut used: Vec<(u32, u32)> = book
            .sheets
            .iter()
            .map(|sheet| sheet.cells.keys().fold((0, 0), |(r, c), key| (r.max(key.0), c.max(key.1))))
            .collect();
        for input in inputs {
            if let Some((row, column)) = used.get_mut(input.sheet as usize) {
                *row = (*row).max(input.last_row);
                *column = (*column).max(input.last_column);
            }
        }
        let sheets =
            book.sheets.iter().zip(0..).map(|(sheet, i)| (fold(&sheet.name).into_owned(), i)).collect();
        let names = book
            .names
            .iter()
            .enumerate()
            .map(|(i, name)| ((name.sheet, fold(&name.name).into_owned()), i))
            .collect();
        let tables = book.tables.iter().enumerate().map(|(i, t)| (fold(&t.name).into_owned(), i)).collect();
        Self { book, limits: limits.clone(), sheets, names, tables, used }
    }

    /// A range whose open ends stop at the used area of its sheet: whole columns and rows. At least its first cell.
    pub fn clip(&self, range: Range) -> Range {
        /// Cells of a range that is taken as it is.
        const AS_IT_IS: u64 = 200_000;
        let (row, column) = self.used.get(range.sheet as usize).copied().unwrap_or_default();
        let large = u64::from(range.rows()) * u64::from(range.columns()) > AS_IT_IS;
        let mut clipped = range;
        if range.last_row == MAX_ROW || (large && range.last_column != MAX_COLUMN) {
            clipped.last_row = range.last_row.min(row.max(range.first_row));
        }
        if range.last_column == MAX_COLUMN {
            clipped.last_column = range.last_column.min(column.max(range.first_column));
        }
        clipped
    }

    /// `Sheet!A1`.
    pub fn place(&self, sheet: u32, row: u32, column: u32) -> String {
        let name = self.book.sheets.get(sheet as usize).map_or("?", |s| s.name.as_str());
        format!("{name}!{}", reference::a1(row, column))
    }

    /// The expression of the formula of a cell.
    pub fn formula(&self, sheet: u32, row: u32, column: u32, text: &str) -> Result<Expr, CompileError> {
        let mut walk = Walk {
            sheet,
            cell: Some((row, column)),
            depth: 0,
            nodes: 0,
            locals: Vec::new(),
            open_names: Vec::new(),
        };
        self.text(text, &mut walk)
            .map_err(|kind| CompileError { place: self.place(sheet, row, column), kind })
    }

    /// A reference given as text, for `INDIRECT`.
    pub fn reference_text(&self, text: &str, sheet: u32, cell: (u32, u32)) -> Option<Range> {
        let mut walk =
            Walk { sheet, cell: Some(cell), depth: 0, nodes: 0, locals: Vec::new(), open_names: Vec::new() };
        match self.text(text, &mut walk) {
            Ok(Expr::Reference(range)) => Some(range),
            _ => None,
        }
    }

    fn text(&self, text: &str, walk: &mut Walk) -> Resolved {
        let ast = parse(text, &self.limits)?;
        self.node(&ast, walk)
    }

    fn node(&self, ast: &ASTNode, walk: &mut Walk) -> Resolved {
        walk.nodes += 1;
        if walk.nodes > NODES {
            return Err(CompileErrorKind::TooLarge { limit: NODES, unit: "expressions in one formula" });
        }
        walk.depth += 1;
        if walk.depth > DEPTH {
            return Err(CompileErrorKind::TooDeep { limit: DEPTH });
        }
        let result = self.node_inner(ast, walk);
        walk.depth -= 1;
        result
    }

    fn node_inner(&self, ast: &ASTNode, walk: &mut Walk) -> Resolved {
        match &ast.node_type {
            ASTNodeType::Literal(literal) => Ok(Expr::Value(literal_value(literal)?)),
            ASTNodeType::Omitted => Ok(Expr::Omitted),
            ASTNodeType::Reference { original, reference } => self.reference(original, reference, walk),
            ASTNodeType::UnaryOp { op, expr } => {
                let inner = self.node(expr, walk)?;
                let op = match op {
                    UnaryOperator::Plus => return Ok(inner),
                    UnaryOperator::Minus => Unary::Negate,
                    UnaryOperator::Percent => Unary::Percent,
                    UnaryOperator::ImplicitIntersection => Unary::Intersect,
                    _ => return Err(CompileErrorKind::Unsupported("the spill operator #".to_owned())),
                };
                Ok(match (op, inner) {
                    (Unary::Negate, Expr::Value(Value::Number(x))) => Expr::Value(Value::Number(-x)),
                    (op, inner) => Expr::Unary(op, Box::new(inner)),
                })
            }
            ASTNodeType::BinaryOp { .. } => self.chain(ast, walk),
            ASTNodeType::Function { name, args } => self.call(name, args, walk),
            ASTNodeType::Call { .. } => Err(CompileErrorKind::Unsupported("calling a LAMBDA".to_owned())),
            ASTNodeType::Array(rows) => {
                let columns = rows.first().map_or(0, Vec::len);
                let mut items = Vec::with_capacity(rows.len() * columns);
                for item in rows.iter().flatten() {
                    items.push(self.node(item, walk)?);
                }
                if columns == 0 || items.len() != rows.len() * columns {
                    return Err(CompileErrorKind::Syntax("the array literal is not a rectangle".to_owned()));
                }
                Ok(Expr::Array { rows: rows.len(), columns, items })
            }
        }
    }

    /// A left-leaning chain of binary operators, without recursion along its spine.
    fn chain(&self, ast: &ASTNode, walk: &mut Walk) -> Resolved {
        let mut spine = Vec::new();
        let mut node = ast;
        while let ASTNodeType::BinaryOp { op, left, right } = &node.node_type {
            spine.push((*op, right));
            node = left;
        }
        let mut left = self.node(node, walk)?;
        for (op, right) in spine.into_iter().rev() {
            let right = self.node(right, walk)?;
            left = self.binary(op, left, right)?;
        }
        Ok(left)
    }

    fn binary(&self, op: BinaryOperator, left: Expr, right: Expr) -> Resolved {
        let op = match op {
            BinaryOperator::Add => Binary::Add,
            BinaryOperator::Subtract => Binary::Subtract,
            BinaryOperator::Multiply => Binary::Multiply,
            BinaryOperator::Divide => Binary::Divide,
            BinaryOperator::Power => Binary::Power,
            BinaryOperator::Concat => Binary::Concat,
            BinaryOperator::Equal => Binary::Equal,
            BinaryOperator::NotEqual => Binary::NotEqual,
            BinaryOperator::Less => Binary::Less,
            BinaryOperator::LessEqual => Binary::LessEqual,
            BinaryOperator::Greater => Binary::Greater,
            BinaryOperator::GreaterEqual => Binary::GreaterEqual,
            BinaryOperator::Range => {
                if let (Expr::Reference(a), Expr::Reference(b)) = (&left, &right)
                    && let Some(range) = reference::span(*a, *b)
                {
                    return Ok(Expr::Reference(range));
                }
                return Ok(Expr::Span(Box::new(left), Box::new(right)));
            }
            BinaryOperator::Union => {
                let mut areas = areas_of(left)?;
                areas.extend(areas_of(right)?);
                return Ok(Expr::Areas(areas));
            }
            BinaryOperator::Intersection => {
                return match (left, right) {
                    (Expr::Reference(a), Expr::Reference(b)) => Ok(match intersect(a, b) {
                        Some(range) => Expr::Reference(range),
                        None => Expr::Value(ErrorValue::Null.into()),
                    }),
                    _ => Err(CompileErrorKind::Unsupported(
                        "an intersection of computed references".to_owned(),
                    )),
                };
            }
            other => return Err(CompileErrorKind::Unsupported(format!("the operator {other}"))),
        };
        Ok(Expr::Binary(op, Box::new(left), Box::new(right)))
    }

    fn call(&self, name: &str, args: &[ASTNode], walk: &mut Walk) -> Resolved {
        let Some((index, function)) = functions::find(name) else {
            if name.contains(['!', '[']) {
                return Err(CompileErrorKind::ExternalReference(name.to_owned()));
            }
            return Err(CompileErrorKind::UnknownFunction(name.to_uppercase()));
        };
        if args.len() < usize::from(function.min)
            || (function.max < 255 && args.len() > usize::from(function.max))
        {
            let expected = match (function.min, function.max) {
                (min, 255) => format!("at least {min}"),
                (min, max) if min == max => min.to_string(),
                (min, max) => format!("{min} to {max}"),
            };
            return Err(CompileErrorKind::ArgumentCount {
                function: function.name.to_owned(),
                expected,
                given: args.len(),
            });
        }
        if let Kind::Form(Form::Let) = function.kind {
            return self.let_call(index, args, walk);
        }
        let args = args.iter().map(|arg| self.node(arg, walk)).collect::<Result<Vec<_>, _>>()?;
        Ok(Expr::Call(index, function, args))
    }

    /// `LET(name, value, …, result)`: the names become locals of what follows.
    fn let_call(&self, index: u16, args: &[ASTNode], walk: &mut Walk) -> Resolved {
        if args.len().is_multiple_of(2) {
            return Err(CompileErrorKind::Syntax("LET takes names with values, and a result".to_owned()));
        }
        let outer = walk.locals.len();
        let mut list = Vec::with_capacity(args.len());
        for pair in args.chunks(2) {
            match pair {
                [name, value] => {
                    let ASTNodeType::Reference { original, .. } = &name.node_type else {
                        return Err(CompileErrorKind::Syntax(
                            "LET needs a name before each value".to_owned(),
                        ));
                    };
                    let value = self.node(value, walk)?;
                    let name = local_name(original);
                    walk.locals.push(name.clone());
                    list.push(Expr::Local(name));
                    list.push(value);
                }
                [result] => list.push(self.node(result, walk)?),
                _ => {}
            }
        }
        walk.locals.truncate(outer);
        Ok(Expr::Call(index, functions::by_index(index), list))
    }

    fn reference(&self, original: &str, reference: &ReferenceType, walk: &mut Walk) -> Resolved {
        if !walk.locals.is_empty() {
            let local = local_name(original);
            if walk.locals.contains(&local) {
                return Ok(Expr::Local(local));
            }
        }
        match reference {
            ReferenceType::NamedRange(name) => self.name(name, walk),
            ReferenceType::Table(table) => self.table(table, walk.sheet, walk.cell),
            other => self.cells(original, other, walk.sheet),
        }
    }

    /// A defined name: of its sheet, of the formula's sheet, of the workbook; or else a table's data.
    fn name(&self, text: &str, walk: &mut Walk) -> Resolved {
        let (qualifier, name) = match text.rsplit_once('!') {
            Some((sheet, name)) => (Some(sheet.trim_matches('\'').replace("''", "'")), name),
            None => (None, text),
        };
        let folded = fold(name).into_owned();
        let sheet = match &qualifier {
            Some(sheet) if sheet.contains('[') => {
                return Err(CompileErrorKind::ExternalReference(text.to_owned()));
            }
            Some(sheet) => self.sheets.get(fold(sheet).as_ref()).copied(),
            None => Some(walk.sheet),
        };
        let found =
            self.names.get(&(sheet, folded.clone())).or_else(|| self.names.get(&(None, folded.clone())));
        let Some(&index) = found else {
            if qualifier.is_none() && self.tables.contains_key(&folded) {
                return self.table_data(&folded);
            }
            return Ok(Expr::Value(ErrorValue::Name.into()));
        };
        if walk.open_names.contains(&index) {
            return Err(CompileErrorKind::Circular(format!("the name {name} is defined by itself")));
        }
        let definition = &self.book.names[index];
        walk.open_names.push(index);
        let outer = std::mem::take(&mut walk.locals);
        let sheet = walk.sheet;
        walk.sheet = definition.sheet.unwrap_or(sheet);
        let result = self.text(&definition.definition, walk);
        walk.sheet = sheet;
        walk.locals = outer;
        walk.open_names.pop();
        result.map_err(|kind| match kind {
            CompileErrorKind::Syntax(message) => {
                CompileErrorKind::Syntax(format!("in the name {name}: {message}"))
            }
            other => other,
        })
    }
}

/// The key of a `LET` name; files write `_xlpm.` before it.
fn local_name(text: &str) -> String {
    let folded = fold(text).into_owned();
    folded.strip_prefix("_xlpm.").map_or(folded.clone(), str::to_owned)
}

fn areas_of(expr: Expr) -> Result<Vec<Range>, CompileErrorKind> {
    match expr {
        Expr::Reference(range) => Ok(vec![range]),
        Expr::Areas(list) => Ok(list),
        _ => Err(CompileErrorKind::Unsupported("a union of computed references".to_owned())),
    }
}

fn literal_value(literal: &LiteralValue) -> Result<Value, CompileErrorKind> {
    Ok(match literal {
        LiteralValue::Int(i) => Value::Number(*i as f64),
        LiteralValue::Number(x) => Value::from(*x),
        LiteralValue::Text(text) => Value::from(text.as_str()),
        LiteralValue::Boolean(b) => Value::Boolean(*b),
        LiteralValue::Empty => Value::Blank,
        LiteralValue::Error(error) => Value::Error(match error.kind {
            ExcelErrorKind::Null => ErrorValue::Null,
            ExcelErrorKind::Ref => ErrorValue::Ref,
            ExcelErrorKind::Name => ErrorValue::Name,
            ExcelErrorKind::Value => ErrorValue::Value,
            ExcelErrorKind::Div => ErrorValue::Div0,
            ExcelErrorKind::Na => ErrorValue::NA,
            ExcelErrorKind::Num => ErrorValue::Num,
            ExcelErrorKind::Spill => ErrorValue::Spill,
            ExcelErrorKind::Calc => ErrorValue::Calc,
            _ => return Err(CompileErrorKind::Syntax(format!("unknown error value {error}"))),
        }),
        _ => return Err(CompileErrorKind::Unsupported("this literal".to_owned())),
    })
}

/// The tree of a formula, as it is written.
pub(crate) fn parse(text: &str, limits: &Limits) -> Result<ASTNode, CompileErrorKind> {
    let text = text.strip_prefix('=').unwrap_or(text);
    screen(text, limits)?;
    let parser = ParserLimits::default().with_pratt_frames(200).with_ast_height(4200).with_ast_nodes(20_000);
    Parser::builder()
        .limits(parser)
        .parse(format!("={text}"))
        .map_err(|error| CompileErrorKind::Syntax(error.message))
}

/// Refuse, before parsing, what is too long or nests too deep.
fn screen(text: &str, limits: &Limits) -> Result<(), CompileErrorKind> {
    // Bytes bound characters from above, so most formulas are counted at no cost.
    if text.len() > limits.formula_length {
        let length = text.chars().count();
        if length > limits.formula_length {
            return Err(CompileErrorKind::TooLong { length, limit: limits.formula_length });
        }
    }
    let (mut depth, mut quote) = (0_usize, None);
    for byte in text.bytes() {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            (None, b'(' | b'{' | b'[') => {
                depth += 1;
                if depth > limits.formula_nesting {
                    return Err(CompileErrorKind::TooDeep { limit: limits.formula_nesting });
                }
            }
            (None, b')' | b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}
