//! Who works on what (design section 4): a pure function from the fleet and the live batches to slots.
//!
//! Every worker computes the plan for itself from the same snapshot and takes its own share; nobody is elected. So the plan
//! depends on nothing but its input, not even on the order in which the input lists things.
//!
//! # The rules
//!
//! **How many slots a batch gets.** The fleet's slots are handed out one at a time, first between tenants, then between a
//! tenant's batches:
//!
//! 1. *Between tenants*: the next slot goes to the tenant with the fewest slots per weight that can still use one (max-min
//!    fairness). Callers choose `initial_workers` themselves, so it plays no part here: it could be used to take another
//!    tenant's share.
//! 2. *Between a tenant's batches*: one slot for each, in priority order; then up to `initial_workers` for each, one priority
//!    after the other and fairly by weight within one; then the rest to the batch with the fewest slots per weight. Ties go
//!    to the lower priority number, then to the smaller id, which with time-ordered ids is the older batch.
//!
//! Nobody gets more than it can use: a batch no more than its `max_workers` and its chunks without an outcome, a tenant no more
//! than its `max_workers`; one that is paused, or whose output buffer is full, gets nothing. A slot that is handed out never changes owner because more slots follow, and a new batch only
//! takes from others: it makes nobody richer. That keeps the numbers stable.
//!
//! **When there are more batches than slots.** A batch that its tenant's `max_workers` has room for always gets one slot, even
//! where the tenant's fair share is used up. The plan then *oversubscribes*: a worker's shares add up to more than its slots,
//! and the worker takes turns between the batches of its share. Workers are oversubscribed evenly: no worker has a higher load
//! per slot than another by more than one planned slot, so workers of equal size differ by one at most. Only a batch
//! for which the tenant's `max_workers` leaves no room waits; batches are served in priority order.
//!
//! **Where the slots are.** Pairs of worker and batch are ranked by a hash of both ids (rendezvous hashing) and served from
//! the highest down, each as far as the worker has room and the batch has slots left. A batch is therefore at home on few
//! workers, which keeps consumers few and programs cached, and a change disturbs only pairs ranked below it.
//!
//! **While a fleet is upgraded** some workers may not know what a batch needs ([`Protocol`]): such pairs are left out, batches that
//! not every worker knows are placed first, and get at least one slot on a worker that knows them, beyond its own if need be. Where
//! everybody knows everything, nothing of this changes anything.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};

use uuid::Uuid;

use super::Protocol;

#[cfg(test)]
mod tests;

/// A worker is never planned with more slots than this, whatever it claims: it bounds the cost of a plan.
pub const MAX_WORKER_SLOTS: u32 = 4_096;

/// A worker that takes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanWorker {
    /// Its id.
    pub id: Uuid,
    /// Evaluations at a time; 0 for one that drains. At most [`MAX_WORKER_SLOTS`] count.
    pub slots: u32,
    /// The newest kind of work that it knows.
    pub knows: Protocol,
}

/// A tenant with live batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanTenant {
    /// Its id.
    pub id: Uuid,
    /// Its share in relation to other tenants'; 0 counts as 1.
    pub weight: u32,
    /// Most slots of all its batches together.
    pub max_workers: u32,
}

/// A live batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanBatch {
    /// Its id.
    pub id: Uuid,
    /// Its owner. A batch of a tenant that is not listed gets nothing.
    pub tenant_id: Uuid,
    /// Its share in relation to the tenant's other batches; 0 counts as 1.
    pub weight: u32,
    /// Lower goes first.
    pub priority: i32,
    /// Slots that it gets before any batch of the tenant gets more than this.
    pub initial_workers: u32,
    /// Most slots that it gets.
    pub max_workers: u32,
    /// Chunks without an outcome: it can use no more slots than that.
    pub waiting: u32,
    /// Whether its output buffer is full: it gets nothing until a pull makes room.
    pub blocked: bool,
    /// Whether it is paused: it gets nothing until it is resumed, and nobody stands by for it.
    pub paused: bool,
    /// What a worker must know to have a part in it.
    pub needs: Protocol,
}

impl PlanBatch {
    fn useful(&self) -> u32 {
        self.useful_limit().min(self.waiting)
    }

    fn useful_limit(&self) -> u32 {
        if self.blocked || self.paused { 0 } else { self.max_workers }
    }
}

