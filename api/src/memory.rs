//! The budget of bodies in memory: however many callers push or pull at once, the process does not grow beyond it. A part of it
//! is kept for small bodies, so that these do not wait while large ones take up all the rest.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The budget is counted in pieces of this many bytes.
const UNIT: usize = 1024;

/// Bodies up to this size, in bytes, are small.
const SMALL: usize = 256 * 1024;

/// The part of the budget that is kept for small bodies: one in so many bytes.
const SMALL_PART: usize = 8;

/// Bytes that bodies may take up together. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    general: Arc<Semaphore>,
    small: Arc<Semaphore>,
    /// Units of `general`: the most that one body can have.
    most: usize,
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
        Self::with_room_for(0, bytes)
    }

    /// A budget of which no more is kept for small bodies than leaves room for one of `largest` bytes.
    pub fn with_room_for(largest: usize, bytes: usize) -> Self {
        let total = (bytes / UNIT).clamp(1, u32::MAX as usize);
        let small = (total / SMALL_PART).min(total.saturating_sub(largest.div_ceil(UNIT)));
        Self {
            general: Arc::new(Semaphore::new(total - small)),
            small: Arc::new(Semaphore::new(small)),
            most: total - small,
            total,
        }
    }

    /// Takes `bytes` (never more than what is not kept for small bodies), waiting for others in turn, up to `wait`.
    pub async fn reserve(&self, bytes: usize, wait: Duration) -> Option<MemoryPermit> {
        let units = self.units_for(bytes);
        if bytes <= SMALL
            && let Ok(permit) = Arc::clone(&self.small).try_acquire_many_owned(units)
        {
            return Some(MemoryPermit { permit });
        }
        let acquire = Arc::clone(&self.general).acquire_many_owned(units);
        let permit = tokio::time::timeout(wait, acquire).await.ok()?.ok()?;
        Some(MemoryPermit { permit })
    }

    /// Makes a permit larger by `bytes`, if that is free right now.
    pub fn grow(&self, permit: &mut MemoryPermit, bytes: usize) -> bool {
        let held = permit.permit.num_permits();
        let small = Arc::ptr_eq(permit.permit.semaphore(), &self.small);
        let same = if small { &self.small } else { &self.general };
        if (!small || (held * UNIT).saturating_add(bytes) <= SMALL)
            && let Ok(more) = Arc::clone(same).try_acquire_many_owned(self.units_for(bytes))
        {
            permit.permit.merge(more);
            return true;
        }
        if !small {
            return false;
        }
        // It is small no more.
        let units = self.units_for((held * UNIT).saturating_add(bytes));
        match Arc::clone(&self.general).try_acquire_many_owned(units) {
            Ok(whole) => {
                permit.permit = whole;
                true
            }
            Err(_) => false,
        }
    }

    /// Bytes that a large body could have now.
    pub fn free_for_large(&self) -> usize {
        self.general.available_permits() * UNIT
    }

    /// Bytes that nobody holds.
    pub fn free_bytes(&self) -> usize {
        (self.general.available_permits() + self.small.available_permits()) * UNIT
    }

    /// Bytes that are held.
    pub fn used_bytes(&self) -> usize {
        (self.total * UNIT).saturating_sub(self.free_bytes())
    }

    fn units_for(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT).min(self.most)).unwrap_or(u32::MAX)
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
        let budget = MemoryBudget::with_room_for(10 * UNIT, 10 * UNIT);
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

    #[tokio::test]
    async fn small_bodies_do_not_wait_for_large_ones() {
        let budget = MemoryBudget::new(8 * SMALL);
        let large = budget.reserve(usize::MAX, NO_WAIT).await.unwrap();
        assert_eq!((large.bytes(), budget.free_for_large()), (7 * SMALL, 0));
        assert!(budget.reserve(SMALL + 1, NO_WAIT).await.is_none());
        let mut small = budget.reserve(10 * UNIT, NO_WAIT).await.unwrap();
        assert!(budget.grow(&mut small, 10 * UNIT));
        assert!(!budget.grow(&mut small, SMALL), "what grows beyond small is one of the large");
        assert_eq!(budget.used_bytes(), 7 * SMALL + 20 * UNIT);
        drop(large);
        assert!(budget.grow(&mut small, SMALL));
        assert_eq!((small.bytes(), budget.used_bytes()), (SMALL + 20 * UNIT, SMALL + 20 * UNIT));
        drop(small);
        assert_eq!(budget.used_bytes(), 0);
        assert!(budget.reserve(SMALL, NO_WAIT).await.is_some());
    }
}
