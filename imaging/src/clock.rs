//! The time of day and durations, as records and images keep them.

use klon_partition::filesystem::files::Stamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970 UTC; 0 on a machine whose clock stands before that.
#[must_use]
pub fn unix_seconds_now() -> u64 {
    since_1970(SystemTime::now()).as_secs()
}

/// The time since 1970 UTC at a moment; none at a moment before that.
#[must_use]
pub fn since_1970(moment: SystemTime) -> Duration {
    moment.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// This moment, as files are stamped with it.
pub(crate) fn stamp_now() -> Stamp {
    stamp_of(SystemTime::now())
}

/// A moment, as files are stamped with it.
pub(crate) fn stamp_of(moment: SystemTime) -> Stamp {
    let since = since_1970(moment);
    Stamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: since.subsec_nanos(),
    }
}

/// Milliseconds of a duration; one too long for 64 bits becomes the largest number.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
