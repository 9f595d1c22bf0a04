//! What happens next in a recipe (contract 6.2): one pure look at a graph and the states of its nodes.
//!
//! It is asked whenever the recipe gets its input or a node changed, says everything that can be done at once, and
//! says nothing new until something changed: asking twice, or doing what it says twice, does no harm. Set-based SQL
//! does the same with the tables of [`GraphTables`](super::GraphTables); this is the rule that it is held to.

use super::definition::NodeType;
use super::graph::Graph;
use super::job::JobStatus;
use super::node_set::{NodeIndex, NodeSet};

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeState {
    /// It was not created.
    Absent,
    /// A job.
    Job {
        /// Its status.
        status: JobStatus,
        /// Whether it was ever on the queue: then it is not touched any more by what happens before it.
        was_queued: bool,
        /// Whether it is superseded: then it is never queued.
        superseded: bool,
    },
    /// A sub-recipe.
    Recipe {
        /// Whether it got its input.
        started: bool,
        /// Whether it is completed.
        completed: bool,
        /// Whether a job in it, at any depth, is FAILED or CANCELED. With a BLOCKED one there is such a job in it,
        /// too, unless it is blocked from outside, which is found here.
        failed: bool,
        /// Whether its jobs were told that something before it blocks.
        blocked: bool,
        /// Whether it is superseded.
        superseded: bool,
    },
    /// A condition, with its outcome once it was processed.
    Condition {
        /// Whether it accepted.
        outcome: Option<bool>,
    },
}

impl NodeState {
    /// A node of this kind as it is created.
    pub const fn created(node_type: NodeType) -> Self {
        match node_type {
            NodeType::Job => Self::Job { status: JobStatus::Pending, was_queued: false, superseded: false },
            NodeType::Recipe => Self::Recipe {
                started: false,
                completed: false,
                failed: false,
                blocked: false,
                superseded: false,
            },
            NodeType::Condition => Self::Condition { outcome: None },
        }
    }

    /// Whether nothing more is to be done about it.
    const fn is_complete(self) -> bool {
        match self {
            Self::Absent => false,
            Self::Job { status, .. } => matches!(status, JobStatus::Completed),
            Self::Recipe { completed, .. } => completed,
            Self::Condition { outcome } => outcome.is_some(),
        }
    }
}

/// What is true of the recipe as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// Whether it has its input. A sub-recipe gets it late; until then its nodes exist and wait.
    pub has_input: bool,
    /// Whether it is a sub-recipe before which something blocks (6.2 rule 1).
    pub blocked: bool,
    /// Whether it is superseded: it then creates nothing any more. What it shares with its successor goes on.
    pub superseded: bool,
}

/// What can be done now. Nodes are in the order of creation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evaluation {
    /// Nodes to create, as PENDING. Ask again when they are there.
    pub create: Vec<NodeIndex>,
    /// Jobs to make BLOCKED, and sub-recipes whose never-queued jobs are to be.
    pub block: Vec<NodeIndex>,
    /// Jobs to make PENDING again, and sub-recipes whose jobs are to be evaluated anew.
    pub release: Vec<NodeIndex>,
    /// Nodes that get their input: jobs to queue, sub-recipes to start, conditions to process.
    pub start: Vec<NodeIndex>,
    /// Nodes that will never be created.
    pub skipped: NodeSet,
    /// Whether the recipe is completed.
    pub completed: bool,
}

impl Evaluation {
    /// Whether there is nothing to do.
    pub const fn is_idle(&self) -> bool {
        self.create.is_empty() && self.block.is_empty() && self.release.is_empty() && self.start.is_empty()
    }
}

/// Whether a node comes to exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Creation {
    /// At once.
    Allowed,
    /// When conditions were processed.
    Undecided,
    /// Never.
    Contradicted,
}

/// Evaluates a recipe. `state` is asked for nodes of the graph only.
pub fn evaluate(
    graph: &Graph,
    surroundings: Surroundings,
    state: impl Fn(NodeIndex) -> NodeState,
) -> Evaluation {
    let mut evaluation = Evaluation::default();
    // Nodes that block, and nodes with one of those before them.
    let mut blocking = NodeSet::default();
    let mut blocked = NodeSet::default();
    let mut done = true;
    for (index, node) in graph.nodes() {
        let behind_a_block = surroundings.blocked
            || node
                .parents
                .iter()
                .any(|parent| blocking.contains(parent.node) || blocked.contains(parent.node));
        if behind_a_block {
            blocked.insert(index);
        }
        let own = match state(index) {
            NodeState::Absent => {
                match creation(graph, index, &evaluation.skipped, &state) {
                    Creation::Contradicted => _ = evaluation.skipped.insert(index),
                    Creation::Allowed if !surroundings.superseded => {
                        evaluation.create.push(index);
                        done = false;
                    }
                    Creation::Allowed | Creation::Undecided => done = false,
                }
                continue;
            }
            own => own,
        };
        done &= own.is_complete();
        let ready = surroundings.has_input
            && !behind_a_block
            && node.parents.iter().all(|parent| is_ready(state(parent.node), parent.acceptance));
        match own {
            NodeState::Absent => {}
            NodeState::Condition { outcome } => {
                if ready && outcome.is_none() {
                    evaluation.start.push(index);
                }
            }
            NodeState::Job { status, was_queued, superseded } => {
                if matches!(status, JobStatus::Failed | JobStatus::Canceled) {
                    blocking.insert(index);
                }
                match status {
                    _ if was_queued => {}
                    JobStatus::Pending if behind_a_block => evaluation.block.push(index),
                    JobStatus::Pending | JobStatus::Blocked if ready && !superseded => {
                        evaluation.start.push(index)
                    }
                    JobStatus::Blocked if !behind_a_block => evaluation.release.push(index),
                    _ => {}
                }
            }
            NodeState::Recipe { started, completed, failed, blocked, superseded } => {
                if failed {
                    blocking.insert(index);
                }
                match () {
                    () if started || completed => {}
                    () if behind_a_block && !blocked => evaluation.block.push(index),
                    () if !behind_a_block && blocked => evaluation.release.push(index),
                    () if ready && !superseded => evaluation.start.push(index),
                    () => {}
                }
            }
        }
    }
    evaluation.completed = done && surroundings.has_input;
    evaluation
}

fn creation(
    graph: &Graph,
    index: NodeIndex,
    skipped: &NodeSet,
    state: &impl Fn(NodeIndex) -> NodeState,
) -> Creation {
    let node = graph.node(index);
    if node.unreachable || node.parents.iter().any(|parent| skipped.contains(parent.node)) {
        return Creation::Contradicted;
    }
    let mut creation = Creation::Allowed;
    for requirement in &node.requirements {
        match state(requirement.condition) {
            NodeState::Condition { outcome: Some(outcome) } if outcome == requirement.acceptance => {}
            NodeState::Condition { outcome: Some(_) } => return Creation::Contradicted,
            _ => creation = Creation::Undecided,
        }
    }
    creation
}

/// Whether a parent gives way to its children (6.2 rule 3).
fn is_ready(parent: NodeState, acceptance: Option<bool>) -> bool {
    match parent {
        NodeState::Absent => false,
        NodeState::Job { status, .. } => status == JobStatus::Completed,
        NodeState::Recipe { completed, .. } => completed,
        NodeState::Condition { outcome } => outcome.is_some() && outcome == acceptance,
    }
}
