//! Whether a clone would destroy something, and the user must be asked.

use super::policy::Policy;
use crate::confirm::{self, Question};
use crate::description::describe;
use crate::direction;
use crate::error::refused;
use crate::grow;
use crate::jobs::VolumeJob;
use crate::likeness::{Likeness, volume_of};
use crate::source::SourceEnd;
use crate::target::TargetNow;
use crate::target::open::OpenTarget;
use anyhow::{Context as _, Result};
use klon_imaging::intent::Interrupted;
use klon_imaging::mark::Mark;
use klon_imaging::record::RunEntry;
use klon_imaging::{RecordStore, Role};
use klon_partition::Identity;
use klon_partition::ReadAt;
use klon_partition::device;
use klon_partition::filesystem::Summary;
use klon_partition::inspect::DiskLayout;
use klon_partition::system::System;
use klon_partition::table::{Partition, Table};
use klon_partition::text::quoted;

/// What stands on a target: as it was looked at, or as it is once the target is ours alone.
struct Standing<'a> {
    device: &'a dyn ReadAt,
    layout: &'a DiskLayout,
    partition: Option<&'a Partition>,
}

impl<'a> Standing<'a> {
    /// What was there when klon looked.
    fn now(now: &'a TargetNow) -> Self {
        Self {
            device: &*now.open.device,
            layout: &now.open.layout,
            partition: now.open.partition.as_ref(),
        }
    }
}

/// Asks before anything but a blank target, or an earlier clone of this very source, is
/// overwritten. Says whether it has asked.
///
/// # Errors
/// When consent is missing, or the target can't be read.
pub fn ask(
    job: &VolumeJob,
    records: &RecordStore,
    policy: &Policy,
    system: &System,
) -> Result<bool> {
    let consent = &policy.consent;
    if job.reversal.is_none()
        && job.source.is_some()
        && job.target.now.is_some()
        && let Some(wrong) = unmatched(&consent.confirm, &job.consent_identity)
    {
        return Err(refused(format!(
            "--confirm names {}, but the target is {}",
            quoted(wrong),
            job.consent_identity
        )));
    }
    let Some(question) = question(job, records, policy, system)? else {
        return Ok(false);
    };
    question.ask(consent)?;
    Ok(true)
}

/// What the user is asked before the target is overwritten; `None` where nothing need be asked.
///
/// # Errors
/// When the target can't be read.
pub fn question(
    job: &VolumeJob,
    records: &RecordStore,
    policy: &Policy,
    system: &System,
) -> Result<Option<Question>> {
    let (Some(source), Some(now)) = (&job.source, &job.target.now) else {
        return Ok(None);
    };
    let there = || describe(&now.open, system, |_| true);
    if let Some(reversal) = &job.reversal {
        let question = direction::question(job, source, &there(), reversal);
        return Ok(Some(question));
    }
    if is_free(job, records, policy)? {
        return Ok(None);
    }
    let mut description = format!("{}\n  with a clone of {}", there(), source.name);
    let record = records.outline(&job.target.identity).ok().flatten();
    if let Some(grown) = record.and_then(|record| grow::told(&record.manifest.grown)) {
        description.push_str(&format!(
            "\n  {grown}. The clone makes it as small as its source again, and what was added to it is lost"
        ));
    }
    if job.is_ambiguous {
        description.push_str(&format!(
            "\n  Both have the identity {}, as a disk and its clone do. Make sure which is which",
            source.identity
        ));
    }
    Ok(Some(Question {
        identity: job.consent_identity.clone(),
        origin: None,
        description,
    }))
}

/// Whether what stands on the target may be overwritten without asking.
///
/// # Errors
/// When the target can't be read.
pub fn is_free(job: &VolumeJob, records: &RecordStore, policy: &Policy) -> Result<bool> {
    let (Some(source), Some(now)) = (&job.source, &job.target.now) else {
        return Ok(true);
    };
    may_go(job, source, &Standing::now(now), records, policy)
}

