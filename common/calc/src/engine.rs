//! What evaluates a service's blocks: its program, or the fallback.

use std::sync::Arc;
use std::time::Instant;

use crate::program::{self, Column, Program, Volatile};
use crate::reference::{Block, Definition, Fallback, FallbackError};

/// One of the two ways to evaluate a service; all of its records go the same way.
#[derive(Debug, Clone)]
pub(crate) enum Engine {
    Program(Program),
    Fallback(Routed),
}

/// A service on the fallback.
#[derive(Debug, Clone)]
pub(crate) struct Routed {
    pub fallback: Arc<dyn Fallback>,
    pub definition: Definition,
    /// The wanted output cells, by their flattened position.
    pub outputs: Arc<[usize]>,
}

impl Engine {
    /// The same for some of the outputs only, as [`Program::select`].
    pub fn select(&self, outputs: &[usize]) -> Self {
        match self {
            Self::Program(program) => Self::Program(program.select(outputs)),
            Self::Fallback(routed) => {
                let outputs = outputs.iter().filter_map(|output| routed.outputs.get(*output)).copied();
                Self::Fallback(Routed { outputs: outputs.collect(), ..routed.clone() })
            }
        }
    }

    /// Evaluates a block, as [`Program::run`], unless the deadline is over before its end. Apart from that only the fallback can fail.
    #[expect(clippy::too_many_arguments, reason = "a block with all that its evaluation depends on")]
    pub fn run(
        &self,
        inputs: &[Column],
        rows: usize,
        volatile: &Volatile,
        first_record: u64,
        deadline: Option<Instant>,
        scratch: &mut program::Scratch,
        outputs: &mut Vec<Column>,
    ) -> Result<(), FallbackError> {
        match self {
            Self::Program(program) => {
                scratch.end_at(deadline);
                program.run(inputs, rows, volatile, first_record, scratch, outputs);
                let is_over = scratch.is_over();
                scratch.end_at(None);
                if is_over {
                    return Err(FallbackError::Timeout);
                }
            }
            Self::Fallback(Routed { fallback, definition, outputs: wanted }) => {
                let block = Block { inputs, rows, volatile, first_record, outputs: wanted };
                *outputs = fallback.evaluate(definition, &block, deadline)?;
            }
        }
        Ok(())
    }
}
