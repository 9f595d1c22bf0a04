//! Who goes next where many share one thing: a transaction, a channel of the broker, a commit.
//!
//! Work is done in groups, because a group costs little more than one piece of work. But whoever is in a group waits for all of
//! it. So owners are kept apart by how much they have under way: those that ask for little (*light*) are never in one group
//! with those that ask for much (*heavy*), and whoever does the work keeps something free for the light ones. Within a class
//! the next piece is that of the owner with the least service so far (start-time fair queueing): owners that always have work
//! waiting get equal shares, whatever the size and number of their pieces, and nobody starves.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

/// How much an owner has waiting and under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// So little that it should not wait for others.
    Light,
    /// More than that.
    Heavy,
}

/// A piece of work that was taken; its owner is charged until it is given to [`FairQueue::ended`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge<K> {
    owner: K,
    cost: u64,
}

/// Pieces of work that wait, by owner.
#[derive(Debug)]
pub struct FairQueue<K, T> {
    owners: BTreeMap<K, Owner<T>>,
    /// An owner with more than this waiting and under way is heavy.
    light: u64,
    /// The service, at its start, of the piece that was taken last: whoever comes anew starts here.
    clock: u64,
    waiting: usize,
}

#[derive(Debug)]
struct Owner<T> {
    pieces: VecDeque<(u64, T)>,
    waiting: u64,
    under_way: u64,
    /// The service that it had, on the common clock.
    served: u64,
}

impl<K: Copy + Ord, T> FairQueue<K, T> {
    /// An empty queue; an owner is light as long as all that it has costs no more than `light`.
    pub const fn new(light: u64) -> Self {
        Self { owners: BTreeMap::new(), light, clock: 0, waiting: 0 }
    }

    /// Adds a piece of work behind the others of its owner. A cost of 0 counts as 1.
    pub fn push(&mut self, owner: K, cost: u64, piece: T) {
        let (clock, cost) = (self.clock, cost.max(1));
        let owner = self.owners.entry(owner).or_insert_with(|| Owner {
            pieces: VecDeque::new(),
            waiting: 0,
            under_way: 0,
            served: clock,
        });
        if owner.pieces.is_empty() {
            // Service that was not asked for is not saved up.
            owner.served = owner.served.max(clock);
        }
        owner.waiting = owner.waiting.saturating_add(cost);
        owner.pieces.push_back((cost, piece));
        self.waiting += 1;
    }

    /// Pieces that wait.
    pub const fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Pieces that wait, of owners of this class.
    pub fn len_of(&self, class: Class) -> usize {
        self.owners
            .values()
            .filter(|owner| owner.class(self.light) == class)
            .map(|owner| owner.pieces.len())
            .sum()
    }

    /// The next group of pieces of this class: it ends with the piece that makes its cost reach `limit`, or when nothing of
    /// the class waits. Give each charge to [`FairQueue::ended`] when its piece is done.
    pub fn take(&mut self, class: Class, limit: u64) -> Vec<(Charge<K>, T)> {
        let light = self.light;
        let mut next: BinaryHeap<Reverse<(u64, K)>> = self
            .owners
            .iter()
            .filter(|(_, owner)| !owner.pieces.is_empty() && owner.class(light) == class)
            .map(|(key, owner)| Reverse((owner.served, *key)))
            .collect();
        let (mut group, mut total) = (Vec::new(), 0_u64);
        while total < limit {
            let Some(Reverse((served, key))) = next.pop() else { break };
            let Some(owner) = self.owners.get_mut(&key) else { continue };
            let Some((cost, piece)) = owner.pieces.pop_front() else { continue };
            owner.waiting -= cost;
            owner.under_way = owner.under_way.saturating_add(cost);
            owner.served = served.saturating_add(cost);
            if !owner.pieces.is_empty() {
                next.push(Reverse((owner.served, key)));
            }
            self.waiting -= 1;
            self.clock = self.clock.max(served);
            total = total.saturating_add(cost);
            group.push((Charge { owner: key, cost }, piece));
        }
        if !group.is_empty() {
            self.forget_idle();
        }
        group
    }

    /// A piece that was taken is done, one way or another.
    pub fn ended(&mut self, charge: Charge<K>) {
        if let Some(owner) = self.owners.get_mut(&charge.owner) {
            owner.under_way = owner.under_way.saturating_sub(charge.cost);
        }
    }

    /// Forgets owners without work, once they are owed nothing and owe nothing.
    fn forget_idle(&mut self) {
        let clock = self.clock;
        self.owners
            .retain(|_, owner| !owner.pieces.is_empty() || owner.under_way > 0 || owner.served > clock);
    }
}

