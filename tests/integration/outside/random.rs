//! Random disks, cloned and imaged with default options onto noise: every byte arrives that is not free
//! in a clean filesystem, by the word of other tools or by how the filesystem was made.
//!
//! `KLON_OUTSIDE_DISKS=100` tries so many more disks, `KLON_OUTSIDE_SEED=7` begins with that one.

use crate::support::dice::Dice;
use crate::support::image::{flip, put, sparse};
use crate::support::tool::{output, run, run_with_input};
use crate::support::tree::{fill, noise};
use crate::support::{Klon, LoopDevice, MIB};
use klon_partition::{Extent, ExtentMap};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Partitions begin and end at multiples of this.
const UNIT: u64 = MIB;

/// What partitions hold.
const CONTENTS: [&str; 9] = [
    "nothing", "noise", "ext4", "ext2", "fat", "ntfs", "exfat", "swap", "f2fs",
];

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
    for seed in first..first + 5 + more.unwrap_or(0) {
        check(seed);
    }
}

fn check(seed: u64) {
    let klon = Klon::new();
    let mut dice = Dice::new(seed);
    let disk = make(&klon, &mut dice);
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
}

fn make(klon: &Klon, dice: &mut Dice) -> Disk {
    let path = klon.path("disk");
    let label = ["gpt", "dos", "dos-logical", "none"][dice.below(4)];
    let is_root = nix::unistd::geteuid().is_root();
    let sector: u32 = [512, 512, 4096][dice.below(if is_root && label == "gpt" { 3 } else { 1 })];
    let parts = match label {
        "none" => Vec::new(),
        _ => parts(dice),
    };
    let end = parts.last().map_or(1, |part| part.start + part.len);
    let units = end + 2 + dice.below(70) as u64;
    sparse(&path, units * UNIT);
    let mut told = format!("{label}, {sector}, {units} MiB");
    let mut nobodys = scatter(&path, dice, units, &parts);
    match label {
        "none" => return unlabeled(klon, dice, &path, units, told),
        _ => write_table(&path, label, sector, &parts),
    }
    let mut free = ExtentMap::new();
    for (index, part) in parts.iter().enumerate() {
        let name = format!("part{index}");
        let start_bytes = part.start * UNIT;
        told.push_str(&format!(
            "; {} MiB at {}: {}",
            part.len, part.start, part.content
        ));
        let Some((own_bytes, own_free)) = fill_part(klon, dice, &name, part, sector) else {
            continue;
        };
        put(&klon.path(&name), &path, start_bytes);
        free = free.union(&own_free.shifted(start_bytes));
        if let Some(at) = junk_behind(&path, dice, part, own_bytes) {
            nobodys = Some(at);
        }
        fs::remove_file(klon.path(&name)).unwrap();
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
        let len = 8 + dice.below(50) as u64;
        let content = CONTENTS[dice.below(CONTENTS.len())];
        // The smallest that mkfs.f2fs makes.
        let len = if content == "f2fs" { len.max(52) } else { len };
        parts.push(Part {
            start: at,
            len,
            content,
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
    let content = ["noise", "ext4", "fat", "exfat"][dice.below(4)];
    let told = format!("{told}, {content}");
    // A filesystem's tools would see what is there.
    let part = Part {
        start: 0,
        len: units,
        content,
    };
    fs::remove_file(path).unwrap();
    let (own_bytes, free) = match fill_part(klon, dice, "disk", &part, 512) {
        Some((own_bytes, free)) => (own_bytes, free),
        None => (0, ExtentMap::new()),
    };
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(units * UNIT).unwrap();
    let nobodys = match own_bytes {
        0 => None,
        _ => junk_behind(path, dice, &part, own_bytes),
    };
    Disk {
        told,
        must: ExtentMap::whole(units * UNIT).difference(&free),
        nobodys,
    }
}

fn write_table(path: &Path, label: &str, sector: u32, parts: &[Part]) {
    let to_sectors = |units: u64| units * UNIT / u64::from(sector);
    let mut script = format!("label: {}\n", label.split('-').next().unwrap());
    let is_logical = label == "dos-logical" && parts.len() > 1;
    for (index, part) in parts.iter().enumerate() {
        if is_logical && index == 1 {
            let start = part.start - 1;
            let end = parts.last().map_or(0, |last| last.start + last.len);
            let len = to_sectors(end - start);
            script.push_str(&format!(
                "start={}, size={len}, type=5\n",
                to_sectors(start)
            ));
        }
        let number = match index {
            index if is_logical && index > 0 => format!("{} : ", index + 4),
            _ => String::new(),
        };
        let (start, len) = (to_sectors(part.start), to_sectors(part.len));
        script.push_str(&format!("{number}start={start}, size={len}\n"));
    }
    let device = (sector != 512).then(|| LoopDevice::new(path, sector));
    let disk = device
        .as_ref()
        .map_or(path.to_str().unwrap(), LoopDevice::text);
    let options = [
        "-q",
        "--wipe",
        "never",
        "--wipe-partitions",
        "never",
        "--no-reread",
        disk,
    ];
    run_with_input("sfdisk", &options, &script);
    if let Some(device) = &device {
        run("blockdev", &["--flushbufs", device.text()]);
    }
}

/// Makes what a partition holds: how many bytes its filesystem was made for, and what of them is free;
/// `None` for no filesystem.
fn fill_part(
    klon: &Klon,
    dice: &mut Dice,
    name: &str,
    part: &Part,
    sector: u32,
) -> Option<(u64, ExtentMap)> {
    let path = klon.path(name);
    let file = path.to_str().unwrap();
    let part_bytes = part.len * UNIT;
    let spare_bytes = [0, 0, 4096, 100 * 1024, MIB + 4096][dice.below(5)];
    let own_bytes = match part.content {
        "f2fs" => part_bytes - [0, MIB + 4096][dice.below(2)],
        _ => part_bytes - spare_bytes,
    };
    match part.content {
        "nothing" => {
            sparse(&path, part_bytes);
            fs::remove_file(&path).unwrap();
            return None;
        }
        "noise" => {
            fs::write(&path, noise(part.start + 1, part_bytes as usize)).unwrap();
            return None;
        }
        _ => sparse(&path, own_bytes),
    }
    let sector = sector.to_string();
    match part.content {
        kind @ ("ext4" | "ext2") => {
            let tree = klon.path("tree");
            fill(&tree, part.start, 1);
            let options = ["-q", "-F", "-t", kind, "-d", tree.to_str().unwrap(), file];
            run("mke2fs", &options);
            fs::remove_dir_all(&tree).unwrap();
        }
        "fat" => drop(run("mkfs.fat", &["-S", &sector, file])),
        "ntfs" => drop(run("mkntfs", &["-F", "-Q", "-q", "-s", &sector, file])),
        "exfat" => drop(run("mkfs.exfat", &[file])),
        "swap" => drop(run("mkswap", &["-q", file])),
        "f2fs" => drop(run("mkfs.f2fs", &["-q", file])),
        other => panic!("{other}"),
    }
    let free = match part.content {
        "ext4" | "ext2" => dumpe2fs_free(&path),
        // It was made on zeroes: whatever is zero now may be free.
        _ => zeroes(&path),
    };
    Some((own_bytes, free))
}

/// Data behind the end of a filesystem; where the last of them are.
fn junk_behind(path: &Path, dice: &mut Dice, part: &Part, own_bytes: u64) -> Option<u64> {
    let tail = part.len * UNIT - own_bytes;
    if tail == 0 {
        return None;
    }
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let mut at = 0;
    for _ in 0..1 + dice.below(3) {
        at = part.start * UNIT + own_bytes + dice.below(tail as usize) as u64;
        file.write_all_at(&[1 + dice.below(255) as u8], at).unwrap();
    }
    // The last byte of the partition, too.
    file.write_all_at(&[9], (part.start + part.len) * UNIT - 1)
        .unwrap();
    Some(at)
}

fn dumpe2fs_free(path: &Path) -> ExtentMap {
    let found = output("dumpe2fs", &[path.to_str().unwrap()]);
    let text = String::from_utf8(found.stdout).unwrap();
    let after = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap();
        line[key.len()..].trim().parse::<u64>().unwrap()
    };
    let block_bytes = after("Block size:");
    let lists = text
        .lines()
        .filter_map(|line| line.strip_prefix("  Free blocks: "));
    let ranges = lists.flat_map(|list| list.split(", ").filter(|range| !range.is_empty()));
    ranges
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let [first, last] = [first, last].map(|text| text.trim().parse::<u64>().unwrap());
            Extent::between(first * block_bytes, (last + 1) * block_bytes).unwrap()
        })
        .collect()
}

fn zeroes(path: &Path) -> ExtentMap {
    const PIECE: usize = 512;
    let bytes = fs::read(path).unwrap();
    let pieces = bytes.chunks(PIECE).enumerate();
    pieces
        .filter(|(_, piece)| piece.iter().all(|&byte| byte == 0))
        .filter_map(|(index, piece)| Extent::new((index * PIECE) as u64, piece.len() as u64))
        .collect()
}
