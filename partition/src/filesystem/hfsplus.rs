//! HFS+ and HFSX, as macOS and Linux write them (Apple's Technical Note
//! [TN1150](https://developer.apple.com/library/archive/technotes/tn/tn1150.html)).
//!
//! In use are the blocks that the allocation file marks, the headers and the blocks around them
//! whether marked or not, and a piece of a block after the last one. Other space after the last
//! block is free, except for the volume's last block, where an alternate header may be.

mod address;
mod bitmap;
mod btree;
mod fork;
mod fork_data;
mod header;
mod journal;
mod md5;
mod name;
mod node;
mod overflow;
mod scan;
mod state;
mod volume;
mod wrapper;

use super::named::Named;
use super::{ChangeToken, Filesystem, Kind, Summary};
use crate::bytes::be32;
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use header::Header;
use volume::Volume;

struct Hfsplus {
    volume: Volume,
    attributes: u32,
    summary: Summary,
}

/// Recognises an HFS+ volume by its header, and an HFS volume that is nothing but a wrapper of
/// one.
///
/// The alternate header is not looked for when the first is gone: such a volume needs `fsck_hfs`.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(crate) fn probe(device: &dyn ReadAt) -> Result<Option<Box<dyn Filesystem>>> {
    let volume_bytes = device.geometry().size_bytes;
    let end_bytes = header::OFFSET_BYTES + header::LEN_BYTES as u64;
    if volume_bytes < end_bytes {
        return Ok(None);
    }
    let raw = read_vec(device, header::OFFSET_BYTES, header::LEN_BYTES)?;
    if let Some(place) = wrapper::embedded(&raw) {
        return wrapped(device, place).map(Some);
    }
    plain(device, &raw)
}

/// A wrapper, named as the volume inside of it.
fn wrapped(device: &dyn ReadAt, place: Option<Extent>) -> Result<Box<dyn Filesystem>> {
    let mut summary = summarize(&[0; header::LEN_BYTES], device.geometry().size_bytes);
    let inside = wrapper::inside(device, place);
    let end_bytes = header::OFFSET_BYTES + header::LEN_BYTES as u64;
    if let Some(inside) = inside.filter(|inside| inside.geometry().size_bytes >= end_bytes) {
        let raw = read_vec(&inside, header::OFFSET_BYTES, header::LEN_BYTES)?;
        if let Some(volume) = plain(&inside, &raw)? {
            summary = volume.summary().clone();
        }
    }
    summary.size_bytes = device.geometry().size_bytes;
    summary.used_bytes = None;
    summary.hazards = vec![wrapper::hazard(place)];
    Ok(Box::new(Named::new(summary)))
}

/// A volume whose header is `raw`, if that is one.
fn plain(device: &dyn ReadAt, raw: &[u8]) -> Result<Option<Box<dyn Filesystem>>> {
    let volume_bytes = device.geometry().size_bytes;
    if !header::is_one(raw) {
        return Ok(None);
    }
    let mut summary = summarize(raw, volume_bytes);
    summary.hazards = state::recorded(raw);
    match open(raw, device, &mut summary) {
        Ok(volume) => Ok(Some(Box::new(Hfsplus {
            volume,
            attributes: header::attributes(raw),
            summary,
        }))),
        Err(error) => {
            let hazard = state::damage(error)?;
            Ok(Some(Box::new(Named::new(summary).with_hazard(hazard))))
        }
    }
}

/// What a header of 512 bytes says of itself, nothing of it checked.
fn summarize(raw: &[u8], volume_bytes: u64) -> Summary {
    let block_size_bytes = be32(raw, 40);
    let (total_blocks, free_blocks) = (be32(raw, 44), be32(raw, 48));
    let bytes = |blocks: u32| u64::from(blocks) * u64::from(block_size_bytes);
    Summary {
        kind: Kind::Hfsplus,
        label: None,
        uuid: name::uuid(raw),
        size_bytes: bytes(total_blocks).min(volume_bytes),
        block_size_bytes,
        used_bytes: total_blocks.checked_sub(free_blocks).map(bytes),
        hazards: Vec::new(),
    }
}

fn open(raw: &[u8], device: &dyn ReadAt, summary: &mut Summary) -> Result<Volume> {
    let volume_bytes = device.geometry().size_bytes;
    let header = Header::parse(raw, header::OFFSET_BYTES, volume_bytes)?;
    let observed = state::observed(header::attributes(raw), &header, device)?;
    summary.hazards.extend(observed);
    let volume = Volume::open(device, header)?;
    summary.label = name::label(&volume.catalog_tree(device)?)?;
    Ok(volume)
}

impl Filesystem for Hfsplus {
    fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The allocation file without the blocks that are known to be bad, checked against the forks of
    /// all files.
    fn used(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        let used = bitmap::used(&self.volume, device)?;
        scan::check(&self.volume, device, &used)?;
        Ok(Some(used.difference(&self.known_bad(device))))
    }

    /// The blocks of the bad block file.
    fn known_bad(&self, device: &dyn ReadAt) -> ExtentMap {
        let listed = scan::known_bad(&self.volume, device).unwrap_or_default();
        // Headers and journal are in use, whatever else claims their blocks.
        let structures = self.metadata(device).ok().flatten();
        structures.map_or_else(ExtentMap::new, |structures| listed.difference(&structures))
    }

    /// Headers, special files, journal.
    fn metadata(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        let structures = self.volume.structures();
        let journal = state::journal(self.attributes, &self.volume.header, device)?;
        let journal = journal.iter().flat_map(journal::Journal::extents);
        Ok(Some(structures.union(&journal.collect())))
    }

    /// None. `writeCount` and `modifyDate` move with a mount for writing, but not when a mounted
    /// volume is made writable and read-only again (`mount -o remount`): then a file can be
    /// overwritten in place, in Linux and in macOS, with no field of the header changed.
    fn change_token(&self, _device: &dyn ReadAt) -> Result<Option<ChangeToken>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
