//! The time of day and durations, as records and images keep them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970 UTC; 0 on a machine whose clock stands before that.
#[must_use]
pub fn unix_seconds_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// Milliseconds of a duration; one too long for 64 bits becomes the largest number.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
