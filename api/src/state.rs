//! What handlers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_common::broker::{Control, Publisher, Topology};
use millrace_common::config::Config;
use millrace_common::programs::Programs;
use millrace_common::recipes::RecipeRevisions;
use millrace_common::store::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::ServeError;
use crate::auth::{KeyCache, RateLimits, Refusals};
use crate::measure::Measured;
use crate::memory::MemoryBudget;
use crate::spark::batch::Batches;
use crate::spark::webhooks::Webhooks;
use crate::watch::Watch;

/// Everything that handlers need; cheap to clone.
#[derive(Debug, Clone)]
pub struct AppState {
    /// What is in force.
    pub config: Arc<Config>,
    /// The database.
    pub store: Store,
    /// Declares lanes.
    pub topology: Topology,
    /// Puts chunks on lanes.
    pub publisher: Publisher,
    /// Tells the workers what changed.
    pub control: Control,
    /// Keys seen in the last seconds.
    pub keys: KeyCache,
    /// How much each tenant may ask for.
    pub rate_limits: RateLimits,
    /// What was refused lately, for the audit trail.
    pub refusals: Refusals,
    /// Request bodies in memory.
    pub memory: MemoryBudget,
    /// Compiled services, for synchronous calls.
    pub programs: Programs,
    /// What the batch endpoints share.
    pub batches: Batches,
    /// Watched batches, for streams of events.
    pub watch: Watch,
    /// Which addresses webhooks may name, and how their secrets are stored.
    pub webhooks: Webhooks,
    /// Compiled revisions of recipe types.
    pub recipe_revisions: RecipeRevisions,
    /// Files that may become members of datasets at the same time: each holds a connection of the control plane.
    pub uploads: Arc<Semaphore>,
    /// Files that may be read and written at the same time.
    pub files: Arc<Semaphore>,
    /// What is measured of requests.
    pub measured: Measured,
    ready: Arc<AtomicBool>,
}

impl AppState {
    /// Opens the pools and starts connecting to the broker; waits for neither. `shutdown` ends the broker's connections:
    /// cancel it when the last request is answered.
    pub fn start(config: Config, shutdown: &CancellationToken) -> Result<Self, ServeError> {
        let store = Store::open(&config.database, "millrace-api")?;
        let topology = Topology::new(&config.broker);
        let publisher = Publisher::start(&config.broker, shutdown.clone());
        let control = Control::start(&config.broker, shutdown.clone());
        Ok(Self {
            programs: Programs::new(store.clone(), &config),
            recipe_revisions: RecipeRevisions::new(store.clone()),
            batches: Batches::start(&config, &store, publisher.clone(), topology.clone()),
            webhooks: Webhooks::new(&config.webhooks),
            watch: Watch::start(&config.events, store.clone(), &control),
            store,
            topology,
            publisher,
            control,
            keys: KeyCache::start(&config.auth, shutdown)?,
            rate_limits: RateLimits::new(&config),
            refusals: Refusals::default(),
            uploads: Arc::new(Semaphore::new((config.database.control_connections as usize / 4).max(1))),
            files: Arc::new(Semaphore::new(config.files.concurrency)),
            measured: Measured::default(),
            memory: MemoryBudget::with_room_for(
                config.limits.body_bytes.max(config.limits.service_bytes),
                config.http.memory_bytes,
            ),
            ready: Arc::new(AtomicBool::new(false)),
            config: Arc::new(config),
        })
    }

    /// Whether the schema is there.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// From now on requests are served; or, with `false`, no more.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }
}
