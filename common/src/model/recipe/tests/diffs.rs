//! Differences of revisions, and what reprocessing makes of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::samples::{
    assemble, condition, connected, definition, forced, forced_names, from_node, from_recipe, graph,
    job_type, node, recipe_ref, recipe_type, rejected, revisions, slots,
};
use crate::model::recipe::names::{DefinitionWarning, DiffReason, ForcedNodesError, NodeChange};
use crate::model::recipe::{
    Diff, ForcedNodes, Graph, Interface, JsonType, MAX_NESTING, Node, NodeStatus, Parameter, ParameterKind,
    Place, RecipeTypes, Redone, ReprocessError, ReprocessPlan, check_forced, count_sub_recipes,
};

type Nodes = Vec<(&'static str, Node)>;

fn diff(prev: Nodes, new: Nodes) -> Diff {
    Diff::between(&graph(prev), &graph(new))
}

fn changes(diff: &Diff, name: &str) -> Vec<NodeChange> {
    diff.nodes[name].changes.iter().map(|change| change.name).collect()
}

#[test]
fn every_change_of_a_node_is_told() {
    use NodeChange as C;
    let parents = || vec![("p", node(job_type("j", 1), &[])), ("q", node(job_type("j", 1), &[]))];
    let with = |made: Node| parents().into_iter().chain([("n", made)]).collect::<Nodes>();
    let job = |name: &str, version: &str, revision| {
        let mut made = node(job_type(name, revision), &[]);
        if let crate::model::recipe::NodeKind::Job(job) = &mut made.kind {
            job.version = version.to_owned();
        }
        made
    };
    let gated = |made: Node| {
        let gate = connected(node(condition(0), &[]), "v", from_recipe("x"));
        vec![("gate", gate), ("n", made)]
    };
    let plain = || node(job_type("j", 1), &["p"]);
    let fed = |made: Node, input: &str, output: &str| connected(made, input, from_node("p", output));
    let cases: Vec<(Nodes, Nodes, Vec<C>)> = vec![
        (with(node(job_type("j", 1), &[])), with(node(recipe_type("r", 1), &[])), vec![C::NodeType]),
        (with(job("j", "1", 1)), with(job("k", "1", 1)), vec![C::JobType]),
        (with(job("j", "1", 1)), with(job("j", "2", 1)), vec![C::JobTypeVersion]),
        (with(job("j", "1", 1)), with(job("j", "1", 2)), vec![C::JobTypeRevision]),
        (
            with(job("j", "1", 1)),
            with(job("k", "2", 2)),
            vec![C::JobType, C::JobTypeVersion, C::JobTypeRevision],
        ),
        (with(node(recipe_type("r", 1), &[])), with(node(recipe_type("s", 1), &[])), vec![C::RecipeType]),
        (
            with(node(recipe_type("r", 1), &[])),
            with(node(recipe_type("r", 2), &[])),
            vec![C::RecipeTypeRevision],
        ),
        (with(node(condition(1), &[])), with(node(condition(2), &[])), vec![C::Filter]),
        (with(plain()), with(node(job_type("j", 1), &["p", "q"])), vec![C::ParentNew]),
        (with(plain()), with(node(job_type("j", 1), &[])), vec![C::ParentRemoved]),
        (with(plain()), with(node(job_type("j", 1), &["q"])), vec![C::ParentNew, C::ParentRemoved]),
        (
            vec![("p", node(job_type("j", 1), &[])), ("n", plain())],
            vec![("p", node(job_type("j", 2), &[])), ("n", plain())],
            vec![C::ParentChanged],
        ),
        (
            gated(node(job_type("j", 1), &["gate"])),
            gated(rejected(node(job_type("j", 1), &[]), "gate")),
            vec![C::ParentAcceptance],
        ),
        (with(plain()), with(fed(plain(), "a", "o")), vec![C::InputNew]),
        (with(fed(plain(), "a", "o")), with(fed(plain(), "a", "p")), vec![C::InputChange]),
        (with(fed(plain(), "a", "o")), with(plain()), vec![C::InputRemoved]),
        (
            with(fed(plain(), "a", "o")),
            with(fed(node(job_type("j", 2), &["q"]), "b", "o")),
            vec![C::JobTypeRevision, C::ParentNew, C::ParentRemoved, C::InputNew, C::InputRemoved],
        ),
    ];
    let mut told = BTreeSet::new();
    for (prev, new, expected) in cases {
        let diff = diff(prev, new);
        assert_eq!(changes(&diff, "n"), expected);
        assert_eq!(diff.nodes["n"].status, NodeStatus::Changed);
        told.extend(expected);
    }
    assert_eq!(told, NodeChange::all().into_iter().collect());
}

#[test]
fn a_changed_interface_of_a_condition_is_no_change() {
    let mut new = node(condition(1), &[]);
    if let crate::model::recipe::NodeKind::Condition(condition) = &mut new.kind {
        condition.interface = Interface::default();
    }
    let diff = diff(vec![("n", node(condition(1), &[]))], vec![("n", new)]);
    assert_eq!(diff.nodes["n"].status, NodeStatus::Unchanged);
}

#[test]
fn inputs_decide_whether_recipes_can_be_reprocessed() {
    let number = |required| Parameter::json(JsonType::Number, required);
    let file =
        |multiple| Parameter { required: true, kind: ParameterKind::File { media_types: vec![], multiple } };
    let cases: [(&[Parameter], &[Parameter], bool); 9] = [
        (&[number(true)], &[number(true)], true),
        (&[], &[number(true)], false),
        (&[], &[number(false)], true),
        (&[number(true)], &[], true),
        (&[number(false)], &[number(true)], false),
        (&[number(true)], &[file(false)], false),
        (&[Parameter::json(JsonType::Integer, true)], &[number(true)], false),
        (&[file(true)], &[file(false)], false),
        (&[file(false)], &[file(true)], true),
    ];
    for (prev, new, possible) in cases {
        let compile = |parameters: &[Parameter], revision| {
            let mut definition = definition([("n", node(job_type("j", revision), &[]))]);
            definition.input =
                Interface::of(parameters.iter().map(|parameter| ("p".to_owned(), parameter.clone())));
            Graph::compile(&definition).unwrap()
        };
        let (prev, new) = (compile(prev, 1), compile(new, 2));
        let mut diff = Diff::between(&prev, &new);
        diff.force(&new, &ForcedNodes::everything());
        assert_eq!(diff.can_be_reprocessed, possible, "{:?} {:?}", prev.input(), new.input());
        assert_eq!(diff.nodes["n"].status, NodeStatus::Changed, "statuses are told in any case");
        assert_eq!(diff.nodes["n"].reprocess_new_node, possible);
        let names: Vec<DiffReason> = diff.reasons.iter().map(|reason| reason.name).collect();
        assert_eq!(names, if possible { vec![] } else { DiffReason::all() });
        let warning = diff.edit_warning().map(|warning| warning.name);
        assert_eq!(warning, (!possible).then_some(DefinitionWarning::ReprocessWarning));
        let plan = ReprocessPlan::build(&prev, &new, &ForcedNodes::default(), &RecipeTypes::default());
        assert_eq!(matches!(plan, Err(ReprocessError::InputChanged(_))), !possible);
    }
}

#[test]
fn the_document_is_that_of_the_contract() {
    let prev = graph([
        ("a", node(job_type("j", 1), &[])),
        ("b", node(recipe_type("r", 1), &["a"])),
        ("gone", node(job_type("j", 1), &["b"])),
        ("kind", node(job_type("j", 1), &[])),
    ]);
    let new = graph([
        ("a", node(job_type("k", 2), &[])),
        ("b", node(recipe_type("r", 2), &["a"])),
        ("kind", node(condition(0), &[])),
        ("new", node(condition(0), &["kind"])),
        ("same", node(job_type("j", 1), &[])),
    ]);
    let mut diff = Diff::between(&prev, &new);
    diff.force(&new, &forced(&["gone", "same"], &[]));
    assert_eq!(
        serde_json::to_value(&diff).unwrap(),
        json!({"can_be_reprocessed": true, "reasons": [], "nodes": {
            "a": {"status": "CHANGED", "reprocess_new_node": true, "force_reprocess": false, "dependencies": [],
                  "changes": [{"name": "JOB_TYPE_CHANGE", "description": "job type j became k"},
                              {"name": "JOB_TYPE_REVISION_CHANGE", "description": "job type revision 1 became 2"}],
                  "node_type": {"node_type": "job", "job_type_name": "k", "job_type_version": "1.0.0", "job_type_revision": 2,
                                "prev_job_type_name": "j", "prev_job_type_revision": 1}},
            "b": {"status": "CHANGED", "reprocess_new_node": true, "force_reprocess": false, "dependencies": [{"name": "a"}],
                  "changes": [{"name": "RECIPE_TYPE_REVISION_CHANGE", "description": "recipe type revision 1 became 2"},
                              {"name": "PARENT_CHANGED", "description": "dependency `a` changed"}],
                  "node_type": {"node_type": "recipe", "recipe_type_name": "r", "recipe_type_revision": 2,
                                "prev_recipe_type_revision": 1}},
            "gone": {"status": "DELETED", "changes": [], "reprocess_new_node": false, "force_reprocess": true,
                     "dependencies": [{"name": "b"}],
                     "node_type": {"node_type": "job", "job_type_name": "j", "job_type_version": "1.0.0",
                                   "job_type_revision": 1}},
            "kind": {"status": "CHANGED", "reprocess_new_node": true, "force_reprocess": false, "dependencies": [],
                     "changes": [{"name": "NODE_TYPE_CHANGE", "description": "node type job became condition"}],
                     "prev_node_type": "job", "node_type": {"node_type": "condition"}},
            "new": {"status": "NEW", "changes": [], "reprocess_new_node": true, "force_reprocess": false,
                    "dependencies": [{"name": "kind"}], "node_type": {"node_type": "condition"}},
            "same": {"status": "NEW", "changes": [], "reprocess_new_node": true, "force_reprocess": true,
                     "dependencies": [], "node_type": {"node_type": "job", "job_type_name": "j",
                                                       "job_type_version": "1.0.0", "job_type_revision": 1}}}})
    );
}

#[test]
fn forcing_reaches_what_is_behind_and_nothing_else() {
    let nodes = || {
        vec![
            ("a", node(job_type("j", 1), &[])),
            ("b", node(job_type("j", 1), &["a"])),
            ("c", node(job_type("j", 1), &["a"])),
            ("d", node(job_type("j", 1), &["b"])),
        ]
    };
    let graph = graph(nodes());
    let mut diff = diff(nodes(), nodes());
    assert!(diff.is_nothing_to_do());
    diff.force(&graph, &forced(&["b"], &[]));
    let redone: Vec<&str> = diff
        .nodes
        .iter()
        .filter(|(_, node)| node.reprocess_new_node)
        .map(|(name, _)| name.as_ref())
        .collect();
    assert_eq!(redone, ["b", "d"]);
    assert!(diff.nodes.values().all(|node| node.status == NodeStatus::Unchanged));
    assert!(diff.nodes["b"].is_superseded() && !diff.nodes["a"].is_superseded() && !diff.is_nothing_to_do());
}

/// The reference scenario of contract 4.5. A: x → D; {x, D} → B → E. B: b_x → b_y, b_x → C → b_z. C: {c_x, c_y} → c_z.
fn reference() -> (RecipeTypes, [Arc<Graph>; 2]) {
    let job = |dependencies: &[&str]| node(job_type("j", 1), dependencies);
    let a = |revision| {
        graph([
            ("x", job(&[])),
            ("D", node(recipe_type("d", 1), &["x"])),
            ("B", node(recipe_type("b", revision), &["x", "D"])),
            ("E", node(recipe_type("e", 1), &["B"])),
        ])
    };
    let b = |revision| {
        graph([
            ("b_x", job(&[])),
            ("b_y", job(&["b_x"])),
            ("C", node(recipe_type("c", revision), &["b_x"])),
            ("b_z", job(&["C"])),
        ])
    };
    let c = |revision| {
        let changed = node(job_type("j", revision), &[]);
        graph([("c_x", job(&[])), ("c_y", changed), ("c_z", job(&["c_x", "c_y"]))])
    };
    let flat = |first, second| graph([(first, job(&[])), (second, job(&[first]))]);
    let types = [
        (recipe_ref("b", 1), b(1)),
        (recipe_ref("b", 2), b(2)),
        (recipe_ref("c", 1), c(1)),
        (recipe_ref("c", 2), c(2)),
        (recipe_ref("d", 1), flat("d_x", "d_y")),
        (recipe_ref("e", 1), flat("e_x", "e_y")),
    ];
    (
        types.into_iter().map(|(name, graph)| (name, Arc::new(graph))).collect(),
        [Arc::new(a(1)), Arc::new(a(2))],
    )
}

fn copied<'g>(plan: &ReprocessPlan, graph: &'g Graph) -> Vec<&'g str> {
    plan.copies.iter().map(|copied| graph.node(copied.new).name.as_ref()).collect()
}

