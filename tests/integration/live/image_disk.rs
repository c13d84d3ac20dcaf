//! Images of whole disks in use: partitions that are mounted and written to, swapped to, or neither; needs root.

use super::database::{self, Database};
use super::disk::Nodes;
use super::writers::Writers;
use crate::support::klon::number;
use crate::support::tree::noise;
use crate::support::{Klon, LoopDevice, MIB, Mount, Outcome, image, lacks_root, run};
use klon_partition::device::open_source;
use klon_partition::filesystem::Basis;
use klon_partition::inspect::{VolumeUsage, disk_usage};
use klon_partition::{Extent, ReadAt};
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(super) const DISK_BYTES: u64 = 960 * MIB;
/// Where room in no partition begins that has data all the same.
const GAP_BYTES: u64 = 850 * MIB;
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

fn has_fat() -> bool {
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
    nodes: Nodes<'a>,
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

    /// Images it, and keeps what is frozen.
    fn image(&self, options: &[&str]) -> Outcome {
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
    fn assert_same(&self) {
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

fn ways(told: &Value) -> Vec<(u64, String)> {
    let partitions = told["partitions"].as_array().unwrap();
    let way = |it: &Value| {
        let consistency = it["consistency"].as_str().unwrap_or("still");
        (number(it, "number"), consistency.to_owned())
    };
    partitions.iter().map(way).collect()
}

fn expected() -> Vec<(u64, String)> {
    let of_fat = if has_fat() { "read_only" } else { "still" };
    let ways = [of_fat, "frozen", "frozen", "frozen", "still", "still"];
    (1..).zip(ways.map(str::to_owned)).collect()
}

#[test]
fn a_disk_in_use_is_imaged_as_it_was_frozen() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    make(&klon.path("disk"));
    let disk = LoopDevice::new(&klon.path("disk"), 512);
    let busy = Busy::new(&klon, &disk);
    let database = Database::start(busy.at(2));
    let writers: Vec<Writers> = [2, 3, 4]
        .map(|number| Writers::start(busy.at(number)))
        .into();
    let rounds = std::env::var("KLON_LIVE_ROUNDS").ok();
    let rounds: u64 = rounds.and_then(|it| it.parse().ok()).unwrap_or(2);
    for round in 0..=rounds {
        let committed = database.committed();
        let added = busy.image(&[]).expect(0).last();
        assert_eq!(added["consistency"], "frozen", "{added}");
        assert_eq!(ways(&added), expected(), "{added}");
        assert!(!added["freezes"].as_array().unwrap().is_empty(), "{added}");
        let rung = if round == 0 { "full" } else { "metadata" };
        assert_eq!(added["rung"], rung, "{added}");
        if round > 0 {
            assert!(number(&added, "skipped_bytes") > 40 * MIB, "{added}");
        }
        busy.assert_same();
        check(&klon, committed);
    }
    drop((writers, database));
    klon.ok(&["verify", "x.klon"]);
    let listed = klon.ok(&["list", "x.klon", "--json"]).lines();
    assert!(
        listed.iter().all(|line| ways(line) == expected()),
        "{listed:?}"
    );
    let info = klon.ok(&["info", "x.klon", "--json"]).last();
    assert_eq!(ways(&info), expected(), "{info}");
    let told = "its partitions 2, 3 and 4 were mounted, and frozen";
    klon.ok(&["list", "x.klon"]).shows(&[told]);
    klon.ok(&["info", "x.klon"]).shows(&[told]);
    busy.image(&["--still", "refuse"]).expect(3);
    drop(busy);
    // At rest, it is imaged as any other.
    let word = "--assume-clean-since-record";
    let still = klon.json(&["image", disk.text(), "x.klon", word]);
    assert_eq!(still["consistency"], "still", "{still}");
    assert_eq!(still["rung"], "metadata", "{still}");
}

/// A hook that runs `command` before each freeze but the first.
fn later(klon: &Klon, command: &str) -> String {
    let flag = klon.text("flag");
    format!("if [ -e '{flag}' ]; then {command}; fi; touch '{flag}'")
}

#[test]
fn what_is_written_between_two_freezes_past_all_filesystems_is_noticed() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    make(&klon.path("disk"));
    let disk = LoopDevice::new(&klon.path("disk"), 512);
    let busy = Busy::new(&klon, &disk);
    // So much that there is more than one pass.
    fs::write(busy.at(2).join("much"), noise(3, 120 << 20)).unwrap();
    fs::write(klon.path("content"), noise(9, 100 << 10)).unwrap();
    let dd = |to: &str, at_bytes: u64| {
        let content = klon.text("content");
        format!(
            "dd if='{content}' of='{to}' bs=4096 seek={} conv=notrunc oflag=direct",
            at_bytes >> 12
        )
    };
    let to_gap = later(&klon, &dd(disk.text(), GAP_BYTES));
    let added = busy.image(&["--before-freeze", &to_gap]).expect(0).last();
    assert!(added["freezes"].as_array().unwrap().len() > 1, "{added}");
    busy.assert_same();
    let mut gap = vec![0; 100 << 10];
    let target = File::open(klon.path("target")).unwrap();
    target.read_exact_at(&mut gap, GAP_BYTES).unwrap();
    assert!(gap == noise(9, 100 << 10), "the gap is as it was before");
    // A partition that nobody has mounted is not read again.
    fs::remove_file(klon.path("flag")).unwrap();
    fs::write(busy.at(2).join("much"), noise(4, 120 << 20)).unwrap();
    let node = busy.nodes.of(6);
    let to_partition = later(&klon, &dd(node.to_str().unwrap(), 40 << 20));
    let failed = busy.image(&["--before-freeze", &to_partition]);
    failed.says(&[
        "written to or discarded on the device",
        node.to_str().unwrap(),
    ]);
    assert_ne!(failed.code, 0);
    if cfg!(debug_assertions) {
        // Nor is the disk between its last look and the end.
        let mut command = klon.command(&["image", disk.text(), "x.klon"]);
        command.env("KLON_TEST_WHILE_FROZEN", dd(disk.text(), GAP_BYTES));
        let output = command.output().unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("written to it past its partitions"), "{said}");
    }
    assert_eq!(klon.ok(&["list", "x.klon", "--json"]).lines().len(), 1);
}

