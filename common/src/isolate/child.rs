//! The child's side: limits, models, answers.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use millrace_calc::reference::{Block, Columns, Definition, Evaluator, FallbackError, STACK_BYTES};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::CHILD_ARGUMENT;
use super::protocol::{self, Key, Request, Response};

/// Address space that a process takes besides what it calculates, where it cannot be read.
const USUAL_BYTES: u64 = 256 << 20;

/// Seconds of CPU time beyond what a request allows; the parent's clock ends it before that.
const CPU_SLACK: u64 = 5;

/// When this process was started as a child: serves its parent until that ends, and answers the exit code. Every `main` that may
/// start children calls this before anything else.
pub fn run_if_asked() -> Option<ExitCode> {
    let asked = std::env::args_os().nth(1).is_some_and(|first| first == OsStr::new(CHILD_ARGUMENT));
    asked.then(run)
}

/// Serves the parent at the other end of stdin.
pub fn run() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve() -> io::Result<()> {
    // A panic message may quote the workbook. What went wrong is answered, not printed.
    std::panic::set_hook(Box::new(|_| {}));
    let mut stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let answers = stream.try_clone()?;
    let Some(Request::Start { memory_bytes }) = protocol::read(&mut stream)? else {
        return Err(io::Error::other("no start"));
    };
    limit(memory_bytes)?;
    let (requests, receiver) = channel();
    thread::Builder::new()
        .name("evaluation".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || evaluate(&receiver, answers))?;
    // This thread only waits: so the end of the parent ends a calculation that never would.
    while let Some(request) = protocol::read::<Request>(&mut stream)? {
        if requests.send(request).is_err() {
            break;
        }
    }
    std::process::exit(0)
}

/// Bounds the address space to what is there now, the evaluation thread's stack, and `memory_bytes`; allows no core dump.
fn limit(memory_bytes: u64) -> io::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none)?;
    let all = present_bytes().saturating_add(STACK_BYTES as u64).saturating_add(memory_bytes);
    let hard = getrlimit(Resource::As).maximum;
    let all = hard.map_or(all, |hard| all.min(hard));
    setrlimit(Resource::As, Rlimit { current: Some(all), maximum: Some(all) })?;
    // When the whole machine runs out of memory, this process goes first. Where that cannot be said, it is not.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    Ok(())
}

/// Address space in use.
fn present_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    pages.map_or(USUAL_BYTES, |pages| pages.saturating_mul(rustix::param::page_size() as u64))
}

/// Lets this process run for so many seconds of CPU time from now on.
fn limit_cpu(seconds: u64) {
    let now = u64::try_from(clock_gettime(ClockId::ProcessCPUTime).tv_sec).unwrap_or(0);
    let hard = getrlimit(Resource::Cpu).maximum;
    let soft = now.saturating_add(seconds).saturating_add(CPU_SLACK);
    let soft = hard.map_or(soft, |hard| soft.min(hard));
    // The parent's clock is what counts; this is for when there is none.
    let _ = setrlimit(Resource::Cpu, Rlimit { current: Some(soft), maximum: hard });
}

fn evaluate(requests: &Receiver<Request>, mut answers: UnixStream) {
    let mut models: HashMap<Key, Evaluator> = HashMap::new();
    for request in requests {
        let answer = catch_unwind(AssertUnwindSafe(|| answer(&mut models, request)));
        let answer = answer.unwrap_or_else(|_| {
            // What it worked on is in an unknown state; the parent loads again what it needs.
            models.clear();
            Response::Ran(Err(FallbackError::Crashed("it panicked".to_owned())))
        });
        if protocol::write(&mut answers, &answer).is_err() {
            std::process::exit(0);
        }
    }
}

fn answer(models: &mut HashMap<Key, Evaluator>, request: Request) -> Response {
    match request {
        Request::Start { .. } => {
            Response::Ran(Err(FallbackError::Crashed("a second start was asked for".to_owned())))
        }
        Request::Load { forget, definition, cpu_seconds } => {
            limit_cpu(cpu_seconds);
            for key in forget {
                models.remove(&key);
            }
            let definition = Definition::from_bytes(definition);
            Response::Loaded(Evaluator::load(&definition).map(|evaluator| {
                let summary = evaluator.summary().clone();
                models.insert(*definition.key(), evaluator);
                summary
            }))
        }
        Request::Run { key, inputs, rows, volatile, first_record, outputs, cpu_seconds } => {
            limit_cpu(cpu_seconds);
            let Some(model) = models.get_mut(&key) else {
                return Response::Ran(Err(FallbackError::Crashed("its model is gone".to_owned())));
            };
            let inputs = inputs.unpack();
            let block = Block { inputs: &inputs, rows, volatile: &volatile, first_record, outputs: &outputs };
            Response::Ran(Ok(Columns::pack(&model.run(&block))))
        }
    }
}
