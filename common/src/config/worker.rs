//! Settings of workers, and of the engine in processes of its own.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// A worker process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerConfig {
    /// Evaluations at a time; 0 means one per core.
    pub slots: u32,
    /// The address of `/livez`, `/readyz`, `/health` and `/metrics` of a worker.
    pub listen: SocketAddr,
    /// The most chunk bytes that a worker holds: prefetched, being evaluated, or waiting for their commit.
    pub memory_bytes: usize,
    /// The most messages that are prefetched from one lane.
    pub prefetch: u16,
    /// The most finished chunks in one commit.
    pub group_chunks: usize,
    /// How long a finished chunk waits for company before its commit, in milliseconds.
    pub group_wait_ms: u64,
    /// Commits that are under way at once, beside one that is kept free for batches with little to store.
    pub commits: usize,
    /// Longest evaluation of one chunk, in milliseconds; a chunk that takes longer is a failed chunk.
    pub chunk_timeout_ms: u64,
    /// How often one chunk is started before it is declared failed (contract 3.4).
    pub max_attempts: u32,
    /// Compiled programs kept in memory.
    pub programs: usize,
    /// Time between heartbeats, in milliseconds.
    pub heartbeat_ms: u64,
    /// A worker without a heartbeat for this long is taken as gone, in milliseconds.
    pub silent_after_ms: u64,
    /// How long started chunks may take to end after SIGTERM, in milliseconds.
    pub drain_timeout_ms: u64,
    /// How long chunks of a paused batch stay with a worker that holds them unstarted, in milliseconds; after that it gives them back to
    /// their lane. Shorter than the broker waits for an acknowledgement (30 minutes, unless it was told otherwise).
    pub paused_hold_ms: u64,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            slots: 0,
            listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
            memory_bytes: 64_000_000,
            prefetch: 256,
            group_chunks: 256,
            group_wait_ms: 2,
            commits: 2,
            chunk_timeout_ms: 600_000,
            max_attempts: 3,
            programs: 256,
            heartbeat_ms: 1_000,
            silent_after_ms: 10_000,
            drain_timeout_ms: 20_000,
            paused_hold_ms: 60_000,
        }
    }
}

/// The fallback engine (see [`crate::isolate`]). Its processes are started when a service needs them, by the API as well as by
/// workers; each process has its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FallbackConfig {
    /// Processes at a time, for each API or worker process; 0 means one per core.
    pub children: usize,
    /// Memory that the calculations of one process may take, in MB; a chunk that needs more is a failed chunk.
    pub memory_mb: u64,
    /// How long a service may take to load and to compute its defaults, in milliseconds; one that takes longer is refused.
    pub load_timeout_ms: u64,
    /// An idle process ends after this long, in seconds.
    pub idle_seconds: u64,
    /// Blocks of records that one process evaluates before a new one takes its place.
    pub renew_after: u32,
    /// Time at each upload to compare a compiled service with the fallback engine on generated records, in milliseconds; 0
    /// compares nothing.
    pub check_ms: u64,
}

impl Default for FallbackConfig {
    fn default() -> Self {
        Self {
            children: 0,
            memory_mb: 512,
            load_timeout_ms: 10_000,
            idle_seconds: 60,
            renew_after: 10_000,
            check_ms: 2_000,
        }
    }
}
