//! Checksums that go on over many blocks.

use super::header::Checksum;
use std::hash::Hasher;
use twox_hash::{XxHash3_128, XxHash64};

/// A checksum under way.
#[derive(Clone)]
pub(super) enum Running {
    None,
    Crc32(crc32fast::Hasher),
    FirstByte(u32),
    Xxh64(XxHash64),
    Xxh128(Box<XxHash3_128>),
}

impl Running {
    pub(super) fn new(checksum: Checksum) -> Self {
        match checksum {
            Checksum::None => Self::None,
            Checksum::Crc32 => Self::Crc32(crc32fast::Hasher::new()),
            Checksum::Crc32OfFirstByte => Self::FirstByte(u32::MAX),
            Checksum::Xxh64 => Self::Xxh64(XxHash64::with_seed(0)),
            Checksum::Xxh128 => Self::Xxh128(Box::new(XxHash3_128::with_seed(0))),
        }
    }

    pub(super) fn update(&mut self, block: &[u8]) {
        match self {
            Self::None => {}
            Self::Crc32(hasher) => hasher.update(block),
            Self::FirstByte(crc) => {
                let first = block.first().copied().unwrap_or(0);
                *crc = block.iter().fold(*crc, |crc, _| step(crc, first));
            }
            Self::Xxh64(hasher) => hasher.write(block),
            Self::Xxh128(hasher) => hasher.write(block),
        }
    }

    /// As it is stored.
    pub(super) fn value(&self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Crc32(hasher) => (!hasher.clone().finalize()).to_le_bytes().to_vec(),
            Self::FirstByte(crc) => crc.to_le_bytes().to_vec(),
            Self::Xxh64(hasher) => hasher.finish().to_le_bytes().to_vec(),
            Self::Xxh128(hasher) => hasher.finish_128().to_le_bytes().to_vec(),
        }
    }
}

/// CRC-32 with one byte more.
const fn step(crc: u32, byte: u8) -> u32 {
    crc >> 8 ^ TABLE[((crc ^ byte as u32) & 0xff) as usize]
}

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let (mut crc, mut bit) = (at as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
}
