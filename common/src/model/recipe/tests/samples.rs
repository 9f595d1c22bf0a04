//! Definitions to test with.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use crate::model::recipe::{
    Condition, Connection, DataFilter, ForcedNodes, Graph, Interface, JobTypeRef, JsonType, Node, NodeKind,
    Parameter, Place, RecipeDefinition, RecipeTypeRef,
};

pub fn job_type(name: &str, revision: i64) -> NodeKind {
    NodeKind::Job(JobTypeRef { name: name.to_owned(), version: "1.0.0".to_owned(), revision })
}

pub fn recipe_ref(name: &str, revision: i64) -> RecipeTypeRef {
    RecipeTypeRef { name: name.to_owned(), revision }
}

pub fn recipe_type(name: &str, revision: i64) -> NodeKind {
    NodeKind::Recipe(recipe_ref(name, revision))
}

/// Accepts a number `v` above the limit.
pub fn condition(limit: i64) -> NodeKind {
    let filter = json!({"filters": [{"name": "v", "type": "number", "condition": ">", "values": [limit]}]});
    NodeKind::Condition(Condition {
        interface: Interface::of([("v".to_owned(), Parameter::json(JsonType::Number, false))]),
        filter: DataFilter::parse(&filter, Place::root("")).unwrap(),
    })
}

pub fn node(kind: NodeKind, dependencies: &[&str]) -> Node {
    Node {
        dependencies: dependencies.iter().map(|name| ((*name).to_owned(), true)).collect(),
        input: BTreeMap::new(),
        kind,
    }
}

pub fn rejected(mut node: Node, condition: &str) -> Node {
    node.dependencies.insert(condition.to_owned(), false);
    node
}

pub fn connected(mut node: Node, input: &str, connection: Connection) -> Node {
    node.input.insert(input.to_owned(), connection);
    node
}

pub fn from_node(node: &str, output: &str) -> Connection {
    Connection::Dependency { node: node.to_owned(), output: output.to_owned() }
}

pub fn from_recipe(input: &str) -> Connection {
    Connection::Recipe { input: input.to_owned() }
}

pub fn definition(nodes: impl IntoIterator<Item = (&'static str, Node)>) -> RecipeDefinition {
    RecipeDefinition {
        input: Interface::of([("x".to_owned(), Parameter::json(JsonType::Number, true))]),
        nodes: nodes.into_iter().map(|(name, node)| (name.to_owned(), node)).collect(),
    }
}

pub fn graph(nodes: impl IntoIterator<Item = (&'static str, Node)>) -> Graph {
    Graph::compile(&definition(nodes)).unwrap()
}

pub fn forced(nodes: &[&str], sub_recipes: &[(&str, ForcedNodes)]) -> ForcedNodes {
    ForcedNodes {
        all: false,
        nodes: nodes.iter().map(|name| (*name).to_owned()).collect(),
        sub_recipes: sub_recipes.iter().map(|(name, forced)| ((*name).to_owned(), forced.clone())).collect(),
    }
}

/// The places of random definitions, in an order of dependencies that is not that of the names.
pub const NAMES: [&str; 9] = ["m", "c", "x", "a", "k", "z", "b", "t", "e"];

/// What may stand at a place: kind, revision, parents, outcomes that are wanted of them, and what is connected.
pub type Slot = Option<(u8, i64, u16, u16, u16)>;

pub fn slots() -> impl Strategy<Value = Vec<Slot>> {
    prop::collection::vec(slot(), NAMES.len())
}

fn slot() -> impl Strategy<Value = Slot> {
    let node = (0..10_u8, 1..3_i64, any::<u16>(), any::<u16>(), any::<u16>(), any::<u16>()).prop_map(
        |(kind, revision, some, of, wanted, connected)| (kind, revision, some & of, wanted, connected & some),
    );
    prop::option::weighted(0.8, node)
}

/// Two revisions of one recipe type: most places are the same.
pub fn revisions() -> impl Strategy<Value = (Vec<Slot>, Vec<Slot>)> {
    let change = prop::option::weighted(0.15, slot());
    (slots(), prop::collection::vec(change, NAMES.len())).prop_map(|(slots, changes)| {
        let changed = slots.iter().zip(changes).map(|(slot, change)| change.unwrap_or(*slot)).collect();
        (slots, changed)
    })
}

pub fn assemble(slots: &[Slot]) -> RecipeDefinition {
    let mut definition = definition([]);
    for (at, slot) in slots.iter().enumerate() {
        let Some((kind, revision, parents, wanted, connections)) = *slot else { continue };
        let kind = match kind {
            0..=5 => job_type("job", revision),
            6 | 7 => recipe_type("sub", revision),
            _ => condition(revision),
        };
        let mut made = node(kind, &[]);
        for (parent, name) in
            NAMES.iter().enumerate().take(at).filter(|(parent, _)| parents & (1 << parent) != 0)
        {
            let Some(upstream) = definition.nodes.get(*name) else { continue };
            made.dependencies.insert((*name).to_owned(), wanted & (1 << parent) != 0);
            if connections & (1 << parent) != 0 && matches!(upstream.kind, NodeKind::Job(_)) {
                made.input.insert(format!("from_{name}"), from_node(name, "out"));
            }
        }
        definition.nodes.insert(NAMES[at].to_owned(), made);
    }
    definition
}

pub fn forced_names() -> impl Strategy<Value = ForcedNodes> {
    (prop::bool::weighted(0.1), prop::collection::btree_set(prop::sample::select(NAMES.to_vec()), 0..3))
        .prop_map(|(all, names)| {
            if all { ForcedNodes::everything() } else { forced(&names.into_iter().collect::<Vec<_>>(), &[]) }
        })
}
