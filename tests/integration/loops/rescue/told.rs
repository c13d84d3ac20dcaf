//! What is told of a source that goes away, of what is filled, and of what can't be compared.

use super::{bad_ranges, check, range_of, sectors, volume};
use crate::support::{BadDisk, MIB, lacks_root};
use klon_partition::{Extent, ExtentMap};
use std::collections::BTreeSet;
use std::fs;

#[test]
fn a_source_that_goes_away_ends_the_run_and_comes_back_to_a_fill() {
    if lacks_root() {
        return;
    }
    let (klon, contents, used) = volume();
    let bad = bad_ranges(&contents, &used, 10);
    let middle = contents.extents()[0].offset_bytes() + 8 * MIB;
    let disk = BadDisk::dying(&klon.path("source"), &bad, klon.directory(), middle);
    let line = ["clone", "--rescue=map", disk.text(), "target", "--fill-bad"];
    let outcome = klon.run(&line).expect(4);
    outcome.says(&[
        "reads failed",
        "that could be read before",
        "not taken for bad sectors",
        "the same command goes on",
    ]);
    let bad = bad.intersection(&used);
    let map = fs::read_to_string(klon.path("map")).unwrap();
    assert!(map.contains('+'), "{map}");
    assert!(map.lines().filter(|line| line.ends_with('-')).count() <= 10);
    klon.refused(&["verify", "target"], &["not finished"]);

    fs::write(klon.path("back"), "").unwrap();
    let found = klon
        .run(&[&line[..], &["--json"]].concat())
        .expect(1)
        .last();
    assert_eq!(found["bad"], serde_json::to_value(&bad).unwrap());
    assert_eq!(found["bad_fill"], "KLON BAD SECTOR\n");
    let used_bytes = found["used_bytes"].as_u64().unwrap();
    let read_bytes = found["read_source_bytes"].as_u64().unwrap();
    assert!(read_bytes < used_bytes, "{found:#}");
    let target = fs::read(klon.path("target")).unwrap();
    for extent in bad.iter().flat_map(|extent| extent.split(512)) {
        assert!(target[range_of(extent)].starts_with(b"KLON BAD SECTOR\nKLON"));
    }
    let outcome = klon.run(&["verify", "target"]).expect(1);
    assert!(
        outcome
            .stdout
            .contains("filled with \"KLON BAD SECTOR\\n\""),
        "{}",
        outcome.stdout
    );
    // Without it, they are zero.
    let line = &line[..4];
    klon.run(line).expect(1);
    check(&klon, "target", &used, &bad);
}

#[test]
fn a_source_that_became_bad_is_compared_but_for_its_bad_sectors() {
    if lacks_root() {
        return;
    }
    let (klon, contents, used) = volume();
    klon.ok(&["clone", "source", "target"]);
    let bad = bad_ranges(&contents, &used, 5);
    let disk = BadDisk::new(&klon.path("source"), &bad, klon.directory());
    let line = ["verify", "target", disk.text(), "--json"];
    let found = klon.run(&line).expect(1).last();
    assert_eq!(found["is_equal"], true, "{found:#}");
    let unread: Vec<Extent> = serde_json::from_value(found["unread"].clone()).unwrap();
    let unread: ExtentMap = unread.into_iter().collect();
    let bad = bad.intersection(&used);
    assert!(bad.difference(&unread).is_empty());
    let expected: BTreeSet<u64> = sectors(&bad).iter().map(|sector| sector / 8).collect();
    let blocks: BTreeSet<u64> = sectors(&unread).iter().map(|sector| sector / 8).collect();
    assert_eq!(blocks, expected);
    assert!(
        !found["unread_files"]["files"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let outcome = klon.run(&["verify", "target", disk.text()]).expect(1);
    assert!(
        outcome.stdout.contains("can't be read from the source now"),
        "{}",
        outcome.stdout
    );
    klon.ok(&["verify", "target"]);
}
