//! The headers of both formats.

use super::super::Stream;
use super::MAGIC;
use klon_partition::bytes::{le16, le32, le64, text};
use klon_partition::error::Corrupt;
use klon_partition::{Error, Result};
use std::io::Read;

const V1_LEN: usize = 4160;
const V2_LEN: usize = 110;
const BLOCK_BYTES_MAX: u32 = 64 << 20;
/// As much as 32 TiB in blocks of 4096 bytes have; the bitmap takes 1 GiB then.
const BLOCKS_MAX: u64 = 1 << 33;
const LITTLE_ENDIAN: u16 = 0xc0de;

/// Which checksum follows each strip of blocks (field `checksum_mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Not at all.
    None,
    /// CRC-32 without the final inversion.
    Crc32,
    /// As the CRC-32, over the first byte of each block, repeated as often as the block has bytes: format
    /// 0001.
    Crc32OfFirstByte,
    /// XXH64.
    Xxh64,
    /// XXH3 of 128 bits.
    Xxh128,
}

/// How the used blocks are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BitmapMode {
    All,
    Bits,
    Bytes,
}

/// The header of an image of partclone: descriptor of the image, of its filesystem, and its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Version of the image format: 1 or 2.
    pub version: u8,
    /// The filesystem, in partclone's words; `raw` for one that it doesn't know.
    pub filesystem: String,
    /// Size of the volume (`device_size`), in bytes.
    pub device_bytes: u64,
    /// How many blocks the filesystem has (`totalblock`). What lies behind them is not in the image.
    pub blocks: u64,
    /// Size of a block, in bytes.
    pub block_bytes: u32,
    /// Which checksum follows each strip.
    pub checksum: Checksum,
    /// How many blocks share a checksum (`blocks_per_checksum`).
    pub strip_blocks: u32,
    /// Whether each checksum begins anew (`reseed_checksum`), or goes on from the one before.
    pub reseeds: bool,
    pub(super) bitmap: BitmapMode,
}

impl Header {
    pub(super) fn read<R: Read>(stream: &mut Stream<R>) -> Result<Self> {
        let mut start = [0; V2_LEN];
        stream.read(&mut start)?;
        if !start.starts_with(MAGIC) {
            let found = String::from_utf8_lossy(&start[..16]).into_owned();
            return Err(wrong(0, "magic", "partclone-image", format!("{found:?}")));
        }
        let header = match &start[30..34] {
            b"0001" => {
                let mut rest = [0; V1_LEN - V2_LEN];
                stream.read(&mut rest)?;
                Self::v1(&start)
            }
            b"0002" => Self::v2(&start)?,
            other => {
                return Err(Error::unsupported(
                    format!("partclone format {:?}", String::from_utf8_lossy(other)),
                    "klon knows 0001 and 0002; restore it with partclone, and image that"
                        .to_owned(),
                ));
            }
        };
        header.check()?;
        Ok(header)
    }

    fn v1(bytes: &[u8]) -> Self {
        Self {
            version: 1,
            filesystem: text(&bytes[15..30]).unwrap_or_default(),
            device_bytes: le64(bytes, 40),
            blocks: le64(bytes, 48),
            block_bytes: le32(bytes, 36),
            checksum: Checksum::Crc32OfFirstByte,
            strip_blocks: 1,
            reseeds: false,
            bitmap: BitmapMode::Bytes,
        }
    }

    fn v2(bytes: &[u8; V2_LEN]) -> Result<Self> {
        let crc = !crc32fast::hash(&bytes[..106]);
        let stored = le32(bytes, 106);
        if stored != crc {
            let (expected, found) = (format!("{crc:#010x}"), format!("{stored:#010x}"));
            return Err(wrong(106, "CRC of the header", expected, found));
        }
        if le16(bytes, 34) != LITTLE_ENDIAN {
            return Err(Error::unsupported(
                "a partclone image of a big-endian machine",
                "restore it there with partclone, and image that",
            ));
        }
        // Its documentation says 1 and 2, its code writes 0x20 and 0x30.
        let (mode, size) = (le16(bytes, 96), le16(bytes, 98));
        let checksum = match (mode, size) {
            (0, _) => Checksum::None,
            (1 | 0x20, 4) => Checksum::Crc32,
            (2 | 0x30, 8) => Checksum::Xxh64,
            (3 | 0x31, 16) => Checksum::Xxh128,
            (0xff, 4) => Checksum::Crc32OfFirstByte,
            _ => {
                let found = format!("mode {mode:#x} of {size} bytes");
                return Err(wrong(96, "checksum mode", "a known one", found));
            }
        };
        let bitmap = match bytes[105] {
            0 => BitmapMode::All,
            1 => BitmapMode::Bits,
            8 => BitmapMode::Bytes,
            other => return Err(wrong(105, "bitmap mode", "0, 1 or 8", other)),
        };
        Ok(Self {
            version: 2,
            filesystem: text(&bytes[36..52]).unwrap_or_default(),
            device_bytes: le64(bytes, 52),
            blocks: le64(bytes, 60),
            block_bytes: le32(bytes, 84),
            checksum,
            strip_blocks: le32(bytes, 100),
            reseeds: bytes[104] != 0,
            bitmap,
        })
    }

    fn check(&self) -> Result<()> {
        if !(1..=BLOCK_BYTES_MAX).contains(&self.block_bytes) {
            let expected = format!("1 to {BLOCK_BYTES_MAX}");
            return Err(wrong(84, "block size", expected, self.block_bytes));
        }
        let bytes = self.blocks.checked_mul(self.block_bytes.into());
        if self.bitmap != BitmapMode::All && self.blocks > BLOCKS_MAX {
            return Err(wrong(
                60,
                "blocks",
                format!("at most {BLOCKS_MAX}"),
                self.blocks,
            ));
        }
        if bytes.is_none_or(|bytes| bytes > self.device_bytes) {
            let expected = format!("as many as fit into {} bytes", self.device_bytes);
            let found = format!("{} of {} bytes", self.blocks, self.block_bytes);
            return Err(wrong(60, "blocks", expected, found));
        }
        if self.checksum != Checksum::None && self.strip_blocks == 0 {
            return Err(wrong(100, "blocks per checksum", "at least 1", 0));
        }
        Ok(())
    }
}

fn wrong(
    offset_bytes: u64,
    field: &'static str,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Error {
    Corrupt::new("partclone header", field, offset_bytes, expected, found).into()
}