impl<T> Owner<T> {
    const fn class(&self, light: u64) -> Class {
        if self.waiting.saturating_add(self.under_way) <= light { Class::Light } else { Class::Heavy }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIGHT: u64 = 10;

    #[test]
    fn a_light_owner_does_not_wait_for_heavy_ones() {
        let mut queue = FairQueue::new(LIGHT);
        for number in 0..100 {
            queue.push('h', 7, number);
        }
        queue.push('l', 1, 100);
        queue.push('m', 1, 101);
        let group = queue.take(Class::Light, 50);
        assert_eq!(group.iter().map(|(_, piece)| *piece).collect::<Vec<_>>(), [100, 101]);
        assert_eq!(queue.take(Class::Heavy, 50).len(), 8);
        assert!(queue.take(Class::Light, 50).is_empty());
    }

    #[test]
    fn what_is_under_way_counts_until_it_ended() {
        let mut queue = FairQueue::new(LIGHT);
        queue.push('a', LIGHT, 1);
        let taken = queue.take(Class::Light, 50);
        queue.push('a', 1, 2);
        assert_eq!((queue.len_of(Class::Light), queue.len_of(Class::Heavy)), (0, 1));
        for (charge, _) in taken {
            queue.ended(charge);
        }
        assert_eq!((queue.len_of(Class::Light), queue.len_of(Class::Heavy)), (1, 0));
    }

    #[test]
    fn nobody_saves_service_up() {
        let mut queue = FairQueue::new(0);
        for number in 0..100 {
            queue.push('a', 1, number);
        }
        assert_eq!(queue.take(Class::Heavy, 50).len(), 50);
        for number in 0..100 {
            queue.push('b', 1, number);
        }
        let of_a = queue.take(Class::Heavy, 20).iter().filter(|(charge, _)| charge.owner == 'a').count();
        assert!((9..=11).contains(&of_a), "{of_a}");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(u8, u64),
        Take(bool, u64),
        End(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0_u8..5, 0_u64..15).prop_map(|(owner, cost)| Step::Push(owner, cost)),
            1 => (any::<bool>(), 1_u64..40).prop_map(|(light, limit)| Step::Take(light, limit)),
            1 => (0_usize..20).prop_map(Step::End),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #![proptest_config(crate::properties::config(512))]

        /// Each piece leaves once, an owner's in their order, in a group of the class that the owner has at that moment; a
        /// group takes all that there is of its class, unless it is full; and at the end nothing is remembered.
        #[test]
        fn pieces_leave_once_in_order_and_in_their_class(steps in steps()) {
            let mut queue = FairQueue::new(LIGHT);
            let (mut put, mut expected, mut under_way) = (0_u32, BTreeMap::<u8, VecDeque<u32>>::new(), Vec::new());
            let mut has = BTreeMap::<u8, u64>::new();
            for step in steps {
                match step {
                    Step::Push(owner, cost) => {
                        queue.push(owner, cost, put);
                        expected.entry(owner).or_default().push_back(put);
                        *has.entry(owner).or_default() += cost.max(1);
                        put += 1;
                    }
                    Step::Take(light, limit) => {
                        let class = if light { Class::Light } else { Class::Heavy };
                        let group = queue.take(class, limit);
                        let cost: u64 = group.iter().map(|(charge, _)| charge.cost).sum();
                        prop_assert!(cost >= limit || queue.len_of(class) == 0);
                        let but_the_last = cost - group.last().map_or(0, |(charge, _)| charge.cost);
                        prop_assert!(but_the_last < limit);
                        for (charge, piece) in group {
                            prop_assert_eq!(has[&charge.owner] <= LIGHT, light);
                            prop_assert_eq!(expected.get_mut(&charge.owner).and_then(VecDeque::pop_front), Some(piece));
                            under_way.push(charge);
                        }
                    }
                    Step::End(at) if at < under_way.len() => {
                        let charge = under_way.swap_remove(at);
                        *has.entry(charge.owner).or_default() -= charge.cost;
                        queue.ended(charge);
                    }
                    Step::End(_) => {}
                }
                prop_assert_eq!(queue.len(), expected.values().map(VecDeque::len).sum::<usize>());
                prop_assert_eq!(queue.is_empty(), expected.values().all(VecDeque::is_empty));
                prop_assert_eq!(queue.len(), queue.len_of(Class::Light) + queue.len_of(Class::Heavy));
            }
        }

        /// Owners that always have work waiting are served alike, to within two pieces.
        #[test]
        fn owners_with_work_get_equal_shares(
            costs in prop::collection::vec(1_u64..30, 2..6),
            limits in prop::collection::vec(1_u64..100, 1..60),
        ) {
            let mut queue = FairQueue::new(0);
            let total: u64 = limits.iter().sum();
            for (owner, cost) in costs.iter().enumerate() {
                for piece in 0..=(total + 30 * limits.len() as u64) / cost {
                    queue.push(owner, *cost, piece);
                }
            }
            let mut served = vec![0_u64; costs.len()];
            for limit in limits {
                for (charge, _) in queue.take(Class::Heavy, limit) {
                    served[charge.owner] += charge.cost;
                }
            }
            for (one, other) in (0..costs.len()).flat_map(|one| (0..one).map(move |other| (one, other))) {
                prop_assert!(
                    served[one].abs_diff(served[other]) <= costs[one] + costs[other],
                    "{:?} of {:?}", served, costs
                );
            }
        }
    }
}
