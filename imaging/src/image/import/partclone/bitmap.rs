//! Which blocks are in an image.

use super::super::Stream;
use super::header::{BitmapMode, Header};
use klon_partition::bytes::le32;
use klon_partition::error::Corrupt;
use klon_partition::extent::ExtentMapBuilder;
use klon_partition::{Extent, ExtentMap, Result};
use std::io::Read;

/// Which blocks are in an image.
pub(super) enum Bitmap {
    /// All of so many.
    All(u64),
    /// Those whose bits are set, from the lowest bit on; bits behind the last block are not.
    Bits(Vec<u8>),
}

impl Bitmap {
    pub(super) fn read<R: Read>(stream: &mut Stream<R>, header: &Header) -> Result<Self> {
        match header.bitmap {
            BitmapMode::All => Ok(Self::All(header.blocks)),
            BitmapMode::Bits => Self::bits(stream, header.blocks),
            BitmapMode::Bytes => Self::bytes(stream, header.blocks),
        }
    }

    fn bits<R: Read>(stream: &mut Stream<R>, blocks: u64) -> Result<Self> {
        let mut bits = stream.read_vec(blocks.div_ceil(8))?;
        let position = stream.position();
        let mut stored = [0; 4];
        stream.read(&mut stored)?;
        let (crc, stored) = (!crc32fast::hash(&bits), le32(&stored, 0));
        if crc != stored {
            let (expected, found) = (format!("{crc:#010x}"), format!("{stored:#010x}"));
            let field = "CRC of the bitmap";
            return Err(Corrupt::new("partclone image", field, position, expected, found).into());
        }
        if let (Some(last), used) = (bits.last_mut(), blocks % 8)
            && used > 0
        {
            *last &= (1 << used) - 1;
        }
        Ok(Self::Bits(bits))
    }

    fn bytes<R: Read>(stream: &mut Stream<R>, blocks: u64) -> Result<Self> {
        let mut bits = Vec::new();
        let mut left = blocks;
        while left > 0 {
            let now = left.min(1 << 16);
            // Anything but 1 is not in use; some versions wrote other numbers.
            bits.extend(stream.read_vec(now)?.chunks(8).map(|bytes| {
                let bit = |(at, &byte): (usize, &u8)| u8::from(byte == 1) << at;
                bytes
                    .iter()
                    .enumerate()
                    .map(bit)
                    .fold(0, |all, bit| all | bit)
            }));
            left -= now;
        }
        let position = stream.position();
        let mut magic = [0; 8];
        stream.read(&mut magic)?;
        if &magic != b"BiTmAgIc" {
            let found = format!("{:?}", String::from_utf8_lossy(&magic));
            let field = "end of the bitmap";
            return Err(Corrupt::new("partclone image", field, position, "BiTmAgIc", found).into());
        }
        Ok(Self::Bits(bits))
    }

    pub(super) fn is_used(&self, block: u64) -> bool {
        match self {
            Self::All(blocks) => block < *blocks,
            Self::Bits(bits) => {
                let byte = usize::try_from(block / 8).ok().and_then(|at| bits.get(at));
                byte.is_some_and(|byte| byte & (1 << (block % 8)) != 0)
            }
        }
    }

    /// The first used block from `block` on, `end` at most.
    pub(super) fn next_used(&self, block: u64, end: u64) -> u64 {
        let mut at = block;
        while at < end && !self.is_used(at) {
            let is_empty = |bits: &Vec<u8>| {
                let byte = usize::try_from(at / 8).ok().and_then(|at| bits.get(at));
                byte.is_none_or(|byte| *byte == 0)
            };
            at += match self {
                Self::Bits(bits) if at.is_multiple_of(8) && is_empty(bits) => 8,
                _ => 1,
            };
        }
        at.min(end)
    }

    pub(super) fn extents(&self, header: &Header) -> ExtentMap {
        let block_bytes = u64::from(header.block_bytes);
        let bits = match self {
            Self::All(blocks) => return ExtentMap::whole(blocks.saturating_mul(block_bytes)),
            Self::Bits(bits) => bits,
        };
        let mut builder = ExtentMapBuilder::new();
        let mut add = |block: u64, blocks: u64| {
            let extent = Extent::new(block * block_bytes, blocks * block_bytes);
            extent.into_iter().for_each(|extent| builder.push(extent));
        };
        for (at, &byte) in (0_u64..).step_by(8).zip(bits) {
            match byte {
                0 => {}
                0xff => add(at, 8),
                _ => (0..8)
                    .filter(|bit| byte & (1 << bit) != 0)
                    .for_each(|bit| add(at + bit, 1)),
            }
        }
        builder.finish()
    }
}
