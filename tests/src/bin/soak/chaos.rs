//! The faults, one after another, each mended before the next.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use millrace_tests::proxy::Proxy;
use millrace_tests::{Fleet, ServiceAction, Services, Signal};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use tokio::sync::watch;

use crate::memory::Processes;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    KillWorker,
    TerminateWorker,
    FreezeWorker,
    KillApi,
    FreezeApi,
    RestartBroker,
    KillBroker,
    RestartDatabase,
    KillDatabase,
    CutBrokerLinks,
    CutDatabaseLinks,
    BrokerAway,
    DatabaseAway,
    DeadBrokerLinks,
}

impl Fault {
    const ALL: [Self; 14] = [
        Self::KillWorker,
        Self::TerminateWorker,
        Self::FreezeWorker,
        Self::KillApi,
        Self::FreezeApi,
        Self::RestartBroker,
        Self::KillBroker,
        Self::RestartDatabase,
        Self::KillDatabase,
        Self::CutBrokerLinks,
        Self::CutDatabaseLinks,
        Self::BrokerAway,
        Self::DatabaseAway,
        Self::DeadBrokerLinks,
    ];

    pub const fn text(self) -> &'static str {
        match self {
            Self::KillWorker => "worker killed",
            Self::TerminateWorker => "worker terminated",
            Self::FreezeWorker => "worker frozen",
            Self::KillApi => "API killed",
            Self::FreezeApi => "API frozen",
            Self::RestartBroker => "broker restarted",
            Self::KillBroker => "broker killed",
            Self::RestartDatabase => "database restarted",
            Self::KillDatabase => "database killed",
            Self::CutBrokerLinks => "broker links cut",
            Self::CutDatabaseLinks => "database links cut",
            Self::BrokerAway => "broker out of reach",
            Self::DatabaseAway => "database out of reach",
            Self::DeadBrokerLinks => "broker links dead",
        }
    }
}

/// What the database says at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settled {
    /// Bytes in budgets, over all batches.
    pub input_bytes: i64,
    pub output_bytes: i64,
    /// Bytes that tenants still have reserved.
    pub reserved_bytes: i64,
    /// Batches that nobody knows of: the answer to their creation was lost. They were cancelled.
    pub orphans: u64,
    /// Counters against rows: chunks submitted, finished, pulled; the difference of each.
    pub drift: [i64; 3],
    /// Results beyond one a chunk.
    pub double_rows: i64,
}

/// Makes faults on one fleet.
#[derive(Debug)]
pub struct Chaos {
    fleet: Fleet,
    services: Services,
    broker: Proxy,
    database: Proxy,
    url: watch::Sender<String>,
    processes: Processes,
    random: StdRng,
    /// The numbers of the workers that live.
    workers: Vec<usize>,
    made: BTreeMap<Fault, u64>,
}

impl Chaos {
    pub fn new(
        fleet: Fleet,
        services: Services,
        broker: Proxy,
        database: Proxy,
        url: watch::Sender<String>,
        processes: Processes,
        seed: u64,
    ) -> Self {
        let mut chaos = Self {
            fleet,
            services,
            broker,
            database,
            url,
            processes,
            random: StdRng::seed_from_u64(seed),
            workers: Vec::new(),
            made: BTreeMap::new(),
        };
        while chaos.fleet.worker(chaos.workers.len()).is_ok() {
            chaos.workers.push(chaos.workers.len());
        }
        chaos.note_processes();
        chaos
    }

    /// How many faults of each kind were made.
    pub fn made(&self) -> &BTreeMap<Fault, u64> {
        &self.made
    }

    /// Makes faults until then: every kind once, in a random order, before any kind comes again.
    ///
    /// # Errors
    ///
    /// When something cannot be broken or mended.
    pub async fn run(&mut self, until: Instant, peace: Duration) -> Result<()> {
        let mut next: Vec<Fault> = Vec::new();
        loop {
            tokio::time::sleep(peace).await;
            if Instant::now() >= until {
                return Ok(());
            }
            if next.is_empty() {
                next = Fault::ALL.to_vec();
                next.shuffle(&mut self.random);
            }
            let Some(fault) = next.pop() else { continue };
            crate::say(&format!("        {}", fault.text()));
            self.make(fault).await.with_context(|| fault.text())?;
            *self.made.entry(fault).or_default() += 1;
        }
    }

