//! APFS containers of version 2 on one device (Apple File System Reference).
//!
//! The container's space manager has one bit per block for all volumes and snapshots together.
//! What it says as of the newest checkpoint is true at any time: blocks are written before the
//! checkpoint that uses them, and blocks that a checkpoint frees keep their bit until no older
//! checkpoint needs them. Encryption changes contents, not places, and is of no importance here.

mod address;
mod bitmap;
mod checkpoint;
mod chunks;
mod feature;
mod metadata;
mod node;
mod object;
mod omap;
mod reserved;
mod spaceman;
mod superblock;
mod trees;
mod volume;

use super::{ChangeToken, Filesystem, Hazard, Kind, Summary};
use crate::device::{ReadAt, read_vec};
use crate::error::{Error, Result};
use crate::extent::ExtentMap;
use checkpoint::Checkpoint;
use chunks::Chunks;
use object::Object;
use spaceman::Spaceman;
use superblock::Superblock;

/// An APFS container.
struct Apfs {
    summary: Summary,
    /// What leads to the bitmaps; `None` where there is a hazard.
    map: Option<(Superblock, Spaceman)>,
}

/// Recognises an APFS container by the superblock in block 0. The newest checkpoint and its space
/// manager are read too, so that a container that klon can't follow is known at once.
///
/// A container whose block 0 is lost could be found by a checkpoint; it is not looked for.
///
/// # Errors
/// [`Error::Io`] when the device fails.
pub(crate) fn probe(volume: &dyn ReadAt) -> Result<Option<Box<dyn Filesystem>>> {
    let volume_bytes = volume.geometry().size_bytes;
    if volume_bytes < superblock::BLOCK_BYTES_MIN as u64 {
        return Ok(None);
    }
    let head = read_vec(volume, 0, superblock::BLOCK_BYTES_MIN)?;
    if !superblock::is_one(&head) {
        return Ok(None);
    }
    let block_size_bytes = superblock::block_size_bytes(&head);
    // Checked later; until then the volume bounds it.
    let claimed_bytes = superblock::blocks(&head).saturating_mul(block_size_bytes.into());
    let mut summary = Summary {
        kind: Kind::Apfs,
        // Labels are the volumes': the container has none.
        label: None,
        uuid: superblock::uuid(&head),
        size_bytes: claimed_bytes.min(volume_bytes),
        block_size_bytes,
        used_bytes: None,
        hazards: Vec::new(),
    };
    let map = match read_map(&mut summary, volume) {
        Ok(map) => Some(map).filter(|_| summary.hazards.is_empty()),
        Err(error) => {
            let hazard = hazard(error)?;
            // The features say more of what is wrong than what they lead to.
            if summary.hazards.is_empty() {
                summary.hazards.push(hazard);
            }
            None
        }
    };
    Ok(Some(Box::new(Apfs { summary, map })))
}

/// Reads the superblock and the space manager, which lead to the bitmaps. Puts what they say of the
/// container into `summary`.
fn read_map(summary: &mut Summary, volume: &dyn ReadAt) -> Result<(Superblock, Spaceman)> {
    let volume_bytes = volume.geometry().size_bytes;
    let block_bytes = u64::from(summary.block_size_bytes).min(volume_bytes);
    let raw = read_vec(volume, 0, block_bytes as usize)?;
    let zero = Object::parse(superblock::KIND, 0, raw)?;
    // First what else it may be: the blocks of a Fusion drive are more than this volume's.
    summary.hazards = feature::recorded(&zero);
    if !summary.hazards.is_empty() {
        return Err(Error::unsupported(
            "this APFS",
            "its hazards say why; copy the whole volume",
        ));
    }
    let zero = Superblock::check(zero, volume_bytes)?;
    let checkpoint = Checkpoint::newest(&zero, volume)?;
    let newest = &checkpoint.superblock;
    let container = newest.container;
    let size_bytes = container.len_bytes(container.blocks);
    summary.size_bytes = size_bytes.unwrap_or(volume_bytes);
    summary.hazards = feature::recorded(&newest.object);
    summary.hazards.extend(unclean(&zero, newest));
    let spaceman = Spaceman::parse(checkpoint.spaceman(volume)?, newest)?;
    summary.hazards.extend(spaceman.second_device());
    // Checked: fewer are free than there are.
    let used_blocks = spaceman.blocks.checked_sub(spaceman.free_blocks);
    summary.used_bytes = used_blocks.and_then(|blocks| container.len_bytes(blocks));
    Ok((checkpoint.superblock, spaceman))
}

/// A clean unmount copies the newest checkpoint's superblock to block 0.
fn unclean(zero: &Superblock, newest: &Superblock) -> Option<Hazard> {
    let (found, expected) = (zero.xid(), newest.xid());
    if found != expected {
        return Some(Hazard::NotCleanlyUnmounted(format!(
            "block 0 is of transaction {found}, the newest checkpoint of {expected}"
        )));
    }
    let how = || "block 0 and the newest checkpoint are of one transaction and differ".to_owned();
    (zero.fields() != newest.fields()).then(|| Hazard::Damaged(how()))
}

fn hazard(error: Error) -> Result<Hazard> {
    match error {
        Error::Corrupt(corrupt) => Ok(Hazard::Damaged(corrupt.to_string())),
        Error::Unsupported { what, .. } => Ok(Hazard::UnknownFeature(what)),
        other => Err(other),
    }
}

impl Apfs {
    fn map(&self) -> Result<&(Superblock, Spaceman)> {
        self.map.as_ref().ok_or_else(|| {
            let hazards: Vec<String> = self.summary.hazards.iter().map(Hazard::to_string).collect();
            Error::unsupported(
                "this apfs",
                format!("it {}; copy the whole volume", hazards.join(", ")),
            )
        })
    }
}

impl Filesystem for Apfs {
    fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The blocks that the bitmaps of the newest checkpoint have in use, all volumes' and
    /// snapshots' among them.
    fn used(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        let (superblock, spaceman) = self.map()?;
        let chunks = Chunks {
            superblock,
            spaceman,
            device,
        };
        let used = bitmap::used(&chunks)?;
        reserved::check(superblock, spaceman, &used)?;
        Ok(Some(used))
    }

    /// All that is in use but contents of files, streams and attributes.
    fn metadata(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        let (superblock, spaceman) = self.map()?;
        match self.used(device)? {
            Some(used) => metadata::metadata(superblock, spaceman, &used, device),
            None => Ok(None),
        }
    }

    /// None. Every transaction has a number, which goes up in the superblock, but only macOS
    /// knows whether contents of files are ever written in place (as those of its swap files are)
    /// without a transaction that follows: a power cut in between would leave no mark.
    fn change_token(&self, _device: &dyn ReadAt) -> Result<Option<ChangeToken>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
