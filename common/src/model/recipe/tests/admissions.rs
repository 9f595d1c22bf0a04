//! Whether batches can be created, and what they do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::samples::{connected, definition, from_recipe, graph, job_type, node, recipe_ref, recipe_type};
use crate::model::recipe::names::{BatchError, BatchWarning};
use crate::model::recipe::{
    BatchCheck, BatchConfiguration, BatchDefinition, BatchFacts, DatasetDefinition, DatasetFacts, Graph,
    InputHash, Place, PreviousFacts, RecipeTypes, Treatment, check_batch, check_edited_map, pair, treatment,
};

/// A recipe type with a job and a sub-recipe that has another, over a dataset of numbers and for a previous batch.
struct Setting {
    graph: Graph,
    prev_graph: Graph,
    types: RecipeTypes,
    dataset: DatasetDefinition,
    is_active: bool,
    members: Option<i64>,
    previous: Option<(i64, bool, i64)>,
}

fn revision(revision: i64) -> Graph {
    graph([
        ("a", connected(node(job_type("j", revision), &[]), "i", from_recipe("x"))),
        ("s", node(recipe_type("outer", 1), &["a"])),
    ])
}

fn setting() -> Setting {
    let types = [
        (
            recipe_ref("outer", 1),
            graph([("i", node(recipe_type("inner", 1), &[])), ("j", node(job_type("j", 1), &[]))]),
        ),
        (recipe_ref("inner", 1), graph([("n", node(job_type("j", 1), &[]))])),
    ];
    Setting {
        graph: revision(2),
        prev_graph: revision(1),
        types: types.into_iter().map(|(name, graph)| (name, Arc::new(graph))).collect(),
        dataset: dataset(
            &json!({"parameters": {"json": [{"name": "x", "type": "integer"}, {"name": "y", "type": "number"}]}}),
        ),
        is_active: true,
        members: Some(5),
        previous: Some((1, true, 12)),
    }
}

fn dataset(document: &Value) -> DatasetDefinition {
    DatasetDefinition::parse(document, Place::root("")).unwrap()
}

fn check(setting: &Setting, definition: &Value, configuration: &Value, supersedes: bool) -> BatchCheck {
    let definition = BatchDefinition::parse(definition, Place::root("definition")).unwrap();
    let configuration = BatchConfiguration::parse(configuration, Place::root("configuration")).unwrap();
    let facts =
        BatchFacts {
            recipe_type_id: 1,
            is_active: setting.is_active,
            graph: &setting.graph,
            types: &setting.types,
            dataset: setting.members.map(|members| DatasetFacts { definition: &setting.dataset, members }),
            previous: setting.previous.map(|(recipe_type_id, is_creation_done, recipes_total)| {
                PreviousFacts { recipe_type_id, is_creation_done, recipes_total, graph: &setting.prev_graph }
            }),
        };
    check_batch(&definition, &configuration, supersedes, &facts).unwrap()
}

fn errors(check: &BatchCheck) -> Vec<(BatchError, &str)> {
    check.found.errors.iter().map(|error| (error.name, error.place.as_str())).collect()
}

fn of_dataset() -> Value {
    json!({"dataset": 7})
}

fn of_previous() -> Value {
    json!({"previous_batch": {"root_batch_id": 3}})
}

#[test]
fn good_batches_have_an_estimate() {
    let setting = setting();
    let made = check(&setting, &of_dataset(), &json!({}), true);
    assert_eq!(
        (errors(&made), made.recipes_estimated, &made.diff),
        (vec![], 5 * 3, &None),
        "two sub-recipes each"
    );
    let again = check(&setting, &of_previous(), &json!({}), true);
    assert_eq!((errors(&again), again.recipes_estimated), (vec![], 12));
    assert!(again.diff.unwrap().nodes["a"].reprocess_new_node);
    let both =
        check(&setting, &json!({"dataset": 7, "previous_batch": {"root_batch_id": 3}}), &json!({}), false);
    assert_eq!(both.recipes_estimated, 12, "the previous batch drives");
    let mapped = json!({"inputMap": [{"input": "x", "datasetParameter": "y"}]});
    assert_eq!(errors(&check(&setting, &of_dataset(), &mapped, true)), []);
}

