//! Recipes: listed and shown (control plane; contract 5.5).

mod counts;
mod instance;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::super::{Store, StoreError};
use super::batches::sort_fields;
use super::counted::{Counted, Rows};
use super::pages::{Listed, Page};
use super::{BatchBase, Event, Modified, RecipeTypeBase, Revision, Sort, Window};
use crate::model::recipe::RecipeCounts;

pub use instance::{InstanceNode, NodeInstance, RecipeInstance};

/// A recipe.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Its id.
    pub id: i64,
    /// What it is a run of.
    pub recipe_type: RecipeTypeBase,
    /// The revision of it.
    pub revision: Revision,
    /// Why it was created.
    pub event: Event,
    /// The batch that it was created for.
    pub batch: Option<BatchBase>,
    /// Of a sub-recipe: the recipe that it is in, and the type of that.
    pub parent: Option<(i64, RecipeTypeBase)>,
    /// Of a sub-recipe: the recipe at the top.
    pub root_recipe_id: Option<i64>,
    /// Whether a newer recipe took its place.
    pub is_superseded: bool,
    /// The recipe whose place it took.
    pub superseded_recipe_id: Option<i64>,
    /// The recipe that took its place.
    pub superseded_by_recipe_id: Option<i64>,
    /// `{files, json}`; none for a sub-recipe that waits for it.
    pub input: Option<Value>,
    /// Jobs and sub-recipes, copied ones and those at any depth included.
    pub counts: RecipeCounts,
    /// Whether every node is done.
    pub is_completed: bool,
    /// When it was created.
    pub created: DateTime<Utc>,
    /// When it completed.
    pub completed: Option<DateTime<Utc>>,
    /// When it was superseded.
    pub superseded: Option<DateTime<Utc>>,
    /// When it changed last.
    pub last_modified: DateTime<Utc>,
}

/// Which recipes to list. What is `None` does not matter.
#[derive(Debug, Clone, Default)]
pub struct RecipeFilter {
    /// When they changed last.
    pub modified: Modified,
    /// Any of these.
    pub ids: Option<Vec<i64>>,
    /// Of any of these types.
    pub recipe_type_ids: Option<Vec<i64>>,
    /// Of types with any of these names.
    pub recipe_type_names: Option<Vec<String>>,
    /// Created for any of these batches, sub-recipes included.
    pub batch_ids: Option<Vec<i64>>,
    /// At any depth in any of these recipes.
    pub root_recipe_ids: Option<Vec<i64>>,
    /// Whether a newer one took their place.
    pub is_superseded: Option<bool>,
    /// Whether they are completed.
    pub is_completed: Option<bool>,
}

sort_fields! {
    /// What recipes can be sorted by.
    RecipeField {
        Id = "id", "r.id";
        RecipeType = "recipe_type", "(SELECT lower(title) FROM recipe_types WHERE id = r.recipe_type_id)";
        RecipeTypeId = "recipe_type_id", "r.recipe_type_id";
        RecipeTypeRev = "recipe_type_rev", "r.recipe_type_rev_id";
        RecipeTypeRevId = "recipe_type_rev_id", "r.recipe_type_rev_id";
        Event = "event", "r.event_id";
        EventId = "event_id", "r.event_id";
        Batch = "batch", "r.batch_id";
        BatchId = "batch_id", "r.batch_id";
        Recipe = "recipe", "r.parent_recipe_id";
        RecipeId = "recipe_id", "r.parent_recipe_id";
        RootRecipeId = "root_recipe_id", "r.root_recipe_id";
        IsSuperseded = "is_superseded", "r.is_superseded";
        SupersededRecipe = "superseded_recipe", "r.superseded_recipe_id";
        SupersededRecipeId = "superseded_recipe_id", "r.superseded_recipe_id";
        IsCompleted = "is_completed", "r.is_completed";
        Created = "created", "r.created";
        Completed = "completed", "r.completed";
        Superseded = "superseded", "r.superseded";
        LastModified = "last_modified", "r.last_modified";
    }
}

impl Listed for RecipeFilter {
    type Field = RecipeField;
    const TABLE: &'static str = "recipes";
    const ALIAS: &'static str = "r";
    const ID: RecipeField = RecipeField::Id;
    const DEFAULT: RecipeField = RecipeField::LastModified;

    fn batch_ids(&self) -> Option<&[i64]> {
        self.batch_ids.as_deref()
    }

    fn modified(&self) -> &Modified {
        &self.modified
    }

    fn counted(&self) -> Option<Counted<'_>> {
        let Self {
            modified,
            ids: None,
            recipe_type_ids: None,
            recipe_type_names: None,
            batch_ids,
            root_recipe_ids: None,
            is_superseded: None,
            is_completed,
        } = self
        else {
            return None;
        };
        (*modified == Modified::default())
            .then_some(Counted { batch_ids: batch_ids.as_deref(), rows: Rows::Recipes(*is_completed) })
    }

    fn push(&self, tenant_id: Uuid, query: &mut QueryBuilder<Postgres>) {
        for (column, ids) in [
            ("r.id", &self.ids),
            ("r.recipe_type_id", &self.recipe_type_ids),
            ("r.root_recipe_id", &self.root_recipe_ids),
        ] {
            if let Some(ids) = ids {
                query.push(" AND ").push(column).push(" = ANY(").push_bind(ids.clone()).push(")");
            }
        }
        if let Some(names) = &self.recipe_type_names {
            query.push(" AND r.recipe_type_id IN (SELECT id FROM recipe_types WHERE tenant_id = ");
            query.push_bind(tenant_id).push(" AND name = ANY(").push_bind(names.clone()).push("))");
        }
        for (column, flag) in [("r.is_superseded", self.is_superseded), ("r.is_completed", self.is_completed)]
        {
            if let Some(flag) = flag {
                query.push(" AND ").push(column).push(" = ").push_bind(flag);
            }
        }
    }
}

