//! What reprocessing a recipe copies, makes anew and supersedes (contract 4.4, 4.5, 4.10), through all of its
//! sub-recipes.
//!
//! A plan depends on two revisions and the forced nodes, not on the recipe: it is made once for every old revision in
//! a batch and shared by all of its recipes. Whether a node of the old recipe *exists* (it may wait behind a
//! condition, or have been skipped) is seen when the plan is carried out: a copy of what does not exist is nothing,
//! and the evaluation creates it when its time comes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::definition::{NodeKind, RecipeTypeRef};
use super::diff::Diff;
use super::finding::Finding;
use super::forced::ForcedNodes;
use super::graph::Graph;
use super::names::{DiffReason, ForcedNodesError};
use super::node_set::{NodeIndex, NodeSet};
use super::reader::Place;

/// Compiled revisions, as far as recipe nodes refer to them, at any depth.
pub type RecipeTypes = BTreeMap<RecipeTypeRef, Arc<Graph>>;

/// Recipes in recipes, no deeper than this.
pub const MAX_NESTING: usize = 32;

/// What becomes of the nodes of a recipe.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReprocessPlan {
    /// Nodes that both recipes share: the old one's job, sub-recipe or condition is linked into the new one as it is,
    /// and not superseded.
    pub copies: Vec<Copied>,
    /// Nodes that the new recipe makes, in the order of creation.
    pub redone: Vec<Redone>,
    /// Nodes that only the old recipe has: superseded with everything in them.
    pub deleted: Vec<NodeIndex>,
    total: usize,
}

/// A node that both recipes share. Its numbers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Its number in the old revision.
    pub prev: NodeIndex,
    /// Its number in the new revision.
    pub new: NodeIndex,
}

/// A node that is made anew.
#[derive(Debug, Clone, PartialEq)]
pub struct Redone {
    /// Its number in the new revision.
    pub new: NodeIndex,
    /// What it takes the place of, superseded with everything in it except what `inside` copies. `None` for a new node.
    pub prev: Option<NodeIndex>,
    /// For a sub-recipe that takes the place of one: what becomes of the nodes in it.
    pub inside: Option<Arc<ReprocessPlan>>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReprocessError {
    /// The new inputs do not accept the old ones.
    #[error("the inputs changed")]
    InputChanged(Vec<Finding<DiffReason>>),
    /// A recipe type that nodes refer to was not given.
    #[error("recipe type {} with revision {} is not known", .0.name, .0.revision)]
    UnknownRecipeType(RecipeTypeRef),
    /// Recipes in recipes deeper than [`MAX_NESTING`].
    #[error("recipes are nested more than {MAX_NESTING} deep")]
    TooDeep,
}

impl ReprocessPlan {
    /// Plans how recipes of `prev` become recipes of `new`.
    pub fn build(
        prev: &Graph,
        new: &Graph,
        forced: &ForcedNodes,
        types: &RecipeTypes,
    ) -> Result<Self, ReprocessError> {
        let mut diff = Diff::between(prev, new);
        if !diff.can_be_reprocessed {
            return Err(ReprocessError::InputChanged(diff.reasons));
        }
        diff.force(new, forced);
        Planner { types, known: HashMap::new() }.plan(prev, new, forced, &diff, 0)
    }

    /// How many nodes are made anew, those inside sub-recipes that are looked into included.
    pub const fn redone_count(&self) -> usize {
        self.total
    }
}

struct Planner<'a> {
    types: &'a RecipeTypes,
    // The same pair of revisions stands in many places; forced nodes differ in few.
    known: HashMap<(RecipeTypeRef, RecipeTypeRef, ForcedNodes), Arc<ReprocessPlan>>,
}

