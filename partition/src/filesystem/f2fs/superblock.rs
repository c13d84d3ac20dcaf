//! The superblock: every field that says where things are, checked before it is used.
//!
//! Layout of `struct f2fs_super_block` (Linux,
//! [f2fs_fs.h](https://github.com/torvalds/linux/blob/master/include/linux/f2fs_fs.h)). All of
//! F2FS is little-endian. The areas follow one another: checkpoints, SIT (segment information
//! table), NAT (node address table), SSA (segment summary area), main.

use super::address::{Area, Block, Nid, SEGMENT_BLOCKS};
use super::checksum::{MAGIC, crc32};
use super::entry::{NAT_ENTRY_LEN, SIT_ENTRY_LEN};
use super::feature::Features;
use crate::bytes::{le16, le32, le64, u8_at};
use crate::error::{Checked, Corrupt};
use crate::extent::Extent;
use std::fmt::Display;

/// `F2FS_SUPER_OFFSET`: in each of the first two blocks.
pub(super) const OFFSET_BYTES: u64 = 1024;
pub(super) const LEN_BYTES: usize = 3072;
/// The size of blocks of all but kernels with larger pages.
pub(super) const BLOCK_BYTES: u32 = 4096;
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
    pub(super) quota_inodes: [Nid; 3],
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
    // The first byte of devs[index].path.
    let named = |index: &usize| u8_at(raw, DEVICES_OFFSET + index * DEVICE_LEN) != 0;
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
        let area = |blkaddr: u32, segment_count: u32| Area {
            first_block: blkaddr,
            segments: segment_count,
        };
        let (segment_count_ckpt, cp_blkaddr) = (le32(raw, 52), le32(raw, 76));
        let (segment_count_sit, sit_blkaddr) = (le32(raw, 56), le32(raw, 80));
        let (segment_count_nat, nat_blkaddr) = (le32(raw, 60), le32(raw, 84));
        let (segment_count_ssa, ssa_blkaddr) = (le32(raw, 64), le32(raw, 88));
        let (segment_count_main, main_blkaddr) = (le32(raw, 68), le32(raw, 92));
        let uuid = raw.get(108..124).and_then(|raw| raw.try_into().ok());
        let cp_payload = le32(raw, 1664);
        let feature = le32(raw, 2180);
        let qf_ino = [0, 4, 8].map(|at| Nid(le32(raw, QUOTA_INODES_OFFSET + at)));
        let superblock = Self {
            features: Features(feature),
            block_bytes: block_bytes(raw),
            checkpoint: area(cp_blkaddr, segment_count_ckpt),
            sit: area(sit_blkaddr, segment_count_sit),
            nat: area(nat_blkaddr, segment_count_nat),
            ssa: area(ssa_blkaddr, segment_count_ssa),
            main: area(main_blkaddr, segment_count_main),
            payload_blocks: cp_payload,
            quota_inodes: qf_ino,
            uuid: uuid.unwrap_or_default(),
        };
        if superblock.features.has_superblock_checksum() {
            check_crc(raw)?;
        }
        check_units(raw)?;
        superblock.check_areas(raw)?;
        superblock.check_sections(raw)?;
        superblock.check_end(raw, volume_bytes)?;
        superblock.check_tables()?;
        Ok(superblock)
    }

    fn check_areas(&self, raw: &[u8]) -> Checked {
        let segment0_blkaddr = le32(raw, 72);
        let first = self.checkpoint.first_block;
        let is_first = segment0_blkaddr == first;
        check(is_first, "segment0_blkaddr", first, segment0_blkaddr)?;
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
        let (segs_per_sec, secs_per_zone) = (le32(raw, 24), le32(raw, 28));
        let (section_count, segment_count) = (le32(raw, 44), le32(raw, 48));
        let main = self.main.segments;
        let is_valid = segs_per_sec > 0 && section_count.checked_mul(segs_per_sec) == Some(main);
        let expected = format!("{section_count} sections of {segs_per_sec}");
        check(is_valid, "segment_count_main", expected, main)?;
        let is_valid = (1..=section_count).contains(&secs_per_zone);
        let expected = format!("1 to {section_count}");
        check(is_valid, "secs_per_zone", expected, secs_per_zone)?;
        let is_valid = segment_count >= SEGMENTS_MIN;
        check(is_valid, "segment_count", "at least 9", segment_count)
    }

    fn check_end(&self, raw: &[u8], volume_bytes: u64) -> Checked {
        let (segment_count, block_count) = (le32(raw, 48), blocks(raw));
        let all = Area {
            first_block: self.checkpoint.first_block,
            segments: segment_count,
        };
        let (end, main_end) = (all.end_block(), self.main.end_block());
        let expected = format!("a main area that ends by block {end}");
        check(main_end <= end, "segment_count_main", expected, main_end)?;
        let volume_blocks = volume_bytes / u64::from(self.block_bytes);
        let expected = format!("at most the volume's {volume_blocks}");
        let is_inside = block_count <= volume_blocks;
        check(is_inside, "block_count", expected, block_count)?;
        let expected = format!("a main area that ends by block {block_count}");
        check(main_end <= block_count, "block_count", expected, main_end)
    }

    fn check_tables(&self) -> Checked {
        let blocks = u64::from(self.main.segments.div_ceil(self.segments_per_sit_block()));
        let is_valid = self.sit.segments.is_multiple_of(2) && blocks <= self.sit.blocks() / 2;
        let expected = format!("two copies of {blocks} blocks");
        check(is_valid, "segment_count_sit", expected, self.sit.segments)?;
        let is_valid = self.nat.segments > 0 && self.nat.segments.is_multiple_of(2);
        let found = self.nat.segments;
        check(is_valid, "segment_count_nat", "two copies", found)?;
        // What is never written to needs no summaries.
        let is_valid =
            self.features.is_read_only() || self.ssa.blocks() >= u64::from(self.main.segments);
        let expected = format!("{} blocks", self.main.segments);
        check(is_valid, "segment_count_ssa", expected, self.ssa.segments)?;
        let payload_max = SEGMENT_BLOCKS - 2 - LOGS;
        let is_valid = self.payload_blocks < payload_max;
        let expected = format!("less than {payload_max}");
        check(is_valid, "cp_payload", expected, self.payload_blocks)
    }

    /// Entries of a SIT block: `SIT_ENTRY_PER_BLOCK`. Blocks have 4096 bytes or more.
    pub(super) const fn segments_per_sit_block(&self) -> u32 {
        self.block_bytes / SIT_ENTRY_LEN as u32
    }

    /// Entries of a NAT block: `NAT_ENTRY_PER_BLOCK`.
    pub(super) const fn nodes_per_nat_block(&self) -> u32 {
        self.block_bytes / NAT_ENTRY_LEN as u32
    }

    /// One more than the last node that the NAT has room for, and that 32 bits can name.
    pub(super) fn end_nid(&self) -> Nid {
        let blocks = self.nat.blocks() / 2;
        let nodes = blocks * u64::from(self.nodes_per_nat_block());
        Nid(u32::try_from(nodes).unwrap_or(u32::MAX))
    }

    /// A block as a length in memory.
    pub(super) const fn block_len(&self) -> usize {
        self.block_bytes as usize
    }

    /// Block `index` of one of the areas.
    ///
    /// # Errors
    /// [`Corrupt`] when the area has fewer.
    pub(super) fn block(&self, area: Area, index: u64) -> Checked<Block> {
        let expected = || format!("block {index} in the area at block {}", area.first_block);
        let found = || format!("{} blocks", area.blocks());
        let missing = || corrupt("segment_count", expected(), found());
        area.block(index).ok_or_else(missing)
    }

    /// Where a block starts on the volume. The areas of a checked superblock lie on the volume, so
    /// this does not overflow.
    pub(super) fn offset_bytes(&self, block: Block) -> u64 {
        block.number() * u64::from(self.block_bytes)
    }

    /// The volume's bytes of `count` blocks from `first` on; `None` when there are none.
    pub(super) fn extent(&self, first: Block, count: u64) -> Option<Extent> {
        let len_bytes = count.checked_mul(self.block_bytes.into())?;
        Extent::new(self.offset_bytes(first), len_bytes)
    }

    /// Bytes of all that comes before the main area, and of `blocks` blocks of the main area;
    /// `None` when it has fewer.
    pub(super) fn bytes_up_to_main(&self, blocks: u64) -> Option<u64> {
        let end = u64::from(self.main.first_block) + blocks.min(self.main.blocks());
        (blocks <= self.main.blocks()).then(|| end * u64::from(self.block_bytes))
    }

    /// Where the main area ends.
    pub(super) fn end_bytes(&self) -> u64 {
        self.main.end_block() * u64::from(self.block_bytes)
    }
}

