//! What makes a device or a file unsafe to write, or to read as if it stood still.

use super::location::{Location, Relation, relation};
use super::mounts::MountPoint;
use super::{Object, System};
use crate::error::Result;
use crate::text;
use crate::text::Shown;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// What kind of device stands on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HolderKind {
    /// Device-mapper: LVM, encryption, multipath.
    DeviceMapper,
    /// Software RAID.
    Md,
    /// Bcache.
    Bcache,
    /// Something else.
    Other,
}

/// A reason to keep off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "use")]
#[non_exhaustive]
pub enum Use {
    /// A filesystem on it is mounted.
    Mounted {
        /// The directory.
        #[serde(serialize_with = "text::path")]
        at: PathBuf,
        /// Whether nothing can be written through the mount.
        read_only: bool,
        /// The kernel's name of the mounted device.
        on: String,
    },
    /// It is swapped to.
    Swap {
        /// The kernel's name of the device.
        on: String,
    },
    /// The file is swapped to.
    SwapFile {
        /// The file.
        #[serde(serialize_with = "text::path")]
        path: PathBuf,
    },
    /// Another device is built on it.
    Holder {
        /// The kernel's name of that device, or its name under /dev/mapper.
        name: String,
        /// What kind of device that is.
        kind: HolderKind,
        /// The kernel's name of the device that it stands on.
        on: String,
    },
    /// A loop device shows it.
    LoopBacked {
        /// The kernel's name of the loop device.
        name: String,
    },
    /// The running system is on it, or elsewhere on its disk.
    SystemDisk {
        /// The kernel's name of the disk.
        disk: String,
        /// The part of the system that is there.
        why: String,
    },
    /// It can't be written.
    ReadOnly {
        /// The kernel's name of the device.
        on: String,
    },
}

impl Use {
    /// Whether a source in this use changes while it is read.
    #[must_use]
    pub const fn changes_source(&self) -> bool {
        match self {
            Self::Mounted { read_only, .. } => !*read_only,
            Self::Swap { .. } | Self::SwapFile { .. } => true,
            Self::Holder { .. }
            | Self::LoopBacked { .. }
            | Self::SystemDisk { .. }
            | Self::ReadOnly { .. } => false,
        }
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted { at, read_only, on } => {
                let how = if *read_only { " read-only" } else { "" };
                write!(f, "{on} is mounted{how} at {}", at.shown())
            }
            Self::Swap { on } => write!(f, "{on} is in use as swap"),
            Self::SwapFile { path } => write!(f, "{} is in use as swap", path.shown()),
            Self::Holder { name, kind, on } => {
                let what = match kind {
                    HolderKind::DeviceMapper => "the device-mapper volume",
                    HolderKind::Md => "the RAID array",
                    HolderKind::Bcache => "the bcache",
                    HolderKind::Other => "the device",
                };
                write!(f, "{on} is a part of {what} {name}")
            }
            Self::LoopBacked { name } => write!(f, "the loop device {name} shows it"),
            Self::SystemDisk { disk, why } => {
                write!(f, "the running system uses the disk {disk}: {why}")
            }
            Self::ReadOnly { on } => write!(f, "{on} is read-only"),
        }
    }
}

impl System {
    /// Everything that uses `path`, any partition of it, or what it is a part of, through every
    /// layer. Empty when it is safe as a target.
    ///
    /// # Errors
    /// As [`System::locate`].
    pub fn uses(&self, path: &Path) -> Result<Vec<Use>> {
        let object = self.object(path)?;
        self.uses_of(&object)
    }

    pub(super) fn uses_of(&self, object: &Object) -> Result<Vec<Use>> {
        let location = self.locate_object(object, 0)?;
        let own = match object {
            Object::Device(index) => Some(*index),
            Object::File { .. } => None,
        };
        let mut uses = Vec::new();
        self.collect(&location, own, &mut uses, &mut BTreeSet::new());
        if let Some(device) = own.and_then(|index| self.device(index))
            && device.is_read_only
        {
            let on = device.name.clone();
            uses.push(Use::ReadOnly { on });
        }
        self.swap_file_uses(&location, &mut uses);
        uses.extend(self.system_disk_uses(&location));
        Ok(uses)
    }

    /// Adds the uses of every device that shares bytes with `location`, and of what stands on it.
    fn collect(
        &self,
        location: &Location,
        own: Option<usize>,
        uses: &mut Vec<Use>,
        seen: &mut BTreeSet<usize>,
    ) {
        for index in 0..self.devices.len() {
            let other = self.locate_object(&Object::Device(index), 0);
            let is_on_it = other.is_ok_and(|other| {
                let is_same_base = other.base == location.base;
                match relation(&other, location) {
                    Relation::Unrelated => false,
                    Relation::MayOverlap => true,
                    _ => is_same_base,
                }
            });
            if (is_on_it || Some(index) == own) && seen.insert(index) {
                self.direct_uses(index, own, uses);
                for holder in self.holders(index) {
                    if let Ok(above) = self.locate_object(&Object::Device(holder), 0) {
                        self.collect(&above, Some(holder), uses, seen);
                    }
                }
            }
        }
    }

