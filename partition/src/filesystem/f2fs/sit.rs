//! The segment information table (SIT): which blocks of each segment are in use.
//!
//! Each of its blocks is there twice. The checkpoint says which one is valid, and its journal has
//! entries that are newer than both.

use super::checkpoint::Checkpoint;
use super::entry::{SIT_ENTRY_LEN, bit};
use super::journal::{self, Journal};
use super::superblock::{LOGS, SEGMENT_BLOCKS, Superblock};
use crate::bytes::le16;
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use crate::extent::{ExtentMap, ExtentMapBuilder};

/// `SIT_VBLOCK_MAP_SIZE`
const MAP_LEN: usize = 64;

const STRUCTURE: &str = "F2FS SIT entry";
/// Blocks of the table read at once.
const BLOCKS_AT_ONCE: u64 = 256;

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
    if let Some(extent) = superblock.extent(0, superblock.main.first_block.into()) {
        map.push(extent);
    }
    let mut blocks = 0_u64;
    for_each(superblock, checkpoint, device, &mut |segment, entry| {
        let start = u64::from(segment).saturating_mul(SEGMENT_BLOCKS.into());
        let start = start.saturating_add(superblock.main.first_block.into());
        for_each_run(entry, &mut |first, count| {
            blocks = blocks.saturating_add(count);
            if let Some(extent) = superblock.extent(start.saturating_add(first), count) {
                map.push(extent);
            }
        });
    })?;
    let expected = checkpoint.valid_blocks();
    if blocks != expected {
        let at = superblock.byte(checkpoint.first_block);
        let field = "valid_block_count";
        let expected = format!("{blocks} as the SIT has them");
        let found = checkpoint.valid_blocks();
        return Err(Corrupt::new("F2FS checkpoint", field, at, expected, found).into());
    }
    Ok(map.finish())
}

/// Calls `visit` with the number and entry of each segment in order.
fn for_each(
    superblock: &Superblock,
    checkpoint: &Checkpoint,
    device: &dyn ReadAt,
    visit: &mut impl FnMut(u32, &[u8]),
) -> Result<()> {
    let journal = journal::sit(superblock, checkpoint, device)?;
    let segments = superblock.main.segments;
    let per_block = superblock.segments_per_sit_block();
    let blocks = u64::from(segments.div_ceil(per_block));
    let mut first = 0;
    while first < blocks {
        let count = blocks.saturating_sub(first).min(BLOCKS_AT_ONCE);
        let (raw, places) = read_blocks(superblock, checkpoint, device, (first, count))?;
        for (block, place) in raw.chunks_exact(superblock.block_len()).zip(places) {
            let start = u32::try_from(first)
                .unwrap_or(u32::MAX)
                .saturating_mul(per_block);
            let here = segments.saturating_sub(start).min(per_block);
            for (segment, raw) in
                (start..start.saturating_add(here)).zip(block.chunks_exact(SIT_ENTRY_LEN))
            {
                let entry = entry(&journal, segment, raw);
                check(entry, segment, place)?;
                visit(segment, entry);
            }
            first = first.saturating_add(1);
        }
    }
    Ok(())
}

fn entry<'a>(journal: &'a Journal, segment: u32, raw: &'a [u8]) -> &'a [u8] {
    journal.get(&segment).map_or(raw, Vec::as_slice)
}

/// Blocks of the table, each from its valid copy, and where those are.
fn read_blocks(
    superblock: &Superblock,
    checkpoint: &Checkpoint,
    device: &dyn ReadAt,
    (first, count): (u64, u64),
) -> Result<(Vec<u8>, Vec<u64>)> {
    let bitmap = checkpoint.sit_bitmap(superblock);
    let is_second: Vec<bool> = (first..first.saturating_add(count))
        .map(|block| bit(bitmap, block))
        .collect();
    let start = |copy: u64| {
        let copy = copy.saturating_mul(superblock.sit.blocks() / 2);
        let block = u64::from(superblock.sit.first_block).saturating_add(first);
        superblock.byte(block.saturating_add(copy))
    };
    let len = usize::try_from(count)
        .unwrap_or(0)
        .saturating_mul(superblock.block_len());
    let read = |copy| read_vec(device, start(copy), len);
    let mut raw = read(u64::from(is_second.first() == Some(&true)))?;
    if is_second.iter().any(|&bit| Some(&bit) != is_second.first()) {
        let copy = u64::from(is_second.first() != Some(&true));
        let other = read(copy)?;
        let block_len = superblock.block_len();
        let blocks = raw
            .chunks_exact_mut(block_len)
            .zip(other.chunks_exact(block_len));
        for ((block, other), &is_second) in blocks.zip(&is_second) {
            if u64::from(is_second) == copy {
                block.copy_from_slice(other);
            }
        }
    }
    let place = |(index, &is_second): (usize, &bool)| {
        start(u64::from(is_second)).saturating_add(superblock.byte(index as u64))
    };
    let places = is_second.iter().enumerate().map(place).collect();
    Ok((raw, places))
}

fn map(entry: &[u8]) -> &[u8] {
    entry.get(2..MAP_LEN.saturating_add(2)).unwrap_or_default()
}

/// The count is that of the bits, and the kind is that of a log.
fn check(entry: &[u8], segment: u32, at: u64) -> Result<()> {
    let vblocks = le16(entry, 0);
    let (count, kind) = (u32::from(vblocks & 0x3ff), u32::from(vblocks >> 10));
    let bits: u32 = map(entry).iter().map(|byte| byte.count_ones()).sum();
    let is_valid = count == bits && (count == 0 || kind < LOGS);
    if is_valid {
        return Ok(());
    }
    let expected = format!("{bits} blocks of a log below {LOGS} in segment {segment}");
    let found = format!("{count} of {kind}");
    Err(Corrupt::new(STRUCTURE, "vblocks", at, expected, found).into())
}

/// Calls `visit` with (first, count) of each run of blocks in use in a segment.
fn for_each_run(entry: &[u8], visit: &mut impl FnMut(u64, u64)) {
    if le16(entry, 0) & 0x3ff == 0 {
        return;
    }
    let (words, _) = map(entry).as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let mut word = u64::from_be_bytes(*word);
        let mut at = (index as u64).saturating_mul(64);
        while word != 0 {
            let gap = word.leading_zeros();
            word <<= gap;
            let run = word.leading_ones();
            at = at.saturating_add(gap.into());
            visit(at, run.into());
            at = at.saturating_add(run.into());
            word = word.checked_shl(run).unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SIT_ENTRY_LEN, bit, check, for_each_run};
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
            prop_assert_eq!(check(&entry, 0, 0).is_ok(), true);
            let mut found = Vec::new();
            for_each_run(&entry, &mut |first, count| found.extend(first..first + count));
            let expected: Vec<u64> = (0..512).filter(|&index| bit(&bytes, index)).collect();
            prop_assert_eq!(found, expected);
            entry[40] ^= 0x10;
            prop_assert_eq!(check(&entry, 0, 0).is_ok(), false);
        }
    }
}
