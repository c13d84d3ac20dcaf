//! Places of staged data, and references to blocks of the index (see [`stage`](crate::stage)). Marks, logs and index
//! blocks hold them.

use klon_partition::Extent;
use klon_partition::bytes::{le32, le64};
use std::fmt;
use uuid::Uuid;

/// Length of the header of an index block, which is the least that a block has.
pub(crate) const BLOCK_HEADER_LEN: usize = 96;
/// A block is never longer than this.
pub(crate) const BLOCK_LEN_MAX: usize = 64 << 10;
const ON_VOLUME: u32 = 0;
const ON_DRIVE: u32 = 1;

/// The device that something staged lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// The volume itself.
    Volume,
    /// The drive that the volume is a partition of.
    Drive,
}

impl Area {
    /// The number that stands for it.
    pub(crate) const fn code(self) -> u32 {
        match self {
            Self::Volume => ON_VOLUME,
            Self::Drive => ON_DRIVE,
        }
    }

    /// The area that a number stands for.
    pub(crate) const fn of_code(code: u32) -> Option<Self> {
        match code {
            ON_VOLUME => Some(Self::Volume),
            ON_DRIVE => Some(Self::Drive),
            _ => None,
        }
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Volume => "volume",
            Self::Drive => "drive",
        })
    }
}

/// A place for staged bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// On which device.
    pub area: Area,
    /// Where on it.
    pub extent: Extent,
}

/// Where a block of the index is, and what it must contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRef {
    /// Where.
    pub spot: Spot,
    /// SHA-256 of the block.
    pub digest: [u8; 32],
}

impl BlockRef {
    /// Length of a reference.
    pub const LEN: usize = 48;

    /// The reference as it is stored.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let Spot { area, extent } = self.spot;
        let len = u32::try_from(extent.len_bytes()).unwrap_or(u32::MAX);
        bytes[..4].copy_from_slice(&area.code().to_le_bytes());
        bytes[4..8].copy_from_slice(&len.to_le_bytes());
        bytes[8..16].copy_from_slice(&extent.offset_bytes().to_le_bytes());
        bytes[16..].copy_from_slice(&self.digest);
        bytes
    }

    /// The reference in `bytes`; `None` when they refer to nothing that could be a block.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..Self::LEN)?;
        let len_bytes = u64::from(le32(bytes, 4));
        let extent = Extent::new(le64(bytes, 8), len_bytes)?;
        if !(BLOCK_HEADER_LEN as u64..=BLOCK_LEN_MAX as u64).contains(&len_bytes) {
            return None;
        }
        let area = Area::of_code(le32(bytes, 0))?;
        let digest = bytes[16..].try_into().ok()?;
        Some(Self {
            spot: Spot { area, extent },
            digest,
        })
    }
}

/// What an attempt at an update has staged so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StagedPart {
    /// Which run.
    pub run: Uuid,
    /// The last block of its index.
    pub index: BlockRef,
}
