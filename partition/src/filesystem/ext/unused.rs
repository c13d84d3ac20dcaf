//! What the format takes and was never used: ends of inode tables, and room for copies of the descriptor
//! table to grow.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", sections "Block Group Descriptors"
//! (`bg_itable_unused`), "Inode Table" and "Layout" (reserved GDT blocks):
//! <https://docs.kernel.org/filesystems/ext4/index.html>.

use super::address::{Block, Group};
use super::bitmap;
use super::descriptor::{Descriptor, Descriptors};
use super::feature;
use super::superblock::Superblock;
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::bits::{Order, for_each_run};
use crate::filesystem::gather::Gather;

/// Bitmaps that are read at once.
const BITMAPS_MAX: usize = 256;

/// The blocks that the format takes and whose content nobody needs: of each group the [end of its inode
/// table](end) and [its spare descriptors](spare). A block that another structure of the format has as well
/// is left out. There are none where they are in too many pieces.
///
/// # Errors
/// [`crate::Error::Corrupt`] when a descriptor fails its check; [`crate::Error::Io`] when the device
/// fails.
pub(super) fn structures(superblock: &Superblock, device: &dyn ReadAt) -> Result<ExtentMap> {
    let (mut unused, mut others) = (Gather::new(), Gather::new());
    let mut descriptors = Descriptors::new(superblock, device);
    while let Some(batch) = descriptors.next_batch()? {
        let near = batch.chunk_by(is_next);
        for now in near.flat_map(|near| near.chunks(BITMAPS_MAX)) {
            let bitmaps = bitmaps(superblock, device, now)?;
            let bitmaps = bitmaps.as_deref().unwrap_or_default();
            let mut bitmaps = bitmaps.chunks_exact(superblock.block_len());
            for descriptor in now {
                let parts = [
                    end(superblock, descriptor, bitmaps.next()),
                    spare(superblock, descriptor.group),
                ];
                let parts: ExtentMap = parts.into_iter().flatten().collect();
                let all: ExtentMap = bitmap::of_group(superblock, descriptor).collect();
                let has_room = parts.iter().all(|extent| unused.push(extent))
                    && all.difference(&parts).iter().all(|rest| others.push(rest));
                if !has_room {
                    return Ok(ExtentMap::new());
                }
            }
        }
    }
    let (Some(unused), Some(others)) = (unused.finish(), others.finish()) else {
        return Ok(ExtentMap::new());
    };
    Ok(unused.difference(&others))
}

/// Whether one read brings the bitmaps of both groups, or neither has one.
fn is_next(a: &Descriptor, b: &Descriptor) -> bool {
    let is_adjacent = || a.inode_bitmap.0.checked_add(1) == Some(b.inode_bitmap.0);
    a.is_inode_uninit == b.is_inode_uninit && (a.is_inode_uninit || is_adjacent())
}

/// The bitmaps of inodes of groups that follow each other; `None` where they were never written.
fn bitmaps(
    superblock: &Superblock,
    device: &dyn ReadAt,
    descriptors: &[Descriptor],
) -> Result<Option<Vec<u8>>> {
    let written = descriptors.first().filter(|first| !first.is_inode_uninit);
    let Some(first) = written else {
        return Ok(None);
    };
    let len = superblock.block_len().saturating_mul(descriptors.len());
    read_vec(device, superblock.byte(first.inode_bitmap), len).map(Some)
}

/// The whole blocks at the end of a group's inode table that hold no inode which was ever used.
///
/// The group's descriptor counts these inodes (`bg_itable_unused`), and has a checksum; where descriptors
/// have none, the count says nothing. The group's bitmap must not have one of them in use, and must
/// have its own checksum, where there is one. Neither the kernel nor e2fsck reads such a block before an
/// inode in it is made, and then the kernel takes all else in it as zero (`__ext4_get_inode_loc`).
/// Zeroes are what mke2fs and the kernel's thread for that (`ext4_init_inode_table`) write there.
fn end(superblock: &Superblock, group: &Descriptor, bitmap: Option<&[u8]>) -> Option<Extent> {
    let inodes = superblock.inodes_per_group;
    let used = inodes.checked_sub(group.unused_inodes)?;
    if !group.is_inode_uninit {
        let bits = bitmap?.get(..inodes as usize / 8)?;
        let mut end = 0;
        for_each_run(
            bits,
            Order::LeastFirst,
            inodes.into(),
            &mut |first, count| {
                end = first.saturating_add(count);
            },
        );
        if end > u64::from(used) || !group.has_inode_bitmap(superblock, bits) {
            return None;
        }
    }
    let block_bytes = u64::from(superblock.block_bytes);
    let start_bytes = superblock.inode_byte(group.inode_table, used);
    let start_bytes = start_bytes
        .div_ceil(block_bytes)
        .saturating_mul(block_bytes);
    let table_blocks = u64::from(superblock.inode_table_blocks());
    let end = Block(group.inode_table.0.checked_add(table_blocks)?);
    Extent::between(start_bytes, superblock.byte(end))
}

/// Blocks that the copy of the descriptor table in a group would have if the filesystem were larger.
///
/// mke2fs does not write them, and whoever uses one later writes all of it (`update_backups` in the
/// kernel, `ext2fs_flush` in the tools). Those beside the primary table are something else: they say
/// where the copies are.
fn spare(superblock: &Superblock, group: Group) -> Option<Extent> {
    let has_inode = superblock.features.has_compat(feature::COMPAT_RESIZE_INODE);
    (has_inode && group != Group(0)).then(|| superblock.spare_descriptors(group))?
}
