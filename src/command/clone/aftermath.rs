//! After a run that failed: what is safe, and what to do.

use crate::advice::{self, ELSEWHERE, reason};
use crate::drive::OpenTarget;
use crate::error::Advice;
use crate::jobs::VolumeJob;
use crate::volume::SourceEnd;
use anyhow::Error;
use klon_imaging::mark::Mark;
use klon_imaging::{Error as ImagingError, RecordStore};
use klon_partition::Shown;
use nix::libc::{EDQUOT, EFBIG, EIO, ENODEV, ENOSPC, ENXIO};
use std::path::Path;

/// Adds to an error what the target is now and what to do next. `name` names all volumes that it is
/// about; `is_commit` says whether everything but the last step was done.
pub(super) fn tell(
    error: Error,
    (job, name): (&VolumeJob, &str),
    source: &SourceEnd,
    target: &OpenTarget,
    records: &RecordStore,
    is_commit: bool,
) -> Error {
    let cause = error.downcast_ref();
    let said = match cause {
        // These say it themselves.
        Some(ImagingError::NoRoom { .. } | ImagingError::AfterCommit(_)) => String::new(),
        _ => standing(name, target, is_commit),
    };
    let advice = advice(&error, job, source, records);
    let told: Vec<String> = [said, advice]
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect();
    match told.is_empty() {
        true => error,
        false => error.context(Advice(told.join(". "))),
    }
}

/// Says of an error before the first write that nothing was written, and what records need.
pub(super) fn not_begun(error: Error, records: &RecordStore) -> Error {
    let advice = of_records(reason(&error).unwrap_or(0), records);
    error.context(Advice(format!("Nothing was written. {advice}")))
}

/// What stands on the target now.
fn standing(name: &str, target: &OpenTarget, is_commit: bool) -> String {
    match Mark::read(&target.volume) {
        Err(_) => format!(
            "klon can't read {name} any more. If a run was begun there, {name} is marked as \
             unfinished. Attach it again and run the same command: it goes on, or compares"
        ),
        Ok(None) if target.is_useless() => {
            format!("There is no new file {name}, because nothing was written to it")
        }
        Ok(Some(mark)) if mark.staged.is_some() => format!(
            "All of the update is staged on the drive. `klon finish` or the same command completes \
             {name}"
        ),
        Ok(Some(_)) => format!(
            "{name} is marked as unfinished, so nothing takes it for a complete clone. Run the \
             same command again to complete it"
        ),
        Ok(None) if is_commit => format!(
            "The last step failed, so {name} may not be durable. Run the same command again: it \
             compares"
        ),
        Ok(None) => {
            format!("{name} is as it was before: nothing in use on it was overwritten")
        }
    }
}

/// What the system's reason asks for.
fn advice(error: &Error, job: &VolumeJob, source: &SourceEnd, records: &RecordStore) -> String {
    let Some(number) = reason(error) else {
        return String::new();
    };
    let innermost = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<ImagingError>())
        .last();
    let of_record = match innermost {
        Some(ImagingError::AfterCommit(cause)) => cause,
        Some(other) => other,
        None => return String::new(),
    };
    if matches!(of_record, ImagingError::RecordIo { .. }) {
        return of_records(number, records);
    }
    let device = match innermost {
        Some(ImagingError::Source(_)) => &source.name,
        _ => &job.target.place.given,
    };
    match number {
        EIO | ENXIO | ENODEV => format!(
            "{device} fails, was detached or became smaller. Check its cable and power, and dmesg. \
             smartctl -a shows its health"
        ),
        _ => advice::about(number, Path::new(device), ELSEWHERE).unwrap_or_default(),
    }
}

/// What the state directory needs.
fn of_records(number: i32, records: &RecordStore) -> String {
    let directory = records.directory().shown();
    match number {
        ENOSPC | EDQUOT => format!(
            "Make room in {directory}, where klon keeps its records, or name another place with \
             --records DIR"
        ),
        EFBIG => {
            let elsewhere = "raise the limit, or name another place with --records DIR";
            advice::about(number, records.directory(), elsewhere).unwrap_or_default()
        }
        _ => format!(
            "klon must be able to write its records to {directory}. Or name another place with \
             --records DIR"
        ),
    }
}
