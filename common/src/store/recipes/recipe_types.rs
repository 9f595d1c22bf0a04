//! Recipe types and their revisions (control plane, scale-v6 5.2).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::Window;
use super::job_types::patterns;
use super::references::{self, References};
use super::revise::{self, Changed, Consequences};
use crate::model::Action;
use crate::model::recipe::{RecipeDefinition, RecipeTypeRef};
use crate::store::audit::Change;
use crate::store::{Store, StoreError};

/// A recipe type with its newest revision.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the other fields are those of the contract")]
pub struct RecipeType {
    pub id: i64,
    pub name: String,
    pub title: String,
    pub description: Option<String>,
    /// The newest revision's number.
    pub revision_num: i32,
    pub is_active: bool,
    pub is_system: bool,
    pub created: DateTime<Utc>,
    pub deprecated: Option<DateTime<Utc>>,
    pub last_modified: DateTime<Utc>,
    /// The newest revision.
    pub revision_id: i64,
    /// Of the newest revision, as it is given back.
    pub definition: Json,
}

/// A revision of a recipe type.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of the contract")]
pub struct RecipeTypeRevisionRow {
    pub id: i64,
    pub recipe_type_id: i64,
    pub revision_num: i32,
    pub definition: Json,
    pub created: DateTime<Utc>,
}

/// Which recipe types to list.
#[derive(Debug, Clone, Default)]
pub struct RecipeTypeFilter {
    /// Any of these in name, title or description.
    pub keywords: Option<Vec<String>>,
    /// Whether it is not deprecated.
    pub is_active: Option<bool>,
    /// Whether it belongs to the system.
    pub is_system: Option<bool>,
}

/// A definition that was checked against what it refers to.
#[derive(Debug, Clone)]
pub struct CheckedDefinition {
    /// As it is given back ([`crate::model::recipe::echo::recipe_definition`]).
    pub document: Json,
    /// The same, read.
    pub definition: RecipeDefinition,
    /// What it refers to.
    pub references: References,
}

/// What a revision of a recipe type contains.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// Name and version of the job types in it.
    pub job_types: Vec<(String, String)>,
    /// The names of the recipe types in it.
    pub recipe_types: Vec<String>,
}

/// What to change; `None` leaves things as they are.
#[derive(Debug, Clone, Default)]
pub struct RecipeTypeEdit {
    /// For people; the name stays.
    pub title: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// Makes a revision.
    pub definition: Option<CheckedDefinition>,
    /// Whether batches may be made of it.
    pub is_active: Option<bool>,
    /// Whether recipe types that contain it get revisions with the new one.
    pub auto_update: bool,
}

/// Recipe types with their newest revisions, narrowed by the given tail.
macro_rules! select_recipe_types {
    ($tail:literal, $($argument:expr),*) => {
        sqlx::query_as!(
            RecipeType,
            r#"SELECT t.id, t.name, t.title, t.description, t.revision_num, t.is_active, t.is_system, t.created, t.deprecated,
                   t.last_modified, r.id AS revision_id, r.definition
               FROM recipe_types t
               JOIN recipe_type_revisions r ON r.recipe_type_id = t.id AND r.revision_num = t.revision_num
               WHERE t.tenant_id = $1 AND "# + $tail,
            $($argument),*
        )
    };
}

impl Store {
    /// The recipe type of a name.
    pub async fn recipe_type(&self, tenant_id: Uuid, name: &str) -> Result<Option<RecipeType>, StoreError> {
        Ok(select_recipe_types!("t.name = $2", tenant_id, name).fetch_optional(&self.control).await?)
    }

    /// The recipe type of an id.
    pub async fn recipe_type_by_id(
        &self,
        tenant_id: Uuid,
        id: i64,
    ) -> Result<Option<RecipeType>, StoreError> {
        Ok(select_recipe_types!("t.id = $2", tenant_id, id).fetch_optional(&self.control).await?)
    }

