//! How far a run relies on the metadata of files: what the user says, how much is read all the same, and
//! how often everything is.

use super::evidence::EvidenceMeta;

const DAY_SECONDS: u64 = 24 * 60 * 60;
const MILLION: u64 = 1_000_000;

/// How far a run relies on the metadata of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reliance {
    /// Whether the run neither relies on it nor keeps anything for a next one.
    pub is_off: bool,
    /// Whether the user says that no power cut came since the record was made, where no ledger shows
    /// that.
    pub is_said_clean: bool,
    /// Whether the file records of NTFS are taken for what its files are. That is a heuristic: a file can
    /// change without a change of its record.
    pub trusts_file_records: bool,
    /// How much of what could be left unread is read first, and compared with the record.
    pub audit: Audit,
    /// How often a run reads everything.
    pub full_every: FullEvery,
}

impl Reliance {
    /// What is usual: nobody says anything, 1 % is audited, and everything is read as often as usual.
    pub const USUAL: Self = Self {
        is_off: false,
        is_said_clean: false,
        trusts_file_records: false,
        audit: Audit::Usual,
        full_every: FullEvery::Usual,
    };
}

/// How much of what could be left unread is read and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audit {
    /// 1 % of what is in use, or 1 GiB where that is less.
    Usual,
    /// This part of what is in use, in millionths.
    Millionths(u32),
    /// So many bytes.
    Bytes(u64),
    /// Nothing.
    Nothing,
}

impl Audit {
    /// How many bytes that is when so many are in use. The chunk in which they end is read whole.
    #[must_use]
    pub fn budget_bytes(self, used_bytes: u64) -> u64 {
        let part = |millionths: u32| {
            let product = u128::from(used_bytes) * u128::from(millionths);
            u64::try_from(product.div_ceil(u128::from(MILLION))).unwrap_or(u64::MAX)
        };
        match self {
            Self::Usual => part(10_000).min(1 << 30),
            Self::Millionths(millionths) => part(millionths),
            Self::Bytes(bytes) => bytes,
            Self::Nothing => 0,
        }
    }
}

/// What shows that something is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Witness {
    /// The filesystem's own checksums.
    Checksums,
    /// Stamps that each change of a file moves.
    Stamps,
    /// File records, which a change of a file need not touch.
    FileRecords,
}

/// How often a run reads everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullEvery {
    /// When the last run that did is so many days ago.
    Days(u32),
    /// Each Nth run.
    Runs(u32),
    /// Each 30 days, each 7 days by a heuristic, or never where the filesystem's own checksums show what
    /// changed.
    Usual,
    /// Never for this reason alone.
    Never,
}

impl FullEvery {
    /// Why a run at `now`, in seconds since 1970, is one that reads everything; `None` when it is not.
    /// `witness` is what shows that what may be left unread is unchanged.
    pub(super) fn due(self, before: &EvidenceMeta, now: u64, witness: Witness) -> Option<String> {
        match self {
            Self::Usual => match witness {
                // Of a run that believed someone else the filesystem's checksums show nothing.
                Witness::Checksums if before.tracked_runs_since_full == 0 => None,
                Witness::Checksums | Witness::Stamps => Self::Days(30).due(before, now, witness),
                Witness::FileRecords => Self::Days(7).due(before, now, witness),
            },
            Self::Days(days) => {
                let passed = now.saturating_sub(before.full_unix_seconds);
                let is_due = passed >= u64::from(days).saturating_mul(DAY_SECONDS);
                let text = match passed / DAY_SECONDS {
                    1 => "the last run that read everything was a day ago".to_owned(),
                    days => format!("the last run that read everything was {days} days ago"),
                };
                is_due.then_some(text)
            }
            Self::Runs(runs) => {
                let since = before.runs_since_full.saturating_add(1);
                let is_due = since >= u64::from(runs);
                is_due.then(|| match runs {
                    0 | 1 => "every run is to read everything".to_owned(),
                    _ => format!("1 run of {runs} is to read everything"),
                })
            }
            Self::Never => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Audit, DAY_SECONDS, EvidenceMeta, FullEvery, Witness};
    use crate::change::proven::Stamped;

    #[test]
    fn the_usual_audit_is_small_and_all_is_all() {
        let budget = |audit: Audit| audit.budget_bytes(1000 << 30);
        assert_eq!(budget(Audit::Usual), 1 << 30);
        assert_eq!(Audit::Usual.budget_bytes(1000), 10);
        assert_eq!(budget(Audit::Millionths(1_000_000)), 1000 << 30);
        assert_eq!(budget(Audit::Bytes(7)), 7);
        assert_eq!(budget(Audit::Nothing), 0);
        assert_eq!(Audit::Millionths(1).budget_bytes(10), 1);
    }

    #[test]
    fn a_full_run_is_due_by_days_or_by_runs() {
        let before = EvidenceMeta {
            stamped: Stamped {
                instance: None,
                age: None,
                is_clean: true,
                seen: 0,
                continuity: None,
                written_by: Vec::new(),
                session: None,
            },
            said_clean_unix_seconds: None,
            trusts_file_records: false,
            audit_cursor_bytes: 0,
            full_unix_seconds: 100,
            runs_since_full: 3,
            tracked_runs_since_full: 0,
            bitmap: None,
            disabled: None,
        };
        let after = |every: FullEvery, days: u64| {
            every.due(&before, 100 + days * DAY_SECONDS, Witness::Stamps)
        };
        assert_eq!(after(FullEvery::Usual, 29), None);
        let due = after(FullEvery::Usual, 30).unwrap();
        assert_eq!(due, "the last run that read everything was 30 days ago");
        let guessed = |days: u64| {
            let now = 100 + days * DAY_SECONDS;
            FullEvery::Usual.due(&before, now, Witness::FileRecords)
        };
        assert!(guessed(6).is_none() && guessed(7).is_some());
        let sums = Witness::Checksums;
        let summed = |every: FullEvery| every.due(&before, 900 * DAY_SECONDS, sums);
        assert_eq!(summed(FullEvery::Usual), None);
        let tracked = EvidenceMeta {
            tracked_runs_since_full: 1,
            ..before.clone()
        };
        let due = |days: u64| FullEvery::Usual.due(&tracked, 100 + days * DAY_SECONDS, sums);
        assert!(due(29).is_none() && due(30).is_some());
        assert!(summed(FullEvery::Days(30)).is_some());
        assert!(after(FullEvery::Days(0), 0).is_some());
        assert_eq!(after(FullEvery::Never, 9999), None);
        assert_eq!(after(FullEvery::Runs(5), 0), None);
        assert!(after(FullEvery::Runs(4), 0).is_some() && after(FullEvery::Runs(1), 0).is_some());
    }
}
