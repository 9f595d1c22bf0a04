//! What a worker knows: workers of several releases share a fleet while it is upgraded.

/// Kinds of work, in the order in which workers learnt them. A worker says in its heartbeat which is the newest that it knows,
/// and the plan gives it nothing newer.
///
/// A release that has workers do something new for which an older one would be a dead end adds a variant, and never changes
/// an old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Chunks of batches. Workers of before this was said know these.
    Chunks,
    /// Bundles of jobs of recipes.
    Bundles,
}

impl Protocol {
    /// The newest that this release knows.
    pub const CURRENT: Self = Self::Bundles;

    /// Its number in heartbeats.
    pub const fn number(self) -> i32 {
        match self {
            Self::Chunks => 1,
            Self::Bundles => 2,
        }
    }

    /// What a heartbeat says: nothing is a worker of before, a number above [`Protocol::CURRENT`] one of a later release, which
    /// knows everything that this one does.
    pub fn announced(number: Option<i32>) -> Self {
        match number {
            Some(number) if number >= Self::Bundles.number() => Self::Bundles,
            _ => Self::Chunks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_workers_know_what_this_release_does_and_silent_ones_chunks_alone() {
        assert_eq!(Protocol::announced(None), Protocol::Chunks);
        assert_eq!(Protocol::announced(Some(1)), Protocol::Chunks);
        assert_eq!(Protocol::announced(Some(2)), Protocol::Bundles);
        assert_eq!(Protocol::announced(Some(99)), Protocol::CURRENT);
        assert_eq!(Protocol::announced(Some(Protocol::CURRENT.number())), Protocol::CURRENT);
    }
}
