//! Whether a definition holds together: its references, its graph, and what is connected (contract 5.2).

use std::collections::{BTreeMap, BTreeSet};

use super::{Connection, JobTypeRef, Node, NodeKind, RecipeDefinition, RecipeTypeRef};
use crate::model::recipe::finding::Validation;
use crate::model::recipe::graph::Graph;
use crate::model::recipe::interface::{Interface, Parameter, Widening};
use crate::model::recipe::names::{DefinitionError, DefinitionWarning};
use crate::model::recipe::order::Order;
use crate::model::recipe::reader::Place;

/// The types that a definition refers to, as far as they exist: those of [`RecipeDefinition::job_types`] and
/// [`RecipeDefinition::recipe_types`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalog {
    /// Job types by reference.
    pub job_types: BTreeMap<JobTypeRef, JobTypeEntry>,
    /// Recipe types by reference.
    pub recipe_types: BTreeMap<RecipeTypeRef, RecipeTypeEntry>,
}

/// What must be known of a job type's revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobTypeEntry {
    /// What it takes.
    pub inputs: Interface,
    /// What it gives.
    pub outputs: Interface,
    /// Whether it is deprecated.
    pub deprecated: bool,
}

/// What must be known of a recipe type's revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecipeTypeEntry {
    /// What it takes.
    pub inputs: Interface,
    /// The names of all recipe types in it, at any depth.
    pub contains: BTreeSet<String>,
    /// Whether it is deprecated.
    pub deprecated: bool,
}

type Found = Validation<DefinitionError, DefinitionWarning>;

impl RecipeDefinition {
    /// Checks the definition of the recipe type called `own_name` (none for one without a name yet) against what
    /// exists. All errors are told, the graph's before those of connections.
    pub fn check(&self, own_name: Option<&str>, catalog: &Catalog, place: Place<'_>) -> Found {
        let mut found = Found::default();
        let nodes = place.key("nodes");
        for (name, node) in &self.nodes {
            self.check_references(node, nodes.key(name), &mut found);
            check_types(node, own_name, catalog, nodes.key(name), &mut found);
        }
        for circle in self.circles() {
            let text = format!("nodes depend on each other in a circle: {}", circle.join(" → "));
            found.error(DefinitionError::CircularDependency, nodes.key(circle[0]), text);
        }
        let graph = Graph::compile(self).ok();
        for (name, node) in &self.nodes {
            self.check_inputs(name, node, catalog, graph.as_ref(), nodes.key(name), &mut found);
        }
        if let Some(graph) = &graph {
            for name in graph.unreachable() {
                let text = "needs both outcomes of one condition: it never runs";
                found.warning(DefinitionWarning::UnreachableNode, nodes.key(name), text);
            }
        }
        found
    }

    fn check_references(&self, node: &Node, place: Place<'_>, found: &mut Found) {
        let dependencies = place.key("dependencies");
        for (name, acceptance) in &node.dependencies {
            let place = dependencies.key(name);
            match self.nodes.get(name).map(|parent| &parent.kind) {
                None => {
                    found.error(DefinitionError::UnknownNode, place, format!("there is no node `{name}`"))
                }
                Some(NodeKind::Condition(_)) => {}
                Some(_) if *acceptance => {}
                Some(_) => {
                    let text = format!("`{name}` is no condition: `acceptance` is ignored");
                    found.warning(DefinitionWarning::AcceptanceIgnored, place, text);
                }
            }
        }
        let inputs = place.key("input");
        for (name, connection) in &node.input {
            let place = inputs.key(name);
            match connection {
                Connection::Recipe { input } => {
                    if self.input.get(input).is_none() {
                        let text = format!("the recipe has no input `{input}`");
                        found.error(DefinitionError::UnknownInput, place, text);
                    }
                }
                Connection::Dependency { node, .. } => match self.nodes.get(node).map(|node| &node.kind) {
                    None => {
                        found.error(
                            DefinitionError::UnknownNode,
                            place,
                            format!("there is no node `{node}`"),
                        );
                    }
                    Some(NodeKind::Recipe(_)) => {
                        let text = format!("`{node}` is a recipe, which has no outputs");
                        found.error(DefinitionError::ConnectionInvalidNode, place, text);
                    }
                    Some(_) => {}
                },
            }
        }
    }

    /// Circles of dependencies, each with its first node at the end again.
    fn circles(&self) -> Vec<Vec<&str>> {
        let order = Order::of(self);
        let named = |circle: &Vec<usize>| {
            circle.iter().chain(circle.first()).map(|node| order.names[*node]).collect()
        };
        order.circles.iter().map(named).collect()
    }

