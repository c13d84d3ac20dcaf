//! Directories: where an allocation lies, and the entry sets in it, read in growing pieces.

use super::entry::{self, Allocation, Entry, EntrySet, Named};
use super::{Chains, Layout};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Error, Result};
use crate::extent::Extent;
use crate::filesystem::chain::Run;
use crate::filesystem::cluster::Cluster;

/// A directory is no larger (section 7.6.7).
const DIRECTORY_BYTES_MAX: u64 = 256 << 20;

/// Most directories end in their first entries.
const FIRST_PIECE_BYTES: u64 = 4 << 10;
const PIECE_BYTES_MAX: u64 = 1 << 20;

const ENTRY_BYTES: usize = size_of::<Entry>();

/// The clusters of an allocation, run by run.
pub(super) struct Runs {
    allocation: Allocation,
    next: Option<Cluster>,
    /// Clusters passed.
    clusters: u64,
    /// Clusters that the length needs.
    needed: u64,
}

impl Runs {
    /// Starts at the first cluster.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the length and the first cluster can't be.
    pub(super) fn new(layout: &Layout, named: Named) -> Result<Self> {
        let Allocation {
            first_cluster,
            len_bytes,
            is_contiguous,
        } = named.allocation;
        let most_bytes = layout.heap.len_bytes();
        // Only contiguous clusters are counted by the length.
        let is_sound = len_bytes <= most_bytes
            && (first_cluster.is_some() || len_bytes == 0)
            && (first_cluster.is_none() || len_bytes != 0 || !is_contiguous);
        if !is_sound {
            let expected = format!("at most {most_bytes:#x}, and 0 only without clusters");
            let first = first_cluster.unwrap_or(Cluster::NONE);
            let found = format!("{len_bytes:#x} from cluster {first}");
            return Err(corrupt("DataLength", named.set_bytes, &expected, found));
        }
        Ok(Self {
            allocation: named.allocation,
            next: first_cluster,
            clusters: 0,
            needed: layout.clusters_of(len_bytes),
        })
    }

    /// The root directory, whose length no entry tells.
    pub(super) const fn root(layout: &Layout) -> Self {
        Self {
            allocation: Allocation {
                first_cluster: Some(layout.root_cluster),
                len_bytes: 0,
                is_contiguous: false,
            },
            next: Some(layout.root_cluster),
            clusters: 0,
            needed: 1,
        }
    }

    /// The next run of adjacent clusters.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when clusters are not in the heap, the chain loops, or it ends before
    /// the length does.
    pub(super) fn next(&mut self, chains: &mut Chains<'_>) -> Result<Option<Extent>> {
        let Some(cluster) = self.next else {
            if self.clusters < self.needed {
                let expected = format!("{} clusters, as DataLength tells", self.needed);
                let found = format!("{} from {}", self.clusters, self.first());
                let at = chains.layout().fat_offset_bytes;
                return Err(Corrupt::new("FAT", "chain", at, expected, found).into());
            }
            return Ok(None);
        };
        let run = if self.allocation.is_contiguous {
            contiguous(chains, cluster, self.needed)?
        } else {
            chains.run(cluster)?
        };
        self.next = run.next;
        // No more steps than there are clusters.
        self.clusters += chains.layout().clusters_of(run.extent.len_bytes());
        Ok(Some(run.extent))
    }

    fn first(&self) -> Cluster {
        self.allocation.first_cluster.unwrap_or(Cluster::NONE)
    }

    /// All runs.
    ///
    /// # Errors
    /// As for [`Self::next`], and when they have more than `bytes_max`.
    pub(super) fn collect(
        mut self,
        chains: &mut Chains<'_>,
        bytes_max: u64,
    ) -> Result<Vec<Extent>> {
        let mut runs = Vec::new();
        let mut bytes = 0_u64;
        while let Some(run) = self.next(chains)? {
            bytes += run.len_bytes();
            if bytes > bytes_max.max(chains.layout().heap.size_bytes().into()) {
                let expected = format!("at most {bytes_max:#x} bytes");
                let found = format!("{bytes:#x} from cluster {}", self.first());
                let at = chains.layout().fat_offset_bytes;
                return Err(Corrupt::new("FAT", "chain", at, expected, found).into());
            }
            runs.push(run);
        }
        Ok(runs)
    }
}

