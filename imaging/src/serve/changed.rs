//! Where a snapshot differs from another one of the same image, by their references alone.

use super::export::Context;
use crate::image::{PAGE_CHUNKS, Reference, Snapshot};
use klon_partition::extent::ExtentMapBuilder;
use klon_partition::{Extent, ExtentMap};
use std::sync::Arc;

/// Where a snapshot differs from another one of the same image, in whole chunks.
pub struct ChangedSince {
    now: Arc<Snapshot>,
    then: Arc<Snapshot>,
    /// The part of the snapshots that is shown.
    window: Extent,
}

impl ChangedSince {
    /// Where `window` of `now` differs from the same place of `then`.
    #[must_use]
    pub const fn new(now: Arc<Snapshot>, then: Arc<Snapshot>, window: Extent) -> Self {
        Self { now, then, window }
    }

    /// Whether all chunks of a page are the same because the page is.
    fn is_same_page(&self, page: u64) -> bool {
        let digest = |snapshot: &Snapshot| {
            let tree = &snapshot.manifest().tree;
            let found = tree.binary_search_by_key(&page, |entry| entry.0);
            found.ok().map(|at| tree[at].1.digest)
        };
        self.now.meta().source_bytes == self.then.meta().source_bytes
            && digest(&self.now) == digest(&self.then)
    }

    fn differs(&self, number: u64) -> bool {
        let content = |found: Option<Reference>| {
            let found = found.filter(|reference| !reference.is_zero());
            found.map(|reference| reference.digest)
        };
        let is_same = self.now.chunk(number) == self.then.chunk(number)
            && match (self.now.reference(number), self.then.reference(number)) {
                (Ok(now), Ok(then)) => content(now) == content(then),
                // What can't be told is not called unchanged.
                _ => false,
            };
        !is_same
    }
}

impl Context for ChangedSince {
    fn extents(&self, within: Extent) -> ExtentMap {
        let shifted = within.shifted(self.window.offset_bytes());
        let Some(inner) = shifted.and_then(|inner| inner.intersection(self.window)) else {
            return within.into();
        };
        let size = self.now.chunk_size();
        let page_bytes = size.bytes().saturating_mul(PAGE_CHUNKS as u64);
        let mut changed = ExtentMapBuilder::new();
        for page in inner.split(page_bytes) {
            if self.is_same_page(page.offset_bytes() / page_bytes) {
                continue;
            }
            for part in page.split(size.bytes()) {
                if self.differs(size.index(part.offset_bytes())) {
                    let start = part.offset_bytes() - self.window.offset_bytes();
                    Extent::new(start, part.len_bytes())
                        .into_iter()
                        .for_each(|part| changed.push(part));
                }
            }
        }
        changed.finish()
    }
}
