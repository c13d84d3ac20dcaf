//! Frames: the unit of everything behind the header.

use super::reference::Reference;
use crate::chunk::ChunkSize;
use crate::chunk::Digest;
use klon_partition::Result;
use klon_partition::bytes::{le32, le64};
use klon_partition::error::Corrupt;
use std::cell::RefCell;
use std::io;
use uuid::Uuid;
use zstd::bulk::Decompressor;
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

/// Frames begin at multiples of this.
pub const FRAME_ALIGN: u64 = 64;
/// Length of a frame's header.
pub(super) const FRAME_HEADER_LEN: usize = 64;
pub(super) const MAGIC: &[u8; 4] = b"kFrm";

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameType {
    /// A chunk of a volume.
    Data,
    /// Which frames hold 1024 chunks.
    Page,
    /// A snapshot.
    Manifest,
    /// Which snapshots there are.
    Catalog,
    /// What makes a commit valid.
    Footer,
    /// Older entries of catalogs.
    CatalogPage,
    /// Of a later version.
    Other(u8),
}

impl FrameType {
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Page => 2,
            Self::Manifest => 3,
            Self::Catalog => 4,
            Self::Footer => 5,
            Self::CatalogPage => 6,
            Self::Other(number) => number,
        }
    }

    const fn of(number: u8) -> Self {
        match number {
            1 => Self::Data,
            2 => Self::Page,
            3 => Self::Manifest,
            4 => Self::Catalog,
            5 => Self::Footer,
            6 => Self::CatalogPage,
            number => Self::Other(number),
        }
    }

    /// The longest plain bytes that a frame of this type may have.
    pub(super) const fn plain_bytes_max(self) -> u32 {
        match self {
            Self::Data => ChunkSize::MAX.bytes_u32(),
            Self::Page => 1 << 16,
            Self::Manifest | Self::Other(_) => 64 << 20,
            Self::Catalog | Self::CatalogPage => 16 << 20,
            Self::Footer => 64,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Data => "data frame",
            Self::Page => "page frame",
            Self::Manifest => "manifest frame",
            Self::Catalog => "catalog frame",
            Self::Footer => "footer frame",
            Self::CatalogPage => "catalog page frame",
            Self::Other(_) => "frame of unknown type",
        }
    }
}

/// How a payload is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Raw,
    /// One zstd frame.
    Zstd,
    /// Of a later version.
    Other(u8),
}

impl Encoding {
    const fn number(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Zstd => 1,
            Self::Other(number) => number,
        }
    }

    const fn of(number: u8) -> Self {
        match number {
            0 => Self::Raw,
            1 => Self::Zstd,
            number => Self::Other(number),
        }
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the frame holds.
    pub frame_type: FrameType,
    /// How its payload is stored.
    pub encoding: Encoding,
    /// Length of the payload as stored.
    pub stored_bytes: u32,
    /// Length of the plain bytes.
    pub plain_bytes: u32,
    /// SHA-256 of the plain bytes.
    pub digest: Digest,
    /// Position of the footer that was the last one when this frame was written; 0 for none.
    pub last_footer: u64,
    /// CRC-32C of the payload as stored.
    pub payload_crc: u32,
}

