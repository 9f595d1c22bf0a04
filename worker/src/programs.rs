//! Compiled services, shared and kept while they are used.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use millrace_calc::limits::Limits;
use millrace_calc::load::LoadError;
use millrace_calc::service::{Service, SourceKind};
use millrace_common::store::{Store, StoreError};
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use uuid::Uuid;

/// Why a service version cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The database failed; try again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The version is gone.
    #[error("the service version {0} does not exist")]
    Missing(Uuid),
    /// The stored file does not load any more.
    #[error("the service does not load: {0}")]
    Load(#[from] LoadError),
    /// Loading was interrupted.
    #[error("loading the service was interrupted")]
    Interrupted,
}

type Cell = Arc<OnceCell<Service>>;

/// An LRU of compiled services by version. Each version is loaded once, however many ask at once.
#[derive(Debug, Clone)]
pub struct Programs {
    store: Store,
    cells: Arc<Mutex<LruCache<Uuid, Cell>>>,
}

impl Programs {
    /// A cache for `capacity` versions.
    pub fn new(store: Store, capacity: usize) -> Self {
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        Self { store, cells: Arc::new(Mutex::new(LruCache::new(capacity))) }
    }

    /// The service of a version, loaded and compiled off the runtime's threads when it is not there yet.
    pub async fn get(&self, version_id: Uuid) -> Result<Service, ProgramError> {
        let cell = Arc::clone(self.cells.lock().get_or_insert(version_id, Cell::default));
        let service = cell.get_or_try_init(|| self.load(version_id)).await?;
        Ok(service.clone())
    }

    async fn load(&self, version_id: Uuid) -> Result<Service, ProgramError> {
        let source = self.store.service_source(version_id).await?.ok_or(ProgramError::Missing(version_id))?;
        let kind = match source.kind.as_str() {
            "formula_document" => SourceKind::FormulaDocument,
            _ => SourceKind::Workbook,
        };
        let loaded =
            tokio::task::spawn_blocking(move || Service::load(kind, &source.content, &Limits::default()));
        Ok(loaded.await.map_err(|_| ProgramError::Interrupted)??)
    }
}