fn check_units(raw: &[u8]) -> Checked {
    let log_sectorsize = le32(raw, 8);
    let log_sectors_per_block = le32(raw, 12);
    let log_blocksize = le32(raw, 16);
    let log_blocks_per_seg = le32(raw, 20);
    let is_valid = (9..=log_blocksize).contains(&log_sectorsize);
    let expected = format!("9 to {log_blocksize}");
    check(is_valid, "log_sectorsize", expected, log_sectorsize)?;
    let (rest, found) = (log_blocksize - log_sectorsize, log_sectors_per_block);
    check(found == rest, "log_sectors_per_block", rest, found)?;
    let found = log_blocks_per_seg;
    check(found == 9, "log_blocks_per_seg", 9, found)?;
    let (root_ino, node_ino, meta_ino) = (le32(raw, 96), le32(raw, 100), le32(raw, 104));
    check(root_ino == 3, "root_ino", 3, root_ino)?;
    check(node_ino == 1, "node_ino", 1, node_ino)?;
    check(meta_ino == 2, "meta_ino", 2, meta_ino)
}

fn check_crc(raw: &[u8]) -> Checked {
    let (checksum_offset, crc) = (le32(raw, 32), le32(raw, CRC_OFFSET));
    let is_known = checksum_offset as usize == CRC_OFFSET;
    check(is_known, "checksum_offset", CRC_OFFSET, checksum_offset)?;
    let computed = crc32(&[raw.get(..CRC_OFFSET).unwrap_or_default()]);
    let (expected, found) = (format!("{computed:#010x}"), format!("{crc:#010x}"));
    check(computed == crc, "crc", expected, found)
}