#[test]
fn every_error_is_told_in_the_order_of_stages() {
    use BatchError as E;
    type Change = fn(&mut Setting);
    type Case = (Change, Value, Value, Vec<(E, &'static str)>);
    let same: Change = |_| {};
    let none = || json!({});
    let both = || json!({"dataset": 7, "previous_batch": {"root_batch_id": 3}});
    let map =
        |input: &str, parameter: &str| json!({"inputMap": [{"input": input, "datasetParameter": parameter}]});
    let twice = json!({"inputMap": [{"input": "x", "datasetParameter": "x"}, {"input": "x", "datasetParameter": "y"}]});
    let root = "definition.previous_batch.root_batch_id";
    let incompatible: Change = |setting| {
        setting.prev_graph = Graph::compile(&{
            let mut definition = definition([]);
            definition.input.parameters.clear();
            definition
        })
        .unwrap()
    };
    let cases: Vec<Case> = vec![
        (
            |s| (s.is_active, s.members) = (false, None),
            of_dataset(),
            none(),
            vec![(E::InactiveRecipeType, "recipe_type_id")],
        ),
        (|s| s.previous = None, of_previous(), none(), vec![(E::PrevBatchNotFound, root)]),
        (|s| s.members = None, of_dataset(), none(), vec![(E::DatasetNotFound, "definition.dataset")]),
        (
            |s| (s.members, s.previous) = (None, None),
            both(),
            none(),
            vec![(E::PrevBatchNotFound, root), (E::DatasetNotFound, "definition.dataset")],
        ),
        (|s| s.previous = Some((2, false, 0)), of_previous(), none(), vec![(E::MismatchedRecipeType, root)]),
        (same, of_dataset(), map("q", "x"), vec![(E::InvalidInputMap, "configuration.inputMap[0].input")]),
        (
            same,
            of_dataset(),
            map("x", "q"),
            vec![(E::InvalidInputMap, "configuration.inputMap[0].datasetParameter")],
        ),
        (same, of_dataset(), twice, vec![(E::InvalidInputMap, "configuration.inputMap[1].input")]),
        (
            same,
            both(),
            map("x", "q"),
            vec![(E::InvalidInputMap, "configuration.inputMap[0].datasetParameter")],
        ),
        (
            |s| s.previous = Some((1, false, 0)),
            of_previous(),
            none(),
            vec![(E::PrevBatchStillCreating, root)],
        ),
        (
            |s| s.dataset = dataset(&json!({"parameters": {"json": [{"name": "y", "type": "number"}]}})),
            of_dataset(),
            none(),
            vec![(E::MismatchedParams, "definition.dataset")],
        ),
        (
            |s| {
                s.dataset = dataset(
                    &json!({"parameters": {"json": [{"name": "x", "type": "string", "required": false}]}}),
                )
            },
            of_dataset(),
            none(),
            vec![(E::MismatchedParams, "definition.dataset"); 2],
        ),
        (incompatible, of_previous(), none(), vec![(E::PrevBatchNoReprocess, "definition.previous_batch")]),
        (|s| s.members = Some(0), of_dataset(), none(), vec![(E::NoRecipes, "definition")]),
        (|s| s.previous = Some((1, true, 0)), of_previous(), none(), vec![(E::NoRecipes, "definition")]),
        (same, none(), none(), vec![(E::NoRecipes, "definition")]),
    ];
    let mut told = BTreeSet::new();
    for (change, definition, configuration, expected) in cases {
        let mut setting = setting();
        change(&mut setting);
        let made = check(&setting, &definition, &configuration, true);
        assert_eq!(errors(&made), expected, "{definition} {configuration}");
        assert_eq!(made.recipes_estimated, 0);
        // With a predecessor the difference is told once it was computed (2.6).
        let computed =
            expected.iter().all(|(name, _)| matches!(name, E::PrevBatchNoReprocess | E::NoRecipes));
        assert_eq!(
            made.diff.is_some(),
            computed && definition.get("previous_batch").is_some(),
            "{definition}"
        );
        told.extend(expected.iter().map(|(name, _)| *name));
    }
    // The documents' own errors are told when they are read.
    told.extend([E::InvalidBatchDefinition, E::InvalidBatchConfiguration]);
    assert_eq!(told, E::all().into_iter().collect());
}

#[test]
fn every_warning_is_told_and_spoils_nothing() {
    use BatchWarning as W;
    let warnings = |setting: &Setting, definition: &Value, supersedes| {
        let made = check(setting, definition, &json!({}), supersedes);
        assert!(made.found.is_valid() && made.recipes_estimated > 0, "{:?}", made.found.errors);
        made.found.warnings.into_iter().map(|warning| (warning.name, warning.place)).collect::<Vec<_>>()
    };
    let mut told = BTreeSet::new();
    let mut expect = |found: Vec<(W, String)>, expected: &[(W, &str)]| {
        let found: Vec<(W, &str)> = found.iter().map(|(name, place)| (*name, place.as_str())).collect();
        assert_eq!(found, expected);
        told.extend(found.iter().map(|(name, _)| *name));
    };
    let setting = setting();
    let top = "definition.forced_nodes";
    let forced = |forced: Value| json!({"dataset": 7, "forced_nodes": forced});
    let named = forced(json!({"all": false, "nodes": ["q", "s"], "sub_recipes": {"a": {"all": true}}}));
    expect(warnings(&setting, &named, true), &[(W::UnknownForcedNode, top), (W::UnknownForcedNode, top)]);
    let alone = forced(json!({"all": false, "nodes": ["s"]}));
    expect(warnings(&setting, &alone, true), &[(W::ForcedSubRecipeEmpty, top)]);
    let behind = forced(json!({"all": false, "nodes": ["a", "s"]}));
    expect(warnings(&setting, &behind, true), &[]);
    expect(warnings(&setting, &forced(json!({"all": true})), true), &[]);
    let inside = forced(json!({"all": false, "sub_recipes": {"s": {"all": false, "nodes": ["i", "q"]}}}));
    let at = "definition.forced_nodes.sub_recipes.s";
    expect(warnings(&setting, &inside, true), &[(W::ForcedSubRecipeEmpty, at), (W::UnknownForcedNode, at)]);
    let own = json!({"forced_nodes": {"all": true},
                     "previous_batch": {"root_batch_id": 3, "forced_nodes": {"all": false, "nodes": ["q"]}}});
    let at = "definition.previous_batch.forced_nodes";
    expect(warnings(&setting, &own, true), &[(W::UnknownForcedNode, at)]);

    let mut same = super::admissions::setting();
    same.prev_graph = revision(2);
    expect(warnings(&same, &of_previous(), true), &[(W::NothingToReprocess, "definition.previous_batch")]);
    expect(warnings(&same, &of_previous(), false), &[]);
    expect(warnings(&setting, &of_previous(), true), &[]);

    let mut scans = super::admissions::setting();
    let mut takes = definition([]);
    let files = json!({"files": [{"name": "x", "media_types": ["image/png"]}]});
    takes.input = crate::model::recipe::RecipeDefinition::parse(&json!({"input": files}), Place::root(""))
        .unwrap()
        .input;
    scans.graph = Graph::compile(&takes).unwrap();
    scans.dataset = dataset(&json!({"parameters": {"files": [{"name": "x", "media_types": ["image/gif"]}]}}));
    expect(warnings(&scans, &of_dataset(), true), &[(W::MismatchedMediaTypes, "definition.dataset")]);
    assert_eq!(told, W::all().into_iter().collect());
}

#[test]
fn an_edited_map_is_checked_against_the_dataset() {
    let setting = setting();
    let map = |input: &str, parameter: &str| {
        let document = json!({"inputMap": [{"input": input, "datasetParameter": parameter}]});
        BatchConfiguration::parse(&document, Place::root("")).unwrap().input_map
    };
    let facts = Some(DatasetFacts { definition: &setting.dataset, members: 0 });
    assert_eq!(check_edited_map(&map("x", "y"), &setting.graph, facts), []);
    assert_eq!(check_edited_map(&map("x", "q"), &setting.graph, facts).len(), 1);
    assert_eq!(check_edited_map(&map("x", "q"), &setting.graph, None), []);
    assert_eq!(check_edited_map(&map("q", "q"), &setting.graph, None).len(), 1);
}

#[test]
fn what_becomes_of_existing_recipes_is_in_the_matrix() {
    assert_eq!(treatment(false, true), Treatment::SupersedeEqualInputs);
    assert_eq!(treatment(false, false), Treatment::CreateAll);
    assert_eq!(treatment(true, true), Treatment::ReprocessAll);
    assert_eq!(treatment(true, false), Treatment::CreateFromInputs);
}

proptest! {
    #![proptest_config(crate::properties::config(256))]

    /// As many pairs as there are, each of equal inputs, nobody twice; the order decides.
    #[test]
    fn members_and_recipes_are_paired_one_to_one(
        members in prop::collection::vec(0..4_u8, 0..12), recipes in prop::collection::vec(0..4_u8, 0..12),
    ) {
        let hashed = |values: &[u8]| -> Vec<(usize, InputHash)> {
            values.iter().map(|value| InputHash([*value; 32])).enumerate().collect()
        };
        let pairs = pair(&hashed(&members), &hashed(&recipes));
        prop_assert_eq!(pairs.iter().map(|(member, _)| *member).collect::<Vec<_>>(), (0..members.len()).collect::<Vec<_>>());
        let mut taken: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        for (member, recipe) in &pairs {
            if let Some(recipe) = recipe {
                prop_assert_eq!(members[*member], recipes[*recipe]);
                taken.entry(members[*member]).or_default().push(*recipe);
            }
        }
        for value in 0..4 {
            let of = |values: &[u8]| values.iter().filter(|other| **other == value).count();
            let first: Vec<usize> = (0..recipes.len()).filter(|at| recipes[*at] == value).take(of(&members)).collect();
            prop_assert_eq!(taken.remove(&value).unwrap_or_default(), first);
        }
    }
}