fn contiguous(chains: &mut Chains<'_>, first: Cluster, count: u64) -> Result<Run> {
    let heap = &chains.layout().heap;
    let Some(extent) = heap.run(first, count) else {
        let expected = format!("clusters among the {} of the heap", heap.count());
        let found = format!("{count} from {first}");
        let at = heap.offset_bytes();
        return Err(Corrupt::new("exFAT cluster heap", "NoFatChain", at, expected, found).into());
    };
    // As many as the heap has at most.
    chains.spend(first, count as u32)?;
    let next = None;
    Ok(Run { extent, next })
}

fn corrupt(field: &'static str, set_bytes: u64, expected: &str, found: String) -> Error {
    Corrupt::new(
        "exFAT directory entry set",
        field,
        set_bytes,
        expected,
        found,
    )
    .into()
}

/// A directory: where it lies, and what of it has been read.
pub(super) struct Directory<'a> {
    device: &'a dyn ReadAt,
    runs: Vec<Extent>,
    /// The run to read from, and how many bytes of it have been read: not all.
    run: usize,
    in_run_bytes: u64,
    piece: Vec<u8>,
    piece_offset_bytes: u64,
    piece_at: usize,
    next_piece_bytes: u64,
}

impl<'a> Directory<'a> {
    /// Finds all of its clusters.
    ///
    /// # Errors
    /// As for [`Runs::next`], and when it is larger than a directory may be.
    pub(super) fn open(chains: &mut Chains<'a>, runs: Runs) -> Result<Self> {
        Ok(Self {
            device: chains.device(),
            runs: runs.collect(chains, DIRECTORY_BYTES_MAX)?,
            run: 0,
            in_run_bytes: 0,
            piece: Vec::new(),
            piece_offset_bytes: 0,
            piece_at: 0,
            next_piece_bytes: FIRST_PIECE_BYTES,
        })
    }

    pub(super) fn runs(&self) -> &[Extent] {
        &self.runs
    }

    /// The next entry set in use; `None` at the end.
    ///
    /// # Errors
    /// As for [`EntrySet::new`]; [`Error::Corrupt`] when a set is cut short.
    pub(super) fn next_set(&mut self) -> Result<Option<EntrySet>> {
        let (primary, offset_bytes) = loop {
            match self.next_entry()? {
                None => return Ok(None),
                Some((entry, _)) if entry::is_end(&entry) => return Ok(None),
                Some(found) if entry::is_in_use(&found.0) => break found,
                Some(_) => {}
            }
        };
        let count = entry::secondary_count(&primary);
        let mut entries = vec![primary];
        for _ in 0..count {
            let Some((entry, _)) = self.next_entry()? else {
                let found = format!("{} entries to the end of the directory", entries.len());
                let expected = format!("{count} after the first");
                return Err(corrupt("SecondaryCount", offset_bytes, &expected, found));
            };
            entries.push(entry);
        }
        EntrySet::new(entries, offset_bytes).map(Some)
    }

    /// The next entry of any kind, and where it lies on the volume.
    fn next_entry(&mut self) -> Result<Option<(Entry, u64)>> {
        if self.piece_at >= self.piece.len() && !self.read_piece()? {
            return Ok(None);
        }
        let at = self.piece_at;
        self.piece_at = at + ENTRY_BYTES;
        let bytes = self.piece.get(at..self.piece_at);
        let entry = bytes.and_then(|bytes| Entry::try_from(bytes).ok());
        let offset_bytes = self.piece_offset_bytes + at as u64;
        Ok(entry.map(|entry| (entry, offset_bytes)))
    }

    fn read_piece(&mut self) -> Result<bool> {
        let Some(run) = self.runs.get(self.run) else {
            return Ok(false);
        };
        let left_bytes = run.len_bytes() - self.in_run_bytes;
        let len_bytes = left_bytes.min(self.next_piece_bytes);
        self.piece_offset_bytes = run.offset_bytes() + self.in_run_bytes;
        // Runs are clusters, so pieces are multiples of 512 bytes.
        self.piece = read_vec(self.device, self.piece_offset_bytes, len_bytes as usize)?;
        self.piece_at = 0;
        self.in_run_bytes += len_bytes;
        if len_bytes == left_bytes {
            self.run += 1;
            self.in_run_bytes = 0;
        }
        self.next_piece_bytes = PIECE_BYTES_MAX.min(self.next_piece_bytes * 2);
        Ok(true)
    }
}