    /// Without a graph, which there is only without circles and unknown nodes, it is not asked what goes before what.
    fn check_inputs(
        &self,
        name: &str,
        node: &Node,
        catalog: &Catalog,
        graph: Option<&Graph>,
        place: Place<'_>,
        found: &mut Found,
    ) {
        let Some(inputs) = inputs_of(&node.kind, catalog) else { return };
        let goes_before = |parent: &str| {
            let Some(graph) = graph else { return true };
            let (Some(own), Some(parent)) = (graph.find(name), graph.find(parent)) else { return true };
            graph.node(own).ancestors.contains(parent)
        };
        let at = place.key("input");
        for (input, connection) in &node.input {
            let place = at.key(input);
            let Some(given) = self.given_by(connection, &goes_before, catalog, place, found) else {
                continue;
            };
            let Some(taken) = inputs.get(input) else {
                let text = format!("the node has no input `{input}`: the connection is ignored");
                found.warning(DefinitionWarning::UnmatchedParameters, place, text);
                continue;
            };
            for mismatch in taken.mismatches(&given, Widening::IntegerToNumber) {
                if mismatch.is_warning() {
                    found.warning(DefinitionWarning::MismatchedMediaTypes, place, mismatch.to_string());
                } else {
                    found.error(DefinitionError::NodeInterface, place, mismatch.to_string());
                }
            }
        }
        for (input, parameter) in &inputs.parameters {
            if parameter.required && !node.input.contains_key(input) {
                let text = "is required, and not connected";
                found.error(DefinitionError::NodeInterface, at.key(input), text);
            }
        }
    }

    /// The parameter that a connection offers; what is wrong with the connection itself is told. None where something
    /// of it is not known, which is told elsewhere.
    fn given_by(
        &self,
        connection: &Connection,
        goes_before: &dyn Fn(&str) -> bool,
        catalog: &Catalog,
        place: Place<'_>,
        found: &mut Found,
    ) -> Option<Parameter> {
        let (node, output) = match connection {
            Connection::Recipe { input } => return self.input.get(input).cloned(),
            Connection::Dependency { node, output } => (node, output),
        };
        let source = self.nodes.get(node)?;
        let outputs = match &source.kind {
            NodeKind::Job(job) => &catalog.job_types.get(job)?.outputs,
            NodeKind::Condition(condition) => &condition.filter.outputs(&condition.interface),
            NodeKind::Recipe(_) => return None,
        };
        if !goes_before(node) {
            let text = format!(
                "`{node}` does not go before this node: it must be a dependency, or one of a dependency"
            );
            found.error(DefinitionError::NodeInterface, place, text);
        }
        let given = outputs.get(output).cloned();
        if given.is_none() {
            let text = format!("`{node}` has no output `{output}`");
            found.error(DefinitionError::NodeInterface, place, text);
        }
        given
    }
}

fn inputs_of<'a>(kind: &'a NodeKind, catalog: &'a Catalog) -> Option<&'a Interface> {
    match kind {
        NodeKind::Job(job) => catalog.job_types.get(job).map(|entry| &entry.inputs),
        NodeKind::Recipe(recipe) => catalog.recipe_types.get(recipe).map(|entry| &entry.inputs),
        NodeKind::Condition(condition) => Some(&condition.interface),
    }
}

fn check_types(node: &Node, own_name: Option<&str>, catalog: &Catalog, place: Place<'_>, found: &mut Found) {
    let place = place.key("node_type");
    let mut deprecated = |what: String| {
        let text = format!("{what} is deprecated, and so is every recipe type with it");
        found.warning(DefinitionWarning::DeprecatedRecipes, place, text);
    };
    match &node.kind {
        NodeKind::Job(job) => {
            let JobTypeRef { name, version, revision } = job;
            match catalog.job_types.get(job) {
                Some(entry) if entry.deprecated => deprecated(format!("job type {name} {version}")),
                Some(_) => {}
                None => {
                    let text = format!("there is no job type {name} {version} with revision {revision}");
                    found.error(DefinitionError::JobTypeDoesNotExist, place, text);
                }
            }
        }
        NodeKind::Recipe(recipe) => {
            let RecipeTypeRef { name, revision } = recipe;
            let entry = catalog.recipe_types.get(recipe);
            let within = |own: &str| own == name || entry.is_some_and(|entry| entry.contains.contains(own));
            if own_name.is_some_and(within) {
                let text = format!("the recipe type would contain itself by way of {name}");
                found.error(DefinitionError::RecursiveSubrecipes, place, text);
                return;
            }
            match entry {
                Some(entry) if entry.deprecated => deprecated(format!("recipe type {name}")),
                Some(_) => {}
                None => {
                    let text = format!("there is no recipe type {name} with revision {revision}");
                    found.error(DefinitionError::RecipeTypeDoesNotExist, place, text);
                }
            }
        }
        NodeKind::Condition(condition) => {
            let checked = condition.filter.check(&condition.interface, place.key("data_filter"));
            for error in checked.errors {
                found.error(DefinitionError::Filter(error.name), error.place, error.text);
            }
            for warning in checked.warnings {
                found.warning(warning.name, warning.place, warning.text);
            }
        }
    }
}
