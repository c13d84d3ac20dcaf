//! Pages: which frames hold 1024 chunks in a row.

use super::reference::Reference;
use klon_partition::Result;
use klon_partition::error::Corrupt;

/// Chunks that a page covers.
pub const PAGE_CHUNKS: usize = 1024;
const BITMAP_LEN: usize = PAGE_CHUNKS / 8;

/// The references of one page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// Index in the page and reference, ascending.
    entries: Vec<(u16, Reference)>,
}

impl Page {
    /// Adds the reference of the chunk at `index`, which is behind all that are in it.
    pub(super) fn push(&mut self, index: u16, reference: Reference) {
        debug_assert!(self.entries.last().is_none_or(|last| last.0 < index));
        self.entries.push((index, reference));
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn entries(&self) -> &[(u16, Reference)] {
        &self.entries
    }

    /// What it takes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<(u16, Reference)>()
    }

    pub(super) fn get(&self, index: u16) -> Option<Reference> {
        let found = self.entries.binary_search_by_key(&index, |entry| entry.0);
        found.ok().map(|at| self.entries[at].1)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; BITMAP_LEN];
        for (index, reference) in &self.entries {
            bytes[usize::from(*index) / 8] |= 1 << (index % 8);
            bytes.extend(reference.to_bytes());
        }
        bytes
    }

    /// From the plain bytes of the frame at `position`.
    pub(super) fn parse(bytes: &[u8], position: u64) -> Result<Self> {
        let (bitmap, references) = bytes.split_at(bytes.len().min(BITMAP_LEN));
        let count: u32 = bitmap.iter().map(|byte| byte.count_ones()).sum();
        let expected = BITMAP_LEN + count as usize * Reference::LEN;
        if bytes.len() != expected {
            let found = bytes.len();
            return Err(Corrupt::new("page", "length", position, expected, found).into());
        }
        let mut references = references.chunks_exact(Reference::LEN);
        let is_set = |index: &u16| bitmap[usize::from(index / 8)] & (1 << (index % 8)) != 0;
        let entries = (0..PAGE_CHUNKS as u16).filter(is_set).map_while(|index| {
            let reference = references.next()?;
            Some((index, Reference::parse(reference)))
        });
        Ok(Self {
            entries: entries.collect(),
        })
    }
}
