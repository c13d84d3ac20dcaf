//! Btrfs on one device (btrfs on-disk format, kernel documentation and wiki).
//!
//! Used are the first mebibyte (boot loaders and the superblock), the superblock's copies, and
//! on the device every place of every extent in the extent tree. Bytes past the end of the device
//! item are free: the filesystem keeps nothing there.

mod checksum;
mod chunk;
mod chunks;
mod feature;
mod ids;
mod names;
mod owners;
mod roots;
mod space;
mod subvolumes;
mod superblock;
mod tree;
mod walk_around;

use super::owners::Gaps;
use super::{ChangeToken, Filesystem, Hazard, Kind, Owners, Summary};
use crate::bytes::{le32, le64, text};
use crate::device::{ReadAt, read_vec};
use crate::error::{Error, Result};
use crate::extent::{Extent, ExtentMap};
use checksum::Checksum;
use chunks::Chunks;
use sha2::{Digest, Sha256};
use space::Wanted;
use superblock::Superblock;
use tree::Tree;

/// `BTRFS_DEVICE_RANGE_RESERVED`: no chunk that today's tools make starts before.
const RESERVED_BYTES: u64 = 1 << 20;

/// A Btrfs filesystem.
struct Btrfs {
    summary: Summary,
    /// What to read trees with; nothing where that can't be read itself.
    map: Option<(Superblock, Chunks)>,
}

/// Recognises Btrfs by the primary superblock. The chunk tree is read too, so that a layout that
/// klon can't follow is known at once.
///
/// Copies of the superblock are not looked at: a volume without a sound primary one needs
/// `btrfs rescue super-recover`, and is reported as damaged when its magic number is there.
///
/// # Errors
/// [`Error::Io`] when the device fails.
pub(crate) fn probe(volume: &dyn ReadAt) -> Result<Option<Box<dyn Filesystem>>> {
    let volume_bytes = volume.geometry().size_bytes;
    let end_bytes = superblock::OFFSET_BYTES.saturating_add(superblock::LEN_BYTES as u64);
    if volume_bytes < end_bytes {
        return Ok(None);
    }
    let raw = read_vec(volume, superblock::OFFSET_BYTES, superblock::LEN_BYTES)?;
    let is_magic = raw.get(0x40..0x48) == Some(superblock::MAGIC);
    // bytenr: where this copy says that it lies.
    if !is_magic || le64(&raw, 0x30) != superblock::OFFSET_BYTES {
        return Ok(None);
    }
    let (map, hazards) = match recorded(&raw) {
        Ok((None, hazards)) => (None, hazards),
        Ok((Some(checksum), hazards)) => match read_map(&raw, checksum, volume) {
            Ok(map) => (Some(map), hazards),
            Err(error) if hazards.is_empty() => (None, vec![hazard(error)?]),
            Err(_) => (None, hazards),
        },
        Err(corrupt) => (None, vec![hazard(corrupt.into())?]),
    };
    let summary = summary(&raw, hazards, volume_bytes);
    Ok(Some(Box::new(Btrfs { summary, map })))
}

/// What the superblock alone says against copying by the extent tree, and the checksum of its
/// trees; none where they can't be read for a feature that klon doesn't know.
fn recorded(raw: &[u8]) -> superblock::Checked<(Option<Checksum>, Vec<Hazard>)> {
    let checksum = superblock::checksum(raw)?;
    let mut hazards = feature::recorded(raw);
    if checksum.is_none() {
        let which = "a checksum type".to_owned();
        hazards.push(Hazard::UnknownFeature(which));
    }
    let is_unknown = |hazard: &Hazard| matches!(hazard, Hazard::UnknownFeature(_));
    let checksum = checksum.filter(|_| !hazards.iter().any(is_unknown));
    Ok((checksum, hazards))
}

fn read_map(raw: &[u8], checksum: Checksum, volume: &dyn ReadAt) -> Result<(Superblock, Chunks)> {
    let superblock = Superblock::parse(raw, checksum, volume.geometry().size_bytes)?;
    let chunks = Chunks::read(&superblock, volume)?;
    Ok((superblock, chunks))
}

