//! Failpoints: named places where a process built for the fault suite can be made to die, freeze or dawdle.
//!
//! They exist only with the feature `test-failpoints`; without it every function here is empty, and `MILLRACE_FAILPOINTS` is an
//! unknown variable that a process refuses at its start. With it, nothing happens until the variable names a point:
//!
//! ```text
//! MILLRACE_FAILPOINTS='commit.stored=kill;evaluate(c7)=stop@2'
//! ```
//!
//! A rule is `point=action` or `point(detail)=action`; the action is `kill` (SIGKILL for the own process), `stop` (SIGSTOP) or
//! `sleep:MS` (of the thread that came by). `@n` means the n-th time that a process comes by, and every time without it.
//!
//! | point | where | detail |
//! | --- | --- | --- |
//! | `create.stored` | a batch is stored, its lane not declared | |
//! | `push.inserted` | chunk rows are inserted, not committed | |
//! | `push.admitted` | they are committed, nothing is published | |
//! | `push.written` | a message is written to the broker, its confirm is awaited | chunk id |
//! | `push.confirmed` | all confirms are in, nothing is marked | |
//! | `push.marked` | chunks are marked as queued, not committed | |
//! | `push.queued` | that is committed, the caller has no answer | |
//! | `attempt.counted` | a start after a redelivery is counted, not committed | |
//! | `evaluate` | a chunk is about to be evaluated | chunk id |
//! | `commit.begin` | chunks are evaluated, nothing is stored | |
//! | `commit.inserted` | results are inserted, not committed | |
//! | `commit.stored` | results are committed, nothing is acknowledged | |
//! | `commit.acked` | acknowledgements are on their way, the batch is not settled | |
//! | `dead.returned` | a dead letter is back on its lane and still a dead letter | chunk id |
//! | `pull.marked` | results are marked as pulled, not committed | |
//! | `pull.acknowledged` | results are freed by a cursor, not committed | |
//! | `pull.claimed` | that is committed, the caller has no answer | |
//! | `redrive.pushed` | a portion of a redrive is queued, that is not noted | |
//! | `creation.commit` | a page of recipes is written, not committed | |
//! | `single.commit` | a recipe or a job that was asked for is written, not committed | |
//! | `requests.commit` | a bit of a cancel or a requeue is written, not committed | |
//! | `recipes.lease`, `recipes.free`, `recipes.split` | the same for a lane that is leased or freed, and a bundle that is split | |
//! | `bundles.publish` | bundles are committed, nothing is published | |
//! | `bundles.evaluate` | a bundle is about to be evaluated | |
//! | `bundles.job` | the same, for each of its jobs | job id |
//! | `bundles.start` | its jobs are written as RUNNING, not committed | |
//! | `bundles.begin` | bundles are evaluated, nothing is stored | |
//! | `bundles.commit` | what became of their jobs is written, not committed | |
//! | `bundles.committed` | that is committed and the next bundles published, nothing is acknowledged | |

#[cfg(feature = "test-failpoints")]
mod armed;
#[cfg(feature = "test-failpoints")]
pub use armed::{Unreadable, VARIABLE, arm, is_armed, reach};

/// Whether a rule names this point: a place that costs something to watch asks first.
#[cfg(not(feature = "test-failpoints"))]
#[inline]
pub const fn is_armed(_point: &str) -> bool {
    false
}

/// Says that the process has come to this point, with a detail that rules can name.
#[cfg(not(feature = "test-failpoints"))]
#[inline]
pub const fn reach(_point: &str, _detail: &str) {}
