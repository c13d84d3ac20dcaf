//! Where the contents of regular files are, so that all else that is in use is metadata.

use super::files;
use super::scan::Scan;
use super::superblock::Superblock;
use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::ExtentMap;
use crate::filesystem::files::Contents;
use crate::filesystem::owners::Gaps;

/// The bytes that hold contents of regular files and nothing else; `None` when those are in too
/// many pieces.
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
    gaps.none()?;
    Ok(contents.finish())
}
