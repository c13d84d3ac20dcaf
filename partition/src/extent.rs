//! Byte ranges: [`Extent`] and [`ExtentMap`], the one currency for "which bytes".

mod map;

pub use map::{ExtentMap, ExtentMapBuilder};

use serde::{Deserialize, Serialize};
use std::fmt;

/// A non-empty range of bytes `[offset, offset + len)` whose end does not overflow a `u64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u64, u64)", into = "(u64, u64)")]
pub struct Extent {
    offset_bytes: u64,
    len_bytes: u64,
}

impl Extent {
    /// The range of `len_bytes` bytes from `offset_bytes`; `None` when it is empty or its end
    /// does not fit a `u64`.
    #[must_use]
    pub const fn new(offset_bytes: u64, len_bytes: u64) -> Option<Self> {
        if len_bytes == 0 || offset_bytes.checked_add(len_bytes).is_none() {
            return None;
        }
        Some(Self {
            offset_bytes,
            len_bytes,
        })
    }

    /// The range `[start_bytes, end_bytes)`; `None` when it is empty.
    #[must_use]
    pub const fn between(start_bytes: u64, end_bytes: u64) -> Option<Self> {
        match end_bytes.checked_sub(start_bytes) {
            Some(len_bytes) => Self::new(start_bytes, len_bytes),
            None => None,
        }
    }

    /// First byte of the range.
    #[must_use]
    pub const fn offset_bytes(self) -> u64 {
        self.offset_bytes
    }

    /// Length of the range, never 0.
    #[must_use]
    pub const fn len_bytes(self) -> u64 {
        self.len_bytes
    }

    /// One past the last byte of the range.
    #[must_use]
    pub const fn end_bytes(self) -> u64 {
        self.offset_bytes + self.len_bytes
    }

    /// The bytes that are in both ranges.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        let start_bytes = self.offset_bytes.max(other.offset_bytes);
        Self::between(start_bytes, self.end_bytes().min(other.end_bytes()))
    }

    /// Whether every byte of `other` is in this range.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.offset_bytes <= other.offset_bytes && other.end_bytes() <= self.end_bytes()
    }

    /// Whether the two ranges share a byte.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.intersection(other).is_some()
    }

    /// The same range `delta_bytes` further on; `None` when its end would overflow.
    #[must_use]
    pub const fn shifted(self, delta_bytes: u64) -> Option<Self> {
        match self.offset_bytes.checked_add(delta_bytes) {
            Some(offset_bytes) => Self::new(offset_bytes, self.len_bytes),
            None => None,
        }
    }

    /// The range cut at multiples of `size_bytes` (not 0), in order.
    pub fn split(self, size_bytes: u64) -> impl Iterator<Item = Self> {
        let mut start_bytes = self.offset_bytes;
        std::iter::from_fn(move || {
            let boundary = (start_bytes / size_bytes)
                .saturating_add(1)
                .saturating_mul(size_bytes);
            let piece = Self::between(start_bytes, boundary.min(self.end_bytes()))?;
            start_bytes = piece.end_bytes();
            Some(piece)
        })
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}+{:#x}", self.offset_bytes, self.len_bytes)
    }
}

impl TryFrom<(u64, u64)> for Extent {
    type Error = String;

    fn try_from((offset_bytes, len_bytes): (u64, u64)) -> Result<Self, String> {
        Self::new(offset_bytes, len_bytes)
            .ok_or_else(|| format!("extent [{offset_bytes}, {len_bytes}] is empty or overflows"))
    }
}

impl From<Extent> for (u64, u64) {
    fn from(extent: Extent) -> Self {
        (extent.offset_bytes, extent.len_bytes)
    }
}
