//! How long lists are, from counters where these say it (control plane; contract 1.7).
//!
//! The counters of a batch change with its rows, in one transaction, so one snapshot finds them equal. They count what the batch
//! *has*, though, jobs that its recipes share with those that they superseded included, and a list has the rows that were *made* for
//! it. Of a batch in which no recipe superseded another one that is the same; of the others, and of what is outside of batches, rows
//! are counted.

use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::super::StoreError;
use crate::model::recipe::JobStatus;

/// What is counted: everything of these batches, or of the whole tenant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted<'a> {
    pub(super) batch_ids: Option<&'a [i64]>,
    pub(super) rows: Rows<'a>,
}

/// Of which kind.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rows<'a> {
    /// Jobs with any of these statuses.
    Jobs(Option<&'a [JobStatus]>),
    /// Recipes that are completed, or are not.
    Recipes(Option<bool>),
}

impl Rows<'_> {
    /// The counters that say it, added.
    fn counters(&self) -> String {
        let of_job = |status: &JobStatus| format!("c.jobs_{}", status.as_str().to_ascii_lowercase());
        match self {
            Self::Jobs(statuses) => {
                let mut statuses = statuses.unwrap_or(&JobStatus::ALL).to_vec();
                statuses.sort_unstable();
                statuses.dedup();
                statuses.iter().map(of_job).collect::<Vec<_>>().join(" + ")
            }
            Self::Recipes(None) => "c.recipes_total".to_owned(),
            Self::Recipes(Some(true)) => "c.recipes_completed".to_owned(),
            Self::Recipes(Some(false)) => "c.recipes_total - c.recipes_completed".to_owned(),
        }
    }

    const fn table(&self) -> &'static str {
        match self {
            Self::Jobs(_) => "jobs",
            Self::Recipes(_) => "recipes",
        }
    }

    fn push(&self, query: &mut QueryBuilder<Postgres>) {
        match self {
            Self::Jobs(Some(statuses)) => {
                let names: Vec<&'static str> = statuses.iter().map(|status| status.as_str()).collect();
                query.push(" AND r.status = ANY(").push_bind(names).push(")");
            }
            Self::Recipes(Some(completed)) => {
                query.push(" AND r.is_completed = ").push_bind(*completed);
            }
            Self::Jobs(None) | Self::Recipes(None) => {}
        }
    }
}

impl Counted<'_> {
    /// How many there are.
    pub(super) async fn count(
        &self,
        connection: &mut PgConnection,
        tenant_id: Uuid,
    ) -> Result<i64, StoreError> {
        let Self { batch_ids, rows } = self;
        let table = rows.table();
        let mut query = QueryBuilder::new(
            "WITH meant AS MATERIALIZED (
                 SELECT b.id, EXISTS (
                     SELECT FROM recipes s WHERE s.batch_id = b.id AND s.superseded_recipe_id IS NOT NULL) AS shares
                 FROM recipe_batches b WHERE b.removed IS NULL AND b.tenant_id = ",
        );
        query.push_bind(tenant_id);
        if let Some(ids) = batch_ids {
            query.push(" AND b.id = ANY(").push_bind(ids.to_vec()).push(")");
        }
        query.push(") SELECT (SELECT coalesce(sum(").push(rows.counters());
        query.push("), 0)::bigint FROM meant m JOIN recipe_batch_counters c ON c.batch_id = m.id WHERE NOT m.shares)");
        query.push(" + (SELECT count(*) FROM meant m JOIN ").push(table);
        query.push(" r ON r.batch_id = m.id WHERE m.shares");
        rows.push(&mut query);
        query.push(")");
        if batch_ids.is_none() {
            query.push(" + (SELECT count(*) FROM ").push(table);
            query.push(" r WHERE r.batch_id IS NULL AND r.tenant_id = ").push_bind(tenant_id);
            rows.push(&mut query);
            query.push(")");
        }
        Ok(query.build_query_scalar().fetch_one(connection).await?)
    }
}