    /// Adds the uses of one device by itself.
    fn direct_uses(&self, index: usize, own: Option<usize>, uses: &mut Vec<Use>) {
        let Some(device) = self.device(index) else {
            return;
        };
        let on = &device.name;
        let is_shown = device.loop_file.is_some() && Some(index) != own;
        // Two loop devices don't count as other uses: the one that was asked for, and the one whose
        // partition was asked for.
        if is_shown && !self.is_disk_of(index, own) {
            uses.push(Use::LoopBacked { name: on.clone() });
        }
        uses.extend(self.mounts_of(index).into_iter().map(|point| Use::Mounted {
            at: point.at,
            read_only: point.is_read_only,
            on: on.clone(),
        }));
        if self.is_swap(index) {
            uses.push(Use::Swap { on: on.clone() });
        }
        uses.extend(device.holders.iter().map(|holder| {
            let above = self
                .index_of_name(holder)
                .and_then(|index| self.device(index));
            let mapper_name = above.and_then(|above| above.mapper_name.clone());
            Use::Holder {
                name: mapper_name.unwrap_or_else(|| holder.clone()),
                kind: holder_kind(holder),
                on: on.clone(),
            }
        }));
    }

    fn is_disk_of(&self, disk: usize, part: Option<usize>) -> bool {
        let disk = self.device(disk).map(|device| &device.name);
        let part = part.and_then(|index| self.device(index));
        part.and_then(|device| device.partition.as_ref())
            .is_some_and(|partition| Some(&partition.disk) == disk)
    }

    fn holders(&self, index: usize) -> Vec<usize> {
        let names = self.device(index).map(|device| device.holders.as_slice());
        names
            .unwrap_or_default()
            .iter()
            .filter_map(|name| self.index_of_name(name))
            .collect()
    }

    /// Where the device itself is mounted.
    pub(super) fn mounts_of(&self, index: usize) -> Vec<MountPoint> {
        let Some(device) = self.device(index) else {
            return Vec::new();
        };
        let mut points = Vec::new();
        for mount in &self.mounts {
            if self.is_mounted(mount, index, &device.name) && !points.contains(&mount.point) {
                points.push(mount.point.clone());
            }
        }
        points
    }

    /// Whether `mount` is of that device, which has that name.
    pub(super) fn is_mounted(&self, mount: &super::Mount, index: usize, name: &str) -> bool {
        // The source is only a name; it decides where the number is that of no device.
        match self.index_of_number(mount.number) {
            Some(mounted) => mounted == index,
            None => {
                self.index_of_node(&mount.source) == Some(index)
                    || self.is_btrfs_sibling(mount, name)
            }
        }
    }

    /// Whether `name` is a device of the Btrfs that `mount` mounts.
    fn is_btrfs_sibling(&self, mount: &super::Mount, name: &str) -> bool {
        if mount.point.filesystem != "btrfs" {
            return false;
        }
        let source = self
            .index_of_node(&mount.source)
            .and_then(|index| self.device(index));
        let has = |devices: &[String], name: &str| devices.iter().any(|device| device == name);
        self.btrfs.values().any(|devices| match source {
            Some(source) => has(devices, &source.name) && has(devices, name),
            // Which Btrfs this is can't be told, so it may be any.
            None => has(devices, name),
        })
    }

    pub(super) fn is_swap(&self, index: usize) -> bool {
        let mut swaps = self.swaps.iter();
        swaps.any(|swap| self.index_of_node(&swap.path) == Some(index))
    }

    fn swap_file_uses(&self, location: &Location, uses: &mut Vec<Use>) {
        for swap in &self.swaps {
            let object = self.object(&self.real(&swap.path));
            if let Ok(object @ Object::File { .. }) = object
                && let Ok(file) = self.locate_object(&object, 0)
                && relation(&file, location) != Relation::Unrelated
            {
                let path = swap.path.clone();
                uses.push(Use::SwapFile { path });
            }
        }
    }
}

fn holder_kind(name: &str) -> HolderKind {
    if name.starts_with("dm-") {
        HolderKind::DeviceMapper
    } else if name.starts_with("md") {
        HolderKind::Md
    } else if name.starts_with("bcache") {
        HolderKind::Bcache
    } else {
        HolderKind::Other
    }
}
