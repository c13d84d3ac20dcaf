//! Directories: where an allocation lies, and the entry sets in it, read in growing pieces.

use super::entry::{self, Allocation, Entry, EntrySet};
use super::{Chains, Layout};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Error, Result};
use crate::extent::Extent;

/// A directory is no larger (section 7.6.7).
const DIRECTORY_BYTES_MAX: u64 = 256 << 20;

/// Most directories end in their first entries.
const FIRST_PIECE_BYTES: u64 = 4 << 10;
const PIECE_BYTES_MAX: u64 = 1 << 20;

const ENTRY_BYTES: usize = size_of::<Entry>();

/// The clusters of an allocation, run by run.
pub(super) struct Runs {
    allocation: Allocation,
    next: Option<u32>,
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
    pub(super) fn new(layout: &Layout, allocation: Allocation, set_bytes: u64) -> Result<Self> {
        let Allocation {
            first_cluster,
            len_bytes,
            is_contiguous,
        } = allocation;
        let most_bytes = layout.heap_bytes();
        // Only contiguous clusters are counted by the length.
        let is_sound = len_bytes <= most_bytes
            && (first_cluster != 0 || len_bytes == 0)
            && (first_cluster == 0 || len_bytes != 0 || !is_contiguous);
        if !is_sound {
            let expected = format!("at most {most_bytes:#x}, and 0 only without clusters");
            let found = format!("{len_bytes:#x} from cluster {first_cluster}");
            return Err(corrupt("DataLength", set_bytes, &expected, found));
        }
        Ok(Self {
            allocation,
            next: (first_cluster != 0).then_some(first_cluster),
            clusters: 0,
            needed: layout.clusters_of(len_bytes),
        })
    }

    /// The root directory, whose length no entry tells.
    pub(super) const fn root(layout: &Layout) -> Self {
        Self {
            allocation: Allocation {
                first_cluster: layout.root_cluster,
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
                let found = format!("{} from {}", self.clusters, self.allocation.first_cluster);
                let at = chains.layout().fat_offset_bytes;
                return Err(Corrupt::new("FAT", "chain", at, expected, found).into());
            }
            return Ok(None);
        };
        let layout = chains.layout();
        let (run, following) = if self.allocation.is_contiguous {
            (contiguous(chains, cluster, self.needed)?, None)
        } else {
            chains.run(cluster)?
        };
        self.next = following;
        let clusters = run.len_bytes().checked_div(layout.cluster_bytes());
        self.clusters = self.clusters.saturating_add(clusters.unwrap_or(0));
        Ok(Some(run))
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
            bytes = bytes.saturating_add(run.len_bytes());
            if bytes > bytes_max.max(chains.layout().cluster_bytes()) {
                let expected = format!("at most {bytes_max:#x} bytes");
                let found = format!("{bytes:#x} from cluster {}", self.allocation.first_cluster);
                let at = chains.layout().fat_offset_bytes;
                return Err(Corrupt::new("FAT", "chain", at, expected, found).into());
            }
            runs.push(run);
        }
        Ok(runs)
    }
}

fn contiguous(chains: &mut Chains<'_>, first: u32, count: u64) -> Result<Extent> {
    let layout = chains.layout();
    let Some(extent) = layout.clusters(first, count) else {
        let expected = format!("clusters among the {} of the heap", layout.cluster_count);
        let found = format!("{count} from {first}");
        let at = layout.heap_offset_bytes;
        return Err(Corrupt::new("exFAT cluster heap", "NoFatChain", at, expected, found).into());
    };
    chains.spend(first, u32::try_from(count).unwrap_or(u32::MAX))?;
    Ok(extent)
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
    /// The run to read from, and how many bytes of it have been read.
    place: (usize, u64),
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
            place: (0, 0),
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
        self.piece_at = at.saturating_add(ENTRY_BYTES);
        let bytes = self.piece.get(at..self.piece_at);
        let entry = bytes.and_then(|bytes| Entry::try_from(bytes).ok());
        let offset_bytes = self.piece_offset_bytes.saturating_add(at as u64);
        Ok(entry.map(|entry| (entry, offset_bytes)))
    }

    fn read_piece(&mut self) -> Result<bool> {
        let Some(run) = self.runs.get(self.place.0) else {
            return Ok(false);
        };
        let left_bytes = run.len_bytes().saturating_sub(self.place.1);
        let len_bytes = left_bytes.min(self.next_piece_bytes);
        self.piece_offset_bytes = run.offset_bytes().saturating_add(self.place.1);
        // Runs are clusters, so pieces are multiples of 512 bytes.
        self.piece = read_vec(self.device, self.piece_offset_bytes, len_bytes as usize)?;
        self.piece_at = 0;
        self.place = if len_bytes == left_bytes {
            (self.place.0.saturating_add(1), 0)
        } else {
            (self.place.0, self.place.1.saturating_add(len_bytes))
        };
        self.next_piece_bytes = self.next_piece_bytes.saturating_mul(2).min(PIECE_BYTES_MAX);
        Ok(true)
    }
}