fn redone<'g>(plan: &ReprocessPlan, graph: &'g Graph) -> Vec<&'g str> {
    plan.redone.iter().map(|redone| graph.node(redone.new).name.as_ref()).collect()
}

fn inside(plan: &ReprocessPlan, graph: &Graph, name: &str) -> Arc<ReprocessPlan> {
    let index = graph.find(name).unwrap();
    let found = plan.redone.iter().find(|redone| redone.new == index);
    found.and_then(|redone| redone.inside.clone()).unwrap()
}

#[test]
fn the_reference_scenario_of_forced_nodes() {
    let (types, [prev, new]) = reference();
    let wanted = forced(&[], &[("B", forced(&["b_y"], &[]))]);
    assert_eq!(check_forced(&wanted, &new, &types, Place::root("")), []);
    let plan = ReprocessPlan::build(&prev, &new, &wanted, &types).unwrap();
    assert_eq!((copied(&plan, &new), redone(&plan, &new)), (vec!["x", "D"], vec!["B", "E"]));

    let b = &types[&recipe_ref("b", 2)];
    let in_b = inside(&plan, &new, "B");
    assert_eq!((copied(&in_b, b), redone(&in_b, b)), (vec!["b_x"], vec!["C", "b_y", "b_z"]));
    let c = &types[&recipe_ref("c", 2)];
    let in_c = inside(&in_b, b, "C");
    assert_eq!((copied(&in_c, c), redone(&in_c, c)), (vec!["c_x"], vec!["c_y", "c_z"]));
    let e = &types[&recipe_ref("e", 1)];
    let in_e = inside(&plan, &new, "E");
    assert_eq!((copied(&in_e, e), redone(&in_e, e)), (vec![], vec!["e_x", "e_y"]));

    // 2 + 3 + 2 + 2: three sub-recipes and six jobs are new; three jobs and a sub-recipe with its own two are shared.
    assert_eq!(plan.redone_count(), 9);
    assert!(plan.redone.iter().chain(&in_b.redone).chain(&in_e.redone).all(|redone| redone.prev.is_some()));
    assert_eq!(count_sub_recipes(&new, &types), Ok(4));
}

