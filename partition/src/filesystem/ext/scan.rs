//! Every inode in use, in the order of their tables.

use super::address::{Ino, InodePlace};
use super::descriptor::{Descriptor, Descriptors};
use super::inode::Inode;
use super::superblock::Superblock;
use crate::device::read_vec;
use crate::error::Result;
use crate::filesystem::bits::{Order, is_set};
use crate::filesystem::owners;

const BATCH_BYTES: u32 = 1 << 20;

/// A filesystem that is looked through.
pub(super) type Scan<'a> = owners::Scan<'a, Superblock>;

/// Gets each inode, with its bytes. Whether to go on.
pub(super) type Visit<'a> = dyn FnMut(&Inode, &[u8]) -> bool + 'a;

/// Visits every inode in use that can have a name: the root directory and all that aren't
/// reserved. Groups and inodes that fail their check are noted as gaps.
pub(super) fn inodes(scan: &Scan<'_>, visit: &mut Visit<'_>) {
    let gaps = scan.gaps;
    let mut descriptors = Descriptors::new(scan.superblock, scan.device);
    while let Some(batch) = descriptors.next_parsed().transpose() {
        for descriptor in gaps.tolerate(batch).into_iter().flatten() {
            let descriptor = gaps.tolerate(descriptor.map_err(Into::into));
            let Some(descriptor) = descriptor.filter(|it| !it.is_inode_uninit) else {
                continue;
            };
            let visited = group(scan, &descriptor, visit);
            if gaps.tolerate(visited) == Some(false) {
                return;
            }
        }
    }
}

fn group(scan: &Scan<'_>, descriptor: &Descriptor, visit: &mut Visit<'_>) -> Result<bool> {
    let superblock = scan.superblock;
    let bitmap_bytes = superblock.byte(descriptor.inode_bitmap);
    let bitmap = read_vec(scan.device, bitmap_bytes, superblock.block_len())?;
    let inodes = superblock
        .inodes_per_group
        .saturating_sub(descriptor.unused_inodes);
    let batch = (BATCH_BYTES / superblock.inode_bytes).max(1);
    let inode_len = superblock.inode_bytes as usize;
    for start in (0..inodes).step_by(batch as usize) {
        let count = batch.min(inodes - start);
        let offset_bytes = superblock.inode_byte(descriptor.inode_table, start);
        let raw = read_vec(scan.device, offset_bytes, count as usize * inode_len)?;
        for (index, raw) in (start..).zip(raw.chunks_exact(inode_len)) {
            let group = descriptor.group;
            let number = superblock.inode_number(InodePlace { group, index });
            let is_named = number == Ino::ROOT || number.0 >= superblock.first_inode;
            let is_in_use = is_set(&bitmap, Order::LeastFirst, index.into()) == Some(true);
            if is_named && is_in_use {
                let offset_bytes = superblock.inode_byte(descriptor.inode_table, index);
                let inode = Inode::parse(superblock, number, offset_bytes, raw);
                let inode = scan.gaps.tolerate(inode.map_err(Into::into));
                if inode.is_some_and(|inode| !visit(&inode, raw)) {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}
