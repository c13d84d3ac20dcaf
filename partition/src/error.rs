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
    #[error("{}: {source}", failed(*operation, *offset_bytes, *len_bytes))]
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
    /// Doing this would risk data, unless it is asked for in so many words.
    #[error("refused: {reason}")]
    RefusedUnless {
        /// What would be at risk.
        reason: String,
        /// What must be asked for.
        remedy: Remedy,
    },
    /// The request itself makes no sense (sizes, names, a plan file).
    #[error("{0}")]
    Invalid(String),
}

/// What lets a refused operation go on, or shows what is in its way. The program says by which command or
/// option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// Replacing the drive's partition table, which loses all that is on the drive.
    ReplaceTable,
    /// Saying which of several disks is meant.
    NameDisk,
    /// Replacing the file that has the name.
    ReplaceFile,
    /// Keeping the map of a rescue in another file.
    AnotherMap,
    /// Writing the image again without what is damaged or of no use.
    CompactImage,
    /// Completing the staged update of a volume without the rest of its group.
    FinishAlone,
    /// Letting a mounted source be frozen for longer.
    FreezeLonger,
    /// Seeing who uses a device.
    ShowUses,
    /// Checking all snapshots of an image.
    CheckImage,
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

/// What could not be done, and where.
fn failed(operation: Operation, offset_bytes: u64, len_bytes: u64) -> String {
    let how = match operation {
        Operation::Read => "can't be read",
        Operation::Write => "can't be written",
        Operation::Zero => "can't be made zero",
        Operation::Discard => "can't be discarded",
        // That is of all of the device.
        Operation::Sync => return "what was written can't be made durable".to_owned(),
    };
    let plural = if len_bytes == 1 { "" } else { "s" };
    format!("{len_bytes} byte{plural} from byte {offset_bytes} on {how}")
}

/// A field on the disk that is not what it must be: what, where, expected, found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// The structure, in its specification's words.
    pub structure: &'static str,
    /// The field of it, in its specification's words; empty where several together make no sense.
    pub field: &'static str,
    /// Where the structure starts on the device that was read.
    pub offset_bytes: u64,
    /// What would have been valid.
    pub expected: String,
    /// What is there; a sentence where there is no one field.
    pub found: String,
}

impl std::error::Error for Corrupt {}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            structure,
            field,
            offset_bytes,
            expected,
            found,
        } = self;
        if field.is_empty() {
            return f.write_str(found);
        }
        write!(
            f,
            "{structure} at byte {offset_bytes:#x}: {field}: expected {expected}, found {found}"
        )
    }
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

impl Corrupt {
    /// Says in a `sentence` how fields of `structure` at `offset_bytes`, each valid by itself, contradict
    /// each other.
    pub fn contradiction(
        structure: &'static str,
        offset_bytes: u64,
        sentence: impl Into<String>,
    ) -> Self {
        Self {
            structure,
            field: "",
            offset_bytes,
            expected: String::new(),
            found: sentence.into(),
        }
    }
}

/// A structure where it lies, for the errors that find a field of it wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Structure {
    /// In its specification's words.
    pub(crate) name: &'static str,
    /// Where it starts on the device.
    pub(crate) offset_bytes: u64,
}

impl Structure {
    /// Says that a field of it is not as `expected`.
    pub(crate) fn corrupt(
        self,
        field: &'static str,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Corrupt {
        Corrupt::new(self.name, field, self.offset_bytes, expected, found)
    }

    /// Says so unless all is well.
    pub(crate) fn check(
        self,
        is_valid: bool,
        field: &'static str,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Checked {
        match is_valid {
            true => Ok(()),
            false => Err(self.corrupt(field, expected, found)),
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

#[cfg(test)]
mod tests {
    use super::{Corrupt, Error, Operation};
    use std::io;

    #[test]
    fn a_failure_says_what_of_which_bytes_and_why() {
        let text = |operation, len_bytes| {
            let source = io::Error::other("gone");
            Error::io(operation, 4096, len_bytes, source).to_string()
        };
        let read = "512 bytes from byte 4096 on can't be read: gone";
        assert_eq!(text(Operation::Read, 512), read);
        let write = "1 byte from byte 4096 on can't be written: gone";
        assert_eq!(text(Operation::Write, 1), write);
        let sync = "what was written can't be made durable: gone";
        assert_eq!(text(Operation::Sync, 0), sync);
    }

    #[test]
    fn damage_says_what_where_expected_and_found() {
        let corrupt = Corrupt::new("ext4 superblock", "s_magic", 1024, "0xef53", "0x0");
        let text = "ext4 superblock at byte 0x400: s_magic: expected 0xef53, found 0x0";
        assert_eq!(corrupt.to_string(), text);
    }
}
