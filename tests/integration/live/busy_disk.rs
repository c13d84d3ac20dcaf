//! A disk in use: partitions that are mounted, swapped to, or neither, and data in no partition.

use super::database;
use super::disk::Nodes;
use crate::support::tree::noise;
use crate::support::{Klon, LoopDevice, MIB, Mount, Outcome, image, run};
use klon_partition::device::open_source;
use klon_partition::filesystem::Basis;
use klon_partition::inspect::{VolumeUsage, disk_usage};
use klon_partition::{Extent, ReadAt};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

pub(super) const DISK_BYTES: u64 = 960 * MIB;
/// Where room in no partition begins that has data all the same.
pub(super) const GAP_BYTES: u64 = 850 * MIB;
/// ESP, ext4, XFS, Btrfs, swap, and an ext4 that is not mounted: number, start and size in MiB, type.
const PARTITIONS: [(u32, u64, u64, &str); 6] = [
    (1, 1, 48, "ef00"),
    (2, 50, 260, "8300"),
    (3, 320, 310, "8300"),
    (4, 640, 180, "8300"),
    (5, 824, 16, "8200"),
    (6, 860, 60, "8300"),
];

/// Swap in use, until dropped.
struct Swap(PathBuf);

impl Swap {
    fn new(node: PathBuf) -> Self {
        run("swapon", &[node.to_str().unwrap()]);
        Self(node)
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        run("swapoff", &[self.0.to_str().unwrap()]);
    }
}

/// Makes the disk.
pub(super) fn make(path: &Path) {
    image::sparse(path, DISK_BYTES);
    let mut arguments = vec!["-G".to_owned()];
    for (number, start, size, kind) in PARTITIONS {
        let (start, end) = (start * 2048, (start + size) * 2048 - 1);
        arguments.extend([
            format!("-n{number}:{start}:{end}"),
            format!("-t{number}:{kind}"),
        ]);
    }
    arguments.push(path.to_str().unwrap().to_owned());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run("sgdisk", &arguments);
    let disk = File::options().write(true).open(path).unwrap();
    disk.write_all_at(&noise(7, 300_000), GAP_BYTES).unwrap();
    // Where a loader has its code that boots by BIOS.
    disk.write_all_at(&noise(8, 20_000), 40 * 512).unwrap();
}

fn format(nodes: &Nodes<'_>) {
    let mkfs: [&[&str]; 6] = [
        &["mkfs.fat", "-F32"],
        &["mkfs.ext4", "-q", "-F"],
        &["mkfs.xfs", "-q", "-f"],
        &["mkfs.btrfs", "-q", "-f"],
        &["mkswap"],
        &["mkfs.ext4", "-q", "-F"],
    ];
    for (number, mkfs) in (1..).zip(mkfs) {
        let node = nodes.of(number);
        let (program, options) = mkfs.split_first().unwrap();
        run(program, &[options, &[node.to_str().unwrap()]].concat());
    }
}

pub(super) fn has_fat() -> bool {
    let known = fs::read_to_string("/proc/filesystems").unwrap();
    known.lines().any(|line| line.trim() == "vfat")
}

/// A disk that is in use.
pub(super) struct Busy<'a> {
    // Dropped in this order.
    _swap: Swap,
    /// Only where the kernel has FAT.
    _esp: Option<Mount>,
    mounts: Vec<Mount>,
    pub(super) nodes: Nodes<'a>,
    klon: &'a Klon,
    disk: &'a LoopDevice,
}

impl<'a> Busy<'a> {
    pub(super) fn new(klon: &'a Klon, disk: &'a LoopDevice) -> Self {
        let nodes = Nodes::new(disk);
        format(&nodes);
        {
            let there = Mount::new(nodes.of(6), &klon.path("at6"), "rw");
            fs::write(there.path().join("still"), noise(6, 20 << 20)).unwrap();
        }
        let mount = |number: u32| {
            let at = klon.path(&format!("at{number}"));
            Mount::new(nodes.of(number), &at, "rw")
        };
        fs::write(klon.path("loader.efi"), noise(1, 1 << 20)).unwrap();
        let (esp, loader) = (nodes.of(1), klon.text("loader.efi"));
        run("mcopy", &["-i", esp.to_str().unwrap(), &loader, "::"]);
        Self {
            _swap: Swap::new(nodes.of(5)),
            _esp: has_fat().then(|| mount(1)),
            mounts: (2..=4).map(mount).collect(),
            nodes,
            klon,
            disk,
        }
    }

    pub(super) fn at(&self, number: usize) -> &Path {
        self.mounts[number - 2].path()
    }

