//! What must stay on a target until its update is whole.

use crate::jobs::VolumeJob;
use crate::likeness::Likeness;
use crate::messages::say;
use crate::named::open::recognized_in;
use crate::source::SourceEnd;
use crate::target::open::OpenTarget;
use anyhow::Result;
use klon_imaging::RecordStore;
use klon_imaging::mark::Mark;
use klon_partition::ReadAt;
use klon_partition::filesystem::{Basis, Usage, usage, usage_by};
use klon_partition::inspect::{disk_usage_by, inspect};

/// What must stay on the target of an earlier clone of the same source. `None` when there is nothing
/// to save: the target holds something else, or a clone that was not finished.
///
/// # Errors
/// When the target can't be read.
pub fn present(
    job: &VolumeJob,
    source: &SourceEnd,
    target: &OpenTarget,
    records: &RecordStore,
) -> Result<Option<Usage>> {
    let volume: &dyn ReadAt = &target.volume;
    if job.target.now.is_none() || Mark::read(volume)?.is_some() {
        return Ok(None);
    }
    // A new file in the place of one that had a record: nothing was ever written to it.
    if let Some(whole) = volume.geometry().extent()
        && volume.data(whole)?.is_empty()
    {
        return Ok(None);
    }
    // What was found when the target was opened is there still, unless an update was completed since.
    let open = target.layout().zip(job.target.now.as_ref());
    let wanted = Likeness::new(source.usage.summary.as_ref(), source.table.as_ref());
    let (found, used) = if source.table.is_some() {
        let known = open.filter(|(_, now)| now.open.partition.is_none());
        let looked;
        let layout = match known {
            Some((layout, _)) => layout,
            None => {
                looked = inspect(volume)?;
                &looked
            }
        };
        let Some(table) = &layout.table else {
            return Ok(None);
        };
        let used = disk_usage_by(volume, &layout.volumes)?.into_usage();
        (Likeness::new(None, Some(table)), used)
    } else {
        let known =
            open.and_then(|(layout, now)| recognized_in(layout, now.open.partition.as_ref()));
        let usage = match known {
            Some(filesystem) => usage_by(volume, filesystem.clone())?,
            None => usage(volume)?,
        };
        if usage.summary.is_none() && source.usage.summary.is_some() {
            // Consent was asked for: a clone whose signature is gone is none any more.
            return Ok(None);
        }
        if let Basis::Whole {
            reason,
            is_warning: true,
        } = &usage.basis
        {
            say(&format!(
                "klon: warning: {}: its filesystem is unreliable now ({reason}), so all of it \
                 counts as in use, and it has no room to stage an update",
                job.name
            ));
        }
        (Likeness::new(usage.summary.as_ref(), None), usage)
    };
    let is_recorded = || match records.outline(&job.target.identity) {
        Ok(record) => record.is_some_and(|record| record.manifest.source == source.identity),
        // Only targets have records, also damaged ones.
        Err(_) => true,
    };
    let is_clone = (found == wanted && wanted.is_unique()) || is_recorded();
    Ok(is_clone.then_some(used))
}
