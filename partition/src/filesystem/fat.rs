//! FAT12, FAT16 and FAT32 (Microsoft, "FAT: General Overview of On-Disk Format",
//! [fatgen103](https://academy.cba.mit.edu/classes/networking_communications/SD/FAT.pdf)).
//!
//! In use are the reserved sectors, every copy of the FAT, the root directory of FAT12/16, each
//! cluster whose entry is neither 0 nor the mark of bad ones, and the sectors after the last whole
//! cluster. The volume's bytes after the filesystem's last sector are free: no FAT driver reads
//! them.

mod allocation;
mod boot;
mod by_path;
mod directory;
mod layout;
mod let_go;
mod metadata;
mod own_id;
mod owners;
mod relaid;
mod state;

use super::chain;
use super::finder::Finder;
use super::named::Named;
use super::owners::Gaps;
use super::{ChangeToken, Filesystem, Hazard, OnSectors, Owners, Paths, Summary};
use crate::device::{Geometry, Patches, ReadAt, read_vec};
use crate::error::{Error, Result};
use crate::extent::ExtentMap;
use crate::own_id::OwnIds;
use boot::Parsed;
pub(super) use boot::is_bitlocker_to_go;
use layout::Layout;
pub use let_go::{ClearedMark, cleared_mark};
use std::sync::Arc;

/// Counting free clusters reads the FAT; one larger than this is not read for a summary.
const COUNTED_FAT_BYTES_MAX: u64 = 4 << 20;

type Chains<'a> = chain::Chains<'a, Layout>;

struct Fat {
    layout: Layout,
    summary: Summary,
}

/// Recognises a FAT volume; `None` when the first sector is not a FAT boot sector.
///
/// # Errors
/// [`Error::Io`] when the device fails.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<Option<Box<dyn Filesystem>>> {
    let size_bytes = volume.geometry().size_bytes;
    if size_bytes < boot::SECTOR_BYTES as u64 {
        return Ok(None);
    }
    let sector = read_vec(volume, 0, boot::SECTOR_BYTES)?;
    let identity = boot::identity(&sector);
    match boot::parse(&sector, size_bytes) {
        Parsed::NotFat => Ok(None),
        Parsed::Damaged(kind, corrupt) => {
            let summary = Summary {
                kind,
                label: identity.label,
                uuid: identity.serial,
                size_bytes,
                block_size_bytes: 0,
                used_bytes: None,
                hazards: vec![Hazard::Damaged(corrupt.to_string())],
            };
            Ok(Some(Box::new(Named::new(summary))))
        }
        Parsed::Valid(layout) => Ok(Some(Box::new(summarize(volume, layout, identity)?))),
    }
}

fn summarize(volume: &dyn ReadAt, layout: Layout, identity: boot::Identity) -> Result<Fat> {
    let mut hazards = state::hazards(volume, &layout, identity.state)?;
    // Damage in the root directory or the FAT makes the volume damaged, not unknown.
    let mut label = identity.label;
    match directory::root_label(volume, &layout) {
        Ok(Some(found)) => label = Some(found),
        Ok(None) => {}
        Err(error) => hazards.push(damage(error)?),
    }
    let free_clusters = if layout.fat_bytes <= COUNTED_FAT_BYTES_MAX {
        match allocation::free_clusters(volume, &layout) {
            Ok(count) => Some(count),
            Err(error) => {
                hazards.push(damage(error)?);
                None
            }
        }
    } else {
        state::free_clusters_hint(volume, &layout)?
    };
    let cluster_bytes = layout.clusters.size_bytes();
    let free_bytes = free_clusters.map(|count| u64::from(count) * u64::from(cluster_bytes));
    let summary = Summary {
        kind: layout.kind,
        label,
        uuid: identity.serial,
        size_bytes: layout.size_bytes,
        block_size_bytes: cluster_bytes,
        used_bytes: free_bytes.and_then(|free_bytes| layout.size_bytes.checked_sub(free_bytes)),
        hazards,
    };
    Ok(Fat { layout, summary })
}

fn damage(error: Error) -> Result<Hazard> {
    match error {
        Error::Corrupt(corrupt) => Ok(Hazard::Damaged(corrupt.to_string())),
        other => Err(other),
    }
}

impl Filesystem for Fat {
    fn summary(&self) -> &Summary {
        &self.summary
    }

    fn used(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        let used = allocation::used(device, &self.layout)?;
        Ok(Some(used.difference(&self.known_bad(device))))
    }

    /// The clusters with the mark of bad ones.
    fn known_bad(&self, device: &dyn ReadAt) -> ExtentMap {
        metadata::known_bad(device, &self.layout).unwrap_or_default()
    }

    /// Reserved sectors, FATs, directories, and what follows the last whole cluster. Clusters that
    /// no directory leads to are not part of it.
    fn metadata(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        metadata::metadata(device, &self.layout)
    }

    /// None: FAT counts no mounts, checksums nothing, and a file overwritten in place leaves the
    /// FAT and the free count as they were (its time stamp has a step of 2 s and may be set back),
    /// so no few fields show that nothing was written.
    fn change_token(&self, _device: &dyn ReadAt) -> Result<Option<ChangeToken>> {
        Ok(None)
    }

    fn with_own_id(&self, device: &dyn ReadAt, ids: &OwnIds) -> Option<Result<Patches>> {
        Some(own_id::patches(device, &self.layout, ids))
    }

    fn on_sectors(&self, sector_bytes: u32) -> OnSectors {
        let Layout {
            kind,
            sector_bytes: own_bytes,
            ..
        } = self.layout;
        match own_bytes == u64::from(sector_bytes) {
            true => OnSectors::AsIs,
            false => OnSectors::Anew(format!(
                "its {kind} was made for sectors of {own_bytes} bytes. klon lays it out anew for sectors of \
                 {sector_bytes}: its files, names, times, serial number and label stay"
            )),
        }
    }

    fn laid_out(&self, device: Arc<dyn ReadAt>, to: Geometry) -> Option<Result<Arc<dyn ReadAt>>> {
        Some(relaid::relaid(device, &self.layout, to))
    }

    fn least_bytes(&self, device: &dyn ReadAt) -> Option<Result<u64>> {
        Some(relaid::least_bytes(device, &self.layout))
    }

    fn paths<'a>(&'a self, device: &'a dyn ReadAt) -> Option<Paths<'a>> {
        Some(Paths::new(by_path::Reader {
            device,
            layout: &self.layout,
        }))
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
