//! Adding to an image: frames, pages, and commits.

mod commit;

use super::append::Append;
use super::catalog::Catalog;
use super::catalog::pages::PageNode;
use super::dedup::Dedup;
use super::encoded::Encoded;
use super::frame::{FRAME_ALIGN, FRAME_HEADER_LEN, FrameHeader, FrameType};
use super::header::{HEADER_LEN, Header};
use super::page::{PAGE_CHUNKS, Page};
use super::reader::Image;
use super::reference::Reference;
use super::tail::{Adopted, COMMIT_ALIGN, FOOTER_BYTES, Tail};
use crate::chunk::Digest;
use crate::error::{Error, Result};
use klon_partition::Error as PartitionError;
use klon_partition::error::Remedy;
use klon_partition::locks::{read_lock, write_lock};
use std::collections::HashMap;
use std::sync::{Arc, RwLock};

/// How much may be added before it is made durable.
const UNSYNCED_BYTES_MAX: u64 = 256 << 20;

/// An image that is added to.
pub struct ImageWriter<A> {
    output: A,
    header: Header,
    /// Where the next frame goes.
    position: u64,
    last_footer: u64,
    commits: u64,
    catalog: Catalog,
    /// Pages with older entries of that.
    catalog_pages: Vec<PageNode>,
    unsynced_bytes: u64,
    /// Where this commit begins.
    commit_start: u64,
    /// Chunks that are in the file; workers look things up in it.
    dedup: Arc<RwLock<Dedup>>,
    /// Pages that are in the file.
    pages: HashMap<Digest, Reference>,
}

impl<A: Append> ImageWriter<A> {
    /// Begins a new image.
    ///
    /// # Errors
    /// [`Error::ImageWrite`].
    pub fn create(mut output: A, header: Header) -> Result<Self> {
        output
            .append(&header.to_bytes())
            .map_err(Error::ImageWrite)?;
        Ok(Self::at(output, header, HEADER_LEN as u64))
    }

    fn at(output: A, header: Header, position: u64) -> Self {
        Self {
            output,
            header,
            position,
            last_footer: 0,
            commits: 0,
            catalog: Catalog {
                snapshots: Vec::new(),
                next_number: 1,
            },
            catalog_pages: Vec::new(),
            unsynced_bytes: 0,
            commit_start: position,
            dedup: Arc::default(),
            pages: HashMap::new(),
        }
    }

    /// Adds to `image`. `output` must append behind the intact frames that an interrupted run left
    /// ([`Adopted`]).
    ///
    /// # Errors
    /// [`Error::Image`] when the image can't be read or must not be added to.
    pub fn resume(output: A, image: &Image, adopted: &Adopted) -> Result<Self> {
        let mut writer = Self::behind(output, image, adopted.end)?;
        {
            let mut dedup = write_lock(&writer.dedup);
            for reference in &adopted.chunks {
                dedup.insert(reference);
            }
            // The newest first, so that the oldest are left out where memory ends.
            for entry in image.catalog().snapshots.iter().rev() {
                let Some(snapshot) = unless_damaged(image.snapshot(Some(entry.number)))? else {
                    continue;
                };
                let is_new = |reference: &Reference| {
                    writer.pages.insert(reference.digest, *reference).is_none()
                };
                let pages: Vec<_> = (snapshot.manifest().tree.iter().map(|page| page.1))
                    .filter(is_new)
                    .collect();
                for page in pages {
                    let bytes = image.read(&page, FrameType::Page);
                    let parsed = bytes.and_then(|bytes| Page::parse(&bytes, page.position));
                    match unless_damaged(parsed)? {
                        Some(page) => {
                            let references = page.entries().iter();
                            references.for_each(|entry| dedup.insert(&entry.1));
                        }
                        // The same page is stored again when a snapshot has it.
                        None => drop(writer.pages.remove(&page.digest)),
                    }
                }
            }
        }
        writer.align_to(FRAME_ALIGN)?;
        Ok(writer)
    }

    /// Adds to `image` from `position` on, without knowing what is in it: for commits alone.
    pub(super) fn behind(output: A, image: &Image, position: u64) -> Result<Self> {
        Self::check_appendable(image)?;
        let tail: &Tail = image.tail();
        let mut writer = Self::at(output, *image.header(), position);
        writer.last_footer = tail.footer;
        writer.commits = tail.commits;
        writer.catalog = tail.catalog.clone();
        writer.catalog_pages.clone_from(&tail.catalog_pages);
        Ok(writer)
    }

    /// Checks that this program may add to an image.
    ///
    /// # Errors
    /// [`Error::Image`] with the reason.
    pub fn check_appendable(image: &Image) -> Result<()> {
        if !image.header().is_appendable {
            return Err(Error::Image(PartitionError::Unsupported {
                what: "adding to this image".to_owned(),
                reason: "a later klon made it; use that one, or begin a new image".to_owned(),
            }));
        }
        if let Some(damage) = image.header_damage() {
            return Err(Error::Image(PartitionError::RefusedUnless {
                reason: format!("the image's header is damaged ({damage})"),
                remedy: Remedy::CompactImage,
            }));
        }
        if let Some(damage) = &image.tail().damage {
            let reason = format!(
                "the image's last commit is damaged ({damage}), and what is added now would \
                 overwrite what may still be saved"
            );
            return Err(Error::Image(match image.tail().is_footer_lost {
                true => PartitionError::RefusedUnless {
                    reason,
                    remedy: Remedy::CompactImage,
                },
                false => PartitionError::Refused(format!("{reason}; begin a new image")),
            }));
        }
        Ok(())
    }

