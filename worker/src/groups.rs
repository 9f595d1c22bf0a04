//! Which finished chunks are stored together, and when.
//!
//! Batches with much to store and batches with little are never in one group, and one commit is kept free for the latter. So
//! the result of a small batch waits neither in the transaction of a large one nor behind it.

use millrace_common::model::{Charge, Class, FairQueue};
use uuid::Uuid;

/// From this many chunks on, a group is a sign of load, and the next one waits a little for company.
const BUSY_GROUP: usize = 4;
/// A chunk counts as one more chunk of its group for each so many bytes of its result, which bounds a transaction in bytes.
const BYTES: usize = 16 * 1024;
/// A batch is light while no more than this of it, counted like that, waits and is being stored.
const LIGHT: u64 = 16;
/// So many full groups may wait; then evaluation waits.
const WAITING: usize = 4;

/// Finished chunks that wait to be stored. `T` is such a chunk; the rules do not depend on what that is.
#[derive(Debug)]
pub struct Groups<T> {
    waiting: FairQueue<Uuid, T>,
    /// Chunks of a full group.
    limit: usize,
    /// Commits at once, beside the one that is kept free for light batches.
    commits: usize,
    light: usize,
    heavy: usize,
    /// The last group of heavy batches was a sign of load.
    busy: bool,
    /// The next one has waited for company.
    gathered: bool,
}

/// Chunks that are stored in one transaction.
#[derive(Debug)]
pub struct Group<T> {
    /// The chunks.
    pub chunks: Vec<T>,
    /// To be given to [`Groups::ended`] afterwards.
    pub ticket: Ticket,
}

/// A commit under way.
#[derive(Debug)]
pub struct Ticket {
    class: Class,
    charges: Vec<Charge<Uuid>>,
}

impl<T> Groups<T> {
    /// Nothing waits. At most `limit` chunks (1 at least) are in a group, and `commits` groups (1 at least) under way, and one
    /// more of light batches.
    pub fn new(limit: usize, commits: usize) -> Self {
        Self {
            waiting: FairQueue::new(LIGHT),
            limit: limit.max(1),
            commits: commits.max(1),
            light: 0,
            heavy: 0,
            busy: false,
            gathered: false,
        }
    }

    /// How many more chunks may wait.
    pub fn room(&self) -> usize {
        (WAITING * self.limit).saturating_sub(self.waiting.len())
    }

    /// Adds a chunk with a result of this many bytes.
    pub fn add(&mut self, batch_id: Uuid, bytes: usize, chunk: T) {
        self.waiting.push(batch_id, 1 + (bytes / BYTES) as u64, chunk);
    }

    /// The next group to store now, if there is one. With `hurry` none waits for company.
    pub fn next(&mut self, hurry: bool) -> Option<Group<T>> {
        if self.light == 0 || self.light + self.heavy < self.commits {
            let group = self.take(Class::Light);
            if group.is_some() {
                self.light += 1;
                return group;
            }
        }
        if !self.heavy_may_start() || (self.gathers() && !hurry) {
            return None;
        }
        let group = self.take(Class::Heavy)?;
        self.heavy += 1;
        self.busy = group.chunks.len() >= BUSY_GROUP;
        self.gathered = false;
        Some(group)
    }

    const fn heavy_may_start(&self) -> bool {
        self.heavy < self.commits && self.light + self.heavy <= self.commits
    }

    fn take(&mut self, class: Class) -> Option<Group<T>> {
        let (charges, chunks): (Vec<_>, Vec<_>) =
            self.waiting.take(class, self.limit as u64).into_iter().unzip();
        (!chunks.is_empty()).then_some(Group { chunks, ticket: Ticket { class, charges } })
    }

    /// Whether a group could be stored now, but waits a little for company. After a while say [`Groups::gathered`].
    pub fn gathers(&self) -> bool {
        self.busy
            && !self.gathered
            && self.heavy_may_start()
            && (1..self.limit).contains(&self.waiting.len_of(Class::Heavy))
    }

    /// The group that waits for company has waited long enough.
    pub fn gathered(&mut self) {
        self.gathered = true;
    }

