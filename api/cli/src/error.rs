//! What can end a command, with what to do about it, and the exit code that says so.

use std::path::{Path, PathBuf};

use millrace_common::store::StoreError;

use super::client::ClientError;

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line or the profile lacks something or contradicts itself (exit code 2).
    #[error("{0}")]
    Usage(String),
    /// The server could not be reached, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The database could not be reached, or refused.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A file cannot be read or written.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The input table is broken; the text names the line.
    #[error("{0}")]
    Input(String),
    /// The command ran and its outcome is a failure, which has been told already or is in the text.
    #[error("{0}")]
    Failed(String),
    /// The command looked for faults and found some, which it has told; the exit code says how bad they are.
    #[error("faults were found")]
    Found(u8),
}

impl CliError {
    /// Wraps an error of the operating system with the file it is about.
    pub fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File { path: path.to_path_buf(), source }
    }

    /// 2 for a command line to be corrected, 1 for everything else.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Found(code) => *code,
            _ => 1,
        }
    }

    /// What the reader can do about it, when that is not obvious from the message.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Client(error) => error.advice(),
            Self::Store(StoreError::Unavailable(_)) => Some(
                "check database.url of the configuration (--config FILE, MILLRACE_DATABASE__URL) and that Postgres runs"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}
