//! The reference engine in the caller's own process: for tests and benchmarks.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use rustc_hash::FxHashMap;

use super::{Block, Definition, Evaluator, Fallback, FallbackError, STACK_BYTES, Summary};
use crate::program::{Column, Volatile};

/// Runs the reference engine on a thread of its own, without any protection: what runs away takes the process along.
/// Deadlines are not kept.
#[derive(Debug)]
pub struct InProcess {
    requests: Mutex<Sender<Request>>,
}

enum Request {
    Load(Definition, Sender<Result<Summary, FallbackError>>),
    Run(Definition, Owned, Sender<Result<Vec<Column>, FallbackError>>),
}

struct Owned {
    inputs: Vec<Column>,
    rows: usize,
    volatile: Volatile,
    first_record: u64,
    outputs: Vec<usize>,
}

impl InProcess {
    /// Starts the thread; it ends with this value.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start() -> std::io::Result<Self> {
        let (requests, receiver) = channel();
        thread::Builder::new()
            .name("reference".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || serve(&receiver))?;
        Ok(Self { requests: Mutex::new(requests) })
    }

    fn ask<T>(
        &self,
        request: impl FnOnce(Sender<Result<T, FallbackError>>) -> Request,
    ) -> Result<T, FallbackError> {
        let (sender, receiver) = channel();
        let ended = || FallbackError::Crashed("its thread ended".to_owned());
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        requests.send(request(sender)).map_err(|_| ended())?;
        receiver.recv().map_err(|_| ended())?
    }
}

impl Fallback for InProcess {
    fn load(&self, definition: &Definition) -> Result<Summary, FallbackError> {
        self.ask(|answer| Request::Load(definition.clone(), answer))
    }

    fn evaluate(
        &self,
        definition: &Definition,
        block: &Block<'_>,
        _deadline: Option<Instant>,
    ) -> Result<Vec<Column>, FallbackError> {
        let owned = Owned {
            inputs: block.inputs.to_vec(),
            rows: block.rows,
            volatile: *block.volatile,
            first_record: block.first_record,
            outputs: block.outputs.to_vec(),
        };
        self.ask(|answer| Request::Run(definition.clone(), owned, answer))
    }
}

fn serve(requests: &Receiver<Request>) {
    let mut known: FxHashMap<[u8; 32], Evaluator> = FxHashMap::default();
    for request in requests {
        // Who asked may be gone; then nobody needs the answer.
        match request {
            Request::Load(definition, answer) => {
                let loaded = Evaluator::load(&definition);
                let _ = answer.send(loaded.map(|evaluator| {
                    let summary = evaluator.summary().clone();
                    known.insert(*definition.key(), evaluator);
                    summary
                }));
            }
            Request::Run(definition, owned, answer) => {
                let evaluator = match known.entry(*definition.key()) {
                    std::collections::hash_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
                    std::collections::hash_map::Entry::Vacant(entry) => {
                        Evaluator::load(&definition).map(|evaluator| entry.insert(evaluator))
                    }
                };
                let _ = answer.send(evaluator.map(|evaluator| {
                    evaluator.run(&Block {
                        inputs: &owned.inputs,
                        rows: owned.rows,
                        volatile: &owned.volatile,
                        first_record: owned.first_record,
                        outputs: &owned.outputs,
                    })
                }));
            }
        }
    }
}
