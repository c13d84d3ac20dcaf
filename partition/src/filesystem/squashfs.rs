//! squashfs. Layout of `struct squashfs_super_block` (Linux,
//! [squashfs_fs.h](https://github.com/torvalds/linux/blob/master/fs/squashfs/squashfs_fs.h)).

use super::read_only::ReadOnly;
use super::{Filesystem, Hazard, Kind, Summary};
use crate::bytes::{le16, le32, le64};
use crate::device::{ReadAt, read_vec};
use crate::error::{Checked, Corrupt, Result};
use crate::extent::ExtentMap;

/// The superblock of version 4.
const SUPERBLOCK_BYTES: usize = 96;
/// What `mksquashfs` fills its output up to, so that it can be mounted from a block device.
const PADDING_BYTES: u64 = 4096;
/// Flags up to uncompressed IDs.
const KNOWN_FLAGS: u16 = 0x0fff;
/// gzip, lzma, lzo, xz, lz4, zstd.
const KNOWN_COMPRESSIONS: std::ops::RangeInclusive<u16> = 1..=6;
/// `SQUASHFS_INVALID_BLK`: this table is not there.
const NO_TABLE: u64 = u64::MAX;

/// Recognises squashfs by its superblock. Only version 4, which is little-endian, is read
/// further.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<Option<Box<dyn Filesystem>>> {
    let volume_bytes = volume.geometry().size_bytes;
    if volume_bytes < SUPERBLOCK_BYTES as u64 {
        return Ok(None);
    }
    let raw = read_vec(volume, 0, SUPERBLOCK_BYTES)?;
    // The versions before were in the byte order of the machine, with the version at the same
    // place.
    let (s_magic, s_major) = (&raw[..4], le16(&raw, 28));
    let version = match s_magic {
        b"hsqs" => s_major,
        b"sqsh" => s_major.swap_bytes(),
        _ => return Ok(None),
    };
    let filesystem = match version {
        4 => read(&raw, volume)?,
        1..=3 => {
            let reason = format!("klon reads version 4, and this is version {version}");
            ReadOnly::whole(summary(0, 0, volume_bytes, Vec::new()), &reason)
        }
        _ => return Ok(None),
    };
    Ok(Some(Box::new(filesystem)))
}

fn summary(
    used_bytes: u64,
    block_size_bytes: u32,
    volume_bytes: u64,
    hazards: Vec<Hazard>,
) -> Summary {
    let size_bytes = if used_bytes == 0 {
        volume_bytes
    } else {
        used_bytes.min(volume_bytes)
    };
    Summary {
        kind: Kind::Squashfs,
        label: None,
        uuid: None,
        size_bytes,
        block_size_bytes,
        used_bytes: (used_bytes != 0).then_some(size_bytes),
        hazards,
    }
}

fn read(raw: &[u8], volume: &dyn ReadAt) -> Result<ReadOnly> {
    let volume_bytes = volume.geometry().size_bytes;
    let (block_size, bytes_used) = (le32(raw, 12), le64(raw, 40));
    let mut hazards = unknown(raw);
    if let Err(corrupt) = check(raw, volume_bytes) {
        hazards.push(Hazard::Damaged(corrupt.to_string()));
    }
    let end_bytes = bytes_used
        .checked_next_multiple_of(PADDING_BYTES)
        .map_or(volume_bytes, |end_bytes| end_bytes.min(volume_bytes));
    let summary = summary(bytes_used, block_size, volume_bytes, hazards);
    Ok(ReadOnly::new(summary, ExtentMap::whole(end_bytes)))
}

fn unknown(raw: &[u8]) -> Vec<Hazard> {
    let (compression, flags, s_minor) = (le16(raw, 20), le16(raw, 24), le16(raw, 30));
    let mut found = Vec::new();
    if !KNOWN_COMPRESSIONS.contains(&compression) {
        found.push(format!("compression {compression}"));
    }
    if flags & !KNOWN_FLAGS != 0 {
        found.push(format!("flags {:#06x}", flags & !KNOWN_FLAGS));
    }
    if s_minor != 0 {
        found.push(format!("version 4.{s_minor}"));
    }
    found.into_iter().map(Hazard::UnknownFeature).collect()
}

/// All that squashfs has to check: there are no checksums.
fn check(raw: &[u8], volume_bytes: u64) -> Checked {
    let corrupt = |field, expected: &dyn std::fmt::Display, found: &dyn std::fmt::Display| {
        Corrupt::new("squashfs superblock", field, 0, expected, found)
    };
    let (block_size, block_log, bytes_used) = (le32(raw, 12), le16(raw, 22), le64(raw, 40));
    if !(12..=20).contains(&block_log) || 1u32.checked_shl(block_log.into()) != Some(block_size) {
        let expected = "the logarithm (12 to 20) of block_size";
        let found = format!("{block_log} for {block_size} bytes");
        return Err(corrupt("block_log", &expected, &found));
    }
    if bytes_used <= SUPERBLOCK_BYTES as u64 || bytes_used > volume_bytes {
        let expected = format!("more than 96, at most the volume's {volume_bytes}");
        return Err(corrupt("bytes_used", &expected, &bytes_used));
    }
    let tables = [
        ("id_table_start", 48, false),
        ("xattr_id_table_start", 56, true),
        ("inode_table_start", 64, false),
        ("directory_table_start", 72, false),
        ("fragment_table_start", 80, true),
        ("lookup_table_start", 88, true),
    ];
    for (field, offset, may_lack) in tables {
        let start = le64(raw, offset);
        let is_inside = (SUPERBLOCK_BYTES as u64..bytes_used).contains(&start);
        let is_valid = is_inside || (may_lack && start == NO_TABLE);
        if !is_valid {
            let expected = format!("between the superblock and bytes_used {bytes_used}");
            return Err(corrupt(field, &expected, &start));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
