//! APFS containers in files: made by mkapfs or taken from the golden images, judged by apfsck,
//! partclone, blkid and libfsapfs.

use crate::support::image::golden;
use crate::support::{oracle, run};
use klon_partition::ExtentMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A container in a file.
pub(super) struct Container {
    /// Where the file and what tools write lies; removed when this is dropped.
    directory: TempDir,
    pub(super) image: PathBuf,
}

impl Container {
    fn empty(size_bytes: u64) -> Self {
        let directory = TempDir::new().unwrap();
        let image = directory.path().join("container.img");
        File::create(&image).unwrap().set_len(size_bytes).unwrap();
        Self { directory, image }
    }

    /// An empty container; `blocks` as many of 4 KiB as it has, or "" for all of the file.
    pub(super) fn make(size_bytes: u64, options: &[&str], blocks: &str) -> Self {
        let container = Self::empty(size_bytes);
        let blocks = Some(blocks).filter(|blocks| !blocks.is_empty());
        let arguments = [options, &[container.text()], blocks.as_slice()].concat();
        run("mkapfs", &arguments);
        container
    }

    /// A golden image.
    pub(super) fn golden(name: &str) -> Self {
        let container = Self::empty(0);
        golden(name, &container.image);
        container
    }

    /// A copy of nothing but `used`, onto noise.
    pub(super) fn copy_of(&self, used: &ExtentMap) -> Self {
        let copy = Self::empty(0);
        oracle::copy_onto_noise(&self.image, &copy.image, used);
        copy
    }

    pub(super) fn text(&self) -> &str {
        self.image.to_str().unwrap()
    }

    /// Fails unless all is sound and was unmounted cleanly. It builds the bitmaps again from all
    /// trees and queues, and compares them.
    pub(super) fn check(&self) {
        let findings = run("apfsck", &["-cuw", self.text()]);
        assert_eq!(findings, "", "apfsck {}", self.text());
    }

    /// A tag as `blkid` prints it; `None` when it prints none.
    pub(super) fn blkid(&self, tag: &str) -> Option<String> {
        oracle::blkid(&self.image, tag)
    }

    /// What partclone would copy.
    pub(super) fn partclone_used(&self) -> ExtentMap {
        oracle::partclone_used("apfs", &self.image)
    }

    /// The volume in it, mounted by libfsapfs.
    pub(super) fn mount(&self) -> Mounted {
        let point = self.directory.path().join("mnt");
        fs::create_dir(&point).unwrap();
        run("fsapfsmount", &[self.text(), point.to_str().unwrap()]);
        Mounted(point)
    }
}

/// A mounted volume, unmounted when dropped.
pub(super) struct Mounted(PathBuf);

impl Mounted {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &[self.0.to_str().unwrap()]);
    }
}
