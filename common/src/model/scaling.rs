//! How many slots the waiting work wants: what an autoscaler goes by.
//!
//! The number of waiting chunks alone is no measure: a thousand chunks of a millisecond are done by one slot before another worker
//! has started. So the work is estimated in time, from what the batch's chunks have cost so far, and shared out so that it
//! ends within a given time.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

/// What a chunk costs a slot at least, in milliseconds: unpacking, packing and its part of a commit, whatever is calculated.
const LEAST_CHUNK_MS: f64 = 0.5;

/// A live batch, as far as its backlog goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BacklogBatch {
    /// Its owner. A batch of a tenant that is not listed wants nothing.
    pub tenant_id: Uuid,
    /// What it begins with, before anything is known of its chunks.
    pub initial_workers: u32,
    /// Most slots that it gets.
    pub max_workers: u32,
    /// Chunks without an outcome.
    pub chunks: u64,
    /// Records of these.
    pub records: u64,
    /// Bytes of these in the input buffer.
    pub bytes: u64,
    /// Chunks with an outcome.
    pub finished: u64,
    /// Time that these were evaluated for, in milliseconds.
    pub compute_ms: u64,
    /// Whether its output buffer is full: more slots are of no use until a pull makes room.
    pub blocked: bool,
    /// Whether it is paused: more slots are of no use until it is resumed.
    pub paused: bool,
}

/// A tenant with live batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BacklogTenant {
    /// The tenant.
    pub id: Uuid,
    /// Most slots of all its batches together.
    pub max_workers: u32,
}

/// The backlog of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Live batches.
    pub batches: u64,
    /// Chunks without an outcome, those that are being evaluated included.
    pub chunks: u64,
    /// Records of these.
    pub records: u64,
    /// Bytes of these in the input buffers.
    pub bytes: u64,
    /// Chunks that wait for a pull, not for a slot.
    pub held_back_chunks: u64,
    /// Chunks of paused batches.
    pub paused_chunks: u64,
    /// Slots that end the rest within the time.
    pub slots_wanted: u64,
    /// Slots beyond which further ones would be idle.
    pub slots_usable: u64,
}

impl BacklogBatch {
    /// More slots than this it cannot use.
    fn usable(&self) -> u64 {
        if self.blocked || self.paused { 0 } else { u64::from(self.max_workers).min(self.chunks) }
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate, never negative, and casts of floats saturate"
    )]
    fn wanted(&self, within: Duration) -> u64 {
        let wanted = if self.finished == 0 {
            u64::from(self.initial_workers)
        } else {
            let each = (self.compute_ms as f64 / self.finished as f64).max(LEAST_CHUNK_MS);
            let within = within.as_secs_f64().max(0.001) * 1_000.0;
            (self.chunks as f64 * each / within).ceil() as u64
        };
        wanted.max(1).min(self.usable())
    }
}

