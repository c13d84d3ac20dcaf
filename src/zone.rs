//! The time zone that dates are shown and counted in.

use crate::cli::ZoneArgs;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use klon_imaging::clock::unix_seconds_now;
use klon_imaging::image::Calendar;

const SECONDS_A_DAY: i64 = 86400;

/// A time zone.
pub struct Zone {
    zone: TimeZone,
    name: String,
}

impl Zone {
    /// The zone that the user asks for: UTC, or else the zone of this machine.
    pub fn of(args: ZoneArgs) -> Self {
        if args.utc {
            return Self::new(TimeZone::UTC, "UTC");
        }
        let zone = TimeZone::system();
        match (zone.is_unknown(), zone.iana_name().map(str::to_owned)) {
            (true, _) => Self::new(TimeZone::UTC, "UTC, as this machine names no time zone"),
            (false, Some(name)) => Self::new(zone, &name),
            (false, None) => Self::new(zone, "local time"),
        }
    }

    fn new(zone: TimeZone, name: &str) -> Self {
        Self {
            zone,
            name: name.to_owned(),
        }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// By how many seconds it is ahead of UTC at a time.
    fn ahead(&self, unix_seconds: i64) -> i64 {
        Timestamp::from_second(unix_seconds)
            .map_or(0, |at| self.zone.to_offset(at).seconds().into())
    }

    /// The day of a time in seconds since 1970 UTC, in days since 1970.
    pub fn day(&self, unix_seconds: u64) -> u64 {
        let seconds = i64::try_from(unix_seconds).unwrap_or(i64::MAX);
        let here = seconds.saturating_add(self.ahead(seconds));
        u64::try_from(here.div_euclid(SECONDS_A_DAY)).unwrap_or(0)
    }

    /// A moment in seconds since 1970 UTC: 2026-11-21 10:30 UTC, 2026-11-21 11:30 +01:00.
    pub fn date(&self, unix_seconds: u64) -> String {
        // What is behind that is no date of anything that was made.
        let seconds = i64::try_from(unix_seconds.min(u64::from(u32::MAX))).unwrap_or(0);
        let ahead = self.ahead(seconds);
        let here = Timestamp::from_second(seconds.saturating_add(ahead)).unwrap_or_default();
        let here = TimeZone::UTC
            .to_datetime(here)
            .strftime("%Y-%m-%d %H:%M")
            .to_string();
        match ahead {
            0 => format!("{here} UTC"),
            _ => {
                let (sign, minutes) = (if ahead < 0 { '-' } else { '+' }, ahead.abs() / 60);
                format!("{here} {sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
        }
    }

    /// Calls `with` with the calendar of this zone as it is now.
    pub fn with_calendar<T>(&self, with: impl FnOnce(&Calendar<'_>) -> T) -> T {
        with(&Calendar {
            now_unix_seconds: unix_seconds_now(),
            day: &|unix_seconds| self.day(unix_seconds),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Zone;
    use jiff::tz::TimeZone;

    fn posix(rule: &str) -> Zone {
        Zone::new(TimeZone::posix(rule).unwrap(), rule)
    }

    #[test]
    fn days_begin_at_midnight_of_the_place() {
        // 2026-03-28 23:30 UTC is the next day in Berlin, where summer time begins on that.
        let berlin = posix("CET-1CEST,M3.5.0,M10.5.0/3");
        let before = 1_774_740_600;
        assert_eq!(berlin.date(before), "2026-03-29 00:30 +01:00");
        assert_eq!(berlin.date(before + 3 * 3600), "2026-03-29 04:30 +02:00");
        let utc = Zone::new(TimeZone::UTC, "UTC");
        assert_eq!(utc.date(before), "2026-03-28 23:30 UTC");
        assert_eq!(berlin.day(before), utc.day(before) + 1);
        // That day has 23 hours, and the one on which summer time ends 25.
        assert_eq!(berlin.day(before + 22 * 3600), berlin.day(before));
        assert_eq!(berlin.day(before + 23 * 3600), berlin.day(before) + 1);
        let autumn = 1_792_879_200; // 2026-10-24 22:00 UTC, midnight in Berlin.
        assert_eq!(berlin.date(autumn), "2026-10-25 00:00 +02:00");
        assert_eq!(berlin.day(autumn + 25 * 3600 - 1), berlin.day(autumn));
        assert_eq!(berlin.day(autumn + 25 * 3600), berlin.day(autumn) + 1);
    }

    #[test]
    fn zones_behind_utc_and_odd_ones() {
        let newfoundland = posix("NST3:30");
        assert_eq!(newfoundland.date(1_774_740_600), "2026-03-28 20:00 -03:30");
        assert_eq!(newfoundland.day(3600), 0, "nothing is before 1970");
        assert_eq!(newfoundland.date(u64::MAX), "2106-02-07 02:58 -03:30");
        let _ = newfoundland.day(u64::MAX);
    }
}
