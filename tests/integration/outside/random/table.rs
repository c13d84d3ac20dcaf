//! Tables of every kind around the partitions of a random disk.

use super::{Part, UNIT};
use crate::support::LoopDevice;
use crate::support::dice::Dice;
use crate::support::image::flip;
use crate::support::tool::{run, run_with_input};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What a disk may bear; "foreign" are labels that klon can't read.
pub(super) const KINDS: [&str; 11] = [
    "gpt",
    "gpt moved",
    "gpt hybrid",
    "gpt broken",
    "dos",
    "dos logical",
    "dos 4096",
    "dos beyond",
    "dos overlap",
    "foreign",
    "none",
];

/// Labels that parted makes and klon does not read.
const FOREIGN: [&str; 7] = ["sun", "mac", "bsd", "amiga", "dvh", "pc98", "atari"];

/// The sectors of a disk of this kind.
pub(super) fn sector_bytes(kind: &str, dice: &mut Dice) -> u32 {
    let is_root = nix::unistd::geteuid().is_root();
    match kind {
        "gpt" if is_root => [512, 512, 4096][dice.below(3)],
        "dos 4096" if is_root => 4096,
        _ => 512,
    }
}

/// Writes a table of this kind; what more there is to tell of it.
pub(super) fn write(
    path: &Path,
    dice: &mut Dice,
    kind: &str,
    sector: u32,
    parts: &[Part],
) -> &'static str {
    let text = path.to_str().unwrap();
    if kind == "foreign" {
        let label = FOREIGN[dice.below(FOREIGN.len())];
        run("parted", &["-s", text, "mklabel", label]);
        return label;
    }
    by_sfdisk(path, kind, sector, parts);
    match kind {
        "gpt moved" => {
            let first = (34 + dice.below(1500)).to_string();
            run("sgdisk", &["--move-main-table", &first, text]);
            if dice.below(2) == 0 {
                run("sgdisk", &["--resize-table", "256", text]);
            }
        }
        "gpt hybrid" => make_hybrid(path, dice, parts),
        "gpt broken" => return break_one_copy(path, dice),
        "dos beyond" => {
            let last = parts.len() - 1;
            let part = &parts[last];
            set_entry(path, last, 0x83, part.start, part.len + 100_000);
        }
        "dos overlap" => {
            let (index, first) = (parts.len().min(2) - 1, &parts[0]);
            set_entry(path, index, 0x83, first.start + 1, 40);
            set_entry(path, 3, 0x07, first.start, 7);
        }
        _ => {}
    }
    ""
}

fn by_sfdisk(path: &Path, kind: &str, sector: u32, parts: &[Part]) {
    let to_sectors = |units: u64| units * UNIT / u64::from(sector);
    let mut script = format!("label: {}\n", kind.split(' ').next().unwrap());
    let is_logical = kind == "dos logical" && parts.len() > 1;
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
        let of_type = match (part.is_container, kind.starts_with("gpt")) {
            (false, _) => "",
            (true, true) => ", type=AF9B60A0-1431-4F62-BC68-3311714A69AD",
            (true, false) => ", type=42",
        };
        script.push_str(&format!("{number}start={start}, size={len}{of_type}\n"));
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

/// Lists the first partition in the MBR too, and room that no entry of the GPT has.
fn make_hybrid(path: &Path, dice: &mut Dice, parts: &[Part]) {
    let first = &parts[0];
    let its_type = [0x83, 0x07, 0xa5, 0xee][dice.below(4)];
    set_entry(path, 1, its_type, first.start, first.len);
    if dice.below(2) == 0 {
        let end = parts.last().map_or(0, |last| last.start + last.len);
        set_entry(path, 2, 0x0c, end, 1);
    }
}

/// Puts an entry into the MBR.
fn set_entry(path: &Path, index: usize, its_type: u8, start: u64, len: u64) {
    let sectors = |units: u64| u32::try_from(units * UNIT / 512).unwrap().to_le_bytes();
    let mut entry = [0; 16];
    entry[4] = its_type;
    entry[8..12].copy_from_slice(&sectors(start));
    entry[12..].copy_from_slice(&sectors(len));
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&entry, 446 + 16 * index as u64).unwrap();
}

/// Damages one of the two copies of a GPT.
fn break_one_copy(path: &Path, dice: &mut Dice) -> &'static str {
    let size_bytes = path.metadata().unwrap().len();
    match dice.below(4) {
        0 => {
            flip(path, 512 + 40);
            "its primary header"
        }
        1 => {
            flip(path, 1024 + 56);
            "its primary entries"
        }
        2 => {
            flip(path, size_bytes - 512 + 24);
            "its backup header"
        }
        _ => {
            let file = OpenOptions::new().write(true).open(path).unwrap();
            file.write_all_at(&[0; 33 * 512], 512).unwrap();
            "its primary copy wiped"
        }
    }
}
