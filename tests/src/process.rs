//! Processes of the workspace's own binaries.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::wait::{PATIENCE, wait_until};

/// What a process is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: end in good order.
    Terminate,
    /// SIGKILL: end at once.
    Kill,
    /// SIGSTOP: freeze, as a machine does that loses its power or its network.
    Stop,
    /// SIGCONT: go on after a stop.
    Continue,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        }
    }
}

/// The path of one of the workspace's binaries, from the profile that this test was built with.
///
/// # Errors
///
/// When it was not built; the text says how to do that.
pub fn binary(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe().context("the path of the running test")?;
    // Tests are in target/<profile>/deps, other programs in target/<profile>.
    for folder in here.ancestors().skip(1).take(2) {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!(
        "{name} is not built: run ./tests/run, or `cargo build --workspace --bins` (with --release for release tests)"
    )
}

/// A running process, its output in a file. It is killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    note: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with its output in `folder/name.log`. `folder/name.pid` holds the process id while it runs: what a
    /// killed test leaves behind is found by it.
    ///
    /// # Errors
    ///
    /// When the log cannot be made or the program cannot be started.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("starting {name}: {command:?}"))?;
        let note = folder.join(format!("{name}.pid"));
        let process = Self { name: name.to_owned(), child, log, note, ended: None };
        std::fs::write(&process.note, process.id().to_string()).context("writing a process id")?;
        Ok(process)
    }

    /// Its name, `api` or `worker-0`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file with its output.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Its output so far.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Whether it still runs; frozen counts as running.
    pub fn runs(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended.is_none()
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// When the process has ended already.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if !self.runs() {
            bail!("{} has ended already ({:?}): no SIG{}", self.name, self.ended, signal.name());
        }
        // The shell's own `kill`: std can only send SIGKILL. The child is not reaped yet, so the id is still its own.
        let command = format!("kill -{} {}", signal.name(), self.id());
        let status = Command::new("sh").args(["-c", &command]).status().context("running sh")?;
        if status.success() { Ok(()) } else { bail!("`{command}` failed for {}", self.name) }
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    ///
    /// When it still runs at the deadline.
    pub async fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("{} has ended", self.name);
        wait_until(&what, deadline, || {
            let ended = if self.runs() { None } else { self.ended };
            async move { Ok(ended) }
        })
        .await
    }

    /// Waits until it is frozen: by [`Signal::Stop`], or by a failpoint of its own.
    ///
    /// # Errors
    ///
    /// When it has ended, or runs on until `deadline`.
    pub async fn wait_frozen(&mut self, deadline: Duration) -> Result<()> {
        let what = format!("{} is frozen", self.name);
        let state = PathBuf::from(format!("/proc/{}/stat", self.id()));
        wait_until(&what, deadline, || {
            let runs = self.runs();
            // The state is the first word after the name in parentheses.
            let stat = std::fs::read_to_string(&state).unwrap_or_default();
            let frozen = stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
            async move {
                if !runs {
                    return Ok(Some(false));
                }
                Ok(frozen.then_some(true))
            }
        })
        .await?
        .then_some(())
        .with_context(|| format!("{} ended:\n{}", self.name, self.last_lines(40)))
    }

    /// Waits until its output has this text so many times.
    ///
    /// # Errors
    ///
    /// When that does not happen by the deadline.
    pub async fn wait_says(&self, text: &str, times: usize, deadline: Duration) -> Result<()> {
        wait_until(&format!("{} says `{text}` {times} times", self.name), deadline, || {
            let said = self.log().matches(text).count();
            async move { Ok((said >= times).then_some(())) }
        })
        .await
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        if self.runs() {
            // Both fail only when it has ended meanwhile.
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
        let _ = std::fs::remove_file(&self.note);
    }

    /// Waits for the address that the process says it listens on.
    ///
    /// # Errors
    ///
    /// When it ends before, or says nothing in time; the text has the last lines of its output.
    pub async fn address(&mut self) -> Result<SocketAddr> {
        let began = std::time::Instant::now();
        loop {
            if let Some(address) = self.log().lines().find_map(listening_address) {
                return Ok(address);
            }
            if !self.runs() {
                bail!("{} ended at its start ({:?}):\n{}", self.name, self.ended, self.last_lines(40));
            }
            if began.elapsed() > PATIENCE {
                bail!("{} does not say what it listens on:\n{}", self.name, self.last_lines(40));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The end of its output.
    pub fn last_lines(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The address in a line such as `… listening on 127.0.0.1:4711` or `{"message":"listening","address":"127.0.0.1:4711"}`.
fn listening_address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening")?;
    rest.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))
        .filter_map(|word| word.parse::<SocketAddr>().ok())
        .find(|address| address.port() != 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn shell(script: &str, folder: &Path) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start("shell", command, folder).unwrap()
    }

    #[test]
    fn finds_the_address_in_text_and_json() {
        let expected: SocketAddr = "127.0.0.1:4711".parse().unwrap();
        for line in [
            "2026-11-21T16:19:03Z  INFO millrace_api: listening on 127.0.0.1:4711",
            "INFO listening address=127.0.0.1:4711",
            r#"{"level":"INFO","message":"listening on 127.0.0.1:4711","address":"127.0.0.1:4711"}"#,
        ] {
            assert_eq!(listening_address(line), Some(expected), "{line}");
        }
        assert_eq!(listening_address("connected to 127.0.0.1:4711"), None);
        assert_eq!(listening_address("listening on 127.0.0.1:0"), None);
    }

    #[tokio::test]
    async fn a_process_is_signalled_and_reaped() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell(
            "trap 'exit 7' TERM; echo listening on 127.0.0.1:99; while :; do sleep 0.05; done",
            folder.path(),
        );
        assert_eq!(process.address().await.unwrap().port(), 99);
        process.signal(Signal::Stop).unwrap();
        process.signal(Signal::Continue).unwrap();
        assert!(process.runs());
        process.signal(Signal::Terminate).unwrap();
        assert_eq!(process.wait(PATIENCE).await.unwrap().code(), Some(7));
        assert!(process.signal(Signal::Kill).is_err());
    }

    #[tokio::test]
    async fn a_process_that_dies_at_its_start_shows_why() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("echo the dog ate it >&2; exit 1", folder.path());
        let error = process.address().await.unwrap_err().to_string();
        assert!(error.contains("the dog ate it"), "{error}");
    }

    #[test]
    fn nothing_survives_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let process = shell("exec sleep 600", folder.path());
        let running = PathBuf::from(format!("/proc/{}", process.id()));
        assert!(running.exists());
        drop(process);
        assert!(!running.exists());
        assert!(!folder.path().join("shell.pid").exists());
    }
}
