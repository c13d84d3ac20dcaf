//! The volumes that are changed: feature sets of ext4 and of XFS that this kernel mounts.

use super::changes::{On, SHELL, all};
use crate::support::tool::run_command;
use crate::support::{Mount, run, scratch};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;
use tempfile::TempDir;

/// How a volume is made and mounted.
pub(super) struct Volume {
    pub(super) name: &'static str,
    pub(super) on: On,
    size_mib: u64,
    mkfs: &'static [&'static str],
    mount: &'static str,
}

const fn ext(
    name: &'static str,
    size_mib: u64,
    mkfs: &'static [&'static str],
    mount: &'static str,
) -> Volume {
    Volume {
        name,
        on: On::Ext,
        size_mib,
        mkfs,
        mount,
    }
}

const fn xfs(name: &'static str, mkfs: &'static [&'static str], mount: &'static str) -> Volume {
    Volume {
        name,
        on: On::Xfs,
        size_mib: 300,
        mkfs,
        mount,
    }
}

pub(super) const VOLUMES: &[Volume] = &[
    ext("ext4", 96, &["mkfs.ext4"], ""),
    ext(
        "1k-blocks",
        96,
        &["mkfs.ext4", "-b", "1024", "-O", "meta_bg,^resize_inode"],
        "",
    ),
    ext(
        "bigalloc",
        128,
        &["mkfs.ext4", "-O", "bigalloc", "-C", "65536"],
        "",
    ),
    ext(
        "no-extents",
        96,
        &["mkfs.ext4", "-O", "^extents,^64bit,^metadata_csum"],
        "",
    ),
    ext("ext2", 96, &["mkfs.ext2"], ""),
    ext("data-journal", 96, &["mkfs.ext4"], "data=journal"),
    ext("inline-data", 96, &["mkfs.ext4", "-O", "inline_data"], ""),
    ext("lazytime", 96, &["mkfs.ext4"], "lazytime"),
    ext(
        "no-checksums",
        96,
        &["mkfs.ext4", "-O", "^metadata_csum,uninit_bg,^has_journal"],
        "",
    ),
    ext(
        "orphan-file",
        96,
        &["mkfs.ext4", "-O", "orphan_file,fast_commit"],
        "",
    ),
    ext(
        "sparse-super2",
        96,
        &["mkfs.ext4", "-O", "sparse_super2,^resize_inode"],
        "",
    ),
    ext(
        "ea-inode",
        96,
        &["mkfs.ext4", "-O", "ea_inode"],
        "strictatime",
    ),
    ext("128-byte-inodes", 96, &["mkfs.ext4", "-I", "128"], ""),
    xfs("xfs", &["mkfs.xfs"], ""),
    xfs(
        "rmapbt",
        &["mkfs.xfs", "-m", "rmapbt=1", "-i", "nrext64=1"],
        "",
    ),
    xfs(
        "no-reflink",
        &[
            "mkfs.xfs",
            "-m",
            "reflink=0,finobt=0,bigtime=0,inobtcount=0",
        ],
        "",
    ),
    xfs(
        "xfs-1k-blocks",
        &["mkfs.xfs", "-b", "size=1024", "-m", "rmapbt=1"],
        "strictatime",
    ),
    xfs("xfs-lazytime", &["mkfs.xfs"], "lazytime"),
    xfs(
        "large-folders",
        &["mkfs.xfs", "-n", "size=65536", "-i", "size=1024"],
        "",
    ),
];

/// How much of a volume stays as it is.
pub(super) const STILL_MIB: usize = 24;

/// A volume of that name.
pub(super) fn named(name: &str) -> &'static Volume {
    VOLUMES.iter().find(|volume| volume.name == name).unwrap()
}

/// A volume in a file in memory.
pub(super) struct Made {
    directory: TempDir,
    pub(super) volume: &'static Volume,
    /// Inodes of the files `f`, by the change.
    pub(super) inodes: BTreeMap<&'static str, u64>,
}

impl Made {
    /// Makes a volume.
    pub(super) fn new(volume: &'static Volume) -> Self {
        let made = Self {
            directory: scratch::in_memory(),
            volume,
            inodes: BTreeMap::new(),
        };
        let path = made.image();
        let path = path.to_str().unwrap();
        run("truncate", &["-s", &format!("{}M", volume.size_mib), path]);
        let quiet: &[&str] = match volume.on {
            On::Xfs => &["-q"],
            // Small volumes would have blocks of 1 KiB.
            _ if volume.mkfs.contains(&"-b") => &["-q", "-F"],
            _ => &["-q", "-F", "-b", "4096"],
        };
        let arguments = [&volume.mkfs[1..], quiet, &[path]].concat();
        run(volume.mkfs[0], &arguments);
        made
    }

    pub(super) fn image(&self) -> PathBuf {
        self.directory.path().join("volume")
    }

    /// Mounts it.
    pub(super) fn mount(&self) -> Mount {
        let options = match self.volume.mount {
            "" => "loop".to_owned(),
            more => format!("loop,{more}"),
        };
        Mount::new(self.image(), &self.directory.path().join("mnt"), &options)
    }

    /// Fills it with what stays, and prepares all changes.
    pub(super) fn prepare(&mut self) {
        let mount = self.mount();
        let still = "mkdir still; for i in $(seq 0 255); do noise still/$i 96K; done";
        script(mount.path(), still);
        let steps = all(self.volume.on).map(|change| {
            let (name, prepare) = (change.name, change.prepare);
            format!("(set -eu; mkdir -p changes/{name}; cd changes/{name}; {prepare})\n")
        });
        script(mount.path(), &steps.collect::<String>());
        for change in all(self.volume.on) {
            let file = mount.path().join("changes").join(change.name).join("f");
            if let Ok(metadata) = std::fs::metadata(file) {
                self.inodes.insert(change.name, metadata.ino());
            }
        }
        drop(mount);
        self.settle();
    }

    /// Waits until what was written last can be told from what follows: stamps of short inodes are
    /// seconds.
    pub(super) fn settle(&self) {
        if self.volume.mkfs.contains(&"128") {
            sleep(Duration::from_millis(1100));
        }
    }

    /// Makes all changes; the names of those that this volume can't have.
    pub(super) fn change(&self) -> Vec<&'static str> {
        let mount = self.mount();
        let changes = all(self.volume.on).filter(|change| !change.make.is_empty());
        let changes: Vec<_> = changes.collect();
        let steps = changes.iter().map(|change| {
            let (name, make) = (change.name, change.make);
            format!("(set -eu; cd changes/{name}; {make}) >&2; echo $? {name}\n")
        });
        let steps: String = steps.collect();
        let said = run(
            "bash",
            &[
                "-c",
                &format!("{SHELL}\ncd \"$1\"; {steps}"),
                "bash",
                text(mount.path()),
            ],
        );
        let failed = said.lines().filter(|line| !line.starts_with("0 "));
        let failed: Vec<&str> = failed
            .filter_map(|line| line.split(' ').next_back())
            .collect();
        let changes = changes.into_iter().map(|change| change.name);
        changes.filter(|name| failed.contains(name)).collect()
    }

    /// Runs a tool on the unmounted volume, in bash: `$1` is its file.
    pub(super) fn offline(&self, script: &str) {
        run("bash", &["-euc", script, "bash", text(&self.image())]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a script in a folder of a mounted volume.
pub(super) fn script(at: &Path, script: &str) {
    let script = format!("{SHELL}\nset -eu\n{script}");
    run_command(Command::new("bash").args(["-c", &script]).current_dir(at));
}
