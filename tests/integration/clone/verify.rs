//! What verify finds, and what it says when it can't.

use crate::support::image::{ext4, flip};
use crate::support::{Klon, MIB, run};
use std::fs;

/// The byte where a file of the source begins.
fn place(klon: &Klon, file: &str) -> u64 {
    let blocks = run(
        "debugfs",
        &["-R", &format!("blocks {file}"), &klon.text("source")],
    );
    let first: u64 = blocks.split_whitespace().next().unwrap().parse().unwrap();
    first * 4096
}

fn cloned() -> Klon {
    let klon = Klon::new();
    ext4(&klon.path("source"), 48, 8);
    klon.ok(&["clone", "source", "target"]);
    klon
}

#[test]
fn a_flipped_byte_is_found_with_its_extent_and_its_file() {
    let klon = cloned();
    let at = place(&klon, "large") + 5 * MIB;
    flip(&klon.path("target"), at);
    let by_record = klon.run(&["verify", "target"]).expect(1).stdout;
    assert!(
        by_record.contains("in /large from byte") && by_record.contains("1 MiB of"),
        "{by_record}"
    );
    klon.ok(&["clone", "source", "target", "--rung", "compare"]);
    let at = place(&klon, "documents/39") + 5000;
    flip(&klon.path("target"), at);
    let by_source = klon.run(&["verify", "target", "source"]).expect(1);
    let found = by_source.stdout;
    let block = at / 4096 * 4096;
    for part in [
        format!("first differing byte: {at}"),
        format!("bytes {block} to {}", block + 4095),
        "/documents/39 from byte 5000".to_owned(),
    ] {
        assert!(found.contains(&part), "{part:?} is not in {found}");
    }
    let json = klon
        .run(&["verify", "target", "source", "--json"])
        .expect(1)
        .last();
    assert_eq!(json["is_equal"], false);
    assert_eq!(json["differing_bytes"], 4096);
    assert_eq!(json["first_difference_bytes"], at);
    assert_eq!(json["differences"][0][0], block);
    assert_eq!(json["files"][0]["path"], "/documents/39");
}

#[test]
fn a_flip_where_nothing_is_in_use_is_no_difference() {
    let klon = cloned();
    let map = klon.json(&["map", "source"]);
    let last = map["extents"].as_array().unwrap().last().unwrap().clone();
    let end = last[0].as_u64().unwrap() + last[1].as_u64().unwrap();
    assert!(end < 48 << 20);
    flip(&klon.path("target"), end);
    klon.ok(&["verify", "target"]);
    klon.ok(&["verify", "target", "source"]);
}

#[test]
fn without_a_record_the_message_says_what_to_do() {
    let klon = cloned();
    fs::remove_dir_all(klon.records()).unwrap();
    let outcome = klon.run(&["verify", "target"]).expect(2);
    outcome.says(&["no record", "klon verify TARGET SOURCE", "--records"]);
    klon.ok(&["verify", "target", "source"]);
}

#[test]
fn a_damaged_record_is_no_ground_for_a_verdict() {
    let klon = cloned();
    flip(&klon.only_record(), 100);
    klon.run(&["verify", "target"])
        .expect(5)
        .says(&["klonrec", "expected"]);
}
