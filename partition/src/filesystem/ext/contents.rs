//! Where the contents of regular files are, so that all else that is in use is metadata.

use super::bitmap;
use super::files;
use super::scan::Scan;
use super::superblock::Superblock;
use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::ExtentMap;
use crate::filesystem::files::Contents;
use crate::filesystem::owners::Gaps;

/// All that is in use but the contents of regular files.
///
/// # Errors
/// As [`bitmap::used`].
pub(super) fn others(
    superblock: &Superblock,
    device: &dyn ReadAt,
    contents: &ExtentMap,
) -> Result<ExtentMap> {
    let used = bitmap::used(superblock, device)?;
    // A damaged file could claim blocks of the format itself.
    let structures = bitmap::structures(superblock, device)?;
    Ok(used.difference(contents).union(&structures))
}

/// The contents of regular files; `None` when those are in too many pieces.
///
/// # Errors
/// [`crate::Error::Corrupt`] when an inode, or a block that says where its contents are, fails a
/// check.
pub(super) fn contents(superblock: &Superblock, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
    let gaps = Gaps::new();
    let mut contents = Contents::new();
    let scan = Scan {
        superblock,
        device,
        gaps: &gaps,
    };
    files::walk(&scan, &mut contents);
    // The blocks of an inode that can't be read would count as metadata, which does no harm. But
    // then nothing shows that the other inodes are right.
    gaps.none()?;
    Ok(contents.finish())
}
