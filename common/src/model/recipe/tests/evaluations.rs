//! Recipes that run, event by event, in any order.

use proptest::prelude::*;

use super::running::{Run, WHOLE, run};
use super::samples::{assemble, condition, graph, job_type, node, recipe_type, rejected, slots};
use crate::model::recipe::{
    Graph, Job, JobEvent, JobStatus, NodeIndex, NodeKind, NodeState, NodeType, Surroundings, evaluate,
};

fn job(dependencies: &[&str]) -> crate::model::recipe::Node {
    node(job_type("j", 1), dependencies)
}

#[test]
fn nodes_run_one_after_the_other_to_completion() {
    let mut run =
        run(graph([("a", job(&[])), ("b", job(&["a"])), ("c", job(&["a"])), ("d", job(&["b", "c"]))]), 0);
    let of = |run: &Run| ["a", "b", "c", "d"].map(|name| run.status(name).as_str());
    assert_eq!(of(&run), ["QUEUED", "PENDING", "PENDING", "PENDING"]);
    run.finish("a");
    assert_eq!(of(&run), ["COMPLETED", "QUEUED", "QUEUED", "PENDING"]);
    run.finish("c");
    assert_eq!(of(&run), ["COMPLETED", "QUEUED", "COMPLETED", "PENDING"]);
    run.finish("b");
    run.finish("d");
    assert!(run.completed);
}

#[test]
fn a_failure_blocks_what_is_behind_it_and_nothing_else() {
    let nodes = [
        ("a", job(&[])),
        ("b", job(&[])),
        ("c", job(&["a"])),
        ("d", job(&["c"])),
        ("e", job(&["b"])),
        ("s", node(recipe_type("r", 1), &["a"])),
        ("t", job(&["s"])),
    ];
    let mut run = run(graph(nodes), 0);
    run.fail("a");
    let of = |run: &Run| ["c", "d", "t"].map(|name| run.status(name).as_str());
    assert_eq!(of(&run), ["BLOCKED"; 3]);
    assert!(matches!(run.state("s"), NodeState::Recipe { blocked: true, started: false, .. }));
    run.finish("b");
    assert_eq!(run.status("e"), JobStatus::Queued, "siblings go on");
    run.finish("e");
    assert!(!run.completed);

    run.event("a", JobEvent::Requeue { max_tries: 3 });
    assert_eq!(of(&run), ["PENDING"; 3], "nothing blocks any more");
    assert!(matches!(run.state("s"), NodeState::Recipe { blocked: false, started: false, .. }));
    run.finish("a");
    assert!(matches!(run.state("s"), NodeState::Recipe { started: true, .. }));
    run.drain(0);
    assert!(run.completed, "a later success completes the recipe");
}

#[test]
fn a_canceled_job_that_was_never_queued_blocks_until_it_is_requeued() {
    let mut run = run(graph([("a", job(&[])), ("b", job(&["a"])), ("c", job(&["b"]))]), 0);
    run.event("b", JobEvent::Cancel);
    assert_eq!(run.status("c"), JobStatus::Blocked);
    run.finish("a");
    assert_eq!(run.status("b"), JobStatus::Canceled);
    run.event("b", JobEvent::Requeue { max_tries: 3 });
    assert_eq!(
        (run.status("b"), run.status("c")),
        (JobStatus::Queued, JobStatus::Pending),
        "it was ready already"
    );
}

#[test]
fn conditions_are_if_and_else() {
    let nodes = || {
        graph([
            ("a", job(&[])),
            ("gate", node(condition(0), &["a"])),
            ("yes", job(&["gate"])),
            ("no", rejected(job(&[]), "gate")),
            ("after_no", job(&["no"])),
            ("torn", job(&["yes", "no"])),
        ])
    };
    for (outcomes, exist, absent) in [
        (u16::MAX, ["yes"].as_slice(), ["no", "after_no", "torn"].as_slice()),
        (0, &["no", "after_no"], &["yes", "torn"]),
    ] {
        let mut run = run(nodes(), outcomes);
        let created = run.states.iter().filter(|state| **state != NodeState::Absent).count();
        assert_eq!(created, 2, "what is behind an undecided condition waits");
        run.finish("a");
        assert!(exist.iter().all(|name| run.state(name) != NodeState::Absent));
        assert!(absent.iter().all(|name| run.state(name) == NodeState::Absent));
        let skipped: Vec<NodeIndex> = run.evaluate().skipped.iter().collect();
        let mut expected: Vec<NodeIndex> = absent.iter().map(|name| run.index(name)).collect();
        expected.sort_unstable();
        assert_eq!(skipped, expected);
        run.drain(0);
        assert!(run.completed, "skipped nodes count as complete");
    }
}

#[test]
fn a_recipe_without_nodes_completes_at_once() {
    assert!(run(graph([]), 0).completed);
    let mut waiting = Run::new(graph([]), 0);
    waiting.surroundings.has_input = false;
    assert!(!waiting.evaluate().completed, "a sub-recipe only with its input");
    waiting.surroundings.has_input = true;
    assert!(waiting.evaluate().completed);
}

#[test]
fn a_sub_recipe_exists_before_its_input_and_waits() {
    let nodes = || graph([("a", job(&[])), ("gate", node(condition(0), &[])), ("b", job(&["gate"]))]);
    let mut sub = Run::new(nodes(), u16::MAX);
    sub.surroundings = Surroundings { has_input: false, ..WHOLE };
    sub.settle();
    assert_eq!(
        (sub.status("a"), sub.state("gate")),
        (JobStatus::Pending, NodeState::Condition { outcome: None })
    );
    sub.surroundings.blocked = true;
    sub.settle();
    assert_eq!(sub.status("a"), JobStatus::Blocked, "its jobs are blocked from outside");
    sub.surroundings = WHOLE;
    sub.settle();
    assert_eq!((sub.status("a"), sub.status("b")), (JobStatus::Queued, JobStatus::Queued));
}

