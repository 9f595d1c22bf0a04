#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::model::recipe::finding::Validation;
use crate::model::recipe::interface::{JsonType, Parameter, ParameterKind};
use crate::model::recipe::names::{DefinitionWarning, FilterError};

type Found = Validation<DefinitionError, DefinitionWarning>;

fn job_type(name: &str) -> JobTypeRef {
    JobTypeRef { name: name.to_owned(), version: "1.0.0".to_owned(), revision: 1 }
}

fn numbers(names: &[(&str, bool)]) -> Interface {
    let number =
        |(name, required): &(&str, bool)| ((*name).to_owned(), Parameter::json(JsonType::Number, *required));
    Interface::of(names.iter().map(number))
}

fn file(required: bool, media_types: &[&str], multiple: bool) -> Parameter {
    let media_types = media_types.iter().map(|text| (*text).to_owned()).collect();
    Parameter { required, kind: ParameterKind::File { media_types, multiple } }
}

/// Job type `add` takes numbers `a` and perhaps `b` and gives `sum` and perhaps `rest`; `view` takes one PNG and
/// gives several pictures; recipe type `inner` takes `a` and contains `innermost`.
fn catalog() -> Catalog {
    let add = JobTypeEntry {
        inputs: numbers(&[("a", true), ("b", false)]),
        outputs: numbers(&[("sum", true), ("rest", false)]),
        deprecated: false,
    };
    let view = JobTypeEntry {
        inputs: Interface::of([("image".to_owned(), file(true, &["image/png"], false))]),
        outputs: Interface::of([("images".to_owned(), file(true, &["image/tiff"], true))]),
        deprecated: true,
    };
    let inner = RecipeTypeEntry {
        inputs: numbers(&[("a", true)]),
        contains: ["innermost".to_owned()].into(),
        deprecated: false,
    };
    Catalog {
        job_types: [(job_type("add"), add), (job_type("view"), view)].into(),
        recipe_types: [(RecipeTypeRef { name: "inner".to_owned(), revision: 2 }, inner)].into(),
    }
}

fn job(name: &str, dependencies: &[&str], input: Value) -> Value {
    let dependencies: Vec<Value> = dependencies.iter().map(|name| json!({"name": name})).collect();
    json!({"dependencies": dependencies, "input": input,
           "node_type": {"node_type": "job", "job_type_name": name, "job_type_version": "1.0.0",
                         "job_type_revision": 1}})
}

fn from_recipe(input: &str) -> Value {
    json!({"type": "recipe", "input": input})
}

fn from_node(node: &str, output: &str) -> Value {
    json!({"type": "dependency", "node": node, "output": output})
}

fn condition(dependencies: &[&str], input: Value) -> Value {
    let mut node = job("", dependencies, input);
    node["node_type"] = json!({"node_type": "condition",
        "interface": {"json": [{"name": "sum", "type": "number"}, {"name": "rest", "type": "number", "required": false}]},
        "data_filter": {"filters": [{"name": "sum", "type": "number", "condition": ">", "values": [0]},
                                    {"name": "rest", "type": "number", "condition": ">", "values": [0]}]}});
    node
}

/// Two recipe inputs: the number `x`, and the optional number `y`.
fn document(nodes: Value) -> Value {
    json!({"input": {"json": [{"name": "x", "type": "number"}, {"name": "y", "type": "number", "required": false}],
                     "files": [{"name": "scan", "media_types": ["image/png", "image/gif"]}]},
           "nodes": nodes})
}

fn check(document: &Value) -> Found {
    match RecipeDefinition::parse(document, Place::root("definition")) {
        Ok(definition) => definition.check(Some("own"), &catalog(), Place::root("definition")),
        Err(errors) => Validation { errors, warnings: Vec::new() },
    }
}

fn errors(found: &Found) -> Vec<(DefinitionError, &str)> {
    found.errors.iter().map(|error| (error.name, error.place.as_str())).collect()
}

