//! One installation of Millrace for one test.

mod removal;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::client::{Client, http};
use crate::options::{FleetOptions, RoleOptions};
use crate::process::{Process, Signal, binary};
use crate::services::{Database, Services, at_address, without_settings};
use crate::wait::{PATIENCE, wait_until};

/// How memory is given back to the system, as in the image (`deploy/Dockerfile`).
const ALLOCATION: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "2"), ("MALLOC_MMAP_THRESHOLD_", "262144")];

/// An API, workers, a tenant and a key, on a database and a broker prefix of their own.
///
/// When it is dropped, its processes are killed, its database and queues deleted. The output of its processes is printed
/// and kept when the test fails.
#[derive(Debug)]
pub struct Fleet {
    services: Services,
    options: FleetOptions,
    database: Database,
    prefix: String,
    folder: PathBuf,
    api: Option<Process>,
    api_address: Option<SocketAddr>,
    workers: Vec<Option<Process>>,
    tenant: String,
    key: String,
    client: Client,
    started: bool,
}

impl Fleet {
    /// Starts everything, and waits until every process is ready to serve.
    ///
    /// # Errors
    ///
    /// When something is missing (services, binaries) or does not start; the text has the last lines of its output.
    pub async fn start(options: FleetOptions) -> Result<Self> {
        Self::start_on(&Services::from_env()?, options).await
    }

    /// As [`Fleet::start`], on services that the test chose: [`crate::PrivateServices`], which must outlive the fleet.
    ///
    /// # Errors
    ///
    /// As [`Fleet::start`].
    pub async fn start_on(services: &Services, options: FleetOptions) -> Result<Self> {
        let services = services.clone();
        let database = services.create_database().await?;
        let prefix = database.name().replace("mrt_", "mrt-");
        let folder = services.dir.join("runs").join(&prefix);
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let client = Client::new("http://127.0.0.1:9", "", "")?;
        let mut fleet = Self {
            services,
            database,
            prefix,
            folder,
            api: None,
            api_address: None,
            workers: Vec::new(),
            tenant: "acme".to_owned(),
            key: String::new(),
            client,
            started: false,
            options,
        };
        fleet.key = fleet.create_tenant(&fleet.tenant.clone()).await?;
        // A test's workers and its API start at the same time, as they do in production.
        fleet.spawn_api("")?;
        for _ in 0..fleet.options.workers {
            fleet.spawn_worker("")?;
        }
        fleet.await_api().await?;
        for index in 0..fleet.workers.len() {
            fleet.await_worker(index).await?;
        }
        fleet.started = true;
        Ok(fleet)
    }

    /// As [`Fleet::start`], with the sales workbook published as [`crate::SALES`].
    ///
    /// # Errors
    ///
    /// As [`Fleet::start`], and when the workbook is refused.
    pub async fn sales(options: FleetOptions) -> Result<Self> {
        let fleet = Self::start(options).await?;
        fleet.publish_sales().await?;
        Ok(fleet)
    }

    /// Publishes the sales workbook as [`crate::SALES`].
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub async fn publish_sales(&self) -> Result<()> {
        let (folder, service) = crate::SALES.split_once('/').context("SALES is folder/service")?;
        self.client.create_folder(folder).await?.success()?;
        self.client.upload_and_publish(folder, service, "sales.xlsx", &crate::sales_workbook()?).await?;
        Ok(())
    }

    /// A caller of the first tenant.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// The API's `http://address`.
    pub fn url(&self) -> String {
        self.api_address.map(|address| format!("http://{address}")).unwrap_or_default()
    }

    /// The first tenant.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The first tenant's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The first part of this fleet's names in the broker.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Its database.
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// The broker and the database server behind it.
    pub const fn services(&self) -> &Services {
        &self.services
    }

    /// A folder for files of the test, deleted with the fleet.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The API's process.
    ///
    /// # Errors
    ///
    /// When the test has killed it.
    pub fn api(&mut self) -> Result<&mut Process> {
        self.api.as_mut().context("the API was killed")
    }

    /// A worker's process; workers are numbered from 0 in the order of their start.
    ///
    /// # Errors
    ///
    /// When there is no such worker, or the test has killed it.
    pub fn worker(&mut self, index: usize) -> Result<&mut Process> {
        self.workers
            .get_mut(index)
            .and_then(Option::as_mut)
            .with_context(|| format!("there is no worker {index}"))
    }

