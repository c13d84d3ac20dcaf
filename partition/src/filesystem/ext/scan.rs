//! Every inode in use, in the order of their tables.

use super::descriptor::{Descriptor, Descriptors};
use super::inode::Inode;
use super::superblock::Superblock;
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::filesystem::owners::Gaps;

/// The inode of the root directory.
pub(super) const ROOT: u32 = 2;
const BATCH_BYTES: u32 = 1 << 20;

/// Told of each inode, with its bytes; whether to go on.
pub(super) type Visit<'a> = dyn FnMut(&Inode, &[u8]) -> bool + 'a;

/// Visits every inode in use that can have a name: the root directory and all that aren't
/// reserved. Groups and inodes that fail their check are noted in `gaps`.
pub(super) fn inodes(
    superblock: &Superblock,
    device: &dyn ReadAt,
    gaps: &Gaps,
    visit: &mut Visit<'_>,
) {
    let mut descriptors = Descriptors::new(superblock, device);
    while let Some(batch) = descriptors.next_parsed().transpose() {
        for descriptor in gaps.tolerate(batch).into_iter().flatten() {
            let Some(descriptor) = gaps.tolerate(descriptor.map_err(Into::into)) else {
                continue;
            };
            let goes_on = descriptor.is_inode_uninit
                || gaps
                    .tolerate(group(superblock, device, (&descriptor, gaps), visit))
                    .unwrap_or(true);
            if !goes_on {
                return;
            }
        }
    }
}

fn group(
    superblock: &Superblock,
    device: &dyn ReadAt,
    (descriptor, gaps): (&Descriptor, &Gaps),
    visit: &mut Visit<'_>,
) -> Result<bool> {
    let len = usize::try_from(superblock.block_bytes).unwrap_or(usize::MAX);
    let bitmap = read_vec(device, superblock.byte(descriptor.inode_bitmap), len)?;
    let inodes = superblock
        .inodes_per_group
        .saturating_sub(descriptor.unused_inodes);
    let batch = (BATCH_BYTES / superblock.inode_bytes).max(1);
    let inode_len = usize::try_from(superblock.inode_bytes).unwrap_or(usize::MAX);
    let mut start = 0_u32;
    while start < inodes {
        let count = batch.min(inodes.saturating_sub(start));
        let offset_bytes = inode_offset(superblock, descriptor, start);
        let len = usize::try_from(count)
            .unwrap_or(0)
            .saturating_mul(inode_len);
        let raw = read_vec(device, offset_bytes, len)?;
        for (index, raw) in (start..).zip(raw.chunks_exact(inode_len)) {
            let number = number(superblock, descriptor, index);
            let is_named = number == ROOT || number >= superblock.first_inode;
            if is_named && is_set(&bitmap, index) {
                let offset_bytes = inode_offset(superblock, descriptor, index);
                let inode = Inode::parse(superblock, number, offset_bytes, raw);
                let inode = gaps.tolerate(inode.map_err(Into::into));
                if inode.is_some_and(|inode| !visit(&inode, raw)) {
                    return Ok(false);
                }
            }
        }
        start = start.saturating_add(count);
    }
    Ok(true)
}

fn inode_offset(superblock: &Superblock, descriptor: &Descriptor, index: u32) -> u64 {
    let in_table = u64::from(index).saturating_mul(superblock.inode_bytes.into());
    superblock
        .byte(descriptor.inode_table)
        .saturating_add(in_table)
}

const fn number(superblock: &Superblock, descriptor: &Descriptor, index: u32) -> u32 {
    let before = descriptor.group.saturating_mul(superblock.inodes_per_group);
    before.saturating_add(index).saturating_add(1)
}

fn is_set(bitmap: &[u8], index: u32) -> bool {
    let byte = usize::try_from(index / 8)
        .ok()
        .and_then(|byte| bitmap.get(byte));
    byte.is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}