/// Whether an earlier clone of the source stands on the target.
///
/// # Errors
/// When the target can't be read.
pub fn bears_earlier_clone(job: &VolumeJob, records: &RecordStore) -> Result<bool> {
    let (Some(source), Some(now)) = (&job.source, &job.target.now) else {
        return Ok(false);
    };
    let standing = Standing::now(now);
    Ok(is_earlier_clone(job, source, &standing, records)? && !is_blank(job, &standing)?)
}

/// Looks again at a target that is opened for this run alone. When the user was not asked, it must still be
/// one that may be overwritten without asking. When the user was asked, opening it has made sure that it is
/// what was shown.
///
/// # Errors
/// When the target is another one than consent was given for.
pub fn still(
    job: &VolumeJob,
    target: &OpenTarget,
    records: &RecordStore,
    policy: &Policy,
) -> Result<()> {
    let (Some(source), Some(now), Some(layout)) = (&job.source, &job.target.now, target.layout())
    else {
        return Ok(());
    };
    let standing = Standing {
        device: &target.volume,
        layout,
        partition: now.open.partition.as_ref(),
    };
    if job.is_asked || may_go(job, source, &standing, records, policy)? {
        return Ok(());
    }
    Err(refused(format!(
        "{} changed after klon looked at it: it holds something that klon did not ask about. \
         Nothing was written. Look at it and run the command again",
        job.target.place.given
    )))
}

fn may_go(
    job: &VolumeJob,
    source: &SourceEnd,
    standing: &Standing<'_>,
    records: &RecordStore,
    policy: &Policy,
) -> Result<bool> {
    let is_earlier = match policy.rescue {
        None => is_earlier_clone(job, source, standing, records)?,
        Some(_) => is_earlier_rescue(job, source, standing, records)?,
    };
    Ok(is_earlier || is_blank(job, standing)?)
}

fn unmatched<'a>(given: &'a [String], identity: &Identity) -> Option<&'a String> {
    let is_any = given.iter().any(|given| confirm::is_meant(given, identity));
    given.first().filter(|_| !is_any)
}

/// The filesystem on the target as a whole.
fn filesystem<'a>(standing: &Standing<'a>) -> Option<&'a Summary> {
    volume_of(standing.layout, standing.partition)
}

/// The table of a target that is a disk with partitions.
fn table<'a>(standing: &Standing<'a>) -> Option<&'a Table> {
    let table = standing.layout.table.as_ref();
    table.filter(|_| standing.partition.is_none())
}

