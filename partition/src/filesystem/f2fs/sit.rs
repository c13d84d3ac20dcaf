//! The segment information table (SIT): which blocks of each segment are in use.
//!
//! Each block of the table has two copies. The checkpoint says which copy is valid, and its
//! journal has entries that are newer than both. Layouts of `f2fs_sit_block` and `f2fs_sit_entry`
//! (Linux, `f2fs_fs.h`).

use super::address::Segment;
use super::checkpoint::Checkpoint;
use super::entry::{SIT_ENTRY_LEN, bit};
use super::journal::{self, Journal};
use super::superblock::{LOGS, Superblock};
use crate::bytes::le16;
use crate::device::{ReadAt, read_vec};
use crate::error::{Checked, Corrupt, Result};
use crate::extent::{Extent, ExtentMap, ExtentMapBuilder};

/// `SIT_VBLOCK_MAP_SIZE`
const MAP_LEN: usize = 64;

const STRUCTURE: &str = "F2FS SIT entry";
/// Blocks of the table read at once.
const BLOCKS_AT_ONCE: u32 = 256;

/// The bytes that are in use: all that comes before the main area, and the blocks of the main
/// area whose bits are set.
///
/// # Errors
/// [`crate::Error::Corrupt`] when an entry contradicts itself, or all of them the checkpoint.
pub(super) fn used(
    superblock: &Superblock,
    checkpoint: &Checkpoint,
    device: &dyn ReadAt,
) -> Result<ExtentMap> {
    let mut map = ExtentMapBuilder::new();
    let before_main = superblock.bytes_up_to_main(0);
    if let Some(extent) = before_main.and_then(|len_bytes| Extent::new(0, len_bytes)) {
        map.push(extent);
    }
    let mut blocks = 0_u64;
    for_each(superblock, checkpoint, device, &mut |segment, entry| {
        for_each_run(entry, &mut |first, count| {
            blocks += u64::from(count);
            let start = superblock.block(superblock.main, segment.block(first))?;
            let run = superblock.extent(start, count.into());
            run.into_iter().for_each(|extent| map.push(extent));
            Ok(())
        })
    })?;
    let expected = checkpoint.valid_blocks();
    if blocks != expected {
        let at = superblock.offset_bytes(checkpoint.first_block);
        let field = "valid_block_count";
        let expected = format!("{blocks} as the SIT has them");
        let found = checkpoint.valid_blocks();
        return Err(Corrupt::new("F2FS checkpoint", field, at, expected, found).into());
    }
    Ok(map.finish())
}

/// Calls `visit` with each segment and its entry in order.
fn for_each(
    superblock: &Superblock,
    checkpoint: &Checkpoint,
    device: &dyn ReadAt,
    visit: &mut impl FnMut(Segment, &[u8]) -> Checked,
) -> Result<()> {
    let journal = journal::sit(superblock, checkpoint, device)?;
    let table = Table {
        superblock,
        bitmap: checkpoint.sit_bitmap(superblock),
        device,
    };
    let segments = superblock.main.segments;
    let per_block = superblock.segments_per_sit_block();
    let blocks = segments.div_ceil(per_block);
    for first in (0..blocks).step_by(BLOCKS_AT_ONCE as usize) {
        let numbers = first..blocks.min(first.saturating_add(BLOCKS_AT_ONCE));
        let raw = table.read(numbers.clone())?;
        for (number, block) in numbers.zip(raw.chunks_exact(superblock.block_len())) {
            let place = table.offset_bytes(number, table.valid(number))?;
            // Below the number of segments, as the block is below that of blocks.
            let start = number * per_block;
            for (segment, raw) in (start..segments).zip(sit_entries(block, per_block)) {
                let segment = Segment(segment);
                let entry = entry(&journal, segment, raw);
                check(entry, segment, place)?;
                visit(segment, entry)?;
            }
        }
    }
    Ok(())
}

fn sit_entries(block: &[u8], per_block: u32) -> impl Iterator<Item = &[u8]> {
    block.chunks_exact(SIT_ENTRY_LEN).take(per_block as usize)
}

fn entry<'a>(journal: &'a Journal<Segment>, segment: Segment, raw: &'a [u8]) -> &'a [u8] {
    journal.get(&segment).map_or(raw, Vec::as_slice)
}

/// Which of the two copies of a block of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copy {
    First,
    Second,
}

