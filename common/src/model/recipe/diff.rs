//! What differs between two revisions of a recipe type (contract 4.10). The serialised form is the Recipe Diff document.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::definition::{NodeKind, NodeType};
use super::finding::Finding;
use super::forced::ForcedNodes;
use super::graph::{Graph, GraphNode};
use super::interface::Widening;
use super::names::{DefinitionWarning, DiffReason, NodeChange};
use super::node_set::NodeSet;

/// The difference of two revisions. Nodes match by name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// Whether recipes of the old revision can be reprocessed with the new one: the new inputs accept the old ones.
    pub can_be_reprocessed: bool,
    /// Why not; empty iff they can.
    pub reasons: Vec<Finding<DiffReason>>,
    /// Every node of either revision.
    pub nodes: BTreeMap<Arc<str>, NodeDiff>,
}

/// The difference of one node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeDiff {
    /// What became of it.
    pub status: NodeStatus,
    /// What changed; empty unless it is CHANGED.
    pub changes: Vec<Finding<NodeChange>>,
    /// Whether reprocessing makes it anew.
    pub reprocess_new_node: bool,
    /// Whether it is forced, or behind a forced one.
    pub force_reprocess: bool,
    /// Its parents; those of the old revision for one that is DELETED.
    pub dependencies: Vec<NodeName>,
    /// Its former kind, if that changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_node_type: Option<&'static str>,
    /// What it does.
    pub node_type: NodeTypeDiff,
}

/// What became of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum NodeStatus {
    /// The same in both revisions.
    Unchanged,
    /// In both, and different, or behind one that is.
    Changed,
    /// In the new revision only.
    New,
    /// In the old revision only.
    Deleted,
}

/// `{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeName {
    /// The node.
    pub name: Arc<str>,
}

/// What a node does, with what it did before where that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "node_type", rename_all = "lowercase")]
#[allow(missing_docs, reason = "the keys are those of the contract")]
pub enum NodeTypeDiff {
    /// A job.
    Job {
        job_type_name: String,
        job_type_version: String,
        job_type_revision: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        prev_job_type_name: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        prev_job_type_version: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        prev_job_type_revision: Option<i64>,
    },
    /// A sub-recipe.
    Recipe {
        recipe_type_name: String,
        recipe_type_revision: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        prev_recipe_type_name: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        prev_recipe_type_revision: Option<i64>,
    },
    /// A condition.
    Condition,
}

impl NodeDiff {
    /// Whether reprocessing keeps the old recipe's node (4.10: the copy set).
    pub fn is_copied(&self) -> bool {
        self.status != NodeStatus::Deleted && !self.reprocess_new_node
    }

    /// Whether reprocessing supersedes the old recipe's node (4.10: the supersede set).
    pub fn is_superseded(&self) -> bool {
        match self.status {
            NodeStatus::Deleted | NodeStatus::Changed => true,
            NodeStatus::Unchanged => self.force_reprocess,
            NodeStatus::New => false,
        }
    }

    /// Whether nothing but the recipe type or its revision changed, so that it can be looked at from inside (4.5).
    pub(super) fn is_type_change_only(&self) -> bool {
        let of_type = |name| matches!(name, NodeChange::RecipeType | NodeChange::RecipeTypeRevision);
        self.changes.iter().all(|change| of_type(change.name))
    }
}

