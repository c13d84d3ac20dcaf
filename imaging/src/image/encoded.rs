//! A payload as a frame holds it.

use super::frame::Encoding;
use crate::chunk::Digest;
use std::io;

/// A payload as it will be stored.
pub(super) struct Encoded {
    pub(super) encoding: Encoding,
    pub(super) payload: bytes::Bytes,
    pub(super) plain_bytes: u32,
    pub(super) digest: Digest,
    pub(super) crc: u32,
}

/// The plain bytes that a payload stands for.
pub(super) struct Plain {
    pub(super) len_bytes: u32,
    pub(super) digest: Digest,
}

impl Encoded {
    pub(super) fn new(encoding: Encoding, payload: bytes::Bytes, plain: Plain) -> Self {
        Self {
            encoding,
            crc: crc32c::crc32c(&payload),
            payload,
            plain_bytes: plain.len_bytes,
            digest: plain.digest,
        }
    }

    /// Compressed, if that makes it smaller.
    pub(super) fn of(plain: Vec<u8>) -> io::Result<Self> {
        let of = Plain {
            digest: Digest::of(&plain),
            len_bytes: u32::try_from(plain.len()).map_err(io::Error::other)?,
        };
        let packed = zstd::bulk::compress(&plain, 3)?;
        let (encoding, payload) = match packed.len() < plain.len() {
            true => (Encoding::Zstd, packed),
            false => (Encoding::Raw, plain),
        };
        Ok(Self::new(encoding, payload.into(), of))
    }
}
