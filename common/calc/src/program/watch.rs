//! The time that a run may take: looked at now and then inside of it, since one block of a large program may take minutes.

use std::time::Instant;

/// Steps between two looks at the clock; those that may take long are looked at one by one.
pub(super) const STEPS: usize = 64;

/// A deadline and whether it is over. It never influences results: a run whose time is over has none.
#[derive(Debug, Default)]
pub(super) struct Watch {
    deadline: Option<Instant>,
    over: bool,
}

impl Watch {
    /// For the next run.
    pub fn start(&mut self, deadline: Option<Instant>) {
        *self = Self { deadline, over: false };
    }

    /// Looks at the clock, unless there is nothing to look for.
    pub fn look(&mut self) -> bool {
        if !self.over
            && let Some(deadline) = self.deadline
        {
            self.over = Instant::now() >= deadline;
        }
        self.over
    }

    /// What the last look said.
    pub const fn is_over(&self) -> bool {
        self.over
    }
}
