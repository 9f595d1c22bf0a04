//! The checks of a recipe definition.

use millrace_common::model::recipe::names::DefinitionWarning;
use millrace_common::model::recipe::{Diff, Finding, Graph, Place, RecipeDefinition, echo};
use millrace_common::store::recipes::{CheckedDefinition, RecipeType};
use millrace_common::store::{Store, StoreError};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::v6::http::Told;

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) errors: Vec<Told>,
    pub(super) warnings: Vec<Told>,
    /// The definition, when there are no errors.
    pub(super) checked: Option<CheckedDefinition>,
    /// The Recipe Diff document, or an empty object.
    pub(super) diff: Value,
}

/// Checks a definition as it was written, of the recipe type `name`, against the types of the tenant, and compares it with
/// the newest revision.
pub(super) async fn check(
    store: &Store,
    tenant_id: Uuid,
    name: Option<&str>,
    text: &str,
    existing: Option<&RecipeType>,
) -> Result<Found, StoreError> {
    let place = Place::root("definition");
    let mut found = Found { errors: Vec::new(), warnings: Vec::new(), checked: None, diff: json!({}) };
    let definition = match RecipeDefinition::parse_text(text, place) {
        Ok(definition) => definition,
        Err(findings) => {
            found.errors = findings.into_iter().map(Told::of).collect();
            return Ok(found);
        }
    };
    let references = store.references(tenant_id, &definition).await?;
    let checked = definition.check(name, &references.catalog, place);
    found.errors = checked.errors.into_iter().map(Told::of).collect();
    found.warnings = checked.warnings.into_iter().map(Told::of).collect();
    let graph = Graph::compile(&definition).ok();
    if let (Some(graph), Some(existing)) = (&graph, existing)
        && let Some(before) = compiled(&existing.definition)
    {
        let diff = Diff::between(&before, graph);
        if !diff.can_be_reprocessed {
            let reasons: Vec<String> = diff.reasons.iter().map(ToString::to_string).collect();
            let text = format!("existing recipes cannot be reprocessed with it: {}", reasons.join("; "));
            found.warnings.push(Told::of(Finding::new(
                DefinitionWarning::ReprocessWarning,
                "definition",
                text,
            )));
        }
        found.diff = serde_json::to_value(&diff).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    }
    if found.errors.is_empty() {
        let document: Value =
            serde_json::from_str(text).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let document = echo::recipe_definition(&document);
        found.checked = Some(CheckedDefinition { document, definition, references });
    }
    Ok(found)
}

fn compiled(definition: &Value) -> Option<Graph> {
    let definition = RecipeDefinition::parse(definition, Place::root("definition")).ok()?;
    Graph::compile(&definition).ok()
}