#[test]
fn a_logical_partition_of_an_mbr_is_at_rest_for_the_image_of_its_disk() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    image::sparse(&klon.path("disk"), 120 * MIB);
    let table = "label: dos\nstart=2048,size=40960,type=83\nstart=43008,size=196608,type=5\n\
                 start=45056,size=163840,type=83\n";
    fs::write(klon.path("table"), table).unwrap();
    let (disk_file, table) = (klon.text("disk"), klon.text("table"));
    let written = format!("sfdisk --quiet '{disk_file}' <'{table}'");
    run("sh", &["-c", &written]);
    let disk = LoopDevice::new(&klon.path("disk"), 512);
    let nodes = Nodes::new(&disk);
    let node = nodes.of(5);
    run("mkfs.ext4", &["-q", "-F", node.to_str().unwrap()]);
    let mount = Mount::new(&node, &klon.path("at"), "rw");
    fs::write(mount.path().join("file"), noise(1, 3 << 20)).unwrap();
    let mut command = klon.command(&["image", disk.text(), "x.klon"]);
    let keep = format!("cp --sparse=always '{disk_file}' '{}'", klon.text("frozen"));
    command.env("KLON_TEST_WHILE_FROZEN", keep);
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    image::sparse(&klon.path("target"), 120 * MIB);
    klon.ok(&["restore", "x.klon", &klon.text("target"), "--yes"]);
    if cfg!(debug_assertions) {
        same(&klon.path("frozen"), &klon.path("target"), &[5]);
    }
    let told = "its partition 5 was mounted, and frozen";
    klon.ok(&["info", "x.klon"]).shows(&[told]);
}

#[test]
fn a_disk_goes_on_when_klon_is_killed_while_it_is_at_rest() {
    if lacks_root() || !cfg!(debug_assertions) {
        return;
    }
    let klon = Klon::new();
    make(&klon.path("disk"));
    let disk = LoopDevice::new(&klon.path("disk"), 512);
    let busy = Busy::new(&klon, &disk);
    let mut command = klon.command(&["image", disk.text(), "x.klon"]);
    command.env("KLON_TEST_WHILE_FROZEN", "kill -KILL $PPID");
    let began = Instant::now();
    let ended = command.output().unwrap();
    assert!(!ended.status.success());
    for number in 2..=4 {
        let file = busy.at(number).join("after");
        // What is read-only fails, and what is frozen waits.
        let is_written = || fs::write(&file, "text").is_ok();
        while !is_written() {
            assert!(began.elapsed() < Duration::from_secs(15), "{file:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        run("sync", &["-f", file.to_str().unwrap()]);
    }
    assert!(began.elapsed() < Duration::from_secs(15));
    klon.ok(&["image", disk.text(), "x.klon"]);
}

#[test]
fn what_of_a_disk_can_not_be_brought_to_rest_is_named() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    make(&klon.path("disk"));
    let disk = LoopDevice::new(&klon.path("disk"), 512);
    let busy = Busy::new(&klon, &disk);
    let open = File::create(busy.at(4).join("open")).unwrap();
    let read_only = ["image", disk.text(), "x.klon", "--still", "read-only"];
    klon.refused(&read_only, &["can't be made read-only", "open for writing"]);
    drop(open);
    // All that came to rest before goes on.
    fs::write(busy.at(2).join("after"), "text").unwrap();
    klon.ok(&read_only);
    fs::write(busy.at(2).join("after"), "text").unwrap();
    let info = klon.ok(&["info", "x.klon", "--json"]).last();
    assert_eq!(info["consistency"], "read_only", "{info}");
    // A volume on a partition of the disk, as one of LVM would be.
    let upper = LoopDevice::window(&klon.path("disk"), 860 * MIB, 60 * MIB);
    let above = Mount::new(upper.path(), &klon.path("above"), "rw");
    let at = above.path().to_str().unwrap().to_owned();
    klon.refused(
        &["image", disk.text(), "y.klon"],
        &["klon images a disk in use when", &at],
    );
    drop((above, upper));
    let on_it = busy.at(3).join("x.klon");
    let arguments = ["image", disk.text(), on_it.to_str().unwrap()];
    klon.refused(&arguments, &["while it is at rest: the image"]);
    // The kernel knows partitions that the table has no more.
    run("sgdisk", &["-d2", disk.text()]);
    klon.refused(&["image", disk.text(), "x.klon"], &["partprobe"]);
}
