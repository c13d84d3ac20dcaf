//! The allocation file: which blocks are in use (TN1150, "Allocation File").

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
    let needed_bytes = header.blocks.div_ceil(8);
    let file_bytes = volume.allocation.logical_bytes;
    let corrupt = |field, expected: String, found: u64| {
        let place = volume.allocation.place(header, 0);
        let place = place.map_or(0, |place| place.offset_bytes());
        Corrupt::new("HFS+ allocation file", field, place, expected, found)
    };
    if file_bytes < needed_bytes {
        let expected = format!("bits of {} blocks", header.blocks);
        return Err(corrupt("logicalSize", expected, file_bytes).into());
    }
    let mut map = ExtentMapBuilder::new();
    let mut marked = 0_u64;
    let mut piece = vec![0; usize::try_from(PIECE_BYTES.min(needed_bytes)).unwrap_or(0)];
    let mut at = 0;
    while at < needed_bytes {
        let left = usize::try_from(needed_bytes.saturating_sub(at)).unwrap_or(usize::MAX);
        let len = left.min(piece.len());
        let now = piece.get_mut(..len).unwrap_or_default();
        volume.allocation.read(device, header, (at, now))?;
        let first = at.saturating_mul(8);
        let count = header.blocks.saturating_sub(first);
        for_each_run(now, Order::MostFirst, count, &mut |start, blocks| {
            marked = marked.saturating_add(blocks);
            let extent = header.extent(first.saturating_add(start), blocks);
            extent.into_iter().for_each(|extent| map.push(extent));
        });
        at = at.saturating_add(len as u64);
    }
    let free_blocks = header.blocks.saturating_sub(marked);
    if free_blocks != header.free_blocks {
        let expected = format!("{} free blocks as in the volume header", header.free_blocks);
        return Err(corrupt("bits", expected, free_blocks).into());
    }
    Ok(map.finish().union(&header.edges().collect()))
}
