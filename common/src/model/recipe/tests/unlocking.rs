//! Unlocking by the tables alone, as SQL does it, comes to what the evaluation says.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::running::{Run, run};
use super::samples::{assemble, slots};
use crate::model::recipe::{Graph, GraphTables, NodeState};

/// The rows of one recipe, as tables hold them.
struct Rows {
    tables: GraphTables,
    outcomes: u16,
    /// Nodes that exist, with the number of parents that they wait for.
    waiting: BTreeMap<i16, i16>,
    /// Requirements that are not met yet.
    unmet: BTreeMap<i16, usize>,
    /// Nodes that gave way to their children.
    ready: BTreeSet<i16>,
    started: BTreeSet<i16>,
}

impl Rows {
    fn new(tables: GraphTables, outcomes: u16) -> Self {
        let mut unmet = BTreeMap::new();
        for node in &tables.requirements.node {
            *unmet.entry(*node).or_default() += 1;
        }
        let mut rows = Self {
            tables,
            outcomes,
            waiting: BTreeMap::new(),
            unmet,
            ready: BTreeSet::new(),
            started: BTreeSet::new(),
        };
        for (at, node) in rows.tables.nodes.node.clone().into_iter().enumerate() {
            if rows.tables.nodes.immediate[at] {
                rows.create(node);
            }
        }
        rows
    }

    fn outcome(&self, node: i16) -> bool {
        self.outcomes & (1 << node) != 0
    }

    fn is_condition(&self, node: i16) -> bool {
        let at = self.tables.nodes.node.iter().position(|other| *other == node).unwrap();
        self.tables.nodes.node_type[at] == "condition"
    }

    /// A node is created with as many parents to wait for as did not give way yet.
    fn create(&mut self, node: i16) {
        let edges = self.tables.edges.parent.iter().zip(&self.tables.edges.child);
        let open = edges.filter(|(parent, child)| **child == node && !self.ready.contains(*parent)).count();
        self.waiting.insert(node, i16::try_from(open).unwrap());
        if open == 0 {
            self.start(node);
        }
    }

    fn start(&mut self, node: i16) {
        assert!(self.started.insert(node), "once");
        if self.is_condition(node) {
            self.give_way(node);
        }
    }

    fn give_way(&mut self, node: i16) {
        let outcome = self.is_condition(node).then(|| self.outcome(node));
        let edges = self.tables.edges.clone();
        let required = self.tables.requirements.clone();
        self.ready.insert(node);
        // As statements over sets do it: first everything is counted down, then it is acted on.
        let (mut start, mut create) = (vec![], vec![]);
        for ((parent, child), acceptance) in edges.parent.iter().zip(&edges.child).zip(&edges.acceptance) {
            let goes = *parent == node && (acceptance.is_none() || *acceptance == outcome);
            if goes && let Some(waiting) = self.waiting.get_mut(child) {
                *waiting -= 1;
                start.extend((*waiting == 0).then_some(*child));
            }
        }
        for ((waits, condition), acceptance) in
            required.node.iter().zip(&required.condition).zip(&required.acceptance)
        {
            if *condition == node && Some(*acceptance) == outcome {
                let left = self.unmet.get_mut(waits).unwrap();
                *left -= 1;
                create.extend((*left == 0).then_some(*waits));
            }
        }
        create.into_iter().for_each(|node| self.create(node));
        start.into_iter().for_each(|node| self.start(node));
    }
}

proptest! {
    #![proptest_config(crate::properties::config(256))]

    #[test]
    fn tables_unlock_what_the_evaluation_starts(
        slots in slots(), outcomes in any::<u16>(), order in prop::collection::vec(any::<prop::sample::Index>(), 9),
    ) {
        let graph = Graph::compile(&assemble(&slots)).unwrap();
        let mut rows = Rows::new(GraphTables::of(&graph), outcomes);
        let mut run = run(graph, outcomes);
        for next in order {
            let (mut exist, mut started, mut under_way) = (BTreeSet::new(), BTreeSet::new(), vec![]);
            for (index, _) in run.graph.nodes() {
                let state = run.states[Run::at(index)];
                if state != NodeState::Absent { exist.insert(index.number()); }
                let (has_started, is_done) = match state {
                    NodeState::Absent => (false, false),
                    NodeState::Job { status, was_queued, .. } => (was_queued, status == crate::model::recipe::JobStatus::Completed),
                    NodeState::Recipe { started, completed, .. } => (started, completed),
                    NodeState::Condition { outcome } => (outcome.is_some(), true),
                };
                if has_started { started.insert(index.number()); }
                if has_started && !is_done { under_way.push(index); }
            }
            prop_assert_eq!(rows.waiting.keys().copied().collect::<BTreeSet<_>>(), exist);
            prop_assert_eq!(&rows.started, &started);
            if under_way.is_empty() { break; }
            let done = *next.get(&under_way);
            match &mut run.states[Run::at(done)] {
                NodeState::Recipe { completed, .. } => { *completed = true; run.settle(); }
                _ => { let name = run.graph.node(done).name.clone(); run.finish(&name); }
            }
            rows.give_way(done.number());
        }
    }
}