    /// A commit has ended, one way or another.
    pub fn ended(&mut self, ticket: Ticket) {
        match ticket.class {
            Class::Light => self.light -= 1,
            Class::Heavy => self.heavy -= 1,
        }
        for charge in ticket.charges {
            self.waiting.ended(charge);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn batch(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    /// Groups of at most 100 chunks, two at once, with so many chunks of batch 1.
    fn flooded(chunks: usize) -> Groups<usize> {
        let mut groups = Groups::new(100, 2);
        (0..chunks).for_each(|chunk| groups.add(batch(1), 10, chunk));
        groups
    }

    #[test]
    fn a_light_batch_is_stored_at_once_beside_a_flood() {
        let mut groups = flooded(350);
        let (one, two) = (groups.next(true).unwrap(), groups.next(true).unwrap());
        assert_eq!((one.chunks.len(), two.chunks.len()), (100, 100));
        assert!(groups.next(true).is_none());
        groups.add(batch(2), 10, 1_000);
        groups.add(batch(3), 10, 1_001);
        let light = groups.next(false).unwrap();
        assert_eq!(light.chunks, [1_000, 1_001]);
        groups.add(batch(2), 10, 1_002);
        assert!(groups.next(true).is_none(), "light batches have one commit while all others are taken");
        groups.ended(light.ticket);
        assert_eq!(groups.next(true).unwrap().chunks, [1_002]);
        groups.ended(one.ticket);
        assert_eq!(groups.next(true).unwrap().chunks.len(), 100);
    }

    #[test]
    fn a_group_after_a_busy_one_waits_for_company_until_it_is_full_or_gathered() {
        let mut groups = flooded(100);
        let first = groups.next(false).unwrap();
        (0..50).for_each(|chunk| groups.add(batch(1), 10, chunk));
        assert!(groups.gathers() && groups.next(false).is_none());
        groups.gathered();
        assert_eq!(groups.next(false).unwrap().chunks.len(), 50);
        groups.ended(first.ticket);
        (0..100).for_each(|chunk| groups.add(batch(1), 10, chunk));
        assert!(!groups.gathers());
        assert_eq!(groups.next(false).unwrap().chunks.len(), 100);
    }

    #[test]
    fn large_results_make_small_groups() {
        let mut groups = Groups::new(100, 1);
        (0..100).for_each(|chunk| groups.add(batch(1), 50 * BYTES, chunk));
        assert_eq!(groups.next(false).unwrap().chunks.len(), 2);
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        /// Whatever comes when: each chunk is stored once, never are more commits under way than allowed, there is always one
        /// for a light batch, and no order of events leaves something behind.
        #[test]
        fn every_chunk_is_stored_once_within_the_limits(
            events in prop::collection::vec((0_u8..4, 1_u128..5, 0_usize..40_000), 1..300),
            limit in 1_usize..20,
            commits in 1_usize..4,
        ) {
            let mut groups = Groups::new(limit, commits);
            let (mut put, mut stored, mut under_way) = (0_usize, BTreeSet::new(), Vec::new());
            for (event, number, bytes) in events {
                match event {
                    0 | 1 => {
                        if groups.room() > 0 {
                            groups.add(batch(number), bytes, put);
                            put += 1;
                        }
                    }
                    2 => if let Some(group) = groups.next(bytes % 2 == 0) {
                        prop_assert!((1..=limit).contains(&group.chunks.len()));
                        for chunk in group.chunks {
                            prop_assert!(stored.insert(chunk));
                        }
                        under_way.push(group.ticket);
                    },
                    _ => if !under_way.is_empty() {
                        groups.ended(under_way.swap_remove(bytes % under_way.len()));
                    },
                }
                prop_assert!(under_way.len() <= commits + 1 && groups.heavy <= commits);
                prop_assert_eq!(groups.light + groups.heavy, under_way.len());
            }
            loop {
                while let Some(group) = groups.next(true) {
                    stored.extend(group.chunks);
                    under_way.push(group.ticket);
                }
                let Some(ticket) = under_way.pop() else { break };
                groups.ended(ticket);
            }
            prop_assert_eq!(stored.len(), put);
            prop_assert_eq!(groups.room(), WAITING * limit);
        }
    }
}
