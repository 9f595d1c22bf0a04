//! What is looked at before the reference engine reads a formula.
//!
//! The engine recurses over what it reads, reads on where it does not understand, and takes a name for whatever was defined
//! under it first. So a formula is read here as well, and refused where the two could differ.

use formualizer_parse::parser::ReferenceType;
use formualizer_parse::{ASTNode, ASTNodeType, BinaryOperator, UnaryOperator};

use super::functions::{UNREPEATABLE, is_known};
use crate::formula;
use crate::limits::Limits;
use crate::value::fold;

/// How many operators and calls a formula has: both readers must count the same.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
pub(super) struct Shape {
    pub operators: usize,
    pub calls: usize,
}

/// What a name in a formula may stand for.
pub(super) trait Names {
    /// Whether a name of the workbook, of the sheet or of a table is spelt like this.
    fn is_defined(&self, sheet: u32, name: &str) -> bool;
    /// Whether it names a `LAMBDA`.
    fn is_lambda(&self, sheet: u32, name: &str) -> bool;
}

struct Screen<'n> {
    names: &'n dyn Names,
    sheet: u32,
    /// Names bound by `LET` and `LAMBDA`, as spelt.
    locals: Vec<String>,
    shape: Shape,
}

/// Looks a formula through.
///
/// # Errors
///
/// What is in the way, in one sentence.
pub(super) fn screen(text: &str, sheet: u32, names: &dyn Names, limits: &Limits) -> Result<Shape, String> {
    let ast = formula::parse(text, limits).map_err(|kind| kind.to_string())?;
    let mut screen = Screen { names, sheet, locals: Vec::new(), shape: Shape::default() };
    screen.node(&ast)?;
    Ok(screen.shape)
}

fn refused<T>(what: impl std::fmt::Display) -> Result<T, String> {
    Err(format!("{what} is not supported"))
}

/// A function's name without the prefixes that files write.
pub(super) fn bare(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    upper.trim_start_matches("_XLFN.").trim_start_matches("_XLWS.").to_owned()
}

fn local(name: &str) -> &str {
    name.trim_start_matches("_xlpm.").trim_start_matches("_xlop.")
}

impl Screen<'_> {
    fn node(&mut self, ast: &ASTNode) -> Result<(), String> {
        match &ast.node_type {
            ASTNodeType::Literal(_) | ASTNodeType::Omitted => Ok(()),
            ASTNodeType::Reference { original, reference } => self.reference(original, reference),
            ASTNodeType::UnaryOp { op, expr } => match op {
                UnaryOperator::Plus
                | UnaryOperator::Minus
                | UnaryOperator::Percent
                | UnaryOperator::Spill
                | UnaryOperator::ImplicitIntersection => self.node(expr),
                _ => refused("an operator of this formula"),
            },
            ASTNodeType::BinaryOp { op, left, right } => {
                match op {
                    BinaryOperator::Union => return refused("a union of references"),
                    BinaryOperator::Intersection => return refused("an intersection of references"),
                    _ => self.shape.operators += 1,
                }
                self.node(left)?;
                self.node(right)
            }
            ASTNodeType::Function { name, args } => self.call(name, args),
            ASTNodeType::Call { callee, args } => {
                self.shape.calls += 1;
                self.node(callee)?;
                args.iter().try_for_each(|arg| self.node(arg))
            }
            ASTNodeType::Array(rows) => rows.iter().flatten().try_for_each(|item| self.node(item)),
        }
    }

    fn reference(&self, original: &str, reference: &ReferenceType) -> Result<(), String> {
        match reference {
            ReferenceType::External(_) => {
                Err(format!("the reference {original} points into another workbook"))
            }
            ReferenceType::Cell3D { .. } | ReferenceType::Range3D { .. } => {
                refused("a reference over several sheets")
            }
            ReferenceType::NamedRange(name) if name.contains('[') => {
                Err(format!("the reference {original} points into another workbook"))
            }
            ReferenceType::NamedRange(name) if name.contains('!') => {
                refused(format!("the name {name}, qualified with a sheet,"))
            }
            ReferenceType::NamedRange(name) => {
                let name = local(name);
                let same = |local: &String| fold(local) == fold(name);
                match self.locals.iter().rev().find(|local| same(local)) {
                    Some(spelt) if spelt != name => {
                        Err(format!("{name} is spelt {spelt} where it is bound: write it the same way"))
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn call(&mut self, name: &str, args: &[ASTNode]) -> Result<(), String> {
        let function = bare(name);
        match function.as_str() {
            "SINGLE" | "ANCHORARRAY" if name.to_ascii_uppercase().starts_with("_XLFN.") => {
                return args.iter().try_for_each(|arg| self.node(arg));
            }
            "LET" => return self.bindings(args, 2),
            "LAMBDA" => return self.bindings(args, 1),
            _ => {}
        }
        self.shape.calls += 1;
        if name.contains(['!', '[']) {
            return Err(format!("the reference {name} points into another workbook"));
        }
        if UNREPEATABLE.contains(&function.as_str()) {
            return refused(format!("{function} together with what only the fallback knows"));
        }
        let callable = is_known(&function)
            || self.locals.iter().any(|bound| bound == local(name))
            || self.names.is_lambda(self.sheet, name);
        if !callable {
            return refused(format!("the function {function}"));
        }
        args.iter().try_for_each(|arg| self.node(arg))
    }

    /// `LET` (a name in every second place) and `LAMBDA` (a name in every place), up to the last argument.
    fn bindings(&mut self, args: &[ASTNode], step: usize) -> Result<(), String> {
        self.shape.calls += 1;
        let outer = self.locals.len();
        for (index, arg) in args.iter().enumerate() {
            if index + 1 == args.len() || index % step != 0 {
                self.node(arg)?;
                continue;
            }
            let ASTNodeType::Reference { original, reference: ReferenceType::NamedRange(_) } = &arg.node_type
            else {
                return Err("LET and LAMBDA need a name in this place".to_owned());
            };
            let name = local(original.trim_start_matches('[').trim_end_matches(']'));
            if self.names.is_defined(self.sheet, name) {
                return Err(format!("{name} is a name of the workbook and is bound here again: rename one"));
            }
            self.locals.push(name.to_owned());
        }
        self.locals.truncate(outer);
        Ok(())
    }
}
