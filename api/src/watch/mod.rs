//! Watching batches: one query for everything that anybody watches, whoever and how many they are.
//!
//! A watcher holds the latest picture, never a queue of pictures: whoever is slow sees fewer of them. The pictures come from
//! `poll`, which looks at the database at an interval and whenever a control event tells of a watched batch.

mod poll;
mod registry;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use millrace_common::broker::Control;
use millrace_common::config::EventsConfig;
use millrace_common::store::{BatchView, Store};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use registry::Registry;

/// The batches of a tenant's list, as they were at one time.
#[derive(Debug, Clone, Default)]
pub struct TenantPicture {
    /// The database's clock; `None` before the first look.
    pub at: Option<DateTime<Utc>>,
    /// Live batches and those that ended lately. A batch that did not change is the same `Arc` as before.
    pub batches: Arc<Vec<Arc<BatchView>>>,
}

/// Why nobody more can watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooManyStreams {
    /// The process has as many streams as it may.
    #[error("the server has {0} open event streams, as many as it may have")]
    Process(usize),
    /// The tenant has as many streams as it may.
    #[error("the tenant has {0} open event streams, as many as it may have")]
    Tenant(usize),
}

/// Hands out watches. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Watch {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: EventsConfig,
    registry: Registry,
    /// Asks for a look at once.
    wake: Notify,
    /// Whether the last look failed.
    away: watch::Sender<bool>,
    ending: CancellationToken,
}

impl Watch {
    /// Starts to look; to be called within a runtime.
    pub fn start(config: &EventsConfig, store: Store, control: &Control) -> Self {
        let watch = Self {
            inner: Arc::new(Inner {
                config: config.clone(),
                registry: Registry::new(config.streams, config.streams_per_tenant),
                wake: Notify::new(),
                away: watch::Sender::new(false),
                ending: CancellationToken::new(),
            }),
        };
        tokio::spawn(poll::run(Arc::clone(&watch.inner), store));
        tokio::spawn(poll::listen(Arc::clone(&watch.inner), control.subscribe()));
        watch
    }

    /// Ends every stream, so that a server that shuts down need not wait for them.
    pub fn end(&self) {
        self.inner.ending.cancel();
    }

    /// Watches one batch, which looks like `view` now.
    pub fn batch(&self, view: BatchView) -> Result<Watched<Arc<BatchView>>, TooManyStreams> {
        let (receiver, seat) = self.inner.registry.batch(Arc::new(view))?;
        Ok(self.watched(receiver, seat))
    }

    /// Watches all batches of a tenant.
    pub fn tenant(&self, tenant_id: Uuid) -> Result<Watched<TenantPicture>, TooManyStreams> {
        let (receiver, seat) = self.inner.registry.tenant(tenant_id)?;
        self.inner.wake.notify_one();
        Ok(self.watched(receiver, seat))
    }

    fn watched<T>(&self, pictures: watch::Receiver<T>, seat: registry::Seat) -> Watched<T> {
        let config = &self.inner.config;
        Watched {
            pictures,
            away: self.inner.away.subscribe(),
            ending: self.inner.ending.clone(),
            until: tokio::time::Instant::now() + Duration::from_secs(config.stream_seconds),
            _leave: Leave { inner: Arc::clone(&self.inner), seat },
        }
    }

    /// The settings.
    pub fn config(&self) -> &EventsConfig {
        &self.inner.config
    }
}

/// What came while watching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The picture may have changed.
    Picture,
    /// The database went away (`true`) or is back.
    Away(bool),
    /// The stream has to end: the server does, the stream is old, or what was watched is gone.
    End,
}

/// One watcher's latest picture. Its seat is free when it is dropped.
#[derive(Debug)]
pub struct Watched<T> {
    pictures: watch::Receiver<T>,
    away: watch::Receiver<bool>,
    ending: CancellationToken,
    until: tokio::time::Instant,
    _leave: Leave,
}

impl<T: Clone> Watched<T> {
    /// The latest picture; it counts as seen.
    pub fn latest(&mut self) -> T {
        self.pictures.borrow_and_update().clone()
    }

    /// Waits until there is something to tell.
    pub async fn news(&mut self) -> News {
        tokio::select! {
            () = self.ending.cancelled() => News::End,
            () = tokio::time::sleep_until(self.until) => News::End,
            changed = self.pictures.changed() => if changed.is_ok() { News::Picture } else { News::End },
            Ok(()) = self.away.changed() => News::Away(*self.away.borrow_and_update()),
        }
    }
}

#[derive(Debug)]
struct Leave {
    inner: Arc<Inner>,
    seat: registry::Seat,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.inner.registry.leave(&self.seat);
    }
}
