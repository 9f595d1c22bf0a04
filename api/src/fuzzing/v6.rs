//! What v6 reads: documents, filters, rows of files, queries.

use std::fmt::{Debug, Display};

use millrace_common::model::recipe::{
    BatchConfiguration, BatchDefinition, Catalog, Data, DataFilter, DatasetDefinition, Filter, Finding,
    ForcedNodes, Graph, JobConfiguration, MAX_FINDINGS, Manifest, Operator, Place, RecipeDefinition, echo,
};
use serde_json::Value;

use crate::v6::datasets::check_rows;
use crate::v6::http::check_query;

/// Where documents stand in their requests.
const ROOT: &str = "document";

/// The definition of a recipe type. What it says does not depend on how it was read, nor on whether it was given back before. A
/// definition without errors has a graph, in which every node stands behind those that it depends on.
pub fn v6_definition(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let place = Place::root(ROOT);
    let definition = RecipeDefinition::parse_text(text, place);
    bounded(&definition);
    let Ok(definition) = definition else { return };
    let Ok(document) = serde_json::from_str::<Value>(text) else { panic!("accepted, and no JSON: {text}") };
    assert_eq!(RecipeDefinition::parse(&document, place).as_ref(), Ok(&definition));
    let given_back = echo::recipe_definition(&document);
    assert_eq!(RecipeDefinition::parse(&given_back, place).as_ref(), Ok(&definition), "{given_back}");
    let checked = definition.check(Some("own"), &Catalog::default(), place);
    assert!(checked.errors.len() <= MAX_FINDINGS && checked.warnings.len() <= MAX_FINDINGS);
    let graph = Graph::compile(&definition);
    assert!(graph.is_ok() || !checked.is_valid(), "it is sound, and has no graph: {graph:?}");
    let Ok(graph) = graph else { return };
    assert_eq!(graph.len(), definition.nodes.len());
    for (index, node) in graph.nodes() {
        assert!(definition.nodes.contains_key(&*node.name));
        assert_eq!(graph.find(&node.name), Some(index));
        for parent in &node.parents {
            assert!(parent.node < index, "{} stands before its parent", node.name);
            assert!(graph.node(parent.node).children.contains(&index));
        }
    }
}

/// Any other document, chosen by the first byte. What is accepted means the same when it was given back before.
pub fn v6_document(bytes: &[u8]) {
    let [choice, text @ ..] = bytes else { return };
    let Ok(document) = serde_json::from_slice::<Value>(text) else { return };
    match choice % 7 {
        0 => same(&document, BatchDefinition::parse, |document| echo::batch_definition(document, None)),
        1 => same(&document, BatchConfiguration::parse, echo::flat),
        2 => {
            same(&document, DatasetDefinition::parse, echo::dataset_definition);
            if let Ok(dataset) = DatasetDefinition::parse(&document, Place::root(ROOT)) {
                bounded(&dataset.members(&document, Place::root(ROOT)));
            }
        }
        3 => {
            same(&document, Data::parse, echo::flat);
            if let Ok(data) = Data::parse(&document, Place::root(ROOT)) {
                let stored = serde_json::to_value(&data).and_then(serde_json::from_value::<Data>);
                assert_eq!(stored.as_ref().ok(), Some(&data), "as it is stored");
                assert_eq!(stored.ok().map(|stored| stored.hash()), Some(data.hash()));
            }
        }
        4 => same(&document, ForcedNodes::parse, Value::clone),
        5 => same(&document, Manifest::parse, Value::clone),
        _ => same(&document, JobConfiguration::parse, echo::flat),
    }
}

fn same<T: Debug + PartialEq, N: Debug + Display + PartialEq>(
    document: &Value,
    parse: impl Fn(&Value, Place<'_>) -> Result<T, Vec<Finding<N>>>,
    echo: impl Fn(&Value) -> Value,
) {
    let read = parse(document, Place::root(ROOT));
    bounded(&read);
    if let Ok(read) = read {
        let given_back = echo(document);
        assert_eq!(parse(&given_back, Place::root(ROOT)), Ok(read), "{given_back}");
    }
}

/// A refusal names between one and [`MAX_FINDINGS`] places, each in the document.
fn bounded<T, N>(read: &Result<T, Vec<Finding<N>>>) {
    if let Err(findings) = read {
        assert!((1..=MAX_FINDINGS).contains(&findings.len()), "{} findings", findings.len());
        for Finding { place, text, .. } in findings {
            assert!(place.starts_with(ROOT) && !text.is_empty(), "{place}: {text}");
        }
    }
}

/// A filter, and behind a line feed the data that it looks at. Accepting does not depend on the order of filters; a filter and its
/// negation never accept the same value, and one of them does.
pub fn v6_filter(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let mut next = || serde_json::from_slice::<Value>(parts.next().unwrap_or_default()).ok();
    let (Some(document), data) = (next(), next()) else { return };
    let filter = DataFilter::parse(&document, Place::root(ROOT));
    bounded(&filter);
    let Ok(filter) = filter else { return };
    let Some(Ok(data)) = data.map(|data| Data::parse(&data, Place::root(ROOT))) else { return };
    let accepts = filter.accepts(&data);
    let mut turned = filter.clone();
    turned.filters.reverse();
    assert_eq!(turned.accepts(&data), accepts, "in another order");
    let each: Vec<bool> = filter.filters.iter().map(|filter| alone(filter).accepts(&data)).collect();
    let expected = match filter.all {
        true => each.iter().all(|passes| *passes),
        false => each.is_empty() || each.contains(&true),
    };
    assert_eq!(accepts, expected, "{each:?}");
    for (filter, passes) in filter.filters.iter().zip(each) {
        check_negation(filter, passes, &data);
    }
}

fn alone(filter: &Filter) -> DataFilter {
    DataFilter { filters: vec![filter.clone()], all: true }
}

/// Where the value is there and compared itself, with at least one other.
fn check_negation(filter: &Filter, passes: bool, data: &Data) {
    let negation = match filter.operator {
        Operator::Equal => Operator::NotEqual,
        Operator::NotEqual => Operator::Equal,
        Operator::In => Operator::NotIn,
        Operator::NotIn => Operator::In,
        _ => return,
    };
    if filter.fields.is_empty() && !filter.values.is_empty() && data.json.contains_key(&filter.name) {
        let negated = Filter { operator: negation, ..filter.clone() };
        assert_ne!(alone(&negated).accepts(data), passes, "{filter:?}");
    }
}

/// A file of rows for a dataset: comma-separated values, or lines of JSON. See [`crate::v6::datasets`].
pub fn v6_rows(bytes: &[u8]) {
    check_rows(bytes);
}

/// A query of a list: a page, times, an order, ids, flags. See [`crate::v6::http`].
pub fn v6_query(bytes: &[u8]) {
    check_query(bytes);
}
