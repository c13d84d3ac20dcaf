//! Checkpoints: two packs, written in turn. The newer valid one is the state of the filesystem.
//!
//! A pack starts with a block of `struct f2fs_checkpoint` (Linux, `f2fs_fs.h`). Version bitmaps
//! that have no room there, orphans and summaries follow. A copy of the first block ends it.

use super::address::{Block, SEGMENT_BLOCKS, Segment};
use super::checksum::crc32;
use super::superblock::{LOGS, Superblock};
use crate::bytes::{le16, le32, le64};
use crate::device::{ReadAt, read_vec};
use crate::error::{Checked, Corrupt, Error, Result};
use std::fmt::Display;

/// `CP_UMOUNT_FLAG`: written by an unmount.
pub(super) const UMOUNT: u32 = 0x1;
const COMPACT_SUM: u32 = 0x4;
const LARGE_NAT_BITMAP: u32 = 0x400;

const STRUCTURE: &str = "F2FS checkpoint";
/// `sit_nat_version_bitmap`, the last field.
const BITMAPS_OFFSET: usize = 192;
/// Node logs: hot, warm and cold.
const NODE_LOGS: usize = 3;

/// Where a log of nodes goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogHead {
    /// `cur_node_segno`
    pub(super) segment: Segment,
    /// `cur_node_blkoff`: the block in that segment.
    pub(super) block: u32,
}

/// A checkpoint whose checksums are right, with fields that fit the superblock.
#[derive(Clone, Debug)]
pub(super) struct Checkpoint {
    /// The first block, and the blocks of version bitmaps.
    raw: Vec<u8>,
    /// Where the pack starts: the index in the checkpoint area, and the block.
    start: u64,
    pub(super) first_block: Block,
    /// `ckpt_flags`
    pub(super) flags: u32,
    /// `cp_pack_total_block_count`
    pub(super) blocks: u32,
    /// `cp_pack_start_sum`: the first block with summaries, from the start of the pack on.
    pub(super) summaries: u32,
}

/// The newer checkpoint, and what is wrong with the other one.
#[derive(Debug)]
pub(super) struct Checkpoints {
    pub(super) current: Checkpoint,
    pub(super) damage: Option<Corrupt>,
}

impl Checkpoints {
    /// Reads both packs.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when neither is sound, or the newer one contradicts the superblock.
    pub(super) fn read(superblock: &Superblock, device: &dyn ReadAt) -> Result<Self> {
        let first = Checkpoint::read(superblock, device, 0)?;
        let second = Checkpoint::read(superblock, device, 1)?;
        let found = match (first, second) {
            (Ok(first), Ok(second)) => {
                // Versions may wrap.
                let is_later = (second.version().wrapping_sub(first.version())).cast_signed() > 0;
                let current = if is_later { second } else { first };
                let damage = None;
                Self { current, damage }
            }
            (Ok(current), Err(damage)) | (Err(damage), Ok(current)) => Self {
                current,
                damage: Some(damage),
            },
            (Err(damage), Err(_)) => return Err(damage.into()),
        };
        found.current.check_fields(superblock)?;
        Ok(found)
    }
}

impl Checkpoint {
    fn read(superblock: &Superblock, device: &dyn ReadAt, pack: u64) -> Result<Checked<Self>> {
        let start = pack * u64::from(SEGMENT_BLOCKS);
        let first_block = superblock.block(superblock.checkpoint, start)?;
        let at = superblock.offset_bytes(first_block);
        // The superblock's check bounds cp_payload by the segment.
        let len = superblock.block_len() * (superblock.payload_blocks as usize + 1);
        let raw = read_vec(device, at, len)?;
        let head = raw.get(..superblock.block_len()).unwrap_or_default();
        if let Err(corrupt) = check_crc(head, at) {
            return Ok(Err(corrupt));
        }
        let ckpt_flags = le32(head, 132);
        let cp_pack_total_block_count = le32(head, 136);
        let cp_pack_start_sum = le32(head, 140);
        let checkpoint = Self {
            flags: ckpt_flags,
            start,
            first_block,
            blocks: cp_pack_total_block_count,
            summaries: cp_pack_start_sum,
            raw,
        };
        if let Err(corrupt) = checkpoint.check_blocks(superblock, at) {
            return Ok(Err(corrupt));
        }
        checkpoint.read_end(superblock, device)
    }

