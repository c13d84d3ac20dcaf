//! The allocation bitmap: which clusters are in use (section 7.1.5).

use super::layout::{FIRST_CLUSTER, Layout};
use super::root::{BitmapPlace, Root};
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::{ExtentMap, ExtentMapBuilder};
use crate::filesystem::bits::{Order, for_each_run};

const PIECE_BYTES: u64 = 1 << 20;

/// The bits of all clusters.
///
/// Of TexFAT's two bitmaps one is stale. Both count, as for FATs that are not mirrored: Windows
/// follows the active one, Linux always the first.
pub(super) struct Bitmap<'a> {
    pub(super) layout: &'a Layout,
    pub(super) root: &'a Root,
    pub(super) device: &'a dyn ReadAt,
}

impl Bitmap<'_> {
    /// Size of the bits of one bitmap.
    pub(super) fn len_bytes(&self) -> u64 {
        u64::from(self.layout.cluster_count).div_ceil(8)
    }

    /// Calls `visit` with (index, count) of each run in use, the first cluster having index 0.
    fn for_each_used(&self, mut visit: impl FnMut(u64, u64)) -> Result<()> {
        let end_bytes = self.len_bytes();
        let mut readers: Vec<Reader<'_>> = self.root.bitmaps.iter().map(Reader::new).collect();
        let mut at = 0;
        while at < end_bytes {
            let len_bytes = PIECE_BYTES.min(end_bytes.saturating_sub(at));
            let mut piece = vec![0; len_bytes as usize];
            for reader in &mut readers {
                reader.merge(self.device, &mut piece)?;
            }
            let first = at.saturating_mul(8);
            let count = u64::from(self.layout.cluster_count).saturating_sub(first);
            for_each_run(&piece, Order::LeastFirst, count, &mut |start, len| {
                visit(first.saturating_add(start), len);
            });
            at = at.saturating_add(len_bytes);
        }
        Ok(())
    }

    /// How many clusters are free.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the device fails.
    pub(super) fn free_clusters(&self) -> Result<u64> {
        let mut used = 0_u64;
        self.for_each_used(|_, count| used = used.saturating_add(count))?;
        Ok(u64::from(self.layout.cluster_count).saturating_sub(used))
    }

    /// Every byte in use: all before the cluster heap, clusters by their bits, and the excess
    /// space after the last cluster.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the device fails.
    pub(super) fn used(&self) -> Result<ExtentMap> {
        let layout = self.layout;
        let mut map = ExtentMapBuilder::new();
        layout.head().into_iter().for_each(|head| map.push(head));
        self.for_each_used(|index, count| {
            // Fewer clusters than 2^32.
            let first = u32::try_from(index).unwrap_or(u32::MAX);
            let extent = layout.clusters(first.saturating_add(FIRST_CLUSTER), count);
            extent.into_iter().for_each(|extent| map.push(extent));
        })?;
        layout.tail().into_iter().for_each(|tail| map.push(tail));
        Ok(map.finish())
    }
}

/// One bitmap, read from its start.
struct Reader<'a> {
    place: &'a BitmapPlace,
    run: usize,
    in_run_bytes: u64,
}

impl<'a> Reader<'a> {
    const fn new(place: &'a BitmapPlace) -> Self {
        Self {
            place,
            run: 0,
            in_run_bytes: 0,
        }
    }

    /// Sets the bits in `piece` that are set in the next bytes. What lies beyond the bitmap's
    /// clusters counts as set.
    fn merge(&mut self, device: &dyn ReadAt, piece: &mut [u8]) -> Result<()> {
        let mut rest = piece;
        while !rest.is_empty() {
            let Some(run) = self.place.runs.get(self.run) else {
                rest.fill(0xff);
                return Ok(());
            };
            let left_bytes = run.len_bytes().saturating_sub(self.in_run_bytes);
            let len = left_bytes.min(rest.len() as u64) as usize;
            let offset_bytes = run.offset_bytes().saturating_add(self.in_run_bytes);
            let bytes = read_vec(device, offset_bytes, len)?;
            let (now, after) = rest.split_at_mut(len);
            now.iter_mut()
                .zip(&bytes)
                .for_each(|(all, byte)| *all |= byte);
            rest = after;
            self.in_run_bytes = self.in_run_bytes.saturating_add(len as u64);
            if self.in_run_bytes >= run.len_bytes() {
                self.run = self.run.saturating_add(1);
                self.in_run_bytes = 0;
            }
        }
        Ok(())
    }
}
