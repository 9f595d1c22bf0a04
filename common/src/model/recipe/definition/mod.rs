//! Recipe definitions: what a recipe type is made of (contract 5.2).

mod check;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::filter::DataFilter;
use super::finding::Finding;
use super::interface::Interface;
use super::names::DefinitionError;
use super::reader::{Place, Reader, present};
use super::text::{self, Segment};

pub use check::{Catalog, JobTypeEntry, RecipeTypeEntry};

/// Longest name of a node, in characters (contract 5.2).
pub const MAX_NODE_NAME: usize = 100;
/// Most nodes of one recipe type. A limit of our own: graphs are kept in memory and in tables by small numbers.
pub const MAX_NODES: usize = 1_000;

/// A recipe type's inputs and nodes, as submitted. What nodes refer to may not exist; see [`RecipeDefinition::check`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RecipeDefinition {
    /// The recipe's inputs.
    pub input: Interface,
    /// Its nodes, by name.
    pub nodes: BTreeMap<String, Node>,
}

/// A node of a recipe type.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The nodes that go before it, each with the outcome that is wanted of it if it is a condition.
    pub dependencies: BTreeMap<String, bool>,
    /// Where its inputs come from, by input.
    pub input: BTreeMap<String, Connection>,
    /// What it does.
    pub kind: NodeKind,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// An input of the recipe.
    Recipe {
        /// Its name.
        input: String,
    },
    /// An output of another node.
    Dependency {
        /// The node.
        node: String,
        /// The output's name.
        output: String,
    },
}

/// What a node does.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeKind {
    /// Runs a job.
    Job(JobTypeRef),
    /// Runs another recipe.
    Recipe(RecipeTypeRef),
    /// Decides what runs behind it (contract 6.3).
    Condition(Condition),
}

/// A revision of a job type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobTypeRef {
    /// The job type.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The revision of the version.
    pub revision: i64,
}

/// A revision of a recipe type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecipeTypeRef {
    /// The recipe type.
    pub name: String,
    /// Its revision.
    pub revision: i64,
}

/// A condition's inputs, which are its outputs as well, and its filter.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Condition {
    /// What it looks at and passes on.
    pub interface: Interface,
    /// What it accepts.
    pub filter: DataFilter,
}

/// Kinds of nodes, as the contract calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeType {
    /// Runs a job.
    Job,
    /// Runs a recipe.
    Recipe,
    /// Decides.
    Condition,
}

impl NodeType {
    /// The name in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Recipe => "recipe",
            Self::Condition => "condition",
        }
    }
}

impl NodeKind {
    /// Which kind it is.
    pub const fn node_type(&self) -> NodeType {
        match self {
            Self::Job(_) => NodeType::Job,
            Self::Recipe(_) => NodeType::Recipe,
            Self::Condition(_) => NodeType::Condition,
        }
    }
}

type Found = Vec<Finding<DefinitionError>>;

impl RecipeDefinition {
    /// Reads a definition as it was written, so that nodes and inputs that are defined twice are seen.
    pub fn parse_text(json: &str, place: Place<'_>) -> Result<Self, Found> {
        let (value, duplicates) = match text::read(json) {
            Ok(read) => read,
            Err(error) => {
                return Err(vec![Finding::new(
                    DefinitionError::InvalidDefinitionJson,
                    place,
                    format!("is no JSON (line {}, column {})", error.line(), error.column()),
                )]);
            }
        };
        let mut reader = Reader::new(DefinitionError::InvalidDefinition);
        for path in &duplicates {
            let is = |at: usize, key: &str| matches!(path.get(at), Some(Segment::Key(own)) if own == key);
            let (name, what) = match path.len() {
                2 if is(0, "nodes") => (DefinitionError::DuplicateNode, "the node is defined twice"),
                4 if is(0, "nodes") && is(2, "input") => {
                    (DefinitionError::NodeInterface, "the input is connected twice")
                }
                _ => (DefinitionError::InvalidDefinitionJson, "the key stands twice in its object"),
            };
            at_path(place, path, &mut |place| reader.report(name, place, what));
        }
        let definition = Self::read(&mut reader, &value, place);
        reader.finish(definition)
    }

