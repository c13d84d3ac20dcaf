//! Reading an image: its header, its catalog, and any frame of it.

use super::catalog::{Catalog, CatalogEntry};
use super::frame::{self, FRAME_HEADER_LEN, FrameHeader, FrameType};
use super::header::{HEADER_LEN, Header, MAGIC};
use super::page::Page;
use super::rebuild;
use super::recent::Recent;
use super::reference::Reference;
use super::snapshot::Snapshot;
use super::tail::Tail;
use super::unpack::Unpacker;
use super::writer::Encoded;
use crate::buffer::Pool;
use bytes::Bytes;
use klon_partition::device::{AlignedBuffer, aligned};
use klon_partition::error::Corrupt;
use klon_partition::{Error, ReadAt, Result};
use std::sync::Arc;

/// A frame's header, and what is read before and behind a frame so that whole blocks are.
const AROUND_BYTES: usize = FRAME_HEADER_LEN + 2 * aligned::ALIGNMENT_BYTES;
/// Bytes of pages that are kept at hand: 300 pages at least, each of 1024 chunks.
const PAGES_BYTES: usize = 16 << 20;

/// An image that is read.
#[derive(Clone)]
pub struct Image {
    device: Arc<dyn ReadAt>,
    header: Header,
    tail: Arc<Tail>,
    pages: Arc<Recent<(Reference, Arc<Page>)>>,
    unpacker: Arc<Unpacker>,
    /// Buffers for what is stored of a chunk, and the blocks around it.
    stored: Pool,
    /// Why what the header says was worked out from the frames.
    header_damage: Option<Arc<str>>,
}

