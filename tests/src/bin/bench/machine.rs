//! What the figures were measured on, and how durable it was.

use std::process::Command;

use anyhow::{Context, Result};
use millrace_tests::{Services, repository};
use serde::Serialize;
use tokio_postgres::NoTls;

/// Machine, versions and durability settings.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    cpu: String,
    cores: usize,
    memory_gb: f64,
    rustc: String,
    revision: String,
    rabbitmq: String,
    postgres: String,
    /// Settings of the database server that decide what a commit is worth.
    postgres_settings: Vec<(String, String)>,
    broker_durability: &'static str,
}

impl Machine {
    /// Asks the machine and the services.
    ///
    /// # Errors
    ///
    /// When a service does not answer.
    pub async fn describe(services: &Services) -> Result<Self> {
        let (client, connection) =
            tokio_postgres::connect(&services.database_url, NoTls).await.context("the database")?;
        tokio::spawn(connection);
        let setting = async |name: &str| -> Result<String> {
            Ok(client.query_one("SELECT current_setting($1)", &[&name]).await?.get(0))
        };
        let mut postgres_settings = Vec::new();
        for name in [
            "fsync",
            "synchronous_commit",
            "full_page_writes",
            "wal_level",
            "wal_compression",
            "shared_buffers",
            "max_wal_size",
        ] {
            postgres_settings.push((name.to_owned(), setting(name).await?));
        }
        let cpu = read("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        let kibibytes =
            read("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        let revision = output("git", &["rev-parse", "--short=12", "HEAD"]);
        let changed = if output("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty() {
            ""
        } else {
            " and changes"
        };
        Ok(Self {
            cpu,
            cores: std::thread::available_parallelism()?.get(),
            memory_gb: kibibytes.map_or(f64::NAN, |kibibytes| kibibytes * 1_024.0 / 1e9),
            rustc: output("rustc", &["--version"]),
            revision: revision + changed,
            rabbitmq: services.rabbitmqctl(&["version"]).await?.trim().to_owned(),
            postgres: setting("server_version").await?,
            postgres_settings,
            broker_durability: "quorum queue, persistent, mandatory, publisher confirms",
        })
    }

    /// A few lines to read.
    pub fn render(&self) -> String {
        let settings: Vec<String> =
            self.postgres_settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!(
            "machine   {}, {} cores, {:.0} GB; broker, database, Millrace and its callers all on it\n\
             versions  revision {}, {}, RabbitMQ {}, PostgreSQL {}\n\
             durable   broker: {}; database: {}\n",
            self.cpu,
            self.cores,
            self.memory_gb,
            self.revision,
            self.rustc,
            self.rabbitmq,
            self.postgres,
            self.broker_durability,
            settings.join(" "),
        )
    }
}

/// The value of the first line that begins with `key`.
fn read(file: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// What a program prints; empty when it fails.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(repository()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
