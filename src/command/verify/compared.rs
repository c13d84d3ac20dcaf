//! One clone, compared with its record or its source.

use super::{Check, unrecorded};
use crate::error::{refused, usage};
use crate::progress::Progress;
use crate::source::SourceEnd;
use anyhow::Result;
use klon_imaging::clone::live::LiveSource;
use klon_imaging::clone::recorded;
use klon_imaging::mark::Mark;
use klon_imaging::progress::Runner;
use klon_imaging::verify::Against;
use klon_imaging::{Consistency, Observer, RecordStore, VerifySummary, verify};
use klon_partition::ReadAt;
use klon_partition::filesystem::Usage;
use klon_partition::system::System;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// What a clone was compared with, and how.
pub(super) struct Seen {
    pub(super) against: &'static str,
    /// How the source was at rest: when the clone was made, or now.
    pub(super) consistency: Option<Consistency>,
    /// Whether it was written to meanwhile.
    pub(super) is_in_use: bool,
}

impl Seen {
    const fn of(against: &'static str, consistency: Option<Consistency>) -> Self {
        Self {
            against,
            consistency,
            is_in_use: false,
        }
    }

    /// What it was compared with, in words.
    pub(super) fn told(&self, check: &Check) -> String {
        let at_rest = self.consistency.and_then(Consistency::told);
        match (&check.source, at_rest) {
            (Some(source), _) => format!("its source {}", source.name),
            (None, None) => "its record".to_owned(),
            (None, Some(told)) => format!("its record (its source {told})"),
        }
    }
}

/// What every clone is verified with.
#[derive(Clone, Copy)]
pub(super) struct Verifying<'a> {
    pub(super) records: &'a RecordStore,
    pub(super) system: &'a System,
    pub(super) threads: NonZeroUsize,
    pub(super) progress: &'a Progress,
}

/// Compares a clone with its source if that is open, else with its record.
///
/// # Errors
/// When a side can't be read; a refusal of a clone that is not finished or has no record.
pub(super) fn verify_one(check: &Check, with: Verifying<'_>) -> Result<(VerifySummary, Seen)> {
    let Verifying {
        records,
        threads,
        progress,
        ..
    } = with;
    let target: &Arc<dyn ReadAt> = &check.open.device;
    if let Some(mark) = Mark::read(target)? {
        let finish = match mark.staged {
            Some(_) => "complete it with klon finish, which needs no source, or ",
            None => "",
        };
        return Err(refused(format!(
            "a clone of {} to it was not finished, so klon can't verify it; {finish}run the clone \
             again",
            mark.source
        )));
    }
    if let Some(source) = &check.source {
        return with_source(check, source, with);
    }
    let record = recorded(records, &check.identity, target, threads)?;
    let record = record.ok_or_else(|| usage(unrecorded(check, records)))?;
    let against = Against::Record(&record);
    let summary = verify(
        target,
        &against,
        Runner {
            name: &check.name,
            threads,
            observer: progress,
        },
    )?;
    let consistency = record.manifest.consistency;
    Ok((summary, Seen::of("record", Some(consistency))))
}

/// Compares a clone with its source.
fn with_source(
    check: &Check,
    source: &SourceEnd,
    with: Verifying<'_>,
) -> Result<(VerifySummary, Seen)> {
    let Verifying {
        records,
        system,
        threads,
        progress,
    } = with;
    let target: &Arc<dyn ReadAt> = &check.open.device;
    // A record of another source says nothing of this one.
    let record = records.load(&check.identity).unwrap_or_default();
    let record = record.filter(|record| record.manifest.source == source.identity);
    let (bad, bad_fill) = match &record {
        Some(record) => (record.bad.clone(), record.bad_fill.clone()),
        None => Default::default(),
    };
    let before = &source.lost_before;
    let bad = bad.union(&before.extents);
    let bad_fill = bad_fill.and(&before.texts);
    let compare = |device: &dyn ReadAt, usage: &Usage, observer: &dyn Observer| {
        // It is compared under the choice that it was made under.
        let mut usage = usage.clone();
        if let Some(record) = &record {
            usage.limit(record.manifest.outside);
        }
        let against = Against::Source {
            device,
            usage: &usage,
            bad: &bad,
        };
        Ok(verify(
            target,
            &against,
            Runner {
                name: &check.name,
                threads,
                observer,
            },
        )?)
    };
    let rested = source.rested.as_ref().map(|rested| rested.consistency);
    let (mut summary, seen) = match &source.live {
        None => {
            let summary = compare(&*source.device, &source.usage, progress)?;
            (summary, Seen::of("source", rested))
        }
        Some(live) => {
            let compare = |found: &LiveSource, observer: &dyn Observer| {
                compare(&*found.source, &found.usage, observer)
            };
            let (summary, is_at_rest) = live.compared(source, system, progress, &compare)?;
            let seen = Seen::of("source", is_at_rest.then(|| live.consistency()));
            let is_in_use = !is_at_rest;
            (summary, Seen { is_in_use, ..seen })
        }
    };
    summary.bad_fill = bad_fill.if_any(&summary.bad);
    Ok((summary, seen))
}
