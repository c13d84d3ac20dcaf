//! The index of what is staged: its blocks, their entries, and going through the chain.

use super::room::Space;
use crate::chunk::{CHUNK_BYTES, Digest};
use crate::error::{Error, Result};
use crate::spot::{Area, BLOCK_HEADER_LEN, BlockRef, Spot};
use klon_partition::Extent;
use klon_partition::bytes::{le32, le64};
use klon_partition::error::Corrupt;
use std::fmt;
use uuid::Uuid;

const MAGIC: &[u8; 8] = b"klonstg\n";
const VERSION: u32 = 1;
pub(super) const ENTRY_LEN: usize = 64;
const ZEROES: u32 = 2;
const OLD: u32 = 4;

/// Bytes that are staged, or zeroes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where on the volume they belong.
    pub(super) to: Extent,
    /// Where they are, and their SHA-256; `None` for zeroes.
    pub(super) from: Option<(Spot, [u8; 32])>,
    /// Whether they are the old contents, not the new ones.
    pub(super) is_old: bool,
}

impl Entry {
    fn to_bytes(self) -> [u8; ENTRY_LEN] {
        let mut bytes = [0; ENTRY_LEN];
        let len = u32::try_from(self.to.len_bytes()).unwrap_or(u32::MAX);
        bytes[..8].copy_from_slice(&self.to.offset_bytes().to_le_bytes());
        bytes[8..12].copy_from_slice(&len.to_le_bytes());
        let mut code = self.from.map_or(ZEROES, |(spot, _)| spot.area.code());
        if self.is_old {
            code |= OLD;
        }
        bytes[12..16].copy_from_slice(&code.to_le_bytes());
        if let Some((spot, digest)) = self.from {
            bytes[16..24].copy_from_slice(&spot.extent.offset_bytes().to_le_bytes());
            bytes[24..56].copy_from_slice(&digest);
        }
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let len_bytes = u64::from(le32(bytes, 8));
        let to = Extent::new(le64(bytes, 0), len_bytes).filter(|_| len_bytes <= CHUNK_BYTES)?;
        let code = le32(bytes, 12);
        let from = match code & !OLD {
            ZEROES => None,
            code => {
                let extent = Extent::new(le64(bytes, 16), len_bytes)?;
                let area = Area::of_code(code)?;
                Some((Spot { area, extent }, bytes[24..56].try_into().ok()?))
            }
        };
        let is_old = code & OLD != 0;
        Some(Self { to, from, is_old })
    }
}

/// A block of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) run: Uuid,
    pub(super) number: u64,
    pub(super) before: Option<BlockRef>,
    pub(super) entries: Vec<Entry>,
}

impl Block {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; BLOCK_HEADER_LEN];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let count = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        bytes[12..16].copy_from_slice(&count.to_le_bytes());
        bytes[16..32].copy_from_slice(self.run.as_bytes());
        bytes[32..40].copy_from_slice(&self.number.to_le_bytes());
        if let Some(before) = self.before {
            bytes[48..96].copy_from_slice(&before.to_bytes());
        }
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.to_bytes());
        }
        bytes
    }

    /// The block in `bytes`, whose digest was right.
    fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < BLOCK_HEADER_LEN {
            return None;
        }
        let count = usize::try_from(le32(bytes, 12)).ok()?;
        let len = count
            .checked_mul(ENTRY_LEN)?
            .checked_add(BLOCK_HEADER_LEN)?;
        if !bytes.starts_with(MAGIC) || le32(bytes, 8) != VERSION || bytes.len() != len {
            return None;
        }
        let number = le64(bytes, 32);
        let before = BlockRef::parse(&bytes[48..96]);
        if before.is_none() != (number == 0) {
            return None;
        }
        let entries = bytes[BLOCK_HEADER_LEN..].chunks_exact(ENTRY_LEN);
        Some(Self {
            run: Uuid::from_slice(&bytes[16..32]).ok()?,
            number,
            before,
            entries: entries.map(Entry::parse).collect::<Option<_>>()?,
        })
    }
}

/// The blocks of an index, last one first.
pub(super) struct Chain<'a> {
    space: Space<'a>,
    run: Uuid,
    next: Option<(BlockRef, Option<u64>)>,
}

impl<'a> Chain<'a> {
    pub(super) const fn new(space: Space<'a>, run: Uuid, last: BlockRef) -> Self {
        Self {
            space,
            run,
            next: Some((last, None)),
        }
    }

    fn read(&self, at: BlockRef, number: Option<u64>) -> Result<Block> {
        let BlockRef { spot, digest } = at;
        let mut bytes = vec![0; usize::try_from(spot.extent.len_bytes()).unwrap_or(0)];
        self.space.read(spot, &mut bytes)?;
        let found = Digest::of(&bytes);
        if found.0 != digest {
            return Err(damaged(
                "index block",
                "SHA-256",
                spot,
                Digest(digest),
                found,
            ));
        }
        let block = Block::parse(&bytes).filter(|block| {
            // Numbers count down, so the chain ends.
            block.run == self.run && number.is_none_or(|number| block.number == number)
        });
        block.ok_or_else(|| {
            let expected = format!("block {number:?} of run {}", self.run);
            damaged(
                "index block",
                "place in the index",
                spot,
                expected,
                "another",
            )
        })
    }
}

impl Iterator for Chain<'_> {
    type Item = Result<Block>;

    fn next(&mut self) -> Option<Result<Block>> {
        let (at, number) = self.next.take()?;
        let block = self.read(at, number);
        if let Ok(block) = &block {
            let number = block.number.checked_sub(1);
            self.next = block.before.map(|before| (before, number));
        }
        Some(block)
    }
}

/// Says that something staged at `spot` is not what was staged.
pub(super) fn damaged(
    structure: &'static str,
    field: &'static str,
    spot: Spot,
    expected: impl fmt::Display,
    found: impl fmt::Display,
) -> Error {
    let offset_bytes = spot.extent.offset_bytes();
    Error::StageCorrupt {
        area: spot.area,
        corrupt: Corrupt::new(structure, field, offset_bytes, expected, found),
    }
}

#[cfg(test)]
mod tests {
    use super::{Block, Entry};
    use crate::spot::{Area, BlockRef, Spot};
    use klon_partition::Extent;
    use uuid::Uuid;

    #[test]
    fn blocks_read_back_and_nothing_but_whole_ones_do() {
        let extent = |offset, len| Extent::new(offset, len).unwrap();
        let spot = |area, offset, len| Spot {
            area,
            extent: extent(offset, len),
        };
        let before = BlockRef {
            spot: spot(Area::Drive, 1 << 40, 160),
            digest: [5; 32],
        };
        let block = Block {
            run: Uuid::new_v4(),
            number: 3,
            before: Some(before),
            entries: vec![
                Entry {
                    to: extent(8192, 512),
                    from: Some((spot(Area::Volume, 4096, 512), [7; 32])),
                    is_old: true,
                },
                Entry {
                    to: extent(1 << 20, 1 << 20),
                    from: None,
                    is_old: false,
                },
            ],
        };
        let bytes = block.to_bytes();
        assert_eq!(Block::parse(&bytes), Some(block.clone()));
        for len in 0..bytes.len() {
            assert_eq!(Block::parse(&bytes[..len]), None, "{len}");
        }
        let first = Block { number: 0, ..block };
        assert_eq!(
            Block::parse(&first.to_bytes()),
            None,
            "a first block after another"
        );
    }
}
