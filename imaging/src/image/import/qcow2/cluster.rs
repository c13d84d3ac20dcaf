//! Clusters: where they are, and unpacking those that are compressed.

use super::OFFSET_MASK;
use super::header::{Compression, Header};
use flate2::{Decompress, FlushDecompress};
use klon_partition::error::Corrupt;
use klon_partition::{Extent, Result};
use std::io::Read;

const COMPRESSED: u64 = 1 << 62;
const SECTOR_BYTES: u64 = 512;

/// An L2 entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Nowhere; reads as zeroes.
    Unallocated,
    /// Zero.
    Zero,
    /// As it is, at this position.
    Plain(u64),
    /// Compressed, within these bytes.
    Compressed(Extent),
}

impl Entry {
    /// From the 8 bytes at `position` of the file.
    pub(super) fn parse(entry: u64, header: &Header, position: u64) -> Result<Self> {
        if entry & COMPRESSED != 0 {
            let split = 62 - (header.cluster_bits - 8);
            let offset = entry & ((1 << split) - 1);
            let sectors = (entry & (COMPRESSED - 1)) >> split;
            let end = (offset / SECTOR_BYTES + sectors + 1).saturating_mul(SECTOR_BYTES);
            return Extent::between(offset, end)
                .map(Self::Compressed)
                .ok_or_else(|| wrong(position, "a compressed cluster", entry));
        }
        let offset = entry & OFFSET_MASK;
        if header.is_v3 && entry & 1 != 0 {
            return Ok(Self::Zero);
        }
        if offset == 0 {
            return Ok(Self::Unallocated);
        }
        if !offset.is_multiple_of(header.cluster_bytes()) {
            return Err(wrong(position, "a cluster's start", entry));
        }
        Ok(Self::Plain(offset))
    }
}

fn wrong(position: u64, expected: &str, entry: u64) -> klon_partition::Error {
    let found = format!("{entry:#x}");
    Corrupt::new("qcow2 L2 table", "entry", position, expected, found).into()
}

/// The content of the compressed cluster at `position`: exactly one cluster.
pub(super) fn inflate(packed: &[u8], header: &Header, position: u64) -> Result<Vec<u8>> {
    let len = usize::try_from(header.cluster_bytes()).unwrap_or(0);
    let mut plain = vec![0; len];
    let unpacked = match header.compression {
        Compression::Zlib => {
            let mut decoder = Decompress::new(false);
            decoder
                .decompress(packed, &mut plain, FlushDecompress::Finish)
                .map(|_| usize::try_from(decoder.total_out()).unwrap_or(0))
                .map_err(|error| error.to_string())
        }
        Compression::Zstd => zstd::stream::read::Decoder::new(packed)
            .and_then(|mut decoder| decoder.read_exact(&mut plain).map(|()| len))
            .map_err(|error| error.to_string()),
    };
    let found = match unpacked {
        Ok(found) if found == len => return Ok(plain),
        Ok(found) => format!("{found} bytes"),
        Err(error) => error,
    };
    let expected = format!("{len} bytes");
    Err(Corrupt::new("qcow2 cluster", "content", position, expected, found).into())
}
