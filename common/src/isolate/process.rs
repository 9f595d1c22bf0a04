//! One child as its parent sees it.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use millrace_calc::reference::FallbackError;
use serde::Serialize;

use super::pool::Launcher;
use super::protocol::{self, Key, Request, Response};

/// Models that a child keeps.
const MODELS: usize = 8;

/// Signals by which a process ends, as every system that we build for counts them.
const KILL: i32 = 9;
const OUT_OF_CPU: i32 = 24;

/// How a child came to its end.
#[derive(Debug)]
pub enum Failure {
    /// What it was computing is to blame.
    Final(FallbackError),
    /// Somebody killed it: the same block may go well elsewhere.
    Killed,
}

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stream: UnixStream,
    stderr: Option<ChildStderr>,
    megabytes: u64,
    /// The models that it has, the one used last at the end.
    models: VecDeque<Key>,
    /// Blocks so far.
    pub served: u32,
    /// When it was used last.
    pub used: Instant,
}

impl Process {
    /// Starts a child.
    pub fn start(launcher: &Launcher, megabytes: u64) -> io::Result<Self> {
        let (stream, theirs) = UnixStream::pair()?;
        let mut child = Command::new(&launcher.program)
            .args(&launcher.arguments)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take();
        let mut process = Self {
            child,
            stream,
            stderr,
            megabytes,
            models: VecDeque::new(),
            served: 0,
            used: Instant::now(),
        };
        let start = Request::Start { memory_bytes: megabytes.saturating_mul(1 << 20) };
        // One that is dead already says why when it is asked for the first time.
        protocol::write(&mut process.stream, &start)
            .or_else(|error| if is_broken(&error) { Ok(()) } else { Err(error) })?;
        Ok(process)
    }

    /// Whether it has the model of a definition.
    pub fn knows(&self, key: &Key) -> bool {
        self.models.contains(key)
    }

    /// Whether it has models besides this one, which take memory as well.
    pub fn knows_others(&self, key: &Key) -> bool {
        self.models.iter().any(|known| known != key)
    }

    /// The models to drop before another one is loaded.
    pub fn make_room(&mut self, key: Key) -> Vec<Key> {
        self.models.retain(|known| *known != key);
        let surplus = (self.models.len() + 1).saturating_sub(MODELS);
        let forget = self.models.drain(..surplus).collect();
        self.models.push_back(key);
        forget
    }

    /// Takes note that a model is used, so that others go first.
    pub fn touch(&mut self, key: &Key) {
        if let Some(place) = self.models.iter().position(|known| known == key)
            && let Some(key) = self.models.remove(place)
        {
            self.models.push_back(key);
        }
    }

    /// Takes note that the child does not have a model after all.
    pub fn forget(&mut self, key: &Key) {
        self.models.retain(|known| known != key);
    }

    /// Takes note that the child dropped all of its models.
    pub fn forget_all(&mut self) {
        self.models.clear();
    }

    /// Asks, and waits for the answer until the deadline. After a failure the child is gone.
    pub fn ask(&mut self, request: &impl Serialize, deadline: Instant) -> Result<Response, Failure> {
        match self.exchange(request, deadline) {
            Ok(response) => Ok(response),
            Err(error) if is_timeout(&error) => {
                self.kill();
                Err(Failure::Final(FallbackError::Timeout))
            }
            Err(error) if is_broken(&error) => Err(self.post_mortem()),
            Err(error) => {
                self.kill();
                Err(Failure::Final(FallbackError::Crashed(error.to_string())))
            }
        }
    }

    fn exchange(&mut self, request: &impl Serialize, deadline: Instant) -> io::Result<Response> {
        let frame = protocol::frame(request)?;
        Until { stream: &self.stream, deadline }.write_all(&frame)?;
        let answer = protocol::read(&mut Until { stream: &self.stream, deadline })?;
        answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn kill(&mut self) {
        // It may be dead already; waiting for it is what matters.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Why a child that closed its socket died.
    fn post_mortem(&mut self) -> Failure {
        // Only its end closes its socket, so there is nothing to wait for.
        let Ok(status) = self.child.wait() else {
            return Failure::Final(FallbackError::Crashed("it vanished".to_owned()));
        };
        let mut said = Vec::new();
        if let Some(stderr) = self.stderr.take() {
            // All of it is there, since the process is gone. What cannot be read stays unsaid.
            let _ = stderr.take(64 << 10).read_to_end(&mut said);
        }
        diagnose(status, &String::from_utf8_lossy(&said), self.megabytes)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What ended a child, from its status and its last words. The words are only looked at, since they may quote a workbook.
fn diagnose(status: ExitStatus, said: &str, megabytes: u64) -> Failure {
    if said.contains("memory allocation of") || said.contains("capacity overflow") {
        return Failure::Final(FallbackError::Memory { megabytes });
    }
    if said.contains("overflowed its stack") {
        return Failure::Final(FallbackError::Recursion);
    }
    match (status.signal(), status.code()) {
        (Some(OUT_OF_CPU), _) => Failure::Final(FallbackError::Timeout),
        (Some(KILL), _) => Failure::Killed,
        (Some(signal), _) => Failure::Final(FallbackError::Crashed(format!("it died of signal {signal}"))),
        (None, code) => {
            let code = code.map_or_else(String::new, |code| format!(" with code {code}"));
            Failure::Final(FallbackError::Crashed(format!("it ended{code}")))
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn is_broken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

/// A stream whose reads and writes end at a deadline.
struct Until<'s> {
    stream: &'s UnixStream,
    deadline: Instant,
}

impl Until<'_> {
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        (&mut &*self.stream).read(buffer)
    }
}

impl Write for Until<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        (&mut &*self.stream).write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
