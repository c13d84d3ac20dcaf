//! The parts of a volume in which signatures lie.

use crate::device::{ReadAt, read_vec};
use crate::error::Result;

/// Most signatures lie before this. The last is the one of swap with pages of 64 KiB.
const HEAD_BYTES: u64 = 68 << 10;

/// The start of a volume in memory, and the volume for what lies elsewhere.
pub(super) struct Head<'a> {
    volume: &'a dyn ReadAt,
    bytes: Vec<u8>,
}

impl<'a> Head<'a> {
    pub(super) fn read(volume: &'a dyn ReadAt) -> Result<Self> {
        let len_bytes = volume.geometry().size_bytes.min(HEAD_BYTES);
        let bytes = read_vec(volume, 0, len_bytes as usize)?;
        Ok(Self { volume, bytes })
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.volume.geometry().size_bytes
    }

    /// The `len_bytes` bytes at `offset_bytes` of the start, if the volume is that long.
    pub(super) fn at(&self, offset_bytes: usize, len_bytes: usize) -> Option<&[u8]> {
        self.bytes
            .get(offset_bytes..offset_bytes.checked_add(len_bytes)?)
    }

    /// Whether `magic` stands at `offset_bytes` of the start.
    pub(super) fn has(&self, offset_bytes: usize, magic: &[u8]) -> bool {
        self.at(offset_bytes, magic.len()) == Some(magic)
    }

    /// The bytes anywhere on the volume, if it is that long.
    pub(super) fn far(&self, offset_bytes: u64, len_bytes: usize) -> Result<Option<Vec<u8>>> {
        let end_bytes = offset_bytes.checked_add(len_bytes as u64);
        if end_bytes.is_none_or(|end_bytes| end_bytes > self.size_bytes()) {
            return Ok(None);
        }
        read_vec(self.volume, offset_bytes, len_bytes).map(Some)
    }
}
