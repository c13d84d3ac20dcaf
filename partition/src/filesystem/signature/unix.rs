//! Signatures of further filesystems of Unix systems and of Linux.

use super::head::Head;
use super::{named, sized, uuid};
use crate::bytes::{be32, be64, le16, le32, le64, text, u8_at};
use crate::error::Result;
use crate::filesystem::{Hazard, Kind, Summary};

/// bcachefs: magic of the superblock at sector 8 (struct bch_sb).
pub(super) fn bcachefs(head: &Head<'_>) -> Result<Option<Summary>> {
    const MAGIC: [u8; 16] = [
        0xc6, 0x85, 0x73, 0xf6, 0x66, 0xce, 0x90, 0xa9, 0xd9, 0x6a, 0x60, 0xcf, 0x80, 0x3d, 0xf7,
        0xef,
    ];
    let block = head.at(4096, 512);
    let Some(block) = block.filter(|block| block[24..40] == MAGIC) else {
        return Ok(None);
    };
    let mut summary = named(Kind::Bcachefs, head);
    summary.label = text(&block[72..104]);
    // user_uuid
    summary.uuid = uuid(&block[56..72]);
    // nr_devices
    if u8_at(block, 123) > 1 {
        let devices = format!("{} devices", u8_at(block, 123));
        summary.hazards.push(Hazard::MultiDevice(devices));
    }
    Ok(Some(summary))
}

/// NILFS2: magic 0x3434 and checksum of the superblock at 1 KiB (struct nilfs_super_block).
pub(super) fn nilfs2(head: &Head<'_>) -> Result<Option<Summary>> {
    let Some(block) = head.at(1024, 1024) else {
        return Ok(None);
    };
    let covered_bytes = usize::from(le16(block, 8));
    let covered = block.get(..covered_bytes).filter(|_| covered_bytes >= 256);
    let Some(covered) = covered.filter(|_| le16(block, 6) == 0x3434) else {
        return Ok(None);
    };
    // s_crc_seed, s_sum
    if nilfs2_crc(le32(block, 12), covered) != le32(block, 16) {
        return Ok(None);
    }
    let block_size_bytes = 1024u32.checked_shl(le32(block, 20)).unwrap_or(0);
    // s_dev_size
    let size = sized(Kind::Nilfs2, head, le64(block, 32), 1);
    Ok(Some(Summary {
        label: text(&block[168..248]),
        uuid: uuid(&block[152..168]),
        block_size_bytes,
        ..size
    }))
}

/// The usual CRC-32 polynomial from a seed, not inverted at the end, with the sum itself as zero.
fn nilfs2_crc(seed: u32, covered: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(!seed);
    hasher.update(&covered[..16]);
    hasher.update(&[0; 4]);
    hasher.update(&covered[20..]);
    !hasher.finalize()
}

/// ReiserFS: magic of versions 3.5, 3.6 and with a journal elsewhere, at 64 KiB, or at 8 KiB
/// where the earliest had it (struct reiserfs_super_block).
pub(super) fn reiserfs(head: &Head<'_>) -> Result<Option<Summary>> {
    for at in [64 << 10, 8 << 10] {
        let Some(block) = head.at(at, 256) else {
            continue;
        };
        let has = |magic: &[u8]| block[52..].starts_with(magic);
        let is_old = has(b"ReIsErFs");
        if !is_old && !has(b"ReIsEr2Fs") && !has(b"ReIsEr3Fs") {
            continue;
        }
        let block_size_bytes = u32::from(le16(block, 44));
        if block_size_bytes < 512 || !block_size_bytes.is_power_of_two() {
            continue;
        }
        let blocks = u64::from(le32(block, 0));
        let summary = sized(Kind::Reiserfs, head, blocks, block_size_bytes);
        return Ok(Some(Summary {
            // s_uuid and s_label came with version 3.6.
            uuid: uuid(&block[84..100]).filter(|_| !is_old),
            label: text(&block[100..116]).filter(|_| !is_old),
            used_bytes: blocks
                .checked_sub(le32(block, 4).into())
                .and_then(|used| used.checked_mul(block_size_bytes.into())),
            ..summary
        }));
    }
    Ok(None)
}