    async fn make(&mut self, fault: Fault) -> Result<()> {
        let some_time = Duration::from_millis(self.random.random_range(500..5_000));
        let place = self.random.random_range(0..self.workers.len());
        let worker = self.workers[place];
        match fault {
            Fault::KillWorker => {
                self.fleet.kill_worker(worker)?;
                self.replace(place).await?;
            }
            Fault::TerminateWorker => {
                self.fleet.terminate_worker(worker, Duration::from_secs(60)).await?;
                self.replace(place).await?;
            }
            Fault::FreezeWorker => {
                self.fleet.stop_worker(worker)?;
                // Long enough that the broker gives its chunks to others.
                tokio::time::sleep(some_time + Duration::from_secs(3)).await;
                self.fleet.continue_worker(worker)?;
            }
            Fault::KillApi => {
                self.fleet.kill_api()?;
                self.fleet.start_api().await?;
                self.url.send_replace(self.fleet.url());
            }
            Fault::FreezeApi => {
                self.fleet.api()?.signal(Signal::Stop)?;
                tokio::time::sleep(some_time).await;
                self.fleet.api()?.signal(Signal::Continue)?;
            }
            Fault::RestartBroker => self.services.act(ServiceAction::RestartBroker).await?,
            Fault::KillBroker => {
                self.services.act(ServiceAction::KillBroker).await?;
                self.services.act(ServiceAction::StartBroker).await?;
            }
            Fault::RestartDatabase => self.services.act(ServiceAction::RestartDatabase).await?,
            Fault::KillDatabase => {
                self.services.act(ServiceAction::KillDatabase).await?;
                self.services.act(ServiceAction::StartDatabase).await?;
            }
            Fault::CutBrokerLinks => self.broker.cut(),
            Fault::CutDatabaseLinks => self.database.cut(),
            Fault::BrokerAway => {
                self.broker.down();
                tokio::time::sleep(some_time).await;
                self.broker.pass();
            }
            Fault::DatabaseAway => {
                self.database.down();
                tokio::time::sleep(some_time).await;
                self.database.pass();
            }
            Fault::DeadBrokerLinks => {
                self.broker.black_hole();
                tokio::time::sleep(some_time + Duration::from_secs(3)).await;
                self.broker.pass();
            }
        }
        self.note_processes();
        Ok(())
    }

    async fn replace(&mut self, place: usize) -> Result<()> {
        self.note_processes();
        self.workers[place] = self.fleet.start_worker().await?;
        Ok(())
    }

    fn note_processes(&mut self) {
        let mut living = BTreeMap::new();
        if let Ok(api) = self.fleet.api() {
            living.insert("api".to_owned(), api.id());
        }
        for worker in &self.workers {
            if let Ok(process) = self.fleet.worker(*worker) {
                living.insert(process.name().to_owned(), process.id());
            }
        }
        if let Ok(mut processes) = self.processes.lock() {
            *processes = living;
        }
    }

    /// Cancels batches whose creator never heard of them, waits for the reservations to come back, and reads the accounts.
    ///
    /// # Errors
    ///
    /// When API or database do not answer.
    pub async fn settle(&self, tenants: &[(String, String)]) -> Result<Settled> {
        let mut orphans = 0;
        for (tenant, key) in tenants {
            let client = self.fleet.client().as_tenant(tenant, key);
            let overview = client.overview().await?.success()?;
            for batch in overview.list("/in_progress_batches")? {
                let id = batch["id"].as_str().context("a batch has an id")?;
                client.patch(id, "cancelled").await?.success()?;
                orphans += 1;
            }
        }
        let client = self.fleet.database().connect().await?;
        let query = "
            SELECT (SELECT coalesce(sum(input_bytes), 0) FROM batch_counters)::bigint,
                   (SELECT coalesce(sum(output_bytes), 0) FROM batch_counters)::bigint,
                   (SELECT coalesce(sum(input_allocated + output_allocated), 0) FROM batches WHERE released_at IS NULL)::bigint,
                   (SELECT sum(chunks_submitted) FROM batch_counters)::bigint - (SELECT count(*) FROM chunks),
                   (SELECT sum(chunks_completed + chunks_failed) FROM batch_counters)::bigint
                       - (SELECT count(*) FROM results WHERE outcome <> 'withdrawn'),
                   (SELECT sum(chunks_pulled) FROM batch_counters)::bigint
                       - (SELECT count(*) FROM results WHERE outcome <> 'withdrawn' AND pulled_at IS NOT NULL),
                   (SELECT count(*) - count(DISTINCT (batch_id, chunk_id)) FROM results WHERE outcome <> 'withdrawn')";
        let began = Instant::now();
        loop {
            let row = client.query_one(query, &[]).await?;
            let settled = Settled {
                input_bytes: row.get(0),
                output_bytes: row.get(1),
                reserved_bytes: row.get(2),
                orphans,
                drift: [row.get(3), row.get(4), row.get(5)],
                double_rows: row.get(6),
            };
            if settled.reserved_bytes == 0 || began.elapsed() > Duration::from_secs(30) {
                return Ok(settled);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Copies the logs of all processes to where they outlive the fleet.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub fn keep_logs(&self) -> Result<()> {
        let kept = self.services.dir.join("logs");
        std::fs::create_dir_all(&kept)?;
        for entry in std::fs::read_dir(self.fleet.folder())? {
            let file = entry?.path();
            if let (true, Some(name)) = (file.extension().is_some_and(|end| end == "log"), file.file_name()) {
                std::fs::copy(&file, kept.join(name))?;
            }
        }
        crate::say(&format!("the logs are in {}", kept.display()));
        Ok(())
    }
}
