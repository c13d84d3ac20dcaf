//! The allocation file: which blocks are in use (TN1150, "Allocation File").

use super::address::{Block, Run};
use super::volume::Volume;
use crate::device::ReadAt;
use crate::error::{Corrupt, Result};
use crate::extent::{ExtentMap, ExtentMapBuilder};
use crate::filesystem::bits::{Order, for_each_run};

const PIECE_BYTES: u64 = 1 << 20;

/// Every block that is marked, and what is in use without a mark.
///
/// # Errors
/// [`crate::Error::Corrupt`] when the file is too short for all blocks, or when there are other
/// than `freeBlocks` free ones: one of the two was not written.
pub(super) fn used(volume: &Volume, device: &dyn ReadAt) -> Result<ExtentMap> {
    let header = &volume.header;
    let all = u64::from(header.blocks.count);
    let needed_bytes = all.div_ceil(8);
    let file_bytes = volume.allocation.logical_bytes;
    let corrupt = |field, expected: String, found: u64| {
        let place = volume.allocation.start_bytes();
        Corrupt::new("HFS+ allocation file", field, place, expected, found)
    };
    if file_bytes < needed_bytes {
        return Err(corrupt("logicalSize", format!("bits of {all} blocks"), file_bytes).into());
    }
    let mut map = ExtentMapBuilder::new();
    let mut marked = 0_u64;
    let mut piece = vec![0; PIECE_BYTES.min(needed_bytes) as usize];
    for at in (0..needed_bytes).step_by(PIECE_BYTES as usize) {
        let len = PIECE_BYTES.min(needed_bytes - at) as usize;
        let now = piece.get_mut(..len).unwrap_or_default();
        volume.allocation.read(device, at, now)?;
        let first = at * 8;
        for_each_run(now, Order::MostFirst, all - first, &mut |start, blocks| {
            marked += blocks;
            // All of them are among the volume's, which 32 bits number.
            let run = Run {
                first: Block((first + start) as u32),
                blocks: blocks as u32,
            };
            let extent = header.blocks.extent(run);
            extent.into_iter().for_each(|extent| map.push(extent));
        });
    }
    let free_blocks = all - marked;
    if free_blocks != u64::from(header.free_blocks) {
        let expected = format!("{} free blocks as in the volume header", header.free_blocks);
        return Err(corrupt("bits", expected, free_blocks).into());
    }
    Ok(map.finish().union(&header.edges().collect()))
}
