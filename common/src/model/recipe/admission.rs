//! Whether a batch can be created, what it would do, and what becomes of existing recipes (contract 2.7, 4.4, 4.6).

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::data::{InputHash, InputMap};
use super::dataset::DatasetDefinition;
use super::definition::NodeKind;
use super::diff::Diff;
use super::finding::{Finding, Validation};
use super::forced::ForcedNodes;
use super::graph::Graph;
use super::interface::{Interface, Widening};
use super::names::{BatchError, BatchWarning};
use super::reader::Place;
use super::reprocess::{RecipeTypes, ReprocessError, count_sub_recipes};
use super::request::{BatchConfiguration, BatchDefinition};

/// What must be known to check a batch: one snapshot, the chain locked when it is to be created.
#[derive(Debug, Clone, Copy)]
pub struct BatchFacts<'a> {
    /// The recipe type.
    pub recipe_type_id: i64,
    /// Whether it is not deprecated.
    pub is_active: bool,
    /// Its current revision.
    pub graph: &'a Graph,
    /// What recipe nodes refer to.
    pub types: &'a RecipeTypes,
    /// The dataset of the definition, if there is one.
    pub dataset: Option<DatasetFacts<'a>>,
    /// The current batch of the definition's chain, if there is one.
    pub previous: Option<PreviousFacts<'a>>,
}

/// What must be known of a dataset.
#[derive(Debug, Clone, Copy)]
pub struct DatasetFacts<'a> {
    /// Its definition.
    pub definition: &'a DatasetDefinition,
    /// How many members it has now; later ones are not part of the batch (4.7).
    pub members: i64,
}

/// What must be known of the previous batch.
#[derive(Debug, Clone, Copy)]
pub struct PreviousFacts<'a> {
    /// Its recipe type.
    pub recipe_type_id: i64,
    /// Whether all of its recipes exist.
    pub is_creation_done: bool,
    /// Its `recipes_total`.
    pub recipes_total: i64,
    /// The revision that it runs.
    pub graph: &'a Graph,
}

/// What a check of a batch found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BatchCheck {
    /// Errors, all of one stage: later stages are not looked at (2.7). Warnings.
    pub found: Validation<BatchError, BatchWarning>,
    /// `recipes_estimated`; 0 unless valid.
    pub recipes_estimated: i64,
    /// The difference from the previous batch, once it was computed.
    pub diff: Option<Diff>,
}

/// Checks a batch whose documents were read, stage by stage. `supersedes` is the effective value (2.3). Fails only if
/// `types` lacks something.
pub fn check_batch(
    definition: &BatchDefinition,
    configuration: &BatchConfiguration,
    supersedes: bool,
    facts: &BatchFacts<'_>,
) -> Result<BatchCheck, ReprocessError> {
    let mut check = BatchCheck::default();
    check_stages(definition, configuration, supersedes, facts, &mut check)?;
    if !check.found.is_valid() {
        check.recipes_estimated = 0;
    }
    Ok(check)
}

