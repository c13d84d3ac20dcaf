//! What a GPT says of the disk's size, and says otherwise on a disk of another size.

use serde::Serialize;
use std::fmt;

/// A number of the table that depends on the disk's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MovedField {
    /// Sectors that the protective entry of the MBR covers (`SizeInLBA`).
    ProtectiveSectors,
    /// The last sector that partitions may use (`LastUsableLBA`).
    LastUsableLba,
    /// The sector of the backup's entries (its `PartitionEntryLBA`).
    BackupArrayLba,
    /// The sector of the backup header (`AlternateLBA`).
    BackupLba,
}

/// A number that differs between a table and the same table on a disk of another size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Which.
    pub field: MovedField,
    /// What it was.
    pub source: u64,
    /// What it is on the other disk.
    pub target: u64,
}

impl Moved {
    /// The difference, if there is one.
    pub(super) fn between(field: MovedField, source: u64, target: u64) -> Option<Self> {
        (source != target).then_some(Self {
            field,
            source,
            target,
        })
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, target, .. } = self;
        let what = match self.field {
            MovedField::ProtectiveSectors => {
                return write!(
                    f,
                    "the protective MBR covers {target} sectors instead of {source}"
                );
            }
            MovedField::LastUsableLba => "the last sector for partitions is",
            MovedField::BackupArrayLba => "the backup's entries begin at sector",
            MovedField::BackupLba => "the backup GPT header is in sector",
        };
        write!(f, "{what} {target} instead of {source}")
    }
}
