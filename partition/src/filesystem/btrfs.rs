//! Btrfs on one device (btrfs on-disk format; the kernel's `include/uapi/linux/btrfs_tree.h`).
//!
//! In use are the first mebibyte (boot loaders and the superblock), the superblock's copies, and
//! every copy of every extent in the extent tree. The filesystem keeps nothing behind the end that
//! its device item names, so those bytes are free.

mod address;
mod checksums;
mod chunk;
mod chunks;
mod data_extents;
mod extent_item;
mod feature;
mod file_extent;
mod ids;
mod instance;
mod lookup;
mod names;
mod own_id;
mod owners;
mod roots;
mod space;
mod subvolumes;
mod superblock;
mod tree;

use super::extents::{Checksum, ChecksumLookup, ExtentVisitor};
use super::owners::Gaps;
use super::{ChangeToken, Filesystem, Hazard, Instance, Kind, Owners, Summary};
use crate::bytes::{le32, le64, text};
use crate::device::{Patches, ReadAt, read_vec};
use crate::error::{Checked, Error, Result};
use crate::extent::{Extent, ExtentMap};
use crate::own_id::OwnIds;
use chunks::Chunks;
use owners::Question;
use sha2::{Digest, Sha256};
use space::Wanted;
use superblock::Superblock;
use tree::Tree;

/// `BTRFS_DEVICE_RANGE_RESERVED`: no chunk that today's tools make starts before.
const RESERVED_BYTES: u64 = 1 << 20;

/// A Btrfs filesystem.
struct Btrfs {
    summary: Summary,
    /// What trees are read with; `None` when it can't be read itself.
    map: Option<Map>,
}

/// Where trees start, and where their blocks are.
struct Map {
    superblock: Superblock,
    chunks: Chunks,
}

impl Map {
    fn read(raw: &[u8], checksum: Checksum, volume: &dyn ReadAt) -> Result<Self> {
        let superblock = Superblock::parse(raw, checksum, volume.geometry().size_bytes)?;
        let chunks = Chunks::read(&superblock, volume)?;
        Ok(Self { superblock, chunks })
    }

    const fn tree<'a>(&'a self, device: &'a dyn ReadAt) -> Tree<'a> {
        Tree {
            superblock: &self.superblock,
            chunks: &self.chunks,
            device,
        }
    }
}

/// Recognizes Btrfs by the primary superblock. The chunk tree is read too, so that a layout that
/// klon can't follow is known at once.
///
/// The superblock's copies are not looked at. A volume without a sound primary one needs
/// `btrfs rescue super-recover`, and is reported as damaged when its magic number is there.
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
    let is_magic = raw.get(0x40..0x48) == Some(superblock::MAGIC);
    // Where this copy says that it lies.
    let bytenr = le64(&raw, 0x30);
    if !is_magic || bytenr != superblock::OFFSET_BYTES {
        return Ok(None);
    }
    let (map, hazards) = match Recorded::parse(&raw) {
        Ok(Recorded { checksum, hazards }) => {
            match checksum.map(|checksum| Map::read(&raw, checksum, volume)) {
                Some(Ok(map)) => (Some(map), hazards),
                Some(Err(error)) if hazards.is_empty() => (None, vec![hazard(error)?]),
                Some(Err(_)) | None => (None, hazards),
            }
        }
        Err(corrupt) => (None, vec![hazard(corrupt.into())?]),
    };
    let summary = summary(&raw, hazards, volume_bytes);
    Ok(Some(Box::new(Btrfs { summary, map })))
}

/// What the superblock alone says.
struct Recorded {
    /// The checksum of tree blocks; `None` when a feature unknown to klon keeps it from reading them.
    checksum: Option<Checksum>,
    /// What speaks against copying by the extent tree.
    hazards: Vec<Hazard>,
}

impl Recorded {
    fn parse(raw: &[u8]) -> Checked<Self> {
        let checksum = superblock::checksum(raw)?;
        let mut hazards = feature::recorded(raw);
        if checksum.is_none() {
            let which = "a checksum type".to_owned();
            hazards.push(Hazard::UnknownFeature(which));
        }
        let is_unknown = |hazard: &Hazard| matches!(hazard, Hazard::UnknownFeature(_));
        let checksum = checksum.filter(|_| !hazards.iter().any(is_unknown));
        Ok(Self { checksum, hazards })
    }
}

fn hazard(error: Error) -> Result<Hazard> {
    match error {
        Error::Corrupt(corrupt) => Ok(Hazard::Damaged(corrupt.to_string())),
        Error::Unsupported { what, .. } => Ok(Hazard::UnknownFeature(what)),
        other => Err(other),
    }
}

fn summary(raw: &[u8], hazards: Vec<Hazard>, volume_bytes: u64) -> Summary {
    let fsid = uuid::Uuid::from_bytes(superblock::uuid(raw, 0x20));
    let label = raw.get(0x12b..0x22b);
    let (bytes_used, sectorsize) = (le64(raw, 0x78), le32(raw, 0x90));
    let device_total_bytes = le64(raw, 0xd1);
    Summary {
        kind: Kind::Btrfs,
        label: label.and_then(text),
        uuid: (!fsid.is_nil()).then(|| fsid.to_string()),
        // Of this device, not of the filesystem.
        size_bytes: device_total_bytes.min(volume_bytes),
        block_size_bytes: sectorsize,
        used_bytes: Some(bytes_used),
        hazards,
    }
}

impl Btrfs {
    /// What trees are read with, where they can be believed.
    fn map(&self) -> Result<&Map> {
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
        let map = self.map()?;
        let logical = space::space(map.tree(device), wanted)?;
        let places = map.chunks.physical(&logical);
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

    /// Over the superblock. Its generation goes up with every transaction, and no change to a tree
    /// or a file gets to the disk without one. Writes past the filesystem leave no mark. Neither do
    /// the repair of a bad copy by a scrub and the pages of an active swap file.
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
        let generation = le64(&raw, 0x48);
        Ok(Some(generation))
    }

    /// The extent tree and the checksum tree side by side.
    fn data_extents(
        &self,
        device: &dyn ReadAt,
        visitor: &mut dyn ExtentVisitor,
    ) -> Option<Result<()>> {
        let walked = self
            .map()
            .and_then(|map| data_extents::data_extents(map.tree(device), visitor));
        Some(walked)
    }

    fn checksums<'a>(
        &'a self,
        device: &'a dyn ReadAt,
    ) -> Option<Result<Box<dyn ChecksumLookup + 'a>>> {
        let lookup = self
            .map()
            .and_then(|map| lookup::Lookup::new(map.tree(device)));
        Some(lookup.map(|lookup| Box::new(lookup) as Box<dyn ChecksumLookup>))
    }

    fn instance(&self, device: &dyn ReadAt) -> Result<Option<Instance>> {
        let raw = read_vec(device, superblock::OFFSET_BYTES, superblock::LEN_BYTES)?;
        Ok(Some(instance::instance(&raw)))
    }

    fn with_own_id(&self, device: &dyn ReadAt, ids: &OwnIds) -> Option<Result<Patches>> {
        let map = self.map();
        Some(map.and_then(|map| own_id::patches(&map.superblock, device, ids)))
    }

    fn owners(&self, device: &dyn ReadAt, extents: &ExtentMap, files_max: usize) -> Owners {
        let gaps = Gaps::new();
        // Trees that can be read are enough to name files.
        gaps.note_all(&self.doubts());
        let question = Question { extents, files_max };
        let map = self.map.as_ref();
        let files = map.map(|map| owners::owners(map.tree(device), question, &gaps));
        gaps.with(files.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
