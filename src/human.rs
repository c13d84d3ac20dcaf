//! Sizes, rates and durations for people.

pub use klon_partition::planner::human_size as size;
use std::fmt::Display;
use std::time::{Duration, UNIX_EPOCH};

/// Bytes per second over a duration: `512 MiB/s`.
pub fn rate(bytes: u64, duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds <= 0.0 {
        return "- B/s".to_owned();
    }
    format!("{}/s", size((bytes as f64 / seconds) as u64))
}

/// A duration in its two largest units: `2 h 5 min`, `4.2 s`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A part of a whole in percent: `1.9 %`.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0 %".to_owned();
    }
    let percent = part as f64 * 100.0 / whole as f64;
    if percent >= 9.95 || part == 0 {
        format!("{percent:.0} %")
    } else {
        format!("{percent:.1} %")
    }
}

/// A moment in seconds since 1970 UTC, as in 2026-11-21 10:30 UTC.
pub fn date(unix_seconds: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(unix_seconds.min(u64::from(u32::MAX)));
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.get(..16).map_or_else(
        || text.clone(),
        |minute| format!("{} UTC", minute.replace('T', " ")),
    )
}

/// So many of something whose plural has an s: `1 snapshot`, `2 snapshots`.
pub fn count<N: Display + PartialEq + From<u8>>(number: N, one: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {one}{plural}")
}

/// How much a filesystem lists as bad.
pub fn known_bad(bytes: u64) -> String {
    format!(
        "{} listed as bad by the filesystem: not read, not copied",
        size(bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::{count, duration, percent, rate};
    use std::time::Duration;

    #[test]
    fn durations_and_rates_read_well() {
        assert_eq!(duration(Duration::from_millis(4210)), "4.2 s");
        assert_eq!(duration(Duration::from_secs(7500)), "2 h 5 min");
        assert_eq!(rate(1 << 30, Duration::from_secs(2)), "512 MiB/s");
        assert_eq!(rate(1, Duration::ZERO), "- B/s");
        let counted = [0, 1, 2_u64].map(|number| count(number, "place"));
        assert_eq!(counted, ["0 places", "1 place", "2 places"]);
        assert_eq!(
            (percent(1, 3), percent(19, 1000)),
            ("33 %".into(), "1.9 %".into())
        );
    }
}
