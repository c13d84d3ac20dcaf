//! Clusters whose entry of the FAT marks them as bad (section 4.1.3).

use super::layout::Layout;
use super::tree::{self, Item, Step, Visitor};
use crate::bytes::le32;
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap, ExtentMapBuilder};
use crate::filesystem::chain::Table as _;
use crate::filesystem::cluster::Cluster;
use crate::filesystem::known_bad::Claims;

const BAD_ENTRY: u32 = 0xffff_fff7;
/// Entries read at once.
const PIECE_ENTRIES: u32 = 1 << 18;

/// The clusters that are marked and that nothing in the directory tree names: where a file has
/// contiguous clusters, its entries of the FAT mean nothing. None on TexFAT, whose two FATs need not
/// agree.
///
/// # Errors
/// [`crate::Error::Corrupt`] when an entry set or a chain is damaged.
pub(super) fn unclaimed(device: &dyn ReadAt, layout: &Layout) -> Result<ExtentMap> {
    let mut claims = Claims::new(marked(device, layout)?);
    if !claims.is_idle() {
        tree::walk(
            device,
            layout,
            &mut Claimed(&mut claims),
            tree::PENDING_BYTES_MAX,
        )?;
    }
    Ok(claims.unclaimed())
}

fn marked(device: &dyn ReadAt, layout: &Layout) -> Result<ExtentMap> {
    let mut marked = ExtentMapBuilder::new();
    if layout.fat_count > 1 {
        return Ok(marked.finish());
    }
    let end = layout.heap.end().0;
    for first in (Cluster::FIRST.0..end).step_by(PIECE_ENTRIES as usize) {
        let count = PIECE_ENTRIES.min(end - first);
        let at = layout.fat_offset_bytes + layout.position_bytes(Cluster(first));
        let piece = read_vec(device, at, count as usize * 4)?;
        for (cluster, entry) in (first..).map(Cluster).zip(piece.as_chunks::<4>().0) {
            if le32(entry, 0) == BAD_ENTRY {
                let extent = layout.heap.extent(cluster);
                extent.into_iter().for_each(|extent| marked.push(extent));
            }
        }
    }
    Ok(marked.finish())
}

struct Claimed<'a>(&'a mut Claims);

impl Visitor for Claimed<'_> {
    const WANTS_PATHS: bool = false;

    fn run(&mut self, _item: &Item<'_>, _position_bytes: u64, extent: Extent) -> Result<Step> {
        self.0.add(extent);
        Ok(Step::On)
    }
}
