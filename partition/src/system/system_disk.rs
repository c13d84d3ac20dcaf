//! Which disks the running system is on.

use super::location::{Base, Location};
use super::uses::Use;
use super::{DeviceNumber, Object, System};
use crate::text::Shown;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Directories without which the system does not run or start.
const SYSTEM_DIRECTORIES: [&str; 5] = ["/", "/usr", "/boot", "/boot/efi", "/efi"];

impl System {
    /// The whole disks beneath the running system, by their place in the snapshot, and what is on
    /// each.
    pub(super) fn system_disks(&self) -> Vec<(usize, String)> {
        let mut disks = Vec::new();
        for index in 0..self.devices.len() {
            for point in self.mounts_of(index) {
                let is_system = SYSTEM_DIRECTORIES
                    .iter()
                    .any(|at| point.at == Path::new(at));
                if is_system {
                    self.note_disks_under(
                        index,
                        &format!("{} is on it", point.at.shown()),
                        &mut disks,
                    );
                }
            }
            if self.is_swap(index) {
                self.note_disks_under(index, "it is swapped to", &mut disks);
            }
        }
        for (index, path) in self.swap_file_devices() {
            let why = format!("the swap file {} is on it", path.shown());
            self.note_disks_under(index, &why, &mut disks);
        }
        disks
    }

    /// The devices that hold active swap files.
    fn swap_file_devices(&self) -> Vec<(usize, PathBuf)> {
        let mut found = Vec::new();
        for swap in &self.swaps {
            if self.index_of_node(&swap.path).is_some() {
                continue;
            }
            // The mount with the longest directory that the path starts with; a number of its
            // own for every mount is why Btrfs is looked up by its source.
            let mounts = self
                .mounts
                .iter()
                .filter(|mount| swap.path.starts_with(&mount.point.at));
            let mount = mounts.max_by_key(|mount| mount.point.at.components().count());
            let index = mount.and_then(|mount| {
                self.index_of_number(mount.number)
                    .or_else(|| self.index_of_node(&mount.source))
            });
            found.extend(index.map(|index| (index, swap.path.clone())));
        }
        found
    }

    fn note_disks_under(&self, index: usize, why: &str, disks: &mut Vec<(usize, String)>) {
        for disk in self.disks_under(index) {
            if !disks.iter().any(|(known, _)| *known == disk) {
                disks.push((disk, why.to_owned()));
            }
        }
    }

    /// The disks at the bottom of a device, through partitions, device-mapper, RAID and loops.
    fn disks_under(&self, index: usize) -> BTreeSet<usize> {
        let (mut found, mut seen, mut left) = (BTreeSet::new(), BTreeSet::new(), vec![index]);
        while let Some(index) = left.pop() {
            let Some(device) = self.device(index).filter(|_| seen.insert(index)) else {
                continue;
            };
            let below: Vec<usize> = device
                .slaves
                .iter()
                .chain(device.partition.as_ref().map(|partition| &partition.disk))
                .filter_map(|name| self.index_of_name(name))
                .chain(
                    device
                        .loop_file
                        .as_ref()
                        .and_then(|file| self.device_of_file(&file.path)),
                )
                .collect();
            if device.partition.is_none() {
                found.insert(index);
            }
            left.extend(below);
        }
        found
    }

    /// The device whose filesystem a file is on.
    fn device_of_file(&self, path: &Path) -> Option<usize> {
        match self.object(&self.real(path)).ok()? {
            Object::Device(index) => Some(index),
            Object::File { path, .. } => {
                let number = DeviceNumber::split(fs::metadata(path).ok()?.dev());
                self.index_of_number(number)
            }
        }
    }

    /// That `location` lies on a disk of the running system.
    pub(super) fn system_disk_uses(&self, location: &Location) -> Vec<Use> {
        let bases: Vec<Base> = std::iter::once(location.base)
            .chain(location.slaves.iter().map(|slave| slave.base))
            .collect();
        self.system_disks()
            .into_iter()
            .filter_map(|(index, why)| {
                let disk = self.device(index)?;
                let base = self.locate_object(&Object::Device(index), 0).ok()?.base;
                bases.contains(&base).then(|| Use::SystemDisk {
                    disk: disk.name.clone(),
                    why,
                })
            })
            .collect()
    }
}
