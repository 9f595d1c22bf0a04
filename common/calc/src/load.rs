//! Why a file is no service.

use thiserror::Error;

use crate::program::CompileError;
use crate::reference::FallbackError;

/// Why an upload is refused. Every variant says where the fault is.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum LoadError {
    /// A bound of [`crate::limits::Limits`] is exceeded.
    #[error("{place}: {what} exceed the limit of {limit}")]
    TooLarge {
        /// The file, the part, the sheet or the cell.
        place: String,
        /// What there is too much of.
        what: &'static str,
        /// The limit in force.
        limit: u64,
    },
    /// An entry of the archive expands suspiciously far.
    #[error("{part}: refused as a zip bomb: it expands to more than {ratio} times its size")]
    ZipBomb {
        /// The entry.
        part: String,
        /// The ratio in force.
        ratio: u64,
    },
    /// The bytes are no Excel workbook of the `.xlsx` kind.
    #[error("not an Excel workbook (.xlsx): {0}")]
    NotAWorkbook(String),
    /// The workbook is protected by a password.
    #[error("the workbook is encrypted; save it without a password")]
    Encrypted,
    /// The workbook has macros.
    #[error("the workbook contains macros ({0}); save it as .xlsx without macros")]
    Macros(String),
    /// A part of the workbook cannot be read.
    #[error("{part}: {message}")]
    Unreadable {
        /// The part, or the sheet and cell.
        part: String,
        /// What is wrong with it.
        message: String,
    },
    /// A needed formula refers to another workbook.
    #[error("{place}: refers to another workbook ({formula}); copy what it needs into this one")]
    ExternalLink {
        /// The cell.
        place: String,
        /// The formula.
        formula: String,
    },
    /// A needed cell is a what-if data table.
    #[error("{place}: {kind} is not supported; write one plain formula per cell")]
    ArrayFormula {
        /// The cell.
        place: String,
        /// `a what-if data table`.
        kind: &'static str,
    },
    /// The workbook counts dates from 1904, calculates with dates, and needs the fallback, which counts from 1900 only.
    #[error(
        "the workbook uses the 1904 date system and calculates with dates ({0}), which the fallback engine cannot; switch it \
         to the 1900 date system"
    )]
    Date1904(String),
    /// A defined name that marks an input or output is not usable.
    #[error("the name {name}: {message}")]
    Name {
        /// The defined name as written.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// Nothing marks an input or an output.
    #[error("no defined name starts with Xinput_ or Xoutput_: mark the cells that are inputs and outputs")]
    NoInterface,
    /// A formula document is wrong at some place.
    #[error("{path}: {message}")]
    Document {
        /// The place in the document, such as `inputs[2].type`.
        path: String,
        /// What is wrong there.
        message: String,
    },
    /// A needed formula can be calculated neither by a program nor by the fallback.
    #[error("{0}")]
    Compile(#[from] CompileError),
    /// The workbook needs the fallback, and the fallback fails on its saved values.
    #[error("{place}: {construct}, so the workbook needs the fallback engine, where {error}")]
    Fallback {
        /// The first cell that keeps the workbook off the fast path.
        place: String,
        /// What is in the way there.
        construct: String,
        /// How the fallback failed.
        error: FallbackError,
    },
}

impl LoadError {
    /// Whether the same file may load at another time: the fallback could not be reached.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Fallback { error: FallbackError::Unavailable(_), .. })
    }

    pub(crate) fn unreadable(part: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Unreadable { part: part.into(), message: message.into() }
    }

    pub(crate) fn name(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Name { name: name.into(), message: message.into() }
    }
}
