//! A sorted, disjoint, coalesced set of extents, and its algebra.

use super::Extent;
use serde::{Deserialize, Serialize};

/// A set of bytes, kept as sorted, disjoint extents that do not touch each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ExtentMap(Vec<Extent>);

impl ExtentMap {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Every byte of a device of `size_bytes`.
    #[must_use]
    pub fn whole(size_bytes: u64) -> Self {
        Self(Extent::new(0, size_bytes).into_iter().collect())
    }

    /// The extents in order.
    #[must_use]
    pub fn extents(&self) -> &[Extent] {
        &self.0
    }

    /// The extents in order.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Extent> + ExactSizeIterator {
        self.0.iter().copied()
    }

    /// Whether no byte is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes are in the set.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        // Disjoint ranges below 2^64 sum to at most 2^64 - 1.
        self.0.iter().map(|extent| extent.len_bytes()).sum()
    }

    /// One past the last byte of the set; 0 when it is empty.
    #[must_use]
    pub fn end_bytes(&self) -> u64 {
        self.0.last().map_or(0, |extent| extent.end_bytes())
    }

    /// Whether every byte of `extent` is in the set.
    #[must_use]
    pub fn contains(&self, extent: Extent) -> bool {
        self.first_ending_after(extent.offset_bytes())
            .is_some_and(|found| found.contains(extent))
    }

    /// Whether any byte of `extent` is in the set.
    #[must_use]
    pub fn overlaps(&self, extent: Extent) -> bool {
        self.first_ending_after(extent.offset_bytes())
            .is_some_and(|found| found.overlaps(extent))
    }

    fn first_ending_after(&self, offset_bytes: u64) -> Option<Extent> {
        self.0.get(self.index_ending_after(offset_bytes)).copied()
    }

    fn index_ending_after(&self, offset_bytes: u64) -> usize {
        self.0
            .partition_point(|extent| extent.end_bytes() <= offset_bytes)
    }

    /// The part of the set that lies in `window`, in order, without building a map.
    pub fn within(&self, window: Extent) -> impl Iterator<Item = Extent> + '_ {
        self.0[self.index_ending_after(window.offset_bytes())..]
            .iter()
            .map_while(move |extent| extent.intersection(window))
    }

    /// The part of the set that lies in `part`, with positions counted from the start of `part`.
    #[must_use]
    pub fn in_part(&self, part: Extent) -> Self {
        let start_bytes = part.offset_bytes();
        self.within(part)
            .filter_map(|found| {
                let offset_bytes = found.offset_bytes().checked_sub(start_bytes)?;
                Extent::new(offset_bytes, found.len_bytes())
            })
            .collect()
    }

    /// Bytes that are in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all: Vec<Extent> = Vec::with_capacity(self.0.len() + other.0.len());
        all.extend(&self.0);
        all.extend(&other.0);
        all.into_iter().collect()
    }

    /// Bytes that are in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut common = Vec::new();
        while let (Some(&&a), Some(&&b)) = (left.peek(), right.peek()) {
            common.extend(a.intersection(b));
            if a.end_bytes() <= b.end_bytes() {
                left.next()
            } else {
                right.next()
            };
        }
        Self(common)
    }

    /// Bytes of this set that are not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let end_bytes = self.end_bytes();
        self.intersection(&other.complement(end_bytes))
    }

    /// Bytes of a device of `size_bytes` that are not in this set.
    #[must_use]
    pub fn complement(&self, size_bytes: u64) -> Self {
        let mut gaps = Vec::with_capacity(self.0.len() + 1);
        let mut start_bytes = 0;
        for extent in &self.0 {
            gaps.extend(Extent::between(
                start_bytes,
                extent.offset_bytes().min(size_bytes),
            ));
            start_bytes = extent.end_bytes();
        }
        gaps.extend(Extent::between(start_bytes, size_bytes));
        Self(gaps)
    }

    /// The set moved up by `delta_bytes`; what would overflow is dropped.
    #[must_use]
    pub fn shifted(&self, delta_bytes: u64) -> Self {
        Self(
            self.0
                .iter()
                .filter_map(|extent| extent.shifted(delta_bytes))
                .collect(),
        )
    }

    /// The set grown to multiples of `unit_bytes` (not 0), but not past `size_bytes`.
    #[must_use]
    pub fn aligned_out(&self, unit_bytes: u64, size_bytes: u64) -> Self {
        self.0
            .iter()
            .filter_map(|extent| {
                let start_bytes = extent.offset_bytes() / unit_bytes * unit_bytes;
                let end_bytes = extent
                    .end_bytes()
                    .div_ceil(unit_bytes)
                    .saturating_mul(unit_bytes);
                Extent::between(start_bytes, end_bytes.min(size_bytes))
            })
            .collect()
    }
}

