//! Where the frame of some plain bytes is, and what they are.

use crate::chunk::Digest;
use klon_partition::bytes::{le32, le64};

/// Where the frame of some plain bytes is, and what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Position of the frame in the file; 0 for plain bytes that are all zero.
    pub position: u64,
    /// Length of the payload as stored.
    pub stored_bytes: u32,
    /// Length of the plain bytes.
    pub plain_bytes: u32,
    /// SHA-256 of the plain bytes.
    pub digest: Digest,
}

impl Reference {
    /// Length in the file.
    pub const LEN: usize = 48;

    /// That of zeroes, which have this digest.
    pub(super) const fn of_zeroes(plain_bytes: u32, digest: Digest) -> Self {
        Self {
            position: 0,
            stored_bytes: 0,
            plain_bytes,
            digest,
        }
    }

    /// Whether the plain bytes are all zero, and not stored.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.position == 0
    }

    pub(super) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.position.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.stored_bytes.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.plain_bytes.to_le_bytes());
        bytes[16..].copy_from_slice(&self.digest.0);
        bytes
    }

    /// From the first 48 of `bytes`, which has as many.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut digest = [0; Digest::LEN];
        digest.copy_from_slice(&bytes[16..Self::LEN]);
        Self {
            position: le64(bytes, 0),
            stored_bytes: le32(bytes, 8),
            plain_bytes: le32(bytes, 12),
            digest: Digest(digest),
        }
    }
}
