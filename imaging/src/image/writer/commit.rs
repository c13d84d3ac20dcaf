//! Commits: how a new catalog replaces the one before.

use super::{Encoded, ImageWriter};
use crate::chunk::Digest;
use crate::error::{Error, Result};
use crate::image::append::Append;
use crate::image::catalog::Catalog;
use crate::image::catalog::pages::{self, NewPage, PageNode, Root, Slot};
use crate::image::encoded::Plain;
use crate::image::frame::{Encoding, FrameType};
use crate::image::reference::Reference;
use crate::image::tail::{COMMIT_ALIGN, FOOTER_BYTES};
use std::io;

impl<A: Append> ImageWriter<A> {
    /// Makes `catalog` the catalog of the file, durably, together with everything added before.
    ///
    /// # Errors
    /// [`Error::ImageWrite`]: what was committed before is as it was.
    pub fn commit(&mut self, catalog: Catalog) -> Result<()> {
        let (root, pages) = match self.header.has_catalog_pages {
            true => self.put_catalog_pages(&catalog)?,
            false => {
                let whole = catalog.snapshots.clone();
                (Root::new(&[], whole, catalog.next_number), Vec::new())
            }
        };
        let plain = root.to_bytes().map_err(io::Error::from);
        self.commit_root(plain.map_err(Error::ImageWrite)?)?;
        self.catalog = catalog;
        self.catalog_pages = pages;
        Ok(())
    }

    /// Adds a catalog frame and the footer that makes it count, durably.
    pub(in crate::image) fn commit_root(&mut self, plain: Vec<u8>) -> Result<()> {
        let content = Encoded::of(plain).map_err(Error::ImageWrite)?;
        let reference = self.put(FrameType::Catalog, &content)?;
        self.align_to(FOOTER_BYTES)?;
        self.sync()?;
        let mut plain = vec![0; 64];
        plain[..Reference::LEN].copy_from_slice(&reference.to_bytes());
        plain[48..56].copy_from_slice(&(self.commits + 1).to_le_bytes());
        let digest = Digest::of(&plain);
        let of = Plain {
            len_bytes: 64,
            digest,
        };
        let footer = Encoded::new(Encoding::Raw, plain.into(), of);
        let position = self.put(FrameType::Footer, &footer)?.position;
        self.sync()?;
        self.commits += 1;
        self.last_footer = position;
        Ok(())
    }

    /// Puts older entries of `catalog` into pages, unless they are in one already.
    fn put_catalog_pages(&mut self, catalog: &Catalog) -> Result<(Root, Vec<PageNode>)> {
        let (before, now) = (&self.catalog.snapshots, &catalog.snapshots);
        let (slots, newest) = pages::arrange(&self.catalog_pages, before, now);
        let mut nodes = self.put_twice(slots)?;
        while let Some(range) = pages::to_join(&nodes) {
            let start = range.start;
            let page = NewPage::of_pages(nodes.drain(range).collect());
            let joined = self.put_twice(vec![Slot::New(page)])?;
            nodes.splice(start..start, joined);
        }
        let root = Root::new(&nodes, newest, catalog.next_number);
        Ok((root, nodes))
    }

    /// Adds the pages that are new, and then all of them again, in other blocks.
    fn put_twice(&mut self, slots: Vec<Slot>) -> Result<Vec<PageNode>> {
        let mut contents = Vec::new();
        let mut firsts = Vec::new();
        for slot in &slots {
            if let Slot::New(page) = slot {
                let plain = page.to_bytes().map_err(io::Error::from);
                let content = plain.and_then(Encoded::of).map_err(Error::ImageWrite)?;
                firsts.push(self.put(FrameType::CatalogPage, &content)?);
                contents.push(content);
            }
        }
        if !contents.is_empty() {
            self.align_to(COMMIT_ALIGN)?;
        }
        let mut written = Vec::new();
        for (first, content) in firsts.into_iter().zip(&contents) {
            let copy = self.put(FrameType::CatalogPage, content)?;
            written.push((first, copy.position));
        }
        let mut written = written.into_iter();
        let node = |slot| match slot {
            Slot::Kept(node) => Some(node),
            Slot::New(page) => {
                let (first, copy_position) = written.next()?;
                Some(page.written(first, copy_position))
            }
        };
        Ok(slots.into_iter().filter_map(node).collect())
    }

    /// Commits `catalog` twice. Earlier commits may name snapshots that were removed, so the first of
    /// the two serves as the commit before the last one.
    pub(in crate::image) fn commit_twice(&mut self, catalog: &Catalog) -> Result<()> {
        for _ in 0..2 {
            self.begin_commit()?;
            self.commit(catalog.clone())?;
        }
        Ok(())
    }
}