    /// Reads a definition.
    pub fn parse(value: &Value, place: Place<'_>) -> Result<Self, Found> {
        let mut reader = Reader::new(DefinitionError::InvalidDefinition);
        let definition = Self::read(&mut reader, value, place);
        reader.finish(definition)
    }

    fn read(reader: &mut Reader<DefinitionError>, value: &Value, place: Place<'_>) -> Self {
        let mut definition = Self::default();
        if !value.is_object() {
            reader.report(DefinitionError::InvalidDefinitionJson, place, "must be an object");
            return definition;
        }
        let Some(map) = reader.object(value, place, &["input", "nodes"]) else { return definition };
        if let Some(input) = present(map, "input") {
            let content = DefinitionError::InputInterface;
            definition.input = Interface::read(reader, input, place.key("input"), content, content);
        }
        if let Some(nodes) = present(map, "nodes") {
            let place = place.key("nodes");
            let nodes = reader.map(nodes, place);
            if nodes.is_some_and(|nodes| nodes.len() > MAX_NODES) {
                reader.wrong(place, format!("there are more than {MAX_NODES} nodes"));
                return definition;
            }
            for (name, node) in nodes.into_iter().flatten() {
                let place = place.key(name);
                if name.is_empty() || name.chars().count() > MAX_NODE_NAME {
                    let text = format!("a node's name has 1 to {MAX_NODE_NAME} characters");
                    reader.wrong(place, text);
                }
                if let Some(node) = Node::read(reader, node, place) {
                    definition.nodes.insert(name.clone(), node);
                }
            }
        }
        definition
    }

    /// The job types that nodes refer to, each once.
    pub fn job_types(&self) -> BTreeSet<&JobTypeRef> {
        let job = |node| match node {
            &Node { kind: NodeKind::Job(ref job), .. } => Some(job),
            _ => None,
        };
        self.nodes.values().filter_map(job).collect()
    }

    /// The recipe types that nodes refer to, each once.
    pub fn recipe_types(&self) -> BTreeSet<&RecipeTypeRef> {
        let recipe = |node| match node {
            &Node { kind: NodeKind::Recipe(ref recipe), .. } => Some(recipe),
            _ => None,
        };
        self.nodes.values().filter_map(recipe).collect()
    }
}

fn at_path(place: Place<'_>, path: &[Segment], then: &mut dyn FnMut(Place<'_>)) {
    match path {
        [] => then(place),
        [Segment::Key(key), rest @ ..] => at_path(place.key(key), rest, then),
        [Segment::Index(at), rest @ ..] => at_path(place.index(*at), rest, then),
    }
}

impl Node {
    fn read(reader: &mut Reader<DefinitionError>, value: &Value, place: Place<'_>) -> Option<Self> {
        let map = reader.object(value, place, &["dependencies", "input", "node_type"])?;
        for key in ["dependencies", "input", "node_type"] {
            reader.require(map, key, place);
        }
        let dependencies = read_dependencies(reader, map, place);
        let mut input = BTreeMap::new();
        if let Some(connections) = present(map, "input") {
            let place = place.key("input");
            for (name, connection) in reader.map(connections, place).into_iter().flatten() {
                if let Some(connection) = Connection::read(reader, connection, place.key(name)) {
                    input.insert(name.clone(), connection);
                }
            }
        }
        let kind = NodeKind::read(reader, present(map, "node_type")?, place.key("node_type"))?;
        Some(Self { dependencies, input, kind })
    }
}