impl Planner<'_> {
    fn plan(
        &mut self,
        prev: &Graph,
        new: &Graph,
        forced: &ForcedNodes,
        diff: &Diff,
        depth: usize,
    ) -> Result<ReprocessPlan, ReprocessError> {
        let mut plan = ReprocessPlan::default();
        let mut anew = NodeSet::default();
        for (index, node) in new.nodes() {
            let Some(own) = diff.nodes.get(&node.name) else { continue };
            let before = prev.find(&node.name);
            // What cannot be fed with the old input inside a sub-recipe gets a new one, and all of it is made anew.
            let copied = own.is_copied() && diff.can_be_reprocessed;
            if let (Some(prev), true) = (before, copied) {
                plan.copies.push(Copied { prev, new: index });
                continue;
            }
            anew.insert(index);
            let inside = match (before.map(|before| &prev.node(before).kind), &node.kind) {
                (Some(NodeKind::Recipe(from)), NodeKind::Recipe(to)) => {
                    let parent_anew = node.parents.iter().any(|parent| anew.contains(parent.node));
                    let wholly = parent_anew || !own.is_type_change_only() || !diff.can_be_reprocessed;
                    let forced = if wholly { ForcedNodes::everything() } else { forced.inside(&node.name) };
                    Some(self.inside(from, to, forced, depth + 1)?)
                }
                _ => None,
            };
            plan.redone.push(Redone { new: index, prev: before, inside });
        }
        let inside = plan.redone.iter().filter_map(|redone| redone.inside.as_ref());
        plan.total = inside.fold(plan.redone.len(), |total, plan| total.saturating_add(plan.total));
        plan.deleted =
            prev.nodes().filter(|(_, node)| new.find(&node.name).is_none()).map(|(index, _)| index).collect();
        Ok(plan)
    }

    fn inside(
        &mut self,
        from: &RecipeTypeRef,
        to: &RecipeTypeRef,
        forced: ForcedNodes,
        depth: usize,
    ) -> Result<Arc<ReprocessPlan>, ReprocessError> {
        if depth > MAX_NESTING {
            return Err(ReprocessError::TooDeep);
        }
        let key = (from.clone(), to.clone(), forced);
        if let Some(plan) = self.known.get(&key) {
            return Ok(plan.clone());
        }
        let types = self.types;
        let find = |name: &RecipeTypeRef| {
            types.get(name).ok_or_else(|| ReprocessError::UnknownRecipeType(name.clone()))
        };
        let (prev, new) = (find(from)?, find(to)?);
        let mut diff = Diff::between(prev, new);
        diff.force(new, &key.2);
        let plan = Arc::new(self.plan(prev, new, &key.2, &diff, depth)?);
        self.known.insert(key, plan.clone());
        Ok(plan)
    }
}

/// How many sub-recipes a new recipe of this revision has, at any depth (contract 4.6). Every node counts, also
/// behind conditions.
pub fn count_sub_recipes(graph: &Graph, types: &RecipeTypes) -> Result<i64, ReprocessError> {
    fn count<'a>(
        graph: &'a Graph,
        types: &'a RecipeTypes,
        known: &mut HashMap<&'a RecipeTypeRef, i64>,
        depth: usize,
    ) -> Result<i64, ReprocessError> {
        if depth > MAX_NESTING {
            return Err(ReprocessError::TooDeep);
        }
        let mut total = 0_i64;
        for (_, recipe) in graph.sub_recipes() {
            let inside = match known.get(recipe) {
                Some(inside) => *inside,
                None => {
                    let inner =
                        types.get(recipe).ok_or_else(|| ReprocessError::UnknownRecipeType(recipe.clone()))?;
                    let inside = count(inner, types, known, depth + 1)?;
                    known.insert(recipe, inside);
                    inside
                }
            };
            total = total.saturating_add(1).saturating_add(inside);
        }
        Ok(total)
    }
    count(graph, types, &mut HashMap::new(), 0)
}

/// What is wrong with forced nodes where names are checked strictly (contract 5.5), at any depth: unknown nodes, and
/// descriptions of what is inside nodes that are no recipes.
pub fn check_forced(
    forced: &ForcedNodes,
    graph: &Graph,
    types: &RecipeTypes,
    place: Place<'_>,
) -> Vec<Finding<ForcedNodesError>> {
    let mut found = Vec::new();
    let nodes = place.key("nodes");
    for name in forced.nodes.iter().filter(|name| graph.find(name).is_none()) {
        let text = format!("there is no node `{name}`");
        found.push(Finding::new(ForcedNodesError::UnknownForcedNode, nodes, text));
    }
    let inside = place.key("sub_recipes");
    for (name, forced) in &forced.sub_recipes {
        let place = inside.key(name);
        match graph.find(name).map(|index| &graph.node(index).kind) {
            None => {
                let text = format!("there is no node `{name}`");
                found.push(Finding::new(ForcedNodesError::UnknownForcedNode, place, text));
            }
            Some(NodeKind::Recipe(recipe)) => {
                if let Some(graph) = types.get(recipe) {
                    found.extend(check_forced(forced, graph, types, place));
                }
            }
            Some(_) => {
                let text = format!("`{name}` is no recipe");
                found.push(Finding::new(ForcedNodesError::NotASubRecipe, place, text));
            }
        }
    }
    found.truncate(super::MAX_FINDINGS);
    found
}
