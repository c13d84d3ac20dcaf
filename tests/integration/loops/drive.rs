//! A boot disk, a data volume and a drive for both, on loop devices.

use crate::support::image::{own_boot_disk, sparse};
use crate::support::tree::{add_specials, fill};
use crate::support::{Klon, LoopDevice, MIB, Mount, run};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// The clones that the plan makes, in its order.
pub(super) struct Volume {
    /// Its name.
    pub(super) name: String,
    /// Its node.
    pub(super) node: String,
    /// The node of its source.
    pub(super) source: String,
    /// Where it lies on the drive.
    pub(super) start_bytes: u64,
    /// How long it is there.
    pub(super) size_bytes: u64,
    /// How long its source is.
    pub(super) source_bytes: u64,
}

/// Everything attached; detached when dropped, before the files go.
pub(super) struct Bench {
    /// The disk with an ESP and a root volume.
    pub(super) boot: LoopDevice,
    /// The data volume.
    pub(super) data: LoopDevice,
    /// The backup drive.
    pub(super) drive: LoopDevice,
    /// Where klon runs; last, because the files of the devices are there.
    pub(super) klon: Klon,
}

impl Bench {
    /// Sources with files of every kind, and a drive that is blank.
    pub(super) fn new(sector_bytes: u32) -> Self {
        let klon = Klon::new();
        own_boot_disk(&klon.path("boot"), sector_bytes);
        sparse(&klon.path("data"), 160 * MIB);
        run(
            "mkfs.ext4",
            &["-q", "-b", "4096", "-L", "Data", &klon.text("data")],
        );
        sparse(&klon.path("drive"), 512 * MIB);
        let attach = |name: &str| LoopDevice::new(&klon.path(name), sector_bytes);
        let (boot, data, drive) = (attach("boot"), attach("data"), attach("drive"));
        let bench = Self {
            boot,
            data,
            drive,
            klon,
        };
        bench.boot.scan();
        for (device, seed) in [(bench.boot.part(3), 1), (bench.data.text().to_owned(), 2)] {
            let mount = Mount::new(device, &bench.klon.path("mnt"), "rw");
            fill(mount.path(), seed, 20);
            add_specials(mount.path());
        }
        bench
    }

    /// Plans the drive with further options; gives the plan.
    pub(super) fn plan(&self, options: &[&str]) -> Value {
        let boot = format!("Boot={}", self.boot.text());
        let master = format!("Master={}", self.data.text());
        let drive = [
            "plan",
            "--drive",
            self.drive.text(),
            &boot,
            &master,
            "-o",
            "plan",
        ];
        self.klon.json(&[&drive[..], options].concat())
    }

    /// Prepares the drive by the plan.
    pub(super) fn prepare(&self) {
        let drive = self.klon.text("drive");
        self.klon
            .ok(&["prepare", "plan", "--yes", "--confirm", &drive]);
    }

    /// The volumes of a plan.
    pub(super) fn volumes(&self, plan: &Value) -> Vec<Volume> {
        let volumes = plan["volumes"].as_array().unwrap();
        let volume = |volume: &Value| {
            let number = volume["number"].as_u64().unwrap();
            let part = volume["source"]["partition"].as_u64();
            Volume {
                name: volume["name"].as_str().unwrap().to_owned(),
                node: self.drive.part(number),
                source: part.map_or(self.data.text().to_owned(), |part| self.boot.part(part)),
                start_bytes: volume["extent"][0].as_u64().unwrap(),
                size_bytes: volume["extent"][1].as_u64().unwrap(),
                source_bytes: volume["source_bytes"].as_u64().unwrap(),
            }
        };
        volumes.iter().map(volume).collect()
    }

    /// The bytes of the drive now, behind the kernel's caches.
    pub(super) fn drive_bytes(&self) -> Vec<u8> {
        self.settle();
        fs::read(self.klon.path("drive")).unwrap()
    }

    /// Brings what the kernel still holds of the devices to their files.
    pub(super) fn settle(&self) {
        for device in [&self.boot, &self.data, &self.drive] {
            run("blockdev", &["--flushbufs", device.text()]);
        }
    }

    /// A directory of its own for a mount.
    pub(super) fn mount_point(&self, name: &str) -> PathBuf {
        let path = self.klon.path(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Mounts a clone and its source, and compares every file; checks the clone with fsck.
    pub(super) fn compare_ext(&self, volume: &Volume) {
        use crate::support::tree::Tree;
        run("e2fsck", &["-fn", &volume.node]);
        let options = "ro,noload";
        let source = Mount::new(&volume.source, &self.mount_point("source"), options);
        let expected = Tree::read(source.path());
        let clone = Mount::new(&volume.node, &self.mount_point("clone"), options);
        expected.assert_rich();
        expected.assert_same(&Tree::read(clone.path()));
    }

    /// Compares the files of an ESP with those of its source; checks it with fsck.
    pub(super) fn compare_fat(&self, volume: &Volume) {
        use crate::support::image::fat_files;
        run("fsck.fat", &["-n", &volume.node]);
        let directories = ["esp-source", "esp-clone"].map(|name| self.klon.path(name));
        for (node, directory) in [&volume.source, &volume.node].iter().zip(&directories) {
            fat_files(node, directory);
        }
        let [source, clone] = directories.each_ref().map(|path| path.to_str().unwrap());
        run("diff", &["-r", source, clone]);
        assert!(directories[0].join("EFI/bootx64.efi").exists());
        for directory in directories {
            fs::remove_dir_all(directory).unwrap();
        }
    }

    /// Compares all clones with their sources, and lets klon do so too.
    pub(super) fn compare_all(&self, volumes: &[Volume]) {
        for volume in volumes {
            match volume.name.ends_with("ESP") {
                true => self.compare_fat(volume),
                false => self.compare_ext(volume),
            }
        }
        self.klon.ok(&["verify", "plan"]);
        self.klon.ok(&["verify", "plan", "--against-source"]);
    }
}
