//! Recipe types on the wire.

use millrace_common::store::recipes::{Contents, RecipeType, RecipeTypeRevisionRow};
use millrace_common::store::{Store, StoreError};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::v6::http::datetime;
use crate::v6::job_types;

/// A recipe type inside of others.
pub(in crate::v6) fn base(recipe_type: &RecipeType) -> Value {
    json!({
        "id": recipe_type.id, "name": recipe_type.name, "title": recipe_type.title,
        "description": recipe_type.description, "revision_num": recipe_type.revision_num,
    })
}

/// Every field that is no document and no list.
pub(super) fn scalars(recipe_type: &RecipeType) -> Value {
    let mut body = base(recipe_type);
    body["is_active"] = json!(recipe_type.is_active);
    body["is_system"] = json!(recipe_type.is_system);
    body["created"] = json!(datetime(recipe_type.created));
    body["deprecated"] = json!(recipe_type.deprecated.map(datetime));
    body["last_modified"] = json!(datetime(recipe_type.last_modified));
    body
}

/// A recipe type in lists.
pub(super) fn item(recipe_type: &RecipeType, contents: Option<&Contents>) -> Value {
    let mut body = scalars(recipe_type);
    let (job_types, recipe_types) = match contents {
        None => (Vec::new(), Vec::new()),
        Some(contents) => {
            let job_type = |(name, version): &(String, String)| json!({"name": name, "version": version});
            (contents.job_types.iter().map(job_type).collect(), contents.recipe_types.clone())
        }
    };
    body["job_types"] = Value::Array(job_types);
    body["sub_recipe_types"] = json!(recipe_types);
    body
}

/// A recipe type with its definition and what it contains.
pub(super) async fn details(
    store: &Store,
    tenant_id: Uuid,
    recipe_type: &RecipeType,
) -> Result<Value, StoreError> {
    let jobs = store.job_type_ids_of(recipe_type.revision_id).await?;
    let jobs = store.job_types_by_id(tenant_id, &jobs).await?;
    let inner = store.sub_recipe_types(tenant_id, recipe_type.revision_id).await?;
    let outer = store.super_recipe_types(tenant_id, recipe_type.id).await?;
    let mut body = scalars(recipe_type);
    body["definition"] = recipe_type.definition.clone();
    body["job_types"] = jobs.iter().map(job_types::details).collect();
    body["sub_recipe_types"] = inner.iter().map(scalars).collect();
    body["super_recipe_types"] = outer.iter().map(scalars).collect();
    Ok(body)
}

/// A revision in lists.
pub(super) fn revision(recipe_type: Value, row: &RecipeTypeRevisionRow) -> Value {
    json!({
        "id": row.id, "recipe_type": recipe_type, "revision_num": row.revision_num, "created": datetime(row.created),
    })
}