    /// SIGKILL for a worker; done when it is gone.
    ///
    /// # Errors
    ///
    /// When there is no such worker.
    pub fn kill_worker(&mut self, index: usize) -> Result<()> {
        self.worker(index)?.kill();
        if let Some(place) = self.workers.get_mut(index) {
            *place = None;
        }
        Ok(())
    }

    /// SIGSTOP for a worker: it neither works nor answers, but its connections stay open.
    ///
    /// # Errors
    ///
    /// When there is no such worker.
    pub fn stop_worker(&mut self, index: usize) -> Result<()> {
        self.worker(index)?.signal(Signal::Stop)
    }

    /// SIGCONT for a stopped worker.
    ///
    /// # Errors
    ///
    /// When there is no such worker.
    pub fn continue_worker(&mut self, index: usize) -> Result<()> {
        self.worker(index)?.signal(Signal::Continue)
    }

    /// SIGTERM for a worker, and waits for its end.
    ///
    /// # Errors
    ///
    /// When it does not end in time, or ends with a failure.
    pub async fn terminate_worker(&mut self, index: usize, deadline: Duration) -> Result<()> {
        let worker = self.worker(index)?;
        worker.signal(Signal::Terminate)?;
        let status = worker.wait(deadline).await?;
        if !status.success() {
            bail!("worker {index} ended with {status}:\n{}", worker.last_lines(40));
        }
        if let Some(place) = self.workers.get_mut(index) {
            *place = None;
        }
        Ok(())
    }

    /// Starts one more worker, waits until it is ready, and gives its number.
    ///
    /// # Errors
    ///
    /// When it does not become ready.
    pub async fn start_worker(&mut self) -> Result<usize> {
        self.start_failing_worker("").await
    }

    /// As [`Fleet::start_worker`], with failpoints: see `common/src/failpoint.rs`.
    ///
    /// # Errors
    ///
    /// When it does not become ready; a binary without the feature `test-failpoints` does not.
    pub async fn start_failing_worker(&mut self, failpoints: &str) -> Result<usize> {
        let index = self.spawn_worker(failpoints)?;
        self.await_worker(index).await?;
        Ok(index)
    }

