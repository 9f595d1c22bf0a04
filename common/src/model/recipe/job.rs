//! The life of a job (contract 6.1): one state machine. Every writer goes through it, or through SQL that is
//! conditional on the same states.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};

use super::life::TransitionActor;

/// A job's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobStatus {
    /// Created; waits for what goes before it.
    Pending,
    /// Something before it failed or was canceled.
    Blocked,
    /// Waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// Ended with an error.
    Failed,
    /// Ended with an output. Never changes again.
    Completed,
    /// Canceled by somebody, or its input was invalid.
    Canceled,
}

impl JobStatus {
    /// Every status, in the order in which counters are listed.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Blocked,
        Self::Queued,
        Self::Running,
        Self::Failed,
        Self::Completed,
        Self::Canceled,
    ];

    /// The name in answers and in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Blocked => "BLOCKED",
            Self::Queued => "QUEUED",
            Self::Running => "RUNNING",
            Self::Failed => "FAILED",
            Self::Completed => "COMPLETED",
            Self::Canceled => "CANCELED",
        }
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no job status"))
    }
}

/// What of a job decides on its transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Its status.
    pub status: JobStatus,
    /// How many executions there were, the current one included; 0 for a job that was never queued.
    pub num_exes: i32,
    /// How many there may be before it fails for good.
    pub max_tries: i32,
    /// Whether a newer job does its work: it is never queued again.
    pub superseded: bool,
    /// When the status changed last.
    pub last_status_change: DateTime<Utc>,
}

/// What can happen to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEvent {
    /// Something before it blocks.
    Block,
    /// Nothing before it blocks any more.
    Release,
    /// Everything before it is ready, and its input is valid.
    Queue,
    /// Everything before it is ready, and its input is invalid. Inputs are put together where they are evaluated, so that is
    /// mostly found when the job is queued already.
    RefuseInput {
        /// The execution that it was for; 0 for a job that was never queued.
        exe_num: i32,
    },
    /// A worker begins.
    Start {
        /// The execution that begins.
        exe_num: i32,
    },
    /// A worker is done.
    Succeed {
        /// The execution that ended.
        exe_num: i32,
    },
    /// A worker failed, or is gone.
    Fail {
        /// The execution that ended.
        exe_num: i32,
        /// Whether another try can help: a SYSTEM error (contract 6.1). ALGORITHM and DATA errors, an evaluation's
        /// timeout and a missing output cannot be helped.
        retryable: bool,
    },
    /// It is canceled.
    Cancel,
    /// It is to run again.
    Requeue {
        /// How many tries its job type allows from here.
        max_tries: i32,
    },
}

impl JobEvent {
    /// Who may make it.
    pub const fn actors(self) -> &'static [TransitionActor] {
        use TransitionActor as A;
        match self {
            Self::Block | Self::Release | Self::Queue => &[A::Recipe],
            Self::RefuseInput { .. } => &[A::Recipe, A::Worker],
            Self::Start { .. } | Self::Succeed { .. } => &[A::Worker],
            Self::Fail { .. } => &[A::Worker, A::Reaper],
            Self::Cancel => &[A::Caller, A::Creation],
            Self::Requeue { .. } => &[A::Caller],
        }
    }

    const fn exe_num(self) -> Option<i32> {
        match self {
            Self::RefuseInput { exe_num }
            | Self::Start { exe_num }
            | Self::Succeed { exe_num }
            | Self::Fail { exe_num, .. } => Some(exe_num),
            _ => None,
        }
    }
}

/// What becomes of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Column {
    /// Stays as it is.
    #[default]
    Keep,
    /// Becomes null.
    Clear,
    /// Gets the event's time or value.
    Set,
}

/// What a transition writes beside the job itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effects {
    /// When it was put on the queue.
    pub queued: Column,
    /// When a worker began.
    pub started: Column,
    /// When it ended.
    pub ended: Column,
    /// The worker.
    pub worker: Column,
    /// The error.
    pub error: Column,
    /// The output.
    pub output: Column,
    /// Whether a message for it goes to the lane, after the commit.
    pub publish: bool,
    /// Whether its recipe is to be evaluated.
    pub evaluate: bool,
}

