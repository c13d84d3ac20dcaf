//! One snapshot of an image: its manifest, and the references of its chunks.

use super::catalog::CatalogEntry;
use super::frame::FrameType;
use super::load::LoadFrames;
use super::manifest::{SnapshotManifest, SnapshotMeta};
use super::page::{PAGE_CHUNKS, Page};
use super::reader::Image;
use super::reference::Reference;
use crate::chunk::{ChunkSize, Digest};
use klon_partition::error::Corrupt;
use klon_partition::{Error, Extent, Result};
use std::sync::Arc;

/// One snapshot of an image.
pub struct Snapshot {
    image: Image,
    entry: CatalogEntry,
    manifest: SnapshotManifest,
}

impl Image {
    /// Opens the snapshot with this number, or the last one.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is none; otherwise as [`Image::read`].
    pub fn snapshot(&self, number: Option<u64>) -> Result<Snapshot> {
        let entry = self.catalog().find(number).ok_or_else(|| {
            let numbers: Vec<String> = self.catalog().snapshots.iter().map(number_of).collect();
            Error::Invalid(match (number, numbers.is_empty()) {
                (_, true) => "the image has no complete snapshot".to_owned(),
                (Some(number), _) => format!(
                    "the image has no snapshot {number}; it has {}",
                    numbers.join(", ")
                ),
                (None, _) => "the image has no snapshot".to_owned(),
            })
        })?;
        Snapshot::open(self, entry)
    }
}

fn number_of(entry: &CatalogEntry) -> String {
    entry.number.to_string()
}

impl Snapshot {
    pub(super) fn open(image: &Image, entry: &CatalogEntry) -> Result<Self> {
        let reference = Reference::from(entry.manifest);
        let bytes = image.read(&reference, FrameType::Manifest)?;
        let manifest = SnapshotManifest::parse(&bytes, reference.position)?;
        Ok(Self {
            image: image.clone(),
            entry: entry.clone(),
            manifest,
        })
    }

    /// The image that it is in.
    #[must_use]
    pub const fn image(&self) -> &Image {
        &self.image
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.entry.number
    }

    /// Its line in the catalog.
    #[must_use]
    pub const fn entry(&self) -> &CatalogEntry {
        &self.entry
    }

    /// What was imaged, when and how.
    #[must_use]
    pub const fn meta(&self) -> &SnapshotMeta {
        &self.manifest.meta
    }

    /// Everything of it but its chunks.
    #[must_use]
    pub const fn manifest(&self) -> &SnapshotManifest {
        &self.manifest
    }

    /// Size of its chunks.
    #[must_use]
    pub fn chunk_size(&self) -> ChunkSize {
        self.image.header().chunk_size
    }

    /// The bytes of the chunk with this number; `None` behind the end.
    #[must_use]
    pub fn chunk(&self, number: u64) -> Option<Extent> {
        self.chunk_size().chunk(number, self.meta().source_bytes)
    }

    /// Where the content of a chunk is; `None` when it has no data.
    ///
    /// # Errors
    /// [`klon_partition::Error::Corrupt`] when its page is damaged, [`klon_partition::Error::Io`].
    pub fn reference(&self, number: u64) -> Result<Option<Reference>> {
        let page_number = number / PAGE_CHUNKS as u64;
        let tree = &self.manifest.tree;
        let index = u16::try_from(number % PAGE_CHUNKS as u64).unwrap_or(0);
        let found = match tree.binary_search_by_key(&page_number, |entry| entry.0) {
            Ok(at) => self.page(at)?.get(index),
            Err(_) => None,
        };
        let data = &self.manifest.data;
        match found {
            Some(reference) => self.checked(number, reference).map(Some),
            None if self.chunk(number).is_some_and(|chunk| data.overlaps(chunk)) => {
                let position = self.entry.manifest.position;
                let expected = format!("a reference of chunk {number}");
                Err(Corrupt::new("snapshot", "pages", position, expected, "none").into())
            }
            None => Ok(None),
        }
    }

    /// The references of all chunks with their numbers, ascending. A damaged page gives one error, and
    /// the next page follows.
    pub fn references(&self) -> impl Iterator<Item = Result<(u64, Reference)>> + Send + '_ {
        (0..self.manifest.tree.len()).flat_map(move |at| {
            let first = self.manifest.tree[at].0.saturating_mul(PAGE_CHUNKS as u64);
            let items: Vec<_> = match self.page(at) {
                Ok(page) => page
                    .entries()
                    .iter()
                    .map(|&(index, reference)| {
                        let number = first.saturating_add(index.into());
                        let reference = self.checked(number, reference)?;
                        Ok((number, reference))
                    })
                    .collect(),
                Err(error) => vec![Err(error)],
            };
            items
        })
    }

    /// The digest of a chunk's content; `None` when it has no data.
    ///
    /// # Errors
    /// As [`reference`](Self::reference).
    pub fn digest(&self, number: u64) -> Result<Option<Digest>> {
        Ok(self.reference(number)?.map(|reference| reference.digest))
    }

    /// Reads a chunk's content into `plain`, which has its length, and checks it.
    ///
    /// # Errors
    /// [`klon_partition::Error::Corrupt`] when it is damaged, [`klon_partition::Error::Io`].
    pub fn read_chunk(&self, reference: &Reference, plain: &mut [u8]) -> Result<()> {
        if reference.is_zero() {
            plain.fill(0);
            return Ok(());
        }
        self.image.read_into(reference, FrameType::Data, plain)
    }

    /// A reference, if it is as long as its chunk.
    fn checked(&self, number: u64, reference: Reference) -> Result<Reference> {
        let expected = self.chunk(number).map_or(0, Extent::len_bytes);
        if expected == u64::from(reference.plain_bytes) {
            return Ok(reference);
        }
        let found = format!("{} for chunk {number}", reference.plain_bytes);
        let field = "plain length in a reference";
        Err(Corrupt::new("page", field, self.entry.manifest.position, expected, found).into())
    }

    /// The page at a position in the tree.
    fn page(&self, at: usize) -> Result<Arc<Page>> {
        self.image.page(&self.manifest.tree[at].1)
    }
}
