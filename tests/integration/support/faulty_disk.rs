//! A block device that fails as it is told: a file served by nbdkit, shown by nbdfuse, under a loop
//! device.

use super::LoopDevice;
use super::bad_disk::wait_for;
use super::tool::run;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What fails with EIO.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// `read` or `write`.
    pub(crate) operation: &'static str,
    /// The sector: requests that touch it fail.
    pub(crate) offset_bytes: u64,
    /// Whether that is so once only.
    pub(crate) is_once: bool,
}

/// The device.
pub(crate) struct FaultyDisk {
    device: Option<LoopDevice>,
    directory: PathBuf,
    server: Child,
}

impl FaultyDisk {
    /// Shows `image`; keeps its files in a directory beside it.
    pub(crate) fn new(image: &Path) -> Self {
        let directory = image.with_extension("faulty");
        let mount = directory.join("mnt");
        fs::create_dir_all(&mount).unwrap();
        fs::write(directory.join("faults"), "").unwrap();
        fs::write(directory.join("journal"), "").unwrap();
        let plugin = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/integration/support/faulty_disk.py"
        );
        let setting = |key: &str| format!("{key}={}", directory.join(key).display());
        let disk = mount.join("disk");
        let server = Command::new("nbdfuse")
            .arg(&disk)
            .args(["[", "nbdkit", "--foreground", "--exit-with-parent"])
            .args(["python", plugin])
            .arg(format!("image={}", image.display()))
            .args([setting("faults"), setting("journal"), "]".to_owned()])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("nbdfuse is needed for this test: {error}"));
        let mut new = Self {
            device: None,
            directory,
            server,
        };
        wait_for(&disk);
        new.device = Some(LoopDevice::direct_writable(&disk));
        new
    }

    /// Its node as text.
    pub(crate) fn text(&self) -> &str {
        self.device.as_ref().unwrap().text()
    }

    /// From now on this fails, and nothing else.
    pub(crate) fn fail(&self, fault: Option<Fault>) {
        let line = fault.map_or(String::new(), |fault| {
            let count = if fault.is_once { 1 } else { -1 };
            format!("{} {} 512 {count}\n", fault.operation, fault.offset_bytes)
        });
        // A new file each time: its times alone may be those of the one before.
        let (new, faults) = (self.directory.join("new"), self.directory.join("faults"));
        fs::write(&new, line).unwrap();
        fs::rename(new, faults).unwrap();
        fs::write(self.directory.join("journal"), "").unwrap();
    }

    /// Requests since then: `read` or `write`, in capitals when it failed, offset and size.
    pub(crate) fn journal(&self) -> Vec<(String, u64, u64)> {
        let journal = fs::read_to_string(self.directory.join("journal")).unwrap();
        let request = |line: &str| {
            let fields: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| fields[at].parse().unwrap();
            (fields[0].to_owned(), number(1), number(2))
        };
        journal.lines().map(request).collect()
    }
}

impl Drop for FaultyDisk {
    fn drop(&mut self) {
        drop(self.device.take());
        let mount = self.directory.join("mnt");
        run("umount", &["--lazy", mount.to_str().unwrap()]);
        let _ = self.server.wait();
    }
}
