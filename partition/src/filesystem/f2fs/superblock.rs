//! The superblock: every field that says where things are, checked before it is used.
//!
//! Layout of `struct f2fs_super_block` (Linux, `include/linux/f2fs_fs.h`). All of F2FS is
//! little-endian. The areas follow one another: checkpoints, SIT (segment information table), NAT
//! (node address table), SSA (segment summary area), main.

use super::checksum::{MAGIC, crc32};
use super::entry::SIT_ENTRY_LEN;
use super::feature::Features;
use crate::bytes::{le16, le32, le64, u8_at};
use crate::error::Corrupt;
use crate::extent::Extent;
use std::fmt::Display;

/// `F2FS_SUPER_OFFSET`: in each of the first two blocks.
pub(super) const OFFSET_BYTES: u64 = 1024;
pub(super) const LEN_BYTES: usize = 3072;
/// The size of blocks of all but kernels with larger pages.
pub(super) const BLOCK_BYTES: u32 = 4096;
/// Blocks of a segment; drivers know no other count.
pub(super) const SEGMENT_BLOCKS: u32 = 512;
/// Logs that are written at once: hot, warm and cold data, then nodes (`NR_CURSEG_PERSIST_TYPE`).
pub(super) const LOGS: u32 = 6;

const STRUCTURE: &str = "F2FS superblock";
const CRC_OFFSET: usize = 3068;
/// `F2FS_MIN_SEGMENTS`
const SEGMENTS_MIN: u32 = 9;
const DEVICES_MAX: usize = 8;
const DEVICE_LEN: usize = 68;
const DEVICES_OFFSET: usize = 2201;
const QUOTA_INODES_OFFSET: usize = 2745;

/// A value read from the disk, or what is wrong with it.
pub(super) type Checked<T = ()> = Result<T, Corrupt>;

/// Consecutive segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) first_block: u32,
    pub(super) segments: u32,
}

impl Area {
    pub(super) fn blocks(self) -> u64 {
        u64::from(self.segments).saturating_mul(SEGMENT_BLOCKS.into())
    }

    pub(super) fn end_block(self) -> u64 {
        u64::from(self.first_block).saturating_add(self.blocks())
    }
}

/// A checked superblock. All of the filesystem lies on the volume.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    pub(super) features: Features,
    pub(super) block_bytes: u32,
    pub(super) checkpoint: Area,
    pub(super) sit: Area,
    pub(super) nat: Area,
    ssa: Area,
    pub(super) main: Area,
    /// `cp_payload`: blocks of version bitmaps after the first block of a checkpoint.
    pub(super) payload_blocks: u32,
    /// `qf_ino`: inodes of quota files, 0 where there is none.
    pub(super) quota_inodes: [u32; 3],
    /// `uuid`
    pub(super) uuid: [u8; 16],
}

/// Whether `raw` (3072 bytes) is a superblock and not a few stray bytes.
pub(super) fn is_one(raw: &[u8]) -> bool {
    le32(raw, 0) == MAGIC && le16(raw, 4) == 1 && (12..=16).contains(&le32(raw, 16))
}

/// Size of a block by a superblock that [`is_one`].
pub(super) fn block_bytes(raw: &[u8]) -> u32 {
    1u32.checked_shl(le32(raw, 16)).unwrap_or_default()
}

/// Blocks of the filesystem, those after its last segment included.
pub(super) fn blocks(raw: &[u8]) -> u64 {
    le64(raw, 36)
}

/// Paths of the devices that the filesystem lies on, when there are several.
pub(super) fn devices(raw: &[u8]) -> usize {
    let named = |index: &usize| u8_at(raw, DEVICES_OFFSET.saturating_add(index * DEVICE_LEN)) != 0;
    (0..DEVICES_MAX).filter(named).count()
}

fn corrupt(field: &'static str, expected: impl Display, found: impl Display) -> Corrupt {
    Corrupt::new(STRUCTURE, field, OFFSET_BYTES, expected, found)
}

fn check(
    is_valid: bool,
    field: &'static str,
    expected: impl Display,
    found: impl Display,
) -> Checked {
    if is_valid {
        Ok(())
    } else {
        Err(corrupt(field, expected, found))
    }
}

impl Superblock {
    /// Parses and checks the superblock in `raw` (3072 bytes, which [`is_one`]) of a volume of
    /// `volume_bytes`.
    pub(super) fn parse(raw: &[u8], volume_bytes: u64) -> Checked<Self> {
        let area = |count: usize, start: usize| Area {
            first_block: le32(raw, start),
            segments: le32(raw, count),
        };
        let superblock = Self {
            features: Features(le32(raw, 2180)),
            block_bytes: block_bytes(raw),
            checkpoint: area(52, 76),
            sit: area(56, 80),
            nat: area(60, 84),
            ssa: area(64, 88),
            main: area(68, 92),
            payload_blocks: le32(raw, 1664),
            quota_inodes: [0, 4, 8].map(|at| le32(raw, QUOTA_INODES_OFFSET + at)),
            uuid: raw
                .get(108..124)
                .and_then(|raw| raw.try_into().ok())
                .unwrap_or_default(),
        };
        if superblock.features.has_superblock_checksum() {
            check_crc(raw)?;
        }
        superblock.check_units(raw)?;
        superblock.check_areas(raw)?;
        superblock.check_sections(raw)?;
        superblock.check_end(raw, volume_bytes)?;
        superblock.check_tables()?;
        Ok(superblock)
    }

