//! The order of a program: a straight list of instructions over few registers.

use std::sync::Arc;

use super::BLOCK;
use super::execute::Typings;
use super::graph::{Array, Graph, Node, Op, Operand, Src};
use super::table::Table;

/// One step: an operation, its arguments, and the register that takes the result.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instruction {
    pub op: Op,
    pub target: u32,
    pub start: u32,
    pub length: u32,
}

/// An array whose items are registers and constants.
#[derive(Debug, Clone)]
pub(super) enum Rectangle {
    Constant(Arc<Table>),
    Mixed { rows: usize, columns: usize, items: Vec<Src> },
}

/// Instructions in order. [`Src::Node`] means a register here.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    pub instructions: Vec<Instruction>,
    pub operands: Vec<Operand>,
    pub arrays: Vec<Rectangle>,
    pub outputs: Vec<Src>,
    pub registers: usize,
    /// Columns that are live together, at most.
    pub live: usize,
    /// Records that are evaluated at once, so that the live columns fit the processor's cache.
    pub lanes: usize,
    /// Inputs that the instructions read, sorted.
    pub inputs: Vec<u32>,
    /// The typed programs made of it so far.
    pub typings: Typings,
}

/// Bytes of live columns that a run may keep, before it takes fewer records at once.
const CACHE: usize = 512 * 1024;

impl Schedule {
    /// Order what these outputs need.
    pub fn new(graph: &Graph, outputs: &[Src]) -> Self {
        Planner::new(graph).plan(outputs)
    }
}

impl Schedule {
    /// The arguments of an instruction.
    pub fn operands_of(&self, instruction: &Instruction) -> &[Operand] {
        &self.operands[instruction.start as usize..(instruction.start + instruction.length) as usize]
    }
}

struct Planner<'g> {
    graph: &'g Graph,
    needed: Vec<bool>,
    /// Sources of each needed node, without repetition, in order.
    users: Vec<Vec<u32>>,
    pending: Vec<u32>,
    uses: Vec<u32>,
    emitted: Vec<bool>,
    order: Vec<u32>,
}

impl<'g> Planner<'g> {
    fn new(graph: &'g Graph) -> Self {
        let count = graph.nodes.len();
        Self {
            graph,
            needed: vec![false; count],
            users: Vec::new(),
            pending: vec![0; count],
            uses: vec![0; count],
            emitted: vec![false; count],
            order: Vec::new(),
        }
    }

    /// The nodes that a node reads, each once.
    fn sources(&self, node: u32) -> Vec<u32> {
        let Node { start, length, .. } = self.graph.nodes[node as usize];
        let mut list = Vec::new();
        for operand in &self.graph.operands[start as usize..(start + length) as usize] {
            match operand {
                Operand::Src(Src::Node(source)) => list.push(*source),
                Operand::Array(array) => {
                    if let Array::Mixed { items, .. } = &self.graph.arrays[*array as usize] {
                        list.extend(items.iter().filter_map(|src| match src {
                            Src::Node(source) => Some(*source),
                            Src::Const(_) => None,
                        }));
                    }
                }
                Operand::Src(Src::Const(_)) | Operand::Omitted => {}
            }
        }
        if list.len() > 1 {
            let mut seen = rustc_hash::FxHashSet::default();
            list.retain(|source| seen.insert(*source));
        }
        list
    }

    fn plan(mut self, outputs: &[Src]) -> Schedule {
        let roots: Vec<u32> = outputs
            .iter()
            .filter_map(|src| match src {
                Src::Node(node) => Some(*node),
                Src::Const(_) => None,
            })
            .collect();
        self.mark(&roots);
        for root in &roots {
            // An output is read at the end: its register is never free.
            self.uses[*root as usize] += 1;
        }
        for root in &roots {
            self.visit(*root);
        }
        self.allocate(outputs)
    }

    /// Find what is needed, who reads it, and how often.
    fn mark(&mut self, roots: &[u32]) {
        self.users = vec![Vec::new(); self.graph.nodes.len()];
        let mut open = roots.to_vec();
        while let Some(node) = open.pop() {
            if std::mem::replace(&mut self.needed[node as usize], true) {
                continue;
            }
            let sources = self.sources(node);
            self.pending[node as usize] = sources.len() as u32;
            for source in sources {
                self.users[source as usize].push(node);
                self.uses[source as usize] += 1;
                open.push(source);
            }
        }
    }

