//! Another UUID, in all superblocks and in the last record of the log. Metadata blocks keep the one that they
//! have: of version 5, `sb_meta_uuid` says which that is.
//!
//! XFS Algorithms & Data Structures, "Superblocks" and "Journaling Log":
//! <https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf>.

use super::address::AgBlock;
use super::checksum;
use super::feature::INCOMPAT_META_UUID;
use super::log;
use super::superblock::{CRC_OFFSET, MAGIC, Superblock, uuid};
use crate::bytes::{be32, le32};
use crate::device::{Patches, ReadAt, read_vec};
use crate::error::Result;
use crate::filesystem::own_id::put;
use crate::own_id::OwnIds;

/// See [`crate::filesystem::Filesystem::with_own_id`].
pub(super) fn patches(
    superblock: &Superblock,
    device: &dyn ReadAt,
    ids: &OwnIds,
) -> Result<Patches> {
    let mut patches = Patches::new();
    let own = ids
        .uuid(uuid::Uuid::from_bytes(superblock.uuid))
        .into_bytes();
    for group in superblock.group_numbers() {
        let at = superblock.group_byte(group, AgBlock(0));
        let old = read_vec(device, at, superblock.sector_len())?;
        // A copy that is none of this filesystem's is left alone.
        if !old.starts_with(MAGIC) || uuid(&old, 32) != superblock.uuid {
            continue;
        }
        let mut new = old.clone();
        put(&mut new, 32, &own);
        if superblock.features.is_v5() {
            if checksum::crc32c(&old, CRC_OFFSET) != le32(&old, CRC_OFFSET) {
                continue;
            }
            let incompat = be32(&old, 216) | INCOMPAT_META_UUID;
            put(&mut new, 216, &incompat.to_be_bytes());
            put(&mut new, 248, &superblock.meta_uuid);
            let sum = checksum::crc32c(&new, CRC_OFFSET);
            put(&mut new, CRC_OFFSET, &sum.to_le_bytes());
        }
        patches.add(at, &old, &new)?;
    }
    log::with_own_id(superblock, device, own, &mut patches)?;
    Ok(patches)
}
