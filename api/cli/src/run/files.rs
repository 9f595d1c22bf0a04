//! The files of a run: output, rows that wait for their turn, failed records.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::super::error::CliError;

/// Bytes that are gathered for one write.
const PENDING: usize = 1 << 20;

/// Where results go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A file, with which a later run can go on.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

impl Target {
    /// `-` is standard output.
    pub fn new(path: &Path) -> Self {
        if path == Path::new("-") { Self::Stdout } else { Self::File(path.to_path_buf()) }
    }

    /// The file with this ending next to the output.
    pub fn beside(&self, ending: &str) -> Option<PathBuf> {
        let Self::File(path) = self else { return None };
        Some(beside(path, ending))
    }
}

/// The file with this ending next to another.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// A file that only grows, or standard output.
#[derive(Debug)]
pub struct Appender {
    file: Option<File>,
    name: PathBuf,
    end: u64,
    pending: Vec<u8>,
}

impl Appender {
    /// Opens a file without changing it, and holds it against other runs.
    pub fn open(path: &Path) -> Result<Self, CliError> {
        let wrap = |error| CliError::file(path, error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(wrap)?;
        let metadata = file.metadata().map_err(wrap)?;
        if !metadata.is_file() {
            return Err(CliError::Usage(format!(
                "{} is not a regular file; write to standard output with --output -",
                path.display()
            )));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(CliError::Failed(format!("{}: another run is writing to it", path.display())));
            }
            Err(TryLockError::Error(error)) => return Err(wrap(error)),
        }
        Ok(Self { file: Some(file), name: path.to_path_buf(), end: 0, pending: Vec::new() })
    }

    /// Standard output.
    pub fn stdout() -> Self {
        Self { file: None, name: PathBuf::from("standard output"), end: 0, pending: Vec::new() }
    }

    /// A file without a name, gone when the process is.
    pub fn unnamed(folder: &Path) -> Result<Self, CliError> {
        let name = folder.join(format!(".millrace-{}.spill", uuid::Uuid::new_v4()));
        let wrap = |error| CliError::file(&name, error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&name)
            .map_err(wrap)?;
        std::fs::remove_file(&name).map_err(wrap)?;
        Ok(Self { file: Some(file), name, end: 0, pending: Vec::new() })
    }

    /// Length of the file as it is now.
    pub fn len_on_disk(&self) -> Result<u64, CliError> {
        match &self.file {
            Some(file) => Ok(file.metadata().map_err(|error| self.wrap(error))?.len()),
            None => Ok(0),
        }
    }

    /// Cuts the file off at `end` and goes on there.
    pub fn cut(&mut self, end: u64) -> Result<(), CliError> {
        self.pending.clear();
        if let Some(file) = &mut self.file {
            file.set_len(end)
                .and_then(|()| file.seek(SeekFrom::Start(end)).map(drop))
                .map_err(|error| CliError::file(&self.name, error))?;
        }
        self.end = end;
        Ok(())
    }

    /// Takes bytes, which [`Appender::flush`] writes at the latest; gives the position at which they will be.
    pub fn push(&mut self, bytes: &[u8]) -> Result<u64, CliError> {
        let at = self.end;
        self.pending.extend_from_slice(bytes);
        self.end += bytes.len() as u64;
        if self.pending.len() >= PENDING {
            self.flush()?;
        }
        Ok(at)
    }

    /// Where the next bytes will be.
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// Hands everything to the operating system.
    pub fn flush(&mut self) -> Result<(), CliError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let result = match &mut self.file {
            Some(file) => file.write_all(&self.pending),
            None => {
                let mut out = std::io::stdout().lock();
                out.write_all(&self.pending).and_then(|()| out.flush())
            }
        };
        self.pending.clear();
        result.map_err(|error| self.wrap(error))
    }

    /// Reads flushed bytes back.
    pub fn read_at(&mut self, at: u64, len: u64) -> Result<Vec<u8>, CliError> {
        self.flush()?;
        let Some(file) = &mut self.file else { return Ok(Vec::new()) };
        let mut read = || {
            let mut bytes = vec![0; usize::try_from(len).map_err(std::io::Error::other)?];
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(&mut bytes)?;
            file.seek(SeekFrom::End(0))?;
            Ok(bytes)
        };
        read().map_err(|error| CliError::file(&self.name, error))
    }

    fn wrap(&self, error: std::io::Error) -> CliError {
        CliError::file(&self.name, error)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn files_grow_are_read_back_and_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        std::fs::write(&path, "old").unwrap();
        let mut file = Appender::open(&path).unwrap();
        assert_eq!(file.len_on_disk().unwrap(), 3, "opening changes nothing");
        file.cut(0).unwrap();
        assert_eq!((file.push(b"ab").unwrap(), file.push(b"cd").unwrap(), file.end()), (0, 2, 4));
        assert_eq!(file.read_at(1, 2).unwrap(), b"bc");
        file.push(b"ef").unwrap();
        file.flush().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"abcdef");
        file.cut(3).unwrap();
        file.push(b"X").unwrap();
        file.flush().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"abcX");
    }

    #[test]
    fn one_run_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let first = Appender::open(&path).unwrap();
        assert!(Appender::open(&path).unwrap_err().to_string().contains("another run"));
        drop(first);
        assert!(Appender::open(&path).is_ok());
    }

    #[test]
    fn unnamed_files_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = Appender::unnamed(folder.path()).unwrap();
        file.push(b"abc").unwrap();
        assert_eq!(file.read_at(0, 3).unwrap(), b"abc");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