#[test]
fn a_good_definition_is_read_and_valid() {
    let document = document(json!({
        "first": job("add", &[], json!({"a": from_recipe("x"), "b": from_recipe("y")})),
        "gate": condition(&["first"], json!({"sum": from_node("first", "sum"), "rest": from_node("first", "rest")})),
        "second": job("add", &["gate"], json!({"a": from_node("gate", "rest")})),
        "sub": {"dependencies": [{"name": "gate", "acceptance": false}], "input": {"a": from_node("first", "sum")},
                "node_type": {"node_type": "recipe", "recipe_type_name": "inner", "recipe_type_revision": 2}},
        "last": job("add", &["sub", "second"], json!({"a": from_recipe("x")})),
    }));
    let found = check(&document);
    assert_eq!(errors(&found), []);
    let unreachable: Vec<_> =
        found.warnings.iter().map(|warning| (warning.name, warning.place.as_str())).collect();
    assert_eq!(unreachable, [(DefinitionWarning::UnreachableNode, "definition.nodes.last")]);

    let definition = RecipeDefinition::parse(&document, Place::root("")).unwrap();
    assert_eq!(definition.nodes["sub"].dependencies, [("gate".to_owned(), false)].into());
    assert_eq!(definition.job_types(), [&job_type("add")].into());
    assert_eq!(definition.recipe_types(), [&RecipeTypeRef { name: "inner".to_owned(), revision: 2 }].into());
    assert_eq!(RecipeDefinition::parse_text(&document.to_string(), Place::root("")).unwrap(), definition);
}

#[test]
fn an_empty_definition_is_valid() {
    assert_eq!(RecipeDefinition::parse(&json!({}), Place::root("")).unwrap(), RecipeDefinition::default());
    assert!(check(&json!({"input": null, "nodes": {}, "version": "7"})).is_valid());
}

