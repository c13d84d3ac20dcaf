//! Ten days of small changes in one file.

use crate::support::image::{allocated_bytes, sparse};
use crate::support::klon::number;
use crate::support::tree::noise;
use crate::support::{Klon, MIB, Mount, lacks_root, run};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file is rewritten, one is new, one is gone, one changes here and there: 1 % of what is in use.
fn a_day(klon: &Klon, day: u64) {
    let mount = Mount::new(klon.path("source"), &klon.path("mnt"), "loop");
    let at = |name: &str| mount.path().join(name);
    fs::write(at("log"), noise(day, 500_000)).unwrap();
    fs::write(at(&format!("new-{day}")), noise(day + 50, 300_000)).unwrap();
    let _ = fs::remove_file(at(&format!("new-{}", day.wrapping_sub(3))));
    let large = File::options().write(true).open(at("large")).unwrap();
    for (number, page) in noise(day + 90, 20 * 4096).chunks(4096).enumerate() {
        // Twenty pages in four places.
        let offset_bytes = day * 2 * MIB + number as u64 % 4 * 17 * MIB + number as u64 * 8192;
        large.write_all_at(page, offset_bytes).unwrap();
    }
}

/// How many bytes of two files of the same length differ, by blocks of `block_bytes`.
fn differing_bytes(a: &Path, b: &Path, block_bytes: usize) -> u64 {
    let [a, b] = [a, b].map(|path| fs::read(path).unwrap());
    let blocks = a.chunks(block_bytes).zip(b.chunks(block_bytes));
    blocks.filter(|(a, b)| a != b).count() as u64 * block_bytes as u64
}

fn copy(klon: &Klon, to: &str) {
    let [from, to] = [klon.text("source"), klon.text(to)];
    run("cp", &["--sparse=always", &from, &to]);
}

#[test]
fn each_day_adds_about_what_changed_and_all_of_them_come_back() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    sparse(&klon.path("source"), 256 * MIB);
    run("mkfs.ext4", &["-q", &klon.text("source")]);
    {
        let mount = Mount::new(klon.path("source"), &klon.path("mnt"), "loop");
        fs::write(mount.path().join("large"), noise(1, 90 << 20)).unwrap();
    }
    for day in 1..=10 {
        if day > 1 {
            a_day(&klon, day);
        }
        copy(&klon, &format!("day-{day}"));
        let added = number(&klon.json(&["image", "source", "i.klon"]), "added_bytes");
        if day == 1 {
            assert!(added > 90 * MIB, "{added}");
            continue;
        }
        let days = [day - 1, day].map(|day| klon.path(&format!("day-{day}")));
        let [blocks, chunks] =
            [4096, MIB as usize].map(|size| differing_bytes(&days[0], &days[1], size));
        println!("day {day}: {blocks} bytes changed in {chunks} of chunks, {added} added");
        assert!(blocks > 800_000);
        // Nothing but chunks that changed, of noise, and a snapshot of a few kilobytes.
        assert!((900_000..chunks + 65_536).contains(&added));
    }
    come_back(&klon, 1..=10);
    forget_all_but_three(&klon);
    come_back(&klon, 8..=10);
}

/// Every snapshot is the volume as it was that day; each is restored onto the one before.
fn come_back(klon: &Klon, days: std::ops::RangeInclusive<u64>) {
    for (number_of, day) in days.rev().enumerate() {
        let snapshot = format!("i.klon@{day}");
        let restored = klon.json(&["restore", &snapshot, "target", "--in-place"]);
        if number_of > 0 {
            assert!(number(&restored, "written_bytes") < 8 * MIB, "{restored:#}");
        }
        klon.ok(&["verify", "target", &format!("day-{day}")]);
        klon.ok(&["verify", &snapshot, &format!("day-{day}")]);
    }
}

/// The file takes no more room than one that never had the other snapshots.
fn forget_all_but_three(klon: &Klon) {
    for day in 8..=10 {
        klon.ok(&["image", &format!("day-{day}"), "three.klon"]);
    }
    klon.ok(&["prune", "i.klon", "--keep-last", "3", "--yes"]);
    let [pruned, fresh] = ["i.klon", "three.klon"].map(|name| allocated_bytes(&klon.path(name)));
    // A frame of which a part is in a block that another frame is in, or in the room of a manifest.
    assert!(pruned < fresh + MIB, "{pruned} and {fresh}");
    klon.ok(&["verify", "i.klon"]);
}
