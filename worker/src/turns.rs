//! Whose chunk is next: tenants get evaluation time in proportion to their weights, whatever the size of their chunks and the
//! number of their batches (start-time fair queueing).

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

/// What a chunk of a tenant is taken to cost before one was evaluated, in microseconds.
const UNKNOWN: u64 = 1_000;

/// The time that tenants had.
#[derive(Debug, Default)]
pub struct Turns {
    tenants: BTreeMap<Uuid, Tenant>,
    /// The time of the tenant that had the last turn, before it: whoever had less meanwhile did not ask for it.
    clock: u64,
}

#[derive(Debug)]
struct Tenant {
    weight: u64,
    /// Time that it had, in microseconds for a weight of 1, on the common clock.
    had: u64,
    /// What a chunk of it cost lately, in microseconds.
    typical: u64,
}

impl Default for Tenant {
    fn default() -> Self {
        Self { weight: 1, had: 0, typical: UNKNOWN }
    }
}

/// What a tenant was charged at the start of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    tenant_id: Uuid,
    chunks: u64,
    charged: u64,
}

impl Turns {
    /// Where a tenant stands: of those that have something to evaluate, the one with the smallest is next.
    pub fn place(&self, tenant_id: Uuid) -> u64 {
        self.tenants.get(&tenant_id).map_or(0, |tenant| tenant.had).max(self.clock)
    }

    /// A tenant starts a turn with so many chunks. It is charged what they will cost as far as is known, so that other threads
    /// choose rightly meanwhile.
    pub fn start(&mut self, tenant_id: Uuid, chunks: usize) -> Advance {
        let place = self.place(tenant_id);
        let tenant = self.tenants.entry(tenant_id).or_default();
        let chunks = chunks.max(1) as u64;
        let charged = tenant.typical.saturating_mul(chunks) / tenant.weight;
        tenant.had = place.saturating_add(charged);
        self.clock = place;
        Advance { tenant_id, chunks, charged }
    }

    /// A turn has ended; it took this long.
    pub fn end(&mut self, advance: Advance, took: Duration) {
        let Some(tenant) = self.tenants.get_mut(&advance.tenant_id) else { return };
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        tenant.typical = (tenant.typical.saturating_mul(3).saturating_add(took / advance.chunks) / 4).max(1);
        tenant.had = tenant.had.saturating_add(took / tenant.weight).saturating_sub(advance.charged);
    }

    /// Sets the weights of the tenants that have live batches, and forgets the others; 0 counts as 1.
    pub fn set_weights(&mut self, weights: &BTreeMap<Uuid, u32>) {
        self.tenants.retain(|id, _| weights.contains_key(id));
        for (id, weight) in weights {
            self.tenants.entry(*id).or_default().weight = u64::from((*weight).max(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(number: usize) -> Uuid {
        Uuid::from_u128(number as u128)
    }

    /// The next of these tenants.
    fn next(turns: &Turns, waiting: impl Iterator<Item = usize>) -> usize {
        waiting.min_by_key(|number| turns.place(tenant(*number))).unwrap_or_default()
    }

    #[test]
    fn who_comes_back_is_next_but_has_saved_nothing_up() {
        let mut turns = Turns::default();
        for _ in 0..100 {
            let advance = turns.start(tenant(0), 1);
            turns.end(advance, Duration::from_millis(5));
        }
        let mut of_one = 0;
        for _ in 0..10 {
            let number = next(&turns, 0..2);
            of_one += number;
            let advance = turns.start(tenant(number), 1);
            turns.end(advance, Duration::from_millis(5));
        }
        assert!((5..=6).contains(&of_one), "{of_one}");
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        /// However long chunks take, and however wrong the guess before, tenants that always have work get time in proportion
        /// to their weights, to within the longest turns.
        #[test]
        fn time_is_shared_by_weight(
            tenants in prop::collection::vec((1_u32..6, 1_u64..20_000, 1_usize..4), 2..6),
            threads in 1_usize..4,
            turns_made in 20_usize..300,
        ) {
            let mut turns = Turns::default();
            turns.set_weights(&tenants.iter().enumerate().map(|(at, (weight, ..))| (tenant(at), *weight)).collect());
            let mut had = vec![0_u64; tenants.len()];
            let mut running = std::collections::VecDeque::new();
            for _ in 0..turns_made {
                let number = next(&turns, 0..tenants.len());
                running.push_back((number, turns.start(tenant(number), tenants[number].2)));
                if running.len() >= threads && let Some((number, advance)) = running.pop_front() {
                    let took = tenants[number].1 * tenants[number].2 as u64;
                    had[number] += took;
                    turns.end(advance, Duration::from_micros(took));
                }
            }
            // A turn may be guessed wrong by its whole length, on each thread.
            let slack: u64 = tenants.iter().map(|(_, took, chunks)| (took + UNKNOWN) * *chunks as u64).max().unwrap_or(0);
            let slack = slack * (threads as u64 + 1);
            for one in 0..tenants.len() {
                for other in 0..one {
                    let of = |at: usize| had[at] / u64::from(tenants[at].0);
                    prop_assert!(of(one).abs_diff(of(other)) <= 2 * slack, "{had:?} of {tenants:?}");
                }
            }
        }
    }
}
