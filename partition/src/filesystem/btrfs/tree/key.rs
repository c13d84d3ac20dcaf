//! Keys: what the items of a tree are ordered by.

use crate::bytes::{le64, u8_at};

/// `struct btrfs_disk_key`, ordered as trees are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::filesystem::btrfs) struct Key {
    pub(in crate::filesystem::btrfs) objectid: u64,
    /// `type`.
    pub(in crate::filesystem::btrfs) kind: u8,
    pub(in crate::filesystem::btrfs) offset: u64,
}

impl Key {
    /// Size on the disk.
    const LEN_BYTES: usize = 17;

    /// The key at the start of `raw`.
    pub(super) fn parse(raw: &[u8]) -> Self {
        Self {
            objectid: le64(raw, 0),
            kind: u8_at(raw, 8),
            offset: le64(raw, 9),
        }
    }

    /// The key at the start of `raw`, and what follows it; `None` when `raw` is too short.
    pub(in crate::filesystem::btrfs) fn split(raw: &[u8]) -> Option<(Self, &[u8])> {
        let (key, rest) = raw.split_at_checked(Self::LEN_BYTES)?;
        Some((Self::parse(key), rest))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({:#x} {} {:#x})", self.objectid, self.kind, self.offset)
    }
}
