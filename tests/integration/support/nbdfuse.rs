//! A file served by nbdkit through a Python plugin, shown by nbdfuse, under a loop device.

use super::LoopDevice;
use super::tool::{command, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// The device, until dropped.
pub(crate) struct Served {
    device: Option<LoopDevice>,
    mount: PathBuf,
    server: Child,
}

impl Served {
    /// Runs `plugin`, a file beside this one, with `settings`, and shows its disk in the directory
    /// `mount`; writes are refused if `is_read_only`.
    pub(crate) fn new(
        plugin: &str,
        settings: &[String],
        mount: PathBuf,
        is_read_only: bool,
    ) -> Self {
        fs::create_dir_all(&mount).unwrap();
        let support = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/support");
        let disk = mount.join("disk");
        let server = command("nbdfuse")
            .args(is_read_only.then_some("-r"))
            .arg(&disk)
            .args(["[", "nbdkit", "--foreground", "--exit-with-parent"])
            .arg("python")
            .arg(format!("{support}/{plugin}"))
            .args(settings)
            .arg("]")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("TMPDIR", mount.parent().unwrap())
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
        new.device = Some(match is_read_only {
            true => LoopDevice::direct(&disk),
            false => LoopDevice::direct_writable(&disk),
        });
        new
    }

    /// Ends the server, as a drive that is pulled out: from now on every request fails.
    pub(crate) fn pull_out(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    /// Its node as text.
    pub(crate) fn text(&self) -> &str {
        self.device.as_ref().unwrap().text()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.device.take());
        run("umount", &["--lazy", self.mount.to_str().unwrap()]);
        let _ = self.server.wait();
    }
}

/// Waits until nbdfuse shows the file.
fn wait_for(disk: &Path) {
    let is_there = (0..600).any(|_| {
        disk.exists() || {
            sleep(Duration::from_millis(50));
            false
        }
    });
    assert!(is_there, "nbdfuse does not show {}", disk.display());
}
