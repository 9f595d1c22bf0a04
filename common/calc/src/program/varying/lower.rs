//! From expressions to plans.

use rustc_hash::FxHashMap;

use super::{Body, Piece, Plan, Read};
use crate::formula::Expr;
use crate::functions::Form;
use crate::program::compile::{Compiler, Lower};
use crate::program::graph::{Array, Op, Operand, Src};
use crate::program::lower::{At, Mode, Shape, unsupported};

/// The pieces that a compilation has made so far.
#[derive(Debug, Default)]
pub(in crate::program) struct Pieces {
    made: Vec<Piece>,
    /// What [`Piece::Argument`] stands for, until a plan is made of the pieces.
    arguments: Vec<Operand>,
    known: FxHashMap<Operand, u32>,
    /// Items that bodies have been compiled for.
    items: u32,
}

impl Pieces {
    fn add(&mut self, piece: Piece) -> u32 {
        self.made.push(piece);
        self.made.len() as u32 - 1
    }

    /// The piece of an operand.
    fn of(&mut self, operand: Operand) -> u32 {
        if let Some(piece) = self.known.get(&operand) {
            return *piece;
        }
        let argument = self.argument(operand);
        let piece = self.add(Piece::Argument(argument));
        self.known.insert(operand, piece);
        piece
    }

    fn argument(&mut self, operand: Operand) -> u32 {
        self.arguments.push(operand);
        self.arguments.len() as u32 - 1
    }

    /// A piece with all that it reads as a plan of its own, and the arguments of that plan.
    fn plan(&self, last: u32) -> (Plan, Vec<Operand>) {
        let mut needed = vec![false; last as usize + 1];
        needed[last as usize] = true;
        for i in (0..=last as usize).rev() {
            if needed[i] {
                for read in self.made[i].reads() {
                    needed[*read as usize] = true;
                }
            }
        }
        let (mut pieces, mut operands) = (Vec::new(), Vec::new());
        let mut places = vec![0; needed.len()];
        let mut known = FxHashMap::default();
        let mut argument = |i: u32| {
            let operand = self.arguments[i as usize];
            *known.entry(operand).or_insert_with(|| {
                operands.push(operand);
                operands.len() as u32 - 1
            })
        };
        for i in (0..needed.len()).filter(|i| needed[*i]) {
            let mut piece = self.made[i].clone();
            for read in piece.reads_mut() {
                *read = places[*read as usize];
            }
            match &mut piece {
                Piece::Argument(i) => *i = argument(*i),
                Piece::Each { body, .. } => {
                    let reads = body.steps.iter_mut().flat_map(|(_, reads)| reads);
                    for read in reads.chain(std::iter::once(&mut body.result)) {
                        if let Read::Argument(i) = read {
                            *i = argument(*i);
                        }
                    }
                }
                _ => {}
            }
            places[i] = pieces.len() as u32;
            pieces.push(piece);
        }
        (Plan { pieces }, operands)
    }
}

/// Whether any of these is an array whose size the inputs decide.
pub(in crate::program) fn any_varies(shapes: &[Shape]) -> bool {
    shapes.iter().any(|shape| matches!(shape, Shape::Varying(_)))
}

