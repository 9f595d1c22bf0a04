//! The children of one process: started when needed, reused, replaced, bounded in number.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use millrace_calc::program::Column;
use millrace_calc::reference::{Block, Columns, Definition, Fallback, FallbackError, Summary};
use parking_lot::{Condvar, Mutex};

use super::CHILD_ARGUMENT;
use super::process::{Failure, Process};
use super::protocol::{Request, Response};
use crate::config::FallbackConfig;

/// How a child is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl Launcher {
    /// This executable again. Its `main` must begin with [`super::child::run_if_asked`].
    pub fn this_program() -> Self {
        // The link leads to the running image, also when the file was replaced since.
        let link = PathBuf::from("/proc/self/exe");
        let program = if link.exists() { link } else { std::env::current_exe().unwrap_or(link) };
        Self { program, arguments: vec![CHILD_ARGUMENT.into()] }
    }
}

/// The fallback engine in child processes. Cheap to clone; the last clone takes the children along.
#[derive(Debug, Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    launcher: Launcher,
    settings: FallbackConfig,
    most: usize,
    state: Mutex<State>,
    /// A child became idle, or one less exists.
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Process>,
    /// Children that exist, idle or not.
    count: usize,
    /// Children started so far.
    started: u64,
    /// Whether a thread looks after idle children.
    watched: bool,
}

impl Pool {
    /// A pool without children yet.
    pub fn new(launcher: Launcher, settings: &FallbackConfig) -> Self {
        let cores = || thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let most = if settings.children == 0 { cores() } else { settings.children };
        Self {
            inner: Arc::new(Inner {
                launcher,
                settings: settings.clone(),
                most,
                state: Mutex::default(),
                freed: Condvar::new(),
            }),
        }
    }

    /// Children that exist now.
    pub fn children(&self) -> usize {
        self.inner.state.lock().count
    }

    /// Children started so far.
    pub fn started(&self) -> u64 {
        self.inner.state.lock().started
    }

    fn deadline(&self, deadline: Option<Instant>) -> Instant {
        deadline
            .unwrap_or_else(|| Instant::now() + Duration::from_millis(self.inner.settings.load_timeout_ms))
    }

    /// Runs `work` with a child that has the definition's model. A child that was killed by somebody else, or that ran out of
    /// memory with other models in it, costs a second attempt.
    fn with_child<T>(
        &self,
        definition: &Definition,
        deadline: Instant,
        mut work: impl FnMut(&mut Process) -> Result<T, Failure>,
    ) -> Result<T, FallbackError> {
        let mut fresh = false;
        loop {
            let mut lease = self.inner.lease(definition, deadline, fresh)?;
            let crowded = lease.process().knows_others(definition.key());
            let failure = match work(lease.process()) {
                Ok(value) => {
                    lease.keep = true;
                    return Ok(value);
                }
                Err(failure) => failure,
            };
            drop(lease);
            match failure {
                Failure::Final(FallbackError::Memory { .. }) if crowded && !fresh => {}
                Failure::Killed if !fresh => {
                    tracing::warn!("a calculation process was killed; trying once more")
                }
                Failure::Killed => return Err(FallbackError::Crashed("its process was killed".to_owned())),
                Failure::Final(error) => return Err(error),
            }
            fresh = true;
        }
    }
}

/// Asks a child to load a definition.
fn load(process: &mut Process, definition: &Definition, deadline: Instant) -> Result<Loaded, Failure> {
    let key = *definition.key();
    let forget = process.make_room(key);
    let request = Request::Load {
        forget,
        definition: definition.bytes().to_vec(),
        cpu_seconds: seconds_until(deadline),
    };
    match process.ask(&request, deadline)? {
        Response::Loaded(Ok(summary)) => Ok(Ok(summary)),
        Response::Loaded(Err(error)) => {
            process.forget(&key);
            Ok(Err(error))
        }
        Response::Ran(result) => {
            process.forget_all();
            Ok(Err(result.err().unwrap_or_else(confused)))
        }
    }
}

/// What a child that is still well answers.
type Loaded = Result<Summary, FallbackError>;

fn confused() -> FallbackError {
    FallbackError::Crashed("it answered something else".to_owned())
}

fn seconds_until(deadline: Instant) -> u64 {
    deadline.saturating_duration_since(Instant::now()).as_secs() + 1
}

impl Fallback for Pool {
    fn load(&self, definition: &Definition) -> Result<Summary, FallbackError> {
        let deadline = self.deadline(None);
        self.with_child(definition, deadline, |process| load(process, definition, deadline))?
    }

