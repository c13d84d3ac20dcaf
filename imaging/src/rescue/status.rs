//! How far the rescue of each byte of a source is.

use klon_partition::{Extent, ExtentMap};
use std::collections::BTreeMap;

/// The most runs of a map. A source with more of them is not examined more closely.
pub(super) const RUNS_MAX: usize = 1 << 20;

/// How far the rescue of a byte is, in the terms of GNU ddrescue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Not read yet.
    NonTried,
    /// A large read failed.
    NonTrimmed,
    /// A smaller read failed.
    NonScraped,
    /// A read of its sector failed.
    Bad,
    /// It is on the target.
    Finished,
}

impl Status {
    /// As a map file has it.
    pub(super) const fn symbol(self) -> char {
        match self {
            Self::NonTried => '?',
            Self::NonTrimmed => '*',
            Self::NonScraped => '/',
            Self::Bad => '-',
            Self::Finished => '+',
        }
    }

    /// The status of a symbol.
    pub(super) fn of(symbol: &str) -> Option<Self> {
        let all = [
            Self::NonTried,
            Self::NonTrimmed,
            Self::NonScraped,
            Self::Bad,
            Self::Finished,
        ];
        let mut chars = symbol.chars();
        let (first, None) = (chars.next()?, chars.next()) else {
            return None;
        };
        all.into_iter().find(|status| status.symbol() == first)
    }
}

/// The status of every byte of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StatusMap {
    /// Where each run begins; neighbors differ.
    runs: BTreeMap<u64, Status>,
    size_bytes: u64,
}

impl StatusMap {
    /// A volume of `size_bytes`. Nothing of it was tried.
    pub(super) fn new(size_bytes: u64) -> Self {
        Self {
            runs: BTreeMap::from([(0, Status::NonTried)]),
            size_bytes,
        }
    }

    /// Size of the volume.
    pub(super) const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn at(&self, offset_bytes: u64) -> Status {
        let run = self.runs.range(..=offset_bytes).next_back();
        run.map_or(Status::NonTried, |(_, &status)| status)
    }

    /// Gives every byte of `extent` this status; what lies beyond the volume is left out.
    pub(super) fn set(&mut self, extent: Extent, status: Status) {
        let start_bytes = extent.offset_bytes();
        let end_bytes = extent.end_bytes().min(self.size_bytes);
        if start_bytes >= end_bytes {
            return;
        }
        let after = (end_bytes < self.size_bytes).then(|| self.at(end_bytes));
        let before = start_bytes.checked_sub(1).map(|before| self.at(before));
        let within: Vec<u64> = self
            .runs
            .range(start_bytes..=end_bytes)
            .map(|(&start, _)| start)
            .filter(|&start| start < self.size_bytes)
            .collect();
        for start in within {
            self.runs.remove(&start);
        }
        if before != Some(status) {
            self.runs.insert(start_bytes, status);
        }
        if let Some(after) = after.filter(|&after| after != status) {
            self.runs.insert(end_bytes, after);
        }
    }

    /// Gives what has the status `from` in `extent` the status `to`.
    pub(super) fn replace(&mut self, extent: Extent, from: Status, to: Status) {
        let found: Vec<Extent> = self.with(from).within(extent).collect();
        for part in found {
            self.set(part, to);
        }
    }

    /// The runs in order.
    pub(super) fn runs(&self) -> impl Iterator<Item = (Extent, Status)> + '_ {
        let ends = self.runs.keys().skip(1).copied();
        let ends = ends.chain(std::iter::once(self.size_bytes));
        self.runs
            .iter()
            .zip(ends)
            .filter_map(|((&start, &status), end)| Some((Extent::between(start, end)?, status)))
    }

    /// All bytes of a status.
    pub(super) fn with(&self, status: Status) -> ExtentMap {
        self.runs()
            .filter(|&(_, found)| found == status)
            .map(|(extent, _)| extent)
            .collect()
    }

    /// Whether it is not to be made of more runs.
    pub(super) fn is_full(&self) -> bool {
        self.runs.len() >= RUNS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::{Status, StatusMap};
    use klon_partition::Extent;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    const ALL: [Status; 5] = [
        Status::NonTried,
        Status::NonTrimmed,
        Status::NonScraped,
        Status::Bad,
        Status::Finished,
    ];

    proptest! {
        #[test]
        fn runs_are_what_an_array_would_be(changes in proptest::collection::vec((0..60_u64, 1..30_u64, 0..5_usize), 0..40)) {
            let mut map = StatusMap::new(64);
            let mut array = [Status::NonTried; 64];
            for (start, len, status) in changes {
                map.set(Extent::new(start, len).unwrap(), ALL[status]);
                for byte in start..(start + len).min(64) {
                    array[byte as usize] = ALL[status];
                }
            }
            let mut last = None;
            let mut end = 0;
            for (extent, status) in map.runs() {
                prop_assert_eq!(extent.offset_bytes(), end);
                end = extent.end_bytes();
                prop_assert!(last != Some(status));
                last = Some(status);
                for byte in extent.offset_bytes()..end {
                    prop_assert_eq!(array[byte as usize], status);
                }
            }
            prop_assert_eq!(end, 64);
        }
    }

    #[test]
    fn symbols_read_back() {
        for status in ALL {
            assert_eq!(Status::of(&status.symbol().to_string()), Some(status));
        }
        assert_eq!(Status::of("x"), None);
        assert_eq!(Status::of("++"), None);
    }
}