impl Store {
    /// How many recipes the filter lets through, and those of the part that `window` says of that number. By default those that
    /// changed longest ago come first. Both are of one moment.
    ///
    /// # Errors
    ///
    /// What `window` says, or the database.
    pub async fn recipe_list<E: From<StoreError>>(
        &self,
        tenant_id: Uuid,
        filter: &RecipeFilter,
        order: &[Sort<RecipeField>],
        window: impl FnOnce(i64) -> Result<Window, E>,
    ) -> Result<(i64, Vec<Recipe>), E> {
        let mut page = Page::begin(&self.control, tenant_id, filter).await?;
        let count = page.count().await?;
        let window = window(count)?;
        if count == 0 {
            return Ok((0, Vec::new()));
        }
        let ids = page.ids(order, window).await?;
        Ok((count, recipes(&mut page.tx, tenant_id, &ids).await?))
    }
}

/// The tenant's recipes with these ids, in their order.
async fn recipes(
    connection: &mut PgConnection,
    tenant_id: Uuid,
    ids: &[i64],
) -> Result<Vec<Recipe>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT r.id, r.recipe_type_id, t.name AS type_name, t.title AS type_title, t.description AS type_description,
               t.revision_num AS type_revision, r.recipe_type_rev_id, v.revision_num, r.event_id, e.type AS event_type,
               e.description AS event_description, e.occurred, b.id AS "batch_id?", b.title AS "batch_title?",
               b.description AS "batch_description?", b.created AS "batch_created?", p.id AS "parent_id?",
               pt.id AS "parent_type_id?", pt.name AS "parent_type_name?", pt.title AS "parent_type_title?",
               pt.description AS "parent_type_description?", pt.revision_num AS "parent_type_revision?",
               r.root_recipe_id, r.is_superseded,
               (SELECT o.id FROM recipes o LEFT JOIN recipe_batches h ON h.id = o.batch_id
                WHERE o.id = r.superseded_recipe_id AND h.removed IS NULL) AS superseded_recipe_id,
               (SELECT n.id FROM recipes n LEFT JOIN recipe_batches h ON h.id = n.batch_id
                WHERE n.superseded_recipe_id = r.id AND h.removed IS NULL) AS newer_id, r.input, r.is_completed,
               r.created, r.completed, r.superseded, r.last_modified
           FROM recipes r
           JOIN recipe_types t ON t.id = r.recipe_type_id
           JOIN recipe_type_revisions v ON v.id = r.recipe_type_rev_id
           JOIN events e ON e.id = r.event_id
           LEFT JOIN recipe_batches b ON b.id = r.batch_id
           LEFT JOIN recipes p ON p.id = r.parent_recipe_id
           LEFT JOIN recipe_types pt ON pt.id = p.recipe_type_id
           WHERE r.tenant_id = $1 AND r.id = ANY($2) AND b.removed IS NULL
           ORDER BY array_position($2, r.id)"#,
        tenant_id,
        ids
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut counts = counts::of(connection, ids).await?;
    let recipes = rows.into_iter().map(|row| {
        let parent_type = match (row.parent_type_id, row.parent_type_name, row.parent_type_title) {
            (Some(id), Some(name), Some(title)) => Some(RecipeTypeBase {
                id,
                name,
                title,
                description: row.parent_type_description,
                revision_num: row.parent_type_revision.unwrap_or_default(),
            }),
            _ => None,
        };
        Recipe {
            id: row.id,
            recipe_type: RecipeTypeBase {
                id: row.recipe_type_id,
                name: row.type_name,
                title: row.type_title,
                description: row.type_description,
                revision_num: row.type_revision,
            },
            revision: Revision {
                id: row.recipe_type_rev_id,
                type_id: row.recipe_type_id,
                revision_num: row.revision_num,
            },
            event: Event {
                id: row.event_id,
                kind: row.event_type,
                description: row.event_description,
                occurred: row.occurred,
            },
            batch: row.batch_id.zip(row.batch_created).map(|(id, created)| BatchBase {
                id,
                title: row.batch_title,
                description: row.batch_description,
                created,
            }),
            parent: row.parent_id.zip(parent_type),
            root_recipe_id: row.root_recipe_id,
            is_superseded: row.is_superseded,
            superseded_recipe_id: row.superseded_recipe_id,
            superseded_by_recipe_id: row.newer_id,
            input: row.input,
            counts: counts.remove(&row.id).unwrap_or_default(),
            is_completed: row.is_completed,
            created: row.created,
            completed: row.completed,
            superseded: row.superseded,
            last_modified: row.last_modified,
        }
    });
    Ok(recipes.collect())
}
