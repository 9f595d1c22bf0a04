//! The audit trail (control plane): written in the transaction that makes a change, so that there is no change without its
//! entry and no entry without its change.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::{Store, StoreError};
use crate::model::{Action, Actor};

/// The most entries that are removed in one transaction.
const PURGE: i64 = 5_000;

/// A change, as [`Store::audit`] takes it.
#[derive(Debug, Clone)]
pub(super) struct Change {
    action: Action,
    object: String,
    outcome: &'static str,
    details: Json,
}

impl Change {
    /// A change of the object with this id (or name, where it has none). `details` is an object of names, numbers and terms:
    /// never a credential, a record or the content of a file.
    pub(super) fn new(action: Action, object: impl ToString, details: Json) -> Self {
        Self { action, object: object.to_string(), outcome: "done", details }
    }

    /// The same change, asked for and refused by the object's state.
    pub(super) fn refused(self) -> Self {
        Self { outcome: "refused", ..self }
    }
}

/// An entry of the audit trail.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Its number: later entries have larger ones.
    pub id: i64,
    /// The tenant's name.
    pub tenant: String,
    /// When, by the database's clock.
    pub at: DateTime<Utc>,
    /// Who: the owner of the credential, `operator` or `system`.
    pub actor: String,
    /// What proved it: `key <id>`, `issuer <name>`, `command line`, or a program of Millrace's own.
    pub credential: String,
    /// What was done, such as `folder.create`.
    pub action: String,
    /// To what: its id, or where it has none its name.
    pub object: String,
    /// `done`, or `refused` by the object's state.
    pub outcome: String,
    /// More about it.
    pub details: Json,
    /// The request that asked for it.
    pub request_id: Option<String>,
    /// The address that it came from, where that is recorded.
    pub source: Option<String>,
}

/// Which entries to read.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// The tenant's id.
    pub tenant_id: Option<Uuid>,
    /// The entries after this number, oldest first; `None`: the last ones.
    pub after: Option<i64>,
    /// By this actor only.
    pub actor: Option<String>,
    /// This action only; or, without its dot, actions on this kind of object.
    pub action: Option<String>,
}

/// Entries that match the filter, narrowed and ordered by the given tail.
macro_rules! select_entries {
    ($tail:literal, $($argument:expr),*) => {
        sqlx::query_as!(
            AuditEntry,
            r#"SELECT a.id, t.name AS tenant, a.at, a.actor, a.credential, a.action, a.object, a.outcome, a.details,
                   a.request_id, a.source
               FROM audit_log a JOIN tenants t ON t.id = a.tenant_id
               WHERE ($1::uuid IS NULL OR a.tenant_id = $1)
                 AND ($2::text IS NULL OR a.actor = $2)
                 AND ($3::text IS NULL OR a.action = $3 OR split_part(a.action, '.', 1) = $3) "# + $tail,
            $($argument),*
        )
    };
}

impl Store {
    /// The same store, for changes by `actor`.
    #[must_use]
    pub fn acting(&self, actor: Actor) -> Self {
        Self { actor: actor.into(), ..self.clone() }
    }

    /// Writes a change into the audit trail, within the transaction that makes it: when this fails, so must the change. It is the
    /// last thing that the transaction does: from here to its end it holds the tenant's trail, so that entries become visible
    /// in the order of their numbers.
    pub(super) async fn audit(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        tenant_id: Uuid,
        change: Change,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "SELECT pg_advisory_xact_lock(hashtext('millrace.audit'), hashtext($1::uuid::text))",
            tenant_id
        )
        .execute(&mut **tx)
        .await?;
        sqlx::query!(
            "INSERT INTO audit_log (tenant_id, actor, credential, action, object, outcome, details, request_id, source)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            tenant_id,
            self.actor.name,
            self.actor.credential,
            change.action.as_str(),
            change.object,
            change.outcome,
            change.details,
            self.actor.request_id,
            self.actor.source,
        )
        .execute(&mut **tx)
        .await?;
        Ok(())
    }

    /// Notes that a credential of the tenant was used for what it does not permit. Nothing else is changed.
    pub async fn audit_refusal(
        &self,
        tenant_id: Uuid,
        request: &str,
        details: Json,
    ) -> Result<(), StoreError> {
        let mut tx = self.control.begin().await?;
        let entry = Change::new(Action::AccessRefuse, request, details).refused();
        self.audit(&mut tx, tenant_id, entry).await?;
        Ok(tx.commit().await?)
    }

    /// At most `max` entries, in the order of their numbers. A reader of one tenant that goes on after the last number that it
    /// got misses nothing.
    pub async fn audit_entries(&self, filter: &AuditFilter, max: i64) -> Result<Vec<AuditEntry>, StoreError> {
        let AuditFilter { tenant_id, actor, action, .. } = filter;
        if let Some(after) = filter.after {
            let following = select_entries!(
                "AND a.id > $5 ORDER BY a.id LIMIT $4",
                *tenant_id,
                actor.as_deref(),
                action.as_deref(),
                max,
                after
            );
            return Ok(following.fetch_all(&self.control).await?);
        }
        let last = select_entries!(
            "ORDER BY a.id DESC LIMIT $4",
            *tenant_id,
            actor.as_deref(),
            action.as_deref(),
            max
        );
        let mut entries = last.fetch_all(&self.control).await?;
        entries.reverse();
        Ok(entries)
    }

    /// Removes entries older than `days` (at least one), and returns how many there were.
    pub async fn purge_audit(&self, days: u32) -> Result<u64, StoreError> {
        let days = i32::try_from(days.max(1)).unwrap_or(i32::MAX);
        let mut removed = 0;
        loop {
            let mut tx = self.control.begin().await?;
            sqlx::query!(r#"SELECT set_config('millrace.audit_retention', 'on', true) AS "set""#)
                .fetch_one(&mut *tx)
                .await?;
            let some = sqlx::query!(
                "DELETE FROM audit_log WHERE id IN (
                     SELECT id FROM audit_log WHERE at < clock_timestamp() - make_interval(days => $1)
                     ORDER BY at LIMIT $2)",
                days,
                PURGE
            )
            .execute(&mut *tx)
            .await?
            .rows_affected();
            tx.commit().await?;
            removed += some;
            if some < PURGE.unsigned_abs() {
                return Ok(removed);
            }
        }
    }
}
