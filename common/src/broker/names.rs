//! Names of queues and exchanges.

use std::fmt;

/// A lane: a durable queue from the pool, leased to one live batch at a time. Lanes are numbered from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub i32);

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.0)
    }
}

/// The names below one installation's prefix.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The queue of a lane, `{prefix}.lane.0001`.
    pub(super) fn lane(&self, lane: LaneId) -> String {
        format!("{}.lane.{lane}", self.prefix)
    }

    /// What the names of all lanes' queues begin with.
    pub(super) fn lane_prefix(&self) -> String {
        format!("{}.lane.", self.prefix)
    }

    /// The dead-letter queue of all lanes.
    pub(super) fn dead(&self) -> String {
        format!("{}.dead", self.prefix)
    }

    /// The fanout exchange of control events.
    pub(super) fn control(&self) -> String {
        format!("{}.control", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_prefix_and_four_digits() {
        let names = Names::new("millrace");
        assert_eq!(names.lane(LaneId(7)), "millrace.lane.0007");
        assert_eq!(names.lane(LaneId(12345)), "millrace.lane.12345");
        assert_eq!((names.dead().as_str(), names.control().as_str()), ("millrace.dead", "millrace.control"));
    }
}
