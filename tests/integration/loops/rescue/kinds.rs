//! Rescues of volumes of other kinds: bad sectors in a file, in the filesystem's own structures, and
//! where nothing is in use.

use super::{SECTOR_BYTES, range_of};
use crate::support::image::golden;
use crate::support::{BadDisk, Klon, lacks_root};
use klon_partition::device::open_source;
use klon_partition::filesystem::{owners, probe, usage};
use klon_partition::{Extent, ExtentMap, ReadAt};
use std::collections::BTreeSet;
use std::fs;

/// The sector in the middle of the longest extent of `map`.
fn middle(map: &ExtentMap) -> Extent {
    let longest = map.iter().max_by_key(|extent| extent.len_bytes()).unwrap();
    let sectors = longest.len_bytes() / SECTOR_BYTES;
    let at = longest.offset_bytes() + sectors / 2 * SECTOR_BYTES;
    Extent::new(at, SECTOR_BYTES).unwrap()
}

/// Rescues the golden image `name`, with a bad sector in each: a file, metadata (or not), free
/// space.
fn rescue(name: &str, with_metadata: bool) {
    let klon = Klon::new();
    golden(name, &klon.path("source"));
    let device = open_source(&klon.path("source")).unwrap();
    let size_bytes = device.geometry().size_bytes;
    let used = usage(&device).unwrap().extents;
    let filesystem = probe(&device).unwrap().unwrap();
    let metadata = filesystem.metadata(&device).unwrap().unwrap();
    let contents = used.difference(&metadata);
    let of_file = owners(&device, &contents, 1 << 16).files;
    let of_file: ExtentMap = of_file.iter().map(|owner| owner.extent).collect();
    let in_file = middle(&of_file);
    let mut bad = vec![in_file, middle(&used.complement(size_bytes))];
    if with_metadata {
        bad.extend(Extent::new(
            metadata.end_bytes() - SECTOR_BYTES,
            SECTOR_BYTES,
        ));
    }
    let bad: ExtentMap = bad.into_iter().collect();
    let expected = owners(&device, &in_file.into(), 100).files;
    let expected: BTreeSet<&str> = expected.iter().map(|file| file.path.as_str()).collect();
    assert!(!expected.is_empty(), "{name}");

    let disk = BadDisk::new(&klon.path("source"), &bad, klon.directory());
    let line = ["clone", "--rescue=map", disk.text(), "target", "--json"];
    let found = klon.run(&line).expect(1).last();
    let files = found["files"].as_array().unwrap();
    let files: BTreeSet<&str> = files
        .iter()
        .map(|file| file["path"].as_str().unwrap())
        .collect();
    if with_metadata {
        let is_told =
            found.get("files_unknown_because").is_some() || found["bad_metadata_bytes"].is_null();
        assert!(files.is_superset(&expected) || is_told, "{name}: {found:#}");
        let bad_bytes = found["bad_bytes"].as_u64().unwrap();
        assert!((1024..=1536).contains(&bad_bytes), "{name}: {found:#}");
    } else {
        assert_eq!(files, expected, "{name}");
        assert_eq!(found["bad_metadata_bytes"], 0, "{name}: {found:#}");
        let only = ExtentMap::from(in_file);
        assert_eq!(found["bad"], serde_json::to_value(only).unwrap(), "{name}");
    }
    let (source, target) = (
        fs::read(klon.path("source")).unwrap(),
        fs::read(klon.path("target")).unwrap(),
    );
    for extent in used.difference(&bad).iter() {
        assert!(
            source[range_of(extent)] == target[range_of(extent)],
            "{name}: {extent}"
        );
    }
}

#[test]
fn a_bad_sector_of_a_file_is_told_by_its_name_and_free_space_is_never_read() {
    if lacks_root() {
        return;
    }
    for name in ["xfs", "btrfs", "fat32-esp", "exfat", "ntfs"] {
        rescue(name, false);
    }
}

#[test]
fn a_bad_sector_of_the_metadata_costs_nothing_but_itself() {
    if lacks_root() {
        return;
    }
    for name in ["xfs", "exfat", "ntfs"] {
        rescue(name, true);
    }
}

/// Names of files in it klon does not know; but what is metadata.
#[test]
fn bad_sectors_of_an_apfs_container_are_told_apart() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    golden("apfs-trees", &klon.path("source"));
    let device = open_source(&klon.path("source")).unwrap();
    let used = usage(&device).unwrap().extents;
    let filesystem = probe(&device).unwrap().unwrap();
    let metadata = filesystem.metadata(&device).unwrap().unwrap();
    let contents = used.difference(&metadata);
    let size_bytes = device.geometry().size_bytes;
    let places = [&contents, &used.complement(size_bytes)].map(middle);
    let bad: ExtentMap = places.into_iter().collect();
    let disk = BadDisk::new(&klon.path("source"), &bad, klon.directory());
    let line = ["clone", "--rescue=map", disk.text(), "target", "--json"];
    let found = klon.run(&line).expect(1).last();
    let only = ExtentMap::from(places[0]);
    assert_eq!(
        found["bad"],
        serde_json::to_value(only).unwrap(),
        "{found:#}"
    );
    assert_eq!(found["bad_metadata_bytes"], 0, "{found:#}");
}