    /// Starts one more worker without waiting for anything, and gives its number.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn launch_worker(&mut self) -> Result<usize> {
        self.spawn_worker("")
    }

    /// Waits until a worker is ready.
    ///
    /// # Errors
    ///
    /// When it does not become ready.
    pub async fn await_worker(&mut self, index: usize) -> Result<()> {
        ready(self.worker(index)?).await.map(drop)
    }

    /// SIGKILL for the API; done when it is gone.
    ///
    /// # Errors
    ///
    /// When it was killed already.
    pub fn kill_api(&mut self) -> Result<()> {
        self.api()?.kill();
        self.api = None;
        Ok(())
    }

    /// Starts the API again after it was killed. Its address changes: ask [`Fleet::client`] again.
    ///
    /// # Errors
    ///
    /// When it does not become ready.
    pub async fn start_api(&mut self) -> Result<()> {
        self.start_failing_api("").await
    }

    /// Ends the API, if it still runs, and starts it again with failpoints: see `common/src/failpoint.rs`.
    ///
    /// # Errors
    ///
    /// As [`Fleet::start_failing_worker`].
    pub async fn start_failing_api(&mut self, failpoints: &str) -> Result<()> {
        self.api = None;
        self.spawn_api(failpoints)?;
        self.await_api().await
    }

    /// Makes a tenant and a key for it, by the command line; gives the key.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn create_tenant(&self, tenant: &str) -> Result<String> {
        self.succeed(&["tenant", "create", tenant]).await?;
        self.create_key(tenant, &["--owner", "harness"]).await
    }

    /// Makes one more key for a tenant; gives the key.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub async fn create_key(&self, tenant: &str, more: &[&str]) -> Result<String> {
        let output =
            self.succeed(&[&["key", "create", "--quiet", "--tenant", tenant], more].concat()).await?;
        // The key is the last word of the output, whatever is said around it.
        let key = output.split_whitespace().last().context("`millrace key create` printed no key")?;
        Ok(key.to_owned())
    }

    /// The `millrace` command, set up for this fleet and its first tenant.
    ///
    /// # Errors
    ///
    /// When it was not built.
    pub fn command(&self) -> Result<Command> {
        let mut command = self.own_command("millrace", &RoleOptions::default())?;
        command
            .env("MILLRACE_URL", self.url())
            .env("MILLRACE_TENANT", &self.tenant)
            .env("MILLRACE_API_KEY", &self.key)
            .env("HOME", &self.folder)
            .env("XDG_CONFIG_HOME", self.folder.join("config"));
        Ok(command)
    }

    /// Runs the `millrace` command to its end.
    ///
    /// # Errors
    ///
    /// When it cannot be run; a failure of the command itself is in the output.
    pub async fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = tokio::process::Command::from(self.command()?);
        command.args(arguments).stdin(std::process::Stdio::null()).kill_on_drop(true);
        command.output().await.context("running millrace")
    }

    async fn succeed(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments).await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("`millrace {}` failed ({}): {said}", arguments.join(" "), output.status);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn own_command(&self, name: &str, role: &RoleOptions) -> Result<Command> {
        let mut command = Command::new(binary(name)?);
        without_settings(&mut command);
        let database = match role.database_at.or(self.options.all.database_at) {
            Some(address) => self.database.url_at(address)?,
            None => self.database.url.clone(),
        };
        let database = match &self.options.database_query {
            Some(terms) => format!("{database}?{terms}"),
            None => database,
        };
        let broker = match role.broker_at.or(self.options.all.broker_at) {
            Some(address) => at_address(&self.services.broker_url, address)?,
            None => self.services.broker_url.clone(),
        };
        command
            .current_dir(&self.folder)
            .envs(ALLOCATION)
            .env("MILLRACE_DATABASE__URL", database)
            .env("MILLRACE_BROKER__URL", broker)
            .env("MILLRACE_BROKER__PREFIX", &self.prefix)
            .env("MILLRACE_HTTP__LISTEN", "127.0.0.1:0")
            .env("MILLRACE_WORKER__LISTEN", "127.0.0.1:0")
            .envs(&self.options.all.variables)
            .envs(&role.variables);
        Ok(command)
    }

    fn spawn_api(&mut self, failpoints: &str) -> Result<()> {
        let mut command = self.own_command("millrace-api", &self.options.api)?;
        arm(&mut command, failpoints);
        self.api = Some(Process::start("api", command, &self.folder)?);
        Ok(())
    }

    fn spawn_worker(&mut self, failpoints: &str) -> Result<usize> {
        let mut command = self.own_command("millrace-worker", &self.options.worker)?;
        arm(&mut command, failpoints);
        let index = self.workers.len();
        self.workers.push(Some(Process::start(&format!("worker-{index}"), command, &self.folder)?));
        Ok(index)
    }

    /// Starts the API without waiting for anything; [`Fleet::await_api`] does.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn launch_api(&mut self) -> Result<()> {
        self.spawn_api("")
    }

    /// Waits until the API is ready. From then on [`Fleet::client`] asks it.
    ///
    /// # Errors
    ///
    /// When it does not become ready.
    pub async fn await_api(&mut self) -> Result<()> {
        let address = ready(self.api()?).await?;
        self.api_address = Some(address);
        self.client = Client::new(&self.url(), &self.tenant, &self.key)?;
        Ok(())
    }
}

fn arm(command: &mut Command, failpoints: &str) {
    if !failpoints.is_empty() {
        command.env("MILLRACE_FAILPOINTS", failpoints);
    }
}

/// Waits until a process says where it listens and `/readyz` answers 200 there.
async fn ready(process: &mut Process) -> Result<SocketAddr> {
    let address = process.address().await?;
    let url = format!("http://{address}/readyz");
    let http = http()?.no_proxy().timeout(Duration::from_secs(5)).build()?;
    let what = format!("{} is ready", process.name());
    let answered = wait_until(&what, PATIENCE, || {
        let request = http.get(&url);
        let runs = process.runs();
        async move {
            if !runs {
                return Ok(Some(false));
            }
            let response = request.send().await?;
            let status = response.status();
            if status.is_success() { Ok(Some(true)) } else { bail!("{status}: {}", response.text().await?) }
        }
    })
    .await;
    match answered {
        Ok(true) => Ok(address),
        Ok(false) => bail!("{} ended at its start:\n{}", process.name(), process.last_lines(40)),
        Err(error) => {
            Err(error.context(format!("last lines of {}:\n{}", process.name(), process.last_lines(40))))
        }
    }
}