fn check_stages(
    definition: &BatchDefinition,
    configuration: &BatchConfiguration,
    supersedes: bool,
    facts: &BatchFacts<'_>,
    check: &mut BatchCheck,
) -> Result<(), ReprocessError> {
    let place = Place::root("definition");
    let found = &mut check.found;
    if !facts.is_active {
        found.error(BatchError::InactiveRecipeType, "recipe_type_id", "the recipe type is deprecated");
        return Ok(());
    }
    let at = place.key("previous_batch");
    if let (Some(previous), None) = (&definition.previous_batch, facts.previous) {
        let text = format!("there is no current batch with the root {}", previous.root_batch_id);
        found.error(BatchError::PrevBatchNotFound, at.key("root_batch_id"), text);
    }
    if let (Some(dataset), None) = (definition.dataset, facts.dataset) {
        found.error(
            BatchError::DatasetNotFound,
            place.key("dataset"),
            format!("there is no dataset {dataset}"),
        );
    }
    if !found.is_valid() {
        return Ok(());
    }
    let previous = facts.previous.filter(|_| definition.previous_batch.is_some());
    let dataset = facts.dataset.filter(|_| definition.dataset.is_some());

    if previous.is_some_and(|previous| previous.recipe_type_id != facts.recipe_type_id) {
        let text = "the previous batch runs another recipe type";
        found.error(BatchError::MismatchedRecipeType, at.key("root_batch_id"), text);
    }
    check_input_map(&configuration.input_map, facts.graph, dataset, found);
    if !found.is_valid() {
        return Ok(());
    }
    match (previous, dataset) {
        (Some(previous), _) if !previous.is_creation_done => {
            let text = "the previous batch still creates its recipes";
            found.error(BatchError::PrevBatchStillCreating, at.key("root_batch_id"), text);
        }
        (None, Some(dataset)) => {
            let offered = dataset.definition.effective_parameters(&configuration.input_map);
            check_parameters(facts.graph.input(), &offered, place.key("dataset"), found);
        }
        _ => {}
    }
    if !found.is_valid() {
        return Ok(());
    }

    if let Some(forced) = definition.forced() {
        let own = definition.previous_batch.as_ref().is_some_and(|previous| previous.forced_nodes.is_some());
        let place = if own { at.key("forced_nodes") } else { place.key("forced_nodes") };
        warn_of_forced(forced, facts.graph, facts.types, place, found);
    }
    if let Some(previous) = previous {
        let mut diff = Diff::between(previous.graph, facts.graph);
        if let Some(forced) = definition.forced() {
            diff.force(facts.graph, forced);
        }
        for reason in &diff.reasons {
            found.error(BatchError::PrevBatchNoReprocess, at, reason.text.clone());
        }
        if diff.can_be_reprocessed && supersedes && diff.is_nothing_to_do() {
            found.warning(BatchWarning::NothingToReprocess, at, "every node would be copied");
        }
        check.diff = Some(diff);
        if !found.is_valid() {
            return Ok(());
        }
    }

    check.recipes_estimated = match (previous, dataset) {
        (Some(previous), _) => previous.recipes_total,
        (None, Some(dataset)) => {
            let each = count_sub_recipes(facts.graph, facts.types)?.saturating_add(1);
            dataset.members.saturating_mul(each)
        }
        (None, None) => 0,
    };
    if check.recipes_estimated <= 0 {
        let text = match (previous, dataset) {
            (Some(_), _) => "the previous batch has no recipes",
            (None, Some(_)) => "the dataset has no members",
            (None, None) => "there must be a dataset or a previous batch",
        };
        found.error(BatchError::NoRecipes, place, text);
    }
    Ok(())
}

/// Checks the input map of a new configuration for a batch that exists (contract 2.4).
pub fn check_edited_map(
    map: &InputMap,
    graph: &Graph,
    dataset: Option<DatasetFacts<'_>>,
) -> Vec<Finding<BatchError>> {
    let mut found = Validation::default();
    check_input_map(map, graph, dataset, &mut found);
    found.errors
}

fn check_input_map(
    map: &InputMap,
    graph: &Graph,
    dataset: Option<DatasetFacts<'_>>,
    found: &mut Validation<BatchError, BatchWarning>,
) {
    let configuration = Place::root("configuration");
    let place = configuration.key("inputMap");
    let mut mapped = BTreeSet::new();
    for (at, entry) in map.entries.iter().enumerate() {
        let place = place.index(at);
        if graph.input().get(&entry.input).is_none() {
            let text = format!("the recipe has no input `{}`", entry.input);
            found.error(BatchError::InvalidInputMap, place.key("input"), text);
        } else if !mapped.insert(&entry.input) {
            let text = format!("input `{}` is mapped twice", entry.input);
            found.error(BatchError::InvalidInputMap, place.key("input"), text);
        }
        if dataset.is_some_and(|dataset| !dataset.definition.has_parameter(&entry.parameter)) {
            let text = format!("the dataset has no parameter `{}`", entry.parameter);
            found.error(BatchError::InvalidInputMap, place.key("datasetParameter"), text);
        }
    }
}

