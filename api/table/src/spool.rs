//! Temporary files without a name, gone when the process is.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Why a file could not be put aside.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// It is larger than `files.spool_bytes`.
    #[error("it needs more than {limit} bytes on disk")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The disk.
    #[error("{path}: {cause}", path = .path.display())]
    Disk {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it.
        cause: io::Error,
    },
}

/// A bounded temporary file.
#[derive(Debug)]
pub struct Spool {
    file: File,
    folder: PathBuf,
    written: u64,
    limit: u64,
}

impl Spool {
    /// An empty file in this folder, which may grow to `limit` bytes.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Disk`].
    pub fn create(folder: &Path, limit: u64) -> Result<Self, SpoolError> {
        let path = folder.join(format!(".millrace-{}.spool", uuid::Uuid::new_v4()));
        let open = || {
            let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        };
        let file = open().map_err(|cause| SpoolError::Disk { path: path.clone(), cause })?;
        Ok(Self { file, folder: folder.to_path_buf(), written: 0, limit })
    }

    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// [`SpoolError`].
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        let grown = self.written + bytes.len() as u64;
        if grown > self.limit {
            return Err(SpoolError::TooLarge { limit: self.limit });
        }
        self.file.write_all(bytes).map_err(|cause| self.disk(cause))?;
        self.written = grown;
        Ok(())
    }

    /// Bytes in it.
    pub const fn len(&self) -> u64 {
        self.written
    }

    /// Whether nothing was put into it.
    pub const fn is_empty(&self) -> bool {
        self.written == 0
    }

    /// The file, to be read from its start.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Disk`].
    pub fn into_file(mut self) -> Result<File, SpoolError> {
        match self.file.rewind() {
            Ok(()) => Ok(self.file),
            Err(cause) => Err(self.disk(cause)),
        }
    }

    fn disk(&self, cause: io::Error) -> SpoolError {
        SpoolError::Disk { path: self.folder.clone(), cause }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::io::Read;

    use super::*;

    #[test]
    fn a_spool_is_bounded_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(folder.path(), 5).unwrap();
        assert!(spool.is_empty());
        spool.append(b"abc").unwrap();
        assert!(matches!(spool.append(b"def"), Err(SpoolError::TooLarge { limit: 5 })));
        spool.append(b"de").unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut text = String::new();
        assert_eq!(spool.len(), 5);
        spool.into_file().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcde");
        assert!(matches!(Spool::create(&folder.path().join("no"), 5), Err(SpoolError::Disk { .. })));
    }
}
