//! What the running system says of its disks: sysfs, mounts, swaps, holders.

mod attribute;
mod block_device;
mod btrfs;
mod device_number;
mod disk;
mod disk_mounts;
mod kernel_table;
mod location;
mod lock;
mod logical_volume;
mod mounts;
pub mod rest;
mod serial;
pub mod session;
mod superblock;
mod swaps;
mod system_disk;
mod transport;
mod uses;

use crate::text::{Shown, resealed};
pub use btrfs::{forget_btrfs, is_btrfs_mounted};
pub use device_number::DeviceNumber;
pub use disk::{Disk, DiskPartition};
pub use disk_mounts::DiskMounts;
pub use kernel_table::tell_kernel;
pub use location::{Base, Location, Relation, Slave, relation};
pub use lock::{DiskLock, lock};
pub use logical_volume::LogicalVolume;
pub use mounts::MountPoint;
pub use superblock::Superblock;
pub use transport::Transport;
pub use uses::{HolderKind, Use};

use crate::device::{FileId, Kind, kind_of_type};
use crate::error::{Error, Result};
use crate::identity::Identity;
use block_device::BlockDevice;
use mounts::Mount;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use swaps::Swap;

/// A snapshot of what `/proc` and `/sys` say of disks and of what uses them.
#[derive(Debug)]
pub struct System {
    root: PathBuf,
    devices: Vec<BlockDevice>,
    mounts: Vec<Mount>,
    swaps: Vec<Swap>,
    /// Kernel names of the devices of each mounted Btrfs, by its UUID.
    btrfs: BTreeMap<String, Vec<String>>,
}

/// What a path names: a block device (by its place in the snapshot) or a plain file.
#[derive(Clone, Debug)]
enum Object {
    Device(usize),
    File {
        id: FileId,
        size_bytes: u64,
        path: PathBuf,
    },
}

impl System {
    /// Takes a snapshot of the running system.
    ///
    /// # Errors
    /// [`Error::Open`] when `/proc` or `/sys` can't be read.
    pub fn current() -> Result<Self> {
        Self::load(Path::new("/"))
    }

    /// Takes a snapshot of the system whose `/proc`, `/sys`, `/run` and `/dev` are under `root`.
    ///
    /// # Errors
    /// [`Error::Open`] when `proc` or `sys` there can't be read.
    pub fn load(root: &Path) -> Result<Self> {
        let mut devices = block_device::all(root)?;
        let mounts = mounts::read(&root.join("proc/self/mountinfo"))?;
        let swaps = swaps::read(&root.join("proc/swaps"))?;
        let btrfs = mounts::btrfs_devices(&root.join("sys/fs/btrfs"))?;
        block_device::drop_ambiguous(&mut devices);
        Ok(Self {
            root: root.to_owned(),
            devices,
            mounts,
            swaps,
            btrfs,
        })
    }

    /// What a disk or a file is recognized by: a disk's serial number if it has a usable one, the
    /// slot (`/dev/disk/by-path/…`) of a virtual machine's disk without one, or a file's path, also
    /// for the loop device that shows the file. `None` where only the content (a disk GUID, a
    /// PARTUUID) can say.
    ///
    /// # Errors
    /// [`Error::Open`] when there is nothing at `path`, [`Error::Invalid`] when it is neither a
    /// block device nor a plain file.
    pub fn identity(&self, path: &Path) -> Result<Option<Identity>> {
        let object = self.object(path)?;
        self.identity_of(&object)
    }

    fn identity_of(&self, object: &Object) -> Result<Option<Identity>> {
        let device = match object {
            Object::File { path, .. } => {
                return Ok(Some(Identity::Path(path.shown())));
            }
            Object::Device(index) => self.device(*index),
        };
        if let Some(serial) = device.and_then(|device| device.serial.clone()) {
            return Ok(Some(Identity::Serial(serial)));
        }
        // Its name or slot stays, while its content may come to be the same as that of its source.
        if let Some(name) = device.and_then(|device| device.mapper_name.as_ref()) {
            return Ok(Some(Identity::Path(format!("/dev/mapper/{name}"))));
        }
        if let Some(slot) = device.and_then(BlockDevice::lasting_slot) {
            return Ok(Some(Identity::Path(resealed(slot))));
        }
        let backing = device.and_then(|device| device.loop_file.as_ref());
        match backing.filter(|backing| backing.is_whole()) {
            Some(backing) => match self.object(&self.real(&backing.path)) {
                Ok(object) => self.identity_of(&object),
                Err(_) => Ok(None),
            },
            None => Ok(None),
        }
    }

    fn device(&self, index: usize) -> Option<&BlockDevice> {
        self.devices.get(index)
    }

    fn index_of_name(&self, name: &str) -> Option<usize> {
        self.devices.iter().position(|device| device.name == name)
    }

    fn index_of_number(&self, number: DeviceNumber) -> Option<usize> {
        self.devices
            .iter()
            .position(|device| device.number == number)
    }

    /// A path of the described system as one of ours.
    fn real(&self, path: &Path) -> PathBuf {
        match path.strip_prefix("/") {
            Ok(relative) if !path.starts_with(&self.root) => self.root.join(relative),
            _ => path.to_owned(),
        }
    }

    /// Finds what `path` names, links followed.
    fn object(&self, path: &Path) -> Result<Object> {
        let open_error = |source| Error::Open {
            path: path.to_owned(),
            doing: "find what it is",
            source,
        };
        let metadata = fs::metadata(path).map_err(open_error)?;
        if kind_of_type(path, metadata.file_type())? == Kind::Block {
            let number = DeviceNumber::split(metadata.rdev());
            let unknown = || io::Error::new(io::ErrorKind::NotFound, "the kernel does not list it");
            let index = self.index_of_number(number);
            return index
                .map(Object::Device)
                .ok_or_else(|| open_error(unknown()));
        }
        Ok(Object::File {
            id: FileId::of(&metadata),
            size_bytes: metadata.len(),
            path: fs::canonicalize(path).map_err(open_error)?,
        })
    }

    /// The device that a mount or swap names by path, if it names one.
    fn index_of_node(&self, node: &Path) -> Option<usize> {
        // "tmpfs", "none", "host:/share"
        if !node.is_absolute() {
            return None;
        }
        if let Ok(Object::Device(index)) = self.object(&self.real(node)) {
            return Some(index);
        }
        // The node may be gone, or in another mount namespace; its name still tells.
        let name = &*node.strip_prefix("/dev").ok()?.shown();
        let mapper_name = name.strip_prefix("mapper/");
        self.devices.iter().position(|device| match mapper_name {
            Some(mapper_name) => device.mapper_name.as_deref() == Some(mapper_name),
            None => device.name == name.replace('/', "!"),
        })
    }
}

#[cfg(test)]
mod tests;
