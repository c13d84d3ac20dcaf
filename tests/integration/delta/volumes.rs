//! The volumes that are changed: feature sets of ext4, XFS and Btrfs that this kernel mounts.

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
    /// Whether the filesystem keeps a checksum of what is written.
    pub(super) is_summed: bool,
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
        is_summed: false,
        mkfs,
        mount,
    }
}

const fn xfs(name: &'static str, mkfs: &'static [&'static str], mount: &'static str) -> Volume {
    Volume {
        name,
        on: On::Xfs,
        size_mib: 300,
        is_summed: false,
        mkfs,
        mount,
    }
}

const fn btrfs(
    name: &'static str,
    mkfs: &'static [&'static str],
    mount: &'static str,
    is_summed: bool,
) -> Volume {
    Volume {
        name,
        on: On::Btrfs,
        size_mib: 400,
        is_summed,
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
    btrfs("btrfs", &["mkfs.btrfs"], "", true),
    btrfs("btrfs-twice", &["mkfs.btrfs", "-d", "dup"], "", true),
    btrfs("btrfs-mixed", &["mkfs.btrfs", "-M", "-n", "4096"], "", true),
    btrfs(
        "btrfs-compressed",
        &["mkfs.btrfs"],
        "compress-force=zstd",
        true,
    ),
    btrfs(
        "btrfs-sha256",
        &["mkfs.btrfs", "--csum", "sha256"],
        "autodefrag",
        true,
    ),
    btrfs(
        "btrfs-xxhash",
        &["mkfs.btrfs", "--csum", "xxhash", "-m", "single"],
        "max_inline=0",
        true,
    ),
    btrfs(
        "btrfs-blake2",
        &["mkfs.btrfs", "--csum", "blake2"],
        "compress=lzo",
        true,
    ),
    btrfs("btrfs-in-place", &["mkfs.btrfs"], "nodatacow", false),
    btrfs("btrfs-no-sums", &["mkfs.btrfs"], "nodatasum", false),
    btrfs(
        "btrfs-old-cache",
        &["mkfs.btrfs", "-R", "^free-space-tree"],
        "space_cache=v1",
        true,
    ),
];

/// XFS without checksums, which no new kernel mounts.
pub(super) const XFS_V4: Volume = xfs("xfs-v4", &["mkfs.xfs", "-m", "crc=0"], "");

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
            On::Xfs | On::Btrfs => &["-q"],
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
        script(mount.path(), &preparation(self.volume.on));
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
        let steps = changes(self.volume.on);
        let said = run("bash", &["-c", &steps, "bash", text(mount.path())]);
        failed(self.volume.on, &said)
    }

    /// Runs a tool on the unmounted volume, in bash: `$1` is its file.
    pub(super) fn offline(&self, script: &str) {
        run("bash", &["-euc", script, "bash", text(&self.image())]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What fills a volume with what stays, and prepares all changes.
pub(super) fn preparation(on: On) -> String {
    let still = "mkdir still; for i in $(seq 0 255); do noise still/$i 96K; done\n";
    let steps = all(on).map(|change| {
        let (name, prepare) = (change.name, change.prepare);
        format!("(set -eu; mkdir -p changes/{name}; cd changes/{name}; {prepare})\n")
    });
    still.to_owned() + &steps.collect::<String>()
}

/// What makes all changes of the volume that is mounted at `$1`: it says of each whether it could.
pub(super) fn changes(on: On) -> String {
    let changes = all(on).filter(|change| !change.make.is_empty());
    let steps = changes.map(|change| {
        let (name, make) = (change.name, change.make);
        format!("(set -eu; cd changes/{name}; {make}) >&2; echo $? {name}\n")
    });
    format!("{SHELL}\ncd \"$1\"\n{}", steps.collect::<String>())
}

/// The names of changes that a volume can't have, by what was said when they were made.
pub(super) fn failed(on: On, said: &str) -> Vec<&'static str> {
    let failed = said.lines().filter(|line| !line.starts_with("0 "));
    let failed: Vec<&str> = failed
        .filter_map(|line| line.split(' ').next_back())
        .collect();
    let made = all(on).filter(|change| !change.make.is_empty());
    let names = made.map(|change| change.name);
    names.filter(|name| failed.contains(name)).collect()
}

/// Runs a script in a folder of a mounted volume.
pub(super) fn script(at: &Path, script: &str) {
    let script = in_folder(script);
    run_command(Command::new("bash").args(["-c", &script]).current_dir(at));
}

/// A script with what scripts share.
pub(super) fn in_folder(script: &str) -> String {
    format!("{SHELL}\nset -eu\n{script}")
}
