//! Which clusters are the filesystem's own: a bounded walk over all directories.

use super::Chains;
use super::directory::{self, Directory};
use super::layout::Layout;
use crate::device::ReadAt;
use crate::error::{Corrupt, Error, Result};
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::gather::Gather;

/// Directories known and not yet read.
const PENDING_MAX: usize = 1 << 22;

/// Reserved sectors, all copies of the FAT, the root directory and all others, and the sectors
/// after the last whole cluster; `None` when that is in too many pieces.
///
/// # Errors
/// [`Error::Corrupt`] when a chain is damaged or a directory longer than one can be;
/// [`Error::Unsupported`] when the tree is larger than the walk's bound.
pub(super) fn metadata(device: &dyn ReadAt, layout: &Layout) -> Result<Option<ExtentMap>> {
    let mut walk = Walk {
        chains: Chains::new(device, layout),
        gather: Gather::new(),
        pending: Vec::new(),
    };
    let around = [
        Extent::between(0, layout.data_offset_bytes),
        Extent::between(layout.data_end_bytes(), layout.size_bytes),
    ];
    for extent in around.into_iter().flatten() {
        walk.gather.push(extent);
    }
    let root = directory::read_root(&mut walk.chains)?;
    walk.directory(&root)?;
    while let Some(cluster) = walk.pending.pop() {
        let directory = directory::read(&mut walk.chains, cluster)?;
        walk.directory(&directory)?;
    }
    Ok(walk.gather.finish())
}

struct Walk<'a> {
    chains: Chains<'a>,
    gather: Gather,
    /// First clusters.
    pending: Vec<u32>,
}

impl Walk<'_> {
    fn directory(&mut self, directory: &Directory) -> Result<()> {
        let offset_bytes = directory.runs.first().map_or(0, |run| run.offset_bytes());
        if !directory.is_whole {
            let (expected, found) = ("at most 65536 entries", "more clusters");
            return Err(Corrupt::new("FAT", "directory", offset_bytes, expected, found).into());
        }
        for &run in &directory.runs {
            self.gather.push(run);
        }
        let entries = directory::entries(&directory.bytes, self.chains.layout());
        let directories = entries.filter(|entry| entry.is_directory);
        self.pending
            .extend(directories.map(|entry| entry.first_cluster));
        if self.pending.len() > PENDING_MAX {
            return Err(Error::unsupported(
                "a FAT directory tree of this size",
                format!("more than {PENDING_MAX} directories wait to be read; run fsck.fat"),
            ));
        }
        Ok(())
    }
}
