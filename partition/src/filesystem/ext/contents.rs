//! Where the contents of regular files are, so that all else that is in use is metadata.

use super::bitmap;
use super::blockmap::BlockMaps;
use super::inode::{FileType, Inode};
use super::scan;
use super::superblock::Superblock;
use crate::device::ReadAt;
use crate::error::{Corrupt, Result};
use crate::extent::ExtentMap;
use crate::filesystem::gather::Gather;
use crate::filesystem::owners::Gaps;

/// All that is in use but the contents of regular files; `None` when those are in too many pieces.
///
/// # Errors
/// [`crate::Error::Corrupt`] when an inode, or a block that says where one's contents are, fails
/// a check; as [`bitmap::used`].
pub(super) fn metadata(superblock: &Superblock, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
    let Some(contents) = contents(superblock, device)? else {
        return Ok(None);
    };
    let used = bitmap::used(superblock, device)?;
    // A damaged file could claim what is the format's own.
    let structures = bitmap::structures(superblock, device)?;
    Ok(Some(used.difference(&contents).union(&structures)))
}

fn contents(superblock: &Superblock, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
    let mut gather = Gather::new();
    let mut maps = BlockMaps::new(superblock, device);
    let gaps = Gaps::new();
    let mut fault = None;
    scan::inodes(superblock, device, &gaps, &mut |inode| {
        if !holds_contents(superblock, inode) {
            return true;
        }
        // What fs-verity keeps of a file is behind its end.
        let end = inode.size_bytes.div_ceil(superblock.block_bytes.into());
        let visited = maps.visit(inode, &mut |run| {
            let blocks = run
                .file_block
                .and_then(|first| end.checked_sub(first))
                .map_or(0, |left| left.min(run.blocks));
            let extent = superblock.blocks_extent(run.block, blocks);
            extent.is_none_or(|extent| gather.push(extent))
        });
        visited.unwrap_or_else(|error| {
            fault = Some(error);
            false
        })
    });
    match (fault, gaps.list().first()) {
        (Some(error), _) => Err(error),
        // What an inode that can't be read holds would count as metadata, and so it may; but then
        // nothing shows that the others are right.
        (None, Some(gap)) => {
            Err(Corrupt::new("ext inode tables", "inodes", 0, "sound ones", gap).into())
        }
        (None, None) => Ok(gather.finish()),
    }
}

/// Whether an inode is a file of a user, and not one in which the filesystem keeps something.
fn holds_contents(superblock: &Superblock, inode: &Inode) -> bool {
    inode.file_type == FileType::Regular
        && !inode.is_attribute_value
        && !superblock.internal_inodes.contains(&inode.number)
}
