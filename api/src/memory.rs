//! The budget of request bodies in memory: however many callers push at once, the process does not grow beyond it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The budget is counted in pieces of this many bytes.
const UNIT: usize = 1024;

/// Bytes that request bodies may take up together. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    units: Arc<Semaphore>,
    total: usize,
}

/// A part of the budget, given back when dropped.
#[derive(Debug)]
pub struct MemoryPermit {
    permit: OwnedSemaphorePermit,
}

impl MemoryBudget {
    /// A budget of this many bytes, rounded down to 1 KiB, at least 1 KiB.
    pub fn new(bytes: usize) -> Self {
        let total = (bytes / UNIT).clamp(1, u32::MAX as usize);
        Self { units: Arc::new(Semaphore::new(total)), total }
    }

    /// Takes `bytes` (never more than the whole budget), waiting for others in turn, up to `wait`.
    pub async fn reserve(&self, bytes: usize, wait: Duration) -> Option<MemoryPermit> {
        let acquire = self.units.clone().acquire_many_owned(self.units_for(bytes));
        let permit = tokio::time::timeout(wait, acquire).await.ok()?.ok()?;
        Some(MemoryPermit { permit })
    }

    /// Makes a permit larger by `bytes`, if that is free right now.
    pub fn grow(&self, permit: &mut MemoryPermit, bytes: usize) -> bool {
        match self.units.clone().try_acquire_many_owned(self.units_for(bytes)) {
            Ok(more) => {
                permit.permit.merge(more);
                true
            }
            Err(_) => false,
        }
    }

    /// Bytes that nobody holds.
    pub fn free_bytes(&self) -> usize {
        self.units.available_permits() * UNIT
    }

    /// Bytes that are held.
    pub fn used_bytes(&self) -> usize {
        (self.total - self.units.available_permits().min(self.total)) * UNIT
    }

    fn units_for(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT).min(self.total)).unwrap_or(u32::MAX)
    }
}

impl MemoryPermit {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.permit.num_permits() * UNIT
    }

    /// Gives back all but `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.permit.num_permits().saturating_sub(bytes.div_ceil(UNIT));
        drop(self.permit.split(surplus));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    const NO_WAIT: Duration = Duration::from_millis(10);

    #[tokio::test]
    async fn the_budget_is_never_exceeded_and_comes_back() {
        let budget = MemoryBudget::new(10 * UNIT);
        let mut first = budget.reserve(6 * UNIT, NO_WAIT).await.unwrap();
        assert!(budget.reserve(5 * UNIT, NO_WAIT).await.is_none());
        assert!(budget.grow(&mut first, 4 * UNIT));
        assert!(!budget.grow(&mut first, 1));
        assert_eq!((first.bytes(), budget.free_bytes()), (10 * UNIT, 0));
        first.shrink_to(UNIT + 1);
        assert_eq!((first.bytes(), budget.free_bytes(), budget.used_bytes()), (2 * UNIT, 8 * UNIT, 2 * UNIT));
        drop(first);
        assert_eq!(budget.free_bytes(), 10 * UNIT);
        // More than there is means all of it.
        assert!(budget.reserve(99 * UNIT, NO_WAIT).await.is_some());
    }
}