    /// Block `index` of the pack.
    ///
    /// # Errors
    /// [`Corrupt`] when that is no block of the checkpoint area.
    pub(super) fn block(&self, superblock: &Superblock, index: u32) -> Checked<Block> {
        superblock.block(superblock.checkpoint, self.start + u64::from(index))
    }

    /// Holds the last block of the pack against the first one.
    fn read_end(self, superblock: &Superblock, device: &dyn ReadAt) -> Result<Checked<Self>> {
        // Checked before: there are at least 3.
        let last = self.block(superblock, self.blocks - 1)?;
        let at = superblock.offset_bytes(last);
        let end = read_vec(device, at, superblock.block_len())?;
        if let Err(corrupt) = check_crc(&end, at) {
            return Ok(Err(corrupt));
        }
        let (expected, found) = (self.version(), le64(&end, 0));
        if expected != found {
            let (expected, found) = (format!("{expected:#x}"), format!("{found:#x}"));
            let field = "checkpoint_ver at the end of the pack";
            return Ok(Err(Corrupt::new(STRUCTURE, field, at, expected, found)));
        }
        Ok(Ok(self))
    }

    fn check_blocks(&self, superblock: &Superblock, at: u64) -> Checked {
        let min = superblock.payload_blocks + 3;
        let is_valid = (min..=SEGMENT_BLOCKS).contains(&self.blocks);
        if is_valid {
            return Ok(());
        }
        let expected = format!("{min} to {SEGMENT_BLOCKS}");
        let field = "cp_pack_total_block_count";
        Err(Corrupt::new(STRUCTURE, field, at, expected, self.blocks))
    }

    fn check_fields(&self, superblock: &Superblock) -> Checked {
        let at = superblock.offset_bytes(self.first_block);
        let check = |is_valid: bool, field, expected: &dyn Display, found: u64| {
            if is_valid {
                return Ok(());
            }
            Err(Corrupt::new(STRUCTURE, field, at, expected, found))
        };
        let (sit, nat) = (superblock.sit.segments, superblock.nat.segments);
        for (field, found, segments) in [
            ("sit_ver_bitmap_bytesize", self.sit_bitmap_len(), sit),
            ("nat_ver_bitmap_bytesize", self.nat_bitmap_len(), nat),
        ] {
            // A bit for each block of one copy.
            let expected = u64::from(segments / 2) * u64::from(SEGMENT_BLOCKS) / 8;
            check(found as u64 == expected, field, &expected, found as u64)?;
        }
        let is_fitting =
            self.bitmap(true, superblock).is_some() && self.bitmap(false, superblock).is_some();
        let (field, found) = ("sit_nat_version_bitmap", self.raw.len() as u64);
        check(is_fitting, field, &"bitmaps within the pack", found)?;
        let (blocks, all) = (self.valid_blocks(), superblock.main.blocks());
        let expected = format!("at most {all}");
        check(blocks <= all, "valid_block_count", &expected, blocks)?;
        self.check_logs(superblock, at)?;
        self.check_summaries(superblock, at)
    }

    fn check_logs(&self, superblock: &Superblock, at: u64) -> Checked {
        let logs = if superblock.features.is_read_only() {
            1
        } else {
            NODE_LOGS
        };
        for log in 0..logs {
            let LogHead { segment, block } = self.node_log(log);
            let is_valid = segment.0 < superblock.main.segments && block < SEGMENT_BLOCKS;
            if !is_valid {
                let expected = format!("a block of {} segments", superblock.main.segments);
                let found = format!("block {block} of segment {}", segment.0);
                let field = "cur_node_segno";
                return Err(Corrupt::new(STRUCTURE, field, at, expected, found));
            }
        }
        Ok(())
    }

    /// Where summaries are when an unmount has written all six of them.
    fn check_summaries(&self, superblock: &Superblock, at: u64) -> Checked {
        if !self.has(UMOUNT) {
            return Ok(());
        }
        let after = self.blocks.checked_sub(self.summaries);
        let expected = if self.has(COMPACT_SUM) {
            LOGS - 1..=LOGS
        } else {
            LOGS + 1..=LOGS + 1
        };
        let is_valid = self.summaries > superblock.payload_blocks
            && after.is_some_and(|after| after > 0 && expected.contains(&after));
        if is_valid {
            return Ok(());
        }
        let expected = format!("{expected:?} blocks from the end of {}", self.blocks);
        let (field, found) = ("cp_pack_start_sum", self.summaries);
        Err(Corrupt::new(STRUCTURE, field, at, expected, found))
    }

