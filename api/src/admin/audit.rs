//! `GET …/audit`: who changed what in the tenant.

use axum::Json;
use axum::extract::State;
use millrace_common::model::time::timestamp;
use millrace_common::store::{AuditEntry, AuditFilter};
use serde_json::{Value, json};

use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::Query;
use crate::openapi::schemas::AuditPage;
use crate::state::AppState;

/// Entries of an answer that asks for no number.
const DEFAULT: i64 = 100;
/// The most entries of one answer; larger numbers are clamped.
const MOST: i64 = 1_000;

/// Entries in the order of their making: those after `after`, or else the last ones.
#[utoipa::path(get, path = "/{tenant}/api/v4/audit", tag = "Identity", operation_id = "listAudit",
    params(
        ("after" = Option<i64>, Query, minimum = 0, description = "Entries after this number; the last ones when absent."),
        ("max" = Option<i64>, Query, minimum = 1, description = "At most so many, 100 when absent, never more than 1,000."),
        ("actor" = Option<String>, Query, description = "Only what this one did."),
        ("action" = Option<String>, Query, description = "Only this.", example = json!("batch.create")),
    ),
    responses((status = 200, description = "Entries, in the order of their making.", body = AuditPage)))]
pub(super) async fn list(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, ApiError> {
    let (mut filter, max) = read(&query)?;
    filter.tenant_id = Some(caller.tenant_id);
    // One more tells whether there are more.
    let mut entries = state.store.audit_entries(&filter, max + 1).await?;
    let has_more = i64::try_from(entries.len()).unwrap_or(i64::MAX) > max;
    if has_more {
        if filter.after.is_some() {
            entries.pop()
        } else {
            Some(entries.remove(0))
        };
    }
    let next = entries.last().map(|entry| entry.id).or(filter.after).unwrap_or(0);
    let has_more = has_more && filter.after.is_some();
    let data: Vec<Value> = entries.iter().map(entry_json).collect();
    Ok(Json(json!({"object": "list", "data": data, "next_after": next, "has_more": has_more})))
}

fn entry_json(entry: &AuditEntry) -> Value {
    json!({
        "id": entry.id, "at": timestamp(entry.at), "actor": entry.actor, "credential": entry.credential,
        "action": entry.action, "object": entry.object, "outcome": entry.outcome, "details": entry.details,
        "request_id": entry.request_id, "source": entry.source,
    })
}

fn read(query: &[(String, String)]) -> Result<(AuditFilter, i64), ApiError> {
    let mut filter = AuditFilter::default();
    let mut max = DEFAULT;
    for (name, value) in query {
        let number = |least: i64| {
            value.parse::<i64>().ok().filter(|number| *number >= least).ok_or_else(|| {
                let message = format!("{name} must be an integer from {least} on");
                ApiError::bad_request("INVALID_VALUE", message, name.clone())
            })
        };
        match name.as_str() {
            "after" => filter.after = Some(number(0)?),
            "max" => max = number(1)?.min(MOST),
            "actor" => filter.actor = Some(value.clone()),
            "action" => filter.action = Some(value.clone()),
            _ => {}
        }
    }
    Ok((filter, max))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn queries_are_read_and_bounded() {
        let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let (filter, max) =
            read(&pairs(&[("after", "7"), ("max", "5000"), ("actor", "ann"), ("x", "y")])).unwrap();
        assert_eq!((filter.after, max, filter.actor.as_deref()), (Some(7), MOST, Some("ann")));
        assert_eq!(read(&[]).unwrap().1, DEFAULT);
        for (name, value) in [("after", "x"), ("after", "-1"), ("max", "0"), ("max", "1.5")] {
            let error = read(&pairs(&[(name, value)])).unwrap_err();
            assert_eq!((error.status().as_u16(), error.source_path()), (400, Some(name)));
        }
    }
}
