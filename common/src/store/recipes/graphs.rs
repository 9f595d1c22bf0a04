//! Compiled revisions of recipe types, with those that they refer to at any depth.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use sqlx::PgConnection;

use super::super::{Store, StoreError};
use super::references::stored_definition;
use crate::model::recipe::{Graph, RecipeTypeRef, RecipeTypes};

impl Store {
    /// The graph of a revision, and those of the recipe types in it at any depth.
    pub async fn recipe_graphs(&self, revision_id: i64) -> Result<(Arc<Graph>, RecipeTypes), StoreError> {
        let mut connection = self.control.acquire().await?;
        let graphs = Graphs::load(&mut connection, &[revision_id]).await?;
        let graph = Arc::clone(graphs.revision(revision_id)?);
        Ok((graph, graphs.types))
    }
}

/// Some revisions, and all that they refer to.
#[derive(Debug, Default)]
pub(super) struct Graphs {
    revisions: HashMap<i64, Arc<Graph>>,
    /// By name and revision, as nodes refer to them.
    pub(super) types: RecipeTypes,
}

impl Graphs {
    /// Loads and compiles these revisions.
    pub(super) async fn load(connection: &mut PgConnection, revisions: &[i64]) -> Result<Self, StoreError> {
        let rows = sqlx::query!(
            r#"WITH RECURSIVE needed (id) AS (
                   SELECT unnest($1::bigint[])
                   UNION
                   SELECT s.sub_revision_id FROM needed n JOIN recipe_type_recipes s ON s.revision_id = n.id
               )
               SELECT r.id, t.name, r.revision_num, r.definition
               FROM needed n JOIN recipe_type_revisions r ON r.id = n.id JOIN recipe_types t ON t.id = r.recipe_type_id"#,
            revisions
        )
        .fetch_all(connection)
        .await?;
        let mut graphs = Self::default();
        for row in rows {
            let graph = Arc::new(compile(&row.definition, row.id)?);
            graphs.revisions.insert(row.id, Arc::clone(&graph));
            let name = RecipeTypeRef { name: row.name, revision: row.revision_num.into() };
            graphs.types.insert(name, graph);
        }
        Ok(graphs)
    }

    /// Loads and compiles those of these revisions that are not here.
    pub(super) async fn load_more(
        &mut self,
        connection: &mut PgConnection,
        revisions: &[i64],
    ) -> Result<(), StoreError> {
        let missing: Vec<i64> =
            revisions.iter().copied().filter(|id| !self.revisions.contains_key(id)).collect();
        if !missing.is_empty() {
            let more = Self::load(connection, &missing).await?;
            self.revisions.extend(more.revisions);
            self.types.extend(more.types);
        }
        Ok(())
    }

    /// A revision that was asked for.
    pub(super) fn revision(&self, id: i64) -> Result<&Arc<Graph>, StoreError> {
        self.revisions.get(&id).ok_or(StoreError::NotFound("recipe type revision"))
    }
}

/// Compiles a stored definition, which was checked when it was stored.
fn compile(definition: &Value, revision: i64) -> Result<Graph, StoreError> {
    Graph::compile(&stored_definition(definition)?)
        .map_err(|error| StoreError::Corrupt(format!("recipe type revision {revision}: {error}")))
}
