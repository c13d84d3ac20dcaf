//! Ten days of small changes in one file.

use crate::support::image::sparse;
use crate::support::klon::number;
use crate::support::tree::noise;
use crate::support::{Klon, MIB, Mount, lacks_root, run};
use std::fs;

/// A file is rewritten, one is new, one is gone.
fn a_day(klon: &Klon, day: u64) {
    let mount = Mount::new(klon.path("source"), &klon.path("mnt"), "loop");
    fs::write(mount.path().join("log"), noise(day, 700_000)).unwrap();
    fs::write(
        mount.path().join(format!("new-{day}")),
        noise(day + 50, 300_000),
    )
    .unwrap();
    let _ = fs::remove_file(mount.path().join(format!("new-{}", day.wrapping_sub(3))));
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
    let first = klon.json(&["image", "source", "i.klon"]);
    for day in 1..10 {
        a_day(&klon, day);
        run(
            "cp",
            &[
                "--sparse=always",
                &klon.text("source"),
                &klon.text(&format!("day-{day}")),
            ],
        );
        let added = klon.json(&["image", "source", "i.klon"]);
        // A megabyte of noise, and what it shares chunks with.
        let bytes = number(&added, "added_bytes");
        assert!((1_000_000..5 * MIB).contains(&bytes), "day {day}: {bytes}");
    }
    assert!(number(&first, "added_bytes") > 90 * MIB);
    // Each onto the one before: what differs is little.
    for day in [9, 1, 5] {
        let snapshot = format!("i.klon@{}", day + 1);
        let restored = klon.json(&["restore", &snapshot, "target", "--in-place"]);
        if day != 9 {
            assert!(number(&restored, "written_bytes") < 8 * MIB);
        }
        klon.ok(&["verify", "target", &format!("day-{day}")]);
    }
}
