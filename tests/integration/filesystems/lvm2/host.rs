//! LVM's own tools, shut off from all but their own loop devices.

use crate::support::{LoopDevice, MIB, run};
use klon_partition::{Extent, ExtentMap};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Loop devices and a configuration of LVM that sees these alone. Nothing is activated, so no
/// device mapper is needed.
pub(super) struct Host {
    directory: TempDir,
    pub(super) images: Vec<PathBuf>,
    pub(super) devices: Vec<LoopDevice>,
}

impl Host {
    /// With empty devices of these sizes.
    pub(super) fn new(sizes_mib: &[u64], sector_bytes: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let images = (0..sizes_mib.len())
            .map(|index| directory.path().join(format!("{index}.img")))
            .collect();
        let mut host = Self {
            directory,
            images,
            devices: Vec::new(),
        };
        for (image, size_mib) in host.images.iter().zip(sizes_mib) {
            let file = File::create(image).unwrap();
            file.set_len(size_mib * MIB).unwrap();
            host.devices.push(LoopDevice::new(image, sector_bytes));
        }
        host.configure();
        host
    }

    /// With one device, which shows `image`.
    pub(super) fn of(image: &Path) -> Self {
        let mut host = Self::new(&[], 512);
        host.images.push(image.to_owned());
        host.devices.push(LoopDevice::new(image, 512));
        host.configure();
        host
    }

    fn configure(&self) {
        let allowed: Vec<String> = self
            .devices
            .iter()
            .map(|device| format!("\"a|^{}$|\", ", device.text()))
            .collect();
        let locks = self.directory.path().join("locks");
        fs::create_dir_all(&locks).unwrap();
        let configuration = format!(
            "devices {{ filter = [ {} \"r|.*|\" ] use_devicesfile = 0 hints = \"none\"\n\
             obtain_device_list_from_udev = 0 }}\n\
             global {{ locking_dir = \"{}\" use_lvmpolld = 0 use_lvmlockd = 0 }}\n\
             activation {{ udev_sync = 0 udev_rules = 0 monitoring = 0 }}\n\
             backup {{ backup = 0 archive = 0 }}\n",
            allowed.concat(),
            locks.display()
        );
        fs::write(self.directory.path().join("lvm.conf"), configuration).unwrap();
    }

    /// Runs a command of LVM, as in `lvcreate -l 5 group`, in which `@0` and so on are the
    /// devices.
    pub(super) fn lvm(&self, command: &str) -> String {
        let words = command.split_whitespace().map(|word| {
            let Some((before, after)) = word.split_once('@') else {
                return word.to_owned();
            };
            let digits = after.chars().take_while(char::is_ascii_digit).count();
            let (index, rest) = after.split_at(digits);
            let device = self.devices[index.parse::<usize>().unwrap()].text();
            format!("{before}{device}{rest}")
        });
        let system = format!("LVM_SYSTEM_DIR={}", self.directory.path().display());
        let mut arguments = vec![system, "LVM_SUPPRESS_FD_WARNINGS=1".into(), "lvm".into()];
        arguments.extend(words);
        arguments.extend(["--driverloaded".into(), "n".into()]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run("env", &arguments)
    }

    /// Makes a logical volume that stays inactive.
    pub(super) fn lvcreate(&self, options: &str) {
        self.lvm(&format!("lvcreate -an -Zn -Wn {options}"));
    }

    /// Rows of a report of LVM.
    pub(super) fn report(&self, command: &str) -> Vec<Value> {
        let options = "--units b --nosuffix --reportformat json";
        let text = self.lvm(&format!("{command} {options}"));
        let report: Value = serde_json::from_str(&text).unwrap();
        let rows = report["report"][0].as_object().unwrap().values();
        rows.flat_map(|rows| rows.as_array().unwrap().clone())
            .collect()
    }

    /// What is in use on a device by LVM's own tools: segments by `pvs`, areas by `pvck`.
    pub(super) fn used(&self, index: usize) -> ExtentMap {
        let fields =
            "pvseg_start,pvseg_size,segtype,pe_start,vg_extent_size,pv_ba_start,pv_ba_size";
        let rows = self.report(&format!("pvs --segments -o {fields} @{index}"));
        let number = |row: &Value, key: &str| row[key].as_str().unwrap().parse::<u64>().unwrap();
        let pe_start = number(&rows[0], "pe_start");
        let boot = Extent::new(
            number(&rows[0], "pv_ba_start"),
            number(&rows[0], "pv_ba_size"),
        );
        let segments = rows.iter().filter_map(|row| {
            if row["segtype"] == "free" {
                return None;
            }
            let bytes = number(row, "vg_extent_size");
            let start = pe_start + number(row, "pvseg_start") * bytes;
            Extent::new(start, number(row, "pvseg_size") * bytes)
        });
        Extent::new(0, pe_start)
            .into_iter()
            .chain(boot)
            .chain(segments)
            .chain(self.metadata_areas(index))
            .collect()
    }

    fn metadata_areas(&self, index: usize) -> Vec<Extent> {
        let mut areas = Vec::new();
        let mut start = None;
        for line in self.lvm(&format!("pvck --dump headers @{index}")).lines() {
            let mut words = line.split_whitespace();
            let (name, value) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            match name.split_once('.') {
                Some((_, "start")) => start = value.parse().ok(),
                Some((_, "size")) => {
                    areas.extend(Extent::new(start.unwrap(), value.parse().unwrap()));
                }
                _ => (),
            }
        }
        areas
    }
}
