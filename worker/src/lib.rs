//! The Millrace worker: consume → evaluate → commit → ack; its part of the plan; the reaper.
//!
//! Follow a chunk: [`intake`] receives a delivery and puts it into the [`dispatch::Dispatcher`]; an evaluation thread
//! ([`evaluate`]) takes it when the batch has a free share, in the order of `turns`; [`commit`] stores finished chunks in groups and acknowledges them.
//! [`recipes`] does the same for bundles of jobs. [`fleet`] keeps the picture fresh: heartbeat, snapshot, plan, subscriptions. [`dead_letters`] and [`reaper`] look after what
//! went wrong; [`webhooks`] tells others that batches ended.

pub mod commit;
pub mod dead_letters;
pub mod dispatch;
pub mod evaluate;
pub mod failed_work;
pub mod fleet;
pub mod groups;
pub mod health;
pub mod held;
pub mod intake;
pub mod lingering;
#[cfg(test)]
mod properties;
pub mod quarantine;
pub mod reaper;
pub mod recipes;
pub mod recount;
mod retention;
pub mod traced;
mod turns;
pub mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use millrace_common::broker::{BrokerError, Consumers, Control, Publisher, Topology};
use millrace_common::config::Config;
use millrace_common::metrics;
use millrace_common::programs::Programs;
use millrace_common::startup::patiently;
use millrace_common::store::{Store, StoreError, WorkerSlot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::dispatch::Dispatcher;
use crate::quarantine::Quarantine;

/// Why a worker ended.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The database refused something at start-up.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The broker refused something at start-up.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Webhook messages cannot be sent.
    #[error(transparent)]
    Webhooks(#[from] webhooks::SenderError),
    /// The health listener or an evaluation thread could not start.
    #[error("start-up: {0}")]
    Io(#[from] std::io::Error),
}

/// What the worker's tasks share.
#[derive(Debug)]
pub struct Worker {
    /// This process, new at every start.
    pub id: Uuid,
    /// Evaluations at a time.
    pub slots: u32,
    /// Every setting.
    pub config: Config,
    /// The database.
    pub store: Store,
    /// The counter slot that this worker writes to.
    pub counter_slot: WorkerSlot,
    /// Lane declarations and purges.
    pub topology: Topology,
    /// Where deliveries come from.
    pub consumers: Consumers,
    /// Where dead letters are put back.
    pub publisher: Publisher,
    /// Control events.
    pub control: Control,
    /// Compiled services.
    pub programs: Programs,
    /// Programs of jobs.
    pub preparations: recipes::Preparations,
    /// Deliveries that wait for an evaluation thread.
    pub dispatcher: Arc<Dispatcher>,
    /// Keeps suspects apart.
    pub quarantine: Quarantine,
    /// Asks for a new snapshot and plan at once.
    pub replan: tokio::sync::Notify,
}

/// Runs a worker until `shutdown`: waits for database and broker, works, drains.
///
/// Boxed, since a future is compiled in the crate that makes it an object: the program would else compile all of this a second time.
pub fn serve(config: Config, shutdown: CancellationToken) -> BoxFuture<'static, Result<(), WorkerError>> {
    Box::pin(work(config, shutdown))
}

async fn work(config: Config, shutdown: CancellationToken) -> Result<(), WorkerError> {
    let store = Store::open(&config.database, "millrace-worker")?;
    metrics::install(metrics::Process::Worker);
    let readiness = health::Readiness::new(&config.telemetry);
    health::listen(config.worker.listen, readiness.clone(), shutdown.clone()).await?;

    let topology = Topology::new(&config.broker);
    if patiently("the database and its schema", &shutdown, || store.check_schema()).await.is_none()
        || patiently("the broker", &shutdown, || topology.declare_shared()).await.is_none()
    {
        return Ok(());
    }

    let sender = webhooks::Sender::new(&config.webhooks)?;
    let slots = match config.worker.slots {
        0 => std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1)),
        slots => slots,
    };
    let id = Uuid::new_v4();
    // Connections outlive the request to stop, so that what was started can still be acknowledged.
    let links = CancellationToken::new();
    let (consumers, deliveries) = Consumers::start(&config.broker, links.clone());
    let worker = Arc::new(Worker {
        id,
        slots,
        counter_slot: WorkerSlot::of(id),
        programs: Programs::new(store.clone(), &config),
        topology,
        consumers,
        publisher: Publisher::start(&config.broker, links.clone()),
        control: Control::start(&config.broker, links.clone()),
        preparations: recipes::Preparations::default(),
        dispatcher: Arc::new(Dispatcher::default()),
        quarantine: Quarantine::default(),
        replan: tokio::sync::Notify::new(),
        store,
        config,
    });
    readiness.set(&worker);
    tracing::info!(worker.id = %id, slots, "working");

    let tasks = TaskTracker::new();
    let (finished, commits) = commit::channel(&worker.config.worker);
    let (bundles, finished_bundles) = recipes::commit::channel();
    let threads = evaluate::start(&worker, &finished, &bundles)?;
    // From here on only the threads have it: the committer of bundles ends when they do.
    drop(bundles);
    tasks.spawn(recipes::commit::run(Arc::clone(&worker), finished_bundles));
    tasks.spawn(recipes::creation::run(Arc::clone(&worker), shutdown.clone()));
    tasks.spawn(fleet::run(Arc::clone(&worker), shutdown.clone()));
    tasks.spawn(reaper::run(Arc::clone(&worker), shutdown.clone()));
    tasks.spawn(recount::run(Arc::clone(&worker), shutdown.clone()));
    tasks.spawn(webhooks::run(Arc::clone(&worker), sender, shutdown.clone()));
    tasks.spawn(intake::run(Arc::clone(&worker), deliveries, finished.clone(), shutdown.clone()));
    let committing = tokio::spawn(commit::run(Arc::clone(&worker), commits));

    shutdown.cancelled().await;
    tasks.close();
    let drained = drain(&worker, tasks, threads, committing, finished);
    if tokio::time::timeout(Duration::from_millis(worker.config.worker.drain_timeout_ms), drained)
        .await
        .is_err()
    {
        tracing::warn!("some started chunks did not end in time; another worker takes them over");
    }
    if let Err(error) = worker.store.in_time(worker.store.forget_worker(worker.id)).await {
        tracing::warn!(%error, "could not sign off; the reaper will");
    }
    links.cancel();
    worker.consumers.stopped().await;
    Ok(())
}

/// Takes nothing new, gives unstarted chunks back, and waits until started ones are committed.
async fn drain(
    worker: &Arc<Worker>,
    tasks: TaskTracker,
    threads: Vec<std::thread::JoinHandle<()>>,
    committing: tokio::task::JoinHandle<()>,
    finished: commit::Sender,
) {
    worker.consumers.want(Vec::new());
    let unstarted = worker.dispatcher.close();
    worker.consumers.requeue(&unstarted).await;
    tasks.wait().await;
    let joined = tokio::task::spawn_blocking(move || {
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("an evaluation thread panicked");
            }
        }
    });
    if joined.await.is_err() {
        tracing::error!("waiting for the evaluation threads failed");
    }
    // The last sender goes, so the committer ends after its last group.
    drop(finished);
    if committing.await.is_err() {
        tracing::error!("the committer panicked");
    }
}
