//! The figures of a run that its summary, its record and the sum of several runs share.

use serde::{Deserialize, Serialize};
use std::iter::Sum;

/// How much a run, or several, read and wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Bytes of the source in use.
    pub used_bytes: u64,
    /// Bytes read from the source: what was copied or compared, and what was audited.
    pub read_source_bytes: u64,
    /// Bytes read from the target.
    pub read_target_bytes: u64,
    /// Bytes in 4 KiB blocks that differed (in a full run: all in use).
    pub changed_bytes: u64,
    /// Bytes written to the target in place or made zero there, the unfinished mark included.
    pub written_bytes: u64,
    /// Bytes written to free room of the target first; 0 in records of the first version.
    #[serde(default)]
    pub staged_bytes: u64,
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |all, one| Self {
            used_bytes: all.used_bytes.saturating_add(one.used_bytes),
            read_source_bytes: all.read_source_bytes.saturating_add(one.read_source_bytes),
            read_target_bytes: all.read_target_bytes.saturating_add(one.read_target_bytes),
            changed_bytes: all.changed_bytes.saturating_add(one.changed_bytes),
            written_bytes: all.written_bytes.saturating_add(one.written_bytes),
            staged_bytes: all.staged_bytes.saturating_add(one.staged_bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn runs_are_summed_field_by_field() {
        let one = Tally {
            used_bytes: 1,
            read_source_bytes: 2,
            read_target_bytes: 3,
            changed_bytes: 4,
            written_bytes: 5,
            staged_bytes: u64::MAX,
        };
        let all: Tally = [one, one].into_iter().sum();
        let expected = Tally {
            used_bytes: 2,
            read_source_bytes: 4,
            read_target_bytes: 6,
            changed_bytes: 8,
            written_bytes: 10,
            staged_bytes: u64::MAX,
        };
        assert_eq!(all, expected);
    }
}
