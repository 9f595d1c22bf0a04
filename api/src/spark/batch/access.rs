//! Who may see which batch: its owner and supervisors; to others it does not exist (contract 1.7).

use std::num::NonZeroUsize;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::NaiveDate;
use lru::LruCache;
use millrace_common::model::Caller;
use millrace_common::store::{Batch, BatchView};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::error::ApiError;
use crate::extract::Path;
use crate::push::Target;
use crate::state::AppState;

/// Batches remembered at once.
const KNOWN: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// What never changes about a batch, so that pushes need not ask the database for it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    tenant_id: Uuid,
    created_by: Arc<str>,
    day: NaiveDate,
}

/// Batches seen lately.
#[derive(Debug, Clone)]
pub(super) struct KnownBatches(Arc<Mutex<LruCache<Uuid, Facts>>>);

impl Default for KnownBatches {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(KNOWN))))
    }
}

impl KnownBatches {
    pub(super) fn remember(&self, batch: &Batch) {
        let facts = Facts {
            tenant_id: batch.tenant_id,
            created_by: batch.created_by.as_str().into(),
            day: batch.day,
        };
        self.0.lock().put(batch.id, facts);
    }

    fn get(&self, id: Uuid) -> Option<Facts> {
        self.0.lock().get(&id).cloned()
    }
}

/// The batch id of a path; what is no UUID names no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchId(pub Uuid);

impl FromRequestParts<AppState> for BatchId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        match path {
            Ok(Path((_, id))) => Self::read(&id),
            // Not even text.
            Err(_) => Err(not_found("of this name")),
        }
    }
}

impl BatchId {
    pub(super) fn read(text: &str) -> Result<Self, ApiError> {
        Uuid::parse_str(text).map(Self).map_err(|_| not_found(text))
    }
}

/// 404 for a batch that does not exist, or not for this caller.
pub(super) fn not_found(id: impl std::fmt::Display) -> ApiError {
    ApiError::not_found("BATCH_NOT_FOUND", format!("there is no batch {id}"))
}

/// Whether the caller may see a batch that this owner created in the caller's tenant.
pub(super) fn may_see(caller: &Caller, created_by: &str) -> bool {
    caller.name == created_by || caller.is_supervisor()
}

/// The batch as it is now, if the caller may see it.
pub(super) async fn visible_view(state: &AppState, caller: &Caller, id: Uuid) -> Result<BatchView, ApiError> {
    seen(state, caller, id, state.store.batch_view(caller.tenant_id, id).await?)
}

/// The same for calls that are made again and again ([`Store::glance`](millrace_common::store::Store::glance)).
pub(super) async fn glance(state: &AppState, caller: &Caller, id: Uuid) -> Result<BatchView, ApiError> {
    seen(state, caller, id, state.store.glance(id).await?)
}

fn seen(state: &AppState, caller: &Caller, id: Uuid, view: Option<BatchView>) -> Result<BatchView, ApiError> {
    let view = view.filter(|view| view.batch.tenant_id == caller.tenant_id).ok_or_else(|| not_found(id))?;
    note(state, &view);
    if may_see(caller, &view.batch.created_by) { Ok(view) } else { Err(not_found(id)) }
}

/// Remembers what can be learnt from a view.
pub(super) fn note(state: &AppState, view: &BatchView) {
    state.batches.known.remember(&view.batch);
    state.batches.budgets.note(view);
}

/// Where a push of the caller goes, if the caller may see the batch.
pub(super) async fn target(state: &AppState, caller: &Caller, id: Uuid) -> Result<Target, ApiError> {
    let facts = match state.batches.known.get(id) {
        Some(facts) => facts,
        None => {
            let batch = state.store.batch(caller.tenant_id, id).await?.ok_or_else(|| not_found(id))?;
            state.batches.known.remember(&batch);
            Facts { tenant_id: batch.tenant_id, created_by: batch.created_by.into(), day: batch.day }
        }
    };
    if facts.tenant_id == caller.tenant_id && may_see(caller, &facts.created_by) {
        Ok(Target { owner_id: facts.tenant_id, batch_id: id, day: facts.day })
    } else {
        Err(not_found(id))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use millrace_common::model::SUPERVISORS;

    use super::*;

    #[test]
    fn owners_and_supervisors_see_a_batch() {
        let caller = |name: &str, groups: &[&str]| Caller {
            tenant_id: Uuid::nil(),
            tenant: "acme".to_owned(),
            name: name.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            credential: "key 1".to_owned(),
        };
        assert!(may_see(&caller("ann", &[]), "ann"));
        assert!(!may_see(&caller("bob", &["supervisor"]), "ann"));
        assert!(may_see(&caller("bob", &[SUPERVISORS]), "ann"));
    }

    #[test]
    fn what_is_no_uuid_is_not_found() {
        assert_eq!(BatchId::read("x").unwrap_err().status(), 404);
        assert!(BatchId::read("00112233-4455-6677-8899-AABBCCDDEEFF").is_ok());
    }
}