    /// `checkpoint_ver`
    pub(super) fn version(&self) -> u64 {
        le64(&self.raw, 0)
    }

    /// `valid_block_count`: blocks of the main area that are in use.
    pub(super) fn valid_blocks(&self) -> u64 {
        le64(&self.raw, 16)
    }

    pub(super) const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Whether the journals share a block with the summaries of data.
    pub(super) const fn is_compact(&self) -> bool {
        self.has(COMPACT_SUM)
    }

    /// Where the log of hot (0), warm (1) or cold (2) nodes goes on.
    pub(super) fn node_log(&self, log: usize) -> LogHead {
        let cur_node_segno = le32(&self.raw, 36 + 4 * log);
        let cur_node_blkoff = le16(&self.raw, 68 + 2 * log);
        LogHead {
            segment: Segment(cur_node_segno),
            block: cur_node_blkoff.into(),
        }
    }

    /// `sit_ver_bitmap_bytesize`
    fn sit_bitmap_len(&self) -> usize {
        le32(&self.raw, 156) as usize
    }

    /// `nat_ver_bitmap_bytesize`
    fn nat_bitmap_len(&self) -> usize {
        le32(&self.raw, 160) as usize
    }

    /// Which copy of each SIT block (or NAT block) is the valid one: bits from the highest of
    /// each byte on.
    fn bitmap(&self, is_sit: bool, superblock: &Superblock) -> Option<&[u8]> {
        let (sit, nat) = (self.sit_bitmap_len(), self.nat_bitmap_len());
        let checksum_offset = le32(&self.raw, 164) as usize;
        let (start, end) = if self.has(LARGE_NAT_BITMAP) {
            // An older layout, with the checksum at the end of the block, is mounted nowhere.
            if checksum_offset != BITMAPS_OFFSET {
                return None;
            }
            let start = BITMAPS_OFFSET + 4;
            let before = if is_sit { nat } else { 0 };
            (start.checked_add(before)?, self.raw.len())
        } else if superblock.payload_blocks > 0 && is_sit {
            (superblock.block_len(), self.raw.len())
        } else {
            let is_second = superblock.payload_blocks == 0 && !is_sit;
            let before = if is_second { sit } else { 0 };
            (BITMAPS_OFFSET.checked_add(before)?, checksum_offset)
        };
        let len = if is_sit { sit } else { nat };
        self.raw.get(..end)?.get(start..start.checked_add(len)?)
    }

    /// Which copy of each SIT block is the valid one.
    pub(super) fn sit_bitmap(&self, superblock: &Superblock) -> &[u8] {
        self.bitmap(true, superblock).unwrap_or_default()
    }

    /// Which copy of each NAT block is the valid one.
    pub(super) fn nat_bitmap(&self, superblock: &Superblock) -> &[u8] {
        self.bitmap(false, superblock).unwrap_or_default()
    }
}

/// The checksum counts all of the block but itself.
fn check_crc(block: &[u8], at: u64) -> Checked {
    let offset = le32(block, 164) as usize;
    let last = block.len().saturating_sub(4);
    if !(BITMAPS_OFFSET..=last).contains(&offset) {
        let expected = format!("{BITMAPS_OFFSET} to {last}");
        let field = "checksum_offset";
        return Err(Corrupt::new(STRUCTURE, field, at, expected, offset));
    }
    let before = block.get(..offset).unwrap_or_default();
    let after = block.get(offset + 4..).unwrap_or_default();
    let (computed, stored) = (crc32(&[before, after]), le32(block, offset));
    if computed == stored {
        return Ok(());
    }
    let (expected, found) = (format!("{computed:#010x}"), format!("{stored:#010x}"));
    Err(Corrupt::new(STRUCTURE, "checksum", at, expected, found))
}

/// What keeps the maps from being believed, when the flag of an unmount is missing.
pub(super) fn must_be_unmounted(checkpoint: &Checkpoint) -> Result<()> {
    if checkpoint.has(UMOUNT) {
        return Ok(());
    }
    Err(Error::unsupported(
        "this f2fs",
        "no unmount made its last checkpoint, so its maps prove nothing",
    ))
}
