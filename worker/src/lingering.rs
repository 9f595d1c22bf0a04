//! Lanes that are consumed a little longer than the plan says.
//!
//! Where many batches have little to do each, the plan changes its mind about them all the time: a batch with a chunk has a share, and
//! a moment later it has none, or others need the slot. Whoever stops to consume a lane gives back what was on its way, which then
//! comes again, is counted as a repetition, and costs its batch two transactions a chunk; meanwhile nobody may consume the lane at all.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

/// A lane is consumed for so long after the plan gave its batch a share here.
const LINGERS: Duration = Duration::from_secs(10);

/// When the plan last gave batches a share here.
#[derive(Debug, Default)]
pub struct Lingering {
    last: BTreeMap<Uuid, Instant>,
}

impl Lingering {
    /// The batches whose lanes are consumed, with their slots: those of `planned`, and with one slot each those that were among them
    /// a short time ago, as far as one slot more is within the limits of batch and tenant (`may_have_one`).
    pub fn consumed(
        &mut self,
        now: Instant,
        planned: &BTreeMap<Uuid, u32>,
        may_have_one: impl Fn(Uuid) -> bool,
    ) -> BTreeMap<Uuid, u32> {
        self.last.extend(planned.keys().map(|id| (*id, now)));
        self.last.retain(|id, last| {
            planned.contains_key(id) || (now.duration_since(*last) < LINGERS && may_have_one(*id))
        });
        self.last.keys().map(|id| (*id, planned.get(id).copied().unwrap_or(1))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    #[test]
    fn a_lane_is_consumed_for_a_while_after_its_share_went() {
        let (mut lingering, start) = (Lingering::default(), Instant::now());
        let both = BTreeMap::from([(BATCH, 3), (OTHER, 1)]);
        assert_eq!(lingering.consumed(start, &both, |_| true), both);
        let other = BTreeMap::from([(OTHER, 2)]);
        let soon = start + LINGERS / 2;
        assert_eq!(lingering.consumed(soon, &other, |_| true), BTreeMap::from([(BATCH, 1), (OTHER, 2)]));
        let later = start + LINGERS;
        assert_eq!(lingering.consumed(later, &BTreeMap::new(), |_| true), BTreeMap::from([(OTHER, 1)]));
        assert_eq!(lingering.consumed(soon + LINGERS, &BTreeMap::new(), |_| true), BTreeMap::new());
    }

    #[test]
    fn a_lane_whose_batch_may_have_no_more_slots_is_left_at_once() {
        let (mut lingering, start) = (Lingering::default(), Instant::now());
        lingering.consumed(start, &BTreeMap::from([(BATCH, 1), (OTHER, 1)]), |_| false);
        let kept = lingering.consumed(start, &BTreeMap::new(), |id| id == OTHER);
        assert_eq!(kept, BTreeMap::from([(OTHER, 1)]));
        assert_eq!(
            lingering.consumed(start, &BTreeMap::new(), |_| true),
            kept,
            "what was left does not come back"
        );
    }
}
