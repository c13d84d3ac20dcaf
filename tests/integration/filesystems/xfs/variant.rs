//! Shapes of XFS.

use crate::support::tree::noise;
use crate::support::{Mount, run};
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Options of `mkfs.xfs`, and what the kernel can do with the result.
pub(super) struct Variant {
    pub(super) name: &'static str,
    pub(super) size_mib: u64,
    pub(super) options: &'static [&'static str],
    /// Kernels without support for version 4 can't.
    pub(super) kernel_mounts: bool,
}

const fn v5(name: &'static str, size_mib: u64, options: &'static [&'static str]) -> Variant {
    Variant {
        name,
        size_mib,
        options,
        kernel_mounts: true,
    }
}

const fn v4(name: &'static str, options: &'static [&'static str]) -> Variant {
    Variant {
        name,
        size_mib: 300,
        options,
        kernel_mounts: false,
    }
}

pub(super) const VARIANTS: &[Variant] = &[
    v5("default", 300, &[]),
    v5(
        "many-groups",
        800,
        &["-b", "size=1024", "-d", "agsize=16m", "-m", "rmapbt=1"],
    ),
    v5("4k-sectors", 320, &["-s", "size=4096", "-b", "size=4096"]),
    v5(
        "sectors-of-2-blocks",
        330,
        &["-s", "size=2048", "-b", "size=2048"],
    ),
    v5(
        "64k-blocks",
        700,
        &["-b", "size=65536", "-m", "rmapbt=1,reflink=1"],
    ),
    v5(
        "plain",
        300,
        &[
            "-m",
            "finobt=0,reflink=0,bigtime=0,inobtcount=0",
            "-i",
            "sparse=0",
        ],
    ),
    v5("wide-counters", 300, &["-i", "nrext64=1"]),
    v5("log-stripes", 301, &["-l", "su=256k"]),
    v5("log-in-first-group", 300, &["-l", "agnum=0,su=32k"]),
    v4("v4", &["-m", "crc=0"]),
    v4(
        "v4-512",
        &["-m", "crc=0", "-b", "size=512", "-d", "agcount=9"],
    ),
    v4("v4-log-v1", &["-m", "crc=0", "-l", "version=1"]),
    v4("v4-4k-sectors", &["-m", "crc=0", "-s", "size=4096"]),
];

/// Runs `mkfs.xfs` as xfsprogs' own tests do, which lets it make volumes below 300 MiB.
pub(super) fn mkfs(arguments: &[&str]) {
    mkfs_in(Path::new("."), arguments);
}

/// The same in a directory: a prototype can't name files whose path has a space.
fn mkfs_in(directory: &Path, arguments: &[&str]) {
    let mut command = vec!["--chdir", directory.to_str().unwrap()];
    command.extend(["TEST_DIR=.", "TEST_DEV=.", "QA_CHECK_FS=.", "mkfs.xfs"]);
    command.extend(arguments);
    run("env", &command);
}

impl Variant {
    /// The variant of that name.
    pub(super) fn named(name: &str) -> &'static Self {
        let found = VARIANTS.iter().find(|variant| variant.name == name);
        found.unwrap()
    }

    /// Makes a volume with a few files, in `directory`.
    pub(super) fn make(&self, directory: &Path) -> PathBuf {
        let image = directory.join(format!("{}.img", self.name));
        let file = File::create(&image).unwrap();
        file.set_len(self.size_mib << 20).unwrap();
        std::fs::write(directory.join("content"), vec![0x5a; 50_000]).unwrap();
        let files: String = (0..20)
            .map(|number| format!("file-{number} ---644 0 0 content\n"))
            .collect();
        let prototype = directory.join("prototype");
        let text = format!("/dev/null\n0 0\nd--755 0 0\na d--755 0 0\n{files}$\n$\n");
        std::fs::write(&prototype, text).unwrap();
        let mut arguments = vec!["-q", "-L", "klon", "-p", prototype.to_str().unwrap()];
        arguments.extend(self.options);
        arguments.push(image.to_str().unwrap());
        mkfs_in(directory, &arguments);
        image
    }

    /// Creates and deletes files until the free space is in pieces and trees have levels.
    pub(super) fn age(&self, image: &Path, directory: &Path) {
        let mount = Mount::new(image, &directory.join("mnt"), "loop");
        punch(&mount.path().join("large"));
        let script = "
            cd \"$0\"
            for d in 1 2 3 4 5 6; do
                mkdir $d
                for i in $(seq 120); do echo $i > $d/$i; done
            done
            rm [135]/*[02468]
            cp --reflink=auto a/file-1 reflinked
            ln -s $(printf %0900d 0) link
            setfattr -n user.name -v $(printf %09000d 0) a/file-2
            fallocate -l 3000000 reserved";
        run("sh", &["-ec", script, mount.path().to_str().unwrap()]);
    }
}

/// Writes a file and makes every other block of it a hole.
fn punch(path: &Path) {
    let blocks = 3000;
    std::fs::write(path, noise(5, blocks * 8192)).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.sync_all().unwrap();
    let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    for block in 0..i64::try_from(blocks).unwrap() {
        fallocate(&file, mode, block * 8192, 4096).unwrap();
    }
}
