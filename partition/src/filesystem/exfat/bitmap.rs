//! The allocation bitmap: which clusters are in use (section 7.1.5).

use super::layout::Layout;
use super::root::{BitmapPlace, Root};
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::{ExtentMap, ExtentMapBuilder};
use crate::filesystem::bits::{Order, for_each_run};
use crate::filesystem::cluster::Cluster;

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
    /// Calls `visit` with the first cluster and the length of each run in use.
    fn for_each_used(&self, mut visit: impl FnMut(Cluster, u64)) -> Result<()> {
        let all = u64::from(self.layout.heap.count());
        let end_bytes = self.layout.bitmap_bytes();
        let mut readers: Vec<Reader<'_>> = self.root.bitmaps.iter().map(Reader::new).collect();
        for at in (0..end_bytes).step_by(PIECE_BYTES as usize) {
            let len_bytes = PIECE_BYTES.min(end_bytes - at);
            let mut piece = vec![0; len_bytes as usize];
            for reader in &mut readers {
                reader.merge(self.device, &mut piece)?;
            }
            let first = at * 8;
            for_each_run(&piece, Order::LeastFirst, all - first, &mut |start, len| {
                // Fewer clusters than 2^32.
                let index = (first + start) as u32;
                visit(Cluster(Cluster::FIRST.0 + index), len);
            });
        }
        Ok(())
    }

    /// How many clusters are free.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the device fails.
    pub(super) fn free_clusters(&self) -> Result<u64> {
        let mut used = 0;
        self.for_each_used(|_, count| used += count)?;
        Ok(u64::from(self.layout.heap.count()) - used)
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
        self.for_each_used(|first, count| {
            let extent = layout.heap.run(first, count);
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
    /// Less than the run has.
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
            let left_bytes = run.len_bytes() - self.in_run_bytes;
            let len = left_bytes.min(rest.len() as u64) as usize;
            let offset_bytes = run.offset_bytes() + self.in_run_bytes;
            let bytes = read_vec(device, offset_bytes, len)?;
            let (now, after) = rest.split_at_mut(len);
            now.iter_mut()
                .zip(&bytes)
                .for_each(|(all, byte)| *all |= byte);
            rest = after;
            self.in_run_bytes += len as u64;
            if self.in_run_bytes == run.len_bytes() {
                self.run += 1;
                self.in_run_bytes = 0;
            }
        }
        Ok(())
    }
}
