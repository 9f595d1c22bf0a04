//! The private broker and database of `deploy/services`, and databases for single tests.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use reqwest::Url;
use tokio_postgres::NoTls;

use crate::process::binary;
use crate::repository;

/// All tests of all processes agree on this number: one of them migrates the template, the others wait.
const TEMPLATE_LOCK: i64 = 0x6d72_745f_7465_6d70;
const TEMPLATE_PREFIX: &str = "mrt_template_";

/// The services that `deploy/services env DIR` describes.
#[derive(Debug, Clone)]
pub struct Services {
    /// Superuser's URL of the maintenance database.
    pub database_url: String,
    /// URL of the broker, with an administrator's rights.
    pub broker_url: String,
    /// The Erlang name of the broker.
    pub node: String,
    /// Where the services live.
    pub dir: PathBuf,
}

/// What tests do to the services themselves. On the shared ones this would hit every test that runs at the same time: see
/// [`PrivateServices`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceAction {
    /// Stops the broker in good order and starts it again.
    RestartBroker,
    /// Stops the broker in good order.
    StopBroker,
    /// Kills the broker.
    KillBroker,
    /// Starts the broker again; done when it answers.
    StartBroker,
    /// Stops the database in good order and starts it again.
    RestartDatabase,
    /// Stops the database; open sessions end.
    StopDatabase,
    /// Kills the database.
    KillDatabase,
    /// Starts the database again; done when it answers.
    StartDatabase,
}

impl ServiceAction {
    const fn name(self) -> &'static str {
        match self {
            Self::RestartBroker => "restart-broker",
            Self::StopBroker => "stop-broker",
            Self::KillBroker => "kill-broker",
            Self::StartBroker => "start-broker",
            Self::RestartDatabase => "restart-database",
            Self::StopDatabase => "stop-database",
            Self::KillDatabase => "kill-database",
            Self::StartDatabase => "start-database",
        }
    }
}

impl Services {
    /// The services named by the environment.
    ///
    /// # Errors
    ///
    /// When a variable is missing; the text says how to start services.
    pub fn from_env() -> Result<Self> {
        let variable = |name: &str| {
            std::env::var(name).map_err(|_| {
                anyhow::anyhow!(
                    "{name} is not set: run ./tests/run, or start services by `deploy/services start .millrace/tests` and \
                     `eval \"$(deploy/services env .millrace/tests)\"`"
                )
            })
        };
        Ok(Self {
            database_url: variable("MRT_DATABASE_URL")?,
            broker_url: variable("MRT_BROKER_URL")?,
            node: variable("MRT_RABBITMQ_NODE")?,
            dir: variable("MRT_SERVICES_DIR")?.into(),
        })
    }

    /// Where the broker listens.
    ///
    /// # Errors
    ///
    /// When its URL has no such address.
    pub fn broker_address(&self) -> Result<SocketAddr> {
        address_of(&self.broker_url)
    }

    /// Where the database listens.
    ///
    /// # Errors
    ///
    /// When its URL has no such address.
    pub fn database_address(&self) -> Result<SocketAddr> {
        address_of(&self.database_url)
    }

    /// Does something to the services, and waits until it is done.
    ///
    /// # Errors
    ///
    /// When `deploy/services` fails; the text has what it said.
    pub async fn act(&self, action: ServiceAction) -> Result<()> {
        self.script(&[action.name()], &[]).await.map(drop)
    }

    /// Asks the broker's own tool, `rabbitmqctl`; gives its output.
    ///
    /// # Errors
    ///
    /// When it fails; the text has what it said.
    pub async fn rabbitmqctl(&self, arguments: &[&str]) -> Result<String> {
        self.script(&["rabbitmqctl"], arguments).await
    }

    async fn script(&self, action: &[&str], arguments: &[&str]) -> Result<String> {
        let mut command = tokio::process::Command::new(repository().join("deploy/services"));
        command.args(action).arg(&self.dir).args(arguments).kill_on_drop(true);
        let output = command.output().await.context("running deploy/services")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("deploy/services {action:?} {arguments:?} failed: {said}");
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A fresh database with the current schema.
    ///
    /// # Errors
    ///
    /// When the database server does not answer, or `millrace-api migrate` fails.
    pub async fn create_database(&self) -> Result<Database> {
        let template = self.template().await?;
        let name = format!("mrt_{}", uuid::Uuid::new_v4().simple());
        let maintenance = connect(&self.database_url).await?;
        maintenance
            .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}"))
            .await
            .with_context(|| format!("copying {template}"))?;
        Ok(Database {
            url: with_database(&self.database_url, &name)?,
            name,
            maintenance: self.database_url.clone(),
        })
    }