#[test]
fn a_failure_in_a_sub_recipe_blocks_what_is_behind_it() {
    let mut run = run(graph([("s", node(recipe_type("r", 1), &[])), ("b", job(&["s"])), ("c", job(&[]))]), 0);
    let at = Run::at(run.index("s"));
    run.states[at] = NodeState::Recipe {
        started: true,
        completed: false,
        failed: true,
        blocked: false,
        superseded: false,
    };
    run.settle();
    assert_eq!((run.status("b"), run.status("c")), (JobStatus::Blocked, JobStatus::Queued));
    run.repair();
    assert_eq!(run.status("b"), JobStatus::Pending);
    run.drain(0);
    assert!(run.completed);
}

#[test]
fn a_copied_failure_blocks_what_is_done_again() {
    let mut run = Run::new(graph([("a", job(&[])), ("b", job(&["a"]))]), 0);
    let at = Run::at(run.index("a"));
    run.jobs[at] = Job { status: JobStatus::Failed, num_exes: 1, ..run.jobs[at] };
    run.states[at] = NodeState::Job { status: JobStatus::Failed, was_queued: true, superseded: false };
    run.settle();
    assert_eq!(run.status("b"), JobStatus::Blocked);
    run.event("a", JobEvent::Requeue { max_tries: 3 });
    run.drain(0);
    assert!(run.completed);
}

#[test]
fn what_is_superseded_neither_starts_nor_creates() {
    let mut run = Run::new(
        graph([("a", job(&[])), ("gate", node(condition(0), &["a"])), ("b", job(&["gate"]))]),
        u16::MAX,
    );
    run.settle();
    run.surroundings.superseded = true;
    run.finish("a");
    assert_eq!(run.state("gate"), NodeState::Condition { outcome: Some(true) }, "what is shared goes on");
    assert_eq!(run.state("b"), NodeState::Absent);
    assert!(!run.evaluate().completed, "b is missing");
    let pending = NodeState::Job { status: JobStatus::Pending, was_queued: false, superseded: true };
    let evaluation = evaluate(&graph([("a", job(&[]))]), WHOLE, |_| pending);
    assert!(evaluation.is_idle() && !evaluation.completed);
}

#[test]
fn created_nodes_stand_at_the_beginning() {
    let job = NodeState::Job { status: JobStatus::Pending, was_queued: false, superseded: false };
    assert_eq!(NodeState::created(NodeType::Job), job);
    assert_eq!(NodeState::created(NodeType::Condition), NodeState::Condition { outcome: None });
    assert!(matches!(
        NodeState::created(NodeType::Recipe),
        NodeState::Recipe { started: false, failed: false, .. }
    ));
}

proptest! {
    #![proptest_config(crate::properties::config(256))]

    /// Whatever happens in whatever order: every step keeps the rules (see `settle` and `carry_out`), everything
    /// ends, and what failed can be made good.
    #[test]
    fn recipes_end_whatever_happens(
        slots in slots(), outcomes in any::<u16>(), choices in prop::collection::vec(any::<u32>(), 0..40), bad in any::<u16>(),
    ) {
        let mut run = run(Graph::compile(&assemble(&slots)).unwrap(), outcomes);
        if !run.graph.is_empty() {
            for choice in choices { run.happen(choice); }
        }
        run.drain(bad & bad >> 3);
        for (index, node) in run.graph.nodes() {
            match run.states[Run::at(index)] {
                NodeState::Job { status: JobStatus::Completed | JobStatus::Failed | JobStatus::Canceled, .. } => {}
                NodeState::Job { status: JobStatus::Blocked, .. } => prop_assert!(run.has_block_before(index)),
                NodeState::Job { status, .. } => prop_assert!(false, "{} is {}", node.name, status),
                NodeState::Recipe { started, completed, failed, .. } => {
                    prop_assert!(completed || failed || !started && run.has_block_before(index));
                }
                NodeState::Condition { outcome } => prop_assert!(outcome.is_some() || run.has_block_before(index)),
                NodeState::Absent => prop_assert!(
                    run.is_contradicted(index) || run.has_block_before(index), "{} is missing", node.name),
            }
        }
        // Each round of repairs gets at least one node further.
        for _ in 0..=run.graph.len() {
            run.repair();
            run.drain(0);
        }
        prop_assert!(run.is_completed(), "{:?}", run.states);
        prop_assert!(run.completed);
    }

    /// Exactly the nodes of the branches that are taken exist in the end, and each of them once.
    #[test]
    fn conditions_alone_decide_what_exists(slots in slots(), outcomes in any::<u16>()) {
        let mut run = run(Graph::compile(&assemble(&slots)).unwrap(), outcomes);
        let early: Vec<bool> = run.graph.nodes().map(|(_, node)| {
            node.ancestors.iter().all(|before| !matches!(run.graph.node(before).kind, NodeKind::Condition(_)))
        }).collect();
        for (index, _) in run.graph.nodes() {
            if early[Run::at(index)] { prop_assert!(run.states[Run::at(index)] != NodeState::Absent, "created right away"); }
        }
        run.drain(0);
        prop_assert!(run.completed);
        for (index, node) in run.graph.nodes() {
            let taken = node.parents.iter().all(|parent| {
                run.states[Run::at(parent.node)] != NodeState::Absent
                    && parent.acceptance.is_none_or(|wanted| wanted == (outcomes & (1 << Run::at(parent.node)) != 0))
            });
            prop_assert_eq!(run.states[Run::at(index)] != NodeState::Absent, taken);
        }
    }
}
