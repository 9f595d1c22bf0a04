//! A graph as plain columns, for SQL that unlocks by sets: each table is given to the database as arrays (`UNNEST`)
//! or kept in a table beside the revision.
//!
//! How they serve, for a group of recipes at once:
//!
//! - *Creation*: every row of [`NodeTable`] with `immediate` is inserted with the recipe, its `parents` as the number of
//!   parents that it waits for. The others are inserted when the last of their rows in [`RequirementTable`] is met, and
//!   wait for those parents that did not give way yet.
//! - *Unlocking*: a node that is ready (job completed, sub-recipe completed, condition processed) joins [`EdgeTable`]
//!   by `parent`, and each child's number of waiting parents goes down by one for an edge whose `acceptance` is null
//!   or the outcome. At 0 the child is ready.
//! - *Blocking*: [`closure`] has every pair of a node and what is behind it.

use super::graph::Graph;
use super::node_set::NodeIndex;

/// The nodes. Row by row, the columns have equal lengths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeTable {
    /// The node's number.
    pub node: Vec<i16>,
    /// Its name.
    pub name: Vec<String>,
    /// `job`, `recipe` or `condition`.
    pub node_type: Vec<&'static str>,
    /// How many parents it has.
    pub parents: Vec<i16>,
    /// Whether it is created with the recipe, since it waits for no condition.
    pub immediate: Vec<bool>,
}

/// The dependencies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EdgeTable {
    /// The node that goes before.
    pub parent: Vec<i16>,
    /// The node that depends on it.
    pub child: Vec<i16>,
    /// The outcome that is wanted; null where the parent is no condition.
    pub acceptance: Vec<Option<bool>>,
}

/// The outcomes that nodes wait for before they exist.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequirementTable {
    /// The node that waits.
    pub node: Vec<i16>,
    /// The condition that it waits for.
    pub condition: Vec<i16>,
    /// The outcome with which it is created; with the other one it never is.
    pub acceptance: Vec<bool>,
}

/// All tables of a revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GraphTables {
    /// The nodes.
    pub nodes: NodeTable,
    /// The dependencies.
    pub edges: EdgeTable,
    /// The requirements.
    pub requirements: RequirementTable,
}

impl GraphTables {
    /// The tables of a graph. Nodes that never run are in none of them, since no row is ever made for them.
    pub fn of(graph: &Graph) -> Self {
        let mut tables = Self::default();
        for (index, node) in graph.nodes().filter(|(_, node)| !node.unreachable) {
            tables.nodes.node.push(index.number());
            tables.nodes.name.push(node.name.to_string());
            tables.nodes.node_type.push(node.kind.node_type().as_str());
            tables.nodes.parents.push(i16::try_from(node.parents.len()).unwrap_or(i16::MAX));
            tables.nodes.immediate.push(node.requirements.is_empty());
            for parent in &node.parents {
                tables.edges.parent.push(parent.node.number());
                tables.edges.child.push(index.number());
                tables.edges.acceptance.push(parent.acceptance);
            }
            for requirement in &node.requirements {
                tables.requirements.node.push(index.number());
                tables.requirements.condition.push(requirement.condition.number());
                tables.requirements.acceptance.push(requirement.acceptance);
            }
        }
        tables
    }
}

/// Every pair of a node and one behind it. Up to n²/2 pairs.
pub fn closure(graph: &Graph) -> impl Iterator<Item = (NodeIndex, NodeIndex)> {
    graph.nodes().flat_map(|(index, node)| node.descendants.iter().map(move |behind| (index, behind)))
}
