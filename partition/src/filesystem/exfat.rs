//! exFAT, revision 1.00. Sections are those of Microsoft's
//! [exFAT file system specification](https://learn.microsoft.com/en-us/windows/win32/fileio/exfat-specification).
//!
//! In use are the boot regions, the FATs and all else before the cluster heap, each cluster whose
//! bit in the allocation bitmap is set, and the excess space after the last cluster. Bad clusters
//! have their bits set, too; those that no entry set names are not in use. The volume's bytes after
//! VolumeLength are free: no driver reads them.

mod bad;
mod bitmap;
pub(in crate::filesystem) mod boot;
mod directory;
mod entry;
mod layout;
mod own_id;
mod owners;
mod root;
mod sectors;
mod state;
mod tree;

use super::chain;
use super::finder::Finder;
use super::named::Named;
use super::owners::Gaps;
use super::{ChangeToken, Filesystem, Hazard, Kind, OnSectors, Owners, Summary};
use crate::device::{Geometry, Patches, ReadAt, read_vec};
use crate::error::{Error, Result};
use crate::extent::ExtentMap;
use crate::own_id::OwnIds;
use bitmap::Bitmap;
use layout::Layout;
use root::Root;
use std::sync::Arc;

type Chains<'a> = chain::Chains<'a, Layout>;

/// Counting free clusters reads the bitmap; one larger than this is not read for a summary. (The
/// boot sector has PercentInUse, which Linux does not keep up to date.)
const COUNTED_BITMAP_BYTES_MAX: u64 = 32 << 20;

struct Exfat {
    layout: Layout,
    /// The sector that it was made for.
    sector_bytes: u64,
    root: Root,
    summary: Summary,
}

/// Recognises an exFAT volume; `None` when the first sector is not an exFAT boot sector.
///
/// # Errors
/// [`Error::Io`] when the device fails.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<Option<Box<dyn Filesystem>>> {
    let size_bytes = volume.geometry().size_bytes;
    if size_bytes < boot::SECTOR_BYTES as u64 {
        return Ok(None);
    }
    let sector = read_vec(volume, 0, boot::SECTOR_BYTES)?;
    if !boot::is_plausible(&sector) {
        return Ok(None);
    }
    let mut summary = Summary {
        kind: Kind::Exfat,
        label: None,
        uuid: Some(boot::serial(&sector)),
        size_bytes,
        block_size_bytes: 0,
        used_bytes: None,
        hazards: state::flag_hazards(&sector),
    };
    let (layout, root) = match read(volume, &sector, &mut summary) {
        Ok(parts) => parts,
        Err(error) => return Ok(Some(damaged(summary, error)?)),
    };
    summary.label.clone_from(&root.label);
    let bitmap = Bitmap {
        layout: &layout,
        root: &root,
        device: volume,
    };
    if layout.bitmap_bytes() <= COUNTED_BITMAP_BYTES_MAX {
        // No more than there are clusters, which lie on the volume.
        let free_bytes = bitmap.free_clusters()? * u64::from(layout.heap.size_bytes());
        summary.used_bytes = layout.size_bytes.checked_sub(free_bytes);
    }
    Ok(Some(Box::new(Exfat {
        layout,
        sector_bytes: sectors::own_bytes(&sector),
        root,
        summary,
    })))
}

fn read(volume: &dyn ReadAt, sector: &[u8], summary: &mut Summary) -> Result<(Layout, Root)> {
    let layout = boot::layout(sector, volume.geometry().size_bytes)?;
    summary.size_bytes = layout.size_bytes;
    summary.block_size_bytes = layout.heap.size_bytes();
    boot::verify(volume, sector)?;
    state::check_fats(volume, &layout)?;
    let root = root::read(volume, &layout)?;
    Ok((layout, root))
}

/// What can't be read speaks against copying by the bitmap; a device that fails is no hazard.
fn damaged(summary: Summary, error: Error) -> Result<Box<dyn Filesystem>> {
    let hazard = match error {
        Error::Corrupt(corrupt) => Hazard::Damaged(corrupt.to_string()),
        error @ Error::Unsupported { .. } => Hazard::UnknownFeature(error.to_string()),
        other => return Err(other),
    };
    Ok(Box::new(Named::new(summary).with_hazard(hazard)))
}

impl Filesystem for Exfat {
    fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The bitmap, checked against all entry sets of the directory tree.
    fn used(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        let bitmap = Bitmap {
            layout: &self.layout,
            root: &self.root,
            device,
        };
        let used = bitmap.used()?;
        tree::check(device, &self.layout, &used)?;
        Ok(Some(used.difference(&self.known_bad(device))))
    }

    /// The clusters with the mark of bad ones.
    fn known_bad(&self, device: &dyn ReadAt) -> ExtentMap {
        bad::unclaimed(device, &self.layout).unwrap_or_default()
    }

    fn metadata(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        let structures = tree::metadata(device, &self.layout)?;
        let edges = [self.layout.head(), self.layout.tail()];
        Ok(Some(
            structures.union(&edges.into_iter().flatten().collect()),
        ))
    }

    /// None: exFAT counts no mounts, and a file overwritten in place changes only the time stamp
    /// of its own entry set. VolumeFlags is as before after a clean unmount, and PercentInUse is
    /// not kept up to date by all drivers.
    fn change_token(&self, _device: &dyn ReadAt) -> Result<Option<ChangeToken>> {
        Ok(None)
    }

    fn with_own_id(&self, device: &dyn ReadAt, ids: &OwnIds) -> Option<Result<Patches>> {
        Some(own_id::patches(device, ids))
    }

    fn on_sectors(&self, sector_bytes: u32) -> OnSectors {
        sectors::on_sectors(&self.layout, self.sector_bytes, sector_bytes)
    }

    /// Only for sectors of another size.
    fn laid_out(&self, device: Arc<dyn ReadAt>, to: Geometry) -> Option<Result<Arc<dyn ReadAt>>> {
        let is_whole = to.size_bytes == device.geometry().size_bytes;
        is_whole.then(|| sectors::shown(device, &self.layout, to.logical_sector_bytes))
    }

    fn owners(&self, device: &dyn ReadAt, extents: &ExtentMap, files_max: usize) -> Owners {
        let gaps = Gaps::new();
        let finder = Finder::new(extents, files_max);
        let files = owners::owners(device, &self.layout, finder, &gaps);
        gaps.with(files)
    }
}

#[cfg(test)]
mod tests;