/// Whether the target is an earlier clone of the source. Looking like the source is not enough: an original
/// looks like its backup, too. The record, the mark of an unfinished run or a plan tells which is which.
fn is_earlier_clone(
    job: &VolumeJob,
    source: &SourceEnd,
    now: &Standing<'_>,
    records: &RecordStore,
) -> Result<bool> {
    let mark = Mark::read(&now.device)?;
    if mark.is_some_and(|mark| mark.is_of(&source.identity)) {
        return Ok(true);
    }
    // Its record might be that of the source, or it is the original of an image.
    if job.target.identity == source.identity {
        return Ok(false);
    }
    let wanted = Likeness::new(source.usage.summary.as_ref(), source.table.as_ref());
    if Likeness::new(filesystem(now), table(now)) != wanted {
        return Ok(false);
    }
    Ok(match records.outline(&job.target.identity) {
        // An original that was brought back once is no backup for that.
        Ok(Some(record)) => {
            let manifest = &record.manifest;
            // What was grown may be in use as an original by now, and the clone takes the room back.
            manifest.source == source.identity
                && manifest.role != Role::Restore
                && manifest.grown.is_empty()
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
    now: &Standing<'_>,
    records: &RecordStore,
) -> Result<bool> {
    let mark = Mark::read(&now.device)?;
    let is_unfinished = mark.is_some_and(|mark| mark.is_of(&source.identity));
    let outline = records.outline(&job.target.identity);
    let found = outline.and_then(|found| found.map(|it| Ok((it.bad()?, it.manifest))).transpose());
    Ok(match found {
        Ok(None) => is_unfinished,
        // What a clone took over from its source was bad before.
        Ok(Some((bad, manifest))) => {
            let last = manifest.history.last();
            let is_rescue = last.is_some_and(RunEntry::is_rescue);
            manifest.source == source.identity && !bad.extents.is_empty() && is_rescue
        }
        Err(_) => false,
    })
}

/// Nothing recognized, no table, and zeroes wherever one looks.
fn is_blank(job: &VolumeJob, now: &Standing<'_>) -> Result<bool> {
    if filesystem(now).is_some() || table(now).is_some() {
        return Ok(false);
    }
    // A prepared partition was given up when its drive was prepared, which cleared its ends only.
    let found = if job.is_planned {
        device::is_blank_at_start(now.device)
    } else {
        device::is_blank(now.device)
    };
    found.with_context(|| format!("looking at the target {}", job.target.place.given))
}

#[cfg(test)]
mod tests {
    use super::{Standing, is_free, may_go, unmatched};
    use crate::jobs::VolumeJob;
    use crate::run::policy::{Policy, Rescue};
    use crate::testing::{job, serial, source};
    use klon_imaging::RecordStore;
    use klon_partition::device::MemoryDevice;
    use klon_partition::inspect::inspect;
    use std::num::NonZeroUsize;

    const SIZE_BYTES: usize = 4 << 20;

    fn with_byte_at(offset_bytes: usize) -> MemoryDevice {
        let mut bytes = vec![0; SIZE_BYTES];
        bytes[offset_bytes] = 1;
        MemoryDevice::new(bytes, 512)
    }

    fn policy() -> Policy {
        Policy::new(NonZeroUsize::MIN)
    }

    /// Whether what is on `device` may go without asking, where nothing is recorded.
    fn goes(job: &VolumeJob, device: &MemoryDevice, policy: &Policy) -> bool {
        let directory = tempfile::tempdir().unwrap();
        let records = RecordStore::new(directory.path().to_owned());
        let layout = inspect(device).unwrap();
        let standing = Standing {
            device,
            layout: &layout,
            partition: None,
        };
        may_go(job, &source("a", SIZE_BYTES), &standing, &records, policy).unwrap()
    }

    #[test]
    fn zeroes_go_without_asking() {
        let blank = MemoryDevice::new(vec![0; SIZE_BYTES], 512);
        assert!(goes(&job("b"), &blank, &policy()));
    }

    #[test]
    fn bytes_that_nothing_recognizes_are_asked_about() {
        let behind = with_byte_at(SIZE_BYTES - 1);
        assert!(!goes(&job("b"), &behind, &policy()));
    }

    #[test]
    fn a_prepared_partition_was_given_up_behind_its_start() {
        let planned = VolumeJob {
            is_planned: true,
            ..job("b")
        };
        assert!(goes(&planned, &with_byte_at(SIZE_BYTES - 1), &policy()));
        assert!(!goes(&planned, &with_byte_at(0), &policy()));
    }

    #[test]
    fn a_rescue_asks_about_what_any_clone_asks_about() {
        let rescue = Policy {
            rescue: Some(Rescue::default()),
            ..policy()
        };
        assert!(!goes(&job("b"), &with_byte_at(1 << 20), &rescue));
    }

    #[test]
    fn a_file_that_does_not_exist_is_free() {
        let job = VolumeJob {
            source: Some(source("a", SIZE_BYTES)),
            ..job("b")
        };
        let records = RecordStore::new("/nowhere".into());
        assert!(is_free(&job, &records, &policy()).unwrap());
    }

    #[test]
    fn one_of_the_names_given_must_be_the_target() {
        let given = ["AB".to_owned(), "CD".to_owned()];
        let wrong = unmatched(&given, &serial("EF"));
        assert_eq!(wrong.map(String::as_str), Some("AB"));
        assert_eq!(unmatched(&given, &serial("CD")), None);
        assert_eq!(unmatched(&[], &serial("EF")), None);
    }
}