    /// The migrated template, made when it is not there yet. Its name depends on the migrations and on the binary that
    /// applies them, so that services which are kept between runs never serve an old schema.
    async fn template(&self) -> Result<String> {
        let migrate = binary("millrace-api")?;
        let name = format!("{TEMPLATE_PREFIX}{:016x}", schema_digest(&migrate)?);
        let client = connect(&self.database_url).await?;
        if is_template(&client, &name).await? {
            return Ok(name);
        }
        client
            .execute("SELECT pg_advisory_lock($1)", &[&TEMPLATE_LOCK])
            .await
            .context("waiting for the template")?;
        // The session ends with this function, and the lock with it.
        if is_template(&client, &name).await? {
            return Ok(name);
        }
        let old = client
            .query("SELECT datname FROM pg_database WHERE starts_with(datname, $1)", &[&TEMPLATE_PREFIX])
            .await
            .context("listing old templates")?;
        for row in old {
            let old: String = row.get(0);
            client.batch_execute(&format!("ALTER DATABASE {old} IS_TEMPLATE false")).await?;
            client.batch_execute(&format!("DROP DATABASE {old} WITH (FORCE)")).await?;
        }
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.context("creating the template")?;
        let url = with_database(&self.database_url, &name)?;
        let output = without_settings(&mut Command::new(&migrate))
            .arg("migrate")
            .env("MILLRACE_DATABASE__URL", url)
            .output()
            .with_context(|| format!("running {} migrate", migrate.display()))?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            bail!("millrace-api migrate failed ({}):\n{}", output.status, String::from_utf8_lossy(&said));
        }
        client.batch_execute(&format!("ALTER DATABASE {name} IS_TEMPLATE true")).await?;
        Ok(name)
    }
}

/// A broker and a database server for one test alone, which may break them. They take about four seconds to start, and end
/// with this value.
#[derive(Debug)]
pub struct PrivateServices {
    services: Services,
}

impl PrivateServices {
    /// Starts both.
    ///
    /// # Errors
    ///
    /// When they do not start; the text has what `deploy/services` said.
    pub async fn start() -> Result<Self> {
        Self::start_as(&[]).await
    }

    /// As [`PrivateServices::start`], with the broker's management API at [`PrivateServices::management_url`].
    ///
    /// # Errors
    ///
    /// As [`PrivateServices::start`].
    pub async fn start_with_management() -> Result<Self> {
        Self::start_as(&["--dashboard"]).await
    }

    /// Where the broker's management API is.
    ///
    /// # Errors
    ///
    /// When it was not asked for.
    pub async fn management_url(&self) -> Result<String> {
        let status = self.services.script(&["status"], &[]).await?;
        let line = status.lines().find_map(|line| line.strip_prefix("dashboard"));
        let url = line.and_then(|line| line.split_whitespace().next()).context("no management API runs")?;
        Ok(url.to_owned())
    }

    async fn start_as(options: &[&str]) -> Result<Self> {
        let shared = Services::from_env()?;
        let name = uuid::Uuid::new_v4().simple().to_string();
        let mut services = Services { dir: shared.dir.join("private").join(name), ..shared };
        std::fs::create_dir_all(&services.dir)
            .with_context(|| format!("creating {}", services.dir.display()))?;
        // Made before the start, so that a failed start is cleared away too.
        let mut private = Self { services: services.clone() };
        services.script(&["start"], options).await?;
        let variables = services.script(&["env"], &[]).await?;
        let value = |name: &str| {
            let prefix = format!("export {name}='");
            let line = variables.lines().find_map(|line| line.strip_prefix(&prefix)?.strip_suffix('\''));
            line.map(str::to_owned).with_context(|| format!("`deploy/services env` prints no {name}"))
        };
        services.database_url = value("MRT_DATABASE_URL")?;
        services.broker_url = value("MRT_BROKER_URL")?;
        services.node = value("MRT_RABBITMQ_NODE")?;
        private.services = services;
        Ok(private)
    }
}

