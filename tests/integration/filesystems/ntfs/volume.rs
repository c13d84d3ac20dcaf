//! NTFS volumes in files: made by mkfs.ntfs, filled through ntfs-3g, judged by ntfsprogs.

use crate::support::{MIB, NtfsMount, oracle, run, tool};
use klon_partition::ExtentMap;
use std::fs::File;
use std::path::PathBuf;
use tempfile::TempDir;

/// A volume in a file.
pub(super) struct Volume {
    pub(super) directory: TempDir,
    pub(super) image: PathBuf,
}

impl Volume {
    pub(super) fn make(size_mib: u64, options: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let image = directory.path().join("volume.img");
        File::create(&image)
            .unwrap()
            .set_len(size_mib * MIB)
            .unwrap();
        let image_text = image.to_str().unwrap();
        run(
            "mkfs.ntfs",
            &[&["-F", "-q", "-f"], options, &[image_text]].concat(),
        );
        Self { directory, image }
    }

    pub(super) fn text(&self) -> &str {
        self.image.to_str().unwrap()
    }

    pub(super) fn mount(&self, options: &str) -> NtfsMount {
        NtfsMount::new(&self.image, &self.directory.path().join("mounted"), options)
    }

    /// Runs a shell script in the mounted volume.
    pub(super) fn change(&self, options: &str, script: &str) {
        let mount = self.mount(options);
        let at = mount.path().to_str().unwrap();
        run("sh", &["-e", "-c", &format!("cd '{at}'\n{script}")]);
    }

    /// What partclone would copy.
    pub(super) fn partclone_used(&self) -> ExtentMap {
        oracle::partclone_used("ntfs", &self.image)
    }

    /// A figure of `ntfsinfo -m`.
    pub(super) fn figure(&self, name: &str) -> u64 {
        let text = run("ntfsinfo", &["-m", self.text()]);
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        let words = line.unwrap_or_else(|| panic!("no {name} in {text}"));
        words.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// How many runs the unnamed data of a system file has, and whether it has an attribute list.
    pub(super) fn runs(&self, record: &str) -> (usize, bool) {
        let text = run("ntfsinfo", &["-v", "-i", record, self.text()]);
        let is_run = |line: &&str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.len() == 3 && words.iter().all(|word| word.starts_with("0x"))
        };
        let data = text
            .split("Dumping attribute ")
            .filter(|part| part.starts_with("$DATA"));
        let runs = data.flat_map(str::lines).filter(is_run).count();
        (runs, text.contains("$ATTRIBUTE_LIST"))
    }

    pub(super) fn blkid(&self, tag: &str) -> Option<String> {
        oracle::blkid(&self.image, tag)
    }

    /// Whether ntfs-3g would mount it for writing: 0, or 14 hibernated, 15 unclean.
    pub(super) fn probe(&self) -> Option<i32> {
        tool::output("ntfs-3g.probe", &["--readwrite", self.text()])
            .status
            .code()
    }

    /// A copy of nothing but `used`, onto noise.
    pub(super) fn copy_of(&self, used: &ExtentMap) -> Self {
        let directory = TempDir::new().unwrap();
        let image = directory.path().join("volume.img");
        oracle::copy_onto_noise(&self.image, &image, used);
        Self { directory, image }
    }
}
