//! The time of day and durations, as records and images keep them.

use klon_partition::filesystem::files::Stamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970 UTC; 0 on a machine whose clock stands before that.
#[must_use]
pub fn unix_seconds_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// This moment, as files are stamped with it.
pub(crate) fn stamp_now() -> Stamp {
    stamp_of(SystemTime::now())
}

/// A moment, as files are stamped with it.
pub(crate) fn stamp_of(moment: SystemTime) -> Stamp {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    Stamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: since.subsec_nanos(),
    }
}

/// Milliseconds of a duration; one too long for 64 bits becomes the largest number.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
