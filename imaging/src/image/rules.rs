//! Which snapshots a prune keeps.

use super::catalog::{Catalog, CatalogEntry};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

const SECONDS_A_DAY: u64 = 86400;
/// 2026 begins on a Thursday, as 1970 did, and the years have the same months.
const FIRST_UNIX_SECONDS: u64 = 1_767_225_600;

/// How many snapshots are kept of each source and name, by rule. Each rule goes from the newest date
/// to the oldest, in whatever order the snapshots were made, and keeps one for each day, week or
/// month. A snapshot is kept if any rule keeps it. The last snapshot of each source and name is always
/// kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepRules {
    /// The last so many.
    pub last: u32,
    /// The newest of each of the last so many days that have one.
    pub daily: u32,
    /// The newest of each of the last so many weeks (from Monday on) that have one.
    pub weekly: u32,
    /// The newest of each of the last so many months that have one.
    pub monthly: u32,
}

/// What becomes of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fate {
    /// Its number.
    pub number: u64,
    /// The rules that keep it; empty when it is removed.
    pub kept_by: Vec<&'static str>,
}

impl KeepRules {
    /// What becomes of each snapshot, ascending by number.
    #[must_use]
    pub fn fates(&self, catalog: &Catalog, calendar: &Calendar<'_>) -> Vec<Fate> {
        let fate = |entry: &CatalogEntry| Fate {
            number: entry.number,
            kept_by: Vec::new(),
        };
        let mut fates: Vec<Fate> = catalog.snapshots.iter().map(fate).collect();
        let entries = &catalog.snapshots;
        let day = |at: usize| entries.get(at).map_or(0, |entry| calendar.day_of(entry));
        let number = |at: usize| entries.get(at).map_or(0, |entry| entry.number);
        for group in groups(catalog) {
            let mut keep = |name, count, order: &[usize], period: &dyn Fn(usize) -> u64| {
                for at in newest_of_each(count, order, period) {
                    if let Some(fate) = fates.get_mut(at) {
                        fate.kept_by.push(name);
                    }
                }
            };
            keep("last", self.last.max(1), &group, &number);
            let (plausible, not): (Vec<_>, Vec<_>) = group.into_iter().partition(|&at| {
                entries
                    .get(at)
                    .is_some_and(|entry| calendar.is_plausible(entry))
            });
            for mut order in [plausible, not] {
                // By date, as numbers of a clock that went back are not in its order.
                order.sort_by_key(|&at| Reverse((date(entries, at), number(at))));
                keep("daily", self.daily, &order, &day);
                // 1970 began on a Thursday.
                keep("weekly", self.weekly, &order, &|at| (day(at) + 3) / 7);
                keep("monthly", self.monthly, &order, &|at| month(day(at)));
            }
        }
        fates
    }
}

/// What the dates of snapshots mean.
#[derive(Clone, Copy)]
pub struct Calendar<'a> {
    /// Now, in seconds since 1970 UTC.
    pub now_unix_seconds: u64,
    /// The day of such a time, in days since 1970, where the user is.
    pub day: &'a dyn Fn(u64) -> u64,
}

impl Calendar<'_> {
    fn day_of(&self, entry: &CatalogEntry) -> u64 {
        (self.day)(entry.ended_unix_seconds)
    }

    /// Whether the clock can have been right. Snapshots with impossible dates are counted separately, so
    /// that they replace none with a real date.
    #[must_use]
    pub fn is_plausible(&self, entry: &CatalogEntry) -> bool {
        let latest = self.now_unix_seconds.saturating_add(SECONDS_A_DAY);
        (FIRST_UNIX_SECONDS..=latest).contains(&entry.ended_unix_seconds)
    }
}

/// Which snapshots, newest first, are of the same source with the same name.
fn groups(catalog: &Catalog) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<(String, Option<&str>), Vec<usize>> = BTreeMap::new();
    for (at, entry) in catalog.snapshots.iter().enumerate().rev() {
        let key = (entry.source.to_string(), entry.given_name.as_deref());
        groups.entry(key).or_default().push(at);
    }
    groups.into_values().collect()
}