impl Image {
    /// Opens an image that is all of `device`. One whose header is damaged is read as well, if it
    /// ends with a whole commit; it must not be added to.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is none, or no commit of it can be read; [`Error::Unsupported`];
    /// [`Error::Io`].
    pub fn open(device: Arc<dyn ReadAt>) -> Result<Self> {
        match Self::header_of(&*device) {
            Ok(header) => {
                let tail = Tail::find(&*device, &header)?;
                Ok(Self::known(device, header, tail))
            }
            Err(error @ Error::Corrupt(_)) => match rebuild::rebuild(&device)? {
                Some((header, tail)) => Ok(Self {
                    header_damage: Some(error.to_string().into()),
                    ..Self::known(device, header, tail)
                }),
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// An image whose header and last commit are known.
    pub(super) fn known(device: Arc<dyn ReadAt>, header: Header, tail: Tail) -> Self {
        Self {
            device,
            header,
            tail: Arc::new(tail),
            header_damage: None,
            pages: Arc::new(Recent::new(PAGES_BYTES)),
            unpacker: Arc::new(Unpacker::new(header.chunk_bytes)),
            stored: Pool::new(header.chunk_bytes as usize + AROUND_BYTES),
        }
    }

    /// Whether `device` is an image, be its header damaged or of a later version.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn is_image(device: &dyn ReadAt) -> Result<bool> {
        let mut start = [0; MAGIC.len()];
        if device.geometry().size_bytes < start.len() as u64 {
            return Ok(false);
        }
        device.read_exact_at(&mut start, 0)?;
        Ok(&start == MAGIC || rebuild::is_image(device)?)
    }

    /// What is wrong with the header, where what it said was worked out from the frames: the UUID
    /// is another one then, which is as good for reading.
    #[must_use]
    pub fn header_damage(&self) -> Option<&str> {
        self.header_damage.as_deref()
    }

    /// The header of an image.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when there is none.
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

    /// Opens the snapshot of that number, or the last one.
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

    /// The plain bytes of the frame that `reference` names, which must be of `frame_type`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the frame is not what the reference says, [`Error::Io`].
    pub fn read(&self, reference: &Reference, frame_type: FrameType) -> Result<Vec<u8>> {
        let plain_bytes = reference.plain_bytes.min(frame_type.plain_bytes_max());
        let mut plain = vec![0; plain_bytes as usize];
        self.read_into(reference, frame_type, &mut plain)?;
        Ok(plain)
    }

    /// The page that `reference` names, read once for all who look things up in it.
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

    /// What unpacks chunks of which pieces are read.
    pub(super) fn unpacker(&self) -> &Unpacker {
        &self.unpacker
    }

    /// The same, into `plain`, whose length is that of the plain bytes.
    pub(super) fn read_into(
        &self,
        reference: &Reference,
        frame_type: FrameType,
        plain: &mut [u8],
    ) -> Result<()> {
        let (header, payload) = self.load_for(reference, frame_type, plain.len())?;
        frame::decode(&header, reference.position, &payload, plain)
    }

    /// The header and the payload of a frame; only the header is checked.
    pub(super) fn load(
        &self,
        reference: &Reference,
        frame_type: FrameType,
    ) -> Result<(FrameHeader, Bytes)> {
        let plain_len = reference.plain_bytes.min(frame_type.plain_bytes_max());
        self.load_for(reference, frame_type, plain_len as usize)
    }

    fn load_for(
        &self,
        reference: &Reference,
        frame_type: FrameType,
        plain_len: usize,
    ) -> Result<(FrameHeader, Bytes)> {
        let (device, file) = (&*self.device, &self.header);
        let pool = (frame_type == FrameType::Data).then_some(&self.stored);
        load_frame(device, file, reference, (frame_type, plain_len), pool)
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
        let plain = (header.plain_bytes, header.digest);
        Ok(Encoded::new(header.encoding, payload, plain))
    }
}

fn number_of(entry: &CatalogEntry) -> String {
    entry.number.to_string()
}

/// Reads and checks the frame that `reference` names.
pub(super) fn read_frame(
    device: &dyn ReadAt,
    file: &Header,
    reference: &Reference,
    frame_type: FrameType,
    plain: &mut [u8],
) -> Result<()> {
    let (header, payload) = load_frame(device, file, reference, (frame_type, plain.len()), None)?;
    frame::decode(&header, reference.position, &payload, plain)
}

/// The header and the payload of the frame that `reference` names; only the header is checked.
fn load_frame(
    device: &dyn ReadAt,
    file: &Header,
    reference: &Reference,
    (frame_type, plain_len): (FrameType, usize),
    pool: Option<&Pool>,
) -> Result<(FrameHeader, Bytes)> {
    let position = reference.position;
    let wrong = |field, expected: String, found: String| {
        Err(Corrupt::new(frame_type.name(), field, position, expected, found).into())
    };
    let max = frame_type.plain_bytes_max();
    if reference.stored_bytes > max || plain_len != reference.plain_bytes as usize {
        let found = format!(
            "{} stored, {} plain",
            reference.stored_bytes, reference.plain_bytes
        );
        return wrong("lengths", format!("{plain_len} plain"), found);
    }
    let len = FRAME_HEADER_LEN + reference.stored_bytes as usize;
    let end = position.checked_add(len as u64);
    let size_bytes = device.geometry().size_bytes;
    if end.is_none_or(|end| end > size_bytes) {
        return wrong(
            "end",
            format!("within {size_bytes} bytes"),
            format!("{end:?}"),
        );
    }
    // Whole blocks, so that nothing is read around.
    let align = aligned::ALIGNMENT_BYTES as u64;
    let start = position / align * align;
    let skip = usize::try_from(position - start).unwrap_or(0);
    let room = (skip + len).next_multiple_of(aligned::ALIGNMENT_BYTES);
    let rest = usize::try_from(size_bytes - start).unwrap_or(usize::MAX);
    let pooled = pool.map(Pool::take).filter(|buffer| buffer.len() >= room);
    let bytes = match pooled {
        Some(mut buffer) => {
            device.read_exact_at(&mut buffer[..room.min(rest)], start)?;
            buffer.freeze()
        }
        None => {
            let mut buffer = AlignedBuffer::zeroed(room);
            device.read_exact_at(&mut buffer[..room.min(rest)], start)?;
            Bytes::from_owner(buffer)
        }
    };
    let bytes = bytes.slice(skip..skip + len);
    let header = FrameHeader::parse(&bytes, file.uuid, position)?;
    if header.frame_type != frame_type || header.reference(position) != *reference {
        return wrong("header", format!("{reference:?}"), format!("{header:?}"));
    }
    Ok((header, bytes.slice(FRAME_HEADER_LEN..)))
}