#[test]
fn sub_recipes_are_done_again_by_the_four_rules() {
    let (types, [prev, new]) = reference();
    let b = |plan: &ReprocessPlan| {
        let in_b = inside(plan, &new, "B");
        let graph = &types[&recipe_ref("b", 2)];
        redone(&in_b, graph).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    // 2: only the revision changed.
    let plan = ReprocessPlan::build(&prev, &new, &ForcedNodes::default(), &types).unwrap();
    assert_eq!(b(&plan), ["C", "b_z"]);
    // 1: a parent is done again, and the one behind it is, too.
    let plan = ReprocessPlan::build(&prev, &new, &forced(&["D"], &[]), &types).unwrap();
    assert_eq!(b(&plan), ["b_x", "C", "b_y", "b_z"]);
    // 4: D is forced without saying what: a new row with everything in it copied.
    let d = &types[&recipe_ref("d", 1)];
    let in_d = inside(&plan, &new, "D");
    assert_eq!((copied(&in_d, d), redone(&in_d, d)), (vec!["d_x", "d_y"], vec![]));
    // 3: with an entry.
    let plan =
        ReprocessPlan::build(&prev, &new, &forced(&[], &[("D", forced(&["d_y"], &[]))]), &types).unwrap();
    let in_d = inside(&plan, &new, "D");
    assert_eq!((copied(&in_d, d), redone(&in_d, d)), (vec!["d_x"], vec!["d_y"]));
    // Everything.
    let plan = ReprocessPlan::build(&prev, &new, &ForcedNodes::everything(), &types).unwrap();
    assert_eq!((plan.copies.len(), plan.redone_count()), (0, 4 + 2 + 4 + 3 + 2));
    // 1: more than the type changed.
    let moved = graph([("x", node(job_type("j", 1), &[])), ("B", node(recipe_type("b", 2), &["x"]))]);
    let plan = ReprocessPlan::build(&prev, &moved, &ForcedNodes::default(), &types).unwrap();
    assert_eq!(inside(&plan, &moved, "B").copies, []);
    let deleted: Vec<&str> = plan.deleted.iter().map(|index| prev.node(*index).name.as_ref()).collect();
    assert_eq!(deleted, ["D", "E"]);
}

#[test]
fn a_sub_recipe_with_other_inputs_is_done_again_wholly() {
    let mut inner = definition([("n", node(job_type("j", 1), &[]))]);
    let prev_inner = Graph::compile(&inner).unwrap();
    inner.input = Interface::of([("y".to_owned(), Parameter::json(JsonType::Number, true))]);
    let new_inner = Graph::compile(&inner).unwrap();
    let types: RecipeTypes =
        [(recipe_ref("r", 1), prev_inner.into()), (recipe_ref("r", 2), new_inner.into())].into();
    let outer = |revision| graph([("s", node(recipe_type("r", revision), &[]))]);
    let plan = ReprocessPlan::build(&outer(1), &outer(2), &ForcedNodes::default(), &types).unwrap();
    let in_s = inside(&plan, &outer(2), "s");
    assert_eq!((in_s.copies.len(), in_s.redone.len()), (0, 1));
}

#[test]
fn what_took_the_place_of_another_kind_has_no_inside() {
    let (types, _) = reference();
    let prev = graph([("n", node(recipe_type("d", 1), &[]))]);
    let new = graph([("n", node(job_type("j", 1), &[]))]);
    let plan = ReprocessPlan::build(&prev, &new, &ForcedNodes::default(), &types).unwrap();
    assert_eq!(plan.redone, [Redone { new: new.find("n").unwrap(), prev: prev.find("n"), inside: None }]);
    let fresh = ReprocessPlan::build(&graph([]), &new, &ForcedNodes::default(), &types).unwrap();
    assert_eq!(fresh.redone, [Redone { new: new.find("n").unwrap(), prev: None, inside: None }]);
}

#[test]
fn types_that_are_missing_or_nested_too_deep_are_told() {
    let outer = graph([("s", node(recipe_type("r0", 1), &[]))]);
    let unknown = ReprocessError::UnknownRecipeType(recipe_ref("r0", 1));
    let everything = ForcedNodes::everything();
    assert_eq!(
        ReprocessPlan::build(&outer, &outer, &everything, &RecipeTypes::default()),
        Err(unknown.clone())
    );
    assert_eq!(count_sub_recipes(&outer, &RecipeTypes::default()), Err(unknown));
    let nested = |depth: usize| -> RecipeTypes {
        let level = |at: usize| match at + 1 < depth {
            true => graph([
                ("s", node(recipe_type(&format!("r{}", at + 1), 1), &[])),
                ("t", node(recipe_type(&format!("r{}", at + 1), 1), &[])),
            ]),
            false => graph([("n", node(job_type("j", 1), &[]))]),
        };
        (0..depth).map(|at| (recipe_ref(&format!("r{at}"), 1), Arc::new(level(at)))).collect()
    };
    // Each level doubles what is in it, and is looked at once.
    let types = nested(MAX_NESTING);
    assert_eq!(count_sub_recipes(&outer, &types), Ok((1 << MAX_NESTING) - 1));
    assert!(ReprocessPlan::build(&outer, &outer, &everything, &types).is_ok());
    let types = nested(MAX_NESTING + 1);
    assert_eq!(count_sub_recipes(&outer, &types), Err(ReprocessError::TooDeep));
    assert_eq!(ReprocessPlan::build(&outer, &outer, &everything, &types), Err(ReprocessError::TooDeep));
}

#[test]
fn forced_names_are_checked_strictly_at_any_depth() {
    let (types, [_, new]) = reference();
    let wanted = forced(
        &["x", "y"],
        &[("x", forced(&[], &[])), ("B", forced(&["b_y", "b_q"], &[])), ("F", forced(&[], &[]))],
    );
    let found = check_forced(&wanted, &new, &types, Place::root("forced_nodes"));
    let told: Vec<_> =
        found.iter().map(|error| (error.name, error.place.as_str(), error.text.as_str())).collect();
    assert_eq!(
        told,
        [
            (ForcedNodesError::UnknownForcedNode, "forced_nodes.nodes", "there is no node `y`"),
            (
                ForcedNodesError::UnknownForcedNode,
                "forced_nodes.sub_recipes.B.nodes",
                "there is no node `b_q`"
            ),
            (ForcedNodesError::UnknownForcedNode, "forced_nodes.sub_recipes.F", "there is no node `F`"),
            (ForcedNodesError::NotASubRecipe, "forced_nodes.sub_recipes.x", "`x` is no recipe"),
        ]
    );
}

fn subs() -> RecipeTypes {
    let sub = |revision| {
        let changed = node(job_type("j", revision), &[]);
        Arc::new(graph([("i", node(job_type("j", 1), &[])), ("o", changed)]))
    };
    [(recipe_ref("sub", 1), sub(1)), (recipe_ref("sub", 2), sub(2))].into()
}

proptest! {
    #![proptest_config(crate::properties::config(256))]

    #[test]
    fn a_revision_does_not_differ_from_itself(slots in slots()) {
        let graph = Graph::compile(&assemble(&slots)).unwrap();
        let diff = Diff::between(&graph, &graph);
        prop_assert!(diff.can_be_reprocessed && diff.is_nothing_to_do());
        prop_assert!(diff.nodes.values().all(|node| node.status == NodeStatus::Unchanged && node.changes.is_empty()));
        let plan = ReprocessPlan::build(&graph, &graph, &ForcedNodes::default(), &subs()).unwrap();
        prop_assert_eq!((plan.copies.len(), plan.redone.len(), plan.deleted.len()), (graph.len(), 0, 0));
    }

    #[test]
    fn every_node_is_copied_or_redone_or_deleted((prev, new) in revisions(), forced in forced_names()) {
        let (prev, new) = (Graph::compile(&assemble(&prev)).unwrap(), Graph::compile(&assemble(&new)).unwrap());
        let mut diff = Diff::between(&prev, &new);
        diff.force(&new, &forced);
        let plan = ReprocessPlan::build(&prev, &new, &forced, &subs()).unwrap();
        prop_assert_eq!(&plan, &ReprocessPlan::build(&prev, &new, &forced, &subs()).unwrap(), "deterministic");

        let copied: BTreeSet<&str> = plan.copies.iter().map(|copied| new.node(copied.new).name.as_ref()).collect();
        let redone: BTreeSet<&str> = plan.redone.iter().map(|redone| new.node(redone.new).name.as_ref()).collect();
        let deleted: BTreeSet<&str> = plan.deleted.iter().map(|index| prev.node(*index).name.as_ref()).collect();
        let all: BTreeSet<&str> = diff.nodes.keys().map(AsRef::as_ref).collect();
        prop_assert_eq!(copied.len() + redone.len() + deleted.len(), all.len(), "disjoint");
        prop_assert_eq!(&(&copied | &redone) | &deleted, all);
        for (name, node) in &diff.nodes {
            let name = name.as_ref();
            prop_assert_eq!(copied.contains(name), node.is_copied());
            prop_assert_eq!(deleted.contains(name), node.status == NodeStatus::Deleted);
            prop_assert_eq!(node.status == NodeStatus::Changed, !node.changes.is_empty());
            prop_assert_eq!(node.is_superseded(), prev.find(name).is_some() && !copied.contains(name), "{}", name);
        }
        for copied in &plan.copies {
            let (old, new) = (prev.node(copied.prev), new.node(copied.new));
            prop_assert_eq!(&old.name, &new.name);
            prop_assert_eq!(&old.kind, &new.kind);
            prop_assert_eq!(&old.sources.len(), &new.sources.len());
        }
    }

    #[test]
    fn redoing_is_closed_under_descendants((prev, new) in revisions(), forced in forced_names()) {
        let (prev, new) = (Graph::compile(&assemble(&prev)).unwrap(), Graph::compile(&assemble(&new)).unwrap());
        let plan = ReprocessPlan::build(&prev, &new, &forced, &subs()).unwrap();
        let redone: BTreeSet<_> = plan.redone.iter().map(|redone| redone.new).collect();
        prop_assert!(plan.redone.is_sorted_by_key(|redone| redone.new), "in the order of creation");
        for index in &redone {
            for behind in new.node(*index).descendants.iter() {
                prop_assert!(redone.contains(&behind));
            }
        }
        for (index, node) in new.nodes() {
            if forced.names(&node.name) { prop_assert!(redone.contains(&index)); }
        }
        // What is inside a sub-recipe behind something that is redone, is redone.
        for sub in &plan.redone {
            let behind = new.node(sub.new).parents.iter().any(|parent| redone.contains(&parent.node));
            if let (true, Some(inside)) = (behind, &sub.inside) { prop_assert!(inside.copies.is_empty()); }
        }
    }

    /// More is redone when more is forced.
    #[test]
    fn forcing_only_adds((prev, new) in revisions(), forced in forced_names()) {
        let (prev, new) = (Graph::compile(&assemble(&prev)).unwrap(), Graph::compile(&assemble(&new)).unwrap());
        let redone = |forced: &ForcedNodes| -> BTreeSet<_> {
            let plan = ReprocessPlan::build(&prev, &new, forced, &subs()).unwrap();
            plan.redone.iter().map(|redone| redone.new).collect()
        };
        let none = redone(&ForcedNodes::default());
        prop_assert!(none.is_subset(&redone(&forced)));
        prop_assert_eq!(redone(&ForcedNodes::everything()).len(), new.len());
    }
}
