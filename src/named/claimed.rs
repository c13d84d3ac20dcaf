//! Devices that klon claims as sources, and that something has already: it must be known what that is.

use klon_partition::Error;
use klon_partition::Shown as _;
use klon_partition::device::{Kind, Source, open_source};
use klon_partition::system::{System, Use};
use nix::sys::stat::{major, minor};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Filesystems that show under /sys/fs, for all mount namespaces, which devices they are mounted from.
const SHOWN_BY_DEVICE: [&str; 3] = ["ext4", "xfs", "f2fs"];

/// As [`open_source`], for a device whose other users klon knows.
///
/// # Errors
/// As [`open_source`]; [`Error::Refused`] for one that is mounted where klon can't see it (in another mount
/// namespace, or unmounted lazily while files on it are open): what is on the device is not what is in
/// its files.
pub fn open(path: &Path) -> klon_partition::Result<Source> {
    let source = open_source(path)?;
    if source.kind() != Kind::Block || source.is_exclusive() {
        return Ok(source);
    }
    let system = System::current()?;
    let uses = system.uses(path)?;
    let names = names(path);
    let is_listed = |name: &OsString| {
        let is_it = |one: &Use| matches!(one, Use::Mounted { on, .. } if name.to_str() == Some(on));
        uses.iter().any(is_it)
    };
    if let Some(name) = names
        .iter()
        .find(|name| is_mounted(name) && !is_listed(name))
    {
        return Err(refusal(
            path,
            &format!("{} is mounted", Path::new(name).shown()),
        ));
    }
    let is_explained = uses.iter().any(|one| {
        matches!(
            one,
            Use::Mounted { .. } | Use::Swap { .. } | Use::Holder { .. }
        )
    });
    if is_explained || is_own(path) {
        return Ok(source);
    }
    Err(refusal(path, "something has claimed it"))
}

fn refusal(path: &Path, what: &str) -> Error {
    Error::Refused(format!(
        "{} would change while it is read: {what}, and not where klon can see it. It may be mounted in a \
         container or another mount namespace, or unmounted lazily while files on it are open, or another \
         program has it. Find out which (`grep NAME /proc/*/mountinfo`, `fuser -vm`), and unmount it there",
        path.shown()
    ))
}

/// The kernel's names of a device and its partitions.
fn names(path: &Path) -> Vec<OsString> {
    let Ok(device) = fs::metadata(path).map(|found| found.rdev()) else {
        return Vec::new();
    };
    let (major, minor) = (major(device), minor(device));
    let Ok(directory) = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")) else {
        return Vec::new();
    };
    let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
    let parts = entries.filter(|entry| entry.path().join("partition").exists());
    let own = directory.file_name().map(OsString::from);
    own.into_iter()
        .chain(parts.map(|entry| entry.file_name()))
        .collect()
}

/// Whether a filesystem says that it is mounted from the device `name`.
fn is_mounted(name: &OsString) -> bool {
    let by_device = |filesystem: &&str| Path::new("/sys/fs").join(filesystem).join(name).exists();
    let volumes = fs::read_dir("/sys/fs/btrfs")
        .into_iter()
        .flatten()
        .flatten();
    let mut devices = volumes.map(|volume| volume.path().join("devices").join(name));
    SHOWN_BY_DEVICE.iter().any(by_device) || devices.any(|device| device.exists())
}

/// Whether klon itself holds the claim: this process has another descriptor of the device, its disk or a partition
/// of the disk.
fn is_own(path: &Path) -> bool {
    let disk = |device: u64| {
        let (major, minor) = (major(device), minor(device));
        let directory = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
        match directory.join("partition").exists() {
            true => directory.parent().map(Path::to_owned),
            false => Some(directory),
        }
    };
    let Some(own) = fs::metadata(path).ok().and_then(|found| disk(found.rdev())) else {
        return false;
    };
    let descriptors = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let devices = descriptors.filter_map(|entry| Some(fs::metadata(entry.path()).ok()?.rdev()));
    // One of them was opened just now.
    devices
        .filter(|&device| device != 0 && disk(device).as_ref() == Some(&own))
        .count()
        > 1
}
