//! Which clusters are in use, from one pass over all copies of the FAT (fatgen103, "FAT Data
//! Structure").

use super::layout::Layout;
use crate::device::{AlignedBuffer, ReadAt};
use crate::error::{Corrupt, Error, Result};
use crate::extent::{Extent, ExtentMap, ExtentMapBuilder};
use crate::filesystem::chain::Table as _;
use crate::filesystem::cluster::Cluster;
use crate::filesystem::known_bad::Claims;

/// A FAT may have 1 GiB, so it is read in pieces: whole entries of 12, 16 and 32 bits.
const PIECE_BYTES: usize = 3 << 18;

/// Everything on the volume that must be copied.
///
/// # Errors
/// [`Error::Corrupt`] when copies that should be equal differ, an entry points to no cluster, or
/// the root directory's cluster is free.
pub(super) fn used(device: &dyn ReadAt, layout: &Layout) -> Result<ExtentMap> {
    let mut builder = ExtentMapBuilder::new();
    let mut push = |extent: Option<Extent>| {
        if let Some(extent) = extent {
            builder.push(extent);
        }
    };
    push(layout.head());
    for_each_entry(device, layout, |cluster, entry| {
        if entry != 0 {
            push(layout.clusters.extent(cluster));
        }
    })?;
    push(layout.tail());
    Ok(builder.finish())
}

/// The clusters that are marked bad and that no entry leads to, and whether there is any. Which
/// clusters are marked counts for mirrored copies only: others need not agree.
///
/// # Errors
/// As for [`used`].
pub(super) fn marked_bad(device: &dyn ReadAt, layout: &Layout) -> Result<Claims> {
    let mut builder = ExtentMapBuilder::new();
    if !layout.is_mirrored {
        return Ok(Claims::new(ExtentMap::new()));
    }
    for_each_entry(device, layout, |cluster, entry| {
        let marked = layout.clusters.extent(cluster);
        if let Some(extent) = marked.filter(|_| entry == layout.bad_entry()) {
            builder.push(extent);
        }
    })?;
    let mut claims = Claims::new(builder.finish());
    if !claims.is_idle() {
        for_each_entry(device, layout, |_, entry| {
            let next = layout.clusters.extent(Cluster(entry));
            next.into_iter().for_each(|extent| claims.add(extent));
        })?;
    }
    Ok(claims)
}

/// How many clusters are free.
///
/// # Errors
/// As for [`used`].
pub(super) fn free_clusters(device: &dyn ReadAt, layout: &Layout) -> Result<u32> {
    let mut count: u32 = 0;
    for_each_entry(device, layout, |_, entry| {
        // No more than there are clusters.
        count += u32::from(entry == 0);
    })?;
    Ok(count)
}

/// Calls `visit` with each cluster and its entry.
pub(super) fn for_each_entry(
    device: &dyn ReadAt,
    layout: &Layout,
    mut visit: impl FnMut(Cluster, u32),
) -> Result<()> {
    let mut copies = Copies::new(layout);
    let entries_per_piece = PIECE_BYTES as u64 * 8 / layout.entry_bits();
    let end = layout.clusters.end().0;
    for first in (0..end).step_by(entries_per_piece as usize) {
        let start_bytes = layout.position_bytes(Cluster(first));
        let piece = copies.read(device, start_bytes)?;
        let after = end.min(first.saturating_add(entries_per_piece as u32));
        for cluster in (first.max(Cluster::FIRST.0)..after).map(Cluster) {
            let at = layout.position_bytes(cluster) - start_bytes;
            let bytes = piece.get(at as usize..);
            let entry = layout.decode(bytes.unwrap_or_default(), cluster);
            let found = Entry {
                cluster,
                value: entry,
            };
            found.check(layout)?;
            visit(cluster, entry);
        }
    }
    Ok(())
}

/// What the FAT says of a cluster.
struct Entry {
    cluster: Cluster,
    value: u32,
}

impl Entry {
    fn check(&self, layout: &Layout) -> Result<()> {
        let is_free = self.value == 0;
        let is_next = layout.clusters.has(Cluster(self.value));
        let is_reserved = self.value >= layout.reserved_entry_min();
        if !(is_free || is_next || is_reserved) {
            let expected = format!("0, 2 to {} or a mark", layout.clusters.end().0 - 1);
            return Err(self.corrupt(layout, "entry", expected));
        }
        if is_free && self.cluster == layout.root_cluster {
            let expected = "not 0, it holds the root directory".to_owned();
            return Err(self.corrupt(layout, "entry of BPB_RootClus", expected));
        }
        Ok(())
    }

    fn corrupt(&self, layout: &Layout, field: &'static str, expected: String) -> Error {
        let Self { cluster, value } = self;
        let found = format!("{value:#x} for cluster {cluster}");
        let offset_bytes = layout.entry_offset_bytes(*cluster);
        Corrupt::new("FAT", field, offset_bytes, expected, found).into()
    }
}

/// The copies of the FAT, read side by side.
struct Copies<'a> {
    layout: &'a Layout,
    merged: AlignedBuffer,
    other: AlignedBuffer,
}

impl<'a> Copies<'a> {
    fn new(layout: &'a Layout) -> Self {
        let len = layout.entries_bytes().min(PIECE_BYTES as u64) as usize;
        Self {
            layout,
            merged: AlignedBuffer::zeroed(len),
            other: AlignedBuffer::zeroed(len),
        }
    }

    /// The piece at `start_bytes` of each copy. Mirrored copies must be equal there. Of
    /// others all are merged, so that a cluster counts as used when any copy says so: Windows
    /// follows the active copy, Linux always the first.
    fn read(&mut self, device: &dyn ReadAt, start_bytes: u64) -> Result<&[u8]> {
        let layout = self.layout;
        let left_bytes = layout.entries_bytes().saturating_sub(start_bytes);
        let len = left_bytes.min(self.merged.len() as u64) as usize;
        let merged = self.merged.get_mut(..len).unwrap_or_default();
        device.read_exact_at(merged, layout.fat_offset_bytes + start_bytes)?;
        for copy in 1..layout.fat_count {
            let other = self.other.get_mut(..len).unwrap_or_default();
            let copy_offset_bytes = layout.fat_copy_offset_bytes(copy) + start_bytes;
            device.read_exact_at(other, copy_offset_bytes)?;
            if layout.is_mirrored {
                check_equal(merged, other, copy, copy_offset_bytes)?;
            } else {
                merged
                    .iter_mut()
                    .zip(&*other)
                    .for_each(|(all, byte)| *all |= byte);
            }
        }
        Ok(merged)
    }
}

fn check_equal(first: &[u8], other: &[u8], copy: u8, offset_bytes: u64) -> Result<()> {
    if first == other {
        return Ok(());
    }
    let equal = first.iter().zip(other).take_while(|(a, b)| a == b).count();
    let at_bytes = offset_bytes + equal as u64;
    let expected = "the same bytes as in the first copy (mend it with fsck.fat)";
    let found = format!("others in copy {} of the FAT", u32::from(copy) + 1);
    Err(Corrupt::new("FAT", "copy", at_bytes, expected, found).into())
}
