//! Following chains of clusters through a file allocation table, with a bounded number of steps.

use super::cluster::{Cluster, Clusters};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use crate::extent::Extent;

/// Read at once. No entry lies in two pages: tables of 12-bit entries are shorter than one.
const PAGE_BYTES: u64 = 1 << 16;
/// Pages held; a table of up to 32 MiB is read once.
const PAGES: usize = 512;

/// A file allocation table: where its entries lie and what they mean.
pub(super) trait Table {
    /// The clusters that it has entries for, after entries 0 and 1.
    fn clusters(&self) -> &Clusters;

    /// Where a cluster lies.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when there is no such cluster.
    fn cluster_checked(&self, cluster: Cluster) -> Result<Extent>;

    /// Bits of one entry: at most 32.
    fn entry_bits(&self) -> u64;

    /// Where the copy of the table to follow lies; it is all on the volume.
    fn active_offset_bytes(&self) -> u64;

    /// Bytes of a copy that hold entries; the rest of it is padding.
    fn entries_bytes(&self) -> u64 {
        // Fewer than 2^32 entries.
        (u64::from(self.clusters().end().0) * self.entry_bits()).div_ceil(8)
    }

    /// Where in a copy an entry starts: its first byte.
    fn position_bytes(&self, cluster: Cluster) -> u64 {
        u64::from(cluster.0) * self.entry_bits() / 8
    }

    /// The entry of `cluster` in `bytes`, which start at the entry's first byte.
    fn decode(&self, bytes: &[u8], cluster: Cluster) -> u32;

    /// Whether an entry says that its cluster is the last of a chain.
    fn is_end(&self, entry: u32) -> bool;
}

/// Adjacent clusters of a chain.
pub(super) struct Run {
    pub(super) extent: Extent,
    /// The cluster that follows them in the chain.
    pub(super) next: Option<Cluster>,
}

/// Reads chains. Each cluster belongs to one chain at most, so all chains together have no more
/// steps than there are clusters; a loop or crossed chains run out of them.
pub(super) struct Chains<'a, T> {
    device: &'a dyn ReadAt,
    table: &'a T,
    steps_left: u32,
    /// Pages by their number modulo how many are held.
    pages: Vec<Option<Page>>,
}

/// A part of the table.
struct Page {
    number: u64,
    bytes: Vec<u8>,
}

impl<'a, T: Table> Chains<'a, T> {
    pub(super) fn new(device: &'a dyn ReadAt, table: &'a T) -> Self {
        let pages = table.entries_bytes().div_ceil(PAGE_BYTES);
        let held = pages.clamp(1, PAGES as u64);
        Self {
            device,
            table,
            steps_left: table.clusters().count(),
            pages: (0..held).map(|_| None).collect(),
        }
    }

    pub(super) const fn layout(&self) -> &'a T {
        self.table
    }

    pub(super) const fn device(&self) -> &'a dyn ReadAt {
        self.device
    }

    /// The run of adjacent clusters that starts at `cluster`.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when the chain leaves the volume, meets a free or bad cluster, or
    /// loops.
    pub(super) fn run(&mut self, cluster: Cluster) -> Result<Run> {
        let start = self.table.cluster_checked(cluster)?;
        let (mut last, mut end_bytes) = (cluster, start.end_bytes());
        loop {
            let next = self.next(last)?;
            match next {
                Some(next) if Some(next) == last.next() => {
                    end_bytes = self.table.cluster_checked(next)?.end_bytes();
                    last = next;
                }
                _ => {
                    let extent = Extent::between(start.offset_bytes(), end_bytes);
                    let extent = extent.unwrap_or(start);
                    return Ok(Run { extent, next });
                }
            }
        }
    }

    /// Takes `clusters` from the steps of all chains, for clusters that follow `cluster` without
    /// entries.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when there are not so many left.
    pub(super) fn spend(&mut self, cluster: Cluster, clusters: u32) -> Result<()> {
        let Some(steps_left) = self.steps_left.checked_sub(clusters) else {
            let expected = "an end (chains loop or share clusters)";
            return Err(self.corrupt(cluster, expected, "more steps than clusters".to_owned()));
        };
        self.steps_left = steps_left;
        Ok(())
    }

    fn next(&mut self, cluster: Cluster) -> Result<Option<Cluster>> {
        self.spend(cluster, 1)?;
        let entry = self.entry(cluster)?;
        if self.table.is_end(entry) {
            return Ok(None);
        }
        let next = Cluster(entry);
        if !self.table.clusters().has(next) {
            return Err(self.corrupt(cluster, "a cluster or the end", format!("{entry:#x}")));
        }
        Ok(Some(next))
    }

    fn corrupt(&self, cluster: Cluster, expected: &str, found: String) -> crate::Error {
        let start_bytes = self.table.active_offset_bytes();
        let offset_bytes = start_bytes + self.table.position_bytes(cluster);
        Corrupt::new("FAT", "chain", offset_bytes, expected, found).into()
    }

    fn entry(&mut self, cluster: Cluster) -> Result<u32> {
        let table = self.table;
        let position_bytes = table.position_bytes(cluster);
        let page = self.page(position_bytes / PAGE_BYTES)?;
        let bytes = page.get((position_bytes % PAGE_BYTES) as usize..);
        Ok(table.decode(bytes.unwrap_or_default(), cluster))
    }

    fn page(&mut self, number: u64) -> Result<&[u8]> {
        // At least one page is held.
        let slot = (number % self.pages.len() as u64) as usize;
        let is_held = matches!(self.pages.get(slot), Some(Some(page)) if page.number == number);
        if !is_held {
            let page = self.load(number)?;
            if let Some(held) = self.pages.get_mut(slot) {
                *held = Some(page);
            }
        }
        let page = self.pages.get(slot).and_then(Option::as_ref);
        Ok(page.map_or(&[], |page| &page.bytes))
    }

    fn load(&self, number: u64) -> Result<Page> {
        let start_bytes = number * PAGE_BYTES;
        // A cluster of the volume has its entry before the end.
        let left_bytes = self.table.entries_bytes().saturating_sub(start_bytes);
        let len = left_bytes.min(PAGE_BYTES) as usize;
        let offset_bytes = self.table.active_offset_bytes() + start_bytes;
        let bytes = read_vec(self.device, offset_bytes, len)?;
        Ok(Page { number, bytes })
    }
}
