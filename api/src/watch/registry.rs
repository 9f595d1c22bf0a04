//! Who watches what, and how many may.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use millrace_common::store::BatchView;
use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

use super::{TenantPicture, TooManyStreams};

/// How long an ended batch stays on its tenant's list: as in the overview (contract 1.7).
const RECENT: TimeDelta = TimeDelta::minutes(60);

/// A place taken by one watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    tenant_id: Uuid,
    /// `None` for the tenant's list.
    batch_id: Option<Uuid>,
}

/// Something watched, and by how many.
#[derive(Debug)]
struct Entry<T> {
    pictures: watch::Sender<T>,
    watchers: usize,
}

#[derive(Debug, Default)]
struct Seats {
    taken: usize,
    by_tenant: HashMap<Uuid, usize>,
    batches: HashMap<Uuid, Entry<Arc<BatchView>>>,
    tenants: HashMap<Uuid, Entry<TenantPicture>>,
}

/// A tenant's list while a new picture of it is made.
struct List {
    known: HashMap<Uuid, Arc<BatchView>>,
    now: Vec<Arc<BatchView>>,
}

/// Everything that is watched in this process.
#[derive(Debug)]
pub struct Registry {
    seats: Mutex<Seats>,
    limit: usize,
    tenant_limit: usize,
}

impl Registry {
    pub fn new(limit: usize, tenant_limit: usize) -> Self {
        Self { seats: Mutex::default(), limit, tenant_limit }
    }

    /// Takes a seat before a batch.
    pub fn batch(
        &self,
        view: Arc<BatchView>,
    ) -> Result<(watch::Receiver<Arc<BatchView>>, Seat), TooManyStreams> {
        let seat = Seat { tenant_id: view.batch.tenant_id, batch_id: Some(view.batch.id) };
        let mut seats = self.seats.lock();
        self.take(&mut seats, seat)?;
        let entry = seats
            .batches
            .entry(view.batch.id)
            .or_insert_with(|| Entry { pictures: watch::Sender::new(Arc::clone(&view)), watchers: 0 });
        entry.watchers += 1;
        show(&entry.pictures, &view);
        Ok((entry.pictures.subscribe(), seat))
    }

    /// Takes a seat before a tenant's list.
    pub fn tenant(&self, tenant_id: Uuid) -> Result<(watch::Receiver<TenantPicture>, Seat), TooManyStreams> {
        let seat = Seat { tenant_id, batch_id: None };
        let mut seats = self.seats.lock();
        self.take(&mut seats, seat)?;
        let entry = seats
            .tenants
            .entry(tenant_id)
            .or_insert_with(|| Entry { pictures: watch::Sender::default(), watchers: 0 });
        entry.watchers += 1;
        Ok((entry.pictures.subscribe(), seat))
    }

    fn take(&self, seats: &mut Seats, seat: Seat) -> Result<(), TooManyStreams> {
        if seats.taken >= self.limit {
            return Err(TooManyStreams::Process(self.limit));
        }
        let of_tenant = seats.by_tenant.entry(seat.tenant_id).or_default();
        if *of_tenant >= self.tenant_limit {
            return Err(TooManyStreams::Tenant(self.tenant_limit));
        }
        *of_tenant += 1;
        seats.taken += 1;
        Ok(())
    }

    /// Gives a seat back.
    pub fn leave(&self, seat: &Seat) {
        fn one_less<T>(entries: &mut HashMap<Uuid, Entry<T>>, id: Uuid) {
            if let Some(entry) = entries.get_mut(&id) {
                entry.watchers -= 1;
                if entry.watchers == 0 {
                    entries.remove(&id);
                }
            }
        }
        let mut seats = self.seats.lock();
        seats.taken -= 1;
        if let Some(of_tenant) = seats.by_tenant.get_mut(&seat.tenant_id) {
            *of_tenant -= 1;
            if *of_tenant == 0 {
                seats.by_tenant.remove(&seat.tenant_id);
            }
        }
        match seat.batch_id {
            Some(id) => one_less(&mut seats.batches, id),
            None => one_less(&mut seats.tenants, seat.tenant_id),
        }
    }

    /// What to look at: batches and tenants.
    pub fn wanted(&self) -> (Vec<Uuid>, Vec<Uuid>) {
        let seats = self.seats.lock();
        (seats.batches.keys().copied().collect(), seats.tenants.keys().copied().collect())
    }

    /// Whether anybody watches this batch.
    pub fn watches(&self, id: Uuid) -> bool {
        let seats = self.seats.lock();
        // A batch that was just opened is on a list without being known there.
        seats.batches.contains_key(&id) || !seats.tenants.is_empty()
    }

    /// Shows everybody what was seen.
    pub fn show(&self, views: Vec<BatchView>) {
        let seats = self.seats.lock();
        let mut lists: HashMap<Uuid, List> = HashMap::new();
        for (tenant, entry) in &seats.tenants {
            let known = entry
                .pictures
                .borrow()
                .batches
                .iter()
                .map(|view| (view.batch.id, Arc::clone(view)))
                .collect();
            lists.insert(*tenant, List { known, now: Vec::new() });
        }
        let mut now: Option<DateTime<Utc>> = None;
        for view in views {
            now = now.max(Some(view.now));
            let mut view = Arc::new(view);
            if let Some(list) = lists.get_mut(&view.batch.tenant_id)
                && (view.batch.state.is_live() || view.batch.updated_at > view.now - RECENT)
            {
                if let Some(before) = list.known.get(&view.batch.id).filter(|before| same(before, &view)) {
                    view = Arc::clone(before);
                }
                list.now.push(Arc::clone(&view));
            }
            if let Some(entry) = seats.batches.get(&view.batch.id) {
                show(&entry.pictures, &view);
            }
        }
        for (tenant, list) in lists {
            if let Some(entry) = seats.tenants.get(&tenant) {
                let at = now.or_else(|| entry.pictures.borrow().at).or_else(|| Some(Utc::now()));
                entry.pictures.send_replace(TenantPicture { at, batches: Arc::new(list.now) });
            }
        }
    }
}

/// Shows a batch, unless it looks as before or is an older picture than the one that is shown.
fn show(pictures: &watch::Sender<Arc<BatchView>>, view: &Arc<BatchView>) {
    pictures.send_if_modified(|shown| {
        let news = view.now >= shown.now && !same(shown, view);
        if news {
            *shown = Arc::clone(view);
        }
        news
    });
}

/// Whether two pictures of a batch differ in nothing but the time.
fn same(one: &BatchView, other: &BatchView) -> bool {
    one.workers_in_use == other.workers_in_use && one.counters == other.counters && one.batch == other.batch
}
