//! Forced nodes: what is computed anew though nothing changed (contract 3.3, 4.5).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::finding::Finding;
use super::names::ForcedNodesError;
use super::reader::{Place, Reader, present};

/// Nodes of a recipe type that are forced, and what of its sub-recipes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ForcedNodes {
    /// Everything, inside sub-recipes too.
    pub all: bool,
    /// Names; empty when everything is forced.
    pub nodes: BTreeSet<String>,
    /// What is forced inside recipe nodes, which thereby are forced themselves; empty when everything is forced.
    pub sub_recipes: BTreeMap<String, ForcedNodes>,
}

impl ForcedNodes {
    /// Everything is forced.
    pub fn everything() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// Reads forced nodes.
    pub fn parse(value: &Value, place: Place<'_>) -> Result<Self, Vec<Finding<ForcedNodesError>>> {
        let mut reader = Reader::new(ForcedNodesError::InvalidForcedNodes);
        let forced = Self::read(&mut reader, value, place);
        reader.finish(forced)
    }

    pub(super) fn read<N: Copy>(reader: &mut Reader<N>, value: &Value, place: Place<'_>) -> Self {
        let Some(map) = reader.object(value, place, &["all", "nodes", "sub_recipes"]) else {
            return Self::default();
        };
        reader.require(map, "all", place);
        let all = reader.flag(map, "all", place).unwrap_or_default();
        let nodes = reader.texts(map, "nodes", place).into_iter().collect();
        let mut sub_recipes = BTreeMap::new();
        if let Some(inner) = present(map, "sub_recipes") {
            let place = place.key("sub_recipes");
            for (name, inner) in reader.map(inner, place).into_iter().flatten() {
                sub_recipes.insert(name.clone(), Self::read(reader, inner, place.key(name)));
            }
        }
        if all { Self::everything() } else { Self { all, nodes, sub_recipes } }
    }

    /// Whether nothing is forced.
    pub fn is_empty(&self) -> bool {
        !self.all && self.nodes.is_empty() && self.sub_recipes.is_empty()
    }

    /// Whether the node is named, or everything is forced. What depends on a forced node is forced as well, which
    /// needs the graph.
    pub fn names(&self, node: &str) -> bool {
        self.all || self.nodes.contains(node) || self.sub_recipes.contains_key(node)
    }

    /// Every name on this level.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        let nodes = self.nodes.iter().filter(|name| !self.sub_recipes.contains_key(*name));
        nodes.chain(self.sub_recipes.keys()).map(String::as_str)
    }

    /// What is forced inside a recipe node: everything, what is described for it, or nothing.
    pub fn inside(&self, node: &str) -> Self {
        if self.all { Self::everything() } else { self.sub_recipes.get(node).cloned().unwrap_or_default() }
    }
}
