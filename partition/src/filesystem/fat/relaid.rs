//! A FAT laid out anew: for a smaller volume, or for sectors of another size. Nothing of the volume is written, and
//! the contents of files are read where they lie. Made anew are the reserved sectors, the FATs, and the directories,
//! in which nothing changes but the numbers of clusters: names, attributes and times stay.
//!
//! Where clusters stay as large as they are, each keeps its number, so that little differs from one time to the next.

mod shape;
mod tree;
mod written;

use super::layout::Layout;
use crate::device::{Composed, Geometry, ReadAt, read_vec};
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::filesystem::cluster::Cluster;
use shape::Shape;
use std::sync::Arc;
use tree::Tree;

/// The volume as it is on a device of `to`.
///
/// # Errors
/// [`Error::Refused`] when its files have no room there; [`Error::Corrupt`] when a chain or directory is damaged;
/// [`Error::Unsupported`] when it is larger than klon lays out.
pub(super) fn relaid(
    device: Arc<dyn ReadAt>,
    layout: &Layout,
    to: Geometry,
) -> Result<Arc<dyn ReadAt>> {
    let mut tree = Tree::read(&*device, layout)?;
    let shape = Shape::of(layout, to)?;
    tree.place(layout, &shape)?;
    let mut shown = Composed::new(device.clone(), to);
    for (offset_bytes, bytes) in written::head(&*device, layout, &shape, &tree)? {
        shown.show(offset_bytes, bytes)?;
    }
    for chain in &tree.chains {
        match &chain.directory {
            Some(bytes) => {
                let bytes = written::directory(bytes, &tree, chain, layout);
                show_directory(&mut shown, &shape, &chain.to, &bytes)?;
            }
            None => show_file(&mut shown, layout, &shape, chain)?,
        }
    }
    Ok(Arc::new(shown))
}

/// How small a volume with the same clusters can be made.
///
/// # Errors
/// As of [`relaid`].
pub(super) fn least_bytes(device: &dyn ReadAt, layout: &Layout) -> Result<u64> {
    let tree = Tree::read(device, layout)?;
    Shape::least(layout, tree.clusters())
}

/// A directory in its clusters, which are zero behind its end.
fn show_directory(
    shown: &mut Composed<Arc<dyn ReadAt>>,
    shape: &Shape,
    clusters: &[Cluster],
    bytes: &[u8],
) -> Result<()> {
    let pieces = bytes.chunks(shape.clusters.size_bytes() as usize);
    for (&cluster, piece) in clusters.iter().zip(pieces) {
        let extent = shape.extent(cluster)?;
        shown.show(extent.offset_bytes(), Arc::from(piece))?;
    }
    Ok(())
}

/// The contents of a file: its old clusters one after another, in its new ones.
fn show_file(
    shown: &mut Composed<Arc<dyn ReadAt>>,
    layout: &Layout,
    shape: &Shape,
    chain: &tree::Chain,
) -> Result<()> {
    let unit_bytes = u64::from(
        layout
            .clusters
            .size_bytes()
            .min(shape.clusters.size_bytes()),
    );
    // Clusters of both sizes are whole units, wherever they begin.
    let piece = |extent: Extent| {
        let starts = (extent.offset_bytes()..extent.end_bytes()).step_by(unit_bytes as usize);
        starts.filter_map(move |at| Extent::new(at, unit_bytes))
    };
    let mut from = Vec::new();
    for &cluster in &chain.from {
        let extent = layout.clusters.extent(cluster);
        from.extend(extent.into_iter().flat_map(piece));
    }
    let mut to = Vec::new();
    for &cluster in &chain.to {
        to.extend(piece(shape.extent(cluster)?));
    }
    for (from, to) in from.into_iter().zip(to) {
        shown.show_beneath(to.offset_bytes(), from)?;
    }
    Ok(())
}

/// The first sector as far as it has a meaning, whatever the sector.
fn boot_sector(device: &dyn ReadAt) -> Result<Vec<u8>> {
    read_vec(device, 0, super::boot::SECTOR_BYTES)
}

fn too_large(what: String) -> Error {
    Error::unsupported("a FAT of this size", what)
}

#[cfg(test)]
mod tests;
