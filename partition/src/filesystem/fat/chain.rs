//! Following cluster chains through the FAT, with a bounded number of steps.

use super::layout::{FIRST_CLUSTER, Layout};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use crate::extent::Extent;

const CACHE_BYTES: u64 = 1 << 16;
const CACHE_ALIGNMENT_BYTES: u64 = 4096;

/// Reads chains. Each cluster belongs to one chain at most, so all chains together have no more
/// steps than there are clusters; a loop or crossed chains run out of them.
pub(super) struct Chains<'a> {
    device: &'a dyn ReadAt,
    layout: &'a Layout,
    steps_left: u32,
    cache: Vec<u8>,
    cache_offset_bytes: u64,
}

impl<'a> Chains<'a> {
    pub(super) const fn new(device: &'a dyn ReadAt, layout: &'a Layout) -> Self {
        Self {
            device,
            layout,
            steps_left: layout.cluster_count,
            cache: Vec::new(),
            cache_offset_bytes: 0,
        }
    }

    pub(super) const fn layout(&self) -> &'a Layout {
        self.layout
    }

    pub(super) const fn device(&self) -> &'a dyn ReadAt {
        self.device
    }

    /// The run of adjacent clusters that starts at `cluster`, and the cluster that follows it in
    /// the chain.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when the chain leaves the volume, meets a free or bad cluster, or
    /// loops.
    pub(super) fn run(&mut self, cluster: u32) -> Result<(Extent, Option<u32>)> {
        let start = self.layout.cluster_checked(cluster)?;
        let (mut last, mut end_bytes) = (cluster, start.end_bytes());
        loop {
            let next = self.next(last)?;
            match next {
                Some(next) if next == last.saturating_add(1) => {
                    end_bytes = self.layout.cluster_checked(next)?.end_bytes();
                    last = next;
                }
                _ => {
                    let run = Extent::between(start.offset_bytes(), end_bytes);
                    return Ok((run.unwrap_or(start), next));
                }
            }
        }
    }

    fn next(&mut self, cluster: u32) -> Result<Option<u32>> {
        let Some(steps_left) = self.steps_left.checked_sub(1) else {
            let expected = "an end (chains loop or share clusters)";
            return Err(self.corrupt(cluster, expected, "more steps than clusters".to_owned()));
        };
        self.steps_left = steps_left;
        let entry = self.entry(cluster)?;
        // …F8 and above end a chain.
        if entry >= self.layout.reserved_entry_min() | 8 {
            return Ok(None);
        }
        if !(FIRST_CLUSTER..self.layout.clusters_end()).contains(&entry) {
            return Err(self.corrupt(cluster, "a cluster or the end", format!("{entry:#x}")));
        }
        Ok(Some(entry))
    }

    fn corrupt(&self, cluster: u32, expected: &str, found: String) -> crate::Error {
        let offset_bytes = self.layout.entry_offset_bytes(cluster);
        Corrupt::new("FAT", "chain", offset_bytes, expected, found).into()
    }

    fn entry(&mut self, cluster: u32) -> Result<u32> {
        let position_bytes = u64::from(cluster).saturating_mul(self.layout.entry_bits()) / 8;
        let len_bytes = self.layout.entry_bits().div_ceil(8);
        let cache_end_bytes = self
            .cache_offset_bytes
            .saturating_add(self.cache.len() as u64);
        let is_cached = position_bytes >= self.cache_offset_bytes
            && position_bytes.saturating_add(len_bytes) <= cache_end_bytes;
        if !is_cached {
            self.load(position_bytes)?;
        }
        let at = usize::try_from(position_bytes.saturating_sub(self.cache_offset_bytes));
        let bytes = at.ok().and_then(|at| self.cache.get(at..));
        Ok(self.layout.decode(bytes.unwrap_or_default(), cluster))
    }

    fn load(&mut self, position_bytes: u64) -> Result<()> {
        let start_bytes = position_bytes / CACHE_ALIGNMENT_BYTES * CACHE_ALIGNMENT_BYTES;
        let left_bytes = self.layout.entries_bytes().saturating_sub(start_bytes);
        let len = left_bytes.min(CACHE_BYTES) as usize;
        let fat_bytes = self.layout.fat_copy_offset_bytes(self.layout.active_fat);
        self.cache = read_vec(self.device, fat_bytes.saturating_add(start_bytes), len)?;
        self.cache_offset_bytes = start_bytes;
        Ok(())
    }
}
