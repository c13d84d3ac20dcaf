//! Which frames snapshots reference: each once, however many of them share it.

use super::frame::FrameType;
use super::page::Page;
use super::reader::Image;
use super::reference::Reference;
use super::snapshot::Snapshot;
use klon_partition::Error;
use std::collections::HashSet;

/// FramesInUse that snapshots reference.
#[derive(Default)]
pub(super) struct FramesInUse {
    /// Pages, as far as they can be read.
    pub(super) pages: Vec<Reference>,
    /// Data frames that those pages reference, ascending by position.
    pub(super) data: Vec<Reference>,
    /// Pages that can't be read, and why.
    pub(super) lost: Vec<(Reference, Error)>,
}

impl FramesInUse {
    /// Goes through all pages of `snapshots`.
    pub(super) fn of<'a>(image: &Image, snapshots: impl IntoIterator<Item = &'a Snapshot>) -> Self {
        let mut frames = Self::default();
        let mut seen = HashSet::new();
        for snapshot in snapshots {
            for &(_, reference) in &snapshot.manifest().tree {
                if seen.insert(reference) {
                    frames.add_page(image, reference);
                }
            }
            frames.settle();
        }
        frames
    }

    fn add_page(&mut self, image: &Image, reference: Reference) {
        let bytes = image.read(&reference, FrameType::Page);
        match bytes.and_then(|bytes| Page::parse(&bytes, reference.position)) {
            Ok(page) => {
                self.pages.push(reference);
                let references = page.entries().iter().map(|entry| entry.1);
                self.data
                    .extend(references.filter(|reference| !reference.is_zero()));
            }
            Err(error) => self.lost.push((reference, error)),
        }
    }

    /// Puts the data frames in order, each once.
    fn settle(&mut self) {
        let key = |reference: &Reference| {
            (
                reference.position,
                reference.stored_bytes,
                reference.plain_bytes,
                reference.digest.0,
            )
        };
        self.data.sort_unstable_by_key(key);
        self.data.dedup();
    }
}