#[test]
fn every_error_is_told_with_its_place() {
    use DefinitionError as E;
    let node = |node: Value| document(json!({"n": node}));
    let x = || json!({"a": from_recipe("x")});
    let mut broken_filter = condition(&[], json!({"sum": from_recipe("x")}));
    broken_filter["node_type"]["data_filter"]["filters"][1] = json!({"name": "rest", "type": "number"});
    let mut recursive = job("", &[], x());
    recursive["node_type"] =
        json!({"node_type": "recipe", "recipe_type_name": "own", "recipe_type_revision": 1});
    let mut no_recipe = recursive.clone();
    no_recipe["node_type"]["recipe_type_name"] = json!("other");
    let mut sub = recursive.clone();
    sub["node_type"] = json!({"node_type": "recipe", "recipe_type_name": "inner", "recipe_type_revision": 2});
    let mut extra = job("add", &[], x());
    extra["node_type"]["job_type_extra"] = json!(1);
    let long = "n".repeat(MAX_NODE_NAME + 1);

    let cases = [
        (json!([]), vec![(E::InvalidDefinitionJson, "definition".to_owned())]),
        (json!({"edges": []}), vec![(E::InvalidDefinition, "definition.edges".to_owned())]),
        (json!({"version": 6}), vec![(E::InvalidDefinition, "definition.version".to_owned())]),
        (json!({"nodes": []}), vec![(E::InvalidDefinition, "definition.nodes".to_owned())]),
        (
            json!({"nodes": {"a.b": {}}}),
            ["dependencies", "input", "node_type"]
                .map(|key| (E::InvalidDefinition, format!("definition.nodes[\"a.b\"].{key}")))
                .to_vec(),
        ),
        (
            json!({"nodes": {long.clone(): job("add", &[], json!({}))}}),
            vec![(E::InvalidDefinition, format!("definition.nodes.{long}"))],
        ),
        (node(extra), vec![(E::InvalidDefinition, "definition.nodes.n.node_type.job_type_extra".to_owned())]),
        (
            node(job("add", &[], json!({"a": {"type": "recipe", "input": "x", "node": "n"}}))),
            vec![(E::InvalidDefinition, "definition.nodes.n.input.a.node".to_owned())],
        ),
        (
            node(job("add", &[], json!({"a": {"type": "constant", "value": 1}}))),
            vec![(E::InvalidDefinition, "definition.nodes.n.input.a.type".to_owned())],
        ),
        (
            json!({"input": {"json": [{"name": "x", "type": "number"}, {"name": "x", "type": "number"}]}}),
            vec![(E::InputInterface, "definition.input.json[1].name".to_owned())],
        ),
        (
            json!({"input": {"json": [{"name": "x y", "type": "number"}], "files": [{"name": "é"}]}}),
            vec![
                (E::InputInterface, "definition.input.files[0].name".to_owned()),
                (E::InputInterface, "definition.input.json[0].name".to_owned()),
            ],
        ),
        (
            json!({"input": {"json": [{"name": "x1", "type": "float"}]}}),
            vec![(E::InputInterface, "definition.input.json[0].type".to_owned())],
        ),
        (
            node(job("add", &["m"], json!({"a": from_node("o", "sum")}))),
            vec![
                (E::UnknownNode, "definition.nodes.n.dependencies.m".to_owned()),
                (E::UnknownNode, "definition.nodes.n.input.a".to_owned()),
            ],
        ),
        (
            node(job("add", &[], json!({"a": from_recipe("z")}))),
            vec![(E::UnknownInput, "definition.nodes.n.input.a".to_owned())],
        ),
        (
            document(json!({"m": job("add", &[], x()), "n": job("add", &["m", "m"], x())})),
            vec![(E::DuplicateNode, "definition.nodes.n.dependencies[1].name".to_owned())],
        ),
        (node(job("add", &["n"], x())), vec![(E::CircularDependency, "definition.nodes.n".to_owned())]),
        (
            document(json!({"m": sub.clone(), "n": job("add", &["m"], json!({"a": from_node("m", "sum")}))})),
            vec![(E::ConnectionInvalidNode, "definition.nodes.n.input.a".to_owned())],
        ),
        (node(job("add", &[], json!({}))), vec![(E::NodeInterface, "definition.nodes.n.input.a".to_owned())]),
        (
            node(job("multiply", &[], x())),
            vec![(E::JobTypeDoesNotExist, "definition.nodes.n.node_type".to_owned())],
        ),
        (node(no_recipe), vec![(E::RecipeTypeDoesNotExist, "definition.nodes.n.node_type".to_owned())]),
        (node(recursive), vec![(E::RecursiveSubrecipes, "definition.nodes.n.node_type".to_owned())]),
        (
            node(broken_filter),
            vec![
                (
                    E::Filter(FilterError::MissingCondition),
                    "definition.nodes.n.node_type.data_filter.filters[1].condition".to_owned(),
                ),
                (
                    E::Filter(FilterError::MissingValues),
                    "definition.nodes.n.node_type.data_filter.filters[1].values".to_owned(),
                ),
            ],
        ),
    ];
    let mut told: BTreeSet<DefinitionError> = BTreeSet::new();
    for (document, expected) in cases {
        let found = check(&document);
        let expected: Vec<(E, &str)> = expected.iter().map(|(name, place)| (*name, place.as_str())).collect();
        assert_eq!(errors(&found), expected, "{document}");
        told.extend(expected.iter().map(|(name, _)| *name));
    }
    // The other names of filters have their own test; here it is seen that they come through.
    let own = DefinitionError::all().into_iter().filter(|name| !matches!(name, E::Filter(_)));
    let missing: Vec<E> = own.filter(|name| !told.contains(name)).collect();
    assert_eq!(missing, []);
}