    /// Where on the disk the file begins that is on the partition that nobody has mounted: 256 KiB of it lie there in
    /// one piece.
    pub(super) fn offset_of_still(&self) -> u64 {
        let content = &noise(6, 20 << 20)[..256 << 10];
        let disk = File::open(self.klon.path("disk")).unwrap();
        let mut part = vec![0; 60 << 20];
        disk.read_exact_at(&mut part, 860 * MIB).unwrap();
        let mut places = (0..part.len() - content.len()).step_by(1024);
        let found = places.find(|&at| part[at..at + content.len()] == *content);
        860 * MIB + found.expect("the file is in pieces") as u64
    }

    /// Images it, and keeps what is frozen.
    pub(super) fn image(&self, options: &[&str]) -> Outcome {
        let always = [
            "image",
            self.disk.text(),
            "x.klon",
            "--json",
            "--freeze-max",
            "120s",
        ];
        self.keeping_frozen(&[&always, options].concat())
    }

    /// Runs klon, and keeps what is frozen.
    pub(super) fn keeping_frozen(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.klon.command(arguments);
        let (disk, frozen) = (self.klon.text("disk"), self.klon.text("frozen"));
        let keep = format!("cp --sparse=always '{disk}' '{frozen}'");
        command.env("KLON_TEST_WHILE_FROZEN", keep);
        Outcome::new(arguments, &command.output().unwrap())
    }

    /// Fails unless the target is as the disk was frozen last.
    pub(super) fn assert_cloned(&self) {
        // What keeps the frozen state is in no release.
        if cfg!(debug_assertions) {
            let all = PARTITIONS.map(|(number, ..)| number);
            same(&self.klon.path("frozen"), &self.klon.path("target"), &all);
        }
    }

    /// Restores the last snapshot, and compares it with what was frozen last.
    pub(super) fn assert_same(&self) {
        image::sparse(&self.klon.path("target"), DISK_BYTES);
        let target = self.klon.text("target");
        self.klon.ok(&["restore", "x.klon", &target, "--yes"]);
        self.assert_cloned();
    }
}

/// Fails unless the target has all that was in use of a disk, and of the room in no partition. Those partitions must
/// have been clean.
pub(super) fn same(frozen: &Path, target: &Path, clean: &[u32]) {
    let (frozen, target) = (open_source(frozen).unwrap(), open_source(target).unwrap());
    let usage = disk_usage(&frozen).unwrap();
    for number in clean {
        let is_it = |it: &&VolumeUsage| it.partition.as_ref().unwrap().number == *number;
        let volume = usage.volumes.iter().find(is_it).unwrap();
        assert_eq!(volume.usage.basis, Basis::Map, "partition {number}");
    }
    let compared = usage.extents.difference(&usage.blank(&frozen).unwrap());
    assert!(usage.outside.difference(&compared).is_empty());
    let read = |device: &dyn ReadAt, extent: Extent| {
        let mut bytes = vec![0; usize::try_from(extent.len_bytes()).unwrap()];
        device
            .read_exact_at(&mut bytes, extent.offset_bytes())
            .unwrap();
        bytes
    };
    for extent in compared.iter().flat_map(|extent| extent.split(64 << 10)) {
        let is_same = read(&frozen, extent) == read(&target, extent);
        assert!(is_same, "{extent} is not as it was frozen");
    }
}

/// Checks the filesystems of a restored disk with their own tools, and the database on one of them.
pub(super) fn check(klon: &Klon, committed: u64) {
    let target = LoopDevice::new(&klon.path("target"), 512);
    let nodes = Nodes::new(&target);
    let node = |number| nodes.of(number).to_str().unwrap().to_owned();
    run("fsck.fat", &["-n", &node(1)]);
    for number in [2, 6] {
        run("e2fsck", &["-fn", &node(number)]);
    }
    drop(Mount::new(node(3), &klon.path("there"), "nouuid"));
    run("xfs_repair", &["-n", &node(3)]);
    run("btrfs", &["check", "--check-data-csum", &node(4)]);
    run("swaplabel", &[&node(5)]);
    let there = Mount::new(node(2), &klon.path("there"), "ro,noload");
    let copy = klon.text("copy");
    let _ = fs::remove_dir_all(&copy);
    let from = there.path().join(database::NAME);
    run("cp", &["--recursive", from.to_str().unwrap(), &copy]);
    database::check(Path::new(&copy), committed);
    drop(there);
    let _ = fs::remove_file(klon.path("copied"));
    run(
        "mcopy",
        &["-i", &node(1), "::/loader.efi", &klon.text("copied")],
    );
    let loader = fs::read(klon.path("copied")).unwrap();
    assert!(loader == noise(1, 1 << 20), "the loader is another");
}
