//! A recipe type's revision, compiled: loaded once, shared by everything that runs it (design section 8).
//!
//! Nodes are numbered in the order of creation, parents before children. Beside the edges the graph holds what
//! follows from them, so that neither the store nor a worker has to walk:
//!
//! - *Requirements*: the outcomes of conditions that a node's creation waits for (contract 6.2 rule 2). Only the
//!   nearest conditions upstream are listed, since a condition is processed only after its own requirements were met.
//!   A node without any is created with the recipe.
//! - *Sources*: where each input's value comes from in the end. A condition passes its inputs on (6.3), so
//!   connections to one are followed through to a recipe input or a job's output.
//! - *Ancestors and descendants*, for blocking and for forced nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::data::{Data, DataValue};
use super::definition::{Connection, NodeKind, NodeType, RecipeDefinition, RecipeTypeRef};
use super::interface::Interface;
use super::node_set::{NodeIndex, NodeSet};
use super::order::Order;

/// The nodes of one revision and what follows from their dependencies.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    input: Interface,
    nodes: Vec<GraphNode>,
    by_name: BTreeMap<Arc<str>, NodeIndex>,
}

/// A node of a [`Graph`].
#[derive(Debug, Clone, PartialEq)]
pub struct GraphNode {
    /// Its name.
    pub name: Arc<str>,
    /// What it does.
    pub kind: NodeKind,
    /// The nodes that go before it, by name.
    pub parents: Vec<Parent>,
    /// The nodes that depend on it, in their order.
    pub children: Vec<NodeIndex>,
    /// Its connections as defined, by input.
    pub connections: BTreeMap<String, Connection>,
    /// Its inputs with where their values come from in the end; those that nothing can ever reach are left out.
    pub sources: Vec<(String, Source)>,
    /// The outcomes that its creation waits for.
    pub requirements: Vec<Requirement>,
    /// Everything before it.
    pub ancestors: NodeSet,
    /// Everything behind it.
    pub descendants: NodeSet,
    /// Whether both outcomes of one condition are needed: the node never exists.
    pub unreachable: bool,
}

/// A dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// The node that goes before.
    pub node: NodeIndex,
    /// The outcome that is wanted, of a condition; other nodes have none.
    pub acceptance: Option<bool>,
}

/// An outcome that a node's creation waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    /// The condition.
    pub condition: NodeIndex,
    /// What it must come to.
    pub acceptance: bool,
}

/// Where a value comes from in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An input of the recipe.
    RecipeInput(String),
    /// An output of a job.
    JobOutput {
        /// The job's node.
        node: NodeIndex,
        /// The output's name.
        output: String,
    },
}

/// Why a definition cannot be compiled. Definitions that were checked can be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// A dependency or a connection to a node that does not exist.
    #[error("node `{node}` refers to `{to}`, which does not exist")]
    UnknownNode {
        /// The node that refers.
        node: String,
        /// What it refers to.
        to: String,
    },
    /// A circle of dependencies.
    #[error("node `{0}` depends on itself")]
    Circle(String),
    /// More nodes than [`MAX_NODES`](super::MAX_NODES).
    #[error("there are more than {} nodes", super::MAX_NODES)]
    TooManyNodes,
}

impl Graph {
    /// Compiles a definition.
    pub fn compile(definition: &RecipeDefinition) -> Result<Self, GraphError> {
        if definition.nodes.len() > super::MAX_NODES {
            return Err(GraphError::TooManyNodes);
        }
        for (name, node) in &definition.nodes {
            let connected = node.input.values().filter_map(|connection| match connection {
                Connection::Dependency { node, .. } => Some(node),
                Connection::Recipe { .. } => None,
            });
            if let Some(to) =
                node.dependencies.keys().chain(connected).find(|to| !definition.nodes.contains_key(*to))
            {
                return Err(GraphError::UnknownNode { node: name.clone(), to: to.clone() });
            }
        }
        let order = Order::of(definition);
        if let Some(circle) = order.circles.first() {
            return Err(GraphError::Circle(order.names[circle[0]].to_owned()));
        }
        Ok(Self::assemble(definition, &order))
    }

