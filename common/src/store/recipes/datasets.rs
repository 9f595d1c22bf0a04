//! Datasets and their members (control plane, scale-v6 5.3).

use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::job_types::patterns;
use super::{Sort, SortField, Window, order_by};
use crate::model::Action;
use crate::store::audit::Change;
use crate::store::{Store, StoreError};

/// Members of one statement.
const TOGETHER: usize = 5_000;

/// A dataset.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
#[expect(missing_docs, reason = "the other fields are those of the contract")]
pub struct Dataset {
    pub id: i64,
    pub title: Option<String>,
    pub description: Option<String>,
    /// As it is given back.
    pub definition: Json,
    /// Who made it.
    pub created_by: String,
    pub created: DateTime<Utc>,
}

/// A member of a dataset.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of the contract")]
pub struct DatasetMember {
    pub id: i64,
    pub dataset_id: i64,
    pub data: Json,
    pub created: DateTime<Utc>,
}

/// Id and time of a member that was just stored.
pub type NewMember = (i64, DateTime<Utc>);

/// A dataset to make.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the other fields are those of `Dataset`")]
pub struct NewDataset<'a> {
    pub tenant_id: Uuid,
    pub title: Option<&'a str>,
    pub description: Option<&'a str>,
    pub definition: &'a Json,
    pub created_by: &'a str,
    /// The members as JSON texts, in their order.
    pub members: &'a [String],
}

/// Which datasets to list.
#[derive(Debug, Clone, Default)]
pub struct DatasetFilter {
    /// No earlier than this.
    pub started: Option<DateTime<Utc>>,
    /// No later than this.
    pub ended: Option<DateTime<Utc>>,
    /// Any of these.
    pub ids: Option<Vec<i64>>,
    /// Any of these in title or description.
    pub keywords: Option<Vec<String>>,
}

/// What datasets can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of `Dataset`")]
pub enum DatasetSort {
    Id,
    Title,
    Description,
    Created,
}

impl SortField for DatasetSort {
    const ALL: &'static [Self] = &[Self::Id, Self::Title, Self::Description, Self::Created];

    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Title => "title",
            Self::Description => "description",
            Self::Created => "created",
        }
    }

    fn sql(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Title => "lower(title)",
            Self::Description => "lower(description)",
            Self::Created => "created",
        }
    }
}

impl Store {
    /// Makes a dataset with its members.
    pub async fn create_dataset(&self, new: &NewDataset<'_>) -> Result<Dataset, StoreError> {
        let mut tx = self.control.begin().await?;
        let made = sqlx::query_as!(
            Dataset,
            "INSERT INTO datasets (tenant_id, title, description, definition, created_by) VALUES ($1, $2, $3, $4, $5)
             RETURNING id, title, description, definition, created_by, created",
            new.tenant_id,
            new.title,
            new.description,
            new.definition,
            new.created_by
        )
        .fetch_one(&mut *tx)
        .await?;
        insert_members(&mut tx, made.id, new.members).await?;
        let details = json!({"title": made.title, "members": new.members.len()});
        self.audit(&mut tx, new.tenant_id, Change::new(Action::DatasetCreate, made.id, details)).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Adds members, as JSON texts, to a dataset: all of them, and then returns them; `None` when the tenant has no such dataset.
    pub async fn add_dataset_members(
        &self,
        tenant_id: Uuid,
        dataset_id: i64,
        members: &[String],
    ) -> Result<Option<Vec<NewMember>>, StoreError> {
        let mut tx = self.control.begin().await?;
        if !lock_dataset(&mut tx, tenant_id, dataset_id).await? {
            return Ok(None);
        }
        let added = insert_members(&mut tx, dataset_id, members).await?;
        let details = json!({"members": members.len()});
        self.audit(&mut tx, tenant_id, Change::new(Action::DatasetExtend, dataset_id, details)).await?;
        tx.commit().await?;
        Ok(Some(added))
    }

    /// A dataset of the tenant.
    pub async fn dataset(&self, tenant_id: Uuid, id: i64) -> Result<Option<Dataset>, StoreError> {
        Ok(sqlx::query_as!(
            Dataset,
            "SELECT id, title, description, definition, created_by, created FROM datasets
             WHERE tenant_id = $1 AND id = $2 AND removed IS NULL",
            tenant_id,
            id
        )
        .fetch_optional(&self.control)
        .await?)
    }

    /// How many datasets match.
    pub async fn count_datasets(&self, tenant_id: Uuid, filter: &DatasetFilter) -> Result<i64, StoreError> {
        let keywords = patterns(filter.keywords.as_deref());
        Ok(sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM datasets
               WHERE tenant_id = $1 AND removed IS NULL AND ($2::timestamptz IS NULL OR created >= $2)
                 AND ($3::timestamptz IS NULL OR created <= $3) AND ($4::bigint[] IS NULL OR id = ANY($4))
                 AND ($5::text[] IS NULL OR title ILIKE ANY($5) OR description ILIKE ANY($5))"#,
            tenant_id,
            filter.started,
            filter.ended,
            filter.ids.as_deref(),
            keywords.as_deref()
        )
        .fetch_one(&self.control)
        .await?)
    }

