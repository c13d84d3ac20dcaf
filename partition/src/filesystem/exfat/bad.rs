//! Clusters whose entry of the FAT marks them as bad (section 4.1.3).

use super::layout::{FIRST_CLUSTER, Layout};
use super::tree::{self, Item, Step, Visitor};
use crate::bytes::le32;
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap, ExtentMapBuilder};
use crate::filesystem::chain::Table as _;
use crate::filesystem::known_bad::Claims;

const BAD_ENTRY: u32 = 0xffff_fff7;
const PIECE_BYTES: u64 = 1 << 20;

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
    let end_bytes = match layout.fat_count {
        1 => layout.entries_bytes(),
        _ => 0,
    };
    let mut at = u64::from(FIRST_CLUSTER).saturating_mul(4);
    let mut cluster = FIRST_CLUSTER;
    while at < end_bytes {
        let len_bytes = end_bytes.saturating_sub(at).min(PIECE_BYTES);
        let place = layout.fat_offset_bytes.saturating_add(at);
        let piece = read_vec(device, place, len_bytes as usize)?;
        for entry in piece.as_chunks::<4>().0 {
            if le32(entry, 0) == BAD_ENTRY {
                let extent = layout.clusters(cluster, 1);
                extent.into_iter().for_each(|extent| marked.push(extent));
            }
            cluster = cluster.saturating_add(1);
        }
        at = at.saturating_add(len_bytes);
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