fn hazard(error: Error) -> Result<Hazard> {
    match error {
        Error::Corrupt(corrupt) => Ok(Hazard::Damaged(corrupt.to_string())),
        Error::Unsupported { what, .. } => Ok(Hazard::UnknownFeature(what)),
        other => Err(other),
    }
}

fn summary(raw: &[u8], hazards: Vec<Hazard>, volume_bytes: u64) -> Summary {
    let uuid = uuid::Uuid::from_bytes(superblock::uuid(raw, 0x20));
    Summary {
        kind: Kind::Btrfs,
        label: raw.get(0x12b..0x22b).and_then(text),
        uuid: (!uuid.is_nil()).then(|| uuid.to_string()),
        // dev_item.total_bytes: of this device, not of the filesystem.
        size_bytes: le64(raw, 0xd1).min(volume_bytes),
        block_size_bytes: le32(raw, 0x90),
        used_bytes: Some(le64(raw, 0x78)),
        hazards,
    }
}

impl Btrfs {
    fn map(&self) -> Result<&(Superblock, Chunks)> {
        let map = self.map.as_ref();
        let map = map.filter(|_| self.summary.hazards.is_empty());
        map.ok_or_else(|| {
            let hazards: Vec<String> = self.summary.hazards.iter().map(Hazard::to_string).collect();
            Error::unsupported(
                "this btrfs",
                format!("it {}; copy the whole volume", hazards.join(", ")),
            )
        })
    }

    /// What may keep the trees from naming all files.
    fn doubts(&self) -> Vec<String> {
        self.summary.hazards.iter().map(Hazard::to_string).collect()
    }

    /// The places of extents on `device`, and the reserved ones.
    fn places(&self, device: &dyn ReadAt, wanted: Wanted) -> Result<ExtentMap> {
        let (superblock, chunks) = self.map()?;
        let tree = Tree {
            superblock,
            chunks,
            device,
        };
        let places = chunks.physical(&space::space(&tree, wanted)?);
        let reserved = reserved(device.geometry().size_bytes).collect();
        Ok(places.union(&reserved))
    }
}

/// The start of the device and the superblock's copies.
fn reserved(volume_bytes: u64) -> impl Iterator<Item = Extent> {
    let len_bytes = superblock::LEN_BYTES as u64;
    let mirrors = superblock::MIRRORS
        .into_iter()
        .filter_map(move |start| Extent::new(start, len_bytes))
        .filter(move |mirror| mirror.end_bytes() <= volume_bytes);
    Extent::new(0, RESERVED_BYTES).into_iter().chain(mirrors)
}

impl Filesystem for Btrfs {
    fn summary(&self) -> &Summary {
        &self.summary
    }

    fn used(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        self.places(device, Wanted::All).map(Some)
    }

    /// Tree blocks, superblocks, the first mebibyte and the version 1 space cache.
    fn metadata(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        self.places(device, Wanted::Metadata).map(Some)
    }

    /// Over the superblock: its generation goes up with every transaction, and no change to a
    /// tree or a file gets to the disk without one. Writes past the filesystem leave no mark, and
    /// neither do the repair of a bad copy by a scrub or pages in an active swap file.
    fn change_token(&self, device: &dyn ReadAt) -> Result<Option<ChangeToken>> {
        let raw = read_vec(device, superblock::OFFSET_BYTES, superblock::LEN_BYTES)?;
        let mut digest = Sha256::new();
        digest.update(b"klon btrfs change token 1\0");
        digest.update(&raw);
        Ok(Some(ChangeToken(digest.finalize().into())))
    }

    /// The generation, which every transaction makes one larger.
    fn age(&self, device: &dyn ReadAt) -> Result<Option<u64>> {
        let raw = read_vec(device, superblock::OFFSET_BYTES, superblock::LEN_BYTES)?;
        Ok(Some(le64(&raw, 0x48)))
    }

    fn owners(&self, device: &dyn ReadAt, extents: &ExtentMap, files_max: usize) -> Owners {
        let gaps = Gaps::new();
        // Names of files need no more than trees that can be read.
        gaps.note_all(&self.doubts());
        let files = self.map.as_ref().map(|(superblock, chunks)| {
            let tree = Tree {
                superblock,
                chunks,
                device,
            };
            owners::owners(&tree, (extents, files_max), &gaps)
        });
        gaps.with(files.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
