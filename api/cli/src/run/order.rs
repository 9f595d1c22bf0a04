//! Which chunk's rows may be written now: results come in completion order, the output is in input order.

use std::collections::BTreeMap;

/// Keeps what came before its turn. `T` says where it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order<T> {
    next: u64,
    waiting: BTreeMap<u64, T>,
}

/// What to do with a chunk that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is its turn: write it, then take [`Order::next_waiting`] until there is none.
    Now,
    /// It must wait: keep it, and tell [`Order::wait`] where.
    Later,
}

impl<T> Order<T> {
    /// `next` is the first chunk that was not written yet.
    pub const fn from(next: u64) -> Self {
        Self { next, waiting: BTreeMap::new() }
    }

    /// A chunk came that was not seen before. After [`Turn::Now`] its successor is next.
    pub const fn turn(&mut self, index: u64) -> Turn {
        if index == self.next {
            self.next += 1;
            Turn::Now
        } else {
            Turn::Later
        }
    }

    /// Keeps a chunk until its turn.
    pub fn wait(&mut self, index: u64, place: T) {
        self.waiting.insert(index, place);
    }

    /// The chunk whose turn it is, if it waits.
    pub fn next_waiting(&mut self) -> Option<(u64, T)> {
        let place = self.waiting.remove(&self.next)?;
        let index = self.next;
        self.next += 1;
        Some((index, place))
    }

    /// Whether nothing waits.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn every_order_of_arrival_leaves_in_order(arrivals in (0_u64..200).prop_flat_map(|n| Just((0..n).collect::<Vec<_>>()).prop_shuffle())) {
            let mut order = Order::from(0);
            let mut written = Vec::new();
            for index in &arrivals {
                match order.turn(*index) {
                    Turn::Now => {
                        written.push(*index);
                        while let Some((index, place)) = order.next_waiting() {
                            prop_assert_eq!(index, place);
                            written.push(index);
                        }
                    }
                    Turn::Later => order.wait(*index, *index),
                }
            }
            prop_assert!(order.is_idle());
            prop_assert_eq!(written, (0..arrivals.len() as u64).collect::<Vec<_>>());
        }
    }
}
