//! Chunks under suspicion run alone.
//!
//! A chunk that kills its worker takes those down that are evaluated beside it. The database counts a start for each of them,
//! and cannot tell the culprit. So a chunk that was started before and never finished is evaluated while nothing else of this
//! worker is started or waits for its commit: the culprit dies alone, and an innocent one gets its result.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Counted starts after which a chunk runs alone. The first counted start is no sign of guilt: after a lost connection the
/// broker marks everything that was prefetched as redelivered, started or not.
const SUSPECT_FROM: u32 = 2;

/// Whether a chunk whose next start is number `attempt` runs alone: before its last attempt at the latest.
pub fn is_suspect(attempt: u32, max_attempts: u32) -> bool {
    attempt >= SUSPECT_FROM.min(max_attempts)
}

/// Who is between the start of a chunk and its acknowledgement.
#[derive(Debug, Default)]
pub struct Quarantine {
    // First come, first served: who waits to be alone is not overtaken by those who come later.
    chunks: Arc<RwLock<()>>,
}

/// A started chunk; it ends when this is dropped, after the commit.
#[derive(Debug)]
pub struct Presence {
    _held: Held,
}

#[derive(Debug)]
#[expect(dead_code, reason = "the guards are held, never read")]
enum Held {
    Together(OwnedRwLockReadGuard<()>),
    Alone(OwnedRwLockWriteGuard<()>),
}

impl Quarantine {
    /// Starts a chunk beside others, without waiting; `None` while a suspect runs or waits.
    pub fn try_together(&self) -> Option<Presence> {
        let held = Arc::clone(&self.chunks).try_read_owned().ok()?;
        Some(Presence { _held: Held::Together(held) })
    }

    /// Starts a chunk beside others, after the suspects that came before it.
    pub async fn together(&self) -> Presence {
        Presence { _held: Held::Together(Arc::clone(&self.chunks).read_owned().await) }
    }

    /// Starts a suspect, once everything that was started is committed.
    pub async fn alone(&self) -> Presence {
        Presence { _held: Held::Alone(Arc::clone(&self.chunks).write_owned().await) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn the_last_attempt_is_always_alone() {
        for max in 1..10 {
            assert!(is_suspect(max, max), "{max}");
        }
        assert!(!is_suspect(1, 3));
        assert!(is_suspect(2, 3));
    }

    #[test]
    fn a_suspect_waits_for_the_others_and_is_not_overtaken() {
        let quarantine = Quarantine::default();
        let mut context = Context::from_waker(Waker::noop());
        let (one, two) = (quarantine.try_together().unwrap(), quarantine.try_together().unwrap());
        let mut suspect = pin!(quarantine.alone());
        assert!(suspect.as_mut().poll(&mut context).is_pending());
        assert!(quarantine.try_together().is_none());
        let mut later = pin!(quarantine.together());
        assert!(later.as_mut().poll(&mut context).is_pending());
        drop(one);
        assert!(suspect.as_mut().poll(&mut context).is_pending());
        drop(two);
        let Poll::Ready(alone) = suspect.as_mut().poll(&mut context) else { panic!("it is alone") };
        assert!(later.as_mut().poll(&mut context).is_pending());
        drop(alone);
        assert!(later.as_mut().poll(&mut context).is_ready());
    }
}