/// Reads blocks of the table.
struct Table<'a> {
    superblock: &'a Superblock,
    /// A bit for each block: 1 where the second copy is the valid one.
    bitmap: &'a [u8],
    device: &'a dyn ReadAt,
}

impl Table<'_> {
    fn valid(&self, number: u32) -> Copy {
        if bit(self.bitmap, number.into()) {
            Copy::Second
        } else {
            Copy::First
        }
    }

    /// Where a copy of the block `number` lies. All second copies follow all first ones.
    fn offset_bytes(&self, number: u32, copy: Copy) -> Checked<u64> {
        let sit = self.superblock.sit;
        let start = match copy {
            Copy::First => 0,
            Copy::Second => sit.blocks() / 2,
        };
        let block = self.superblock.block(sit, start + u64::from(number))?;
        Ok(self.superblock.offset_bytes(block))
    }

    /// The blocks, each from its valid copy.
    fn read(&self, numbers: std::ops::Range<u32>) -> Result<Vec<u8>> {
        let block_len = self.superblock.block_len();
        let len = numbers.len() * block_len;
        let read = |copy| -> Result<Vec<u8>> {
            read_vec(self.device, self.offset_bytes(numbers.start, copy)?, len)
        };
        let copy = self.valid(numbers.start);
        let mut raw = read(copy)?;
        if numbers.clone().any(|number| self.valid(number) != copy) {
            let other = read(match copy {
                Copy::First => Copy::Second,
                Copy::Second => Copy::First,
            })?;
            let blocks = raw.chunks_exact_mut(block_len);
            let blocks = blocks.zip(other.chunks_exact(block_len));
            for (number, (block, other)) in numbers.clone().zip(blocks) {
                if self.valid(number) != copy {
                    block.copy_from_slice(other);
                }
            }
        }
        Ok(raw)
    }
}

/// `valid_map`
fn map(entry: &[u8]) -> &[u8] {
    entry.get(2..MAP_LEN + 2).unwrap_or_default()
}

/// Checks that the count is the number of bits, and that the kind is the kind of a log.
fn check(entry: &[u8], segment: Segment, at: u64) -> Checked {
    let vblocks = le16(entry, 0);
    let (count, kind) = (u32::from(vblocks & 0x3ff), u32::from(vblocks >> 10));
    let bits: u32 = map(entry).iter().map(|byte| byte.count_ones()).sum();
    let is_valid = count == bits && (count == 0 || kind < LOGS);
    if is_valid {
        return Ok(());
    }
    let expected = format!(
        "{bits} blocks of a log below {LOGS} in segment {}",
        segment.0
    );
    let found = format!("{count} of {kind}");
    Err(Corrupt::new(STRUCTURE, "vblocks", at, expected, found))
}

/// Calls `visit` with (first, count) of each run of blocks in use in a segment.
fn for_each_run(entry: &[u8], visit: &mut impl FnMut(u32, u32) -> Checked) -> Checked {
    if le16(entry, 0) & 0x3ff == 0 {
        return Ok(());
    }
    let (words, _) = map(entry).as_chunks::<8>();
    for (start, word) in (0..).step_by(64).zip(words) {
        let (mut at, mut word) = (start, u64::from_be_bytes(*word));
        while word != 0 {
            let gap = word.leading_zeros();
            word <<= gap;
            let run = word.leading_ones();
            at += gap;
            visit(at, run)?;
            at += run;
            word = word.checked_shl(run).unwrap_or(0);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{SIT_ENTRY_LEN, Segment, bit, check, for_each_run};
    use proptest::prelude::{Just, any, prop_assert_eq, prop_oneof, proptest};

    proptest! {
        #[test]
        fn runs_are_the_ones(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(0xff)], 64)
        ) {
            let mut entry = vec![0; SIT_ENTRY_LEN];
            entry[2..66].copy_from_slice(&bytes);
            let ones: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
            entry[..2].copy_from_slice(&(ones as u16).to_le_bytes());
            prop_assert_eq!(check(&entry, Segment(0), 0).is_ok(), true);
            let mut found = Vec::new();
            for_each_run(&entry, &mut |first, count| {
                found.extend(first..first + count);
                Ok(())
            })
            .unwrap();
            let expected: Vec<u32> = (0..512)
                .filter(|&index| bit(&bytes, index.into()))
                .collect();
            prop_assert_eq!(found, expected);
            entry[40] ^= 0x10;
            prop_assert_eq!(check(&entry, Segment(0), 0).is_ok(), false);
        }
    }
}