impl Diff {
    /// Compares two revisions; nothing is forced.
    pub fn between(prev: &Graph, new: &Graph) -> Self {
        let mismatches = new.input().mismatches(prev.input(), Widening::Exact);
        let reasons: Vec<Finding<DiffReason>> = mismatches
            .into_iter()
            .filter(|mismatch| !mismatch.kind.is_warning())
            .map(|mismatch| {
                let text = format!("input `{}` {}", mismatch.parameter, mismatch.kind);
                Finding::new(DiffReason::InputChange, "", text)
            })
            .collect();
        let can_be_reprocessed = reasons.is_empty();
        let mut nodes: BTreeMap<Arc<str>, NodeDiff> = BTreeMap::new();
        // Parents come first, so that what they became is known.
        for (_, node) in new.nodes() {
            let before = prev.find(&node.name).map(|index| prev.node(index));
            let changes = before.map(|before| {
                changes(prev, before, new, node, &|parent| {
                    nodes.get(parent).is_some_and(|diff| diff.status == NodeStatus::Changed)
                })
            });
            let status = match &changes {
                None => NodeStatus::New,
                Some(changes) if changes.is_empty() => NodeStatus::Unchanged,
                Some(_) => NodeStatus::Changed,
            };
            let kind = before.map(|before| before.kind.node_type());
            let diff = NodeDiff {
                status,
                changes: changes.unwrap_or_default(),
                reprocess_new_node: can_be_reprocessed && status != NodeStatus::Unchanged,
                force_reprocess: false,
                dependencies: dependencies(new, node),
                prev_node_type: kind.filter(|kind| *kind != node.kind.node_type()).map(NodeType::as_str),
                node_type: NodeTypeDiff::of(&node.kind, before.map(|before| &before.kind)),
            };
            nodes.insert(node.name.clone(), diff);
        }
        for (_, node) in prev.nodes() {
            if new.find(&node.name).is_none() {
                let diff = NodeDiff {
                    status: NodeStatus::Deleted,
                    changes: Vec::new(),
                    reprocess_new_node: false,
                    force_reprocess: false,
                    dependencies: dependencies(prev, node),
                    prev_node_type: None,
                    node_type: NodeTypeDiff::of(&node.kind, None),
                };
                nodes.insert(node.name.clone(), diff);
            }
        }
        Self { can_be_reprocessed, reasons, nodes }
    }

    /// Forces nodes and everything behind them (4.5). `new` is the new revision. Statuses stay.
    pub fn force(&mut self, new: &Graph, forced: &ForcedNodes) {
        let mut all = NodeSet::default();
        for (index, node) in new.nodes() {
            if forced.names(&node.name) {
                all.insert(index);
                all.union(&node.descendants);
            }
        }
        for (name, diff) in &mut self.nodes {
            let is_forced = new.find(name).map_or_else(|| forced.names(name), |index| all.contains(index));
            diff.force_reprocess |= is_forced;
            diff.reprocess_new_node |=
                is_forced && self.can_be_reprocessed && diff.status != NodeStatus::Deleted;
        }
    }

    /// Whether every node would be copied and none deleted.
    pub fn is_nothing_to_do(&self) -> bool {
        self.nodes.values().all(NodeDiff::is_copied)
    }

    /// What an edit of the recipe type warns of, if existing recipes cannot be reprocessed after it (5.2).
    pub fn edit_warning(&self) -> Option<Finding<DefinitionWarning>> {
        let reasons: Vec<String> = self.reasons.iter().map(ToString::to_string).collect();
        let text = format!("existing recipes cannot be reprocessed: {}", reasons.join("; "));
        (!self.can_be_reprocessed).then(|| Finding::new(DefinitionWarning::ReprocessWarning, "", text))
    }
}

fn dependencies(graph: &Graph, node: &GraphNode) -> Vec<NodeName> {
    node.parents.iter().map(|parent| NodeName { name: graph.node(parent.node).name.clone() }).collect()
}

