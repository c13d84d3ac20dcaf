//! The first 4096 bytes of an image.

use crate::chunk::ChunkSize;
use klon_partition::bytes::{le32, le64};
use klon_partition::error::Corrupt;
use klon_partition::{Error, Result};
use uuid::Uuid;

/// First bytes of every image.
pub const MAGIC: &[u8; 8] = b"klonimg\n";
const VERSION: u32 = 1;
/// Incompatible feature: a catalog may have its older entries in pages. Images without it were made
/// before there were any, and their catalogs are written whole.
const CATALOG_PAGES: u64 = 2;
/// Length of the header.
pub const HEADER_LEN: usize = 4096;
const CRC_AT: usize = HEADER_LEN - 4;

/// What is said once for a whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// UUID of the file.
    pub uuid: Uuid,
    /// Size of its chunks.
    pub chunk_size: ChunkSize,
    /// When it was made, in seconds since 1970 UTC.
    pub made_unix_seconds: u64,
    /// Whether this program may append to it: it knows all read-only compatible features.
    pub is_appendable: bool,
    /// Whether older entries of its catalogs are in pages.
    pub has_catalog_pages: bool,
}

impl Header {
    /// That of a new image with chunks of the usual size.
    #[must_use]
    pub fn new(made_unix_seconds: u64) -> Self {
        Self {
            uuid: Uuid::new_v4(),
            chunk_size: ChunkSize::USUAL,
            made_unix_seconds,
            is_appendable: true,
            has_catalog_pages: true,
        }
    }

    /// The header with chunks of another size; `None` for a size that the format does not have.
    #[must_use]
    pub fn with_chunks(self, chunk_bytes: u64) -> Option<Self> {
        let chunk_size = ChunkSize::new(chunk_bytes)?;
        Some(Self { chunk_size, ..self })
    }

    /// As it is in the file.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&4096_u32.to_le_bytes());
        let incompatible = match self.has_catalog_pages {
            true => CATALOG_PAGES,
            false => 0,
        };
        bytes[32..40].copy_from_slice(&incompatible.to_le_bytes());
        bytes[40..56].copy_from_slice(self.uuid.as_bytes());
        bytes[56..60].copy_from_slice(&self.chunk_size.bytes_u32().to_le_bytes());
        bytes[64..72].copy_from_slice(&self.made_unix_seconds.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// From the first [`HEADER_LEN`] bytes of a file.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with the first field that is wrong; [`Error::Unsupported`] for features of
    /// later versions.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self> {
        let wrong = |field, expected: String, found: String| {
            Err(Corrupt::new("image header", field, 0, expected, found).into())
        };
        if &bytes[..8] != MAGIC {
            let found = String::from_utf8_lossy(&bytes[..8]).into_owned();
            return wrong("magic", format!("{MAGIC:?}"), format!("{found:?}"));
        }
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        let stored = le32(bytes, CRC_AT);
        if stored != crc {
            return wrong("CRC-32C", format!("{crc:#010x}"), format!("{stored:#010x}"));
        }
        let (version, incompatible) = (le32(bytes, 8), le64(bytes, 32));
        if version != VERSION || incompatible & !CATALOG_PAGES != 0 {
            return Err(Error::Unsupported {
                what: format!(
                    "an image of version {version} with incompatible features {incompatible:#x}"
                ),
                reason: "a later klon made it; use that one".to_owned(),
            });
        }
        let chunk_bytes = le32(bytes, 56);
        let Some(chunk_size) = ChunkSize::new(chunk_bytes.into()) else {
            let (min, max) = (ChunkSize::MIN, ChunkSize::MAX);
            let expected = format!("a power of two in {min}..={max}");
            return wrong("chunk size", expected, chunk_bytes.to_string());
        };
        Ok(Self {
            uuid: Uuid::from_bytes(bytes[40..56].try_into().unwrap_or_default()),
            chunk_size,
            made_unix_seconds: le64(bytes, 64),
            is_appendable: le64(bytes, 24) == 0,
            has_catalog_pages: incompatible & CATALOG_PAGES != 0,
        })
    }
}
