//! Reading an image: its header, its catalog, and any frame of it.

use super::catalog::Catalog;
use super::chunk_cache::ChunkCache;
use super::encoded::{Encoded, Plain};
use super::frame::{self, FRAME_HEADER_LEN, FrameHeader, FrameType};
use super::header::{HEADER_LEN, Header};
use super::load::{FrameFile, LoadFrames};
use super::page::Page;
use super::recent::Recent;
use super::reference::Reference;
use super::tail::Tail;
use crate::buffer::Pool;
use bytes::Bytes;
use klon_partition::device::aligned;
use klon_partition::error::Corrupt;
use klon_partition::{ReadAt, Result};
use std::sync::Arc;

/// A frame's header, and the bytes that are read around a frame to read whole blocks.
const AROUND_BYTES: usize = FRAME_HEADER_LEN + 2 * aligned::ALIGNMENT_BYTES;
/// Bytes of pages that are kept: at least 300 pages of 1024 chunks each.
const PAGES_BYTES: usize = 16 << 20;

/// An image that is read.
#[derive(Clone)]
pub struct Image {
    device: Arc<dyn ReadAt>,
    header: Header,
    tail: Arc<Tail>,
    pages: Arc<Recent<(Reference, Arc<Page>)>>,
    chunk_cache: Arc<ChunkCache>,
    /// Buffers for what is stored of a chunk, and the blocks around it.
    stored: Pool,
    /// Why the header had to be rebuilt from the frames.
    header_damage: Option<Arc<str>>,
}

impl Image {
    /// An image whose header and last commit are known.
    pub(super) fn known(device: Arc<dyn ReadAt>, header: Header, tail: Tail) -> Self {
        Self {
            device,
            header,
            tail: Arc::new(tail),
            header_damage: None,
            pages: Arc::new(Recent::new(PAGES_BYTES)),
            chunk_cache: Arc::new(ChunkCache::new(header.chunk_size)),
            stored: Pool::new(header.chunk_size.buffer_len() + AROUND_BYTES),
        }
    }

    /// The same image, whose header was rebuilt from the frames for this reason.
    pub(super) fn with_header_damage(self, why: &str) -> Self {
        Self {
            header_damage: Some(why.into()),
            ..self
        }
    }

    /// What is wrong with the header, if it was rebuilt from the frames. The UUID is another one then,
    /// which serves as well for reading.
    #[must_use]
    pub fn header_damage(&self) -> Option<&str> {
        self.header_damage.as_deref()
    }

    /// The header of an image.
    ///
    /// # Errors
    /// [`klon_partition::Error::Corrupt`] when there is none.
    pub fn header_of(device: &dyn ReadAt) -> Result<Header> {
        let size_bytes = device.geometry().size_bytes;
        if size_bytes < HEADER_LEN as u64 {
            let expected = format!("at least {HEADER_LEN} bytes");
            return Err(Corrupt::new("image header", "length", 0, expected, size_bytes).into());
        }
        let mut bytes = [0; HEADER_LEN];
        device.read_exact_at(&mut bytes, 0)?;
        Header::parse(&bytes)
    }

    /// What is said once for the whole file.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Which snapshots there are.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.tail.catalog
    }

    /// Where the last commit is, and what lies behind it.
    #[must_use]
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Size of the file.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.device.geometry().size_bytes
    }

    /// The file.
    #[must_use]
    pub fn device(&self) -> &dyn ReadAt {
        &*self.device
    }

    /// The plain bytes of the frame that `reference` names, which must be of `frame_type`.
    ///
    /// # Errors
    /// [`klon_partition::Error::Corrupt`] when the frame is not what the reference says, [`klon_partition::Error::Io`].
    pub fn read(&self, reference: &Reference, frame_type: FrameType) -> Result<Vec<u8>> {
        let plain_bytes = reference.plain_bytes.min(frame_type.plain_bytes_max());
        let mut plain = vec![0; plain_bytes as usize];
        self.read_into(reference, frame_type, &mut plain)?;
        Ok(plain)
    }

    /// The page that `reference` names, read once for all lookups.
    pub(super) fn page(&self, reference: &Reference) -> Result<Arc<Page>> {
        let kept = self.pages.get(reference.position);
        if let Some((_, page)) = kept.filter(|kept| kept.0 == *reference) {
            return Ok(page);
        }
        let bytes = self.read(reference, FrameType::Page)?;
        let page = Arc::new(Page::parse(&bytes, reference.position)?);
        let kept = (*reference, Arc::clone(&page));
        self.pages
            .put(reference.position, kept, page.memory_bytes());
        Ok(page)
    }

    /// Unpacks chunks for readers of pieces.
    pub(super) fn chunk_cache(&self) -> &ChunkCache {
        &self.chunk_cache
    }

    fn load_for(
        &self,
        reference: &Reference,
        frame_type: FrameType,
        plain_len: usize,
    ) -> Result<(FrameHeader, Bytes)> {
        let file = FrameFile {
            device: &*self.device,
            header: &self.header,
        };
        let pool = (frame_type == FrameType::Data).then_some(&self.stored);
        file.load(reference, frame_type, plain_len, pool)
    }

    /// The payload of a frame as it is stored, once its content was checked.
    pub(super) fn read_stored(
        &self,
        reference: &Reference,
        frame_type: FrameType,
    ) -> Result<Encoded> {
        let plain_bytes = reference.plain_bytes.min(frame_type.plain_bytes_max());
        let mut plain = vec![0; plain_bytes as usize];
        let (header, payload) = self.load(reference, frame_type)?;
        frame::decode(&header, reference.position, &payload, &mut plain)?;
        let plain = Plain {
            len_bytes: header.plain_bytes,
            digest: header.digest,
        };
        Ok(Encoded::new(header.encoding, payload, plain))
    }
}

impl LoadFrames for Image {
    fn read_into(
        &self,
        reference: &Reference,
        frame_type: FrameType,
        plain: &mut [u8],
    ) -> Result<()> {
        let (header, payload) = self.load_for(reference, frame_type, plain.len())?;
        frame::decode(&header, reference.position, &payload, plain)
    }

    fn load(&self, reference: &Reference, frame_type: FrameType) -> Result<(FrameHeader, Bytes)> {
        let plain_len = reference.plain_bytes.min(frame_type.plain_bytes_max());
        self.load_for(reference, frame_type, plain_len as usize)
    }
}
