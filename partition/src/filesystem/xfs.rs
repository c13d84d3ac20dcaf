//! XFS, versions 4 and 5.

mod bmap;
mod btree;
mod checksum;
mod contents;
mod directory;
mod feature;
mod files;
mod freespace;
mod group;
mod inode;
mod instance;
mod log;
mod owners;
mod state;
mod superblock;

use super::files::FileVisitor;
use super::owners::Gaps;
use super::{ChangeToken, Filesystem, Hazard, Instance, Kind, Owners, Summary};
use crate::bytes::{be16, be32, be64, text};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Error, Result};
use crate::extent::ExtentMap;
use log::End;
use sha2::{Digest, Sha256};
use superblock::Superblock;

/// An XFS filesystem.
#[derive(Debug)]
struct Xfs {
    summary: Summary,
    geometry: std::result::Result<Superblock, Corrupt>,
}

/// Recognises XFS by its primary superblock.
///
/// Secondary superblocks are not looked at: a volume without a sound primary one needs
/// `xfs_repair`, and is reported as damaged.
///
/// # Errors
/// [`Error::Io`] when the device fails.
pub(crate) fn probe(volume: &dyn ReadAt) -> Result<Option<Box<dyn Filesystem>>> {
    let volume_bytes = volume.geometry().size_bytes;
    if volume_bytes < superblock::LEN_BYTES as u64 {
        return Ok(None);
    }
    let raw = read_vec(volume, 0, superblock::LEN_BYTES)?;
    if !superblock::is_one(&raw) {
        return Ok(None);
    }
    let sector_bytes = superblock::sector_bytes(&raw);
    let geometry = if u64::from(sector_bytes) <= volume_bytes {
        Superblock::parse(&read_sector(volume, sector_bytes)?, volume_bytes)
    } else {
        let expected = "at most the volume";
        Err(Corrupt::new(
            "XFS superblock",
            "sb_sectsize",
            0,
            expected,
            sector_bytes,
        ))
    };
    let mut hazards = state::recorded(&raw);
    match &geometry {
        Ok(superblock) => hazards.extend(state::observed(superblock, volume)?),
        Err(corrupt) => hazards.push(Hazard::Damaged(corrupt.to_string())),
    }
    let summary = summary(&raw, hazards, volume_bytes);
    Ok(Some(Box::new(Xfs { summary, geometry })))
}

/// The superblock with the rest of its sector, which its checksum covers.
fn read_sector(volume: &dyn ReadAt, sector_bytes: u32) -> Result<Vec<u8>> {
    let len = usize::try_from(sector_bytes).unwrap_or(usize::MAX);
    read_vec(volume, 0, len)
}

fn summary(raw: &[u8], hazards: Vec<Hazard>, volume_bytes: u64) -> Summary {
    let block_size_bytes = be32(raw, 4);
    let (blocks, free_blocks) = (be64(raw, 8), be64(raw, 144));
    let bytes = |blocks: u64| blocks.saturating_mul(block_size_bytes.into());
    let uuid = uuid::Uuid::from_bytes(superblock::uuid(raw, 32));
    Summary {
        kind: Kind::Xfs,
        label: text(raw.get(108..120).unwrap_or_default()),
        uuid: (!uuid.is_nil()).then(|| uuid.to_string()),
        size_bytes: bytes(blocks).min(volume_bytes),
        block_size_bytes,
        used_bytes: blocks.checked_sub(free_blocks).map(bytes),
        hazards,
    }
}

impl Xfs {
    fn superblock(&self) -> Result<&Superblock> {
        match &self.geometry {
            Ok(superblock) if superblock.features.unknown().is_empty() => Ok(superblock),
            Ok(_) => Err(Error::unsupported(
                "this xfs",
                "it has features unknown to klon, so its free-space trees prove nothing",
            )),
            Err(corrupt) => Err(corrupt.clone().into()),
        }
    }
}

impl Filesystem for Xfs {
    fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What the free-space trees don't name. The blocks that a group holds in reserve for its
    /// trees (AGFL) count as used, as does all of an internal log. The space after the
    /// filesystem's end is free: XFS keeps nothing there.
    fn used(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        freespace::used(self.superblock()?, device).map(Some)
    }

    /// All that is in use but the contents of regular files that directories name: quotas count
    /// as metadata.
    fn metadata(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        let superblock = self.superblock()?;
        let Some(contents) = contents::contents(superblock, device)? else {
            return Ok(None);
        };
        let used = freespace::used(superblock, device)?;
        Ok(Some(used.difference(&contents)))
    }

    /// Over the superblock, all AGFs and AGIs, and the log's last record, whose position and
    /// number every mount for writing moves on; `None` with the log not clean or elsewhere.
    /// `xfs_repair` and `xfs_admin` leave their mark in one of them. Writes past the filesystem do
    /// not, and neither do the commands of `xfs_db` that change a field of anything else in place.
    fn change_token(&self, device: &dyn ReadAt) -> Result<Option<ChangeToken>> {
        let superblock = self.superblock()?;
        let Some(End::Clean(record)) = log::end(superblock, device)? else {
            return Ok(None);
        };
        let mut digest = Sha256::new();
        digest.update(b"klon xfs change token 1\0");
        digest.update(read_sector(device, superblock.sector_bytes)?);
        digest.update(record);
        for number in 0..superblock.groups {
            for raw in group::raw_headers(superblock, device, number)? {
                digest.update(raw);
            }
        }
        Ok(Some(ChangeToken(digest.finalize().into())))
    }

    fn files(&self, device: &dyn ReadAt, visitor: &mut dyn FileVisitor) -> Option<Vec<String>> {
        let gaps = Gaps::new();
        match self.superblock() {
            Ok(superblock) => files::walk(superblock, device, &gaps, visitor),
            Err(error) => gaps.note(error),
        }
        Some(gaps.list())
    }

    /// With the feature "reflink".
    fn shares_blocks(&self) -> bool {
        let superblock = self.superblock();
        superblock.is_ok_and(|superblock| superblock.features.has_reflink())
    }

    fn instance(&self, _device: &dyn ReadAt) -> Result<Option<Instance>> {
        Ok(Some(instance::instance(self.superblock()?)))
    }

    /// `sb_lsn`: where the log was when the superblock was last written, which is at each unmount.
    /// Only filesystems with checksums have it.
    fn age(&self, device: &dyn ReadAt) -> Result<Option<u64>> {
        let superblock = self.superblock()?;
        let raw = read_sector(device, superblock.sector_bytes)?;
        let is_version_5 = be16(&raw, 100) & 0xf == 5;
        Ok(is_version_5.then(|| be64(&raw, 240)))
    }

    fn owners(&self, device: &dyn ReadAt, extents: &ExtentMap, files_max: usize) -> Owners {
        let gaps = Gaps::new();
        let files = match self.superblock() {
            Ok(superblock) => owners::owners(superblock, device, (extents, files_max), &gaps),
            Err(error) => {
                gaps.note(error);
                Vec::new()
            }
        };
        gaps.with(files)
    }
}

#[cfg(test)]
mod tests;
