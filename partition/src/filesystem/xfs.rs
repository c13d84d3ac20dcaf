//! XFS, versions 4 and 5.

mod address;
mod bmap;
mod btree;
mod by_path;
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
mod own_id;
mod owners;
mod place;
mod scan;
mod state;
mod superblock;

use super::files::FileVisitor;
use super::owners::{Wanted, look, search};
use super::sectors::by_kind;
use super::{ChangeToken, Filesystem, Hazard, Instance, Kind, OnSectors, Owners, Paths, Summary};
use crate::bytes::{be32, be64, text};
use crate::device::{Patches, ReadAt, read_vec};
use crate::error::{Checked, Corrupt, Error, Result};
use crate::extent::ExtentMap;
use crate::own_id::OwnIds;
use feature::Features;
use log::End;
use sha2::{Digest, Sha256};
use superblock::Superblock;

/// An XFS filesystem.
#[derive(Debug)]
struct Xfs {
    summary: Summary,
    geometry: Checked<Superblock>,
}

/// Recognizes XFS by its primary superblock.
///
/// Secondary superblocks are not looked at. A volume whose primary superblock is not sound needs
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
        let (structure, field) = ("XFS superblock", "sb_sectsize");
        let expected = "at most the volume";
        Err(Corrupt::new(structure, field, 0, expected, sector_bytes))
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
    read_vec(volume, 0, sector_bytes as usize)
}

fn summary(raw: &[u8], hazards: Vec<Hazard>, volume_bytes: u64) -> Summary {
    let sb_blocksize = be32(raw, 4);
    let sb_dblocks = be64(raw, 8);
    let sb_uuid = uuid::Uuid::from_bytes(superblock::uuid(raw, 32));
    let sb_fname = raw.get(108..120).unwrap_or_default();
    let sb_fdblocks = be64(raw, 144);
    let bytes = |blocks: u64| blocks.checked_mul(sb_blocksize.into());
    Summary {
        kind: Kind::Xfs,
        label: text(sb_fname),
        uuid: (!sb_uuid.is_nil()).then(|| sb_uuid.to_string()),
        size_bytes: bytes(sb_dblocks).map_or(volume_bytes, |size| size.min(volume_bytes)),
        block_size_bytes: sb_blocksize,
        used_bytes: sb_dblocks.checked_sub(sb_fdblocks).and_then(bytes),
        hazards,
    }
}

impl Xfs {
    fn superblock(&self) -> Result<&Superblock> {
        match &self.geometry {
            Ok(superblock) if superblock.features.unknown().is_empty() => Ok(superblock),
            Ok(_) => Err(Error::unsupported(
                "this xfs",
                "it has features that klon doesn't know, so its free-space trees prove nothing",
            )),
            Err(corrupt) => Err(corrupt.clone().into()),
        }
    }
}

impl Filesystem for Xfs {
    fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Every byte that the free-space trees don't name. The blocks that a group holds in reserve for
    /// its trees (AGFL) count as used, as does all of an internal log. The space after the
    /// filesystem's end is free: XFS keeps nothing there.
    fn used(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        freespace::used(self.superblock()?, device).map(Some)
    }

    /// All that is in use but the contents of regular files that directories name. Quotas count as
    /// metadata.
    fn metadata(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        match contents::contents(self.superblock()?, device)? {
            Some(contents) => self.metadata_but(device, &contents),
            None => Ok(None),
        }
    }

    fn metadata_but(&self, device: &dyn ReadAt, contents: &ExtentMap) -> Result<Option<ExtentMap>> {
        let used = freespace::used(self.superblock()?, device)?;
        Ok(Some(used.difference(contents)))
    }

    fn on_sectors(&self, sector_bytes: u32) -> OnSectors {
        match self.superblock() {
            Ok(superblock) if superblock.sector_bytes >= sector_bytes => OnSectors::AsIs,
            Ok(superblock) => OnSectors::Never(format!(
                "its xfs was made for sectors of {} bytes and does not mount on sectors of {sector_bytes}",
                superblock.sector_bytes
            )),
            Err(_) => by_kind(&self.summary, sector_bytes),
        }
    }

    /// A log that is only covered is that of a mounted filesystem, or of one whose power was cut.
    fn is_unmounted(&self, device: &dyn ReadAt) -> Result<bool> {
        let end = log::end(self.superblock()?, device);
        Ok(matches!(end, Ok(Some(End::Clean(_)))))
    }

    /// Over the superblock, all AGFs and AGIs, and the log's last record, whose position and
    /// number every mount for writing moves on, as does a recovery; `None` when the log is not clean or is elsewhere.
    /// `xfs_repair` and `xfs_admin` leave their mark in one of them. Writes past the filesystem leave
    /// none, nor do the commands of `xfs_db` that change a field of anything else in place.
    fn change_token(&self, device: &dyn ReadAt) -> Result<Option<ChangeToken>> {
        let superblock = self.superblock()?;
        let Some(End::Clean(record) | End::Covered(record)) = log::end(superblock, device)? else {
            return Ok(None);
        };
        let mut digest = Sha256::new();
        digest.update(b"klon xfs change token 1\0");
        digest.update(read_sector(device, superblock.sector_bytes)?);
        digest.update(record);
        for number in superblock.group_numbers() {
            for raw in group::raw_headers(superblock, device, number)? {
                digest.update(raw);
            }
        }
        Ok(Some(ChangeToken(digest.finalize().into())))
    }

    fn files(&self, device: &dyn ReadAt, visitor: &mut dyn FileVisitor) -> Option<Vec<String>> {
        Some(look(self.superblock(), device, |scan| {
            files::walk(scan, visitor);
        }))
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
        let sb_lsn = be64(&raw, 240);
        Ok(Features::parse(&raw).is_v5().then_some(sb_lsn))
    }

    fn paths<'a>(&'a self, device: &'a dyn ReadAt) -> Option<Paths<'a>> {
        let superblock = self.superblock().ok()?;
        Some(Paths::new(by_path::Reader { superblock, device }))
    }

    fn with_own_id(&self, device: &dyn ReadAt, ids: &OwnIds) -> Option<Result<Patches>> {
        let superblock = self.superblock();
        Some(superblock.and_then(|it| own_id::patches(it, device, ids)))
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