    fn evaluate(
        &self,
        definition: &Definition,
        block: &Block<'_>,
        deadline: Option<Instant>,
    ) -> Result<Vec<Column>, FallbackError> {
        let deadline = self.deadline(deadline);
        let ran = self.with_child(definition, deadline, |process| {
            if process.knows(definition.key()) {
                process.touch(definition.key());
            } else if let Err(error) = load(process, definition, deadline)? {
                return Ok(Err(error));
            }
            let request = Request::Run {
                key: *definition.key(),
                inputs: Columns::pack(block.inputs),
                rows: block.rows,
                volatile: *block.volatile,
                first_record: block.first_record,
                outputs: block.outputs.to_vec(),
                cpu_seconds: seconds_until(deadline),
            };
            match process.ask(&request, deadline)? {
                Response::Ran(Ok(columns)) => Ok(Ok(columns.unpack())),
                Response::Ran(Err(error)) => {
                    process.forget_all();
                    Ok(Err(error))
                }
                Response::Loaded(_) => Ok(Err(confused())),
            }
        });
        ran?
    }
}

impl Inner {
    /// A child for this definition: an idle one that has its model, a new one, or any idle one; waits for the first to be free.
    fn lease(
        self: &Arc<Self>,
        definition: &Definition,
        deadline: Instant,
        fresh: bool,
    ) -> Result<Lease, FallbackError> {
        let mut state = self.state.lock();
        loop {
            let known = state.idle.iter().position(|process| process.knows(definition.key()));
            if let Some(index) = known.filter(|_| !fresh) {
                let process = state.idle.swap_remove(index);
                return Ok(Lease { pool: Arc::clone(self), process: Some(process), keep: false });
            }
            if state.count < self.most {
                break;
            }
            let oldest = state.idle.iter().enumerate().min_by_key(|(_, process)| process.used);
            if let Some((index, _)) = oldest {
                let process = state.idle.swap_remove(index);
                if fresh {
                    // Its place is what is needed.
                    state.count -= 1;
                    drop(process);
                    break;
                }
                return Ok(Lease { pool: Arc::clone(self), process: Some(process), keep: false });
            }
            if self.freed.wait_until(&mut state, deadline).timed_out() {
                return Err(FallbackError::Timeout);
            }
        }
        state.count += 1;
        state.started += 1;
        let watch = !std::mem::replace(&mut state.watched, true);
        drop(state);
        let mut lease = Lease { pool: Arc::clone(self), process: None, keep: false };
        if watch {
            self.watch();
        }
        let started = Process::start(&self.launcher, self.settings.memory_mb);
        lease.process = Some(started.map_err(|error| FallbackError::Unavailable(error.to_string()))?);
        Ok(lease)
    }

    /// Looks after idle children until there are none.
    fn watch(self: &Arc<Self>) {
        let idle = Duration::from_secs(self.settings.idle_seconds.max(1));
        let pool = Arc::downgrade(self);
        let spawned =
            thread::Builder::new().name("fallback-idle".to_owned()).spawn(move || end_idle(&pool, idle));
        if let Err(error) = spawned {
            tracing::warn!(%error, "idle calculation processes stay");
            self.state.lock().watched = false;
        }
    }
}

/// Ends children that were idle for too long; returns when none is left.
fn end_idle(pool: &Weak<Inner>, idle: Duration) {
    loop {
        thread::sleep(idle.min(Duration::from_secs(1)));
        let Some(pool) = pool.upgrade() else { return };
        let mut state = pool.state.lock();
        let now = Instant::now();
        let (old, kept): (Vec<_>, Vec<_>) =
            state.idle.drain(..).partition(|process| now.duration_since(process.used) >= idle);
        state.idle = kept;
        state.count -= old.len();
        let empty = state.count == 0;
        if empty {
            state.watched = false;
        }
        drop(state);
        drop(old);
        if empty {
            return;
        }
    }
}

/// A child in use. Given back at the end, or ended.
#[derive(Debug)]
struct Lease {
    pool: Arc<Inner>,
    process: Option<Process>,
    /// Whether the child is well.
    keep: bool,
}

impl Lease {
    #[expect(clippy::expect_used, reason = "a lease that was handed out has its child until it is dropped")]
    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the lease has a child")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let process = self.process.take().and_then(|mut process| {
            process.served += 1;
            process.used = Instant::now();
            (self.keep && process.served < self.pool.settings.renew_after).then_some(process)
        });
        let mut state = self.pool.state.lock();
        match process {
            Some(process) => state.idle.push(process),
            None => state.count -= 1,
        }
        drop(state);
        self.pool.freed.notify_one();
    }
}
