//! Whatever is sent: every document is read or refused with a place, and nothing panics.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::model::recipe::{
    BatchConfiguration, BatchDefinition, Catalog, Data, DatasetDefinition, ForcedNodes, Graph, GraphTables,
    JobConfiguration, MAX_FINDINGS, Manifest, Place, RecipeDefinition, echo,
};

/// One good document of each kind; they are spoilt at a random place.
fn documents() -> [Value; 7] {
    let node = json!({"dependencies": [{"name": "gate", "acceptance": false}], "input": {"a": {"type": "recipe", "input": "x"}},
        "node_type": {"node_type": "job", "job_type_name": "j", "job_type_version": "1.0.0", "job_type_revision": 1}});
    let gate = json!({"dependencies": [], "input": {"x": {"type": "recipe", "input": "x"}},
        "node_type": {"node_type": "condition", "interface": {"json": [{"name": "x", "type": "object"}]},
            "data_filter": {"filters": [{"name": "x", "type": "object", "condition": ">", "values": [[1]], "fields": [["a"]]}]}}});
    let interface =
        json!({"json": [{"name": "x", "type": "object"}], "files": [{"name": "f", "multiple": true}]});
    [
        json!({"input": interface, "nodes": {"gate": gate, "n": node}}),
        json!({"dataset": 1, "forced_nodes": {"all": false, "nodes": ["n"], "sub_recipes": {"s": {"all": true}}},
               "previous_batch": {"root_batch_id": 1, "forced_nodes": {"all": true}}}),
        json!({"priority": 1, "inputMap": [{"input": "a", "datasetParameter": "b"}]}),
        json!({"parameters": interface, "global_parameters": {"json": [{"name": "g", "type": "array"}]},
               "global_data": {"json": {"g": [1]}}}),
        json!({"json": {"x": {"a": 1}}, "files": {"f": [1, 2]}}),
        json!({"seedVersion": "1.0.0", "job": {"name": "n", "jobVersion": "1.0.0", "title": "t", "description": "d", "timeout": 1,
               "interface": {"inputs": interface, "outputs": {"json": [{"name": "o", "type": "number", "key": "O"}]}},
               "errors": [{"code": 1, "name": "e", "category": "data"}]}}),
        json!({"priority": 1, "settings": {"a": "b"}}),
    ]
}

fn anything() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "version",
        "6",
        "nodes",
        "input",
        "json",
        "files",
        "name",
        "type",
        "object",
        "recipe",
        "condition",
        "all",
        "",
        "n",
        "gate",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..4).prop_map(|pairs| {
                Value::Object(
                    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>(),
                )
            }),
        ]
    })
}

/// Puts a value at a place of the document: instead of what is there, or under a key more.
fn spoil(document: &mut Value, path: &[prop::sample::Index], value: Value) {
    let Some((step, rest)) = path.split_first() else {
        *document = value;
        return;
    };
    match document {
        Value::Array(items) if !items.is_empty() => {
            let at = step.index(items.len());
            spoil(&mut items[at], rest, value);
        }
        Value::Object(map) if !map.is_empty() => {
            let at = step.index(map.len() + 1);
            match map.values_mut().nth(at) {
                Some(inner) => spoil(inner, rest, value),
                None => _ = map.insert("more".to_owned(), value),
            }
        }
        other => *other = value,
    }
}

fn read_all(document: &Value) -> Vec<(usize, Vec<String>)> {
    let place = Place::root("document");
    let texts = |findings: Vec<String>| (findings.len(), findings);
    macro_rules! told {
        ($read:expr) => {
            $read.err().map(|found| texts(found.iter().map(ToString::to_string).collect()))
        };
    }
    let definition = RecipeDefinition::parse(document, place);
    if let Ok(definition) = &definition {
        let found = definition.check(Some("n"), &Catalog::default(), place);
        assert!(found.errors.len() <= MAX_FINDINGS && found.warnings.len() <= MAX_FINDINGS);
        if let Ok(graph) = Graph::compile(definition) {
            assert!(GraphTables::of(&graph).nodes.node.len() <= graph.len());
        }
    }
    let _ = RecipeDefinition::parse_text(&document.to_string(), place);
    let dataset = DatasetDefinition::parse(document, place);
    if let Ok(dataset) = &dataset {
        let _ = dataset.members(document, place);
    }
    for echoed in [
        echo::batch_definition(document, Some(false)),
        echo::recipe_definition(document),
        echo::dataset_definition(document),
        echo::flat(document),
    ] {
        assert_eq!(echoed.is_object(), document.is_object());
    }
    let data = Data::parse(document, place);
    if let Ok(data) = &data {
        assert_eq!(data.hash(), data.hash());
    }
    [
        told!(definition),
        told!(dataset),
        told!(data),
        told!(BatchDefinition::parse(document, place)),
        told!(BatchConfiguration::parse(document, place)),
        told!(ForcedNodes::parse(document, place)),
        told!(Manifest::parse(document, place)),
        told!(JobConfiguration::parse(document, place)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

proptest! {
    #![proptest_config(crate::properties::config(256))]

    #[test]
    fn spoilt_documents_are_read_or_refused(
        which in 0..7_usize, path in prop::collection::vec(any::<prop::sample::Index>(), 0..8), value in anything(),
    ) {
        let mut document = documents()[which].clone();
        spoil(&mut document, &path, value);
        for (count, texts) in read_all(&document) {
            prop_assert!(count > 0 && count <= MAX_FINDINGS);
            prop_assert!(texts.iter().all(|text| text.starts_with("document")), "{:?}", texts);
        }
    }
}

#[test]
fn good_documents_are_read() {
    let place = Place::root("");
    let [definition, batch, configuration, dataset, data, manifest, job] = documents();
    assert!(RecipeDefinition::parse(&definition, place).is_ok());
    assert!(BatchDefinition::parse(&batch, place).is_ok());
    assert!(BatchConfiguration::parse(&configuration, place).is_ok());
    assert!(DatasetDefinition::parse(&dataset, place).is_ok());
    assert!(Data::parse(&data, place).is_ok());
    assert!(Manifest::parse(&manifest, place).is_ok());
    assert!(JobConfiguration::parse(&job, place).is_ok());
}