    /// The recipe types that a revision contains, by name.
    pub async fn sub_recipe_types(
        &self,
        tenant_id: Uuid,
        revision_id: i64,
    ) -> Result<Vec<RecipeType>, StoreError> {
        let found = select_recipe_types!(
            "EXISTS (SELECT FROM recipe_type_recipes n JOIN recipe_type_revisions s ON s.id = n.sub_revision_id
                     WHERE n.revision_id = $2 AND s.recipe_type_id = t.id) ORDER BY t.name",
            tenant_id,
            revision_id
        );
        Ok(found.fetch_all(&self.control).await?)
    }

    /// The recipe types whose newest revision contains this recipe type, by name.
    pub async fn super_recipe_types(
        &self,
        tenant_id: Uuid,
        recipe_type_id: i64,
    ) -> Result<Vec<RecipeType>, StoreError> {
        let found = select_recipe_types!(
            "EXISTS (SELECT FROM recipe_type_recipes n JOIN recipe_type_revisions s ON s.id = n.sub_revision_id
                     WHERE n.revision_id = r.id AND s.recipe_type_id = $2) ORDER BY t.name",
            tenant_id,
            recipe_type_id
        );
        Ok(found.fetch_all(&self.control).await?)
    }

    /// How many recipe types match.
    pub async fn count_recipe_types(
        &self,
        tenant_id: Uuid,
        filter: &RecipeTypeFilter,
    ) -> Result<i64, StoreError> {
        let keywords = patterns(filter.keywords.as_deref());
        Ok(sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM recipe_types t
               WHERE t.tenant_id = $1
                 AND ($2::text[] IS NULL OR t.name ILIKE ANY($2) OR t.title ILIKE ANY($2) OR t.description ILIKE ANY($2))
                 AND ($3::boolean IS NULL OR t.is_active = $3) AND ($4::boolean IS NULL OR t.is_system = $4)"#,
            tenant_id,
            keywords.as_deref(),
            filter.is_active,
            filter.is_system
        )
        .fetch_one(&self.control)
        .await?)
    }

    /// Recipe types that match, by name.
    pub async fn recipe_types(
        &self,
        tenant_id: Uuid,
        filter: &RecipeTypeFilter,
        window: Window,
    ) -> Result<Vec<RecipeType>, StoreError> {
        let keywords = patterns(filter.keywords.as_deref());
        let found = select_recipe_types!(
            "($2::text[] IS NULL OR t.name ILIKE ANY($2) OR t.title ILIKE ANY($2) OR t.description ILIKE ANY($2))
             AND ($3::boolean IS NULL OR t.is_active = $3) AND ($4::boolean IS NULL OR t.is_system = $4)
             ORDER BY t.name OFFSET $5 LIMIT $6",
            tenant_id,
            keywords.as_deref(),
            filter.is_active,
            filter.is_system,
            window.offset,
            window.limit
        );
        Ok(found.fetch_all(&self.control).await?)
    }

    /// What these revisions contain.
    pub async fn recipe_type_contents(
        &self,
        revisions: &[i64],
    ) -> Result<BTreeMap<i64, Contents>, StoreError> {
        let mut contents: BTreeMap<i64, Contents> = BTreeMap::new();
        let job_types = sqlx::query!(
            "SELECT DISTINCT n.revision_id, j.name, j.version FROM recipe_type_jobs n
             JOIN job_type_revisions v ON v.id = n.job_type_rev_id JOIN job_types j ON j.id = v.job_type_id
             WHERE n.revision_id = ANY($1) ORDER BY 1, 2, 3",
            revisions
        )
        .fetch_all(&self.control)
        .await?;
        for row in job_types {
            contents.entry(row.revision_id).or_default().job_types.push((row.name, row.version));
        }
        let recipe_types = sqlx::query!(
            "SELECT DISTINCT n.revision_id, t.name FROM recipe_type_recipes n
             JOIN recipe_type_revisions s ON s.id = n.sub_revision_id JOIN recipe_types t ON t.id = s.recipe_type_id
             WHERE n.revision_id = ANY($1) ORDER BY 1, 2",
            revisions
        )
        .fetch_all(&self.control)
        .await?;
        for row in recipe_types {
            contents.entry(row.revision_id).or_default().recipe_types.push(row.name);
        }
        Ok(contents)
    }

    /// The ids of the job types in a revision.
    pub async fn job_type_ids_of(&self, revision_id: i64) -> Result<Vec<i64>, StoreError> {
        Ok(sqlx::query_scalar!(
            "SELECT DISTINCT v.job_type_id FROM recipe_type_jobs n JOIN job_type_revisions v ON v.id = n.job_type_rev_id
             WHERE n.revision_id = $1",
            revision_id
        )
        .fetch_all(&self.control)
        .await?)
    }

    /// The revisions of a recipe type, newest first.
    pub async fn recipe_type_revisions(
        &self,
        recipe_type_id: i64,
        window: Window,
    ) -> Result<Vec<RecipeTypeRevisionRow>, StoreError> {
        Ok(sqlx::query_as!(
            RecipeTypeRevisionRow,
            "SELECT id, recipe_type_id, revision_num, definition, created FROM recipe_type_revisions
             WHERE recipe_type_id = $1 ORDER BY revision_num DESC OFFSET $2 LIMIT $3",
            recipe_type_id,
            window.offset,
            window.limit
        )
        .fetch_all(&self.control)
        .await?)
    }

    /// One revision of a recipe type.
    pub async fn recipe_type_revision(
        &self,
        recipe_type_id: i64,
        revision_num: i32,
    ) -> Result<Option<RecipeTypeRevisionRow>, StoreError> {
        Ok(sqlx::query_as!(
            RecipeTypeRevisionRow,
            "SELECT id, recipe_type_id, revision_num, definition, created FROM recipe_type_revisions
             WHERE recipe_type_id = $1 AND revision_num = $2",
            recipe_type_id,
            revision_num
        )
        .fetch_optional(&self.control)
        .await?)
    }

    /// Makes a recipe type with its first revision; [`StoreError::Conflict`] when the name is taken.
    pub async fn create_recipe_type(
        &self,
        tenant_id: Uuid,
        name: &str,
        title: &str,
        description: Option<&str>,
        checked: &CheckedDefinition,
    ) -> Result<RecipeType, StoreError> {
        let mut tx = self.control.begin().await?;
        revise::take_turns(&mut tx, tenant_id).await?;
        let id = sqlx::query_scalar!(
            "INSERT INTO recipe_types (tenant_id, name, title, description) VALUES ($1, $2, $3, $4) RETURNING id",
            tenant_id,
            name,
            title,
            description
        )
        .fetch_one(&mut *tx)
        .await?;
        let CheckedDefinition { document, definition, references } = checked;
        references::insert_revision(&mut tx, id, 1, document, definition, references).await?;
        let made = select_recipe_types!("t.id = $2", tenant_id, id).fetch_one(&mut *tx).await?;
        self.audit(&mut tx, tenant_id, Change::new(Action::RecipeTypeCreate, id, json!({"name": name})))
            .await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Changes a recipe type; `None` when there is none of this name. One that is deprecated takes those that contain it with it.
    pub async fn edit_recipe_type(
        &self,
        tenant_id: Uuid,
        name: &str,
        edit: &RecipeTypeEdit,
    ) -> Result<Option<Consequences>, StoreError> {
        let mut tx = self.control.begin().await?;
        revise::take_turns(&mut tx, tenant_id).await?;
        let row = sqlx::query!(
            "SELECT id, revision_num, is_active FROM recipe_types WHERE tenant_id = $1 AND name = $2 FOR UPDATE",
            tenant_id,
            name
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let revision_num = row.revision_num + i32::from(edit.definition.is_some());
        sqlx::query!(
            "UPDATE recipe_types SET last_modified = clock_timestamp(), revision_num = $2,
                 title = coalesce($3, title), description = coalesce($4, description), is_active = coalesce($5, is_active),
                 deprecated = CASE WHEN coalesce($5, is_active) THEN NULL ELSE coalesce(deprecated, clock_timestamp()) END
             WHERE id = $1",
            row.id,
            revision_num,
            edit.title,
            edit.description,
            edit.is_active
        )
        .execute(&mut *tx)
        .await?;
        let mut consequences = Consequences::default();
        if let Some(CheckedDefinition { document, definition, references }) = &edit.definition {
            references::insert_revision(&mut tx, row.id, revision_num, document, definition, references)
                .await?;
            if edit.auto_update {
                let reference = RecipeTypeRef { name: name.to_owned(), revision: revision_num.into() };
                let changed = Changed::RecipeType { id: row.id, reference };
                consequences = revise::update_containing(&mut tx, tenant_id, changed).await?;
            }
        }
        if row.is_active && edit.is_active == Some(false) {
            consequences.deprecated = revise::deprecate(&mut tx, tenant_id, None, Some(row.id)).await?;
        }
        let details = json!({
            "name": name, "revision": revision_num, "recipe_types_updated": consequences.updated,
            "recipe_types_deprecated": consequences.deprecated,
        });
        self.audit(&mut tx, tenant_id, Change::new(Action::RecipeTypeUpdate, row.id, details)).await?;
        tx.commit().await?;
        Ok(Some(consequences))
    }
}
