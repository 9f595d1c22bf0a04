//! Editing recipe types (contract 5.2): names from titles, and new revisions because of what nodes refer to.

use serde_json::{Map, Value};

use super::definition::{JobTypeRef, RecipeTypeRef};

/// Longest name of a recipe type, in characters.
pub const MAX_RECIPE_TYPE_NAME: usize = 30;

/// Why a title gives no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TitleError {
    /// Nothing of the title can be in a name.
    #[error("the title has no letter or digit from which a name could be made")]
    Empty,
    /// The name is part of an address.
    #[error("`validation` cannot be the name of a recipe type")]
    Reserved,
}

/// The name of a recipe type with this title: in small letters, its words joined by `-`, cut to
/// [`MAX_RECIPE_TYPE_NAME`]. What is no ASCII letter or digit is left out.
pub fn recipe_type_name(title: &str) -> Result<String, TitleError> {
    let mut name = String::new();
    for character in title.chars() {
        if character.is_ascii_alphanumeric() {
            name.push(character.to_ascii_lowercase());
        } else if (character.is_whitespace() || matches!(character, '-' | '_'))
            && !name.ends_with('-')
            && !name.is_empty()
        {
            name.push('-');
        }
    }
    name.truncate(MAX_RECIPE_TYPE_NAME);
    let name = name.trim_end_matches('-');
    match name {
        "" => Err(TitleError::Empty),
        "validation" => Err(TitleError::Reserved),
        name => Ok(name.to_owned()),
    }
}

/// A definition that refers to the new revision of a job type wherever it referred to an older one of the same
/// version. `None` when nothing changes, and for what is no definition.
pub fn with_job_type(definition: &Value, to: &JobTypeRef) -> Option<Value> {
    repinned(definition, "job_type_revision", to.revision, |node_type| {
        let is = |key: &str, value: &str| node_type.get(key).is_some_and(|own| own == value);
        is("job_type_name", &to.name) && is("job_type_version", &to.version)
    })
}

/// A definition that refers to the new revision of a recipe type wherever it referred to an older one. `None` when
/// nothing changes, and for what is no definition.
pub fn with_recipe_type(definition: &Value, to: &RecipeTypeRef) -> Option<Value> {
    repinned(definition, "recipe_type_revision", to.revision, |node_type| {
        node_type.get("recipe_type_name").is_some_and(|own| *own == to.name)
    })
}

fn repinned(
    definition: &Value,
    key: &str,
    revision: i64,
    refers: impl Fn(&Map<String, Value>) -> bool,
) -> Option<Value> {
    let mut revised = definition.clone();
    let mut changed = false;
    for node in revised.get_mut("nodes")?.as_object_mut()?.values_mut() {
        let Some(node_type) = node.get_mut("node_type").and_then(Value::as_object_mut) else { continue };
        if refers(node_type) && node_type.get(key).and_then(Value::as_i64).is_some_and(|own| own < revision) {
            node_type.insert(key.to_owned(), revision.into());
            changed = true;
        }
    }
    changed.then_some(revised)
}
