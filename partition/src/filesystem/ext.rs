//! ext2, ext3 and ext4.

mod address;
mod bad;
mod bitmap;
mod blockmap;
mod by_path;
mod checksum;
mod contents;
mod descriptor;
mod directory;
mod feature;
mod files;
mod group;
mod inode;
mod instance;
mod journal;
mod own_id;
mod owners;
mod place;
mod scan;
mod state;
mod status;
mod superblock;
mod unused;

use super::files::FileVisitor;
use super::owners::{Wanted, look, search};
use super::{ChangeToken, Filesystem, Hazard, Instance, Kind, Owners, Paths, Replayed, Summary};
use crate::bytes::{le16, le64};
use crate::device::{Patches, ReadAt, read_vec};
use crate::error::{Corrupt, Error, Result};
use crate::extent::ExtentMap;
use crate::own_id::OwnIds;
use descriptor::Descriptors;
use feature::Features;
use sha2::{Digest, Sha256};
use status::Status;
use superblock::Superblock;

/// An ext2, ext3 or ext4 filesystem.
#[derive(Debug)]
struct Ext {
    summary: Summary,
    geometry: Geometry,
}

/// The superblock, or why it can't be used.
type Geometry = std::result::Result<Superblock, Refusal>;

/// Why a superblock can't be used.
#[derive(Clone, Debug)]
enum Refusal {
    Damaged(Corrupt),
    JournalDevice,
}

/// Recognizes ext2, ext3 and ext4 by the magic number of the primary superblock.
///
/// Backup superblocks are not looked at. A volume whose primary superblock is not sound needs
/// e2fsck, and is reported as damaged.
///
/// # Errors
/// [`Error::Io`] when the device fails.
pub(crate) fn probe(volume: &dyn ReadAt) -> Result<Option<Box<dyn Filesystem>>> {
    let volume_bytes = volume.geometry().size_bytes;
    if volume_bytes < 2 * superblock::OFFSET_BYTES {
        return Ok(None);
    }
    let raw = read_vec(volume, superblock::OFFSET_BYTES, superblock::LEN_BYTES)?;
    let s_magic = le16(&raw, 0x38);
    if s_magic != superblock::MAGIC {
        return Ok(None);
    }
    let status = Status::parse(&raw);
    let mut hazards = state::recorded(&status);
    let geometry = geometry(&raw, &status, volume_bytes);
    match &geometry {
        Ok(superblock) => hazards.extend(state::observed(superblock, &status, volume)?),
        Err(Refusal::Damaged(corrupt)) => hazards.push(Hazard::Damaged(corrupt.to_string())),
        Err(Refusal::JournalDevice) => (),
    }
    let summary = summary(status, hazards, volume_bytes);
    Ok(Some(Box::new(Ext { summary, geometry })))
}

fn geometry(raw: &[u8], status: &Status, volume_bytes: u64) -> Geometry {
    if status.features.has_incompat(feature::INCOMPAT_JOURNAL_DEV) {
        return Err(Refusal::JournalDevice);
    }
    Superblock::parse(raw, volume_bytes).map_err(Refusal::Damaged)
}

fn summary(status: Status, hazards: Vec<Hazard>, volume_bytes: u64) -> Summary {
    let block_bytes = u64::from(status.block_bytes);
    let size_bytes = status.blocks.checked_mul(block_bytes);
    let used_blocks = status.blocks.checked_sub(status.free_blocks);
    Summary {
        kind: kind(status.features),
        label: status.label,
        uuid: status.uuid,
        size_bytes: size_bytes.map_or(volume_bytes, |size_bytes| size_bytes.min(volume_bytes)),
        block_size_bytes: status.block_bytes,
        used_bytes: used_blocks.and_then(|blocks| blocks.checked_mul(block_bytes)),
        hazards,
    }
}

const fn kind(features: Features) -> Kind {
    if features.is_ext4() {
        Kind::Ext4
    } else if features.has_journal() {
        Kind::Ext3
    } else {
        Kind::Ext2
    }
}

impl Ext {
    fn superblock(&self) -> Result<&Superblock> {
        match &self.geometry {
            Ok(superblock) if superblock.features.unknown().is_empty() => Ok(superblock),
            Ok(_) => Err(Error::unsupported(
                format!("this {}", self.summary.kind),
                "it has features that klon doesn't know, so its bitmaps prove nothing",
            )),
            Err(Refusal::Damaged(corrupt)) => Err(corrupt.clone().into()),
            Err(Refusal::JournalDevice) => Err(Error::unsupported(
                "an external journal",
                "it has no allocation map; copy the whole volume",
            )),
        }
    }
}

