//! Which mounted filesystem a path is on, and on which ones that stands: a filesystem has one superblock,
//! however often, and by whichever of its directories, it is mounted.

use super::mounts::Mount;
use super::{DeviceNumber, Object, System};
use crate::device::FileId;
use crate::error::{Error, Result};
use crate::text::Shown;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A mounted filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Its number in mountinfo; the same for all subvolumes of a Btrfs.
    pub number: DeviceNumber,
    /// The filesystem's name in the kernel.
    pub filesystem: String,
    /// Whether nothing can be written to it, through any mount.
    pub is_read_only: bool,
    /// Where the mount is that was asked for.
    pub at: PathBuf,
}

impl System {
    /// The mounted filesystem that an open file is on.
    ///
    /// # Errors
    /// [`Error::Open`] when the system does not say, [`Error::Invalid`] when it is on a mount that came
    /// later than the snapshot, or on none that this process sees.
    pub fn superblock_of(&self, file: impl AsFd) -> Result<Superblock> {
        let descriptor = file.as_fd().as_raw_fd();
        let mount = self.mount_of(&format!("/proc/self/fdinfo/{descriptor}"))?;
        Ok(Superblock {
            number: mount.number,
            filesystem: mount.point.filesystem.clone(),
            is_read_only: mount.point.is_read_only,
            at: mount.point.at.clone(),
        })
    }

    /// Whether the directory `at` is in the filesystem that is mounted of the block device `node`: another one
    /// that is mounted over it, or over a directory above, is what would be found there. A device that can't be
    /// told is not it.
    #[must_use]
    pub fn leads_to(&self, at: &Path, node: &Path) -> bool {
        self.found_at(at).is_some_and(|mount| is_of(mount, node))
    }

    /// Where something else is mounted, so that the directory `at` does not lead to the filesystem of the block
    /// device `node` that is mounted there: at the same place, or at a directory above. `None` where it leads there,
    /// and where that can't be told.
    #[must_use]
    pub fn covered_at(&self, at: &Path, node: &Path) -> Option<PathBuf> {
        if fs::metadata(node).is_err() {
            return None;
        }
        // A mount above need not have a directory of that name.
        let is_there = |above: &&Path| {
            let missing = fs::symlink_metadata(above).err();
            missing.is_none_or(|error| error.kind() != ErrorKind::NotFound)
        };
        let mount = self.found_at(at.ancestors().find(is_there)?)?;
        (!is_of(mount, node)).then(|| mount.point.at.clone())
    }

    /// What is mounted where the directory `at` leads to.
    fn found_at(&self, at: &Path) -> Option<&Mount> {
        let directory = fs::File::open(at).ok()?;
        let fdinfo = format!("/proc/self/fdinfo/{}", directory.as_raw_fd());
        self.mount_of(&fdinfo).ok()
    }

    /// The numbers of all filesystems that bytes written to `path` come to, through every layer, overlays
    /// included. For a file or a directory this is its own filesystem. A name that does not exist yet counts as
    /// the directory that will have it. For a device these are the filesystems of the files that loop devices
    /// beneath it show.
    ///
    /// What a program serves (FUSE, NBD, a network) is where that program has it: nobody can tell here.
    ///
    /// # Errors
    /// As [`System::superblock_of`], and [`Error::Invalid`] where a loop device shows a file that can't be
    /// found any more.
    pub fn superblocks_beneath(&self, path: &Path) -> Result<BTreeSet<DeviceNumber>> {
        let mut beneath = Beneath::new(self);
        beneath.path(path)?;
        beneath.follow()
    }

    /// The numbers of the filesystems beneath a mounted one, without its own.
    ///
    /// # Errors
    /// As [`System::superblocks_beneath`].
    pub fn superblocks_beneath_mount(
        &self,
        mounted: &Superblock,
    ) -> Result<BTreeSet<DeviceNumber>> {
        let mut beneath = Beneath::new(self);
        beneath.filesystem(mounted.number)?;
        let mut found = beneath.follow()?;
        found.remove(&mounted.number);
        Ok(found)
    }

    /// The mount by its number, which `/proc/self/fdinfo` has (proc_pid_fdinfo(5)).
    fn mount_of(&self, fdinfo: &str) -> Result<&Mount> {
        let text = fs::read_to_string(fdinfo).map_err(|source| Error::Open {
            path: fdinfo.into(),
            doing: "read which mount a file is on",
            source,
        })?;
        let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:"));
        let id = id.and_then(|id| id.trim().parse::<u64>().ok());
        let mut mounts = self.mounts.iter();
        let mount = id.and_then(|id| mounts.find(|mount| mount.id == id));
        mount.ok_or_else(|| {
            Error::Invalid("it is on a mount that is not among those of this process".to_owned())
        })
    }
}

