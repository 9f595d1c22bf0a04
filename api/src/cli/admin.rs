//! `millrace tenant` and `millrace key`: the two things that exist before any key does, so they talk to the database.

use clap::{Args, Subcommand};
use millrace_common::config::Config;
use millrace_common::store::{CreateTenantError, Store, StoreError};
use serde_json::json;
use uuid::Uuid;

use super::error::CliError;
use super::table::{count, table};
use super::{Globals, ServerConfig, print_out, say};

const TENANT_HELP: &str = "\
The quotas are those of the section [tenants] of the server's configuration.

Examples:
  millrace tenant create acme
  MILLRACE_DATABASE__URL=postgres://millrace@127.0.0.1/millrace millrace tenant create acme --if-missing";

const KEY_HELP: &str = "\
The key is shown once and stored only as a hash. Members of the group supervisor:pf see every batch of the tenant.

Examples:
  millrace key create --tenant acme --owner ann
  millrace key create --tenant acme --owner ops --group supervisor:pf --quiet > key";

/// `millrace tenant`.
#[derive(Debug, Subcommand)]
pub enum TenantCommand {
    /// Make a tenant
    #[command(after_help = TENANT_HELP)]
    Create(TenantCreate),
    /// List tenants and their quotas
    List(TenantList),
}

/// `millrace tenant create`.
#[derive(Debug, Args)]
pub struct TenantCreate {
    /// The tenant's name, as it appears in paths
    #[arg(value_name = "NAME")]
    name: String,
    /// Succeed when the tenant exists already
    #[arg(long)]
    if_missing: bool,
    #[command(flatten)]
    server: ServerConfig,
}

/// `millrace tenant list`.
#[derive(Debug, Args)]
pub struct TenantList {
    #[command(flatten)]
    server: ServerConfig,
}

/// `millrace key`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key for --tenant and print it, once
    #[command(after_help = KEY_HELP)]
    Create(KeyCreate),
    /// List the keys of --tenant
    List(KeyList),
    /// Make a key useless
    Revoke(KeyRevoke),
}

/// `millrace key create`.
#[derive(Debug, Args)]
pub struct KeyCreate {
    /// Whose key it is; shown as the creator of what is made with it
    #[arg(long, value_name = "WHO")]
    owner: String,
    /// A group of the owner; may be given several times
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Print nothing but the key
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    server: ServerConfig,
}

/// `millrace key list`.
#[derive(Debug, Args)]
pub struct KeyList {
    #[command(flatten)]
    server: ServerConfig,
}

/// `millrace key revoke`.
#[derive(Debug, Args)]
pub struct KeyRevoke {
    /// The key's id, from `key list`
    #[arg(value_name = "ID")]
    id: Uuid,
    #[command(flatten)]
    server: ServerConfig,
}

impl ServerConfig {
    async fn open(&self) -> Result<(Config, Store), CliError> {
        let config =
            Config::load(self.config.as_deref()).map_err(|error| CliError::Usage(error.to_string()))?;
        let store = Store::open(&config.database, "millrace")?;
        store.check_schema().await?;
        Ok((config, store))
    }
}