#[test]
fn what_is_connected_must_fit() {
    let two =
        |second: Value| document(json!({"m": job("add", &[], json!({"a": from_recipe("x")})), "n": second}));
    let at = "definition.nodes.n.input.a";
    let cases = [
        (
            job("add", &["m"], json!({"a": from_recipe("y")})),
            "is required, and what feeds it may be left out",
        ),
        (
            job("add", &["m"], json!({"a": from_node("m", "rest")})),
            "is required, and what feeds it may be left out",
        ),
        (job("add", &["m"], json!({"a": from_node("m", "product")})), "`m` has no output `product`"),
        (job("add", &["m"], json!({"a": from_recipe("scan")})), "takes JSON and is given files"),
        (
            job("add", &[], json!({"a": from_node("m", "sum")})),
            "`m` does not go before this node: it must be a dependency, or one of a dependency",
        ),
    ];
    for (node, text) in cases {
        let found = check(&two(node));
        assert_eq!(errors(&found), [(DefinitionError::NodeInterface, at)], "{text}");
        assert_eq!(found.errors[0].text, text);
    }
    // An ancestor need not be a dependency.
    let chain = document(json!({
        "m": job("add", &[], json!({"a": from_recipe("x")})),
        "n": job("add", &["m"], json!({"a": from_recipe("x")})),
        "o": job("add", &["n"], json!({"a": from_node("m", "sum")})),
    }));
    assert_eq!(errors(&check(&chain)), []);
}

#[test]
fn an_optional_output_feeds_a_required_input_behind_a_condition() {
    let nodes = |from: &str| {
        document(json!({
            "m": job("add", &[], json!({"a": from_recipe("x")})),
            "gate": condition(&["m"], json!({"sum": from_node("m", "sum"), "rest": from_node("m", "rest")})),
            "n": job("add", &["gate"], json!({"a": from_node(from, "rest")})),
        }))
    };
    assert_eq!(errors(&check(&nodes("gate"))), []);
    assert_eq!(errors(&check(&nodes("m"))), [(DefinitionError::NodeInterface, "definition.nodes.n.input.a")]);
}

#[test]
fn every_warning_of_a_check_is_told_with_its_place() {
    use DefinitionWarning as W;
    let mut behind = job("add", &[], json!({"a": from_recipe("x"), "c": from_recipe("x")}));
    behind["dependencies"] = json!([{"name": "m", "acceptance": false}, {"name": "gate"}]);
    let mut gate = condition(&[], json!({"sum": from_recipe("x")}));
    gate["node_type"]["data_filter"] =
        json!({"filters": [{"name": "product", "type": "number", "condition": ">", "values": [0]}]});
    let mut torn = job("add", &["gate", "n"], json!({"a": from_recipe("x")}));
    torn["dependencies"][0]["acceptance"] = json!(false);
    let found = check(&document(json!({
        "m": job("view", &[], json!({"image": from_recipe("scan")})),
        "n": behind,
        "gate": gate,
        "torn": torn,
    })));
    assert_eq!(errors(&found), []);
    let told: BTreeSet<(W, &str)> =
        found.warnings.iter().map(|warning| (warning.name, warning.place.as_str())).collect();
    let expected = [
        (W::MismatchedMediaTypes, "definition.nodes.m.input.image"),
        (W::DeprecatedRecipes, "definition.nodes.m.node_type"),
        (W::UnmatchedFilter, "definition.nodes.gate.node_type.data_filter.filters[0]"),
        (W::UnmatchedParameters, "definition.nodes.gate.node_type.data_filter"),
        (W::UnmatchedParameters, "definition.nodes.n.input.c"),
        (W::AcceptanceIgnored, "definition.nodes.n.dependencies.m"),
        (W::UnreachableNode, "definition.nodes.torn"),
    ];
    assert_eq!(told, expected.into());
}