/// What a plan is made from: one snapshot. Ids are unique within each list; the order does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanInput {
    /// Workers with a recent heartbeat.
    pub workers: Vec<PlanWorker>,
    /// Owners of the batches.
    pub tenants: Vec<PlanTenant>,
    /// Live batches.
    pub batches: Vec<PlanBatch>,
}

/// Slots per worker and batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    // By worker id; shares by batch id, none of them 0.
    workers: Vec<(Uuid, Vec<(Uuid, u32)>)>,
}

impl Plan {
    /// The batches of one worker with the slots planned for each, at least 1, by batch id. Empty for an unknown worker.
    ///
    /// The slots may add up to more than the worker has (see the module); it then takes turns between the batches.
    pub fn share(&self, worker_id: Uuid) -> impl Iterator<Item = (Uuid, u32)> + '_ {
        let found = self.workers.binary_search_by_key(&worker_id, |(id, _)| *id).ok();
        found.and_then(|at| self.workers.get(at)).into_iter().flat_map(|(_, share)| share.iter().copied())
    }

    /// Every worker that has work, with its share, by worker id.
    pub fn workers(&self) -> impl Iterator<Item = (Uuid, &[(Uuid, u32)])> {
        self.workers.iter().map(|(id, share)| (*id, share.as_slice()))
    }
}

/// Makes the plan. Deterministic and total: any input gives a plan.
///
/// The cost is one step for a slot handed out and one, plus sorting, for a pair of worker and batch with slots.
pub fn plan(input: &PlanInput) -> Plan {
    compute(input).0
}

/// Steps taken, so that a test can bound them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    handed_out: u64,
    pairs: usize,
}

fn compute(input: &PlanInput) -> (Plan, Cost) {
    let mut workers: Vec<PlanWorker> = input.workers.iter().copied().filter(|w| w.slots > 0).collect();
    workers.sort_unstable_by_key(|w| w.id);
    for worker in &mut workers {
        worker.slots = worker.slots.min(MAX_WORKER_SLOTS);
    }
    let room: u64 = workers.iter().map(|w| u64::from(w.slots)).sum();
    if room == 0 {
        return (Plan::default(), Cost { handed_out: 0, pairs: 0 });
    }

    let room_for = |needs: Protocol| -> u64 {
        workers.iter().filter(|worker| worker.knows >= needs).map(|worker| u64::from(worker.slots)).sum()
    };
    let amounts = amounts(input, room, room_for);
    let planned: u64 = amounts.iter().map(|(_, slots)| u64::from(*slots)).sum();
    let loads = if planned <= room {
        workers.iter().map(|w| w.slots).collect()
    } else {
        hand_out(planned, workers.len(), |_| u32::MAX, |at, have| (Level::new(have, workers[at].slots), at))
    };
    let pairs = workers.len() * amounts.len();
    let needs: HashMap<Uuid, Protocol> = input.batches.iter().map(|batch| (batch.id, batch.needs)).collect();
    (place(&workers, loads, &amounts, &needs), Cost { handed_out: planned, pairs })
}

/// Slots for each batch that gets any, by batch id.
fn amounts(input: &PlanInput, room: u64, room_for: impl Fn(Protocol) -> u64) -> Vec<(Uuid, u32)> {
    // A batch cannot use more slots than those who know it have.
    let batches: Vec<PlanBatch> = input
        .batches
        .iter()
        .map(|batch| {
            let most = u32::try_from(room_for(batch.needs)).unwrap_or(u32::MAX);
            PlanBatch { max_workers: batch.max_workers.min(most), ..*batch }
        })
        .collect();
    let mut owned: HashMap<Uuid, Vec<&PlanBatch>> = HashMap::new();
    for batch in batches.iter().filter(|batch| batch.useful() > 0) {
        owned.entry(batch.tenant_id).or_default().push(batch);
    }
    let mut claims: Vec<(&PlanTenant, Vec<&PlanBatch>)> = input
        .tenants
        .iter()
        .filter_map(|tenant| owned.remove(&tenant.id).map(|batches| (tenant, batches)))
        .collect();
    claims.sort_unstable_by_key(|(tenant, _)| tenant.id);

    let useful = |(tenant, batches): &(&PlanTenant, Vec<&PlanBatch>)| {
        let all = batches.iter().map(|batch| u64::from(batch.useful())).sum::<u64>();
        u32::try_from(all).unwrap_or(u32::MAX).min(tenant.max_workers)
    };
    let shares = hand_out(
        room,
        claims.len(),
        |at| useful(&claims[at]),
        |at, have| (Level::new(have, claims[at].0.weight), at),
    );

    let mut amounts = Vec::new();
    for ((tenant, mut batches), share) in claims.into_iter().zip(shares) {
        batches.sort_unstable_by_key(|batch| (batch.priority, batch.id));
        // Nobody starves: one slot for each batch that the tenant's limit has room for, even beyond the fair share.
        let at_least = u32::try_from(batches.len()).unwrap_or(u32::MAX).min(tenant.max_workers);
        let slots = hand_out(
            u64::from(share.max(at_least)),
            batches.len(),
            |at| batches[at].useful(),
            |at, have| next_slot(batches[at], have, at),
        );
        let given = batches.iter().zip(slots).filter(|(_, slots)| *slots > 0);
        amounts.extend(given.map(|(batch, slots)| (batch.id, slots)));
    }
    amounts.sort_unstable();
    amounts
}

