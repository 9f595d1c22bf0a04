//! What parent and child say to each other: length-prefixed frames of postcard. Both are the same executable, so the form may
//! change with any version.

use std::io::{self, Read, Write};

use millrace_calc::program::Volatile;
use millrace_calc::reference::{Columns, FallbackError, Summary};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Largest frame, in bytes: more than any definition that the limits on uploads let through.
const MOST: u32 = 1 << 30;

/// What tells definitions apart.
pub type Key = [u8; 32];

/// To the child.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// The first frame: limits to set.
    Start {
        /// Memory that calculations may take.
        memory_bytes: u64,
    },
    /// Build a model; drop others before.
    Load {
        /// Models to drop.
        forget: Vec<Key>,
        /// The packed definition.
        definition: Vec<u8>,
        /// CPU time allowed, in seconds.
        cpu_seconds: u64,
    },
    /// Evaluate a block of a definition that was loaded.
    Run {
        /// The definition.
        key: Key,
        /// One column per input cell.
        inputs: Columns,
        /// Records.
        rows: usize,
        /// What volatile functions see.
        volatile: Volatile,
        /// The number of the first record.
        first_record: u64,
        /// Wanted output cells.
        outputs: Vec<usize>,
        /// CPU time allowed, in seconds.
        cpu_seconds: u64,
    },
}

/// From the child: one for every [`Request`] but the first.
#[derive(Debug, Serialize, Deserialize)]
pub enum Response {
    /// To [`Request::Load`].
    Loaded(Result<Summary, FallbackError>),
    /// To [`Request::Run`].
    Ran(Result<Columns, FallbackError>),
}

/// A message as a frame.
pub fn frame<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut frame = postcard::to_extend(message, vec![0; 4]).map_err(io::Error::other)?;
    let length = u32::try_from(frame.len() - 4).ok().filter(|length| *length <= MOST);
    let length = length.ok_or_else(|| io::Error::other("a message beyond the limit"))?;
    frame.splice(..4, length.to_le_bytes());
    Ok(frame)
}

/// Writes a message.
pub fn write<T: Serialize>(stream: &mut impl Write, message: &T) -> io::Result<()> {
    stream.write_all(&frame(message)?)
}

/// Reads a message; `None` at the end of the stream.
pub fn read<T: DeserializeOwned>(stream: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_le_bytes(length);
    if length > MOST {
        return Err(io::Error::other("a message beyond the limit"));
    }
    let mut body = Vec::new();
    if stream.take(u64::from(length)).read_to_end(&mut body)? < usize::try_from(length).unwrap_or(usize::MAX)
    {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    postcard::from_bytes(&body).map(Some).map_err(io::Error::other)
}
