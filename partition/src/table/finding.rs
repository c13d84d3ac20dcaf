//! Findings in words.

use super::Finding;
use std::fmt;

impl Finding {
    /// Why the table can't be relied on, if that is what was found.
    #[must_use]
    pub fn doubt(&self) -> Option<&str> {
        match self {
            Self::Doubtful(how) | Self::CopiesDiffer(how) => Some(how),
            _ => None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PrimaryDamaged(how) => write!(f, "the primary GPT is damaged: {how}"),
            Self::BackupDamaged(how) => write!(f, "the backup GPT is damaged: {how}"),
            Self::BackupDiffers(how) => write!(
                f,
                "the backup GPT differs from the primary, which counts: {how}"
            ),
            Self::BackupMisplaced(at) => {
                write!(f, "the backup GPT is not at the end of the disk: {at}")
            }
            Self::Hybrid(what) => write!(f, "a hybrid MBR lists partitions too: {what}"),
            Self::Doubtful(how) | Self::CopiesDiffer(how) => {
                write!(f, "the partition table can't be relied on: {how}")
            }
            Self::Sectors(which) => write!(
                f,
                "the partition table was made for another sector size: {which}"
            ),
            Self::Filesystem(which) => write!(f, "{which}"),
            Self::ProtectiveMbr(how) => write!(f, "the protective MBR is unusual: {how}"),
        }
    }
}
