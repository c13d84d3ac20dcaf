//! exFAT volumes in files: made by mkfs.exfat, filled through exfat-fuse, judged by exfatprogs and
//! partclone.

use crate::support::{LoopDevice, oracle, run, tool};
use klon_partition::ExtentMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A volume in a file, and the sector size of the device that it was made on.
pub(super) struct Volume {
    pub(super) directory: TempDir,
    pub(super) image: PathBuf,
    sector_bytes: u32,
}

impl Volume {
    /// mkfs.exfat takes the sector size from the device.
    pub(super) fn make(size_bytes: u64, sector_bytes: u32, options: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let image = directory.path().join("volume.img");
        File::create(&image).unwrap().set_len(size_bytes).unwrap();
        let volume = Self {
            directory,
            image,
            sector_bytes,
        };
        if sector_bytes == 512 {
            run("mkfs.exfat", &[options, &[volume.text()]].concat());
        } else {
            let device = LoopDevice::new(&volume.image, sector_bytes);
            run("mkfs.exfat", &[options, &[device.text()]].concat());
        }
        volume
    }

    pub(super) fn text(&self) -> &str {
        self.image.to_str().unwrap()
    }

    /// Mounts it by exfat-fuse, which wants a block device when root runs it.
    pub(super) fn mount(&self, options: &str) -> Mount {
        let device = LoopDevice::new(&self.image, self.sector_bytes);
        let point = self.directory.path().join("mounted");
        fs::create_dir_all(&point).unwrap();
        let arguments = ["-o", options, device.text(), point.to_str().unwrap()];
        run("mount.exfat-fuse", &arguments);
        Mount {
            point,
            _device: device,
        }
    }

    /// Runs a shell script in the mounted volume.
    pub(super) fn change(&self, script: &str) {
        self.mount("rw").shell(script);
    }

    /// What partclone would copy.
    pub(super) fn partclone_used(&self) -> ExtentMap {
        oracle::partclone_used("exfat", &self.image)
    }

    /// A figure of `dump.exfat`.
    pub(super) fn figure(&self, name: &str) -> u64 {
        let text = run("dump.exfat", &[self.text()]);
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        let word = line.unwrap_or_else(|| panic!("no {name} in {text}"));
        word.trim().parse().unwrap()
    }

    pub(super) fn blkid(&self, tag: &str) -> Option<String> {
        oracle::blkid(&self.image, tag)
    }

    /// Whether fsck.exfat finds nothing to mend, and what it prints.
    pub(super) fn fsck(&self) -> (bool, String) {
        let found = tool::output("fsck.exfat", &["-n", self.text()]);
        let text = String::from_utf8_lossy(&found.stdout).into_owned()
            + &String::from_utf8_lossy(&found.stderr);
        (found.status.success(), text)
    }

    /// A copy of nothing but `used`, onto noise.
    pub(super) fn copy_of(&self, used: &ExtentMap) -> Self {
        let directory = TempDir::new().unwrap();
        let image = directory.path().join("volume.img");
        oracle::copy_onto_noise(&self.image, &image, used);
        Self {
            directory,
            image,
            sector_bytes: self.sector_bytes,
        }
    }

    /// How many files are chains of the FAT; of the entries, deleted ones left out.
    pub(super) fn chained_files(&self) -> usize {
        let bytes = fs::read(&self.image).unwrap();
        let is_chained = |entry: &&[u8]| {
            entry[..2] == [0xc0, 1] && entry[16..20] == [0; 4] && entry[20..24] != [0; 4]
        };
        bytes.chunks_exact(32).filter(is_chained).count()
    }
}

/// A volume mounted by exfat-fuse. The kernel ends the unmounting of a block device only when the
/// driver has written all.
pub(super) struct Mount {
    point: PathBuf,
    _device: LoopDevice,
}

impl Mount {
    pub(super) fn path(&self) -> &Path {
        &self.point
    }

    /// Runs a shell script in it.
    pub(super) fn shell(&self, script: &str) -> String {
        let at = self.point.to_str().unwrap();
        run("sh", &["-e", "-c", &format!("cd '{at}'\n{script}")])
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = tool::output("umount", &[self.point.to_str().unwrap()]);
        let is_unmounted = unmounted.status.success();
        let place = self.point.display();
        assert!(is_unmounted || std::thread::panicking(), "{place} stays");
    }
}