impl std::ops::Deref for PrivateServices {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.services
    }
}

impl Drop for PrivateServices {
    fn drop(&mut self) {
        // When this fails, ./tests/run removes them at its end.
        let _ =
            Command::new(repository().join("deploy/services")).arg("remove").arg(&self.services.dir).output();
    }
}

/// A test's own database; dropped with its [`crate::Fleet`].
#[derive(Debug)]
pub struct Database {
    /// Its URL.
    pub url: String,
    name: String,
    maintenance: String,
}

impl Database {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL of this database through another address, such as a proxy's.
    ///
    /// # Errors
    ///
    /// When the URL cannot have this address.
    pub fn url_at(&self, address: SocketAddr) -> Result<String> {
        at_address(&self.url, address)
    }

    /// A connection to it, for looking at rows.
    ///
    /// # Errors
    ///
    /// When the server does not answer.
    pub async fn connect(&self) -> Result<tokio_postgres::Client> {
        connect(&self.url).await
    }

    /// Drops the database; connections to it end.
    pub(crate) async fn remove(&self) -> Result<()> {
        let client = connect(&self.maintenance).await?;
        client.batch_execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)).await?;
        Ok(())
    }
}

/// Removes every `MILLRACE_` variable of the caller from a command: a child sees only what its test gives it.
pub(crate) fn without_settings(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MILLRACE_") {
            command.env_remove(name);
        }
    }
    command
}

/// The same URL with another address.
pub(crate) fn at_address(url: &str, address: SocketAddr) -> Result<String> {
    let mut url = Url::parse(url).context("a service's URL")?;
    if url.set_ip_host(address.ip()).is_err() || url.set_port(Some(address.port())).is_err() {
        bail!("a service's URL cannot have the address {address}");
    }
    Ok(url.into())
}

fn with_database(url: &str, name: &str) -> Result<String> {
    let mut url = Url::parse(url).context("MRT_DATABASE_URL")?;
    url.set_path(name);
    Ok(url.into())
}

fn address_of(url: &str) -> Result<SocketAddr> {
    let url = Url::parse(url).context("a service's URL")?;
    let host = url.host_str().context("a service's URL has no host")?;
    let port = url.port().context("a service's URL has no port")?;
    Ok(SocketAddr::new(host.parse().context("a service's host is no IP address")?, port))
}

async fn connect(url: &str) -> Result<tokio_postgres::Client> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.context("connecting to the test database")?;
    // Ends with the client; errors show in the client's calls.
    tokio::spawn(connection);
    Ok(client)
}

async fn is_template(client: &tokio_postgres::Client, name: &str) -> Result<bool> {
    let found =
        client.query_opt("SELECT 1 FROM pg_database WHERE datname = $1 AND datistemplate", &[&name]).await?;
    Ok(found.is_some())
}

fn schema_digest(migrate: &Path) -> Result<u64> {
    let mut digest = DefaultHasher::new();
    let built = std::fs::metadata(migrate)?.modified()?.duration_since(SystemTime::UNIX_EPOCH)?;
    built.as_nanos().hash(&mut digest);
    let folder = repository().join("migrations");
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        files.push(entry?.path());
    }
    files.sort();
    for file in files {
        file.file_name().hash(&mut digest);
        std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?.hash(&mut digest);
    }
    Ok(digest.finish())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn urls_get_other_addresses_and_databases() {
        let proxy: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let broker = "amqp://millrace:abc@127.0.0.1:20001/%2f";
        assert_eq!(at_address(broker, proxy).unwrap(), "amqp://millrace:abc@127.0.0.1:9/%2f");
        let database = "postgres://millrace:abc@127.0.0.1:20002/postgres";
        assert_eq!(
            with_database(database, "mrt_1").unwrap(),
            "postgres://millrace:abc@127.0.0.1:20002/mrt_1"
        );
        assert_eq!(address_of(database).unwrap(), "127.0.0.1:20002".parse().unwrap());
        assert!(address_of("postgres://127.0.0.1/postgres").is_err());
    }
}
