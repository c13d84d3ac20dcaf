//! Where the contents of regular files are, so that all else that is in use is metadata.

use super::bmap::Bmaps;
use super::group::Group;
use super::inode::{self, Inode};
use super::superblock::Superblock;
use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::ExtentMap;
use crate::filesystem::gather::Gather;

/// The bytes that hold contents of regular files and nothing else; `None` when those are in too
/// many pieces.
///
/// # Errors
/// [`crate::Error::Corrupt`] when an inode, or a block that says where one's contents are, fails
/// a check.
pub(super) fn contents(superblock: &Superblock, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
    let mut walk = Walk {
        superblock,
        maps: Bmaps::new(superblock, device),
        gather: Gather::new(),
        is_full: false,
    };
    for number in 0..superblock.groups {
        let group = Group::read(superblock, device, number)?;
        inode::inodes(superblock, device, (&group, None), &mut |inode| {
            walk.inode(&inode?)
        })?;
        if walk.is_full {
            return Ok(None);
        }
    }
    Ok(walk.gather.finish())
}

struct Walk<'a> {
    superblock: &'a Superblock,
    maps: Bmaps<'a>,
    gather: Gather,
    is_full: bool,
}

impl Walk<'_> {
    fn inode(&mut self, inode: &Inode) -> Result<()> {
        let is_internal = self.superblock.internal_inodes.contains(&inode.number);
        if !inode.is_regular() || is_internal || inode.is_realtime() {
            return Ok(());
        }
        let (gather, is_full) = (&mut self.gather, &mut self.is_full);
        self.maps.visit(inode, &inode.data(), &mut |run| {
            *is_full |= !gather.push(run.extent);
            true
        })
    }
}
