//! A made-up `/proc` and `/sys` in a temporary directory.

use crate::system::System;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub(super) struct Fixture {
    directory: TempDir,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let fixture = Self {
            directory: TempDir::new().unwrap(),
        };
        for path in [
            "sys/class/block",
            "sys/devices",
            "proc/self",
            "run/udev/data",
        ] {
            fs::create_dir_all(fixture.root().join(path)).unwrap();
        }
        fixture.mounts(&[]);
        fixture.swaps(&[]);
        fixture
    }

    pub(super) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn load(&self) -> System {
        System::load(self.root()).unwrap()
    }

    fn class(&self, name: &str) -> PathBuf {
        self.root().join("sys/class/block").join(name)
    }

    /// A disk at `place` in the device tree, of `size` units of 512 bytes.
    pub(super) fn disk(&self, place: &str, number: &str, size: u64) {
        let sysfs = self.root().join("sys/devices").join(place);
        fs::create_dir_all(&sysfs).unwrap();
        let name = sysfs.file_name().unwrap().to_str().unwrap();
        symlink(&sysfs, self.class(name)).unwrap();
        self.set(name, "dev", number);
        self.set(name, "size", &size.to_string());
    }

    /// A partition: its number, start and size in units of 512 bytes.
    pub(super) fn partition(&self, disk: &str, name: &str, dev: &str, part: (u32, u64, u64)) {
        let sysfs = fs::canonicalize(self.class(disk)).unwrap().join(name);
        fs::create_dir_all(&sysfs).unwrap();
        symlink(&sysfs, self.class(name)).unwrap();
        self.set(name, "dev", dev);
        self.set(name, "partition", &part.0.to_string());
        self.set(name, "start", &part.1.to_string());
        self.set(name, "size", &part.2.to_string());
    }

    pub(super) fn set(&self, device: &str, attribute: &str, value: &str) {
        self.set_bytes(device, attribute, format!("{value}\n").as_bytes());
    }

    pub(super) fn set_bytes(&self, device: &str, attribute: &str, value: &[u8]) {
        let path = self.class(device).join(attribute);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, value).unwrap();
    }

    /// Makes `upper` stand on `lower`.
    pub(super) fn hold(&self, lower: &str, upper: &str) {
        self.set(lower, &format!("holders/{upper}"), "");
        self.set(upper, &format!("slaves/{lower}"), "");
    }

    pub(super) fn mounts(&self, lines: &[&str]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(self.root().join("proc/self/mountinfo"), text).unwrap();
    }

    pub(super) fn swaps(&self, lines: &[&str]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let text = format!("Filename\t\tType\tSize\tUsed\tPriority\n{text}");
        fs::write(self.root().join("proc/swaps"), text).unwrap();
    }

    pub(super) fn btrfs(&self, uuid: &str, devices: &[&str]) {
        let directory = self.root().join("sys/fs/btrfs").join(uuid).join("devices");
        fs::create_dir_all(&directory).unwrap();
        for device in devices {
            fs::write(directory.join(device), "").unwrap();
        }
    }

    pub(super) fn udev(&self, number: &str, notes: &str) {
        fs::write(self.root().join(format!("run/udev/data/b{number}")), notes).unwrap();
    }

    /// Names the slot of a disk, as udev does.
    pub(super) fn slot(&self, slot: &str, device: &str) {
        let directory = self.root().join("dev/disk/by-path");
        fs::create_dir_all(&directory).unwrap();
        symlink(format!("../../{device}"), directory.join(slot)).unwrap();
    }

    /// A plain file of `size_bytes` at the root of the system.
    pub(super) fn file(&self, name: &str, size_bytes: u64) -> PathBuf {
        let path = self.root().join(name);
        fs::File::create(&path)
            .unwrap()
            .set_len(size_bytes)
            .unwrap();
        path
    }
}
