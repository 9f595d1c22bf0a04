//! Compiled services, kept for synchronous calls.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use millrace_calc::limits::Limits;
use millrace_calc::service::{Service, SourceKind};
use millrace_common::store::Store;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore};
use uuid::Uuid;

use crate::error::ApiError;

/// The services used last, by version. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Programs {
    store: Store,
    limits: Arc<Limits>,
    known: Arc<Mutex<LruCache<Uuid, Arc<OnceCell<Service>>>>>,
    /// Loading and evaluating take one permit each: as many at once as there are cores.
    cores: Arc<Semaphore>,
}

impl Programs {
    /// Keeps up to `capacity` services; files are bounded by `limits`.
    pub fn new(store: Store, limits: Limits, capacity: usize) -> Self {
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            store,
            limits: Arc::new(limits),
            known: Arc::new(Mutex::new(LruCache::new(capacity))),
            cores: Arc::new(Semaphore::new(cores)),
        }
    }

    /// The service of a published version. Callers that ask for the same one at the same time share one load.
    pub async fn get(&self, version_id: Uuid) -> Result<Service, ApiError> {
        let cell = self.known.lock().get_or_insert(version_id, Arc::default).clone();
        let service = cell.get_or_try_init(|| self.load(version_id)).await?;
        Ok(service.clone())
    }

    async fn load(&self, version_id: Uuid) -> Result<Service, ApiError> {
        let source = self.store.service_source(version_id).await?.ok_or_else(|| {
            ApiError::not_found("VERSION_NOT_FOUND", format!("there is no version {version_id}"))
        })?;
        let kind = source_kind(&source.kind)
            .ok_or_else(|| ApiError::internal(&format!("version {version_id} is of no known kind")))?;
        self.compile(kind, source.content).await?.map_err(|error| {
            // It compiled when it was uploaded: this server is another version.
            tracing::error!(version.id = %version_id, "a published service does not load");
            ApiError::unprocessable("SERVICE_UNUSABLE", format!("the service does not load: {error}"), None)
        })
    }

    /// Compiles a file on a thread of its own; the inner error says why it is no service.
    pub async fn compile(
        &self,
        kind: SourceKind,
        content: impl AsRef<[u8]> + Send + 'static,
    ) -> Result<Result<Service, millrace_calc::load::LoadError>, ApiError> {
        let limits = self.limits.clone();
        self.on_core(move || Service::load(kind, content.as_ref(), &limits)).await
    }

    /// Runs `work` on a blocking thread as soon as a core is free. Dropping the future does not stop work that has begun.
    pub async fn on_core<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let permit = self.cores.clone().acquire_owned().await.map_err(|error| ApiError::internal(&error))?;
        let span = tracing::Span::current();
        let work = move || {
            let _permit = permit;
            span.in_scope(work)
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(&error))
    }
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