/// Sums up what waits, and how many slots work it off within a time. No batch counts beyond its `max_workers` and its chunks,
/// no tenant beyond its own.
pub fn backlog(tenants: &[BacklogTenant], batches: &[BacklogBatch], within: Duration) -> Backlog {
    let mut sum = Backlog::default();
    let mut slots: HashMap<Uuid, (u64, u64)> = HashMap::new();
    for batch in batches {
        sum.batches += 1;
        sum.chunks = sum.chunks.saturating_add(batch.chunks);
        sum.records = sum.records.saturating_add(batch.records);
        sum.bytes = sum.bytes.saturating_add(batch.bytes);
        if batch.paused {
            sum.paused_chunks = sum.paused_chunks.saturating_add(batch.chunks);
        } else if batch.blocked {
            sum.held_back_chunks = sum.held_back_chunks.saturating_add(batch.chunks);
        }
        let (wanted, usable) = slots.entry(batch.tenant_id).or_default();
        *wanted = wanted.saturating_add(batch.wanted(within));
        *usable = usable.saturating_add(batch.usable());
    }
    for tenant in tenants {
        let (wanted, usable) = slots.remove(&tenant.id).unwrap_or_default();
        sum.slots_wanted += wanted.min(u64::from(tenant.max_workers));
        sum.slots_usable += usable.min(u64::from(tenant.max_workers));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn tenant(id: u128, max_workers: u32) -> BacklogTenant {
        BacklogTenant { id: Uuid::from_u128(id), max_workers }
    }

    fn batch(chunks: u64) -> BacklogBatch {
        BacklogBatch {
            tenant_id: Uuid::from_u128(1),
            initial_workers: 3,
            max_workers: 100,
            chunks,
            records: 10 * chunks,
            bytes: 100 * chunks,
            finished: 50,
            compute_ms: 50_000,
            blocked: false,
            paused: false,
        }
    }

    fn wanted(batch: BacklogBatch) -> u64 {
        backlog(&[tenant(1, 1_000)], &[batch], MINUTE).slots_wanted
    }

    #[test]
    fn the_work_is_done_within_the_time() {
        assert_eq!(wanted(batch(0)), 0);
        assert_eq!(wanted(batch(1)), 1);
        // A second each.
        assert_eq!(wanted(batch(60)), 1);
        assert_eq!(wanted(batch(61)), 2);
        assert_eq!(wanted(batch(600)), 10);
        assert_eq!(backlog(&[tenant(1, 1_000)], &[batch(600)], MINUTE / 2).slots_wanted, 20);
    }

    #[test]
    fn cheap_chunks_want_few_slots_however_many_they_are() {
        let cheap = BacklogBatch { compute_ms: 0, ..batch(100_000) };
        assert_eq!(wanted(cheap), 1);
        assert_eq!(wanted(BacklogBatch { chunks: 240_000, ..cheap }), 2);
    }

    #[test]
    fn a_batch_of_which_nothing_is_known_begins_with_what_it_asked_for() {
        let unknown = BacklogBatch { finished: 0, compute_ms: 0, ..batch(600) };
        assert_eq!(wanted(unknown), 3);
        assert_eq!(wanted(BacklogBatch { chunks: 2, ..unknown }), 2);
        assert_eq!(wanted(BacklogBatch { initial_workers: 0, ..unknown }), 1);
    }

    #[test]
    fn nobody_wants_more_than_it_may_have() {
        assert_eq!(wanted(batch(60_000)), 100);
        let sum = backlog(&[tenant(1, 7)], &[batch(60_000), batch(60_000)], MINUTE);
        assert_eq!((sum.slots_wanted, sum.slots_usable), (7, 7));
        assert_eq!(backlog(&[], &[batch(600)], MINUTE).slots_wanted, 0);
    }

    #[test]
    fn what_waits_for_a_pull_is_counted_and_wants_nothing() {
        let sum =
            backlog(&[tenant(1, 1_000)], &[BacklogBatch { blocked: true, ..batch(600) }, batch(60)], MINUTE);
        let expected = Backlog {
            batches: 2,
            chunks: 660,
            records: 6_600,
            bytes: 66_000,
            held_back_chunks: 600,
            paused_chunks: 0,
            slots_wanted: 1,
            slots_usable: 60,
        };
        assert_eq!(sum, expected);
    }

    #[test]
    fn what_is_paused_is_counted_apart_and_wants_nothing() {
        let paused = |blocked| BacklogBatch { paused: true, blocked, ..batch(600) };
        let sum = backlog(&[tenant(1, 1_000)], &[paused(false), paused(true), batch(60)], MINUTE);
        assert_eq!((sum.chunks, sum.paused_chunks, sum.held_back_chunks), (1_260, 1_200, 0));
        assert_eq!((sum.slots_wanted, sum.slots_usable), (1, 60));
    }

    fn batches() -> impl Strategy<Value = Vec<BacklogBatch>> {
        let one = (
            0_u128..4,
            any::<u32>(),
            any::<u32>(),
            any::<u64>(),
            any::<u64>(),
            any::<u64>(),
            any::<(bool, bool)>(),
        );
        prop::collection::vec(
            one.prop_map(
                |(tenant, initial_workers, max_workers, chunks, finished, compute_ms, (blocked, paused))| {
                    let tenant_id = Uuid::from_u128(tenant);
                    BacklogBatch {
                        tenant_id,
                        initial_workers,
                        max_workers,
                        finished,
                        compute_ms,
                        blocked,
                        paused,
                        ..batch(chunks / 1_000)
                    }
                },
            ),
            0..8,
        )
    }

    proptest! {
        #![proptest_config(crate::properties::config(512))]

        #[test]
        fn any_backlog_gives_a_number_between_what_waits_and_what_is_of_use(
            batches in batches(), limits in prop::collection::vec(any::<u32>(), 4), seconds in 0_u64..7_200,
        ) {
            let tenants: Vec<_> = limits.iter().zip(0..).map(|(limit, id)| tenant(id, *limit)).collect();
            let sum = backlog(&tenants, &batches, Duration::from_secs(seconds));
            prop_assert!(sum.slots_wanted <= sum.slots_usable);
            prop_assert!(sum.slots_usable <= sum.chunks - sum.held_back_chunks - sum.paused_chunks);
            let works = |batch: &BacklogBatch| {
                let owner = tenants.iter().find(|tenant| tenant.id == batch.tenant_id);
                let allowed = owner.is_some_and(|tenant| tenant.max_workers > 0);
                allowed && batch.chunks > 0 && batch.max_workers > 0 && !batch.blocked && !batch.paused
            };
            prop_assert_eq!(sum.slots_wanted > 0, batches.iter().any(works));
            let sooner = backlog(&tenants, &batches, Duration::from_secs(seconds / 2));
            prop_assert!(sooner.slots_wanted >= sum.slots_wanted);
        }
    }
}
