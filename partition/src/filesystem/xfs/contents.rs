//! Where the contents of regular files are, so that all else that is in use is metadata.

use super::bmap::Bmaps;
use super::group::Group;
use super::inode::{self, Inode};
use super::superblock::Superblock;
use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};

/// Extents held before they are sorted and joined.
const PENDING_MAX: usize = 1 << 18;
/// More than this aren't told apart from metadata.
const EXTENTS_MAX: usize = 1 << 21;

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
        joined: ExtentMap::new(),
        pending: Vec::new(),
    };
    for number in 0..superblock.groups {
        let group = Group::read(superblock, device, number)?;
        inode::inodes(superblock, device, (&group, None), &mut |inode| {
            walk.inode(&inode?)
        })?;
        if walk.joined.extents().len() > EXTENTS_MAX {
            return Ok(None);
        }
    }
    join(&mut walk.joined, &mut walk.pending);
    Ok((walk.joined.extents().len() <= EXTENTS_MAX).then_some(walk.joined))
}

struct Walk<'a> {
    superblock: &'a Superblock,
    maps: Bmaps<'a>,
    joined: ExtentMap,
    pending: Vec<Extent>,
}

fn join(joined: &mut ExtentMap, pending: &mut Vec<Extent>) {
    let pending = pending.drain(..).collect();
    *joined = joined.union(&pending);
}

impl Walk<'_> {
    fn inode(&mut self, inode: &Inode) -> Result<()> {
        let is_internal = self.superblock.internal_inodes.contains(&inode.number);
        if !inode.is_regular() || is_internal || inode.is_realtime() {
            return Ok(());
        }
        let (joined, pending) = (&mut self.joined, &mut self.pending);
        self.maps.visit(inode, &inode.data(), &mut |run| {
            pending.push(run.extent);
            if pending.len() >= PENDING_MAX {
                join(joined, pending);
            }
            true
        })
    }
}
