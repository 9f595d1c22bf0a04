//! Full buffers: who is refused, and how long to wait (contract 3.6, section 6 item 5).
//!
//! How fast a buffer empties is measured in this process, from what status reads say of it by the database's clock. A tenant's
//! output buffer is filled by workers, not by pushes, so it is enough to look at it a few times a second.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use millrace_common::model::{DrainRate, LONGEST_WAIT, SHORTEST_WAIT};
use millrace_common::store::{BatchView, Store, StoreError, TenantOutput};
use parking_lot::Mutex;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::ApiError;

/// Batches and tenants whose buffers are remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// How long a look at a tenant's output buffer is relied on.
const RELIED_ON: Duration = Duration::from_millis(250);

/// What this process knows of how buffers empty. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Budgets {
    /// Input buffers by batch.
    inputs: Arc<Mutex<LruCache<Uuid, DrainRate>>>,
    /// Output buffers by tenant.
    outputs: Arc<Mutex<LruCache<Uuid, Output>>>,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            inputs: Arc::new(Mutex::new(LruCache::new(REMEMBERED))),
            outputs: Arc::new(Mutex::new(LruCache::new(REMEMBERED))),
        }
    }
}

/// A tenant's output buffer as it was seen last.
#[derive(Debug, Clone, Default)]
struct Output {
    seen: Option<(Instant, bool)>,
    rate: DrainRate,
}

impl Budgets {
    /// Learns from the counters of a batch how fast its input buffer empties.
    pub(super) fn note(&self, view: &BatchView) {
        let freed = view.counters.input_total - view.counters.input_bytes;
        let mut inputs = self.inputs.lock();
        let rate = inputs.get_or_insert_mut(view.batch.id, || {
            // What is seen for the first time has the mean since its start for a rate.
            let mut rate = DrainRate::default();
            rate.note(view.batch.started_at.unwrap_or(view.batch.created_at).timestamp_millis(), 0);
            rate
        });
        rate.note(view.now.timestamp_millis(), freed);
    }

    /// 429 for a push that the batch's input buffer has no room for now.
    pub(super) fn input_full(&self, view: &BatchView, needed: i64, message: String) -> ApiError {
        self.note(view);
        let free = (view.batch.input_allocated - view.counters.input_bytes).max(0);
        let rate = self.inputs.lock().get(&view.batch.id).cloned().unwrap_or_default();
        let details = details(needed, free, &rate);
        ApiError::too_many("INPUT_BUFFER_FULL", message, details, rate.wait_seconds(needed - free))
    }

    /// 429 while the tenant's output buffer is full: then nothing new is taken for any of its batches.
    pub(super) async fn check_output(
        &self,
        store: &Store,
        tenant_id: Uuid,
        needed: i64,
    ) -> Result<(), ApiError> {
        let now = Instant::now();
        {
            let mut outputs = self.outputs.lock();
            let output = outputs.get_or_insert_mut(tenant_id, Output::default);
            match output.seen {
                // A full buffer is looked at each time, so that a pull helps at once.
                Some((seen, false)) if now.duration_since(seen) < RELIED_ON => return Ok(()),
                // Others rely on the last look while this call takes the next one.
                _ => output.seen = Some((now, false)),
            }
        }
        let output = store.tenant_output(tenant_id).await.map_err(|error| match error {
            StoreError::NotFound(_) => ApiError::unauthorized("the tenant is gone"),
            error => error.into(),
        })?;
        let rate = {
            let mut outputs = self.outputs.lock();
            let known = outputs.get_or_insert_mut(tenant_id, Output::default);
            known.seen = Some((now, output.is_full()));
            known.rate.note(output.now.timestamp_millis(), output.freed_bytes);
            known.rate.clone()
        };
        if output.is_full() { Err(refuse_output(&output, needed, &rate)) } else { Ok(()) }
    }
}

fn refuse_output(output: &TenantOutput, needed: i64, rate: &DrainRate) -> ApiError {
    let (used, capacity) = (output.used_bytes, output.capacity_bytes);
    let message = format!(
        "the tenant's batches hold {used} bytes of results that were not pulled; from {capacity} on nothing new is taken"
    );
    let wait = rate.wait_seconds(used - capacity + 1);
    ApiError::too_many("OUTPUT_BUFFER_FULL", message, details(needed, 0, rate), wait)
}

fn details(needed: i64, free: i64, rate: &DrainRate) -> Value {
    json!({"needed_bytes": needed, "free_bytes": free, "drain_bytes_per_second": rate.bytes_per_second()})
}

/// How long to wait for a tenant's capacity, in seconds: until enough finished batches are through their cool-off, or as long
/// as ever is advised when none are in sight.
pub(super) fn capacity_wait(finished_for: Option<f64>, cool_off_seconds: u64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from f64 saturates; the age of a batch is no more than centuries"
    )]
    let wait = finished_for.map(|age| cool_off_seconds.saturating_sub(age.max(0.0) as u64).saturating_add(1));
    wait.unwrap_or(LONGEST_WAIT).clamp(SHORTEST_WAIT, LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::super::wire::tests::view;
    use super::*;

    #[test]
    fn a_full_input_buffer_tells_how_long_it_takes_to_empty() {
        let budgets = Budgets::default();
        let mut view = view();
        // 3,500 bytes were freed in the 4.5 s since the batch started.
        view.batch.input_allocated = 2_000;
        let error = budgets.input_full(&view, 1_500, "full".to_owned());
        assert_eq!((error.status().as_u16(), error.code()), (429, "INPUT_BUFFER_FULL"));
        let object = error.object();
        assert_eq!(
            object["additional_details"],
            json!({"needed_bytes": 1_500, "free_bytes": 500, "drain_bytes_per_second": 777})
        );
        assert_eq!(error.retry_after(), Some(2));
    }

    #[test]
    fn capacity_comes_back_after_the_cool_off() {
        assert_eq!(capacity_wait(Some(90.2), 120), 31);
        assert_eq!(capacity_wait(Some(0.0), 3_600), 60);
        assert_eq!(capacity_wait(Some(500.0), 120), 1);
        assert_eq!(capacity_wait(None, 120), 60);
    }
}
