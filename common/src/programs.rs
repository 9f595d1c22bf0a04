//! Compiled services, shared and kept while they are used.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;
use millrace_calc::limits::Limits;
use millrace_calc::load::LoadError;
use millrace_calc::reference::{Check, Fallback};
use millrace_calc::service::{Engines, Service, SourceKind};
use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore};
use uuid::Uuid;

use crate::config::{Config, LimitsConfig};
use crate::isolate::{Launcher, Pool};
use crate::store::{Store, StoreError};

/// Records that an upload compares with the fallback engine, at most.
const CHECKED: usize = 2_000;

/// Why a service version cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The database failed; try again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The version is gone.
    #[error("there is no service version {0}")]
    Missing(Uuid),
    /// The version is of a kind that this binary does not know.
    #[error("the service version {0} is of no known kind")]
    UnknownKind(Uuid),
    /// The stored file does not load. It did when it was uploaded, so this binary is of another version.
    #[error("the service does not load: {0}")]
    Load(#[from] LoadError),
    /// Loading ended early: the process stops, or a bug.
    #[error("loading the service was interrupted")]
    Interrupted,
}

/// An LRU of compiled services by version. Each version is loaded once, however many ask at once; loads take turns on as many
/// threads as there are cores. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Programs {
    store: Store,
    limits: Arc<Limits>,
    fallback: Arc<dyn Fallback>,
    check: Check,
    known: Arc<Mutex<LruCache<Uuid, Arc<OnceCell<Service>>>>>,
    cores: Arc<Semaphore>,
}

impl Programs {
    /// A cache for as many versions as `worker.programs` says. Services that cannot be compiled run in child processes of this
    /// executable, so its `main` must begin with [`crate::isolate::child::run_if_asked`].
    pub fn new(store: Store, config: &Config) -> Self {
        let fallback = Arc::new(Pool::new(Launcher::this_program(), &config.fallback));
        Self::with_fallback(store, config, fallback)
    }

    /// As [`Self::new`], with another place for services that cannot be compiled.
    pub fn with_fallback(store: Store, config: &Config, fallback: Arc<dyn Fallback>) -> Self {
        let capacity = NonZeroUsize::new(config.worker.programs).unwrap_or(NonZeroUsize::MIN);
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            store,
            limits: Arc::new(calculation_limits(&config.limits)),
            fallback,
            check: Check { records: CHECKED, budget: Duration::from_millis(config.fallback.check_ms) },
            known: Arc::new(Mutex::new(LruCache::new(capacity))),
            cores: Arc::new(Semaphore::new(cores)),
        }
    }

    /// The service of a published version, loaded and compiled off the runtime's threads when it is not there yet.
    ///
    /// # Errors
    ///
    /// See [`ProgramError`].
    pub async fn get(&self, version_id: Uuid) -> Result<Service, ProgramError> {
        let cell = self.known.lock().get_or_insert(version_id, Arc::default).clone();
        let service = cell.get_or_try_init(|| self.load(version_id)).await?;
        Ok(service.clone())
    }

    async fn load(&self, version_id: Uuid) -> Result<Service, ProgramError> {
        let source = self
            .store
            .in_time(self.store.service_source(version_id))
            .await?
            .ok_or(ProgramError::Missing(version_id))?;
        let kind = source_kind(&source.kind).ok_or(ProgramError::UnknownKind(version_id))?;
        let engines = Engines { fallback: Some(Arc::clone(&self.fallback)), check: None };
        Ok(self.load_with(kind, source.content, engines).await??)
    }

    /// Compiles a file that is not stored, and compares it with the fallback engine (see [`Check`]); the inner error says why it
    /// is no service.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Interrupted`].
    pub async fn compile(
        &self,
        kind: SourceKind,
        content: impl AsRef<[u8]> + Send + 'static,
    ) -> Result<Result<Service, LoadError>, ProgramError> {
        let engines = Engines { fallback: Some(Arc::clone(&self.fallback)), check: Some(self.check) };
        self.load_with(kind, content, engines).await
    }

    async fn load_with(
        &self,
        kind: SourceKind,
        content: impl AsRef<[u8]> + Send + 'static,
        engines: Engines,
    ) -> Result<Result<Service, LoadError>, ProgramError> {
        let limits = Arc::clone(&self.limits);
        self.on_core(move || Service::load_with(kind, content.as_ref(), &limits, &engines)).await
    }

    /// Runs `work` on a blocking thread as soon as a core is free. Dropping the future does not stop work that has begun.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Interrupted`].
    pub async fn on_core<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ProgramError> {
        let permit = Arc::clone(&self.cores).acquire_owned().await.map_err(|_| ProgramError::Interrupted)?;
        let span = tracing::Span::current();
        let work = move || {
            let _permit = permit;
            span.in_scope(work)
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| ProgramError::Interrupted)
    }
}

/// The engine's limits under these settings; every binary must have the same, or one refuses what another took.
fn calculation_limits(limits: &LimitsConfig) -> Limits {
    Limits { file_bytes: limits.service_bytes as u64, ..Limits::default() }
}

/// The kind of a stored file.
pub fn source_kind(kind: &str) -> Option<SourceKind> {
    match kind {
        "workbook" => Some(SourceKind::Workbook),
        "formula_document" => Some(SourceKind::FormulaDocument),
        _ => None,
    }
}

/// How a kind is stored.
pub const fn kind_name(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Workbook => "workbook",
        SourceKind::FormulaDocument => "formula_document",
    }
}
