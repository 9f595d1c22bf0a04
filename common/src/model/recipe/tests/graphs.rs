//! Compiled graphs and their tables.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::samples::{
    assemble, condition, connected, definition, from_node, from_recipe, graph, job_type, node, recipe_type,
    rejected, slots,
};
use crate::model::recipe::{
    Data, Graph, GraphError, GraphTables, MAX_NODES, NodeIndex, NodeKind, NodeSet, Requirement, Source,
    closure,
};

fn names(graph: &Graph, nodes: impl IntoIterator<Item = NodeIndex>) -> Vec<&str> {
    nodes.into_iter().map(|index| graph.node(index).name.as_ref()).collect()
}

/// `first` decides by `gate` between `yes` and `no`; `late` is behind `yes`, `torn` behind both.
fn branches() -> Graph {
    graph([
        ("first", node(job_type("j", 1), &[])),
        ("gate", connected(node(condition(0), &["first"]), "v", from_node("first", "out"))),
        ("yes", connected(node(job_type("j", 1), &["gate"]), "a", from_node("gate", "v"))),
        ("no", rejected(node(recipe_type("s", 1), &[]), "gate")),
        ("inner", connected(node(condition(0), &["yes"]), "v", from_recipe("x"))),
        ("late", connected(node(job_type("j", 1), &["inner"]), "a", from_node("inner", "v"))),
        ("torn", node(job_type("j", 1), &["yes", "no"])),
    ])
}

#[test]
fn nodes_are_in_the_order_of_creation() {
    let graph = branches();
    let order: Vec<&str> = graph.nodes().map(|(_, node)| node.name.as_ref()).collect();
    assert_eq!(order, ["first", "gate", "no", "yes", "inner", "late", "torn"]);
    let gate = graph.find("gate").unwrap();
    assert_eq!(names(&graph, graph.node(gate).children.iter().copied()), ["no", "yes"]);
    assert_eq!(names(&graph, graph.node(gate).descendants.iter()), ["no", "yes", "inner", "late", "torn"]);
    assert_eq!(
        names(&graph, graph.node(graph.find("late").unwrap()).ancestors.iter()),
        ["first", "gate", "yes", "inner"]
    );
    assert_eq!(graph.by_number(6).map(NodeIndex::number), Some(6));
    assert_eq!((graph.by_number(7), graph.by_number(-1)), (None, None));
    assert_eq!(
        (graph.len(), graph.is_empty(), graph.job_nodes().count(), graph.sub_recipes().count()),
        (7, false, 4, 1)
    );
}

#[test]
fn only_the_nearest_conditions_are_required() {
    let graph = branches();
    let required = |name: &str| -> Vec<(&str, bool)> {
        let requirements = &graph.node(graph.find(name).unwrap()).requirements;
        let named = |requirement: &Requirement| {
            (graph.node(requirement.condition).name.as_ref(), requirement.acceptance)
        };
        requirements.iter().map(named).collect()
    };
    assert_eq!(required("gate"), []);
    assert_eq!(required("yes"), [("gate", true)]);
    assert_eq!(required("no"), [("gate", false)]);
    assert_eq!(required("inner"), [("gate", true)]);
    assert_eq!(required("late"), [("inner", true)]);
    assert_eq!(graph.unreachable().collect::<Vec<_>>(), ["torn"]);
}

#[test]
fn values_are_followed_through_conditions() {
    let graph = branches();
    let index = |name: &str| graph.find(name).unwrap();
    let first = Source::JobOutput { node: index("first"), output: "out".to_owned() };
    assert_eq!(graph.node(index("yes")).sources, [("a".to_owned(), first)]);
    assert_eq!(graph.node(index("late")).sources, [("a".to_owned(), Source::RecipeInput("x".to_owned()))]);

    let data =
        |name: &str, value: i64| Data { json: [(name.to_owned(), json!(value))].into(), ..Data::default() };
    let (recipe, output) = (data("x", 1), data("out", 2));
    let given = |node| graph.node_input(node, &recipe, |job| (job == index("first")).then_some(&output));
    assert_eq!(given(index("yes")), data("a", 2));
    assert_eq!(given(index("late")), data("a", 1));
    assert_eq!(given(index("no")), Data::default());
    assert_eq!(
        graph.node_input(index("yes"), &recipe, |_| None),
        Data::default(),
        "what is absent is left out"
    );
}

