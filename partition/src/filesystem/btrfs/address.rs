//! Logical addresses: the filesystem's own address space, which chunks map to the device.
//!
//! A place on the device is an [`Extent`], as everywhere in this crate. A logical address has types
//! of its own, so that it can't be taken for a place on the device.

use crate::extent::{Extent, ExtentMap, ExtentMapBuilder};
use std::fmt;

/// A logical address in bytes (`bytenr`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Logical(u64);

impl Logical {
    /// The first address.
    pub(super) const ZERO: Self = Self(0);

    pub(super) const fn new(bytenr: u64) -> Self {
        Self(bytenr)
    }

    pub(super) const fn bytenr(self) -> u64 {
        self.0
    }

    /// The address `bytes` further on; `None` when that overflows.
    pub(super) fn checked_add(self, bytes: u64) -> Option<Self> {
        self.0.checked_add(bytes).map(Self)
    }

    /// The range of `len_bytes` from here; `None` when it is empty or its end overflows.
    pub(super) fn range(self, len_bytes: u64) -> Option<LogicalRange> {
        Extent::new(self.0, len_bytes).map(LogicalRange)
    }
}

impl fmt::Display for Logical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Logical addresses that follow each other; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogicalRange(Extent);

impl LogicalRange {
    /// The range from `start` up to `end`; `None` when it is empty.
    pub(super) fn between(start: Logical, end: Logical) -> Option<Self> {
        Extent::between(start.0, end.0).map(Self)
    }

    pub(super) const fn start(self) -> Logical {
        Logical(self.0.offset_bytes())
    }

    /// One past the last address.
    pub(super) const fn end(self) -> Logical {
        Logical(self.0.end_bytes())
    }

    pub(super) const fn len_bytes(self) -> u64 {
        self.0.len_bytes()
    }

    pub(super) const fn contains(self, other: Self) -> bool {
        self.0.contains(other.0)
    }

    /// Whether it starts and ends at multiples of `unit_bytes`.
    pub(super) const fn is_aligned(self, unit_bytes: u64) -> bool {
        self.0.offset_bytes().is_multiple_of(unit_bytes)
            && self.0.len_bytes().is_multiple_of(unit_bytes)
    }

    /// How far after the start of `self` the range `inner` starts; `None` when `self` doesn't hold
    /// all of it.
    pub(super) const fn offset_of(self, inner: Self) -> Option<u64> {
        if !self.contains(inner) {
            return None;
        }
        inner.start().0.checked_sub(self.start().0)
    }
}

impl fmt::Display for LogicalRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of logical addresses.
#[derive(Clone, Debug, Default)]
pub(super) struct LogicalMap(ExtentMap);

impl LogicalMap {
    /// Whether one of the addresses is in `range`.
    pub(super) fn overlaps(&self, range: LogicalRange) -> bool {
        self.0.overlaps(range.0)
    }

    /// The parts in `window`, in order.
    pub(super) fn within(&self, window: LogicalRange) -> impl Iterator<Item = LogicalRange> + '_ {
        self.0.within(window.0).map(LogicalRange)
    }

    /// The same addresses in at most `ranges_max` ranges: small gaps between them are closed.
    pub(super) fn bounded(&self, ranges_max: usize) -> Self {
        let mut builder = LogicalMapBuilder::with_limit(ranges_max);
        self.0.iter().for_each(|range| builder.0.push(range));
        builder.finish()
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0))
    }
}

impl FromIterator<LogicalRange> for LogicalMap {
    fn from_iter<I: IntoIterator<Item = LogicalRange>>(ranges: I) -> Self {
        Self(ranges.into_iter().map(|range| range.0).collect())
    }
}

/// Makes a [`LogicalMap`] out of ranges in ascending order.
pub(super) struct LogicalMapBuilder(ExtentMapBuilder);

impl LogicalMapBuilder {
    /// A builder that closes the smallest gaps when there are more than `ranges_max` ranges.
    pub(super) const fn with_limit(ranges_max: usize) -> Self {
        Self(ExtentMapBuilder::with_limit(ranges_max))
    }

    pub(super) fn push(&mut self, range: LogicalRange) {
        self.0.push(range.0);
    }

    pub(super) fn finish(self) -> LogicalMap {
        LogicalMap(self.0.finish())
    }
}
