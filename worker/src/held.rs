//! How many deliveries of a batch this worker holds: those that wait, those being evaluated, and those whose commit is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts the deliveries of one batch. Cloning gives the same counter.
#[derive(Debug, Clone, Default)]
pub struct HeldCount(Arc<AtomicU32>);

impl HeldCount {
    /// Counts one more, until what is returned is dropped.
    pub fn hold(&self) -> Held {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(Some(self.clone()))
    }

    /// How many are held.
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One delivery, counted while this lives: to be dropped when the delivery is settled.
#[derive(Debug, Default)]
pub struct Held(Option<HeldCount>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_counts_until_it_is_dropped() {
        let count = HeldCount::default();
        let (one, two) = (count.hold(), count.clone().hold());
        assert_eq!(count.get(), 2);
        drop(one);
        drop(Held::default());
        assert_eq!(count.get(), 1);
        drop(two);
        assert_eq!(count.get(), 0);
    }
}
