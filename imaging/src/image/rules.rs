//! Which snapshots a prune keeps.

use super::catalog::{Catalog, CatalogEntry};
use serde::Serialize;
use std::collections::HashMap;

const SECONDS_A_DAY: u64 = 86400;

/// How many snapshots are kept of each source, by rule. Each rule goes by itself from the newest
/// snapshot to the oldest and keeps what it names; what any rule keeps is kept, and the last
/// snapshot of each source always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepRules {
    /// The last so many.
    pub last: u32,
    /// The newest of each of the last so many days (UTC) that have one.
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
    /// The rules that keep it; none for one that goes.
    pub kept_by: Vec<&'static str>,
}

impl KeepRules {
    /// What becomes of each snapshot, ascending by number.
    #[must_use]
    pub fn fates(&self, catalog: &Catalog) -> Vec<Fate> {
        let fate = |entry: &CatalogEntry| Fate {
            number: entry.number,
            kept_by: Vec::new(),
        };
        let mut fates: Vec<Fate> = catalog.snapshots.iter().map(fate).collect();
        let rules: [(&'static str, u32, Period); 4] = [
            ("last", self.last.max(1), |entry| entry.number),
            ("daily", self.daily, |entry| day(entry)),
            // 1970 began on a Thursday.
            ("weekly", self.weekly, |entry| (day(entry) + 3) / 7),
            ("monthly", self.monthly, |entry| month(day(entry))),
        ];
        for (name, count, period) in rules {
            // Of each source: how many are left to keep, and the period of the last that was kept.
            let mut sources = HashMap::new();
            for (entry, fate) in catalog.snapshots.iter().zip(&mut fates).rev() {
                let this = period(entry);
                let source = entry.source.to_string();
                let (left, last) = sources.entry(source).or_insert((count, None));
                if *left > 0 && *last != Some(this) {
                    fate.kept_by.push(name);
                    *left -= 1;
                    *last = Some(this);
                }
            }
        }
        fates
    }
}

type Period = fn(&CatalogEntry) -> u64;

const fn day(entry: &CatalogEntry) -> u64 {
    entry.ended_unix_seconds / SECONDS_A_DAY
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
    use super::{KeepRules, SECONDS_A_DAY, month};
    use crate::chunk::Digest;
    use crate::image::reference::Reference;
    use crate::image::{Catalog, CatalogEntry};
    use klon_partition::Identity;

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
            ended_unix_seconds: day * SECONDS_A_DAY + number,
            note: None,
            source: Identity::Path("/s".to_owned()),
            source_bytes: 1,
            used_bytes: 1,
            added_bytes: 1,
        };
        Catalog {
            snapshots: (1..).zip(days).map(entry).collect(),
            next_number: 100,
        }
    }

    fn kept(rules: KeepRules, days: &[u64]) -> Vec<u64> {
        let fates = rules.fates(&catalog(days));
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
        let fates = KeepRules::default().fates(&catalog);
        let kept = fates.iter().filter(|fate| !fate.kept_by.is_empty());
        assert_eq!(kept.map(|fate| fate.number).collect::<Vec<_>>(), [2, 4]);
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