fn read_dependencies(
    reader: &mut Reader<DefinitionError>,
    map: &Map<String, Value>,
    place: Place<'_>,
) -> BTreeMap<String, bool> {
    let mut dependencies = BTreeMap::new();
    let at = place.key("dependencies");
    for (item, value) in reader.list(map, "dependencies", place).unwrap_or_default().iter().enumerate() {
        let place = at.index(item);
        let Some(map) = reader.object(value, place, &["name", "acceptance"]) else { continue };
        let acceptance = reader.flag(map, "acceptance", place).unwrap_or(true);
        let Some(name) = reader.required_text(map, "name", place) else { continue };
        if dependencies.contains_key(&name) {
            let text = format!("`{name}` is a dependency already");
            reader.report(DefinitionError::DuplicateNode, place.key("name"), text);
        }
        dependencies.insert(name, acceptance);
    }
    dependencies
}

/// The keys of each kind of node, and of each connection, are exactly these (contract 5.2).
const KINDS: [(&str, &[&str]); 3] = [
    ("job", &["node_type", "job_type_name", "job_type_version", "job_type_revision"]),
    ("recipe", &["node_type", "recipe_type_name", "recipe_type_revision"]),
    ("condition", &["node_type", "interface", "data_filter"]),
];
const CONNECTIONS: [(&str, &[&str]); 2] =
    [("recipe", &["type", "input"]), ("dependency", &["type", "node", "output"])];

/// Reads an object that says by one of its keys which others it has. All of them must be there.
fn read_tagged<'v>(
    reader: &mut Reader<DefinitionError>,
    value: &'v Value,
    place: Place<'_>,
    tag: &str,
    kinds: &[(&'static str, &[&str])],
) -> Option<(&'static str, &'v Map<String, Value>)> {
    let map = reader.map(value, place)?;
    reader.require(map, tag, place);
    let given = reader.text(map, tag, place)?;
    let Some((kind, keys)) = kinds.iter().find(|(kind, _)| *kind == given) else {
        let known: Vec<&str> = kinds.iter().map(|(kind, _)| *kind).collect();
        reader.wrong(place.key(tag), format!("must be one of {}", known.join(", ")));
        return None;
    };
    let map = reader.object(value, place, keys)?;
    for key in *keys {
        reader.require(map, key, place);
    }
    Some((kind, map))
}

impl Connection {
    fn read(reader: &mut Reader<DefinitionError>, value: &Value, place: Place<'_>) -> Option<Self> {
        let (kind, map) = read_tagged(reader, value, place, "type", &CONNECTIONS)?;
        let mut text = |key| reader.text(map, key, place).map(str::to_owned);
        Some(match kind {
            "recipe" => Self::Recipe { input: text("input")? },
            _ => Self::Dependency { node: text("node")?, output: text("output")? },
        })
    }
}

impl NodeKind {
    fn read(reader: &mut Reader<DefinitionError>, value: &Value, place: Place<'_>) -> Option<Self> {
        let (kind, map) = read_tagged(reader, value, place, "node_type", &KINDS)?;
        match kind {
            "job" => {
                let name = reader.text(map, "job_type_name", place).map(str::to_owned);
                let version = reader.text(map, "job_type_version", place).map(str::to_owned);
                let revision = reader.integer(map, "job_type_revision", place);
                Some(Self::Job(JobTypeRef { name: name?, version: version?, revision: revision? }))
            }
            "recipe" => {
                let name = reader.text(map, "recipe_type_name", place).map(str::to_owned);
                let revision = reader.integer(map, "recipe_type_revision", place);
                Some(Self::Recipe(RecipeTypeRef { name: name?, revision: revision? }))
            }
            _ => {
                let mut condition = Condition::default();
                if let Some(interface) = present(map, "interface") {
                    let content = DefinitionError::NodeInterface;
                    let place = place.key("interface");
                    condition.interface = Interface::read(reader, interface, place, content, content);
                }
                if let Some(filter) = present(map, "data_filter") {
                    match DataFilter::parse(filter, place.key("data_filter")) {
                        Ok(filter) => condition.filter = filter,
                        Err(findings) => reader.take(findings, DefinitionError::Filter),
                    }
                }
                Some(Self::Condition(condition))
            }
        }
    }
}
