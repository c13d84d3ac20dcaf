//! A block device with bad sectors.

use super::nbdfuse::Served;
use klon_partition::ExtentMap;
use std::fs;
use std::path::Path;

/// The device; reads of its bad sectors fail with EIO.
pub(crate) struct BadDisk(Served);

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
        Self::with(image, bad, directory, &[from, back])
    }

    fn with(image: &Path, bad: &ExtentMap, directory: &Path, options: &[String]) -> Self {
        let list = directory.join("bad.list");
        let line = |e: klon_partition::Extent| format!("{} {}\n", e.offset_bytes(), e.len_bytes());
        fs::write(&list, bad.iter().map(line).collect::<String>()).unwrap();
        let settings = [
            format!("image={}", image.display()),
            format!("bad={}", list.display()),
        ];
        let settings = [&settings, options].concat();
        let mount = directory.join("bad.mnt");
        Self(Served::new("bad_disk.py", &settings, mount, true))
    }

    /// Its node as text.
    pub(crate) fn text(&self) -> &str {
        self.0.text()
    }
}
