//! Settings of files that are read and written.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// CSV, JSON Lines and Parquet: what is uploaded and exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilesConfig {
    /// The folder for temporary files; empty: the system's. They have no names, and are gone with the process.
    pub folder: String,
    /// The largest temporary file, in bytes. Parquet files that come are put aside whole, and so are the records of those that
    /// go.
    pub spool_bytes: u64,
    /// Memory for the pages of one Parquet file that are read at the same time, in bytes.
    pub page_bytes: usize,
    /// Files that batches are given and give at the same time in one API process; further ones get 429. Those that become
    /// members of datasets are a quarter of `database.control_connections`, and do not count here.
    pub concurrency: usize,
    /// How long an upload to a batch waits for room in a full buffer, in milliseconds, before it is answered 429.
    pub room_timeout_ms: u64,
}

impl Default for FilesConfig {
    fn default() -> Self {
        Self {
            folder: String::new(),
            spool_bytes: 2_000_000_000,
            page_bytes: 32_000_000,
            concurrency: 4,
            room_timeout_ms: 60_000,
        }
    }
}

impl FilesConfig {
    /// The folder for temporary files.
    pub fn folder(&self) -> PathBuf {
        if self.folder.is_empty() { std::env::temp_dir() } else { PathBuf::from(&self.folder) }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.concurrency == 0 {
            return Err(ConfigError::Contradiction("files.concurrency must be above 0".to_owned()));
        }
        Ok(())
    }
}
