//! A block device with bad sectors: a file served by nbdkit, shown by nbdfuse, under a loop device.

use super::LoopDevice;
use super::tool::run;
use klon_partition::ExtentMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// The device; reads of its bad sectors fail with EIO.
pub(crate) struct BadDisk {
    device: Option<LoopDevice>,
    mount: PathBuf,
    server: Child,
}

impl BadDisk {
    /// Shows `image` with `bad` sectors; keeps its files in `directory`.
    pub(crate) fn new(image: &Path, bad: &ExtentMap, directory: &Path) -> Self {
        Self::with(image, bad, directory, &[])
    }

    /// The same, which fails altogether from the first large read from `from_bytes` on, until
    /// there is a file `back` in `directory`.
    pub(crate) fn dying(image: &Path, bad: &ExtentMap, directory: &Path, from_bytes: u64) -> Self {
        let back = directory.join("back");
        let back = format!("back={}", back.display());
        let from = format!("gone_from={from_bytes}");
        Self::with(image, bad, directory, &[&from, &back])
    }

    fn with(image: &Path, bad: &ExtentMap, directory: &Path, options: &[&str]) -> Self {
        let (list, mount) = (directory.join("bad.list"), directory.join("bad.mnt"));
        let line = |e: klon_partition::Extent| format!("{} {}\n", e.offset_bytes(), e.len_bytes());
        fs::write(&list, bad.iter().map(line).collect::<String>()).unwrap();
        fs::create_dir_all(&mount).unwrap();
        let plugin = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/integration/support/bad_disk.py"
        );
        let disk = mount.join("disk");
        let server = Command::new("nbdfuse")
            .arg("-r")
            .arg(&disk)
            .args([
                "[",
                "nbdkit",
                "--foreground",
                "--exit-with-parent",
                "python",
                plugin,
            ])
            .arg(format!("image={}", image.display()))
            .arg(format!("bad={}", list.display()))
            .args(options)
            .arg("]")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("nbdfuse is needed for this test: {error}"));
        let mut new = Self {
            device: None,
            mount,
            server,
        };
        wait_for(&disk);
        new.device = Some(LoopDevice::direct(&disk));
        new
    }

    /// Its node as text.
    pub(crate) fn text(&self) -> &str {
        self.device.as_ref().unwrap().text()
    }
}

impl Drop for BadDisk {
    fn drop(&mut self) {
        drop(self.device.take());
        run("umount", &["--lazy", self.mount.to_str().unwrap()]);
        let _ = self.server.wait();
    }
}

/// Waits until nbdfuse shows a file.
pub(crate) fn wait_for(disk: &Path) {
    let is_there = (0..600).any(|_| {
        disk.exists() || {
            sleep(Duration::from_millis(50));
            false
        }
    });
    assert!(is_there, "nbdfuse does not show {}", disk.display());
}
