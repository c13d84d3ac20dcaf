//! A block device that fails as it is told.

use super::nbdfuse::Served;
use std::fs;
use std::path::{Path, PathBuf};

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
    served: Served,
    directory: PathBuf,
}

impl FaultyDisk {
    /// Shows `image`; keeps its files in a directory beside it.
    pub(crate) fn new(image: &Path) -> Self {
        let directory = image.with_extension("faulty");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("faults"), "").unwrap();
        fs::write(directory.join("journal"), "").unwrap();
        let setting = |key: &str| format!("{key}={}", directory.join(key).display());
        let settings = [
            format!("image={}", image.display()),
            setting("faults"),
            setting("journal"),
        ];
        let served = Served::new("faulty_disk.py", &settings, directory.join("mnt"), false);
        Self { served, directory }
    }

    /// Its node as text.
    pub(crate) fn text(&self) -> &str {
        self.served.text()
    }

    /// From now on everything fails.
    pub(crate) fn pull_out(&mut self) {
        self.served.pull_out();
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