#[test]
fn what_is_no_graph_is_refused() {
    let dangling = definition([("a", node(job_type("j", 1), &["b"]))]);
    let expected = GraphError::UnknownNode { node: "a".to_owned(), to: "b".to_owned() };
    assert_eq!(Graph::compile(&dangling), Err(expected.clone()));
    let dangling = definition([("a", connected(node(job_type("j", 1), &[]), "i", from_node("b", "o")))]);
    assert_eq!(Graph::compile(&dangling), Err(expected));
    let circle = definition([("a", node(job_type("j", 1), &["b"])), ("b", node(job_type("j", 1), &["a"]))]);
    assert_eq!(Graph::compile(&circle), Err(GraphError::Circle("a".to_owned())));
    let mut many = definition([]);
    many.nodes = (0..=MAX_NODES).map(|at| (at.to_string(), node(job_type("j", 1), &[]))).collect();
    assert_eq!(Graph::compile(&many), Err(GraphError::TooManyNodes));
    many.nodes.pop_first();
    assert_eq!(Graph::compile(&many).unwrap().len(), MAX_NODES);
}

#[test]
fn a_graph_with_every_dependency_is_compiled() {
    const NODES: usize = 300;
    let name = |at: usize| format!("{at:04}");
    let mut full = definition([]);
    for at in 0..NODES {
        let mut made = node(job_type("j", 1), &[]);
        made.dependencies = (0..at).map(|parent| (name(parent), true)).collect();
        full.nodes.insert(name(at), made);
    }
    let graph = Graph::compile(&full).unwrap();
    assert_eq!(closure(&graph).count(), NODES * (NODES - 1) / 2);
}

#[test]
fn tables_have_a_row_for_everything_that_can_exist() {
    let graph = branches();
    let tables = GraphTables::of(&graph);
    assert_eq!(tables.nodes.name, ["first", "gate", "no", "yes", "inner", "late"]);
    assert_eq!(tables.nodes.node, [0, 1, 2, 3, 4, 5]);
    assert_eq!(tables.nodes.node_type, ["job", "condition", "recipe", "job", "condition", "job"]);
    assert_eq!(tables.nodes.parents, [0, 1, 1, 1, 1, 1]);
    assert_eq!(tables.nodes.immediate, [true, true, false, false, false, false]);
    let edges: Vec<_> =
        tables.edges.parent.iter().zip(&tables.edges.child).zip(&tables.edges.acceptance).collect();
    let expected = [(0, 1, None), (1, 2, Some(false)), (1, 3, Some(true)), (3, 4, None), (4, 5, Some(true))];
    assert_eq!(
        edges,
        expected.iter().map(|(parent, child, wanted)| ((parent, child), wanted)).collect::<Vec<_>>()
    );
    let requirements: Vec<_> = tables
        .requirements
        .node
        .iter()
        .zip(&tables.requirements.condition)
        .zip(&tables.requirements.acceptance)
        .collect();
    let expected = [(2, 1, false), (3, 1, true), (4, 1, true), (5, 4, true)];
    assert_eq!(
        requirements,
        expected.iter().map(|(node, gate, wanted)| ((node, gate), wanted)).collect::<Vec<_>>()
    );
}

