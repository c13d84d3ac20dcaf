//! Feature bits of the superblock, and those that klon doesn't know.

use crate::filesystem::Hazard;

const BLKZONED: u32 = 0x2;
const INODE_CHKSUM: u32 = 0x20;
const FLEXIBLE_INLINE_XATTR: u32 = 0x40;
const SB_CHKSUM: u32 = 0x800;
const RO: u32 = 0x4000;
/// `encrypt`, `atomic_write`, `extra_attr`, `project_quota`, `inode_checksum`,
/// `flexible_inline_xattr`, `quota`, `inode_crtime`, `lost_found`, `verity`, `sb_checksum`,
/// `casefold`, `compression` and `ro`: none of them changes what the maps of segments mean. Newer
/// ones do, or may: `device_alias` (0x8000) is of several devices, `packed_ssa` (0x10000) moves
/// the journals within summary blocks.
const KNOWN: u32 = 0x7fff & !BLKZONED;

/// The `feature` word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Features(pub(super) u32);

impl Features {
    pub(super) const fn has_superblock_checksum(self) -> bool {
        self.0 & SB_CHKSUM != 0
    }

    /// Inodes with extra attributes have a checksum.
    pub(super) const fn has_inode_checksums(self) -> bool {
        self.0 & INODE_CHKSUM != 0
    }

    /// Each inode says how much of it is for extended attributes.
    pub(super) const fn has_flexible_inline_attributes(self) -> bool {
        self.0 & FLEXIBLE_INLINE_XATTR != 0
    }

    /// Made once and never written to: but two of the six logs may be nowhere.
    pub(super) const fn is_read_only(self) -> bool {
        self.0 & RO != 0
    }

    /// What speaks against copying by the maps.
    pub(super) fn hazards(self) -> Vec<Hazard> {
        let mut hazards = Vec::new();
        if self.0 & BLKZONED != 0 {
            let which = "blkzoned: zones of the device have write pointers";
            hazards.push(Hazard::UnknownFeature(which.to_owned()));
        }
        let unknown = self.0 & !KNOWN & !BLKZONED;
        if unknown != 0 {
            hazards.push(Hazard::UnknownFeature(format!("feature {unknown:#x}")));
        }
        hazards
    }
}

#[cfg(test)]
mod tests {
    use super::Features;

    #[test]
    fn features_that_move_blocks_are_refused() {
        assert_eq!(Features(0x7ffd).hazards(), []);
        assert_eq!(Features(2).hazards().len(), 1);
        assert_eq!(Features(0x18002).hazards().len(), 2);
    }
}