/// JFS: "JFS1" at 32 KiB, and sizes with their logarithms (struct jfs_superblock).
pub(super) fn jfs(head: &Head<'_>) -> Result<Option<Summary>> {
    const SUPERBLOCK: usize = 32 << 10;
    let block = head.at(SUPERBLOCK, 256);
    let Some(block) = block.filter(|_| head.has(SUPERBLOCK, b"JFS1")) else {
        return Ok(None);
    };
    let (block_bytes, block_log, factor_log) = (le32(block, 16), le16(block, 20), le16(block, 22));
    let (sector_bytes, sector_log) = (le32(block, 24), le16(block, 28));
    let is_sound = 1u32.checked_shl(block_log.into()) == Some(block_bytes)
        && 1u32.checked_shl(sector_log.into()) == Some(sector_bytes)
        && block_log.checked_sub(sector_log) == Some(factor_log);
    if !is_sound {
        return Ok(None);
    }
    // s_size counts sectors.
    let size = sized(Kind::Jfs, head, le64(block, 8), sector_bytes);
    Ok(Some(Summary {
        uuid: uuid(&block[136..152]),
        label: text(&block[152..168]),
        block_size_bytes: block_bytes,
        ..size
    }))
}

/// UFS of either version and byte order: fs_magic of a superblock where one of the BSDs or SunOS
/// has it (struct fs).
pub(super) fn ufs(head: &Head<'_>) -> Result<Option<Summary>> {
    const SUPERBLOCK_BYTES: usize = 1376;
    for at in [0, 8 << 10, 64 << 10, 256 << 10] {
        let Some(block) = head.far(at, SUPERBLOCK_BYTES)? else {
            break;
        };
        // The number in the order of the machine that made it; then all of them are.
        let order: Option<(Number, Wide)> = match (le32(&block, 1372), be32(&block, 1372)) {
            (magic, _) if is_ufs(magic) => Some((le32, le64)),
            (_, magic) if is_ufs(magic) => Some((be32, be64)),
            _ => None,
        };
        let summary = order.and_then(|(number, wide)| ufs_summary(head, &block, number, wide));
        if summary.is_some() {
            return Ok(summary);
        }
    }
    Ok(None)
}

type Number = fn(&[u8], usize) -> u32;
type Wide = fn(&[u8], usize) -> u64;

const UFS2_MAGIC: u32 = 0x1954_0119;

/// UFS1 and its variants with long names, of SunOS and HP-UX; UFS2.
const fn is_ufs(magic: u32) -> bool {
    matches!(
        magic,
        0x0001_1954 | 0x0f24_2697 | 0x0009_5014 | 0x0523_1994 | 0x0061_2195 | 0x0019_5612
    ) || magic == UFS2_MAGIC
}

fn ufs_summary(head: &Head<'_>, block: &[u8], number: Number, wide: Wide) -> Option<Summary> {
    // fs_bsize, fs_fsize, fs_frag
    let (block_bytes, fragment_bytes, fragments) =
        (number(block, 48), number(block, 52), number(block, 56));
    let is_sound = block_bytes.is_power_of_two()
        && (512..=1 << 16).contains(&fragment_bytes)
        && fragment_bytes.checked_mul(fragments) == Some(block_bytes);
    if !is_sound {
        return None;
    }
    let is_second = number(block, 1372) == UFS2_MAGIC;
    // fs_size, fs_old_size
    let count = if is_second {
        wide(block, 1080)
    } else {
        number(block, 36).into()
    };
    let size = sized(Kind::Ufs, head, count, fragment_bytes);
    // fs_id
    let id = (number(block, 144), number(block, 148));
    Some(Summary {
        // fs_volname
        label: text(&block[680..712]).filter(|_| is_second),
        uuid: (id != (0, 0)).then(|| format!("{:08x}{:08x}", id.0, id.1)),
        block_size_bytes: block_bytes,
        ..size
    })
}

/// UDF: an NSR descriptor in the volume recognition sequence from 32 KiB on (ECMA-167, part 2,
/// section 8.3.1, and part 3, section 9.1).
pub(super) fn udf(head: &Head<'_>) -> Result<Option<Summary>> {
    const FIRST: u64 = 32 << 10;
    const STEP_BYTES: u64 = 2048;
    const COUNT_MAX: u64 = 64;
    let Some(sequence) = head.far(FIRST, (COUNT_MAX * STEP_BYTES) as usize)? else {
        return Ok(None);
    };
    // In sectors of 4 KiB, every other piece is empty.
    let descriptors = sequence
        .chunks_exact(STEP_BYTES as usize)
        .take_while(|raw| is_recognition(&raw[1..6]) || crate::bytes::is_zero(&raw[..7]));
    let mut has_begun = false;
    for raw in descriptors {
        has_begun |= &raw[1..6] == b"BEA01";
        if has_begun && matches!(&raw[1..6], b"NSR02" | b"NSR03") && u8_at(raw, 6) == 1 {
            return Ok(Some(named(Kind::Udf, head)));
        }
    }
    Ok(None)
}

fn is_recognition(identifier: &[u8]) -> bool {
    matches!(
        identifier,
        b"CD001" | b"CDW02" | b"BEA01" | b"NSR02" | b"NSR03" | b"TEA01" | b"BOOT2"
    )
}
