//! Which ext filesystem it is, and what its superblock says of its past.

use super::feature::{INCOMPAT_RECOVER, RO_COMPAT_ORPHAN_PRESENT};
use super::superblock::Superblock;
use crate::bytes::{le32, u8_at};
use crate::filesystem::Instance;

/// What the superblock in `raw` (1024 bytes), which `superblock` is parsed from, says.
pub(super) fn instance(superblock: &Superblock, raw: &[u8]) -> Instance {
    let features = superblock.features;
    let words = [
        features.compat,
        features.incompat & !INCOMPAT_RECOVER,
        features.ro_compat & !RO_COMPAT_ORPHAN_PRESENT,
    ];
    // s_mkfs_time, s_wtime and s_lastcheck, each with its upper byte.
    let [made, written, checked] = [(0x108, 0x276), (0x30, 0x274), (0x40, 0x277)]
        .map(|(low, high)| u64::from(u8_at(raw, high)) << 32 | u64::from(le32(raw, low)));
    Instance {
        uuid: uuid::Uuid::from_bytes(superblock.uuid).to_string(),
        made: (made != 0).then_some(made),
        geometry: vec![
            superblock.blocks,
            superblock.block_bytes.into(),
            superblock.cluster_blocks.into(),
            superblock.blocks_per_group.into(),
            superblock.inodes.into(),
            superblock.inode_bytes.into(),
            superblock.first_inode.into(),
        ],
        features: words.map(u64::from).to_vec(),
        written: (written != 0).then_some(written),
        checked: (checked != 0).then_some(checked),
    }
}
