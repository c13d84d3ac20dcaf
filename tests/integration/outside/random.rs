//! Random disks, cloned and imaged with default options onto noise: every byte arrives that is not free
//! in a clean filesystem, by the word of other tools or by how the filesystem was made.
//!
//! `KLON_OUTSIDE_DISKS=100` tries so many more disks, `KLON_OUTSIDE_SEED=7` begins with that one.

mod content;
mod table;

use crate::support::dice::Dice;
use crate::support::image::{flip, put, sparse};
use crate::support::tree::noise;
use crate::support::{Klon, MIB};
use klon_partition::{Extent, ExtentMap};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Partitions begin and end at multiples of this.
const UNIT: u64 = MIB;

/// A disk, and what of it must arrive.
struct Disk {
    told: String,
    must: ExtentMap,
    /// A place that is in no partition or behind a filesystem's end, if there is one.
    nobodys: Option<u64>,
}

#[test]
fn every_byte_arrives_that_is_not_proven_free() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let (first, more) = (number("KLON_OUTSIDE_SEED"), number("KLON_OUTSIDE_DISKS"));
    let first: u64 = first.unwrap_or(1);
    // One of each kind at least.
    for seed in first..first + table::KINDS.len() as u64 + more.unwrap_or(0) {
        check(seed);
    }
}

fn check(seed: u64) {
    // For failures of tools, which don't tell.
    println!("seed {seed}");
    let klon = Klon::new();
    let mut dice = Dice::new(seed);
    let kind = table::KINDS[seed as usize % table::KINDS.len()];
    let disk = make(&klon, &mut dice, kind);
    let told = format!("seed {seed}: {}", disk.told);
    let size_bytes = klon.path("disk").metadata().unwrap().len();
    let target = noisy(&klon, "target", size_bytes);
    klon.ok(&["clone", "disk", "target", "--yes", "--confirm", &target]);
    assert_arrived(&klon, &disk, "target", &told);
    klon.ok(&["verify", "target"]);
    klon.ok(&["verify", "target", "disk"]);
    klon.ok(&["image", "disk", "image.klon"]);
    let restored = noisy(&klon, "restored", size_bytes);
    klon.ok(&[
        "restore",
        "image.klon",
        "restored",
        "--yes",
        "--confirm",
        &restored,
    ]);
    assert_arrived(&klon, &disk, "restored", &told);
    let Some(at) = disk.nobodys else {
        return;
    };
    flip(&klon.path("target"), at);
    klon.run(&["verify", "target"]).expect(1);
    klon.run(&["verify", "target", "disk"]).expect(1);
    klon.run(&["verify", "image.klon", "target"]).expect(1);
    flip(&klon.path("target"), at);
    // A change where nobody is goes along with the next run.
    flip(&klon.path("disk"), at);
    klon.ok(&[
        "clone",
        "disk",
        "target",
        "--in-place",
        "--yes",
        "--confirm",
        &target,
    ]);
    assert_arrived(&klon, &disk, "target", &format!("{told}, again"));
    klon.ok(&["image", "disk", "image.klon"]);
    klon.ok(&["verify", "image.klon", "disk"]);
}

/// A file of noise; its name, for consent.
fn noisy(klon: &Klon, name: &str, size_bytes: u64) -> String {
    let file = fs::File::create(klon.path(name)).unwrap();
    let piece = noise(99, MIB as usize);
    for at in (0..size_bytes).step_by(piece.len()) {
        let len = piece.len().min((size_bytes - at) as usize);
        file.write_all_at(&piece[..len], at).unwrap();
    }
    klon.text(name)
}

fn assert_arrived(klon: &Klon, disk: &Disk, target: &str, told: &str) {
    let [source, target] = ["disk", target].map(|name| fs::read(klon.path(name)).unwrap());
    assert_eq!(source.len(), target.len(), "{told}");
    for extent in disk.must.iter() {
        let range = extent.offset_bytes() as usize..extent.end_bytes() as usize;
        if source[range.clone()] == target[range.clone()] {
            continue;
        }
        let mut pairs = source[range.clone()].iter().zip(&target[range.clone()]);
        let at = range.start + pairs.position(|(a, b)| a != b).unwrap();
        panic!("byte {at:#x} did not arrive; {told}");
    }
}

/// Where partitions lie, in units, and what they hold.
struct Part {
    start: u64,
    len: u64,
    content: &'static str,
    /// Its type says that there is more in it than a filesystem.
    is_container: bool,
}

