//! Mounts by numbers that the kernel never gives twice while it runs, so that a filesystem that stayed
//! mounted is told apart from one that was mounted again.

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// `STATX_MNT_ID_UNIQUE` of `linux/stat.h`, since Linux 6.8.
const MOUNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// The numbers of the mounts at `points` that are mounts of the block device `device`. None of a mount
/// that another one covers, nor of a filesystem that has a device number of its own (Btrfs), nor where the
/// kernel has no such numbers.
#[must_use]
pub fn mounts(device: &Path, points: &[PathBuf]) -> Vec<u64> {
    let Ok(device) = std::fs::metadata(device) else {
        return Vec::new();
    };
    let number_of = |point: &PathBuf| {
        let flags = AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
        let found = statx(CWD, point, flags, MOUNT_ID_UNIQUE).ok()?;
        let is_told = StatxFlags::from_bits_retain(found.stx_mask).contains(MOUNT_ID_UNIQUE);
        let number = rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor);
        (is_told && number == device.rdev()).then_some(found.stx_mnt_id)
    };
    points.iter().filter_map(number_of).collect()
}
