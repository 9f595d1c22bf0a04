//! `millrace audit`: the audit trail, read from the database.

use clap::Args;
use millrace_common::model::time::timestamp;
use millrace_common::store::{AuditEntry, AuditFilter};
use serde_json::json;

use super::error::CliError;
use super::table::table;
use super::{Globals, ServerConfig};

/// Help under `millrace audit --help`.
pub const HELP: &str = "\
Shows the last entries, or those after a number, of --tenant or of every tenant. --action takes an action such as key.create, \
or a kind of object such as key.

Examples:
  millrace audit --tenant acme --action key
  millrace audit --actor operator --max 20 --output-format json";

/// `millrace audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// The entries after this number, oldest first
    #[arg(long, value_name = "ID")]
    after: Option<i64>,
    /// The most entries
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..))]
    max: i64,
    /// By this actor only
    #[arg(long, value_name = "WHO")]
    actor: Option<String>,
    /// This action, or kind of object, only
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    #[command(flatten)]
    server: ServerConfig,
}

/// Runs `millrace audit`.
pub async fn show(globals: &Globals, args: &AuditArgs) -> Result<(), CliError> {
    let (_, store) = args.server.open().await?;
    let tenant_id = match globals.tenant.as_deref() {
        None => None,
        Some(name) => match store.tenant(name).await? {
            Some(tenant) => Some(tenant.id),
            None => return Err(CliError::Failed(format!("there is no tenant {name}"))),
        },
    };
    let filter =
        AuditFilter { tenant_id, after: args.after, actor: args.actor.clone(), action: args.action.clone() };
    let entries = store.audit_entries(&filter, args.max).await?;
    let document = entries.iter().map(|entry| {
        json!({
            "id": entry.id, "tenant": entry.tenant, "at": timestamp(entry.at), "actor": entry.actor,
            "credential": entry.credential, "action": entry.action, "object": entry.object, "outcome": entry.outcome,
            "details": entry.details, "request_id": entry.request_id, "source": entry.source,
        })
    });
    globals.show(&document.collect(), || {
        let rows: Vec<_> = entries.iter().map(row).collect();
        table(&["ID", "WHEN", "TENANT", "ACTOR", "ACTION", "OUTCOME", "OBJECT", "DETAILS"], &rows)
    });
    Ok(())
}

fn row(entry: &AuditEntry) -> Vec<String> {
    vec![
        entry.id.to_string(),
        entry.at.format("%Y-%m-%d %H:%M:%S").to_string(),
        entry.tenant.clone(),
        entry.actor.clone(),
        entry.action.clone(),
        entry.outcome.clone(),
        entry.object.clone(),
        entry.details.to_string(),
    ]
}
