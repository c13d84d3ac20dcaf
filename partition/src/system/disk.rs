//! The disks of the system, for listing.

use super::block_device::BlockDevice;
use super::mounts::MountPoint;
use super::transport::Transport;
use super::{Object, System};
use crate::error::Result;
use crate::extent::Extent;
use crate::text;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A whole disk, or what is shown as one.
#[derive(Clone, Debug, Serialize)]
pub struct Disk {
    /// The kernel's name, as in `sda`.
    pub name: String,
    /// Its node.
    #[serde(serialize_with = "text::path")]
    pub path: PathBuf,
    /// Size of the disk.
    pub size_bytes: u64,
    /// Logical sector.
    pub logical_sector_bytes: u32,
    /// Physical sector.
    pub physical_sector_bytes: u32,
    /// What the maker calls it.
    pub model: Option<String>,
    /// Serial number; `None` also when it is not a usable one or another disk has the same.
    pub serial: Option<String>,
    /// World-wide name.
    pub wwn: Option<String>,
    /// How it is connected.
    pub transport: Transport,
    /// Whether it has moving parts, or says so.
    pub is_rotational: bool,
    /// Whether the medium can be taken out. USB disks mostly say no.
    pub is_removable: bool,
    /// Whether it can't be written.
    pub is_read_only: bool,
    /// The partitions that the kernel knows of, by number.
    pub partitions: Vec<DiskPartition>,
    /// Kernel names of the devices that stand on the whole disk.
    pub holders: Vec<String>,
    /// Kernel names of the devices that it stands on.
    pub slaves: Vec<String>,
    /// Where a filesystem on the whole disk is mounted.
    pub mounts: Vec<MountPoint>,
    /// Whether the whole disk is swapped to.
    pub is_swap: bool,
    /// The file that a loop device shows.
    #[serde(serialize_with = "text::path_option")]
    pub loop_file: Option<PathBuf>,
    /// The parts of the running system that are on it.
    pub system: Option<String>,
}

/// A partition as the kernel knows it.
#[derive(Clone, Debug, Serialize)]
pub struct DiskPartition {
    /// The kernel's name, as in `sda1`.
    pub name: String,
    /// Its node.
    #[serde(serialize_with = "text::path")]
    pub path: PathBuf,
    /// Number in the table, from 1.
    pub number: u32,
    /// Where it lies on the disk.
    pub extent: Extent,
    /// Kernel names of the devices that stand on it.
    pub holders: Vec<String>,
    /// Where it is mounted.
    pub mounts: Vec<MountPoint>,
    /// Whether it is swapped to.
    pub is_swap: bool,
}

impl Disk {
    /// The partition that the kernel knows there.
    #[must_use]
    pub fn partition_at(&self, extent: Extent) -> Option<&DiskPartition> {
        self.partitions
            .iter()
            .find(|partition| partition.extent == extent)
    }
}

impl System {
    /// The disks, in order of their names: no memory disks, no optical drives, nothing empty.
    #[must_use]
    pub fn disks(&self) -> Vec<Disk> {
        let systems = self.system_disks();
        let is_listed = |device: &BlockDevice| {
            let is_other = ["ram", "zram", "sr", "fd"].iter().any(|start| {
                let number = device.name.strip_prefix(start);
                number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
            });
            device.partition.is_none() && device.size_bytes > 0 && !is_other
        };
        let disks = self.devices.iter().enumerate();
        disks
            .filter(|(_, device)| is_listed(device))
            .map(|(index, device)| Disk {
                system: systems
                    .iter()
                    .find(|(disk, _)| *disk == index)
                    .map(|(_, why)| why.clone()),
                ..self.disk(index, device)
            })
            .collect()
    }

    fn disk(&self, index: usize, device: &BlockDevice) -> Disk {
        Disk {
            name: device.name.clone(),
            path: device.path(),
            size_bytes: device.size_bytes,
            logical_sector_bytes: device.logical_sector_bytes,
            physical_sector_bytes: device.physical_sector_bytes,
            model: device.model.clone(),
            serial: device.serial.clone(),
            wwn: device.wwn.clone(),
            transport: device.transport,
            is_rotational: device.is_rotational,
            is_removable: device.is_removable,
            is_read_only: device.is_read_only,
            partitions: self.partitions(&device.name),
            holders: device.holders.clone(),
            slaves: device.slaves.clone(),
            mounts: self.mounts_of(index),
            is_swap: self.is_swap(index),
            loop_file: device.loop_file.as_ref().map(|file| file.path.clone()),
            system: None,
        }
    }

    fn partitions(&self, disk: &str) -> Vec<DiskPartition> {
        let mut partitions: Vec<_> = self
            .devices
            .iter()
            .enumerate()
            .filter_map(|(index, device)| {
                let partition = device.partition.as_ref().filter(|part| part.disk == disk)?;
                Some(DiskPartition {
                    name: device.name.clone(),
                    path: device.path(),
                    number: partition.number,
                    extent: device.extent()?,
                    holders: device.holders.clone(),
                    mounts: self.mounts_of(index),
                    is_swap: self.is_swap(index),
                })
            })
            .collect();
        partitions.sort_by_key(|partition| partition.number);
        partitions
    }

    /// The whole disk that `path` is, or is a partition of; `None` for a plain file.
    ///
    /// # Errors
    /// As [`System::locate`].
    pub fn disk_of(&self, path: &Path) -> Result<Option<Disk>> {
        let Object::Device(index) = self.object(path)? else {
            return Ok(None);
        };
        let name = self.device(index).map(|device| {
            let disk = device.partition.as_ref().map(|partition| &partition.disk);
            disk.unwrap_or(&device.name).clone()
        });
        let index = name.and_then(|name| self.index_of_name(&name));
        let found = index.and_then(|index| Some((index, self.device(index)?)));
        let systems = self.system_disks();
        Ok(found.map(|(index, device)| Disk {
            system: systems
                .into_iter()
                .find(|(disk, _)| *disk == index)
                .map(|(_, why)| why),
            ..self.disk(index, device)
        }))
    }
}
