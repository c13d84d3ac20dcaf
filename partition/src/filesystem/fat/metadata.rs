//! Which clusters are the filesystem's own, and which it knows to be bad: a bounded walk over all
//! directories.

use super::Chains;
use super::allocation;
use super::directory::{self, Directory};
use super::layout::Layout;
use crate::device::ReadAt;
use crate::error::{Corrupt, Error, Result};
use crate::extent::ExtentMap;
use crate::filesystem::cluster::Cluster;
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
    let mut gather = Gather::new();
    for extent in [layout.head(), layout.tail()].into_iter().flatten() {
        gather.push(extent);
    }
    for_each_directory(device, layout, &mut |directory| {
        for &run in &directory.runs {
            gather.push(run);
        }
    })?;
    Ok(gather.finish())
}

/// The clusters that are marked bad and that neither an entry of the FAT nor one of a directory leads
/// to.
///
/// # Errors
/// As for [`metadata`], and for [`allocation::used`].
pub(super) fn known_bad(device: &dyn ReadAt, layout: &Layout) -> Result<ExtentMap> {
    let mut claims = allocation::marked_bad(device, layout)?;
    if claims.is_idle() {
        return Ok(ExtentMap::new());
    }
    let mut claim = |cluster| {
        let first = layout.clusters.extent(cluster);
        first.into_iter().for_each(|extent| claims.add(extent));
    };
    claim(layout.root_cluster);
    for_each_directory(device, layout, &mut |directory| {
        let entries = directory::entries(&directory.bytes, layout);
        entries.for_each(|entry| claim(entry.first_cluster));
    })?;
    Ok(claims.unclaimed())
}

/// Calls `visit` with the root directory and all others.
///
/// # Errors
/// As for [`metadata`].
pub(super) fn for_each_directory(
    device: &dyn ReadAt,
    layout: &Layout,
    visit: &mut dyn FnMut(&Directory),
) -> Result<()> {
    let mut walk = Walk {
        chains: Chains::new(device, layout),
        pending: Vec::new(),
    };
    let root = directory::read_root(&mut walk.chains)?;
    walk.directory(&root, visit)?;
    while let Some(cluster) = walk.pending.pop() {
        let directory = directory::read(&mut walk.chains, cluster)?;
        walk.directory(&directory, visit)?;
    }
    Ok(())
}

struct Walk<'a> {
    chains: Chains<'a>,
    /// First clusters.
    pending: Vec<Cluster>,
}

impl Walk<'_> {
    fn directory(
        &mut self,
        directory: &Directory,
        visit: &mut dyn FnMut(&Directory),
    ) -> Result<()> {
        let offset_bytes = directory.runs.first().map_or(0, |run| run.offset_bytes());
        if !directory.is_whole {
            let (expected, found) = ("at most 65536 entries", "more clusters");
            return Err(Corrupt::new("FAT", "directory", offset_bytes, expected, found).into());
        }
        visit(directory);
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
