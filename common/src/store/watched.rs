//! Batches that somebody watches (control plane): one query for all of them.

use uuid::Uuid;

use super::views::select_views;
use super::{BatchView, Store, StoreError};

impl Store {
    /// The batches with these ids, and of these tenants the live batches and those that ended within the last 60 minutes, at most
    /// 1,000 a tenant, live and newest ones first. In no order.
    pub async fn watched_batches(
        &self,
        ids: &[Uuid],
        tenants: &[Uuid],
    ) -> Result<Vec<BatchView>, StoreError> {
        let views = select_views!(
            "WHERE id IN (
                SELECT unnest($1::uuid[])
                UNION SELECT recent.id FROM unnest($2::uuid[]) AS watched (tenant), LATERAL (
                    SELECT r.id FROM batches r
                    WHERE r.tenant_id = watched.tenant AND (r.state IN ('open', 'closed', 'closed_by_timeout')
                        OR r.updated_at > now() - interval '60 minutes')
                    ORDER BY r.state IN ('open', 'closed', 'closed_by_timeout') DESC, r.updated_at DESC LIMIT 1000
                ) recent)",
            ids,
            tenants
        )
        .fetch_all(&self.control)
        .await?;
        Ok(views.into_iter().map(BatchView::from).collect())
    }
}
