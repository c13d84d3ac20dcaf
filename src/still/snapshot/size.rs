//! How much a snapshot sets aside for writes to its origin meanwhile.

use klon_partition::planner::parse_size;
use std::fmt;
use std::str::FromStr;

/// How much that is of the origin when nobody says.
const USUAL_PERCENT: u64 = 20;
/// A snapshot with less room would overflow before anything is read.
const LEAST_BYTES: u64 = 4 << 20;

/// How much room a snapshot has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotSize {
    /// So many bytes.
    Bytes(u64),
    /// A share of its origin.
    Percent(u64),
}

/// What is set aside for a snapshot, and whether that is less than klon would like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// In bytes; a whole number of extents of the group.
    pub bytes: u64,
    /// Whether the group had no more.
    pub is_rest: bool,
}

/// Why a snapshot has no reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLittle {
    /// What was wanted at least, in bytes.
    pub wanted_bytes: u64,
}

impl SnapshotSize {
    fn of(self, origin_bytes: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            // No volume is so large that this overflows; if one were, the group would have no such room.
            Self::Percent(percent) => (origin_bytes / 100).saturating_mul(percent),
        }
    }
}

/// The reserve for a snapshot of a volume of `origin_bytes`, in a group that has so much free, in extents of so
/// many bytes.
///
/// # Errors
/// [`TooLittle`] when what was `asked` for is not there, or, where nobody asked, next to nothing is.
pub fn reserve(
    asked: Option<SnapshotSize>,
    origin_bytes: u64,
    free_bytes: u64,
    extent_bytes: u64,
) -> Result<Reserve, TooLittle> {
    let extent_bytes = extent_bytes.max(1);
    let usual = SnapshotSize::Percent(USUAL_PERCENT);
    let wanted_bytes = asked.unwrap_or(usual).of(origin_bytes).max(LEAST_BYTES);
    let wanted_bytes = wanted_bytes
        .div_ceil(extent_bytes)
        .saturating_mul(extent_bytes);
    if wanted_bytes <= free_bytes {
        return Ok(Reserve {
            bytes: wanted_bytes,
            is_rest: false,
        });
    }
    let rest_bytes = free_bytes / extent_bytes * extent_bytes;
    match asked {
        None if rest_bytes >= LEAST_BYTES => Ok(Reserve {
            bytes: rest_bytes,
            is_rest: true,
        }),
        None => Err(TooLittle {
            wanted_bytes: LEAST_BYTES,
        }),
        Some(_) => Err(TooLittle { wanted_bytes }),
    }
}

impl FromStr for SnapshotSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(percent) = text.strip_suffix('%') else {
            let bytes = parse_size(text).map_err(|error| error.to_string())?;
            return match bytes {
                0 => Err("a snapshot needs room".to_owned()),
                bytes => Ok(Self::Bytes(bytes)),
            };
        };
        let percent = percent
            .parse()
            .ok()
            .filter(|percent| (1..=100).contains(percent));
        let percent = percent.map(Self::Percent);
        percent.ok_or_else(|| "expected 1% to 100%, or a size".to_owned())
    }
}

impl fmt::Display for SnapshotSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Reserve, SnapshotSize, TooLittle, reserve};

    const EXTENT: u64 = 4 << 20;
    const GIB: u64 = 1 << 30;

    #[test]
    fn sizes_are_bytes_or_a_share() {
        assert_eq!("4G".parse(), Ok(SnapshotSize::Bytes(4 << 30)));
        assert_eq!("30%".parse(), Ok(SnapshotSize::Percent(30)));
        for wrong in ["0", "0%", "101%", "-1%", "%", "x", ""] {
            assert!(wrong.parse::<SnapshotSize>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_snapshot_has_a_fifth_of_its_origin_or_what_there_is() {
        let of = |free| reserve(None, 10 * GIB, free, EXTENT);
        let whole = Reserve {
            bytes: 2 * GIB,
            is_rest: false,
        };
        assert_eq!(of(3 * GIB), Ok(whole));
        assert_eq!(of(2 * GIB), Ok(whole));
        let rest = Reserve {
            bytes: GIB - EXTENT,
            is_rest: true,
        };
        assert_eq!(of(GIB - 1), Ok(rest));
        let none = TooLittle {
            wanted_bytes: EXTENT,
        };
        assert_eq!(of(EXTENT - 1), Err(none));
    }

    #[test]
    fn what_was_asked_for_is_given_or_refused() {
        let of = |size: &str, free| reserve(Some(size.parse().unwrap()), GIB, free, EXTENT);
        assert_eq!(of("5M", GIB).unwrap().bytes, 2 * EXTENT);
        assert_eq!(of("1K", GIB).unwrap().bytes, EXTENT);
        assert_eq!(of("50%", GIB).unwrap().bytes, GIB / 2);
        let wanted_bytes = GIB / 2;
        assert_eq!(of("512M", GIB / 2 - 1), Err(TooLittle { wanted_bytes }));
    }
}
