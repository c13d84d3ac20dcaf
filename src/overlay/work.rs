//! How the room does each job.

use super::Job;
use super::copied;
use super::mounted::{Mounting, mounted};
use super::namespace::RoomPaths;
use super::shrink;
use anyhow::Result;
use std::path::Path;

/// Nothing is resumed that was under way, nothing is discarded, and nothing on it is run.
const XFS: Mounting = Mounting {
    kind: "xfs",
    options: "loop,rw,noatime,nosuid,nodev,noexec,nouuid",
};
const BTRFS: Mounting = Mounting {
    kind: "btrfs",
    options: "loop,rw,noatime,nosuid,nodev,noexec,nodiscard,skip_balance",
};

/// Does a job. Returns the answer if the job asks for something.
///
/// # Errors
/// Why it could not be done.
pub(super) fn run(job: Job, paths: &RoomPaths) -> Result<Option<u64>> {
    let volume = &*paths.volume;
    let nothing = |()| None;
    match job {
        Job::ReplayXfs => around(paths, &XFS, |_| Ok(None)),
        Job::ReplayBtrfs => around(paths, &BTRFS, |_| Ok(None)),
        Job::ShrinkExt(bytes) => shrink::ext(volume, bytes).map(nothing),
        Job::ShrinkNtfs(bytes) => shrink::ntfs(volume, bytes).map(nothing),
        Job::ShrinkBtrfs(bytes) => {
            let done = around(paths, &BTRFS, |at| shrink::btrfs(at, bytes));
            done.map(nothing)
        }
        Job::CopyXfs => copied::xfs(paths).map(nothing),
        Job::UnmarkNtfs => shrink::unmark_ntfs(volume).map(nothing),
        Job::LeastExt => shrink::ext_least_bytes(volume).map(Some),
        Job::LeastNtfs => shrink::ntfs_least_bytes(volume).map(Some),
        Job::LeastBtrfs => {
            let least = around(paths, &BTRFS, shrink::btrfs_least_bytes);
            least.map(Some)
        }
    }
}

/// Mounts the volume, lets `work` be done in it, and unmounts it.
fn around<T>(
    paths: &RoomPaths,
    mounting: &Mounting,
    work: impl FnOnce(&Path) -> Result<T>,
) -> Result<T> {
    let there = mounted(&paths.volume, &paths.mount_point, mounting)?;
    let done = work(&paths.mount_point);
    there.unmount()?;
    done
}
