//! Rescues of whole disks and of the sources of plans.

use super::range_of;
use crate::support::image::{own_boot_disk, sparse};
use crate::support::{BadDisk, Klon, MIB, lacks_root};
use klon_partition::device::{Window, open_source};
use klon_partition::filesystem::owners;
use klon_partition::{Extent, ExtentMap};
use std::fs;

/// Where the largest file of the partition at `place` lies on the disk, and its name.
fn largest_file(klon: &Klon, place: Extent) -> (Extent, String) {
    let device = open_source(&klon.path("disk")).unwrap();
    let volume = Window::new(&device, place).unwrap();
    let all = ExtentMap::whole(place.len_bytes());
    let files = owners(&volume, &all, 1 << 16).files;
    let largest = files.into_iter().max_by_key(|file| file.extent.len_bytes());
    let largest = largest.unwrap();
    (
        largest.extent.shifted(place.offset_bytes()).unwrap(),
        largest.path,
    )
}

#[test]
fn a_disk_with_bad_partitions_is_rescued_whole_and_by_a_plan() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    own_boot_disk(&klon.path("disk"), 512);
    let places = [(MIB, 33 * MIB), (36 * MIB, 160 * MIB)];
    let places = places.map(|(at, len)| Extent::new(at, len).unwrap());
    let files = places.map(|place| largest_file(&klon, place));
    let bad: ExtentMap = files
        .iter()
        .filter_map(|(extent, _)| {
            let at = extent.len_bytes() / 2 / 4096 * 4096;
            Extent::new(extent.offset_bytes() + at, 1024)
        })
        .collect();
    let disk = BadDisk::new(&klon.path("disk"), &bad, klon.directory());
    let source = disk.text();

    let line = ["clone", "--rescue", source, "target", "--json"];
    let found = klon.run(&line).expect(1).last();
    assert_eq!(found["bad"], serde_json::to_value(&bad).unwrap());
    let paths: Vec<&str> = found["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["path"].as_str().unwrap())
        .collect();
    let expected = [format!("1:{}", files[0].1), format!("3:{}", files[1].1)];
    assert_eq!(paths, expected);
    let (original, clone) = (
        fs::read(klon.path("disk")).unwrap(),
        fs::read(klon.path("target")).unwrap(),
    );
    let (extent, _) = &files[1];
    let before = Extent::new(extent.offset_bytes(), 4096).unwrap();
    assert!(original[range_of(before)] == clone[range_of(before)]);

    // The same disk as the source of a plan.
    sparse(&klon.path("drive"), 320 * MIB);
    let boot = format!("Boot={source}");
    klon.ok(&["plan", "--drive", "drive", &boot, "-o", "plan.toml"]);
    let drive = klon.text("drive");
    klon.ok(&["prepare", "plan.toml", "--yes", "--confirm", &drive]);
    let one = klon.run(&["clone", "--rescue=map", "plan.toml"]).expect(2);
    one.says(&["can be the map of one volume only", "--rescue alone"]);
    let plain = klon.run(&["clone", "plan.toml"]).expect(4);
    plain.says(&["has a bad sector at byte", "klon clone --rescue"]);
    let outcome = klon
        .run(&["clone", "--rescue", "plan.toml", "--json"])
        .expect(1);
    let rescued = outcome.stdout.matches("\"event\":\"rescued\"").count();
    assert_eq!(rescued, 2, "{}", outcome.stdout);
    assert_eq!(outcome.stdout.matches("\"bad_bytes\":1024").count(), 2);
    for (_, path) in &files {
        assert!(outcome.stdout.contains(path), "{path}");
    }
    let verified = klon
        .run(&["verify", "plan.toml", "--against-source", "--json"])
        .expect(1);
    assert_eq!(verified.stdout.matches("\"is_equal\":true").count(), 2);
    assert_eq!(verified.stdout.matches("\"bad_bytes\":1024").count(), 2);
}
