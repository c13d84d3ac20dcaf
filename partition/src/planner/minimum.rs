//! How small the filesystem of a source can be made, and how large the clone is that is called `fit`.

use serde::Serialize;

/// What a clone that fits has beside the minimum: this part of it, …
const ROOM_PART: u64 = 10;
/// … and at least so much. Two kernels with their initial RAM disks find room in it.
const ROOM_LEAST_BYTES: u64 = 256 << 20;
/// Such a clone has whole mebibytes.
const STEP_BYTES: u64 = 1 << 20;

/// How small the filesystem of a source can be made for its clone. The planner asks nobody: the caller finds it
/// out, by the filesystem's own tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Minimum {
    /// To so many bytes, as the tool says.
    Known(u64),
    /// It can be made smaller, and it is not known how far: why.
    Unknown(String),
    /// It can't be made smaller: why, and what can be done instead.
    Never(String),
}

impl Minimum {
    /// The least size, where it is known.
    #[must_use]
    pub const fn bytes(&self) -> Option<u64> {
        match self {
            Self::Known(bytes) => Some(*bytes),
            Self::Unknown(_) | Self::Never(_) => None,
        }
    }

    /// Why that is not known.
    #[must_use]
    pub fn unknown_because(&self) -> Option<&str> {
        match self {
            Self::Known(_) => None,
            Self::Unknown(why) | Self::Never(why) => Some(why),
        }
    }

    /// The size of a clone that fits: the minimum and a tenth of it, at least 256 MiB more, in whole
    /// mebibytes, and no more than `end_bytes`, where the filesystem ends as it is. `None` where the minimum is not
    /// known.
    #[must_use]
    pub fn fit_bytes(&self, end_bytes: u64) -> Option<u64> {
        let minimum_bytes = self.bytes()?;
        let room_bytes = (minimum_bytes / ROOM_PART).max(ROOM_LEAST_BYTES);
        let fit_bytes = minimum_bytes.saturating_add(room_bytes);
        let whole = fit_bytes.checked_next_multiple_of(STEP_BYTES);
        Some(whole.unwrap_or(u64::MAX).min(end_bytes))
    }
}

/// How large a volume is, could be, and becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VolumeSizes {
    /// Name of the clone.
    pub volume: String,
    /// What is in use of the source; `None` when that was not found out.
    pub used_bytes: Option<u64>,
    /// How small its filesystem can be made, by its own tool; `None` when that is not known.
    pub minimum_bytes: Option<u64>,
    /// Why that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_unknown_because: Option<String>,
    /// Size of the source.
    pub source_bytes: u64,
    /// Size of the clone.
    pub size_bytes: u64,
    /// Whether the filesystem is made smaller for it.
    pub is_shrunk: bool,
}

#[cfg(test)]
mod tests {
    use super::Minimum;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    #[test]
    fn what_fits_has_room_and_is_no_larger_than_the_filesystem() {
        let fit = |minimum, end| Minimum::Known(minimum).fit_bytes(end);
        assert_eq!(fit(10 * GIB, 100 * GIB), Some(11 * GIB));
        assert_eq!(fit(100 * MIB + 1, 100 * GIB), Some(357 * MIB));
        assert_eq!(fit(10 * GIB, 10 * GIB + 7), Some(10 * GIB + 7));
        assert_eq!(fit(u64::MAX, u64::MAX), Some(u64::MAX));
        for unknown in [Minimum::Unknown, Minimum::Never] {
            assert_eq!(unknown("no tool".to_owned()).fit_bytes(GIB), None);
        }
    }
}