fn make(klon: &Klon, dice: &mut Dice, kind: &str) -> Disk {
    let path = klon.path("disk");
    let sector = table::sector_bytes(kind, dice);
    let parts = match kind {
        "none" => Vec::new(),
        _ => parts(dice),
    };
    let end = parts.last().map_or(1, |part| part.start + part.len);
    let units = end + 2 + dice.below(70) as u64;
    sparse(&path, units * UNIT);
    let mut told = format!("{kind}, {sector}, {units} MiB");
    let mut nobodys = scatter(&path, dice, units, &parts);
    if kind == "none" {
        return unlabeled(klon, dice, &path, units, told);
    }
    let more = table::write(&path, dice, kind, sector, &parts);
    told.push_str(&format!(" {more}"));
    let mut free = ExtentMap::new();
    for (index, part) in parts.iter().enumerate() {
        let name = format!("part{index}");
        let start_bytes = part.start * UNIT;
        told.push_str(&format!(
            "; {} MiB at {}: {}, container: {}",
            part.len, part.start, part.content, part.is_container
        ));
        let made = content::make(klon, dice, &name, part, sector);
        if part.content != "nothing" {
            put(&klon.path(&name), &path, start_bytes);
            fs::remove_file(klon.path(&name)).unwrap();
        }
        let Some((own_bytes, own_free)) = made else {
            continue;
        };
        free = free.union(&own_free.shifted(start_bytes));
        if let Some(at) = content::junk_behind(&path, dice, part, own_bytes) {
            nobodys = Some(at);
        }
    }
    // Of a label that klon can't read no filesystem proves anything free.
    if kind == "foreign" {
        free = ExtentMap::new();
    }
    Disk {
        told,
        must: ExtentMap::whole(units * UNIT).difference(&free),
        nobodys,
    }
}

fn parts(dice: &mut Dice) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = 2;
    for _ in 0..1 + dice.below(4) {
        // Room for an extended boot record.
        at += 2 + [0, 1, 3, 20, 45][dice.below(5)];
        let (content, len_min) = content::KINDS[dice.below(content::KINDS.len())];
        let len = (8 + dice.below(50) as u64).max(len_min);
        parts.push(Part {
            start: at,
            len,
            content,
            is_container: dice.below(6) == 0,
        });
        at += len;
    }
    parts
}

/// Data in no partition: the table, which is written later, replaces what it needs.
fn scatter(path: &Path, dice: &mut Dice, units: u64, parts: &[Part]) -> Option<u64> {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let mut last = None;
    for _ in 0..dice.below(6) {
        let len = 1 + dice.below(300_000);
        let at = dice.below((units * UNIT) as usize - len) as u64;
        let extent = Extent::new(at, len as u64).unwrap();
        let is_part = |part: &Part| {
            let place = Extent::new(part.start * UNIT, part.len * UNIT).unwrap();
            place.overlaps(extent)
        };
        // Tables are within the first and the last mebibyte, and less than that before partitions.
        let is_near = |part: &&Part| at < part.start * UNIT && at + 2 * MIB > part.start * UNIT;
        if parts.iter().any(is_part) {
            continue;
        }
        file.write_all_at(&noise(at, len), at).unwrap();
        let is_apart = at > MIB && extent.end_bytes() < (units - 1) * UNIT;
        if is_apart && !parts.iter().any(|part| is_near(&part)) {
            last = Some(at);
        }
    }
    last
}

fn unlabeled(klon: &Klon, dice: &mut Dice, path: &Path, units: u64, told: String) -> Disk {
    // Room for any filesystem.
    let units = units.max(20);
    let content = ["noise", "ext4", "fat", "exfat", "xfs", "btrfs", "squashfs"][dice.below(7)];
    let told = format!("{told}, {content}");
    // A filesystem's tools would see what is there.
    let part = Part {
        start: 0,
        len: units,
        content,
        is_container: false,
    };
    fs::remove_file(path).unwrap();
    let (own_bytes, free) = match content::make(klon, dice, "disk", &part, 512) {
        Some((own_bytes, free)) => (own_bytes, free),
        None => (0, ExtentMap::new()),
    };
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(units * UNIT).unwrap();
    let nobodys = match own_bytes {
        0 => None,
        _ => content::junk_behind(path, dice, &part, own_bytes),
    };
    Disk {
        told,
        must: ExtentMap::whole(units * UNIT).difference(&free),
        nobodys,
    }
}