impl From<Extent> for ExtentMap {
    fn from(extent: Extent) -> Self {
        Self(vec![extent])
    }
}

/// Extents in any order, overlapping or not.
impl FromIterator<Extent> for ExtentMap {
    fn from_iter<I: IntoIterator<Item = Extent>>(extents: I) -> Self {
        let mut sorted: Vec<Extent> = extents.into_iter().collect();
        sorted.sort_unstable();
        let mut builder = ExtentMapBuilder::unbounded();
        for extent in sorted {
            builder.push(extent);
        }
        builder.finish()
    }
}

impl<'de> Deserialize<'de> for ExtentMap {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Extent>::deserialize(deserializer)?
            .into_iter()
            .collect())
    }
}

/// Builds an [`ExtentMap`] from extents in ascending order with bounded memory.
///
/// A hostile or very fragmented filesystem could make a map of billions of extents. When more
/// than the limit are held, the smallest gaps are closed: the map grows by bytes that were not
/// pushed, which for a map of *used* bytes is the safe direction, and never loses one.
#[derive(Debug)]
pub struct ExtentMapBuilder {
    extents: Vec<Extent>,
    extents_max: usize,
    gap_bytes: u64,
}

impl ExtentMapBuilder {
    /// Enough for any filesystem in practice; 32 MiB of memory.
    pub const EXTENTS_MAX: usize = 1 << 21;

    /// A builder that closes small gaps beyond [`Self::EXTENTS_MAX`] extents.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_limit(Self::EXTENTS_MAX)
    }

    /// A builder that closes small gaps beyond `extents_max` extents (at least 1).
    #[must_use]
    pub const fn with_limit(extents_max: usize) -> Self {
        Self {
            extents: Vec::new(),
            extents_max,
            gap_bytes: 0,
        }
    }

    const fn unbounded() -> Self {
        Self::with_limit(usize::MAX)
    }

    /// Adds an extent that starts no earlier than the one before.
    pub fn push(&mut self, extent: Extent) {
        if !self.merge(extent) {
            self.extents.push(extent);
            while self.extents.len() > self.extents_max.max(1) {
                self.coarsen();
            }
        }
    }

    fn merge(&mut self, extent: Extent) -> bool {
        let Some(last) = self.extents.last_mut() else {
            return false;
        };
        debug_assert!(
            last.offset_bytes() <= extent.offset_bytes(),
            "extents out of order"
        );
        if extent.offset_bytes() > last.end_bytes().saturating_add(self.gap_bytes) {
            return false;
        }
        let end_bytes = last.end_bytes().max(extent.end_bytes());
        if let Some(merged) = Extent::between(last.offset_bytes(), end_bytes) {
            *last = merged;
        }
        true
    }

    fn coarsen(&mut self) {
        self.gap_bytes = self.gap_bytes.saturating_mul(2).max(4096);
        let fine = std::mem::take(&mut self.extents);
        let mut kept = 0;
        // In place: the coarse list is never longer than what was read of the fine one.
        let mut coarse = fine;
        for index in 0..coarse.len() {
            let extent = coarse[index];
            let joins = kept > 0
                && extent.offset_bytes()
                    <= coarse[kept - 1].end_bytes().saturating_add(self.gap_bytes);
            if joins {
                let start_bytes = coarse[kept - 1].offset_bytes();
                let end_bytes = coarse[kept - 1].end_bytes().max(extent.end_bytes());
                if let Some(merged) = Extent::between(start_bytes, end_bytes) {
                    coarse[kept - 1] = merged;
                }
            } else {
                coarse[kept] = extent;
                kept += 1;
            }
        }
        coarse.truncate(kept);
        self.extents = coarse;
    }

    /// The map of everything pushed.
    #[must_use]
    pub fn finish(self) -> ExtentMap {
        ExtentMap(self.extents)
    }
}

impl Default for ExtentMapBuilder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