    /// Datasets that match, by id unless `order` says otherwise.
    pub async fn datasets(
        &self,
        tenant_id: Uuid,
        filter: &DatasetFilter,
        order: &[Sort<DatasetSort>],
        window: Window,
    ) -> Result<Vec<Dataset>, StoreError> {
        // Only the order is put together; it consists of texts of this file.
        let sql = format!(
            "SELECT id, title, description, definition, created_by, created FROM datasets
             WHERE tenant_id = $1 AND removed IS NULL AND ($2::timestamptz IS NULL OR created >= $2)
               AND ($3::timestamptz IS NULL OR created <= $3) AND ($4::bigint[] IS NULL OR id = ANY($4))
               AND ($5::text[] IS NULL OR title ILIKE ANY($5) OR description ILIKE ANY($5))
             ORDER BY {} OFFSET $6 LIMIT $7",
            order_by(order, "id", "id")
        );
        Ok(sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(tenant_id)
            .bind(filter.started)
            .bind(filter.ended)
            .bind(filter.ids.as_deref())
            .bind(patterns(filter.keywords.as_deref()))
            .bind(window.offset)
            .bind(window.limit)
            .fetch_all(&self.control)
            .await?)
    }

    /// How many different files these datasets and their members name: id, number; those without files are left out.
    pub async fn dataset_files(&self, ids: &[i64]) -> Result<Vec<(i64, i64)>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT d.id, count(DISTINCT f.file) AS "files!" FROM datasets d
               CROSS JOIN LATERAL (
                   SELECT d.definition->'global_data'->'files' AS files
                   UNION ALL SELECT m.data->'files' FROM dataset_members m WHERE m.dataset_id = d.id) s
               CROSS JOIN LATERAL jsonb_each(
                   CASE WHEN jsonb_typeof(s.files) = 'object' THEN s.files ELSE '{}'::jsonb END) e (name, files)
               CROSS JOIN LATERAL jsonb_array_elements(e.files) f (file)
               WHERE d.id = ANY($1) GROUP BY d.id"#,
            ids
        )
        .fetch_all(&self.control)
        .await?;
        Ok(rows.into_iter().map(|row| (row.id, row.files)).collect())
    }

    /// How many members a dataset has.
    pub async fn count_dataset_members(&self, dataset_id: i64) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM dataset_members WHERE dataset_id = $1"#,
            dataset_id
        )
        .fetch_one(&self.control)
        .await?)
    }

    /// Members of a dataset, by id.
    pub async fn dataset_members(
        &self,
        dataset_id: i64,
        window: Window,
    ) -> Result<Vec<DatasetMember>, StoreError> {
        Ok(sqlx::query_as!(
            DatasetMember,
            "SELECT id, dataset_id, data, created FROM dataset_members WHERE dataset_id BETWEEN $1 AND $1
             ORDER BY dataset_id, id OFFSET $2 LIMIT $3",
            dataset_id,
            window.offset,
            window.limit
        )
        .fetch_all(&self.control)
        .await?)
    }

    /// A member of a dataset of the tenant.
    pub async fn dataset_member(
        &self,
        tenant_id: Uuid,
        id: i64,
    ) -> Result<Option<DatasetMember>, StoreError> {
        Ok(sqlx::query_as!(
            DatasetMember,
            "SELECT m.id, m.dataset_id, m.data, m.created FROM dataset_members m JOIN datasets d ON d.id = m.dataset_id
             WHERE m.id = $2 AND d.tenant_id = $1 AND d.removed IS NULL",
            tenant_id,
            id
        )
        .fetch_optional(&self.control)
        .await?)
    }
}

/// Keeps others from adding members: ids then grow in the order in which members become visible, so that a batch that takes
/// members up to an id misses none of them. Whether there is such a dataset.
pub(super) async fn lock_dataset(
    tx: &mut PgConnection,
    tenant_id: Uuid,
    dataset_id: i64,
) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar!(
        "SELECT id FROM datasets WHERE tenant_id = $1 AND id = $2 AND removed IS NULL FOR NO KEY UPDATE",
        tenant_id,
        dataset_id
    )
    .fetch_optional(tx)
    .await?;
    Ok(found.is_some())
}

/// Inserts members in their order; their ids and times.
pub(super) async fn insert_members(
    tx: &mut PgConnection,
    dataset_id: i64,
    members: &[String],
) -> Result<Vec<NewMember>, StoreError> {
    let mut added = Vec::with_capacity(members.len());
    for some in members.chunks(TOGETHER) {
        let rows = sqlx::query!(
            "INSERT INTO dataset_members (dataset_id, data)
             SELECT $1, m.data::jsonb FROM unnest($2::text[]) WITH ORDINALITY AS m (data, position) ORDER BY m.position
             RETURNING id, created",
            dataset_id,
            some
        )
        .fetch_all(&mut *tx)
        .await?;
        added.extend(rows.into_iter().map(|row| (row.id, row.created)));
    }
    Ok(added)
}
