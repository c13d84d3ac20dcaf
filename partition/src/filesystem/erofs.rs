//! EROFS. Layout of `struct erofs_super_block` (Linux,
//! [erofs_fs.h](https://github.com/torvalds/linux/blob/master/fs/erofs/erofs_fs.h)).

use super::read_only::ReadOnly;
use super::{Filesystem, Hazard, Kind, Summary};
use crate::bytes::{le16, le32, text, u8_at};
use crate::device::{ReadAt, read_vec};
use crate::error::{Checked, Corrupt, Result};
use crate::extent::ExtentMap;

/// `EROFS_SUPER_OFFSET`
const OFFSET: u64 = 1024;
/// The superblock without extension slots.
const SUPERBLOCK_BYTES: usize = 128;
const MAGIC: u32 = 0xe0f5_e1e2;
/// `EROFS_FEATURE_COMPAT_SB_CHKSUM`
const HAS_CHECKSUM: u32 = 1;
/// `EROFS_FEATURE_INCOMPAT_DEVICE_TABLE`, which is `COMPR_HEAD2` where there are no devices.
const HAS_DEVICE_TABLE: u32 = 8;
/// `EROFS_FEATURE_INCOMPAT_48BIT`
const HAS_48_BITS: u32 = 0x80;
/// Compression, chunks, devices, tail packing, fragments, attribute prefixes, 48 bits.
const KNOWN_FEATURES: u32 = 0xff;

/// Recognises EROFS by its superblock.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<Option<Box<dyn Filesystem>>> {
    let volume_bytes = volume.geometry().size_bytes;
    if volume_bytes < OFFSET + SUPERBLOCK_BYTES as u64 {
        return Ok(None);
    }
    let raw = read_vec(volume, OFFSET, SUPERBLOCK_BYTES)?;
    let (magic, blkszbits) = (le32(&raw, 0), u8_at(&raw, 12));
    let (uuid, volume_name) = (&raw[48..64], &raw[64..80]);
    if magic != MAGIC || !(9..=16).contains(&blkszbits) {
        return Ok(None);
    }
    let block_bytes = 1u32 << blkszbits;
    let mut hazards = unfit(&raw);
    if let Err(corrupt) = check(&raw, block_bytes, volume)? {
        hazards.push(Hazard::Damaged(corrupt.to_string()));
    }
    // A product of numbers of 48 bits and of 17 at most: what overflows is beyond any volume.
    let size_bytes = blocks(&raw).checked_mul(block_bytes.into());
    let size_bytes = size_bytes.map_or(volume_bytes, |bytes| bytes.min(volume_bytes));
    let uuid = uuid::Uuid::from_slice(uuid).unwrap_or_default();
    let summary = Summary {
        kind: Kind::Erofs,
        label: text(volume_name),
        uuid: (!uuid.is_nil()).then(|| uuid.to_string()),
        size_bytes,
        block_size_bytes: block_bytes,
        used_bytes: Some(size_bytes),
        hazards,
    };
    let used = ExtentMap::whole(size_bytes);
    Ok(Some(Box::new(ReadOnly::new(summary, used))))
}

/// All blocks of the filesystem on this device.
fn blocks(raw: &[u8]) -> u64 {
    // blocks_hi means something else without HAS_48_BITS.
    let (blocks_lo, blocks_hi) = (le32(raw, 36), le16(raw, 14));
    let feature_incompat = le32(raw, 80);
    let high = if feature_incompat & HAS_48_BITS == 0 {
        0
    } else {
        blocks_hi
    };
    u64::from(high) << 32 | u64::from(blocks_lo)
}

fn unfit(raw: &[u8]) -> Vec<Hazard> {
    let (feature_incompat, extra_devices) = (le32(raw, 80), le16(raw, 86));
    let mut hazards = Vec::new();
    if feature_incompat & !KNOWN_FEATURES != 0 {
        let unknown = feature_incompat & !KNOWN_FEATURES;
        let unknown = format!("feature_incompat {unknown:#x}");
        hazards.push(Hazard::UnknownFeature(unknown));
    }
    if feature_incompat & HAS_DEVICE_TABLE != 0 && extra_devices > 0 {
        let which = format!("{extra_devices} extra devices hold contents of files");
        hazards.push(Hazard::MultiDevice(which));
    }
    hazards
}

fn corrupt(
    field: &'static str,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Corrupt {
    Corrupt::new("EROFS superblock", field, OFFSET, expected, found)
}

fn check(raw: &[u8], block_bytes: u32, volume: &dyn ReadAt) -> Result<Checked> {
    let volume_blocks = volume.geometry().size_bytes / u64::from(block_bytes);
    let blocks = blocks(raw);
    // Up to the end of what the checksum covers.
    let blocks_min = covered_end_bytes(block_bytes).div_ceil(block_bytes.into());
    if blocks < blocks_min || blocks > volume_blocks {
        let expected = format!("{blocks_min} to the volume's {volume_blocks}");
        return Ok(Err(corrupt("blocks", expected, blocks)));
    }
    let (feature_compat, meta_blkaddr) = (le32(raw, 8), le32(raw, 40));
    let xattr_blkaddr = le32(raw, 44);
    for (field, block) in [
        ("meta_blkaddr", meta_blkaddr),
        ("xattr_blkaddr", xattr_blkaddr),
    ] {
        if u64::from(block) >= blocks {
            let expected = format!("below the {blocks} blocks");
            return Ok(Err(corrupt(field, expected, block)));
        }
    }
    if feature_compat & HAS_CHECKSUM == 0 {
        return Ok(Ok(()));
    }
    // At most 64 KiB.
    let len_bytes = covered_end_bytes(block_bytes) - OFFSET;
    let covered = read_vec(volume, OFFSET, len_bytes as usize)?;
    Ok(checksum(raw, covered))
}

/// The end of what the checksum covers: the superblock and the rest of its block.
fn covered_end_bytes(block_bytes: u32) -> u64 {
    let block_bytes = u64::from(block_bytes);
    if block_bytes > OFFSET {
        block_bytes
    } else {
        OFFSET + block_bytes
    }
}

/// CRC-32C from all ones, not inverted at the end, with the field itself as zero.
fn checksum(raw: &[u8], mut covered: Vec<u8>) -> Checked {
    covered[4..8].fill(0);
    let (expected, found) = (!crc32c::crc32c(&covered), le32(raw, 4));
    if expected == found {
        return Ok(());
    }
    let hex = |sum: u32| format!("{sum:#010x}");
    Err(corrupt("checksum", hex(expected), hex(found)))
}

#[cfg(test)]
mod tests;
