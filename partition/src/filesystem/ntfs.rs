//! NTFS, versions 1.x to 3.1.
//!
//! In use are the clusters whose bits in `$Bitmap` are set, the clusters that have no bit, and the
//! sectors from the last whole cluster up to the backup of the boot sector.

mod address;
mod attribute_list;
mod bitmap;
mod boot;
mod files;
mod hibernation;
mod index;
mod instance;
mod logfile;
mod mft;
mod name;
mod own_id;
mod owners;
mod place;
mod record;
mod runs;
mod scan;
mod sectors;
mod state;
mod stream;
mod times;
mod unstamped;
mod worthless;

use super::files::FileVisitor;
use super::named::Named;
use super::owners::{Wanted, look, search};
use super::{
    ChangeToken, Filesystem, Hazard, Instance, Kind, OnSectors, Owners, Summary, Worthless,
};
use crate::device::{Geometry, Patches, ReadAt, read_vec};
use crate::error::{Error, Result};
use crate::extent::ExtentMap;
use crate::own_id::OwnIds;
use bitmap::Bitmap;
use mft::Mft;
use std::sync::Arc;

/// Counting free clusters reads the bitmap. A larger one is not read for a summary.
const COUNTED_BITMAP_BYTES_MAX: u64 = 32 << 20;

struct Ntfs {
    mft: Mft,
    summary: Summary,
}

/// Recognizes an NTFS volume; `None` when the first sector is not an NTFS boot sector.
///
/// # Errors
/// [`Error::Io`] when the device fails.
pub(crate) fn probe(volume: &dyn ReadAt) -> Result<Option<Box<dyn Filesystem>>> {
    let volume_bytes = volume.geometry().size_bytes;
    if volume_bytes < boot::SECTOR_BYTES as u64 {
        return Ok(None);
    }
    let sector = read_vec(volume, 0, boot::SECTOR_BYTES)?;
    if !boot::is_plausible(&sector) {
        return Ok(None);
    }
    let mut summary = Summary {
        kind: Kind::Ntfs,
        label: None,
        uuid: Some(boot::serial(&sector)),
        size_bytes: volume_bytes,
        block_size_bytes: boot::cluster_size_bytes(&sector),
        used_bytes: None,
        hazards: Vec::new(),
    };
    let geometry = match boot::parse(&sector, volume_bytes) {
        Ok(geometry) => geometry,
        Err(corrupt) => return Ok(Some(damaged(summary, corrupt.into())?)),
    };
    summary.size_bytes = geometry.size_bytes;
    match Mft::open(volume, geometry) {
        Ok(mft) => Ok(Some(Box::new(summarize(volume, mft, summary)?))),
        Err(error) => Ok(Some(damaged(summary, error)?)),
    }
}

fn damaged(summary: Summary, error: Error) -> Result<Box<dyn Filesystem>> {
    let hazard = damage(error)?;
    Ok(Box::new(Named::new(summary).with_hazard(hazard)))
}

/// A structure that can't be read speaks against copying by the bitmap. A device that fails is no
/// hazard, but an error.
fn damage(error: Error) -> Result<Hazard> {
    match error {
        Error::Corrupt(corrupt) => Ok(Hazard::Damaged(corrupt.to_string())),
        error @ Error::Unsupported { .. } => Ok(Hazard::UnknownFeature(error.to_string())),
        other => Err(other),
    }
}

fn summarize(volume: &dyn ReadAt, mft: Mft, mut summary: Summary) -> Result<Ntfs> {
    summary.hazards = state::hazards(&mft, volume)?;
    match state::label(&mft, volume) {
        Ok(label) => summary.label = label,
        Err(error) => add(&mut summary, damage(error)?),
    }
    match used_bytes(volume, &mft) {
        Ok(used_bytes) => summary.used_bytes = used_bytes,
        Err(error) => add(&mut summary, damage(error)?),
    }
    Ok(Ntfs { mft, summary })
}

fn add(summary: &mut Summary, hazard: Hazard) {
    if !summary.hazards.contains(&hazard) {
        summary.hazards.push(hazard);
    }
}

fn used_bytes(volume: &dyn ReadAt, mft: &Mft) -> Result<Option<u64>> {
    let bitmap = Bitmap::open(mft, volume)?;
    if bitmap.len_bytes() > COUNTED_BITMAP_BYTES_MAX {
        return Ok(None);
    }
    let free_bytes = mft.geometry.bytes(bitmap.free_clusters()?);
    Ok(mft.geometry.size_bytes.checked_sub(free_bytes))
}

impl Filesystem for Ntfs {
    fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What the bitmap has in use, without the clusters that are known to be bad. The run lists of
    /// all files are checked against it.
    fn used(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        let used = Bitmap::open(&self.mft, device)?.used()?;
        scan::check(&self.mft, device, &used)?;
        Ok(Some(used.difference(&self.known_bad(device))))
    }

    /// The clusters of `$BadClus`.
    fn known_bad(&self, device: &dyn ReadAt) -> ExtentMap {
        scan::known_bad(&self.mft, device).unwrap_or_default()
    }

    fn metadata(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        let structures = scan::metadata(&self.mft, device)?;
        let edges = bitmap::edges(&self.mft.geometry).collect();
        let known_bad = self.known_bad(device);
        Ok(Some(structures.union(&edges).difference(&known_bad)))
    }

    /// None: NTFS counts no mounts. A file that ntfs-3g overwrites in place changes its own
    /// record and no field of the volume. Not even `$LogFile` changes, which stays emptied. Windows
    /// moves the log's sequence numbers, but a volume may meet both.
    fn change_token(&self, _device: &dyn ReadAt) -> Result<Option<ChangeToken>> {
        Ok(None)
    }

    fn worthless(&self, device: &dyn ReadAt) -> Result<Vec<Worthless>> {
        worthless::files(&self.mft, device)
    }

    fn on_sectors(&self, sector_bytes: u32) -> OnSectors {
        sectors::on_sectors(&self.mft.geometry, sector_bytes)
    }

    /// Only for sectors of another size.
    fn laid_out(&self, device: Arc<dyn ReadAt>, to: Geometry) -> Option<Result<Arc<dyn ReadAt>>> {
        let geometry = &self.mft.geometry;
        let is_whole = to.size_bytes == device.geometry().size_bytes;
        is_whole.then(|| sectors::shown(device, geometry, to.logical_sector_bytes))
    }

    fn files(&self, device: &dyn ReadAt, visitor: &mut dyn FileVisitor) -> Option<Vec<String>> {
        Some(look(Ok(&self.mft), device, |scan| {
            files::walk(scan, visitor);
        }))
    }

    fn instance(&self, device: &dyn ReadAt) -> Result<Option<Instance>> {
        let serial = self.summary.uuid.clone().unwrap_or_default();
        match instance::instance(&self.mft, device, serial) {
            Ok(instance) => Ok(Some(instance)),
            // It is told apart by nothing then.
            Err(Error::Corrupt(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn with_own_id(&self, device: &dyn ReadAt, ids: &OwnIds) -> Option<Result<Patches>> {
        Some(own_id::patches(device, &self.mft.geometry, ids))
    }

    fn owners(&self, device: &dyn ReadAt, extents: &ExtentMap, files_max: usize) -> Owners {
        let wanted = Wanted::new(extents, files_max);
        search(Ok(&self.mft), &wanted, |mft, gaps| {
            owners::owners(mft, device, &wanted, gaps)
        })
    }
}

#[cfg(test)]
mod tests;
