//! The bad blocks inode: the blocks that `mke2fs -c`, `mke2fs -l` and `e2fsck -c` found to be bad.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", section "Special inodes". The inode
//! has neither a type nor a name. e2fsprogs writes its map with indirect blocks, which are sound:
//! <https://docs.kernel.org/filesystems/ext4/index.html>.

use super::address::Ino;
use super::bitmap;
use super::blockmap::{BlockMaps, Run};
use super::inode::Inode;
use super::scan::{self, Scan};
use super::superblock::Superblock;
use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::ExtentMap;
use crate::filesystem::gather::Gather;
use crate::filesystem::known_bad::Claims;
use crate::filesystem::owners::Gaps;

/// `EXT4_BAD_INO`: the bad blocks inode.
const BAD_BLOCKS: Ino = Ino(1);
/// `EXT4_RESIZE_INO`: it has the blocks that are reserved for more group descriptors.
const RESIZE: Ino = Ino(7);

/// The blocks that are listed as bad and that no other structure or inode has. The answer is none
/// when the list, or any inode, can't be read: a block in doubt is in use.
pub(super) fn unclaimed(superblock: &Superblock, device: &dyn ReadAt) -> ExtentMap {
    find(superblock, device).ok().flatten().unwrap_or_default()
}

fn find(superblock: &Superblock, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
    let mut maps = BlockMaps::new(superblock, device);
    let mut inode = Inode::read(superblock, device, BAD_BLOCKS)?;
    // The inode has no type, so it was parsed as one that has no blocks.
    inode.has_blocks = true;
    let mut listed = Gather::new();
    let mut own = Vec::new();
    let is_whole = maps.visit(&inode, &mut |run| match run.file_block {
        Some(_) => listed.push(run.extent),
        None => {
            own.push(run.extent);
            true
        }
    })?;
    let Some(listed) = listed.finish().filter(|_| is_whole) else {
        return Ok(None);
    };
    let mut claims = Claims::new(listed);
    if claims.is_idle() {
        return Ok(None);
    }
    own.into_iter().for_each(|extent| claims.add(extent));
    let structures = bitmap::structures(superblock, device)?;
    structures.iter().for_each(|extent| claims.add(extent));
    // A resize inode that reserves nothing was never written, and fails its check.
    let resize = (superblock.reserved_gdt_blocks != 0).then_some(RESIZE);
    let numbers = superblock.internal_inodes.into_iter().chain(resize);
    for number in numbers.filter(|number| number.0 != 0) {
        let inode = Inode::read(superblock, device, number)?;
        claim(superblock, &mut maps, &inode, &mut claims)?;
    }
    let gaps = Gaps::new();
    let mut fault = None;
    let scan = Scan {
        superblock,
        device,
        gaps: &gaps,
    };
    scan::inodes(&scan, &mut |inode, _raw| {
        let claimed = claim(superblock, &mut maps, inode, &mut claims);
        fault = claimed.err();
        fault.is_none()
    });
    match fault {
        Some(error) => Err(error),
        None => Ok(gaps.list().is_empty().then(|| claims.unclaimed())),
    }
}

/// Claims everything that an inode has: its contents, the blocks of its map, its attributes.
fn claim(
    superblock: &Superblock,
    maps: &mut BlockMaps<'_>,
    inode: &Inode,
    claims: &mut Claims,
) -> Result<()> {
    if inode.attribute_block.0 != 0 {
        let extent = superblock.extent(inode.attribute_block, 1);
        extent.into_iter().for_each(|extent| claims.add(extent));
    }
    let mut add = |run: Run| {
        claims.add(run.extent);
        true
    };
    maps.visit(inode, &mut add).map(drop)
}
