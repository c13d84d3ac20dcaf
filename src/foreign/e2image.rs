//! What `e2image -Q` makes: a qcow2 image that has the structures of an ext filesystem and no contents of its files.

use crate::human;
use klon_imaging::image::import::qcow2::Qcow2;
use klon_partition::filesystem::{Filesystem, Kind, probe};
use klon_partition::{ExtentMap, ReadAt};

/// The warning for an image that e2image made. `None` for any other image, and if klon can't tell.
pub(super) fn warning<D: ReadAt>(given: &str, disk: &Qcow2<D>) -> Option<String> {
    let filesystem = probe(disk).ok().flatten()?;
    let summary = filesystem.summary();
    let is_ext = matches!(summary.kind, Kind::Ext2 | Kind::Ext3 | Kind::Ext4);
    // e2image makes a cluster of each block. Others have larger ones, and need not be looked through.
    if !is_ext || disk.cluster_bytes() != u64::from(summary.block_size_bytes) {
        return None;
    }
    let contents = contents(disk, &*filesystem)?;
    // What the image has no cluster of reads as zeroes.
    let is_stored = |extent| disk.data(extent).map(|data| !data.is_empty());
    for extent in contents.iter() {
        if is_stored(extent).unwrap_or(true) {
            return None;
        }
    }
    let bytes = contents.total_bytes();
    (bytes > 0).then(|| {
        format!(
            "{given} holds a filesystem without the contents of its files, as `e2image -Q` makes it: {} read as \
             zeroes. `e2image -Qa` keeps them",
            human::size(bytes)
        )
    })
}

/// Where the filesystem has the contents of files.
fn contents(device: &dyn ReadAt, filesystem: &dyn Filesystem) -> Option<ExtentMap> {
    let used = filesystem.used(device).ok().flatten()?;
    let metadata = filesystem.metadata(device).ok().flatten()?;
    Some(used.difference(&metadata))
}