impl FrameHeader {
    /// As it is at `position` of the file `uuid`.
    pub(super) fn to_bytes(self, uuid: Uuid, position: u64) -> [u8; FRAME_HEADER_LEN] {
        let mut bytes = [0; FRAME_HEADER_LEN];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4] = self.frame_type.number();
        bytes[5] = self.encoding.number();
        bytes[8..12].copy_from_slice(&self.stored_bytes.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.plain_bytes.to_le_bytes());
        bytes[16..48].copy_from_slice(&self.digest.0);
        bytes[48..56].copy_from_slice(&self.last_footer.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = header_crc(&bytes, uuid, position);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header in the first 64 of `bytes`, which are from `position` of the file `uuid`.
    ///
    /// # Errors
    /// [`klon_partition::Error::Corrupt`] when there is none.
    pub(super) fn parse(bytes: &[u8], uuid: Uuid, position: u64) -> Result<Self> {
        let wrong = |field, expected: String, found: String| {
            Err(Corrupt::new("frame header", field, position, expected, found).into())
        };
        if bytes.len() < FRAME_HEADER_LEN || &bytes[..4] != MAGIC {
            let found = &bytes[..bytes.len().min(4)];
            return wrong("magic", format!("{MAGIC:?}"), format!("{found:?}"));
        }
        let (crc, stored) = (header_crc(bytes, uuid, position), le32(bytes, 60));
        if crc != stored {
            return wrong("CRC-32C", format!("{crc:#010x}"), format!("{stored:#010x}"));
        }
        let frame_type = FrameType::of(bytes[4]);
        let (stored_bytes, plain_bytes) = (le32(bytes, 8), le32(bytes, 12));
        let max = frame_type.plain_bytes_max();
        if stored_bytes > max || plain_bytes > max {
            let found = format!("{stored_bytes} stored, {plain_bytes} plain");
            return wrong("lengths", format!("at most {max}"), found);
        }
        Ok(Self {
            frame_type,
            encoding: Encoding::of(bytes[5]),
            stored_bytes,
            plain_bytes,
            digest: Reference::parse(bytes).digest,
            last_footer: le64(bytes, 48),
            payload_crc: le32(bytes, 56),
        })
    }

    /// The reference to this frame at `position`.
    pub(super) const fn reference(&self, position: u64) -> Reference {
        Reference {
            position,
            stored_bytes: self.stored_bytes,
            plain_bytes: self.plain_bytes,
            digest: self.digest,
        }
    }

    /// Says what is wrong with the frame at `position`.
    fn wrong(
        &self,
        position: u64,
        field: &'static str,
        expected: String,
        found: String,
    ) -> Result<()> {
        Err(Corrupt::new(self.frame_type.name(), field, position, expected, found).into())
    }

    /// Room that the frame takes, up to where the next may begin.
    pub(super) const fn room_bytes(&self) -> u64 {
        room_bytes(self.stored_bytes)
    }
}

/// Room that a frame with such a payload takes, up to where the next may begin.
pub(super) const fn room_bytes(stored_bytes: u32) -> u64 {
    (FRAME_HEADER_LEN as u64 + stored_bytes as u64).next_multiple_of(FRAME_ALIGN)
}

/// The CRC that a frame header has at a place of a file.
pub(super) fn header_crc(bytes: &[u8], uuid: Uuid, position: u64) -> u32 {
    let crc = crc32c::crc32c(uuid.as_bytes());
    let crc = crc32c::crc32c_append(crc, &position.to_le_bytes());
    crc32c::crc32c_append(crc, &bytes[..60])
}

/// The plain bytes of a payload; `plain` has room for as many as the header says.
///
/// # Errors
/// [`klon_partition::Error::Corrupt`] when checksum, length or digest are not those of the header.
pub(super) fn decode(
    header: &FrameHeader,
    position: u64,
    payload: &[u8],
    plain: &mut [u8],
) -> Result<()> {
    check_payload(header, position, payload)?;
    decode_checked(header, position, payload, plain)
}

/// Compares what is stored with its checksum.
pub(super) fn check_payload(header: &FrameHeader, position: u64, payload: &[u8]) -> Result<()> {
    let crc = crc32c::crc32c(payload);
    if crc == header.payload_crc {
        return Ok(());
    }
    let [expected, found] = [header.payload_crc, crc].map(|crc| format!("{crc:#010x}"));
    header.wrong(position, "CRC-32C of the payload", expected, found)
}

/// The plain bytes of a payload whose checksum was compared.
pub(super) fn decode_checked(
    header: &FrameHeader,
    position: u64,
    payload: &[u8],
    plain: &mut [u8],
) -> Result<()> {
    let expected = plain.len();
    let wrong =
        |field, expected: String, found: String| header.wrong(position, field, expected, found);
    match header.encoding {
        Encoding::Raw if payload.len() == expected => plain.copy_from_slice(payload),
        Encoding::Raw => {
            return wrong("length", expected.to_string(), payload.len().to_string());
        }
        Encoding::Zstd => match decompress(payload, plain) {
            Ok(len) if len == expected => {}
            Ok(len) => return wrong("plain length", expected.to_string(), len.to_string()),
            Err(error) => return wrong("zstd frame", "a valid one".to_owned(), error.to_string()),
        },
        Encoding::Other(number) => {
            return wrong("encoding", "0 or 1".to_owned(), number.to_string());
        }
    }
    let digest = Digest::of(plain);
    if digest == header.digest {
        return Ok(());
    }
    wrong("SHA-256", header.digest.to_string(), digest.to_string())
}

fn decompress(payload: &[u8], plain: &mut [u8]) -> io::Result<usize> {
    thread_local! {
        // Making one takes as long as a small chunk.
        static OWN: RefCell<Decompressor<'static>> = RefCell::default();
    }
    OWN.with(|own| match own.try_borrow_mut() {
        Ok(mut own) => own.decompress_to_buffer(payload, plain),
        Err(_) => zstd::bulk::decompress_to_buffer(payload, plain),
    })
}

/// Fills `plain` with the first bytes of a zstd frame; says whether that could be done.
pub(super) fn decode_start(context: &mut DCtx<'_>, payload: &[u8], plain: &mut [u8]) -> bool {
    // No chunk needs a larger window, and memory is taken for it.
    let window = DParameter::WindowLogMax(ChunkSize::MAX.bytes_u32().ilog2());
    let is_ready =
        context.reset(ResetDirective::SessionOnly).is_ok() && context.set_parameter(window).is_ok();
    if !is_ready {
        return false;
    }
    let (mut input, len) = (InBuffer::around(payload), plain.len());
    let mut output = OutBuffer::around(plain);
    while output.pos() < len {
        let before = (input.pos(), output.pos());
        let is_valid = context.decompress_stream(&mut output, &mut input).is_ok();
        if !is_valid || (input.pos(), output.pos()) == before {
            return false;
        }
    }
    true
}