    fn check_units(&self, raw: &[u8]) -> Checked {
        let (sector, per_block) = (le32(raw, 8), le32(raw, 12));
        let block = le32(raw, 16);
        let is_valid = (9..=block).contains(&sector);
        check(is_valid, "log_sectorsize", format!("9 to {block}"), sector)?;
        let rest = block.saturating_sub(sector);
        check(per_block == rest, "log_sectors_per_block", rest, per_block)?;
        let log = le32(raw, 20);
        check(log == 9, "log_blocks_per_seg", 9, log)?;
        for (field, offset, expected) in [
            ("root_ino", 96, 3),
            ("node_ino", 100, 1),
            ("meta_ino", 104, 2),
        ] {
            let found = le32(raw, offset);
            check(found == expected, field, expected, found)?;
        }
        Ok(())
    }

    fn check_areas(&self, raw: &[u8]) -> Checked {
        let segment0 = le32(raw, 72);
        let first = self.checkpoint.first_block;
        check(segment0 == first, "segment0_blkaddr", first, segment0)?;
        check(first >= 2, "cp_blkaddr", "after both superblocks", first)?;
        let found = self.checkpoint.segments;
        check(found == 2, "segment_count_ckpt", 2, found)?;
        for (field, area, next) in [
            ("sit_blkaddr", self.checkpoint, self.sit),
            ("nat_blkaddr", self.sit, self.nat),
            ("ssa_blkaddr", self.nat, self.ssa),
            ("main_blkaddr", self.ssa, self.main),
        ] {
            let (expected, found) = (area.end_block(), next.first_block);
            check(expected == u64::from(found), field, expected, found)?;
        }
        Ok(())
    }

    fn check_sections(&self, raw: &[u8]) -> Checked {
        let (per_section, sections) = (le32(raw, 24), le32(raw, 44));
        let (per_zone, segments) = (le32(raw, 28), le32(raw, 48));
        let is_valid =
            per_section > 0 && sections.checked_mul(per_section) == Some(self.main.segments);
        let expected = format!("{sections} sections of {per_section}");
        check(is_valid, "segment_count_main", expected, self.main.segments)?;
        let is_valid = (1..=sections).contains(&per_zone);
        check(
            is_valid,
            "secs_per_zone",
            format!("1 to {sections}"),
            per_zone,
        )?;
        let is_valid = segments >= SEGMENTS_MIN;
        check(is_valid, "segment_count", "at least 9", segments)
    }

    fn check_end(&self, raw: &[u8], volume_bytes: u64) -> Checked {
        let (segments, blocks) = (le32(raw, 48), blocks(raw));
        let all = Area {
            first_block: self.checkpoint.first_block,
            segments,
        };
        let (end, main_end) = (all.end_block(), self.main.end_block());
        let expected = format!("a main area that ends by block {end}");
        check(main_end <= end, "segment_count_main", expected, main_end)?;
        let volume_blocks = volume_bytes / u64::from(self.block_bytes.max(1));
        let expected = format!("at most the volume's {volume_blocks}");
        check(blocks <= volume_blocks, "block_count", expected, blocks)?;
        let expected = format!("a main area that ends by block {blocks}");
        check(main_end <= blocks, "block_count", expected, main_end)
    }

    fn check_tables(&self) -> Checked {
        let blocks = u64::from(self.main.segments.div_ceil(self.segments_per_sit_block()));
        let is_valid = self.sit.segments.is_multiple_of(2) && blocks <= self.sit.blocks() / 2;
        let expected = format!("two copies of {blocks} blocks");
        check(is_valid, "segment_count_sit", expected, self.sit.segments)?;
        let is_valid = self.nat.segments > 0 && self.nat.segments.is_multiple_of(2);
        check(
            is_valid,
            "segment_count_nat",
            "two copies",
            self.nat.segments,
        )?;
        // What is never written to needs no summaries.
        let is_valid =
            self.features.is_read_only() || self.ssa.blocks() >= u64::from(self.main.segments);
        let expected = format!("{} blocks", self.main.segments);
        check(is_valid, "segment_count_ssa", expected, self.ssa.segments)?;
        let payload_max = SEGMENT_BLOCKS.saturating_sub(2).saturating_sub(LOGS);
        let is_valid = self.payload_blocks < payload_max;
        let expected = format!("less than {payload_max}");
        check(is_valid, "cp_payload", expected, self.payload_blocks)
    }

    /// Entries of a SIT block: `SIT_ENTRY_PER_BLOCK`.
    pub(super) fn segments_per_sit_block(&self) -> u32 {
        (self.block_bytes / SIT_ENTRY_LEN as u32).max(1)
    }

    /// A block as a length in memory.
    pub(super) fn block_len(&self) -> usize {
        usize::try_from(self.block_bytes).unwrap_or(usize::MAX)
    }

    /// Whether a block is one of the main area.
    pub(super) fn is_main(&self, block: u32) -> bool {
        let end = self.main.end_block();
        block >= self.main.first_block && u64::from(block) < end
    }

    /// Where a block starts on the volume.
    pub(super) fn byte(&self, block: u64) -> u64 {
        block.saturating_mul(self.block_bytes.into())
    }

    /// The volume's bytes of `count` blocks from `first` on.
    pub(super) fn extent(&self, first: u64, count: u64) -> Option<Extent> {
        Extent::between(self.byte(first), self.byte(first.saturating_add(count)))
    }
}

fn check_crc(raw: &[u8]) -> Checked {
    let offset = le32(raw, 32);
    check(
        offset as usize == CRC_OFFSET,
        "checksum_offset",
        CRC_OFFSET,
        offset,
    )?;
    let computed = crc32(&[raw.get(..CRC_OFFSET).unwrap_or_default()]);
    let stored = le32(raw, CRC_OFFSET);
    let (expected, found) = (format!("{computed:#010x}"), format!("{stored:#010x}"));
    check(computed == stored, "crc", expected, found)
}
