//! Times of a file: `$STANDARD_INFORMATION`.
//!
//! Linux-NTFS documentation, "$STANDARD_INFORMATION" and "Filetime":
//! <https://flatcap.github.io/linux-ntfs/ntfs/attributes/standard_information.html>.

use crate::bytes::le64;
use crate::filesystem::files::Stamp;

/// Units of 100 ns.
const UNITS_PER_SECOND: u64 = 10_000_000;
/// From 1601, where NTFS begins to count, to 1970.
const EPOCH_SECONDS: i64 = 11_644_473_600;

/// Times of a file, in units of 100 ns since 1601.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    /// When it was made.
    pub(super) made: u64,
    /// When its contents were written last.
    pub(super) written: u64,
    /// When its record changed last.
    pub(super) record_changed: u64,
}

impl Times {
    /// The times in the value of a `$STANDARD_INFORMATION`; `None` when it is too short for them.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        (value.len() >= 0x30).then(|| Self {
            made: le64(value, 0x00),
            written: le64(value, 0x08),
            record_changed: le64(value, 0x10),
        })
    }
}

/// A time as all filesystems have it.
pub(super) fn stamp(units: u64) -> Stamp {
    let seconds = i64::try_from(units / UNITS_PER_SECOND).unwrap_or(i64::MAX);
    let nanoseconds = (units % UNITS_PER_SECOND) * 100;
    Stamp {
        seconds: seconds.saturating_sub(EPOCH_SECONDS),
        nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::{Times, stamp};

    #[test]
    fn times_count_from_1601() {
        let found = stamp(132_223_104_000_000_003);
        assert_eq!((found.seconds, found.nanoseconds), (1_577_836_800, 300));
        assert_eq!(stamp(0).seconds, -11_644_473_600);
        assert!(stamp(u64::MAX).seconds > 0);
    }

    #[test]
    fn a_short_value_has_no_times() {
        let mut value = [0; 0x30];
        value[0x10] = 7;
        assert_eq!(Times::parse(&value).map(|it| it.record_changed), Some(7));
        assert_eq!(Times::parse(&value[..0x2f]), None);
    }
}