    fn assemble(definition: &RecipeDefinition, order: &Order<'_>) -> Self {
        let mut graph = Self {
            input: definition.input.clone(),
            nodes: Vec::with_capacity(order.sorted.len()),
            by_name: BTreeMap::new(),
        };
        // Conditions whose acceptance, and whose rejection, a node needs at any distance.
        let mut needs: Vec<[NodeSet; 2]> = Vec::with_capacity(order.sorted.len());
        for (position, number) in order.sorted.iter().zip(0_u16..) {
            let index = NodeIndex(number);
            let name = order.names[*position];
            let Some(node) = definition.nodes.get(name) else { continue };
            let mut ancestors = NodeSet::default();
            let mut requirements = Vec::new();
            let mut needed: [NodeSet; 2] = Default::default();
            let mut parents = Vec::with_capacity(node.dependencies.len());
            for (parent, acceptance) in &node.dependencies {
                let Some(parent) = graph.by_name.get(parent.as_str()).copied() else { continue };
                let upstream = &mut graph.nodes[parent.at()];
                upstream.children.push(index);
                ancestors.insert(parent);
                ancestors.union(&upstream.ancestors);
                for (needed, of_parent) in needed.iter_mut().zip(&needs[parent.at()]) {
                    needed.union(of_parent);
                }
                let is_condition = matches!(upstream.kind, NodeKind::Condition(_));
                if is_condition {
                    requirements.push(Requirement { condition: parent, acceptance: *acceptance });
                    needed[usize::from(*acceptance)].insert(parent);
                } else {
                    requirements.extend_from_slice(&upstream.requirements);
                }
                parents.push(Parent { node: parent, acceptance: is_condition.then_some(*acceptance) });
            }
            requirements.sort_unstable();
            requirements.dedup();
            let sources = node
                .input
                .iter()
                .filter_map(|(input, connection)| Some((input.clone(), graph.source(connection)?)))
                .collect();
            let name: Arc<str> = name.into();
            graph.by_name.insert(name.clone(), index);
            graph.nodes.push(GraphNode {
                name,
                kind: node.kind.clone(),
                parents,
                children: Vec::new(),
                connections: node.input.clone(),
                sources,
                requirements,
                ancestors,
                descendants: NodeSet::default(),
                unreachable: needed[0].intersects(&needed[1]),
            });
            needs.push(needed);
        }
        for at in (0..graph.nodes.len()).rev() {
            let mut descendants: NodeSet = graph.nodes[at].children.iter().copied().collect();
            for child in &graph.nodes[at].children {
                descendants.union(&graph.nodes[child.at()].descendants);
            }
            graph.nodes[at].descendants = descendants;
        }
        graph
    }

    /// Follows a connection through conditions, all of which come before and are in the graph already.
    fn source(&self, connection: &Connection) -> Option<Source> {
        match connection {
            Connection::Recipe { input } => Some(Source::RecipeInput(input.clone())),
            Connection::Dependency { node, output } => {
                let index = self.by_name.get(node.as_str()).copied()?;
                let source = &self.nodes[index.at()];
                match &source.kind {
                    NodeKind::Job(_) => Some(Source::JobOutput { node: index, output: output.clone() }),
                    NodeKind::Condition(_) => source
                        .sources
                        .iter()
                        .find(|(input, _)| input == output)
                        .map(|(_, source)| source.clone()),
                    NodeKind::Recipe(_) => None,
                }
            }
        }
    }

    /// The recipe's inputs.
    pub const fn input(&self) -> &Interface {
        &self.input
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A node of this graph. Panics for one of a larger graph, as slices do.
    pub fn node(&self, index: NodeIndex) -> &GraphNode {
        &self.nodes[index.at()]
    }

    /// Every node, in the order of creation.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = (NodeIndex, &GraphNode)> + ExactSizeIterator {
        // Numbers fit, since there are at most MAX_NODES.
        self.nodes
            .iter()
            .enumerate()
            .map(|(at, node)| (NodeIndex(u16::try_from(at).unwrap_or(u16::MAX)), node))
    }

    /// The node of a name.
    pub fn find(&self, name: &str) -> Option<NodeIndex> {
        self.by_name.get(name).copied()
    }

    /// The node with a number that a table holds.
    pub fn by_number(&self, number: i16) -> Option<NodeIndex> {
        let number = u16::try_from(number).ok()?;
        (usize::from(number) < self.nodes.len()).then_some(NodeIndex(number))
    }

    /// The names of nodes that never run.
    pub fn unreachable(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().filter(|node| node.unreachable).map(|node| node.name.as_ref())
    }

    /// The recipe types of recipe nodes, once for every node.
    pub fn sub_recipes(&self) -> impl Iterator<Item = (NodeIndex, &RecipeTypeRef)> {
        self.nodes().filter_map(|(index, node)| match &node.kind {
            NodeKind::Recipe(recipe) => Some((index, recipe)),
            NodeKind::Job(_) | NodeKind::Condition(_) => None,
        })
    }

    /// The nodes that have metrics in a batch (contract 2.2): the jobs of this level.
    pub fn job_nodes(&self) -> impl Iterator<Item = (NodeIndex, &GraphNode)> {
        self.nodes().filter(|(_, node)| node.kind.node_type() == NodeType::Job)
    }

    /// The input of a node, once everything before it is ready (contract 6.2 rule 3). What is not there is left out;
    /// whether that makes a valid input is told by [`Data::check`].
    pub fn node_input<'d>(
        &self,
        node: NodeIndex,
        recipe_input: &'d Data,
        output: impl Fn(NodeIndex) -> Option<&'d Data>,
    ) -> Data {
        let mut input = Data::default();
        for (name, source) in &self.node(node).sources {
            let value: Option<DataValue<'d>> = match source {
                Source::RecipeInput(from) => recipe_input.get(from),
                Source::JobOutput { node, output: from } => output(*node).and_then(|data| data.get(from)),
            };
            if let Some(value) = value {
                input.set(name, value);
            }
        }
        input
    }
}