/// The search for what is beneath; each device and each filesystem is looked at once.
struct Beneath<'a> {
    system: &'a System,
    devices: BTreeSet<usize>,
    pending: Vec<usize>,
    found: BTreeSet<DeviceNumber>,
}

impl<'a> Beneath<'a> {
    const fn new(system: &'a System) -> Self {
        Self {
            system,
            devices: BTreeSet::new(),
            pending: Vec::new(),
            found: BTreeSet::new(),
        }
    }

    fn path(&mut self, path: &Path) -> Result<()> {
        let metadata = fs::metadata(path);
        if let Ok(metadata) = &metadata
            && metadata.file_type().is_block_device()
        {
            return match self.system.object(path)? {
                Object::Device(index) => {
                    self.pending.push(index);
                    Ok(())
                }
                Object::File { .. } => Err(Error::Invalid(format!(
                    "{} is no device any more",
                    path.shown()
                ))),
            };
        }
        let is_link = fs::symlink_metadata(path).is_ok();
        let there = match metadata {
            // A link that leads nowhere yet can lead to another filesystem.
            Err(error) if error.kind() == ErrorKind::NotFound && !is_link => parent(path),
            _ => None,
        };
        if let Some(there) = there {
            return self.path(&there);
        }
        let opened = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
        let opened = opened.map_err(|errno| Error::Open {
            path: path.to_owned(),
            doing: "find which filesystem it is on",
            source: errno.into(),
        })?;
        let number = match self.system.superblock_of(&opened) {
            Ok(superblock) => superblock.number,
            // Files in memory alone have a mount that is in no list, and so do those of a mount that was
            // taken away while they were open.
            Err(Error::Invalid(_)) => DeviceNumber::split(metadata_of(path)?.dev()),
            Err(error) => return Err(error),
        };
        self.filesystem(number)
    }

    fn filesystem(&mut self, number: DeviceNumber) -> Result<()> {
        if !self.found.insert(number) {
            return Ok(());
        }
        let system = self.system;
        let mut mounts = system.mounts.iter();
        let upper =
            mounts.find_map(|mount| mount.upper.as_ref().filter(|_| mount.number == number));
        if let Some(upper) = upper {
            return self.path(&system.real(upper));
        }
        let is_on = |index: &usize| {
            let mut mounts = system.mounts.iter().filter(|mount| mount.number == number);
            let name = system.device(*index).map(|device| &device.name);
            name.is_some_and(|name| mounts.any(|mount| system.is_mounted(mount, *index, name)))
        };
        self.pending.extend((0..system.devices.len()).filter(is_on));
        Ok(())
    }

    fn follow(mut self) -> Result<BTreeSet<DeviceNumber>> {
        while let Some(index) = self.pending.pop() {
            let Some(device) = self.system.device(index) else {
                continue;
            };
            if !self.devices.insert(index) {
                continue;
            }
            let disk = device.partition.as_ref().map(|partition| &partition.disk);
            let below = device.slaves.iter().chain(disk);
            let below = below.filter_map(|name| self.system.index_of_name(name));
            self.pending.extend(below);
            let Some(backing) = &device.loop_file else {
                continue;
            };
            let path = self.system.real(&backing.path);
            let id_of = |path: &Path| fs::metadata(path).ok().as_ref().map(FileId::of);
            // Another file may have the name by now, or a mount may cover it.
            let is_named =
                !backing.is_deleted && backing.id.is_none_or(|id| id_of(&path) == Some(id));
            if is_named {
                self.path(&path)?;
                continue;
            }
            let number = backing.id.map(|id| DeviceNumber::split(id.device));
            let known = |number: &DeviceNumber| {
                let mut mounts = self.system.mounts.iter();
                mounts.any(|mount| mount.number == *number)
            };
            let number = number.filter(known).ok_or_else(|| {
                Error::Invalid(format!(
                    "{} shows a file that can't be found any more, so nobody can tell which filesystem \
                     it is on",
                    device.path().shown()
                ))
            })?;
            self.filesystem(number)?;
        }
        Ok(self.found)
    }
}

/// Whether that is mounted of the block device `node`.
fn is_of(mount: &Mount, node: &Path) -> bool {
    let number = |path: &Path| fs::metadata(path).ok().map(|it| it.rdev());
    number(node).is_some_and(|device| {
        // A Btrfs has a number of its own, and is told by the device that it was mounted from.
        let is_from = || number(&mount.source) == Some(device);
        mount.number == DeviceNumber::split(device) || (mount.number.major == 0 && is_from())
    })
}

fn metadata_of(path: &Path) -> Result<fs::Metadata> {
    fs::metadata(path).map_err(|source| Error::Open {
        path: path.to_owned(),
        doing: "find which filesystem it is on",
        source,
    })
}

/// The directory that a name will be made in.
fn parent(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    Some(match parent.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => parent.to_owned(),
    })
}