#[test]
fn sets_of_nodes_count_beyond_a_word() {
    let mut full = definition([]);
    full.nodes = (0..200).map(|at| (format!("{at:03}"), node(job_type("j", 1), &[]))).collect();
    let graph = Graph::compile(&full).unwrap();
    let all: Vec<NodeIndex> = graph.nodes().map(|(index, _)| index).collect();
    let odd: NodeSet = all.iter().copied().filter(|index| index.number() % 2 == 1).collect();
    assert_eq!((odd.len(), odd.is_empty(), NodeSet::default().is_empty()), (100, false, true));
    assert_eq!(
        odd.iter().collect::<Vec<_>>(),
        all.iter().copied().filter(|index| index.number() % 2 == 1).collect::<Vec<_>>()
    );
    let mut both: NodeSet = [all[0]].into_iter().collect();
    assert!(!both.intersects(&odd));
    both.union(&odd);
    assert!(both.intersects(&odd) && both.contains(all[199]) && !both.contains(all[198]));
    assert!(!both.insert(all[0]) && both.insert(all[198]));
}

proptest! {
    #![proptest_config(crate::properties::config(256))]

    #[test]
    fn graphs_follow_from_their_definitions(slots in slots()) {
        let definition = assemble(&slots);
        let graph = Graph::compile(&definition).unwrap();
        prop_assert_eq!(&graph, &Graph::compile(&definition).unwrap(), "deterministic");
        prop_assert_eq!(graph.len(), definition.nodes.len());
        let ancestors = |name: &str| {
            let (mut found, mut open) = (BTreeSet::new(), vec![name.to_owned()]);
            while let Some(name) = open.pop() {
                for parent in definition.nodes[&name].dependencies.keys() {
                    if found.insert(parent.clone()) { open.push(parent.clone()); }
                }
            }
            found
        };
        for (index, node) in graph.nodes() {
            prop_assert!(node.parents.iter().all(|parent| parent.node < index), "parents come first");
            let found: BTreeSet<String> = node.ancestors.iter().map(|ancestor| graph.node(ancestor).name.to_string()).collect();
            prop_assert_eq!(&found, &ancestors(&node.name));
            prop_assert!(!node.ancestors.contains(index), "acyclic");
            for ancestor in node.ancestors.iter() {
                prop_assert!(graph.node(ancestor).descendants.contains(index));
            }
            for parent in &node.parents {
                prop_assert!(graph.node(parent.node).children.contains(&index));
                let is_condition = matches!(graph.node(parent.node).kind, NodeKind::Condition(_));
                prop_assert_eq!(parent.acceptance.is_some(), is_condition);
            }
        }
        prop_assert_eq!(closure(&graph).count(), graph.nodes().map(|(_, node)| node.ancestors.len()).sum::<usize>());
    }

    /// The tables alone, read as the module says, create what the graph creates, whatever the conditions come to.
    #[test]
    fn tables_say_what_exists(slots in slots(), outcomes in any::<u16>()) {
        let graph = Graph::compile(&assemble(&slots)).unwrap();
        let outcome = |node: i16| outcomes & (1 << node) != 0;
        let tables = GraphTables::of(&graph);
        let mut unmet: BTreeMap<i16, usize> = BTreeMap::new();
        for node in &tables.requirements.node { *unmet.entry(*node).or_default() += 1; }
        let mut exists: BTreeSet<i16> =
            tables.nodes.node.iter().zip(&tables.nodes.immediate).filter(|(_, now)| **now).map(|(node, _)| *node).collect();
        for (node, node_type) in tables.nodes.node.iter().zip(&tables.nodes.node_type) {
            if *node_type != "condition" || !exists.contains(node) { continue; }
            let rows = tables.requirements.node.iter().zip(&tables.requirements.condition).zip(&tables.requirements.acceptance);
            for ((waiting, condition), acceptance) in rows {
                if condition == node && *acceptance == outcome(*node) {
                    let left = unmet.get_mut(waiting).unwrap();
                    *left -= 1;
                    if *left == 0 { exists.insert(*waiting); }
                }
            }
        }
        // A node exists if all of its parents do, and every condition among them comes to what is wanted.
        let mut expected = BTreeSet::new();
        for (index, node) in graph.nodes() {
            let met = node.parents.iter().all(|parent| {
                expected.contains(&parent.node.number())
                    && parent.acceptance.is_none_or(|acceptance| acceptance == outcome(parent.node.number()))
            });
            if met { expected.insert(index.number()); }
        }
        prop_assert_eq!(exists, expected);
    }
}
