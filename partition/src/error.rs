//! What can go wrong with a device, a table, a filesystem or a plan.

use crate::text::Shown;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong with a device, a table, a filesystem or a plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device failed or ended early.
    #[error("{operation} of {len_bytes} bytes at byte {offset_bytes:#x} failed: {source}")]
    Io {
        /// What was tried.
        operation: Operation,
        /// Where on the device.
        offset_bytes: u64,
        /// How many bytes.
        len_bytes: u64,
        /// What the system said.
        source: io::Error,
    },
    /// A device could not be opened or described.
    #[error("{}: {doing}: {source}", path.shown())]
    Open {
        /// The path as given.
        path: PathBuf,
        /// What was tried, as in "open for reading".
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A structure on the disk contradicts itself, its checksum or the device.
    #[error("{0}")]
    Corrupt(Corrupt),
    /// A valid structure that klon does not handle.
    #[error("{what} is not supported: {reason}")]
    Unsupported {
        /// The structure or feature.
        what: String,
        /// Why, and what to do instead.
        reason: String,
    },
    /// Doing this would risk data.
    #[error("refused: {0}")]
    Refused(String),
    /// The request itself makes no sense (sizes, names, a plan file).
    #[error("{0}")]
    Invalid(String),
}

/// What was tried on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A positional read.
    Read,
    /// A positional write.
    Write,
    /// Making a range read back as zeroes.
    Zero,
    /// Telling the device that a range is not needed.
    Discard,
    /// Making everything written durable.
    Sync,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Zero => "zeroing",
            Self::Discard => "discard",
            Self::Sync => "sync",
        })
    }
}

/// A field on the disk that is not what it must be: what, where, expected, found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{structure} at byte {offset_bytes:#x}: {field}: expected {expected}, found {found}")]
pub struct Corrupt {
    /// The structure, in its specification's words.
    pub structure: &'static str,
    /// The field of it, in its specification's words.
    pub field: &'static str,
    /// Where the structure starts on the device that was read.
    pub offset_bytes: u64,
    /// What would have been valid.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// A value read from the disk, or what is wrong with it.
pub(crate) type Checked<T = ()> = std::result::Result<T, Corrupt>;

impl Corrupt {
    /// Says that `field` of `structure` at `offset_bytes` is not as `expected`.
    pub fn new(
        structure: &'static str,
        field: &'static str,
        offset_bytes: u64,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        Self {
            structure,
            field,
            offset_bytes,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

impl From<Corrupt> for Error {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

impl Error {
    /// An I/O failure of `operation` on `len_bytes` bytes at `offset_bytes`.
    #[must_use]
    pub const fn io(
        operation: Operation,
        offset_bytes: u64,
        len_bytes: u64,
        source: io::Error,
    ) -> Self {
        Self::Io {
            operation,
            offset_bytes,
            len_bytes,
            source,
        }
    }

    /// Something valid that klon does not handle, and why.
    pub fn unsupported(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unsupported {
            what: what.into(),
            reason: reason.into(),
        }
    }
}
