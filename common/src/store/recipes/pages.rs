//! Pages of long lists: of jobs and of recipes (control plane; contract 1.7).

use sqlx::{PgConnection, Postgres, QueryBuilder, Transaction};
use uuid::Uuid;

use super::super::StoreError;
use super::super::control::ControlPool;
use super::counted::Counted;
use super::{Modified, Sort, SortField, Window, order_by};

/// A filter of a list.
pub(super) trait Listed {
    /// What the list can be sorted by.
    type Field: SortField + PartialEq;
    /// The table.
    const TABLE: &'static str;
    /// Its name in queries.
    const ALIAS: &'static str;
    /// The id.
    const ID: Self::Field;
    /// By default those that changed longest ago come first.
    const DEFAULT: Self::Field;

    /// Only of these batches.
    fn batch_ids(&self) -> Option<&[i64]>;

    /// Only what changed then.
    fn modified(&self) -> &Modified;

    /// What counters tell of, when this asks for nothing else.
    fn counted(&self) -> Option<Counted<'_>>;

    /// The other conditions.
    fn push(&self, tenant_id: Uuid, query: &mut QueryBuilder<Postgres>);
}

/// A moment of the database, and what a filter lets through in it.
pub(super) struct Page<'a, L> {
    pub(super) tx: Transaction<'static, Postgres>,
    tenant_id: Uuid,
    filter: &'a L,
    hidden: Vec<i64>,
}

impl<'a, L: Listed> Page<'a, L> {
    pub(super) async fn begin(
        pool: &ControlPool,
        tenant_id: Uuid,
        filter: &'a L,
    ) -> Result<Self, StoreError> {
        let mut tx = snapshot(pool).await?;
        let hidden = hidden_batches(&mut tx, tenant_id).await?;
        Ok(Self { tx, tenant_id, filter, hidden })
    }

    /// How many there are.
    pub(super) async fn count(&mut self) -> Result<i64, StoreError> {
        if let Some(counted) = self.filter.counted() {
            return counted.count(&mut self.tx, self.tenant_id).await;
        }
        let mut query = QueryBuilder::new("SELECT count(*)");
        self.push(&mut query);
        Ok(query.build_query_scalar().fetch_one(&mut *self.tx).await?)
    }

    /// The ids of a part, in order.
    pub(super) async fn ids(
        &mut self,
        order: &[Sort<L::Field>],
        window: Window,
    ) -> Result<Vec<i64>, StoreError> {
        let mut query = QueryBuilder::new("SELECT ");
        query.push(L::ALIAS).push(".id");
        self.push(&mut query);
        let by_id = by_id(order, L::ID);
        let order = order_by(order, L::DEFAULT.sql(), L::ID.sql());
        query.push(" ORDER BY ").push(ordered(order, by_id, L::ALIAS, self.filter.batch_ids()));
        query.push(" LIMIT ").push_bind(window.limit).push(" OFFSET ").push_bind(window.offset);
        Ok(query.build_query_scalar().fetch_all(&mut *self.tx).await?)
    }

    fn push(&self, query: &mut QueryBuilder<Postgres>) {
        query.push(" FROM ").push(L::TABLE).push(" ").push(L::ALIAS).push(" WHERE ");
        owned(self.tenant_id, L::ALIAS, self.filter.batch_ids(), query);
        if !self.hidden.is_empty() {
            query.push(" AND (").push(L::ALIAS).push(".batch_id IS NULL OR ").push(L::ALIAS);
            query.push(".batch_id <> ALL(").push_bind(self.hidden.clone()).push("))");
        }
        let Modified { started, ended } = self.filter.modified();
        for (comparison, at) in [(" >= ", started), (" <= ", ended)] {
            if let Some(at) = at {
                query.push(" AND ").push(L::ALIAS).push(".last_modified").push(comparison).push_bind(*at);
            }
        }
        self.filter.push(self.tenant_id, query);
    }
}

/// A transaction that sees one moment.
async fn snapshot(pool: &ControlPool) -> Result<Transaction<'static, Postgres>, StoreError> {
    let mut tx = pool.begin().await?;
    sqlx::query!("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut *tx).await?;
    Ok(tx)
}

/// The batches of a tenant that are being removed; none, as a rule.
async fn hidden_batches(connection: &mut PgConnection, tenant_id: Uuid) -> Result<Vec<i64>, StoreError> {
    let hidden = sqlx::query_scalar!(
        "SELECT id FROM recipe_batches WHERE tenant_id = $1 AND removed IS NOT NULL ORDER BY id",
        tenant_id
    );
    Ok(hidden.fetch_all(connection).await?)
}

/// The condition that rows are the tenant's, and of these batches. Of one batch they are the tenant's when the batch is. An equation, or
/// the tenant's id beside it, would let the planner take the order by id from another index than that of batches, and read all
/// that was made before: see [`ordered`].
fn owned(
    tenant_id: Uuid,
    table: &'static str,
    batch_ids: Option<&[i64]>,
    query: &mut QueryBuilder<Postgres>,
) {
    query.push(table);
    match batch_ids {
        Some([batch]) => {
            query.push(".batch_id BETWEEN ").push_bind(*batch).push(" AND ").push_bind(*batch);
            query.push(" AND EXISTS (SELECT FROM recipe_batches WHERE id = ").push_bind(*batch);
            query.push(" AND tenant_id = ").push_bind(tenant_id).push(")");
        }
        Some(batches) => {
            query.push(".tenant_id = ").push_bind(tenant_id);
            query.push(" AND ").push(table).push(".batch_id = ANY(").push_bind(batches.to_vec()).push(")");
        }
        None => {
            query.push(".tenant_id = ").push_bind(tenant_id);
        }
    }
}

/// The order of a list, which is found by the index of batches when it is by id and of one batch.
fn ordered(order: String, by_id: Option<bool>, table: &'static str, batch_ids: Option<&[i64]>) -> String {
    match (by_id, batch_ids) {
        (Some(descending), Some([_])) => {
            format!("{table}.batch_id{}, {order}", if descending { " DESC" } else { "" })
        }
        _ => order,
    }
}

/// Whether the first key is the id, and whether it goes down.
fn by_id<F: SortField + PartialEq>(keys: &[Sort<F>], id: F) -> Option<bool> {
    keys.first().filter(|key| key.field == id).map(|key| key.descending)
}
