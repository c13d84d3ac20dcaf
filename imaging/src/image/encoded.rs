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

impl Encoded {
    pub(super) fn new(encoding: Encoding, payload: bytes::Bytes, plain: (u32, Digest)) -> Self {
        Self {
            encoding,
            crc: crc32c::crc32c(&payload),
            payload,
            plain_bytes: plain.0,
            digest: plain.1,
        }
    }

    /// Compressed, if that makes it smaller.
    pub(super) fn of(plain: Vec<u8>) -> io::Result<Self> {
        let digest = Digest::of(&plain);
        let plain_bytes = u32::try_from(plain.len()).map_err(io::Error::other)?;
        let packed = zstd::bulk::compress(&plain, 3)?;
        let (encoding, payload) = match packed.len() < plain.len() {
            true => (Encoding::Zstd, packed),
            false => (Encoding::Raw, plain),
        };
        Ok(Self::new(encoding, payload.into(), (plain_bytes, digest)))
    }
}