/// What changed about a node that both revisions have, in the contract's order.
fn changes(
    prev: &Graph,
    before: &GraphNode,
    new: &Graph,
    now: &GraphNode,
    is_changed: &dyn Fn(&str) -> bool,
) -> Vec<Finding<NodeChange>> {
    let mut found = kind_changes(&before.kind, &now.kind);
    let mut tell = |name: NodeChange, text: String| found.push(Finding::new(name, "", text));

    let of = |graph: &Graph, node: &GraphNode| -> BTreeMap<Arc<str>, Option<bool>> {
        node.parents.iter().map(|parent| (graph.node(parent.node).name.clone(), parent.acceptance)).collect()
    };
    let (old_parents, new_parents) = (of(prev, before), of(new, now));
    for name in new_parents.keys() {
        if !old_parents.contains_key(name) {
            tell(NodeChange::ParentNew, format!("`{name}` is a new dependency"));
        } else if is_changed(name) {
            tell(NodeChange::ParentChanged, format!("dependency `{name}` changed"));
        }
    }
    for name in old_parents.keys().filter(|name| !new_parents.contains_key(*name)) {
        tell(NodeChange::ParentRemoved, format!("`{name}` is no dependency any more"));
    }
    for (name, acceptance) in &new_parents {
        // Where the parent was no condition before, or is none now, it changed itself.
        if let (Some(now), Some(Some(before))) = (acceptance, old_parents.get(name))
            && now != before
        {
            tell(NodeChange::ParentAcceptance, format!("wants `{name}` to be {}", accepted(*now)));
        }
    }

    for (input, connection) in &now.connections {
        match before.connections.get(input) {
            None => tell(NodeChange::InputNew, format!("input `{input}` is newly connected")),
            Some(before) if before != connection => {
                tell(NodeChange::InputChange, format!("input `{input}` is connected to something else"));
            }
            Some(_) => {}
        }
    }
    for input in before.connections.keys().filter(|input| !now.connections.contains_key(*input)) {
        tell(NodeChange::InputRemoved, format!("input `{input}` is not connected any more"));
    }
    found
}

const fn accepted(acceptance: bool) -> &'static str {
    if acceptance { "accepted" } else { "rejected" }
}

fn kind_changes(before: &NodeKind, now: &NodeKind) -> Vec<Finding<NodeChange>> {
    let mut found = Vec::new();
    let mut compare = |name: NodeChange, what: &str, before: &str, now: &str| {
        if before != now {
            found.push(Finding::new(name, "", format!("{what} {before} became {now}")));
        }
    };
    match (before, now) {
        (NodeKind::Job(before), NodeKind::Job(now)) => {
            compare(NodeChange::JobType, "job type", &before.name, &now.name);
            compare(NodeChange::JobTypeVersion, "job type version", &before.version, &now.version);
            let (before, now) = (before.revision.to_string(), now.revision.to_string());
            compare(NodeChange::JobTypeRevision, "job type revision", &before, &now);
        }
        (NodeKind::Recipe(before), NodeKind::Recipe(now)) => {
            compare(NodeChange::RecipeType, "recipe type", &before.name, &now.name);
            let (before, now) = (before.revision.to_string(), now.revision.to_string());
            compare(NodeChange::RecipeTypeRevision, "recipe type revision", &before, &now);
        }
        (NodeKind::Condition(before), NodeKind::Condition(now)) => {
            if before.filter != now.filter {
                found.push(Finding::new(NodeChange::Filter, "", "the data filter changed"));
            }
        }
        (before, now) => {
            let (before, now) = (before.node_type().as_str(), now.node_type().as_str());
            compare(NodeChange::NodeType, "node type", before, now);
        }
    }
    found
}

impl NodeTypeDiff {
    fn of(kind: &NodeKind, before: Option<&NodeKind>) -> Self {
        match kind {
            NodeKind::Job(job) => {
                let before = match before {
                    Some(NodeKind::Job(before)) => before,
                    _ => job,
                };
                Self::Job {
                    job_type_name: job.name.clone(),
                    job_type_version: job.version.clone(),
                    job_type_revision: job.revision,
                    prev_job_type_name: (before.name != job.name).then(|| before.name.clone()),
                    prev_job_type_version: (before.version != job.version).then(|| before.version.clone()),
                    prev_job_type_revision: (before.revision != job.revision).then_some(before.revision),
                }
            }
            NodeKind::Recipe(recipe) => {
                let before = match before {
                    Some(NodeKind::Recipe(before)) => before,
                    _ => recipe,
                };
                Self::Recipe {
                    recipe_type_name: recipe.name.clone(),
                    recipe_type_revision: recipe.revision,
                    prev_recipe_type_name: (before.name != recipe.name).then(|| before.name.clone()),
                    prev_recipe_type_revision: (before.revision != recipe.revision)
                        .then_some(before.revision),
                }
            }
            NodeKind::Condition(_) => Self::Condition,
        }
    }
}
