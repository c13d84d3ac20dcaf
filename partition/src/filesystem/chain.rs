//! Following cluster chains through a file allocation table, with a bounded number of steps.

use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use crate::extent::Extent;

/// Read at once. No entry lies in two pages: tables of 12-bit entries are shorter than one.
const PAGE_BYTES: u64 = 1 << 16;
/// Pages held; a table of up to 32 MiB is read once.
const PAGES: usize = 512;

/// A file allocation table: where its entries lie and what they mean.
pub(super) trait Table {
    /// One past the last cluster; the first is 2.
    fn clusters_end(&self) -> u32;

    /// Where a cluster lies.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when there is no such cluster.
    fn cluster_checked(&self, cluster: u32) -> Result<Extent>;

    /// Bits of one entry.
    fn entry_bits(&self) -> u64;

    /// Start of the copy of the table to follow.
    fn active_offset_bytes(&self) -> u64;

    /// Bytes of a copy that hold entries.
    fn entries_bytes(&self) -> u64;

    /// The entry of `cluster` in `bytes`, which start at the entry's first byte.
    fn decode(&self, bytes: &[u8], cluster: u32) -> u32;

    /// Whether an entry says that its cluster is the last of a chain.
    fn is_end(&self, entry: u32) -> bool;
}

/// Reads chains. Each cluster belongs to one chain at most, so all chains together have no more
/// steps than there are clusters; a loop or crossed chains run out of them.
pub(super) struct Chains<'a, T> {
    device: &'a dyn ReadAt,
    table: &'a T,
    steps_left: u32,
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
        let held = usize::try_from(pages).unwrap_or(PAGES).clamp(1, PAGES);
        Self {
            device,
            table,
            steps_left: table.clusters_end().saturating_sub(2),
            pages: (0..held).map(|_| None).collect(),
        }
    }

    pub(super) const fn layout(&self) -> &'a T {
        self.table
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
        let start = self.table.cluster_checked(cluster)?;
        let (mut last, mut end_bytes) = (cluster, start.end_bytes());
        loop {
            let next = self.next(last)?;
            match next {
                Some(next) if next == last.saturating_add(1) => {
                    end_bytes = self.table.cluster_checked(next)?.end_bytes();
                    last = next;
                }
                _ => {
                    let run = Extent::between(start.offset_bytes(), end_bytes);
                    return Ok((run.unwrap_or(start), next));
                }
            }
        }
    }

    /// Takes `clusters` from the steps of all chains, for clusters that follow `cluster` without
    /// entries.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when there are not so many left.
    pub(super) fn spend(&mut self, cluster: u32, clusters: u32) -> Result<()> {
        let Some(steps_left) = self.steps_left.checked_sub(clusters) else {
            let expected = "an end (chains loop or share clusters)";
            return Err(self.corrupt(cluster, expected, "more steps than clusters".to_owned()));
        };
        self.steps_left = steps_left;
        Ok(())
    }

    fn next(&mut self, cluster: u32) -> Result<Option<u32>> {
        self.spend(cluster, 1)?;
        let entry = self.entry(cluster)?;
        if self.table.is_end(entry) {
            return Ok(None);
        }
        if !(2..self.table.clusters_end()).contains(&entry) {
            return Err(self.corrupt(cluster, "a cluster or the end", format!("{entry:#x}")));
        }
        Ok(Some(entry))
    }

    fn corrupt(&self, cluster: u32, expected: &str, found: String) -> crate::Error {
        let offset_bytes = self
            .table
            .active_offset_bytes()
            .saturating_add(self.position_bytes(cluster));
        Corrupt::new("FAT", "chain", offset_bytes, expected, found).into()
    }

    fn position_bytes(&self, cluster: u32) -> u64 {
        u64::from(cluster).saturating_mul(self.table.entry_bits()) / 8
    }

    fn entry(&mut self, cluster: u32) -> Result<u32> {
        let position_bytes = self.position_bytes(cluster);
        let table = self.table;
        let page = self.page(position_bytes / PAGE_BYTES)?;
        let at = usize::try_from(position_bytes % PAGE_BYTES);
        let bytes = at.ok().and_then(|at| page.get(at..));
        Ok(table.decode(bytes.unwrap_or_default(), cluster))
    }

    fn page(&mut self, number: u64) -> Result<&[u8]> {
        let slot = usize::try_from(number)
            .unwrap_or(0)
            .checked_rem(self.pages.len())
            .unwrap_or(0);
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
        let start_bytes = number.saturating_mul(PAGE_BYTES);
        let left_bytes = self.table.entries_bytes().saturating_sub(start_bytes);
        let len = left_bytes.min(PAGE_BYTES) as usize;
        let offset_bytes = self.table.active_offset_bytes().saturating_add(start_bytes);
        let bytes = read_vec(self.device, offset_bytes, len)?;
        Ok(Page { number, bytes })
    }
}