    /// Emit a node after what it reads, depth first without recursion.
    fn visit(&mut self, root: u32) {
        let mut stack = vec![(root, None::<std::vec::IntoIter<u32>>)];
        while let Some((node, sources)) = stack.last_mut() {
            let node = *node;
            if self.emitted[node as usize] {
                stack.pop();
                continue;
            }
            if sources.is_none() {
                let list = self.sources(node);
                if let Some((_, slot)) = stack.last_mut() {
                    *slot = Some(list.into_iter());
                }
                continue;
            }
            match sources.as_mut().and_then(Iterator::next) {
                Some(source) => {
                    if !self.emitted[source as usize] {
                        stack.push((source, None));
                    }
                }
                None => {
                    stack.pop();
                    self.emit(node);
                }
            }
        }
    }

    /// Emit a node, and then every node that became ready and is the last reader of something: it frees at least as many
    /// columns as it takes. So the steps of a long sum follow the rows that they add.
    fn emit(&mut self, first: u32) {
        let mut open = vec![first];
        while let Some(node) = open.pop() {
            if self.emitted[node as usize] {
                continue;
            }
            self.emitted[node as usize] = true;
            self.order.push(node);
            let sources = self.sources(node);
            for source in &sources {
                self.uses[*source as usize] -= 1;
            }
            let mut candidates = Vec::new();
            for user in &self.users[node as usize] {
                self.pending[*user as usize] -= 1;
                candidates.push(*user);
            }
            for source in sources {
                if self.uses[source as usize] == 1 {
                    let waiting = self.users[source as usize].iter().copied();
                    candidates.extend(waiting.filter(|user| !self.emitted[*user as usize]));
                }
            }
            for user in candidates.into_iter().rev() {
                let ready = !self.emitted[user as usize] && self.pending[user as usize] == 0;
                if ready && self.sources(user).iter().any(|source| self.uses[*source as usize] == 1) {
                    open.push(user);
                }
            }
        }
    }

    /// Give each result a register, and use registers again after the last reader.
    fn allocate(self, outputs: &[Src]) -> Schedule {
        let graph = self.graph;
        let mut schedule = Schedule::default();
        let mut uses = vec![0_u32; graph.nodes.len()];
        let sources: Vec<Vec<u32>> = self.order.iter().map(|node| self.sources(*node)).collect();
        for source in sources.iter().flatten() {
            uses[*source as usize] += 1;
        }
        for output in outputs {
            if let Src::Node(node) = output {
                uses[*node as usize] += 1;
            }
        }
        let mut register = vec![u32::MAX; graph.nodes.len()];
        let mut free: Vec<u32> = Vec::new();
        let mut arrays = rustc_hash::FxHashMap::default();
        for (node, sources) in self.order.iter().zip(&sources) {
            let Node { op, start, length } = graph.nodes[*node as usize];
            if let Op::Input(input) = op {
                schedule.inputs.push(input);
            }
            let first = schedule.operands.len() as u32;
            let place = |src: &Src| match src {
                Src::Node(node) => Src::Node(register[*node as usize]),
                constant => *constant,
            };
            for operand in &graph.operands[start as usize..(start + length) as usize] {
                let operand = match operand {
                    Operand::Src(src) => Operand::Src(place(src)),
                    Operand::Omitted => Operand::Omitted,
                    Operand::Array(array) => Operand::Array(match &graph.arrays[*array as usize] {
                        Array::Constant(table) => *arrays.entry(*array).or_insert_with(|| {
                            schedule.arrays.push(Rectangle::Constant(Arc::clone(table)));
                            schedule.arrays.len() as u32 - 1
                        }),
                        // The registers of the same items may differ from one instruction to the next.
                        Array::Mixed { rows, columns, items } => {
                            let items = items.iter().map(place).collect();
                            schedule.arrays.push(Rectangle::Mixed { rows: *rows, columns: *columns, items });
                            schedule.arrays.len() as u32 - 1
                        }
                    }),
                };
                schedule.operands.push(operand);
            }
            // The result never takes a register that its own operation reads.
            let target = free.pop().unwrap_or_else(|| {
                schedule.registers += 1;
                schedule.registers as u32 - 1
            });
            register[*node as usize] = target;
            schedule.instructions.push(Instruction { op, target, start: first, length });
            for source in sources {
                uses[*source as usize] -= 1;
                if uses[*source as usize] == 0 {
                    free.push(register[*source as usize]);
                }
            }
            schedule.live = schedule.live.max(schedule.registers - free.len());
        }
        schedule.inputs.sort_unstable();
        schedule.outputs = outputs
            .iter()
            .map(|src| match src {
                Src::Node(node) => Src::Node(register[*node as usize]),
                constant => *constant,
            })
            .collect();
        schedule.lanes = BLOCK;
        while schedule.lanes > 16 && schedule.live * schedule.lanes * 8 > CACHE {
            schedule.lanes /= 2;
        }
        schedule
    }
}
