//! Filesystems on disks that are mounted, and those that can be written to although no mount shows it:
//! unmounted lazily, or mounted for other processes alone.

use super::DeviceNumber;
use super::block_device::names_in;
use super::mounts::{self, Mount, MountPoint};
use crate::error::{Error, Result};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Filesystems whose kernel modules list what they have open: `/sys/fs/NAME/DEVICE`.
const LISTED: [&str; 3] = ["ext4", "xfs", "f2fs"];

/// What is mounted of disks, by `/proc` and `/sys` alone.
#[derive(Debug)]
pub struct DiskMounts {
    /// In the order in which they were mounted.
    all: Vec<Mount>,
    /// Names of filesystems that live on a block device (proc_filesystems(5): no `nodev`).
    kinds: BTreeSet<String>,
    /// Kernel names of the devices of filesystems that are open, with no mount that shows them.
    hidden: Vec<String>,
}

impl super::System {
    /// The kernel's name of the filesystem that is mounted at that directory.
    #[must_use]
    pub fn mount_point(&self, at: &Path) -> Option<String> {
        let mut mounts = self.mounts.iter().rev();
        let found = mounts.find(|mount| mount.point.at == at);
        found.map(|mount| mount.point.filesystem.clone())
    }
}

impl DiskMounts {
    /// Reads `proc` and `sys` under `root`.
    ///
    /// # Errors
    /// [`Error::Open`] when one of them can't be read, [`Error::Unsupported`] for a line that can't be
    /// understood.
    pub fn read(root: &Path) -> Result<Self> {
        let all = mounts::read(&root.join("proc/self/mountinfo"))?;
        let path = root.join("proc/filesystems");
        let text = fs::read_to_string(&path).map_err(|source| Error::Open {
            path,
            doing: "read which filesystems live on disks",
            source,
        })?;
        let on_disks = text.lines().filter(|line| !line.starts_with("nodev"));
        let kinds = on_disks.map(|line| line.trim().to_owned()).collect();
        let hidden = hidden(root, &all)?;
        Ok(Self { all, kinds, hidden })
    }

    /// The mount that `path` is in.
    #[must_use]
    pub fn of(&self, path: &Path) -> Option<&MountPoint> {
        let points = self.all.iter().map(|mount| &mount.point);
        let within = points.filter(|point| path.starts_with(&point.at));
        // Of several at one place the last one covers the others.
        within.max_by_key(|point| point.at.components().count())
    }

    /// Whether a filesystem lives on a disk.
    #[must_use]
    pub fn is_on_disk(&self, point: &MountPoint) -> bool {
        self.kinds.contains(&point.filesystem)
    }

    /// Where filesystems of disks can be written to: mount points, and devices without a mount that anyone
    /// sees. The one that is mounted at `except` is left out.
    #[must_use]
    pub fn writable(&self, except: Option<&MountPoint>) -> Vec<PathBuf> {
        let own = self
            .all
            .iter()
            .rev()
            .find(|mount| Some(&mount.point) == except);
        let is_other = |mount: &&Mount| own.is_none_or(|own| own.number != mount.number);
        let points = self.all.iter().filter(is_other).map(|mount| &mount.point);
        let writable = points.filter(|point| !point.is_read_only && self.is_on_disk(point));
        let devices = self.hidden.iter().map(|name| Path::new("/dev").join(name));
        writable
            .map(|point| point.at.clone())
            .chain(devices)
            .collect()
    }
}

/// The devices of filesystems that the kernel has open and that no mount shows.
fn hidden(root: &Path, mounts: &[Mount]) -> Result<Vec<String>> {
    let mut hidden = Vec::new();
    for kind in LISTED {
        let directory = root.join("sys/fs").join(kind);
        let names = match names_in(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            names => names.map_err(|source| Error::Open {
                path: directory,
                doing: "list filesystems that are open",
                source,
            })?,
        };
        for name in names {
            // Not all that is listed is a device: `features`, `stats`.
            let number = fs::read_to_string(root.join("sys/class/block").join(&name).join("dev"));
            let Some(number) = number.as_deref().ok().and_then(number_of) else {
                continue;
            };
            if !mounts.iter().any(|mount| mount.number == number) {
                hidden.push(name);
            }
        }
    }
    Ok(hidden)
}

fn number_of(text: &str) -> Option<DeviceNumber> {
    DeviceNumber::parse(text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::DiskMounts;
    use std::fs;
    use std::path::{Path, PathBuf};

    const MOUNTINFO: &str = "\
21 1 8:1 / / ro,relatime shared:1 - ext4 /dev/sda1 ro
22 21 0:5 / /proc rw - proc proc rw
23 21 8:2 / /home rw - ext4 /dev/sda2 rw
24 21 8:3 / /old ro - xfs /dev/sda3 rw
25 21 0:40 / /data rw - btrfs /dev/sdb rw
26 21 0:41 / /net rw - nfs host:/share rw
27 21 8:1 /var/lib /again ro - ext4 /dev/sda1 rw
";

    fn put(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn system() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let kinds = "nodev\tproc\nnodev\tnfs\n\text4\n\txfs\n\tbtrfs\n";
        put(root.path(), "proc/filesystems", kinds);
        put(root.path(), "proc/self/mountinfo", MOUNTINFO);
        for (name, number) in [("sda1", "8:1\n"), ("sda2", "8:2\n"), ("sda9", "8:9\n")] {
            put(
                root.path(),
                &format!("sys/fs/ext4/{name}/session_write_kbytes"),
                "1",
            );
            put(root.path(), &format!("sys/class/block/{name}/dev"), number);
        }
        put(root.path(), "sys/fs/ext4/features/lazy_itable_init", "x");
        root
    }

    #[test]
    fn what_can_be_written_to_is_found_however_it_is_mounted() {
        let root = system();
        let mounts = DiskMounts::read(root.path()).unwrap();
        let own = mounts.of(Path::new("/var/lib/klon/ledger")).unwrap();
        assert_eq!(own.at, Path::new("/"));
        assert!(mounts.is_on_disk(own));
        // A read-only mount of a filesystem that can be written to hides nothing; one without a
        // mount is told by its device.
        let found = mounts.writable(Some(own));
        let expected = ["/home", "/old", "/data", "/dev/sda9"];
        assert_eq!(found, expected.map(PathBuf::from));
        assert!(mounts.writable(None).contains(&PathBuf::from("/again")));
        let other = mounts.of(Path::new("/net/x")).unwrap();
        assert!(!mounts.is_on_disk(other));
    }

    #[test]
    fn what_can_t_be_read_is_no_empty_answer() {
        let root = system();
        fs::remove_file(root.path().join("proc/filesystems")).unwrap();
        DiskMounts::read(root.path()).unwrap_err();
        put(root.path(), "proc/filesystems", "\text4\n");
        put(root.path(), "proc/self/mountinfo", "no line of that kind\n");
        DiskMounts::read(root.path()).unwrap_err();
    }
}
