//! Which XFS it is.

use super::superblock::Superblock;
use crate::extent::Extent;
use crate::filesystem::Instance;

/// What the superblock says; it has no times.
pub(super) fn instance(superblock: &Superblock) -> Instance {
    Instance {
        uuid: uuid::Uuid::from_bytes(superblock.uuid).to_string(),
        made: None,
        geometry: vec![
            superblock.blocks,
            superblock.block_bytes.into(),
            superblock.sector_bytes.into(),
            superblock.group_blocks.into(),
            superblock.inode_bytes.into(),
            superblock.root_inode.0,
            superblock.log.map_or(0, Extent::len_bytes),
        ],
        features: superblock.features.lasting(),
        written: None,
        checked: None,
    }
}
