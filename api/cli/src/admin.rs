//! `millrace tenant` and `millrace key`: the two things that exist before any key does, so they talk to the database.

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use millrace_common::config::Config;
use millrace_common::model::time;
use millrace_common::model::{Actor, Scope};
use millrace_common::store::{
    CreateKeyError, CreateTenantError, KeyTerms, Store, StoreError, TenantChange, TenantLimits,
};
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

const SET_HELP: &str = "\
What is not named stays. Live batches keep the buffers that they have; workers heed the rest within a second.

Examples:
  millrace tenant set acme --weight 3 --max-workers 64
  millrace tenant set acme --capacity-mb 2000 --max-input-mb 900 --max-output-mb 900";

const LIMIT_HELP: &str = "\
Each replica of the API counts for itself, so the limits of two replicas add up. Servers follow within seconds.

Examples:
  millrace tenant limit acme --requests-per-second 200 --push-bytes-per-second 20000000
  millrace tenant limit acme";

const KEY_HELP: &str = "\
The key is shown once and stored only as a hash. Members of the group supervisor:pf see every batch of the tenant, members \
of tenant-admin may do everything in it.

Scopes: batch, execute (synchronous calls, validation), services:read, services:write (includes services:read), \
audit:read, tenant:admin (keys; includes every other). Without --scope the first key of a tenant gets tenant:admin, later ones \
batch, execute and services:read.

Examples:
  millrace key create --tenant acme --owner ann
  millrace key create --tenant acme --owner nightly --scope batch --expires 90d
  millrace key create --tenant acme --owner ops --group supervisor:pf --quiet > key";

/// `millrace tenant`.
#[derive(Debug, Subcommand)]
pub enum TenantCommand {
    /// Make a tenant
    #[command(after_help = TENANT_HELP)]
    Create(TenantCreate),
    /// Change the quotas of a tenant
    #[command(after_help = SET_HELP)]
    Set(TenantSet),
    /// List tenants and their quotas
    List(TenantList),
    /// Set the rate limits of a tenant
    #[command(after_help = LIMIT_HELP)]
    Limit(TenantLimit),
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

/// `millrace tenant set`.
#[derive(Debug, Args)]
pub struct TenantSet {
    /// The tenant's name
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    quotas: Quotas,
    #[command(flatten)]
    server: ServerConfig,
}

/// The quotas that can be changed.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Quotas {
    /// Its share of the fleet against other tenants
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    weight: Option<i32>,
    /// Most slots of all its batches together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    max_workers: Option<i32>,
    /// Slots that a batch gets first, when it names no number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    initial_workers: Option<i32>,
    /// What its live batches may reserve together, in MB
    #[arg(long, value_name = "MB", value_parser = megabytes)]
    capacity_mb: Option<i64>,
    /// Largest input buffer of one batch, in MB
    #[arg(long, value_name = "MB", value_parser = megabytes)]
    max_input_mb: Option<i64>,
    /// Largest output buffer of one batch, in MB
    #[arg(long, value_name = "MB", value_parser = megabytes)]
    max_output_mb: Option<i64>,
    /// Results that were not pulled, over all batches, from which on pushes wait, in MB
    #[arg(long, value_name = "MB", value_parser = megabytes)]
    output_capacity_mb: Option<i64>,
}

impl Quotas {
    fn change(&self) -> TenantChange {
        TenantChange {
            capacity_bytes: self.capacity_mb,
            max_input_bytes: self.max_input_mb,
            max_output_bytes: self.max_output_mb,
            output_capacity_bytes: self.output_capacity_mb,
            max_workers: self.max_workers,
            initial_workers: self.initial_workers,
            weight: self.weight,
        }
    }
}

/// Bytes of so many MB, fractions allowed.
fn megabytes(text: &str) -> Result<i64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    #[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
    let bytes = (number * 1e6).round() as i64;
    if bytes >= 1 { Ok(bytes) } else { Err("must be above 0".to_owned()) }
}

/// `millrace tenant list`.
#[derive(Debug, Args)]
pub struct TenantList {
    #[command(flatten)]
    server: ServerConfig,
}

/// `millrace tenant limit`.
#[derive(Debug, Args)]
pub struct TenantLimit {
    /// The tenant's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Requests a second; 0: no limit; left out: the server's setting
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    requests_per_second: Option<i32>,
    /// Pushed bytes a second, after decompression; 0: no limit; left out: the server's setting
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(i64).range(0..))]
    push_bytes_per_second: Option<i64>,
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
    /// What the key may be used for; may be given several times
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,
    /// When the key ends to work: a date, or a time from now such as 90d, 12h or 30m
    #[arg(long, value_name = "WHEN", value_parser = parse_expiry)]
    expires: Option<Expiry>,
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
    pub(super) async fn open(&self) -> Result<(Config, Store), CliError> {
        let config =
            Config::load(self.config.as_deref()).map_err(|error| CliError::Usage(error.to_string()))?;
        let store = Store::open(&config.database, "millrace")?.acting(Actor::operator());
        store.check_schema().await?;
        Ok((config, store))
    }
}

/// When a key ends to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expiry {
    At(DateTime<Utc>),
    After(TimeDelta),
}

impl Expiry {
    fn from(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::At(time) => Some(time),
            Self::After(delta) => now.checked_add_signed(delta),
        }
    }
}

