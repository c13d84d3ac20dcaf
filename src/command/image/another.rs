//! Whether a disk is another one than the disk whose snapshots it seems to continue. Disks without
//! serial numbers that were written from one image have the same identity.

use super::What;
use crate::human;
use klon_imaging::image::{CaptureSummary, PartitionId, Snapshot, SnapshotDevice};
use klon_partition::device::Window;
use klon_partition::filesystem::{Kind, Recognized, recognize};
use klon_partition::{Extent, ReadAt};
use std::sync::Arc;

/// klon concludes nothing from fewer chunks: in a small volume, any change is in most of them.
const CHUNKS_MIN: u64 = 8;

const ADVICE: &str = "If this is another disk with the same identity, give each disk its own \
    --name, so that prune tells them apart";

/// A filesystem, and how far its own count of writes has come.
#[derive(PartialEq, Eq)]
struct Age {
    kind: Kind,
    uuid: Option<String>,
    count: u64,
}

/// What is said when a filesystem of the source has a shorter history than it had in `previous`.
pub(super) fn went_back(
    source: &What<'_>,
    partitions: &[PartitionId],
    previous: &Arc<Snapshot>,
) -> Option<String> {
    let then = SnapshotDevice::new(Arc::clone(previous));
    let mut places: Vec<Extent> = partitions
        .iter()
        .map(|partition| partition.extent)
        .collect();
    if places.is_empty() {
        places.extend(source.device.geometry().extent());
    }
    let back = places.into_iter().find_map(|place| {
        let now = Window::new(source.device, place).ok()?;
        let now = age(&source.recognized(place)?, &now)?;
        let then = Window::new(&then as &dyn ReadAt, place).ok()?;
        let then = age(&recognize(&then).ok()??, &then)?;
        is_back(&then, &now).then_some(now.kind)
    })?;
    Some(format!(
        "the {back} on it counts fewer writes than in snapshot {}, so someone brought it back to \
         an earlier state. {ADVICE}",
        previous.number()
    ))
}

fn is_back(then: &Age, now: &Age) -> bool {
    (then.kind, &then.uuid) == (now.kind, &now.uuid) && now.count < then.count
}

/// The age of a filesystem, where it can be read.
fn age(filesystem: &Recognized, volume: &dyn ReadAt) -> Option<Age> {
    let count = filesystem.age(volume).ok()??;
    let summary = filesystem.summary();
    Some(Age {
        kind: summary.kind,
        uuid: summary.uuid.clone(),
        count,
    })
}

/// What is said when most of what is in use differs from `previous`.
pub(super) fn differs(
    summary: &CaptureSummary,
    chunk_bytes: u64,
    previous: &Snapshot,
) -> Option<String> {
    let is_most = summary.changed_used_bytes > summary.used_bytes / 2
        && summary.changed_bytes >= chunk_bytes.saturating_mul(CHUNKS_MIN);
    is_most.then(|| {
        format!(
            "{} of {} in use differ from snapshot {}. {ADVICE}",
            human::size(summary.changed_used_bytes),
            human::size(summary.used_bytes),
            previous.number()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{Age, is_back};
    use klon_partition::filesystem::Kind;

    #[test]
    fn only_the_same_filesystem_can_go_back() {
        let age = |kind, uuid: &str, count| Age {
            kind,
            uuid: Some(uuid.to_owned()),
            count,
        };
        let then = age(Kind::Ext4, "a", 7);
        assert!(is_back(&then, &age(Kind::Ext4, "a", 6)));
        assert!(!is_back(&then, &age(Kind::Ext4, "a", 7)));
        assert!(!is_back(&then, &age(Kind::Ext4, "b", 6)));
        assert!(!is_back(&then, &age(Kind::Xfs, "a", 6)));
    }
}