#[test]
fn recipe_types_must_not_contain_themselves_at_any_depth() {
    let mut sub = job("", &[], json!({"a": from_recipe("x")}));
    sub["node_type"] = json!({"node_type": "recipe", "recipe_type_name": "inner", "recipe_type_revision": 2});
    let definition = RecipeDefinition::parse(&document(json!({"sub": sub})), Place::root("")).unwrap();
    for (own, recursive) in
        [(None, false), (Some("own"), false), (Some("inner"), true), (Some("innermost"), true)]
    {
        let found = definition.check(own, &catalog(), Place::root(""));
        let names: Vec<_> = found.errors.iter().map(|error| error.name).collect();
        let expected: &[_] = if recursive { &[DefinitionError::RecursiveSubrecipes] } else { &[] };
        assert_eq!(names, expected, "{own:?}");
    }
}

#[test]
fn circles_are_told_each_once() {
    let node = |dependencies: &[&str]| job("add", dependencies, json!({"a": from_recipe("x")}));
    let found = check(&document(json!({
        "a": node(&["c"]), "b": node(&["a"]), "c": node(&["b"]),
        "d": node(&["c"]),
        "e": node(&["f"]), "f": node(&["e", "d"]),
        "g": node(&[]),
    })));
    let told: Vec<&str> = found.errors.iter().map(|error| error.text.as_str()).collect();
    let text = "nodes depend on each other in a circle";
    assert_eq!(told, [format!("{text}: a → b → c → a"), format!("{text}: e → f → e")]);
}

#[test]
fn what_is_defined_twice_is_seen_in_the_text() {
    let text = r#"{"nodes": {"n": {"dependencies": [], "dependencies": [],
        "input": {"a": {"type": "recipe", "input": "x"}, "a": {"type": "recipe", "input": "y"}},
        "node_type": {"node_type": "job", "job_type_name": "add", "job_type_version": "1", "job_type_revision": 1}},
        "n": {"dependencies": [{"name": "m", "name": "m"}], "input": {},
        "node_type": {"node_type": "job", "job_type_name": "add", "job_type_version": "1", "job_type_revision": 1}}}}"#;
    let found = RecipeDefinition::parse_text(text, Place::root("")).unwrap_err();
    let told: Vec<_> = found.iter().map(|error| (error.name, error.place.as_str())).collect();
    assert_eq!(
        told,
        [
            (DefinitionError::InvalidDefinitionJson, "nodes.n.dependencies"),
            (DefinitionError::NodeInterface, "nodes.n.input.a"),
            (DefinitionError::DuplicateNode, "nodes.n"),
            (DefinitionError::InvalidDefinitionJson, "nodes.n.dependencies[0].name"),
        ]
    );
    let deep = RecipeDefinition::parse_text(&"[".repeat(100_000), Place::root("definition")).unwrap_err();
    assert_eq!(
        deep[0].name,
        DefinitionError::InvalidDefinitionJson,
        "as deep as the reader goes, and no deeper"
    );
    let broken = RecipeDefinition::parse_text("{\n\"nodes\": ", Place::root("definition")).unwrap_err();
    assert_eq!(broken[0].name, DefinitionError::InvalidDefinitionJson);
    assert_eq!(broken[0].to_string(), "definition: is no JSON (line 2, column 9)");
}

#[test]
fn findings_are_few_however_much_is_wrong() {
    let nodes: Map<String, Value> = (0..MAX_NODES).map(|at| (format!("n{at}"), json!({}))).collect();
    let found = RecipeDefinition::parse(&json!({"nodes": nodes}), Place::root("")).unwrap_err();
    assert_eq!(found.len(), crate::model::recipe::MAX_FINDINGS);
    let nodes: Map<String, Value> = (0..=MAX_NODES).map(|at| (format!("n{at}"), json!({}))).collect();
    let found = RecipeDefinition::parse(&json!({"nodes": nodes}), Place::root("")).unwrap_err();
    assert_eq!((found.len(), found[0].place.as_str()), (1, "nodes"));
}

#[test]
fn the_wire_form_of_a_finding_begins_with_the_place() {
    let found = check(&json!({"edges": []}));
    assert_eq!(
        serde_json::to_value(&found.errors).unwrap(),
        json!([{"name": "INVALID_DEFINITION", "description": "definition.edges: unknown key; known are input, nodes"}])
    );
}