/// Where the next slot of a batch that has `have` stands among those of the tenant's other batches; smaller is served first.
/// `at` is the batch's place by priority and id.
fn next_slot(batch: &PlanBatch, have: u32, at: usize) -> (u8, i32, Level, usize) {
    let level = Level::new(have, batch.weight);
    if have == 0 {
        (0, batch.priority, level, at)
    } else if have < batch.initial_workers {
        (1, batch.priority, level, at)
    } else {
        (2, 0, level, at)
    }
}

/// Slots in relation to weight, compared exactly.
#[derive(Debug, Clone, Copy)]
struct Level {
    slots: u32,
    weight: u32,
}

impl Level {
    fn new(slots: u32, weight: u32) -> Self {
        Self { slots, weight: weight.max(1) }
    }
}

impl Ord for Level {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = u64::from(self.slots) * u64::from(other.weight);
        left.cmp(&(u64::from(other.slots) * u64::from(self.weight)))
    }
}
impl PartialOrd for Level {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Level {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Level {}

/// Hands out `total` units one at a time, each to the claimant whose `key(claimant, units it has)` is smallest among those
/// below their `cap`. A claimant's key must not fall as its units grow, and no two claimants may have equal keys.
fn hand_out<K: Ord>(
    total: u64,
    claimants: usize,
    cap: impl Fn(usize) -> u32,
    key: impl Fn(usize, u32) -> K,
) -> Vec<u32> {
    let mut given = vec![0_u32; claimants];
    let mut queue: BinaryHeap<Reverse<(K, usize)>> =
        (0..claimants).filter(|at| cap(*at) > 0).map(|at| Reverse((key(at, 0), at))).collect();
    for _ in 0..total {
        let Some(Reverse((_, at))) = queue.pop() else { break };
        given[at] += 1;
        if given[at] < cap(at) {
            queue.push(Reverse((key(at, given[at]), at)));
        }
    }
    given
}

/// Puts each batch's slots on workers. `loads` is the room of each worker; all of it together is enough for all `amounts`.
///
/// `needs` says what a worker must know for a batch.
fn place(
    workers: &[PlanWorker],
    mut loads: Vec<u32>,
    amounts: &[(Uuid, u32)],
    needs: &HashMap<Uuid, Protocol>,
) -> Plan {
    let worker_hashes: Vec<u64> = workers.iter().map(|worker| fold(worker.id)).collect();
    // Whether not every worker knows the batch; its hash with the worker's; the two.
    let mut ranked: Vec<(bool, u64, u32, u32)> = Vec::with_capacity(workers.len() * amounts.len());
    for (batch, (id, _)) in (0_u32..).zip(amounts) {
        let hash = fold(*id);
        let needed = needs.get(id).copied().unwrap_or(Protocol::Chunks);
        let first = workers.iter().any(|worker| worker.knows < needed);
        let knowing = (0_u32..).zip(workers.iter().zip(&worker_hashes));
        ranked.extend(
            knowing
                .filter(|(_, (worker, _))| worker.knows >= needed)
                .map(|(worker, (_, other))| (first, mix(hash ^ other), worker, batch)),
        );
    }
    ranked.sort_unstable_by_key(|pair| Reverse(*pair));

    let mut left: Vec<u32> = amounts.iter().map(|(_, slots)| *slots).collect();
    let mut open: u64 = left.iter().map(|slots| u64::from(*slots)).sum();
    let mut shares: Vec<Vec<(Uuid, u32)>> = vec![Vec::new(); workers.len()];
    // More slots of one batch than the worker has are of no use, so at first a pair is limited to that. Only on an
    // oversubscribed fleet can it be that the rest then finds no other room.
    for limited in [true, false] {
        for (_, _, worker, batch) in &ranked {
            if open == 0 {
                break;
            }
            let (worker, batch) = (*worker as usize, *batch as usize);
            let limit = if limited { workers[worker].slots } else { u32::MAX };
            let slots = left[batch].min(loads[worker]).min(limit);
            if slots > 0 {
                left[batch] -= slots;
                loads[worker] -= slots;
                open -= u64::from(slots);
                shares[worker].push((amounts[batch].0, slots));
            }
        }
    }

    // Those who know a batch may be full of others that they alone know.
    for (first, _, worker, batch) in &ranked {
        let (worker, batch) = (*worker as usize, *batch as usize);
        if *first && left[batch] == amounts[batch].1 {
            left[batch] -= 1;
            shares[worker].push((amounts[batch].0, 1));
        }
    }

    let mut plan = Plan::default();
    for (worker, mut share) in workers.iter().zip(shares) {
        share.sort_unstable();
        share.dedup_by(|later, first| {
            let same = later.0 == first.0;
            if same {
                first.1 += later.1;
            }
            same
        });
        if !share.is_empty() {
            plan.workers.push((worker.id, share));
        }
    }
    plan
}

/// The worker that waits on the lane of an idle batch, so that its first chunk does not wait for the next plan: the one that
/// the plan would give its first slot to. Idle batches have no slots, so this is no part of the plan.
pub fn standby(batch: &PlanBatch, workers: &[PlanWorker]) -> Option<Uuid> {
    let hash = fold(batch.id);
    let knowing = workers.iter().filter(|worker| worker.knows >= batch.needs);
    knowing.max_by_key(|worker| (mix(hash ^ fold(worker.id)), worker.id)).map(|worker| worker.id)
}

/// The batches that this worker takes one slot of beside the plan: idle ones whose [`standby`] it is, and those of which it holds
/// chunks (`here`) that came before the plan chose another worker. Without that slot these chunks would wait here for a share
/// that others have. A standby takes it where one more slot for each such batch stays within the limits of batch and tenant;
/// another worker where one more on every worker does, since it cannot know what the others hold.
pub fn standby_for(
    input: &PlanInput,
    planned: &Plan,
    worker_id: Uuid,
    here: impl Fn(Uuid) -> usize,
) -> Vec<Uuid> {
    let mut slots: HashMap<Uuid, u64> = HashMap::new();
    for (id, share) in planned.workers.iter().flat_map(|(_, shares)| shares) {
        *slots.entry(*id).or_default() += u64::from(*share);
    }
    // Slots of a tenant, and its batches that have work or may have some before the next plan.
    let mut owned: HashMap<Uuid, (u64, u64)> = HashMap::new();
    for batch in input.batches.iter().filter(|batch| batch.useful_limit() > 0) {
        let (planned, batches) = owned.entry(batch.tenant_id).or_default();
        *planned += slots.get(&batch.id).copied().unwrap_or(0);
        *batches += 1;
    }
    let limits: HashMap<Uuid, u32> =
        input.tenants.iter().map(|tenant| (tenant.id, tenant.max_workers)).collect();
    // Whether every batch of the tenant could have so many slots more.
    let has_room = |batch: &PlanBatch, more: u64| {
        let of_batch = slots.get(&batch.id).copied().unwrap_or(0) + more;
        let (planned, batches) = owned.get(&batch.tenant_id).copied().unwrap_or_default();
        of_batch <= u64::from(batch.useful_limit())
            && planned + batches * more <= limits.get(&batch.tenant_id).copied().map_or(0, u64::from)
    };
    let everywhere = input.workers.len() as u64;
    let mine: HashMap<Uuid, u32> = planned.share(worker_id).collect();
    input
        .batches
        .iter()
        .filter(|batch| {
            if batch.paused {
                return false;
            }
            let stands_by = standby(batch, &input.workers) == Some(worker_id);
            let holds = here(batch.id) > 0 && !mine.contains_key(&batch.id);
            (stands_by && batch.waiting == 0)
                || (holds && ((stands_by && has_room(batch, 1)) || has_room(batch, everywhere)))
        })
        .map(|batch| batch.id)
        .collect()
}

/// A hash of an id. Workers of different versions plan together, so the hash is fixed here and must never change.
fn fold(id: Uuid) -> u64 {
    let (high, low) = id.as_u64_pair();
    mix(mix(high).wrapping_add(low))
}

/// The finaliser of SplitMix64: every bit of the input changes every bit of the output with even odds.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