fn date(entries: &[CatalogEntry], at: usize) -> u64 {
    entries.get(at).map_or(0, |entry| entry.ended_unix_seconds)
}

/// The first in `order` of each of the first `count` different periods.
fn newest_of_each(count: u32, order: &[usize], period: &dyn Fn(usize) -> u64) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    let mut kept = Vec::new();
    for &at in order {
        if seen.len() as u64 >= count.into() {
            break;
        }
        if seen.insert(period(at)) {
            kept.push(at);
        }
    }
    kept
}

/// Months since a March long ago, for a day since 1970: years that begin in March end with their
/// leap day, and 400 of them have 146097 days.
const fn month(day: u64) -> u64 {
    let day = day % (1 << 40) + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    (era * 400 + year) * 12 + (5 * of_year + 2) / 153
}

#[cfg(test)]
mod tests {
    use super::{Calendar, FIRST_UNIX_SECONDS, Fate, KeepRules, SECONDS_A_DAY, month};
    use crate::chunk::Digest;
    use crate::image::reference::Reference;
    use crate::image::{Catalog, CatalogEntry};
    use crate::record::Consistency;
    use klon_partition::{Identity, Outside};

    fn catalog(days: &[u64]) -> Catalog {
        let manifest = Reference {
            position: 4096,
            stored_bytes: 1,
            plain_bytes: 1,
            digest: Digest([0; 32]),
        };
        let entry = |(number, day): (u64, &u64)| CatalogEntry {
            number,
            manifest: manifest.into(),
            ended_unix_seconds: FIRST_UNIX_SECONDS + day * SECONDS_A_DAY + number,
            given_name: None,
            note: None,
            source: Identity::Path("/s".to_owned()),
            source_bytes: 1,
            used_bytes: 1,
            left_out_bytes: Some(0),
            outside: Outside::All,
            bad_bytes: Some(0),
            added_bytes: 1,
            consistency: Consistency::Still,
            partitions: Vec::new(),
        };
        Catalog {
            snapshots: (1..).zip(days).map(entry).collect(),
            next_number: 100,
        }
    }

    /// The beginning of 2026 is a Thursday, as that of 1970 is, and the years have the same months.
    fn fates(rules: KeepRules, catalog: &Catalog) -> Vec<Fate> {
        let calendar = Calendar {
            now_unix_seconds: FIRST_UNIX_SECONDS + 1000 * SECONDS_A_DAY,
            day: &|seconds| seconds / SECONDS_A_DAY,
        };
        rules.fates(catalog, &calendar)
    }

    fn kept(rules: KeepRules, days: &[u64]) -> Vec<u64> {
        kept_of(rules, &catalog(days))
    }

    fn kept_of(rules: KeepRules, catalog: &Catalog) -> Vec<u64> {
        let fates = fates(rules, catalog);
        let kept = fates.into_iter().filter(|fate| !fate.kept_by.is_empty());
        kept.map(|fate| fate.number).collect()
    }

    #[test]
    fn the_last_snapshot_is_kept_whatever_the_rules() {
        assert_eq!(kept(KeepRules::default(), &[1, 2, 3]), [3]);
        assert!(kept(KeepRules::default(), &[]).is_empty());
        let two = KeepRules {
            last: 2,
            ..KeepRules::default()
        };
        assert_eq!(kept(two, &[1, 1, 1]), [2, 3]);
    }

    #[test]
    fn each_source_goes_by_itself() {
        let mut catalog = catalog(&[1, 2, 3, 4]);
        catalog.snapshots[1].source = Identity::Path("/other".to_owned());
        assert_eq!(kept_of(KeepRules::default(), &catalog), [2, 4]);
        // Two boards that look alike, and have names.
        catalog.snapshots[0].given_name = Some("left".to_owned());
        catalog.snapshots[2].given_name = Some("right".to_owned());
        assert_eq!(kept_of(KeepRules::default(), &catalog), [1, 2, 3, 4]);
    }