fn check_parameters(
    inputs: &Interface,
    offered: &Interface,
    place: Place<'_>,
    found: &mut Validation<BatchError, BatchWarning>,
) {
    for mismatch in inputs.mismatches(offered, Widening::IntegerToNumber) {
        let text = format!("input `{}` {}", mismatch.parameter, mismatch.kind);
        if mismatch.kind.is_warning() {
            found.warning(BatchWarning::MismatchedMediaTypes, place, text);
        } else {
            found.error(BatchError::MismatchedParams, place, text);
        }
    }
}

fn warn_of_forced(
    forced: &ForcedNodes,
    graph: &Graph,
    types: &RecipeTypes,
    place: Place<'_>,
    found: &mut Validation<BatchError, BatchWarning>,
) {
    for name in forced.named() {
        let Some(index) = graph.find(name) else {
            found.warning(BatchWarning::UnknownForcedNode, place, format!("there is no node `{name}`"));
            continue;
        };
        let node = graph.node(index);
        let inside = forced.sub_recipes.get(name);
        match (&node.kind, inside) {
            (NodeKind::Recipe(recipe), Some(inside)) => {
                if let Some(graph) = types.get(recipe) {
                    let sub_recipes = place.key("sub_recipes");
                    warn_of_forced(inside, graph, types, sub_recipes.key(name), found);
                }
            }
            (NodeKind::Recipe(_), None) => {
                // Behind a forced node all of it is made anew.
                if !node.ancestors.iter().any(|ancestor| forced.names(&graph.node(ancestor).name)) {
                    let text = format!("nothing is forced inside `{name}`: unchanged nodes in it are copied");
                    found.warning(BatchWarning::ForcedSubRecipeEmpty, place, text);
                }
            }
            (_, Some(_)) => {
                let text = format!("`{name}` is no recipe: what is forced inside it is ignored");
                found.warning(BatchWarning::UnknownForcedNode, place, text);
            }
            (_, None) => {}
        }
    }
}

/// What a batch does for each of its recipes (contract 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Treatment {
    /// Of a dataset: each member's recipe takes the place of a current one with the same type and input, where there
    /// is one (see [`pair`]).
    SupersedeEqualInputs,
    /// Of a dataset: each member gets a new recipe, and no other is touched.
    CreateAll,
    /// Of a previous batch: each of its recipes is reprocessed.
    ReprocessAll,
    /// Of a previous batch: each of its recipes gets an independent new one with the same input, and is not touched.
    /// The batch itself is superseded all the same.
    CreateFromInputs,
}

/// The `supersedes` matrix. A previous batch goes before a dataset (3.1).
pub const fn treatment(has_previous_batch: bool, supersedes: bool) -> Treatment {
    match (has_previous_batch, supersedes) {
        (false, true) => Treatment::SupersedeEqualInputs,
        (false, false) => Treatment::CreateAll,
        (true, true) => Treatment::ReprocessAll,
        (true, false) => Treatment::CreateFromInputs,
    }
}

/// Pairs a page of members with current recipes of equal input, one to one in the order in which both are given:
/// every recipe is superseded at most once, and members that are left get new recipes. Recipes of the batch itself
/// are none of `existing`.
pub fn pair<M: Copy, R: Copy>(
    members: &[(M, InputHash)],
    existing: &[(R, InputHash)],
) -> Vec<(M, Option<R>)> {
    let mut free: HashMap<InputHash, VecDeque<R>> = HashMap::new();
    for (recipe, hash) in existing {
        free.entry(*hash).or_default().push_back(*recipe);
    }
    let mut take = |hash: &InputHash| free.get_mut(hash).and_then(VecDeque::pop_front);
    members.iter().map(|(member, hash)| (*member, take(hash))).collect()
}