impl Filesystem for Ext {
    fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What the bitmaps have in use, without the blocks that are known to be bad, and the boot area
    /// before the first group. The space after the filesystem's end is free: ext keeps nothing
    /// there.
    fn used(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        let used = bitmap::used(self.superblock()?, device)?;
        Ok(Some(used.difference(&self.known_bad(device))))
    }

    /// The list of the bad blocks inode.
    fn known_bad(&self, device: &dyn ReadAt) -> ExtentMap {
        let superblock = self.superblock();
        superblock.map_or_else(|_| ExtentMap::new(), |it| bad::unclaimed(it, device))
    }

    fn empty_log(&self, device: &dyn ReadAt) -> ExtentMap {
        let superblock = self.superblock();
        let log = superblock.and_then(|it| journal::empty_log(it, device));
        log.unwrap_or_default()
    }

    /// The log of an empty journal, and what of the format's structures was never used.
    fn blank(&self, device: &dyn ReadAt) -> ExtentMap {
        let superblock = self.superblock();
        let unused = superblock.and_then(|it| unused::structures(it, device));
        self.empty_log(device).union(&unused.unwrap_or_default())
    }

    fn replay(&self, device: &dyn ReadAt) -> Option<Result<Replayed>> {
        let superblock = self.superblock();
        Some(superblock.and_then(|it| journal::replay(it, device)))
    }

    /// All that is in use but the contents of a user's regular files. The journal, quotas, the
    /// orphan file and values of extended attributes count as metadata.
    fn metadata(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        match contents::contents(self.superblock()?, device)? {
            Some(contents) => self.metadata_but(device, &contents),
            None => Ok(None),
        }
    }

    fn metadata_but(&self, device: &dyn ReadAt, contents: &ExtentMap) -> Result<Option<ExtentMap>> {
        let metadata = contents::others(self.superblock()?, device, contents)?;
        Ok(Some(metadata.difference(&self.known_bad(device))))
    }

    /// Over the superblock (`s_mtime`, `s_wtime`, `s_mnt_count`, counters, feature and state
    /// flags) and all group descriptors (counters, checksums of the bitmaps). Every mount for
    /// writing leaves its mark there, and so do tune2fs, resize2fs and an e2fsck that checks.
    /// Writes past the filesystem leave none, nor do the commands of debugfs that change a field in
    /// place.
    fn change_token(&self, device: &dyn ReadAt) -> Result<Option<ChangeToken>> {
        let superblock = self.superblock()?;
        let raw = read_vec(device, superblock::OFFSET_BYTES, superblock::LEN_BYTES)?;
        let mut digest = Sha256::new();
        digest.update(b"klon ext change token 1\0");
        digest.update(&raw);
        let mut descriptors = Descriptors::new(superblock, device);
        while let Some(table) = descriptors.next_raw()? {
            digest.update(&table.raw);
        }
        Ok(Some(ChangeToken(digest.finalize().into())))
    }

    fn files(&self, device: &dyn ReadAt, visitor: &mut dyn FileVisitor) -> Option<Vec<String>> {
        Some(look(self.superblock(), device, |scan| {
            files::walk(scan, visitor);
        }))
    }

    fn instance(&self, device: &dyn ReadAt) -> Result<Option<Instance>> {
        let superblock = self.superblock()?;
        let raw = read_vec(device, superblock::OFFSET_BYTES, superblock::LEN_BYTES)?;
        Ok(Some(instance::instance(superblock, &raw)))
    }

    /// `s_kbytes_written`, which the kernel's ext4 driver keeps.
    fn age(&self, device: &dyn ReadAt) -> Result<Option<u64>> {
        let raw = read_vec(device, superblock::OFFSET_BYTES, superblock::LEN_BYTES)?;
        let s_kbytes_written = le64(&raw, 0x178);
        Ok((s_kbytes_written != 0).then_some(s_kbytes_written))
    }

    fn with_own_id(&self, device: &dyn ReadAt, ids: &OwnIds) -> Option<Result<Patches>> {
        let superblock = self.superblock();
        Some(superblock.and_then(|it| own_id::patches(it, device, ids)))
    }

    fn paths<'a>(&'a self, device: &'a dyn ReadAt) -> Option<Paths<'a>> {
        let superblock = self.superblock().ok()?;
        Some(Paths::new(by_path::Reader { superblock, device }))
    }

    fn owners(&self, device: &dyn ReadAt, extents: &ExtentMap, files_max: usize) -> Owners {
        let wanted = Wanted::new(extents, files_max);
        search(self.superblock(), &wanted, |superblock, gaps| {
            owners::owners(superblock, device, &wanted, gaps)
        })
    }
}

#[cfg(test)]
mod tests;