/// Runs `millrace tenant`.
pub async fn tenant(globals: &Globals, command: TenantCommand) -> Result<(), CliError> {
    match command {
        TenantCommand::Create(args) => {
            let (config, store) = args.server.open().await?;
            match store.create_tenant(&args.name, &config.tenants).await {
                Ok(tenant) => say(&format!("tenant {} was made", tenant.name)),
                Err(CreateTenantError::Store(StoreError::Conflict(_))) if args.if_missing => {
                    say(&format!("tenant {} exists already", args.name));
                }
                Err(CreateTenantError::Store(StoreError::Conflict(_))) => {
                    return Err(CliError::Failed(format!("there is a tenant {} already", args.name)));
                }
                Err(CreateTenantError::Store(error)) => return Err(error.into()),
                Err(error @ CreateTenantError::Name(_)) => return Err(CliError::Usage(error.to_string())),
            }
        }
        TenantCommand::List(args) => {
            let (_, store) = args.server.open().await?;
            let tenants = store.tenants().await?;
            let document = tenants.iter().map(|tenant| {
                json!({
                    "id": tenant.id, "name": tenant.name, "capacity_bytes": tenant.capacity_bytes,
                    "max_input_bytes": tenant.max_input_bytes, "max_output_bytes": tenant.max_output_bytes,
                    "max_workers": tenant.max_workers, "created_at": tenant.created_at,
                })
            });
            globals.show(&document.collect(), || {
                let megabytes = |bytes: i64| format!("{} MB", count(bytes.unsigned_abs() / 1_000_000));
                let rows: Vec<_> = tenants
                    .iter()
                    .map(|tenant| {
                        vec![
                            tenant.name.clone(),
                            megabytes(tenant.capacity_bytes),
                            tenant.max_workers.to_string(),
                            tenant.created_at.format("%Y-%m-%d %H:%M").to_string(),
                        ]
                    })
                    .collect();
                table(&["NAME", "CAPACITY", "WORKERS", "CREATED"], &rows)
            });
        }
    }
    Ok(())
}

/// The tenant that a key command is about. Profiles do not count here: they are about servers, not databases.
fn required_tenant(globals: &Globals) -> Result<&str, CliError> {
    globals.tenant.as_deref().ok_or_else(|| {
        CliError::Usage("which tenant? give --tenant NAME; `millrace tenant list` shows them".to_owned())
    })
}

fn no_tenant(name: &str) -> CliError {
    CliError::Failed(format!("there is no tenant {name}: make it with `millrace tenant create {name}`"))
}

/// Runs `millrace key`.
pub async fn key(globals: &Globals, command: KeyCommand) -> Result<(), CliError> {
    match command {
        KeyCommand::Create(args) => {
            let tenant = required_tenant(globals)?;
            let (_, store) = args.server.open().await?;
            let key = match store.create_key(tenant, &args.owner, &args.groups).await {
                Ok(key) => key,
                Err(StoreError::NotFound(_)) => return Err(no_tenant(tenant)),
                Err(error) => return Err(error.into()),
            };
            if args.quiet {
                print_out(&format!("{}\n", key.secret.expose()));
            } else {
                let document = json!({ "id": key.id, "key": key.secret.expose() });
                globals.show(&document, || format!("key  {}\nid   {}\n", key.secret.expose(), key.id));
                say("The key is not shown again. Use it as MILLRACE_API_KEY or with `millrace login`.");
            }
        }
        KeyCommand::List(args) => {
            let tenant = required_tenant(globals)?;
            let (_, store) = args.server.open().await?;
            if store.tenant(tenant).await?.is_none() {
                return Err(no_tenant(tenant));
            }
            let keys = store.keys(tenant).await?;
            let document = keys.iter().map(|key| {
                json!({
                    "id": key.id, "hint": key.hint, "owner": key.owner, "groups": key.groups,
                    "created_at": key.created_at, "last_used_at": key.last_used_at, "revoked_at": key.revoked_at,
                })
            });
            globals.show(&document.collect(), || {
                let time = |at: Option<chrono::DateTime<chrono::Utc>>| {
                    at.map_or_else(|| "-".to_owned(), |at| at.format("%Y-%m-%d %H:%M").to_string())
                };
                let rows: Vec<_> = keys
                    .iter()
                    .map(|key| {
                        vec![
                            key.id.to_string(),
                            format!("{}…", key.hint),
                            key.owner.clone(),
                            key.groups.join(","),
                            time(Some(key.created_at)),
                            time(key.last_used_at),
                            time(key.revoked_at),
                        ]
                    })
                    .collect();
                table(&["ID", "KEY", "OWNER", "GROUPS", "CREATED", "LAST USED", "REVOKED"], &rows)
            });
        }
        KeyCommand::Revoke(args) => {
            let (_, store) = args.server.open().await?;
            if !store.revoke_key(args.id).await? {
                return Err(CliError::Failed(format!("there is no valid key with the id {}", args.id)));
            }
            say(&format!("key {} was revoked; servers forget it within seconds", args.id));
        }
    }
    Ok(())
}
