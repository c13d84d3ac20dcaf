//! A device counted in sectors, as partition tables count it.

use crate::device::Geometry;
use crate::extent::Extent;

/// A device as `count` sectors of `bytes` bytes. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sectors {
    bytes: u32,
    count: u64,
}

impl Sectors {
    /// `geometry` in sectors of `sector_bytes`; `None` when no table counts in those or when the
    /// device does not hold a whole one.
    pub(super) const fn of(geometry: Geometry, sector_bytes: u32) -> Option<Self> {
        if !sector_bytes.is_power_of_two() || sector_bytes < 512 || sector_bytes > 4096 {
            return None;
        }
        let count = geometry.size_bytes / sector_bytes as u64;
        if count == 0 {
            return None;
        }
        Some(Self {
            bytes: sector_bytes,
            count,
        })
    }

    /// The same sectors on a device that has at least `count` of them.
    pub(super) const fn at_least(self, count: u64) -> Self {
        if count > self.count {
            return Self { count, ..self };
        }
        self
    }

    /// Bytes in a sector: 512, 1024, 2048 or 4096.
    pub(super) const fn bytes(self) -> u32 {
        self.bytes
    }

    /// Bytes in a sector, as a length in memory.
    pub(super) const fn len(self) -> usize {
        self.bytes as usize
    }

    /// Whole sectors on the device, at least 1.
    pub(super) const fn count(self) -> u64 {
        self.count
    }

    /// The last whole sector.
    pub(super) const fn last_lba(self) -> u64 {
        self.count.saturating_sub(1)
    }

    /// Where sector `lba` starts; saturates, so that nonsense stays off the device.
    pub(super) const fn offset_bytes(self, lba: u64) -> u64 {
        lba.saturating_mul(self.bytes as u64)
    }

    /// The sector that byte `offset_bytes` lies in.
    pub(super) const fn lba(self, offset_bytes: u64) -> u64 {
        offset_bytes / self.bytes as u64
    }

    /// The sectors `first_lba..=last_lba`; `None` when that is empty or not on the device.
    pub(super) const fn extent(self, first_lba: u64, last_lba: u64) -> Option<Extent> {
        if first_lba > last_lba || last_lba >= self.count {
            return None;
        }
        Extent::between(
            self.offset_bytes(first_lba),
            self.offset_bytes(last_lba.saturating_add(1)),
        )
    }

    /// `count` sectors from `lba`; `None` when that is empty or not on the device.
    pub(super) const fn run(self, lba: u64, count: u64) -> Option<Extent> {
        match lba.checked_add(count) {
            Some(end_lba) if count > 0 => self.extent(lba, end_lba.saturating_sub(1)),
            _ => None,
        }
    }

    /// Sectors needed for `len_bytes` bytes.
    pub(super) const fn covering(self, len_bytes: u64) -> u64 {
        len_bytes.div_ceil(self.bytes as u64)
    }

    /// Whether both ends of `extent` lie between sectors.
    pub(super) const fn is_aligned(self, extent: Extent) -> bool {
        let bytes = self.bytes as u64;
        extent.offset_bytes().is_multiple_of(bytes) && extent.len_bytes().is_multiple_of(bytes)
    }
}
