//! Whether a clone destroys something that nobody has said may go.

use crate::blank::{self, LOOKS};
use crate::cli::CloneArgs;
use crate::confirm::{self, Loss};
use crate::content::{Content, volume_of};
use crate::error::refused;
use crate::jobs::VolumeJob;
use crate::volume::{SourceEnd, TargetNow, describe};
use anyhow::{Context as _, Result};
use klon_imaging::intent::Interrupted;
use klon_imaging::mark::Mark;
use klon_imaging::{RecordStore, Role};
use klon_partition::Identity;
use klon_partition::filesystem::Summary;
use klon_partition::system::System;
use klon_partition::table::Table;
use klon_partition::text::quoted;

/// Asks before anything but a blank target, or an earlier clone of this very source, is
/// overwritten.
pub(super) fn ask(
    job: &VolumeJob,
    records: &RecordStore,
    args: &CloneArgs,
    system: &System,
) -> Result<()> {
    let consent = &args.run.consent;
    let (Some(source), Some(now)) = (&job.source, &job.target.now) else {
        return Ok(());
    };
    if let Some(wrong) = unmatched(&consent.confirm, &job.consent_identity) {
        return Err(refused(format!(
            "--confirm names {}, but the target is {}",
            quoted(wrong),
            job.consent_identity
        )));
    }
    let is_earlier = match args.rescue {
        None => is_earlier_clone(job, source, now, records)?,
        Some(_) => is_earlier_rescue(job, source, now, records)?,
    };
    if is_earlier || is_blank(job, now)? {
        return Ok(());
    }
    let there = describe(&now.open, system, |_| true);
    let mut description = format!("{there}\n  with a clone of {}", source.name);
    if job.is_ambiguous {
        description.push_str(&format!(
            "\n  Both have the identity {}, as a disk and its clone do: make sure which is which",
            source.identity
        ));
    }
    let loss = Loss {
        identity: &job.consent_identity,
        description: &description,
    };
    confirm::ask(&loss, consent)
}

fn unmatched<'a>(given: &'a [String], identity: &Identity) -> Option<&'a String> {
    let is_any = given.iter().any(|given| confirm::is_meant(given, identity));
    given.first().filter(|_| !is_any)
}

/// The filesystem on the target as a whole.
fn filesystem(now: &TargetNow) -> Option<&Summary> {
    volume_of(&now.open.layout, now.open.partition.as_ref())
}

/// The table of a target that is a disk with partitions.
fn table(now: &TargetNow) -> Option<&Table> {
    let table = now.open.layout.table.as_ref();
    table.filter(|_| now.open.partition.is_none())
}

/// That the target looks like the source is not enough: an original looks like its backup too.
/// The record, the mark of an unfinished run or a plan tells which is which.
fn is_earlier_clone(
    job: &VolumeJob,
    source: &SourceEnd,
    now: &TargetNow,
    records: &RecordStore,
) -> Result<bool> {
    let mark = Mark::read(&now.open.device)?;
    if mark.is_some_and(|mark| mark.is_of(&source.identity)) {
        return Ok(true);
    }
    // Its record might be that of the source, or it is the original of an image.
    if job.target.identity == source.identity {
        return Ok(false);
    }
    let wanted = Content::new(source.usage.summary.as_ref(), source.table.as_ref());
    if Content::new(filesystem(now), table(now)) != wanted {
        return Ok(false);
    }
    Ok(match records.load(&job.target.identity) {
        // An original that was brought back once is no backup for that.
        Ok(Some(record)) => {
            record.manifest.source == source.identity && record.manifest.role != Role::Restore
        }
        // Only targets have records, also damaged ones.
        Err(_) => wanted.is_unique(),
        // A run that was killed between its last block and its record: its log remains.
        Ok(None) => wanted.is_unique() && (job.is_planned || is_begun(job, source, records)),
    })
}

/// Whether the log of a run from this source to this target is there.
fn is_begun(job: &VolumeJob, source: &SourceEnd, records: &RecordStore) -> bool {
    let target = &job.target.identity;
    // A log that can't be read tells nothing.
    let interrupted = Interrupted::load(&records.log_path(target));
    interrupted.ok().flatten().is_some_and(|interrupted| {
        let meta = &interrupted.meta;
        (&meta.source, &meta.target) == (&source.identity, target)
    })
}

/// A rescue puts zeroes where the source can't be read any more, and an earlier clone may be all that
/// is left of what was there. So only a first clone that was not finished goes without asking, and
/// the result of an earlier rescue.
fn is_earlier_rescue(
    job: &VolumeJob,
    source: &SourceEnd,
    now: &TargetNow,
    records: &RecordStore,
) -> Result<bool> {
    let mark = Mark::read(&now.open.device)?;
    let is_unfinished = mark.is_some_and(|mark| mark.is_of(&source.identity));
    Ok(match records.load(&job.target.identity) {
        Ok(None) => is_unfinished,
        Ok(Some(record)) => record.manifest.source == source.identity && !record.bad.is_empty(),
        Err(_) => false,
    })
}

/// Nothing recognized, no table, and zeroes wherever one looks.
fn is_blank(job: &VolumeJob, now: &TargetNow) -> Result<bool> {
    if filesystem(now).is_some() || table(now).is_some() {
        return Ok(false);
    }
    // A prepared partition was given up when its drive was prepared, which cleared its ends only.
    let looks = if job.is_planned { 1 } else { LOOKS };
    blank::is_blank(&*now.open.device, looks)
        .with_context(|| format!("looking at the target {}", job.target.place.given))
}