fn parse_expiry(text: &str) -> Result<Expiry, String> {
    let refused = || format!("{text:?} is neither a date nor a time such as 90d, 12h or 30m");
    let unit: Option<fn(i64) -> Option<TimeDelta>> = match text.chars().last() {
        Some('d') => Some(TimeDelta::try_days),
        Some('h') => Some(TimeDelta::try_hours),
        Some('m') => Some(TimeDelta::try_minutes),
        _ => None,
    };
    if let Some(unit) = unit {
        let number = text[..text.len() - 1].parse::<i64>().ok().filter(|number| *number > 0);
        return number.and_then(unit).map(Expiry::After).ok_or_else(refused);
    }
    time::parse(text).map(Expiry::At).ok_or_else(refused)
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
        TenantCommand::Set(args) => {
            let (_, store) = args.server.open().await?;
            match store.change_tenant(&args.name, &args.quotas.change()).await? {
                Some(tenant) => say(&format!("the quotas of {} were changed", tenant.name)),
                None => return Err(no_tenant(&args.name)),
            }
        }
        TenantCommand::List(args) => {
            let (_, store) = args.server.open().await?;
            let tenants = store.tenants().await?;
            let document = tenants.iter().map(|tenant| {
                json!({
                    "id": tenant.id, "name": tenant.name, "capacity_bytes": tenant.capacity_bytes,
                    "max_input_bytes": tenant.max_input_bytes, "max_output_bytes": tenant.max_output_bytes,
                    "output_capacity_bytes": tenant.output_capacity_bytes.unwrap_or(tenant.capacity_bytes),
                    "max_workers": tenant.max_workers, "initial_workers": tenant.initial_workers,
                    "weight": tenant.weight, "created_at": tenant.created_at,
                    "requests_per_second": tenant.requests_per_second,
                    "push_bytes_per_second": tenant.push_bytes_per_second,
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
                            tenant.weight.to_string(),
                            tenant.created_at.format("%Y-%m-%d %H:%M").to_string(),
                        ]
                    })
                    .collect();
                table(&["NAME", "CAPACITY", "WORKERS", "WEIGHT", "CREATED"], &rows)
            });
        }
        TenantCommand::Limit(args) => {
            let (_, store) = args.server.open().await?;
            let limits = TenantLimits {
                requests_per_second: args.requests_per_second,
                push_bytes_per_second: args.push_bytes_per_second,
            };
            if !store.set_tenant_limits(&args.name, limits).await? {
                return Err(no_tenant(&args.name));
            }
            say(&format!("the limits of {} were set; servers follow within seconds", args.name));
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
            let expires_at = match args.expires.map(|expiry| expiry.from(Utc::now())) {
                None => None,
                Some(Some(time)) => Some(time),
                Some(None) => return Err(CliError::Usage("--expires is too far away".to_owned())),
            };
            let terms = KeyTerms {
                owner: args.owner,
                groups: args.groups,
                scopes: (!args.scopes.is_empty()).then(|| args.scopes.into_iter().collect()),
                expires_at,
            };
            let key = match store.create_key(tenant, &terms).await {
                Ok(key) => key,
                Err(CreateKeyError::NoTenant(_)) => return Err(no_tenant(tenant)),
                Err(CreateKeyError::Store(error)) => return Err(error.into()),
                Err(error) => return Err(CliError::Usage(error.to_string())),
            };
            if args.quiet {
                print_out(&format!("{}\n", key.secret.expose()));
            } else {
                let scopes = key.scopes.names();
                let document = json!({ "id": key.id, "key": key.secret.expose(), "scopes": scopes });
                globals.show(&document, || {
                    format!(
                        "key     {}\nid      {}\nscopes  {}\n",
                        key.secret.expose(),
                        key.id,
                        scopes.join(" ")
                    )
                });
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
                    "scopes": key.scopes, "created_at": key.created_at, "last_used_at": key.last_used_at,
                    "expires_at": key.expires_at, "revoked_at": key.revoked_at,
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
                            key.scopes.names().join(","),
                            time(Some(key.created_at)),
                            time(key.last_used_at),
                            time(key.expires_at),
                            time(key.revoked_at),
                        ]
                    })
                    .collect();
                let head =
                    ["ID", "KEY", "OWNER", "GROUPS", "SCOPES", "CREATED", "LAST USED", "EXPIRES", "REVOKED"];
                table(&head, &rows)
            });
        }
        KeyCommand::Revoke(args) => {
            let (_, store) = args.server.open().await?;
            if !store.revoke_key(None, args.id).await? {
                return Err(CliError::Failed(format!("there is no valid key with the id {}", args.id)));
            }
            say(&format!("key {} was revoked; servers forget it within seconds", args.id));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn amounts_are_megabytes() {
        assert_eq!(megabytes("1.5"), Ok(1_500_000));
        assert_eq!(megabytes("1e99"), Ok(i64::MAX));
        for text in ["", "x", "0", "-1", "NaN", "0.0000001"] {
            assert!(megabytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn keys_end_at_a_date_or_after_a_time() {
        let now = DateTime::UNIX_EPOCH;
        for (text, seconds) in [("1d", 86_400), ("12h", 43_200), ("30m", 1_800), ("1970-01-03", 172_800)] {
            assert_eq!(parse_expiry(text).unwrap().from(now).unwrap().timestamp(), seconds, "{text}");
        }
        for text in ["", "d", "-1d", "0h", "1.5h", "soon", "1w", "99999999999999999999d", "9999999999999999d"]
        {
            assert!(parse_expiry(text).is_err(), "{text}");
        }
        assert_eq!(parse_expiry("100000000000d").unwrap().from(now), None);
    }
}
