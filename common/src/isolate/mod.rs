//! The fallback engine in child processes.
//!
//! The reference engine (`millrace_calc::reference`) can recurse until its stack is gone, never end, or take all memory, and
//! nothing within a process stops that. So it runs in children: the same executable, started with [`CHILD_ARGUMENT`] as its
//! first argument, which every `main` looks for first ([`child::run_if_asked`]).
//!
//! ```text
//! parent                                         child
//! Pool ── UnixStream, frames of postcard ──────▶ stdin      main thread: reads, ends the process at end of file
//!                                                           evaluation thread (256 MiB of stack): models, answers
//!         ◀── what it said when it died ──────── stderr     stdout: nowhere, since the engine prints there
//! ```
//!
//! * **Memory**: the child limits its own address space before it reads anything of a workbook. An allocation beyond aborts it.
//! * **Time**: the parent waits until the chunk's deadline and kills the child then; a CPU limit ends a child that nobody watches.
//! * **Death of the parent**: the socket ends, and with it the child, whatever it was computing.
//! * **Reuse**: a child keeps the models of the versions it saw last and serves one block after another. It is replaced when it
//!   dies, after many blocks, and ends when it was idle for a while. None is started before a service needs it.
//!
//! A child gets no environment, so no credentials, and no other descriptors than these.

pub mod child;
mod pool;
mod process;
mod protocol;

pub use pool::{Launcher, Pool};

/// The first argument that makes an executable a child.
pub const CHILD_ARGUMENT: &str = "--calculation-child";
