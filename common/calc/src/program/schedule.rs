//! The order of a program: a straight list of instructions over few registers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// Which schedule of this process it is.
    pub id: u64,
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

/// The number of the next schedule of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Bytes of live columns that a run may keep, before it takes fewer records at once.
const CACHE: usize = 512 * 1024;

impl Schedule {
    /// Order what these outputs need. Of several orders, the one that keeps the fewest columns at once.
    pub fn new(graph: &Graph, outputs: &[Src]) -> Self {
        let cone = Cone::new(graph, outputs);
        let orders = [cone.depth_first(), cone.by_place(|place| place.0), cone.by_place(|place| place.1)];
        let best = orders.into_iter().min_by_key(|order| cone.live(order)).unwrap_or_default();
        cone.allocate(best, outputs)
    }
}

impl Schedule {
    /// How often the result of each instruction is read, by instruction.
    pub fn uses(&self) -> Vec<u32> {
        let mut count = vec![0; self.instructions.len()];
        let mut writer = vec![usize::MAX; self.registers];
        let mut read = |writer: &[usize], src: &Src| {
            if let Src::Node(register) = src
                && let Some(count) = count.get_mut(writer[*register as usize])
            {
                *count += 1;
            }
        };
        for (index, instruction) in self.instructions.iter().enumerate() {
            for operand in self.operands_of(instruction) {
                match operand {
                    Operand::Src(src) => read(&writer, src),
                    Operand::Array(array) => {
                        if let Rectangle::Mixed { items, .. } = &self.arrays[*array as usize] {
                            items.iter().for_each(|src| read(&writer, src));
                        }
                    }
                    Operand::Omitted => {}
                }
            }
            writer[instruction.target as usize] = index;
        }
        self.outputs.iter().for_each(|src| read(&writer, src));
        count
    }

    /// The arguments of an instruction.
    pub fn operands_of(&self, instruction: &Instruction) -> &[Operand] {
        &self.operands[instruction.start as usize..(instruction.start + instruction.length) as usize]
    }
}

/// The nodes that some outputs need.
struct Cone<'g> {
    graph: &'g Graph,
    roots: Vec<u32>,
    /// Sources of each needed node, without repetition, in order.
    sources: Vec<Vec<u32>>,
    users: Vec<Vec<u32>>,
    /// How often each node is read: by other nodes, and once more by an output, whose register is never free.
    uses: Vec<u32>,
    needed: Vec<bool>,
}

impl<'g> Cone<'g> {
    fn new(graph: &'g Graph, outputs: &[Src]) -> Self {
        let count = graph.nodes.len();
        let mut roots: Vec<u32> = Vec::new();
        for src in outputs {
            if let Src::Node(node) = src {
                roots.push(*node);
            }
        }
        let mut cone = Self {
            graph,
            roots,
            sources: vec![Vec::new(); count],
            users: vec![Vec::new(); count],
            uses: vec![0; count],
            needed: vec![false; count],
        };
        for root in &cone.roots {
            cone.uses[*root as usize] += 1;
        }
        let mut open = cone.roots.clone();
        while let Some(node) = open.pop() {
            if std::mem::replace(&mut cone.needed[node as usize], true) {
                continue;
            }
            let sources = sources(graph, node);
            for source in &sources {
                cone.users[*source as usize].push(node);
                cone.uses[*source as usize] += 1;
                open.push(*source);
            }
            cone.sources[node as usize] = sources;
        }
        cone
    }

    /// How many columns an order keeps at once, at most.
    fn live(&self, order: &[u32]) -> usize {
        let mut uses = self.uses.clone();
        let (mut live, mut most) = (0_usize, 0);
        for node in order {
            live += 1;
            most = most.max(live);
            for source in &self.sources[*node as usize] {
                uses[*source as usize] -= 1;
                live -= usize::from(uses[*source as usize] == 0);
            }
        }
        most
    }