    #[test]
    fn of_each_period_the_newest_is_kept_and_empty_periods_do_not_count() {
        let daily = KeepRules {
            daily: 3,
            ..KeepRules::default()
        };
        assert_eq!(kept(daily, &[1, 5, 5, 9, 9, 9]), [1, 3, 6]);
        // Day 4 (5 January 1970) was a Monday.
        let weekly = KeepRules {
            weekly: 2,
            ..KeepRules::default()
        };
        assert_eq!(kept(weekly, &[2, 3, 4, 10, 11]), [4, 5]);
        // 31 January, 1 February, 28 February, 1 March 1970.
        let monthly = KeepRules {
            monthly: 9,
            ..KeepRules::default()
        };
        assert_eq!(kept(monthly, &[30, 31, 58, 59]), [1, 3, 4]);
        let both = KeepRules {
            last: 1,
            daily: 2,
            monthly: 2,
            ..KeepRules::default()
        };
        assert_eq!(kept(both, &[1, 2, 40, 41, 42]), [2, 4, 5]);
    }

    #[test]
    fn a_clock_that_went_back_and_forth_counts_no_day_twice() {
        let daily = KeepRules {
            daily: 3,
            ..KeepRules::default()
        };
        assert_eq!(kept(daily, &[1, 2, 3, 2, 3, 2, 3]), [1, 6, 7]);
        assert_eq!(kept(daily, &[5, 4, 3, 2, 1]), [1, 2, 3, 5]);
        let weekly = KeepRules {
            weekly: 2,
            ..KeepRules::default()
        };
        assert_eq!(kept(weekly, &[4, 11, 5, 12, 6]), [4, 5]);
        let monthly = KeepRules {
            monthly: 3,
            ..KeepRules::default()
        };
        assert_eq!(kept(monthly, &[1, 40, 2, 70, 41]), [3, 4, 5]);
    }

    #[test]
    fn dates_that_cannot_be_take_no_real_days_place() {
        let daily = KeepRules {
            daily: 2,
            ..KeepRules::default()
        };
        // Behind now, and of a machine whose clock begins in 1970 each time.
        let mut catalog = catalog(&[1, 2, 5000, 6000, 7000, 3, 3, 3]);
        for entry in &mut catalog.snapshots[6..] {
            entry.ended_unix_seconds = 60 + entry.number;
        }
        // As many days that can't be are kept by themselves.
        assert_eq!(kept_of(daily, &catalog), [2, 4, 5, 6, 8]);
        // A day ahead may be, where a clock is set a little wrong.
        let (tomorrow, later) = (1000, 1002);
        let days = [10, 11, tomorrow, later];
        assert_eq!(kept(daily, &days), [2, 3, 4]);
    }

    #[test]
    fn days_are_those_of_the_place() {
        let catalog = catalog(&[1, 1, 2]);
        let daily = KeepRules {
            daily: 9,
            ..KeepRules::default()
        };
        let calendar = Calendar {
            now_unix_seconds: FIRST_UNIX_SECONDS + 1000 * SECONDS_A_DAY,
            day: &|seconds| (seconds + SECONDS_A_DAY - 2) / SECONDS_A_DAY,
        };
        let fates = daily.fates(&catalog, &calendar);
        let kept = fates.iter().filter(|fate| !fate.kept_by.is_empty());
        assert_eq!(kept.map(|fate| fate.number).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        // Days since 1970 of 29 February and 1 March 2024, 31 December 2026, 1 January 2027.
        let [a, b, c, d] = [19_782, 19_783, 20_818, 20_819].map(month);
        assert_eq!((b - a, c - b, d - c), (1, 33, 1));
        assert_eq!(
            month(u64::MAX / SECONDS_A_DAY),
            month(u64::MAX / SECONDS_A_DAY)
        );
    }
}