    /// What is said once for the whole file.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Which snapshots are committed.
    #[must_use]
    pub const fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// How long the file is.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Adds a frame.
    pub(super) fn put(&mut self, frame_type: FrameType, content: &Encoded) -> Result<Reference> {
        self.align_to(FRAME_ALIGN)?;
        let position = self.position;
        // More than 4 GiB are more than any type of frame has room for.
        let stored_bytes = u32::try_from(content.payload.len()).unwrap_or(u32::MAX);
        let header = FrameHeader {
            frame_type,
            encoding: content.encoding,
            stored_bytes,
            plain_bytes: content.plain_bytes,
            digest: content.digest,
            last_footer: self.last_footer,
            payload_crc: content.crc,
        };
        if header.stored_bytes.max(header.plain_bytes) > frame_type.plain_bytes_max() {
            return Err(Error::Refused(format!(
                "a {} of {} bytes is more than the image format has room for",
                frame_type.name(),
                header.plain_bytes
            )));
        }
        self.append(&header.to_bytes(self.header.uuid, position))?;
        self.append(&content.payload)?;
        self.unsynced_bytes += FRAME_HEADER_LEN as u64 + u64::from(stored_bytes);
        if self.unsynced_bytes > UNSYNCED_BYTES_MAX {
            self.sync()?;
        }
        Ok(header.reference(position))
    }

    /// Adds a chunk, unless it is in the file.
    pub(super) fn put_chunk(&mut self, content: &Encoded) -> Result<Reference> {
        let found = {
            let dedup = read_lock(&self.dedup);
            dedup.find(content.digest, content.plain_bytes)
        };
        // A chunk that is found only now was added since a worker looked.
        if let Some(found) = found.filter(|found| found.position >= self.commit_start) {
            return Ok(found);
        }
        let reference = self.put(FrameType::Data, content)?;
        let mut dedup = write_lock(&self.dedup);
        dedup.insert(&reference);
        Ok(reference)
    }

    /// The chunks that are in the file.
    pub(super) fn dedup(&self) -> Arc<RwLock<Dedup>> {
        Arc::clone(&self.dedup)
    }

    /// Stores all chunks again from now on, whatever is in the file.
    pub(super) fn forget_chunks(&mut self) {
        self.dedup = Arc::default();
    }

    /// Adds a page, unless it is in the file.
    pub(super) fn put_page(&mut self, page: &Page) -> Result<Reference> {
        let content = Encoded::of(page.to_bytes()).map_err(Error::ImageWrite)?;
        if let Some(found) = self.pages.get(&content.digest) {
            return Ok(*found);
        }
        let reference = self.put(FrameType::Page, &content)?;
        self.pages.insert(content.digest, reference);
        Ok(reference)
    }

    pub(super) fn put_manifest(&mut self, plain: Vec<u8>) -> Result<Reference> {
        let content = Encoded::of(plain).map_err(Error::ImageWrite)?;
        self.put(FrameType::Manifest, &content)
    }

    /// Where frames of the next commit begin; to be called before its first.
    pub(super) fn begin_commit(&mut self) -> Result<()> {
        if self.position > HEADER_LEN as u64 && self.last_footer + FOOTER_BYTES == self.position {
            self.align_to(COMMIT_ALIGN)?;
        }
        self.commit_start = self.position;
        Ok(())
    }

    /// Makes everything added so far durable.
    ///
    /// # Errors
    /// [`Error::ImageWrite`].
    pub fn sync(&mut self) -> Result<()> {
        self.unsynced_bytes = 0;
        self.output.sync().map_err(Error::ImageWrite)
    }

    /// What it is written to.
    pub fn into_output(self) -> A {
        self.output
    }

    fn align_to(&mut self, align: u64) -> Result<()> {
        let gap = self.position.next_multiple_of(align) - self.position;
        if gap == 0 {
            return Ok(());
        }
        let gap = usize::try_from(gap).unwrap_or(0);
        self.append(&vec![0; gap])
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.output.append(bytes).map_err(Error::ImageWrite)?;
        self.position += bytes.len() as u64;
        Ok(())
    }
}

/// Damaged chunks are not remembered, so they are stored again when they come up.
fn unless_damaged<T>(read: klon_partition::Result<T>) -> Result<Option<T>> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(PartitionError::Corrupt(_)) => Ok(None),
        Err(error) => Err(Error::Image(error)),
    }
}

/// Builds the pages of a snapshot from its chunks in order.
#[derive(Default)]
pub(super) struct TreeBuilder {
    page: Page,
    number: u64,
    tree: Vec<(u64, Reference)>,
}

impl TreeBuilder {
    pub(super) fn push<A: Append>(
        &mut self,
        writer: &mut ImageWriter<A>,
        chunk: u64,
        reference: Reference,
    ) -> Result<()> {
        let number = chunk / PAGE_CHUNKS as u64;
        if number != self.number {
            self.flush(writer)?;
            self.number = number;
        }
        let index = u16::try_from(chunk % PAGE_CHUNKS as u64).unwrap_or(0);
        self.page.push(index, reference);
        Ok(())
    }

    fn flush<A: Append>(&mut self, writer: &mut ImageWriter<A>) -> Result<()> {
        if self.page.is_empty() {
            return Ok(());
        }
        let page = std::mem::take(&mut self.page);
        let reference = writer.put_page(&page)?;
        self.tree.push((self.number, reference));
        Ok(())
    }

    pub(super) fn finish<A: Append>(
        mut self,
        writer: &mut ImageWriter<A>,
    ) -> Result<Vec<(u64, Reference)>> {
        self.flush(writer)?;
        Ok(self.tree)
    }
}
