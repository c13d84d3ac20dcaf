//! Logs of frozen filesystems: klon takes each for clean, and the kernel's recovery of a copy changes nothing
//! but the superblock and the log; needs root.

use super::mkfs;
use crate::filesystems::image_file::ImageFile;
use crate::support::dice::Dice;
use crate::support::klon::number;
use crate::support::tree::noise;
use crate::support::{Klon, LoopDevice, Mount, image, lacks_root, run};
use klon_partition::filesystem::{Basis, probe, usage};
use klon_partition::{Extent, ExtentMap, ReadAt};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

const SIZE_BYTES: u64 = 320 << 20;

/// Names, options of `mkfs.xfs`, and of the mount. Where the log is small, or its records are large, it begins
/// again and again.
const SHAPES: &[(&str, &[&str], &str)] = &[
    ("default", &[], "rw"),
    ("small-log", &["-l", "size=6m"], "logbsize=16k"),
    ("large-records", &["-l", "size=8m"], "logbsize=256k"),
    ("4k-sectors", &["-s", "size=4096", "-l", "size=8m"], "rw"),
    ("stripes", &["-l", "size=20m,su=256k"], "logbsize=256k"),
    ("short-stripes", &["-l", "size=8m,su=32k"], "logbsize=64k"),
    ("old-stamps", &["-m", "bigtime=0,reflink=0"], "wsync"),
    ("wide-counters", &["-i", "nrext64=1"], "lazytime"),
];

/// A frozen filesystem, until it is dropped.
struct Frozen<'a>(&'a Path);

impl<'a> Frozen<'a> {
    fn new(at: &'a Path) -> Self {
        run("fsfreeze", &["--freeze", at.to_str().unwrap()]);
        Self(at)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        run("fsfreeze", &["--unfreeze", self.0.to_str().unwrap()]);
    }
}

/// A mounted volume that is written to at random.
struct Busy {
    at: PathBuf,
    dice: Dice,
    /// Files that have no name any more.
    nameless: Vec<File>,
}

impl Busy {
    fn file(&mut self) -> PathBuf {
        self.at.join(self.dice.below(6).to_string())
    }

    /// Writes in place: of the filesystem only the inode's core changes.
    fn overwrite(&mut self) -> File {
        let path = self.file();
        let file = File::options().write(true).open(path).unwrap();
        let at_bytes = self.dice.below(90_000) as u64;
        file.write_all_at(b"changed", at_bytes).unwrap();
        file
    }

    fn step(&mut self) {
        let seed = self.dice.below(1 << 30) as u64;
        match self.dice.below(12) {
            0 => {}
            1..=3 => drop(self.overwrite()),
            4 | 5 => {
                // Each of them may be a record of its own.
                for _ in 0..1 + self.dice.below(4) {
                    self.overwrite().sync_all().unwrap();
                }
            }
            6 => {
                let mode = fs::Permissions::from_mode(0o600 + (seed % 64) as u32);
                fs::set_permissions(self.file(), mode).unwrap();
            }
            7 => {
                for number in 0..1 + seed % 60 {
                    let path = self.at.join(format!("new{}", (seed + number) % 200));
                    fs::write(path, noise(seed, 1 + number as usize * 900)).unwrap();
                }
            }
            8 => {
                for entry in fs::read_dir(&self.at).unwrap().map(Result::unwrap) {
                    let name = entry.file_name().into_string().unwrap();
                    if name.starts_with("new") && self.dice.below(3) == 0 {
                        fs::remove_file(entry.path()).unwrap();
                    }
                }
            }
            9 => {
                let path = self.at.join("nameless");
                let file = File::create(&path).unwrap();
                file.write_all_at(&noise(seed, 5000), 0).unwrap();
                fs::remove_file(path).unwrap();
                self.nameless.push(file);
            }
            10 => self.nameless.clear(),
            _ => {
                let label = format!("label -s l{}", seed % 1000);
                run("xfs_io", &["-c", &label, self.at.to_str().unwrap()]);
            }
        }
    }
}

/// Where the log is, and the sector with the superblock.
fn log_and_superblock(image: &dyn ReadAt) -> ExtentMap {
    let mut raw = [0; 512];
    image.read_exact_at(&mut raw, 0).unwrap();
    let number = |at: usize, len: usize| {
        let bytes = &raw[at..at + len];
        bytes
            .iter()
            .fold(0, |all, &byte| all << 8 | u64::from(byte))
    };
    let (block_bytes, start, blocks) = (number(4, 4), number(48, 8), number(96, 4));
    let (group_blocks, log) = (number(84, 4), number(124, 1));
    let block = (start >> log) * group_blocks + (start & ((1 << log) - 1));
    let log = Extent::new(block * block_bytes, blocks * block_bytes);
    let superblock = Extent::new(0, number(102, 2));
    [log, superblock].into_iter().flatten().collect()
}

/// Lets the kernel recover a copy, and compares it with what was frozen, byte by byte.
fn assert_recovery_changes_nothing(frozen: &Path, directory: &Path, why: &str) {
    let recovered = directory.join("recovered");
    let copied = [frozen, &recovered].map(|path| path.to_str().unwrap());
    run("cp", &["--sparse=always", copied[0], copied[1]]);
    let at = directory.join("there");
    let device = LoopDevice::new(&recovered, 512);
    drop(Mount::new(device.path(), &at, "ro,nouuid"));
    drop(device);
    let images = [frozen, &recovered].map(ImageFile::open);
    let left_out = log_and_superblock(&images[0]);
    for extent in left_out.complement(SIZE_BYTES).iter() {
        for part in extent.split(1 << 20) {
            let [before, after] = images.each_ref().map(|image| {
                let mut bytes = vec![0; usize::try_from(part.len_bytes()).unwrap()];
                image
                    .read_exact_at(&mut bytes, part.offset_bytes())
                    .unwrap();
                bytes
            });
            assert!(before == after, "{why}: {part} differs after the recovery");
        }
    }
}

