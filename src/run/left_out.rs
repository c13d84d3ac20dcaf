//! What a run leaves out of its sources by choice: the user's choice of now, or of the earlier run.

use super::consent;
use crate::jobs::VolumeJob;
use klon_imaging::RecordStore;
use klon_partition::Outside;

/// Leaves out of each source what the user chose: now, or in the run that made the clone which stands on the
/// target.
pub fn choose(jobs: &mut [VolumeJob], asked: Option<Outside>, records: &RecordStore) {
    for job in jobs {
        let chosen = asked.or_else(|| before(job, records)).unwrap_or_default();
        if let Some(source) = &mut job.source {
            source.limit(chosen);
        }
    }
}

/// What was chosen for the clone that stands on the target. A target that was made anew has none of it, whatever
/// its record says.
fn before(job: &VolumeJob, records: &RecordStore) -> Option<Outside> {
    let source = job.source.as_ref()?;
    // A record, or a target, that can't be read says nothing.
    let record = records.outline(&job.target.identity).ok()??;
    let stands = || consent::bears_earlier_clone(job, records).unwrap_or(false);
    (record.manifest.source == source.identity && stands()).then_some(record.manifest.outside)
}