/// What an event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStep {
    /// The job becomes this, and these columns change.
    Become(Job, Effects),
    /// Nothing: what it asks for is so already, or does not apply.
    Unchanged(Idle),
}

/// Why an event does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Idle {
    /// The status does not allow it, or is the one that is asked for.
    #[error("the job's status does not allow it")]
    Status,
    /// The report is about another execution than the current one, or is older than the last change.
    #[error("the report is stale")]
    Stale,
    /// A newer job does its work.
    #[error("the job is superseded")]
    Superseded,
}

/// What happens to a job when `event` comes, which happened `at` that time.
pub fn step(job: &Job, event: JobEvent, at: DateTime<Utc>) -> JobStep {
    use JobStatus as S;
    let never_queued = job.num_exes == 0;
    let idle = JobStep::Unchanged;
    if event.exe_num().is_some_and(|exe_num| exe_num != job.num_exes) {
        return idle(Idle::Stale);
    }
    let becomes = |status: JobStatus, effects: Effects| {
        JobStep::Become(Job { status, last_status_change: at, ..*job }, effects)
    };
    let queue = |max_tries: i32| {
        let effects = Effects {
            queued: Column::Set,
            started: Column::Clear,
            ended: Column::Clear,
            worker: Column::Clear,
            error: Column::Clear,
            output: Column::Clear,
            publish: true,
            // What it held up may be released.
            evaluate: matches!(job.status, S::Failed | S::Canceled),
        };
        let num_exes = job.num_exes.saturating_add(1);
        JobStep::Become(
            Job { status: S::Queued, num_exes, max_tries, last_status_change: at, ..*job },
            effects,
        )
    };
    match (event, job.status) {
        (JobEvent::Block | JobEvent::Release, _) if at < job.last_status_change => idle(Idle::Stale),
        (JobEvent::Block, S::Pending) if never_queued => becomes(S::Blocked, Effects::default()),
        (JobEvent::Release, S::Blocked) if never_queued => becomes(S::Pending, Effects::default()),

        (JobEvent::Queue, S::Pending | S::Blocked) if job.superseded => idle(Idle::Superseded),
        (JobEvent::Queue, S::Pending | S::Blocked) => queue(job.max_tries),
        (JobEvent::RefuseInput { .. }, S::Pending | S::Blocked | S::Queued | S::Running) => {
            let effects =
                Effects { worker: Column::Clear, error: Column::Set, evaluate: true, ..Effects::default() };
            becomes(S::Canceled, effects)
        }

        (JobEvent::Start { .. }, S::Queued) => {
            let effects = Effects { started: Column::Set, worker: Column::Set, ..Effects::default() };
            becomes(S::Running, effects)
        }
        (JobEvent::Succeed { .. }, S::Queued | S::Running) => {
            let effects = Effects {
                ended: Column::Set,
                output: Column::Set,
                error: Column::Clear,
                evaluate: true,
                ..Effects::default()
            };
            becomes(S::Completed, effects)
        }
        (JobEvent::Fail { retryable, .. }, S::Queued | S::Running) => {
            if retryable && job.num_exes < job.max_tries && !job.superseded {
                return queue(job.max_tries);
            }
            let effects =
                Effects { ended: Column::Set, error: Column::Set, evaluate: true, ..Effects::default() };
            becomes(S::Failed, effects)
        }

        (JobEvent::Cancel, S::Completed | S::Canceled) => idle(Idle::Status),
        (JobEvent::Cancel, _) => {
            let effects =
                Effects { worker: Column::Clear, error: Column::Clear, evaluate: true, ..Effects::default() };
            becomes(S::Canceled, effects)
        }
        (JobEvent::Requeue { .. }, S::Failed | S::Canceled) if job.superseded => idle(Idle::Superseded),
        (JobEvent::Requeue { .. }, S::Failed | S::Canceled) if never_queued => {
            let effects = Effects { error: Column::Clear, evaluate: true, ..Effects::default() };
            becomes(S::Pending, effects)
        }
        (JobEvent::Requeue { max_tries }, S::Failed | S::Canceled) => {
            queue(job.num_exes.saturating_add(max_tries))
        }
        _ => idle(Idle::Status),
    }
}