impl Compiler<'_> {
    fn piece(&mut self, shape: Shape) -> u32 {
        match shape {
            Shape::Varying(piece) => piece,
            Shape::Src(src) => self.pieces.of(Operand::Src(src)),
            Shape::Array(array) => self.pieces.of(Operand::Array(array)),
            Shape::Omitted => self.pieces.of(Operand::Omitted),
        }
    }

    fn pieces_of(&mut self, shapes: &[Shape]) -> Vec<u32> {
        shapes.iter().map(|shape| self.piece(*shape)).collect()
    }

    /// The first item, as a value of the program.
    pub(in crate::program) fn first_of(&mut self, piece: u32) -> Lower<Src> {
        let (plan, operands) = self.pieces.plan(piece);
        let plan = self.builder.plan(plan);
        Ok(self.builder.add(Op::Vary(plan), &operands)?)
    }

    /// A function with arrays that it takes whole.
    pub(in crate::program) fn varying_call(&mut self, index: u16, shapes: &[Shape]) -> Shape {
        let list = self.pieces_of(shapes);
        Shape::Varying(self.pieces.add(Piece::Call(index, list)))
    }

    /// `ROWS` or `COLUMNS`.
    pub(in crate::program) fn varying_size(&mut self, rows: bool, of: u32) -> Lower<Shape> {
        let piece = self.pieces.add(Piece::Size { rows, of });
        Ok(Shape::Src(self.first_of(piece)?))
    }

    pub(in crate::program) fn varying_index(
        &mut self,
        array: u32,
        args: &[Expr],
        at: &mut At,
        mode: Mode,
    ) -> Lower<Shape> {
        let mut list = vec![array];
        for place in &args[1..] {
            let shape = self.argument(place, at, mode)?;
            if matches!(shape, Shape::Array(_) | Shape::Varying(_)) {
                return Err(unsupported(
                    "INDEX at several places of an array whose size depends on the inputs",
                ));
            }
            list.push(self.piece(shape));
        }
        if list.len() == 1 {
            return Ok(Shape::Varying(array));
        }
        Ok(Shape::Varying(self.pieces.add(Piece::Index(list))))
    }

    pub(in crate::program) fn varying_arrangement(
        &mut self,
        form: Form,
        array: Shape,
        told: &[Shape],
    ) -> Shape {
        let mut list = vec![self.piece(array)];
        list.extend(self.pieces_of(told));
        Shape::Varying(self.pieces.add(Piece::Arrange(form, list)))
    }

    pub(in crate::program) fn varying_sequence(&mut self, told: &[Shape]) -> Shape {
        let list = self.pieces_of(told);
        Shape::Varying(self.pieces.add(Piece::Sequence(list)))
    }

    pub(in crate::program) fn varying_stack(&mut self, across: bool, shapes: &[Shape]) -> Shape {
        let of = self.pieces_of(shapes);
        Shape::Varying(self.pieces.add(Piece::Stack { across, of }))
    }

    /// As [`Compiler::lift`], where at least one array has a size that the inputs decide: `f` is compiled once, for items that only
    /// the evaluation knows.
    pub(in crate::program) fn lift_varying(
        &mut self,
        shapes: &[Shape],
        f: &mut dyn FnMut(&mut Self, &[Src]) -> Lower<Src>,
    ) -> Lower<Shape> {
        let first_node = self.builder.graph.nodes.len() as u32;
        let first_random = self.builder.randoms;
        let (mut over, mut sources, mut items) = (Vec::new(), Vec::new(), FxHashMap::default());
        for shape in shapes {
            sources.push(match shape {
                Shape::Varying(_) | Shape::Array(_) => {
                    self.pieces.items += 1;
                    let item = self.builder.add(Op::Item(self.pieces.items), &[])?;
                    items.insert(item, over.len() as u32);
                    over.push(self.piece(*shape));
                    item
                }
                single => self.first(*single)?,
            });
        }
        let result = f(self, &sources)?;
        if self.builder.randoms != first_random {
            return Err(unsupported(
                "a random number for each item of an array whose size depends on the inputs",
            ));
        }
        let body = self.body(result, first_node, &items)?;
        Ok(Shape::Varying(self.pieces.add(Piece::Each { over, body })))
    }

    /// The operations from the items to a result. Whatever reads no item is an argument.
    fn body(&mut self, result: Src, first_node: u32, items: &FxHashMap<Src, u32>) -> Lower<Body> {
        let several = || unsupported("this function of items of an array whose size depends on the inputs");
        let mut steps: Vec<(Op, Vec<Read>)> = Vec::new();
        let mut reads: FxHashMap<Src, Read> = items.iter().map(|(src, i)| (*src, Read::Item(*i))).collect();
        // Operations come after what they read.
        let Src::Node(last) = result else {
            let argument = self.pieces.argument(Operand::Src(result));
            return Ok(Body { steps, result: Read::Argument(argument) });
        };
        for node in first_node..=last {
            if reads.contains_key(&Src::Node(node)) {
                continue;
            }
            let graph = &self.builder.graph;
            let made = graph.nodes[node as usize];
            let operands = graph.operands[made.start as usize..(made.start + made.length) as usize].to_vec();
            let mut depends = false;
            for operand in &operands {
                match operand {
                    Operand::Src(src) => depends |= reads.contains_key(src),
                    Operand::Array(array) => {
                        if let Array::Mixed { items, .. } = &graph.arrays[*array as usize]
                            && items.iter().any(|src| reads.contains_key(src))
                        {
                            return Err(several());
                        }
                    }
                    Operand::Omitted => {}
                }
            }
            if !depends {
                continue;
            }
            if matches!(made.op, Op::Vary(_)) {
                return Err(several());
            }
            let list = operands
                .into_iter()
                .map(|operand| match operand {
                    Operand::Omitted => Read::Omitted,
                    Operand::Src(src) if reads.contains_key(&src) => reads[&src],
                    other => Read::Argument(self.pieces.argument(other)),
                })
                .collect();
            reads.insert(Src::Node(node), Read::Step(steps.len() as u32));
            steps.push((made.op, list));
        }
        let result = match reads.get(&result) {
            Some(read) => *read,
            None => Read::Argument(self.pieces.argument(Operand::Src(result))),
        };
        Ok(Body { steps, result })
    }
}
