//! F2FS, the flash-friendly filesystem.
//!
//! In use is all that comes before the main area (superblocks, checkpoints, SIT, NAT and SSA), and
//! each block of the main area that the SIT calls valid.
//!
//! Drivers don't read the second copies of SIT and NAT blocks, nor summaries of segments without a
//! valid block. They are copied all the same: the older checkpoint refers to such copies, tools may
//! read them, and they are small. Summaries take 0.2 % of the volume, the rest less than 0.01 %
//! each. The bytes after the main area (less than a section, or what was added to the volume later)
//! are never looked at.

mod address;
mod checkpoint;
mod checksum;
mod contents;
mod entry;
mod feature;
mod journal;
mod nat;
mod node;
mod sit;
mod state;
mod superblock;

use super::{ChangeToken, Filesystem, Hazard, Kind, Summary};
use crate::bytes::le16;
use crate::device::{ReadAt, read_vec};
use crate::error::{Checked, Corrupt, Error, Result};
use crate::extent::ExtentMap;
use crate::text::sealed_utf16;
use checkpoint::Checkpoints;
use superblock::Superblock;

/// An F2FS filesystem.
#[derive(Debug)]
struct F2fs {
    summary: Summary,
    geometry: Checked<Superblock>,
}

/// Recognises F2FS by its first superblock.
///
/// The second one must be its equal: drivers write both, and mend one with the other.
///
/// # Errors
/// [`Error::Io`] when the device fails.
pub(crate) fn probe(volume: &dyn ReadAt) -> Result<Option<Box<dyn Filesystem>>> {
    let volume_bytes = volume.geometry().size_bytes;
    let end_bytes = superblock::OFFSET_BYTES + superblock::LEN_BYTES as u64;
    if volume_bytes < end_bytes {
        return Ok(None);
    }
    let raw = read_vec(volume, superblock::OFFSET_BYTES, superblock::LEN_BYTES)?;
    if !superblock::is_one(&raw) {
        return Ok(None);
    }
    let mut summary = summary(&raw, volume_bytes);
    summary.hazards = state::recorded(&raw);
    let geometry = Superblock::parse(&raw, volume_bytes);
    match &geometry {
        Ok(superblock) => observe(&mut summary, superblock, volume, &raw)?,
        Err(corrupt) => summary.hazards.push(Hazard::Damaged(corrupt.to_string())),
    }
    Ok(Some(Box::new(F2fs { summary, geometry })))
}

fn summary(raw: &[u8], volume_bytes: u64) -> Summary {
    let block_size_bytes = superblock::block_bytes(raw);
    let uuid = raw.get(108..124).unwrap_or_default();
    let volume_name = raw.get(124..1148).unwrap_or_default();
    let units = volume_name.chunks_exact(2).map(|unit| le16(unit, 0));
    let units: Vec<u16> = units.take_while(|&unit| unit != 0).collect();
    let uuid = uuid::Uuid::from_slice(uuid).ok();
    Summary {
        kind: Kind::F2fs,
        label: (!units.is_empty()).then(|| sealed_utf16(units)),
        uuid: uuid
            .filter(|uuid| !uuid.is_nil())
            .map(|uuid| uuid.to_string()),
        size_bytes: superblock::blocks(raw)
            .saturating_mul(block_size_bytes.into())
            .min(volume_bytes),
        block_size_bytes,
        used_bytes: None,
        hazards: Vec::new(),
    }
}

/// Adds what is known from other places than the first superblock.
fn observe(
    summary: &mut Summary,
    superblock: &Superblock,
    volume: &dyn ReadAt,
    raw: &[u8],
) -> Result<()> {
    let at = u64::from(superblock.block_bytes) + superblock::OFFSET_BYTES;
    if read_vec(volume, at, superblock::LEN_BYTES)? != raw {
        let corrupt = Corrupt::new(
            "F2FS superblock",
            "the second copy",
            at,
            "the same bytes as in the first",
            "others",
        );
        summary.hazards.push(Hazard::Damaged(corrupt.to_string()));
    }
    match Checkpoints::read(superblock, volume) {
        Ok(checkpoints) => {
            let valid_blocks = checkpoints.current.valid_blocks();
            summary.used_bytes = superblock.bytes_up_to_main(valid_blocks);
            summary
                .hazards
                .extend(state::observed(superblock, &checkpoints, volume)?);
        }
        Err(Error::Corrupt(corrupt)) => summary.hazards.push(Hazard::Damaged(corrupt.to_string())),
        Err(error) => return Err(error),
    }
    Ok(())
}

impl F2fs {
    fn superblock(&self) -> Result<&Superblock> {
        match &self.geometry {
            Ok(superblock)
                if superblock.features.hazards().is_empty()
                    && superblock.block_bytes == superblock::BLOCK_BYTES =>
            {
                Ok(superblock)
            }
            Ok(_) => Err(Error::unsupported(
                "this f2fs",
                "it has features that klon doesn't know, so its maps prove nothing",
            )),
            Err(corrupt) => Err(corrupt.clone().into()),
        }
    }
}

impl Filesystem for F2fs {
    fn summary(&self) -> &Summary {
        &self.summary
    }

    fn used(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        let superblock = self.superblock()?;
        let checkpoint = Checkpoints::read(superblock, device)?.current;
        checkpoint::must_be_unmounted(&checkpoint)?;
        sit::used(superblock, &checkpoint, device).map(Some)
    }

    /// The end of the main area: what `block_count` has more is in no segment.
    fn end_bytes(&self) -> u64 {
        self.geometry.as_ref().map_or(0, Superblock::end_bytes)
    }

    /// All that is in use but the contents of regular files: quotas, and files that fs-verity
    /// protects, count as metadata.
    fn metadata(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        let superblock = self.superblock()?;
        let checkpoint = Checkpoints::read(superblock, device)?.current;
        checkpoint::must_be_unmounted(&checkpoint)?;
        let Some(contents) = contents::contents(superblock, &checkpoint, device)? else {
            return Ok(None);
        };
        let used = sit::used(superblock, &checkpoint, device)?;
        Ok(Some(used.difference(&contents)))
    }

    /// None: F2FS counts checkpoints, not mounts. A mount that changes nothing but the contents
    /// of blocks in place (what `fdatasync` does with small overwrites) and ends in a power cut
    /// leaves no trace: the checkpoint is still that of the last unmount.
    fn change_token(&self, _device: &dyn ReadAt) -> Result<Option<ChangeToken>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
