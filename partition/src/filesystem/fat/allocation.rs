//! Which clusters are in use, from one pass over all copies of the FAT.

use super::layout::{FIRST_CLUSTER, Layout};
use crate::device::{AlignedBuffer, ReadAt};
use crate::error::{Corrupt, Error, Result};
use crate::extent::{Extent, ExtentMap, ExtentMapBuilder};
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
    push(Extent::between(0, layout.data_offset_bytes));
    for_each_entry(device, layout, |cluster, entry| {
        if entry != 0 {
            push(layout.cluster(cluster));
        }
    })?;
    push(Extent::between(layout.data_end_bytes(), layout.size_bytes));
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
        let marked = layout.cluster(cluster);
        if let Some(extent) = marked.filter(|_| entry == layout.bad_entry()) {
            builder.push(extent);
        }
    })?;
    let mut claims = Claims::new(builder.finish());
    if !claims.is_idle() {
        for_each_entry(device, layout, |_, entry| {
            let next = layout.cluster(entry);
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
        count = count.saturating_add(u32::from(entry == 0));
    })?;
    Ok(count)
}

/// Calls `visit` with each cluster and its entry.
fn for_each_entry(
    device: &dyn ReadAt,
    layout: &Layout,
    mut visit: impl FnMut(u32, u32),
) -> Result<()> {
    let mut copies = Copies::new(layout);
    let entries_per_piece = (PIECE_BYTES as u64 * 8 / layout.entry_bits()) as u32;
    let mut first = 0;
    while first < layout.clusters_end() {
        let piece = copies.read(device, layout.entry_offset_bytes(first))?;
        let end = first
            .saturating_add(entries_per_piece)
            .min(layout.clusters_end());
        for cluster in first.max(FIRST_CLUSTER)..end {
            let index = u64::from(cluster - first).saturating_mul(layout.entry_bits()) / 8;
            let bytes = usize::try_from(index).ok().and_then(|at| piece.get(at..));
            let entry = layout.decode(bytes.unwrap_or_default(), cluster);
            check(layout, cluster, entry)?;
            visit(cluster, entry);
        }
        first = end;
    }
    Ok(())
}

fn check(layout: &Layout, cluster: u32, entry: u32) -> Result<()> {
    let is_free = entry == 0;
    let is_next = (FIRST_CLUSTER..layout.clusters_end()).contains(&entry);
    let is_reserved = entry >= layout.reserved_entry_min();
    if !(is_free || is_next || is_reserved) {
        let expected = format!("0, 2 to {} or a mark", layout.clusters_end() - 1);
        return Err(corrupt(layout, cluster, "entry", expected, entry));
    }
    if is_free && cluster == layout.root_cluster {
        let expected = "not 0, it holds the root directory".to_owned();
        return Err(corrupt(
            layout,
            cluster,
            "entry of BPB_RootClus",
            expected,
            0,
        ));
    }
    Ok(())
}

fn corrupt(
    layout: &Layout,
    cluster: u32,
    field: &'static str,
    expected: String,
    entry: u32,
) -> Error {
    let found = format!("{entry:#x} for cluster {cluster}");
    let offset_bytes = layout.entry_offset_bytes(cluster);
    Corrupt::new("FAT", field, offset_bytes, expected, found).into()
}

/// The copies of the FAT, read side by side.
struct Copies<'a> {
    layout: &'a Layout,
    merged: AlignedBuffer,
    other: AlignedBuffer,
}

impl<'a> Copies<'a> {
    fn new(layout: &'a Layout) -> Self {
        let len = usize::try_from(layout.entries_bytes())
            .unwrap_or(PIECE_BYTES)
            .min(PIECE_BYTES);
        Self {
            layout,
            merged: AlignedBuffer::zeroed(len),
            other: AlignedBuffer::zeroed(len),
        }
    }

    /// The piece at `offset_bytes` of the first copy. Mirrored copies must be equal there. Of
    /// others all are merged, so that a cluster counts as used when any copy says so: Windows
    /// follows the active copy, Linux always the first.
    fn read(&mut self, device: &dyn ReadAt, offset_bytes: u64) -> Result<&[u8]> {
        let layout = self.layout;
        let start_bytes = offset_bytes.saturating_sub(layout.fat_offset_bytes);
        let left_bytes = layout.entries_bytes().saturating_sub(start_bytes);
        let len = usize::try_from(left_bytes)
            .unwrap_or(usize::MAX)
            .min(self.merged.len());
        let merged = self.merged.get_mut(..len).unwrap_or_default();
        device.read_exact_at(merged, offset_bytes)?;
        for copy in 1..layout.fat_count {
            let other = self.other.get_mut(..len).unwrap_or_default();
            let copy_offset_bytes = layout
                .fat_copy_offset_bytes(copy)
                .saturating_add(start_bytes);
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
    let index = first.iter().zip(other).position(|(a, b)| a != b);
    let at_bytes = offset_bytes.saturating_add(index.unwrap_or(0) as u64);
    let expected = "the same bytes as in the first copy (mend it with fsck.fat)";
    let found = format!("others in copy {} of the FAT", u32::from(copy) + 1);
    Err(Corrupt::new("FAT", "copy", at_bytes, expected, found).into())
}