/// Freezes the volume so often, with a few changes before each time.
fn rounds(name: &str, options: &[&str], mount: &str, count: usize, seed: u64) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (volume, frozen) = (path("volume"), path("frozen"));
    image::sparse(&volume, SIZE_BYTES);
    let arguments = [&["-q"], options, &[volume.to_str().unwrap()]].concat();
    mkfs(&arguments);
    let device = LoopDevice::new(&volume, 512);
    let mounted = Mount::new(device.path(), &path("mount"), mount);
    for name in 0..6 {
        let file = path("mount").join(name.to_string());
        fs::write(file, noise(name, 100_000)).unwrap();
    }
    let mut busy = Busy {
        at: mounted.path().to_owned(),
        dice: Dice::new(seed),
        nameless: Vec::new(),
    };
    for round in 0..count {
        for _ in 0..busy.dice.below(3) {
            busy.step();
        }
        let why = format!("{name}, seed {seed}, round {round}");
        let held = Frozen::new(mounted.path());
        let found = usage(&ImageFile::open(&volume)).unwrap();
        assert_eq!(found.basis, Basis::Map, "{why}");
        assert!(!is_unmounted(&volume), "{why}");
        let files = [&volume, &frozen].map(|path| path.to_str().unwrap());
        run("cp", &["--sparse=always", files[0], files[1]]);
        drop(held);
        // Files without a name are removed for good by a recovery.
        if busy.nameless.is_empty() {
            assert_recovery_changes_nothing(&frozen, directory.path(), &why);
        }
    }
    drop((busy, mounted));
    let found = usage(&ImageFile::open(&volume)).unwrap();
    assert_eq!(found.basis, Basis::Map, "{name}, unmounted");
    assert!(is_unmounted(&volume), "{name}, unmounted");
}

fn is_unmounted(path: &Path) -> bool {
    let image = ImageFile::open(path);
    let filesystem = probe(&image).unwrap().unwrap();
    filesystem.is_unmounted(&image).unwrap()
}

#[test]
fn frozen_logs_are_clean_and_a_recovery_changes_nothing() {
    if lacks_root() {
        return;
    }
    let count = std::env::var("KLON_FROZEN_LOGS");
    let count = count.map_or(6, |count| count.parse().unwrap());
    for (seed, (name, options, mount)) in (1..).zip(SHAPES) {
        rounds(name, options, mount, count, seed);
    }
}

#[test]
fn a_file_that_was_written_in_place_between_two_freezes_changes_nothing() {
    if lacks_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (volume, at) = (directory.path().join("volume"), directory.path().join("at"));
    image::sparse(&volume, SIZE_BYTES);
    mkfs(&["-q", volume.to_str().unwrap()]);
    let device = LoopDevice::new(&volume, 512);
    let mounted = Mount::new(device.path(), &at, "rw");
    let file = File::create(at.join("file")).unwrap();
    file.write_all_at(&noise(1, 100_000), 0).unwrap();
    drop(Frozen::new(mounted.path()));
    for round in 0..3 {
        file.write_all_at(b"changed", round * 5000).unwrap();
        let held = Frozen::new(mounted.path());
        let found = usage(&ImageFile::open(&volume)).unwrap();
        assert_eq!(found.basis, Basis::Map, "round {round}");
        drop(held);
    }
}

/// The state of an idle filesystem that someone else took, without a freeze that klon knows of.
#[test]
fn files_of_what_was_not_unmounted_prove_nothing() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    image::sparse(&klon.path("volume"), SIZE_BYTES);
    mkfs(&["-q", &klon.text("volume")]);
    let device = LoopDevice::new(&klon.path("volume"), 512);
    let mounted = Mount::new(device.path(), &klon.path("mount"), "rw");
    fs::write(mounted.path().join("file"), noise(1, 3_000_000)).unwrap();
    let held = Frozen::new(mounted.path());
    run(
        "cp",
        &["--sparse=always", &klon.text("volume"), &klon.text("copy")],
    );
    drop(held);
    drop((mounted, device));
    klon.ok(&["clone", "copy", "target"]);
    let word = "--assume-clean-since-record";
    let again = klon.json(&["clone", "copy", "target", word]);
    assert_ne!(again["rung"], "metadata", "{again:#}");
    assert!(number(&again, "read_source_bytes") > 3_000_000, "{again:#}");
}

/// New groups are written to their place past the log, and the superblock that names them is first in the log.
#[test]
fn a_filesystem_that_just_grew_is_not_taken_for_what_it_was() {
    if lacks_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let text = |name: &str| path(name).to_str().unwrap().to_owned();
    image::sparse(&path("volume"), 2 * SIZE_BYTES);
    mkfs(&["-q", "-d", "agsize=64m,size=256m", &text("volume")]);
    let device = LoopDevice::new(&path("volume"), 512);
    let mounted = Mount::new(device.path(), &path("mount"), "rw");
    fs::write(path("mount").join("file"), noise(1, 100_000)).unwrap();
    drop(Frozen::new(mounted.path()));
    run("xfs_growfs", &["-d", mounted.path().to_str().unwrap()]);
    run("cp", &["--sparse=always", &text("volume"), &text("copy")]);
    let copy = ImageFile::open(&path("copy"));
    let mut groups = [0; 4];
    copy.read_exact_at(&mut groups, 88).unwrap();
    let found = usage(&copy).unwrap();
    let is_told = found.basis != Basis::Map || u32::from_be_bytes(groups) > 4;
    assert!(is_told, "of {} bytes in use", found.used_bytes());
}