    /// Whatever is ready, by the place of its cell along the rows or the columns: a schedule or a cash flow is computed period
    /// by period, however its formulas lead from sheet to sheet.
    fn by_place(&self, along: impl Fn((u32, u32)) -> u32) -> Vec<u32> {
        let mut pending: Vec<u32> = self.sources.iter().map(|sources| sources.len() as u32).collect();
        let mut ready = BinaryHeap::new();
        let entry = |node: u32| Reverse((along(self.graph.places[node as usize]), node));
        for node in 0..self.graph.nodes.len() as u32 {
            if self.needed[node as usize] && pending[node as usize] == 0 {
                ready.push(entry(node));
            }
        }
        let mut order = Vec::new();
        while let Some(Reverse((_, node))) = ready.pop() {
            order.push(node);
            for user in &self.users[node as usize] {
                pending[*user as usize] -= 1;
                if pending[*user as usize] == 0 {
                    ready.push(entry(*user));
                }
            }
        }
        order
    }

    /// Output after output, each node after what it reads.
    fn depth_first(&self) -> Vec<u32> {
        let mut walk = Walk {
            cone: self,
            pending: self.sources.iter().map(|sources| sources.len() as u32).collect(),
            uses: self.uses.clone(),
            emitted: vec![false; self.graph.nodes.len()],
            order: Vec::new(),
        };
        for root in &self.roots {
            walk.visit(*root);
        }
        walk.order
    }

    /// Give each result a register, and use registers again after the last reader.
    fn allocate(&self, order: Vec<u32>, outputs: &[Src]) -> Schedule {
        let graph = self.graph;
        let mut schedule = Schedule { id: NEXT.fetch_add(1, Ordering::Relaxed), ..Schedule::default() };
        let mut uses = self.uses.clone();
        let mut register = vec![u32::MAX; graph.nodes.len()];
        let mut free: Vec<u32> = Vec::new();
        let mut arrays = rustc_hash::FxHashMap::default();
        for node in &order {
            let sources = &self.sources[*node as usize];
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

/// The nodes that a node reads, each once.
fn sources(graph: &Graph, node: u32) -> Vec<u32> {
    let Node { start, length, .. } = graph.nodes[node as usize];
    let mut list = Vec::new();
    for operand in &graph.operands[start as usize..(start + length) as usize] {
        match operand {
            Operand::Src(Src::Node(source)) => list.push(*source),
            Operand::Array(array) => {
                if let Array::Mixed { items, .. } = &graph.arrays[*array as usize] {
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

/// A walk from the outputs to the inputs.
struct Walk<'c, 'g> {
    cone: &'c Cone<'g>,
    pending: Vec<u32>,
    uses: Vec<u32>,
    emitted: Vec<bool>,
    order: Vec<u32>,
}

impl Walk<'_, '_> {
    /// Emit a node after what it reads, depth first without recursion.
    fn visit(&mut self, root: u32) {
        let cone = self.cone;
        let mut stack = vec![(root, cone.sources[root as usize].iter())];
        while let Some((node, sources)) = stack.last_mut() {
            let node = *node;
            if self.emitted[node as usize] {
                stack.pop();
                continue;
            }
            match sources.next() {
                Some(source) => {
                    if !self.emitted[*source as usize] {
                        stack.push((*source, cone.sources[*source as usize].iter()));
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
        let cone = self.cone;
        let mut open = vec![first];
        while let Some(node) = open.pop() {
            if std::mem::replace(&mut self.emitted[node as usize], true) {
                continue;
            }
            self.order.push(node);
            let sources = &cone.sources[node as usize];
            for source in sources {
                self.uses[*source as usize] -= 1;
            }
            let mut candidates = Vec::new();
            for user in &cone.users[node as usize] {
                self.pending[*user as usize] -= 1;
                candidates.push(*user);
            }
            for source in sources {
                if self.uses[*source as usize] == 1 {
                    let waiting = cone.users[*source as usize].iter().copied();
                    candidates.extend(waiting.filter(|user| !self.emitted[*user as usize]));
                }
            }
            for user in candidates.into_iter().rev() {
                let ready = !self.emitted[user as usize] && self.pending[user as usize] == 0;
                if ready && cone.sources[user as usize].iter().any(|source| self.uses[*source as usize] == 1)
                {
                    open.push(user);
                }
            }
        }
    }
}
