//! Extracts: partitions and ranges, raw; of damaged images, too.

use super::cmp;
use crate::support::image::{allocated_bytes, boot_disk, ext4, flip};
use crate::support::klon::number;
use crate::support::{Klon, MIB, run};
use klon_partition::{Extent, ExtentMap};
use std::fs;

fn imaged() -> Klon {
    let klon = Klon::new();
    ext4(&klon.path("volume"), 24, 5);
    klon.ok(&["image", "volume", "a.klon"]);
    klon.ok(&["export", "a.klon", "whole"]);
    klon
}

#[test]
fn ranges_are_cut_out_exactly_and_are_sparse() {
    let klon = imaged();
    let whole = fs::read(klon.path("whole")).unwrap();
    for (range, start, len) in [
        ("0+4K", 0, 4096),
        ("1048000+1M", 1_048_000, 1 << 20),
        ("0x438+2", 0x438, 2),
        ("3M+", 3 << 20, 21 << 20),
    ] {
        let done = klon.json(&["extract", "a.klon", "out", "--range", range, "--force"]);
        assert_eq!(done["event"], "extracted");
        assert_eq!(number(&done, "size_bytes"), len as u64);
        assert!(
            fs::read(klon.path("out")).unwrap() == whole[start..start + len],
            "{range}"
        );
        let arguments = ["extract", "a.klon@1", "-", "--range", range];
        let streamed = klon.command(&arguments).output().unwrap();
        assert!(streamed.status.success() && streamed.stdout == whole[start..start + len]);
    }
    assert!(allocated_bytes(&klon.path("out")) <= allocated_bytes(&klon.path("whole")));
    // All of it without a range.
    klon.ok(&["extract", "a.klon", "all"]);
    cmp(&klon, "all", "whole");
    klon.refused(
        &["extract", "a.klon", "all"],
        &["exists already", "--force"],
    );
    klon.refused(
        &["extract", "a.klon", "a.klon", "--force"],
        &["image itself"],
    );
    for (range, reason) in [
        ("4096", "expected OFFSET+LENGTH"),
        ("24M+", "the range is empty"),
        ("23M+2M", "there are only 25165824 bytes"),
        ("1MB+1", "not a size"),
    ] {
        let outcome = klon.run(&["extract", "a.klon", "new", "--range", range]);
        outcome.expect(2).says(&[reason]);
    }
    assert!(!klon.path("new").exists());
    let quiet = klon
        .run(&["extract", "a.klon", "progress", "--range", "0+1M"])
        .expect(0);
    quiet.says(&["(extract as raw)"]);
}

#[test]
fn partitions_and_ranges_of_them_are_extracted() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    klon.ok(&["image", "disk", "a.klon"]);
    klon.ok(&["extract", "a.klon@1:3", "root"]);
    run("e2fsck", &["-fn", &klon.text("root")]);
    klon.ok(&["extract", "a.klon:3", "part", "--range", "1000+100K"]);
    let root = fs::read(klon.path("root")).unwrap();
    assert!(fs::read(klon.path("part")).unwrap() == root[1000..1000 + 102_400]);
    klon.run(&["extract", "a.klon:9", "x"])
        .expect(2)
        .says(&["no partition 9"]);
}

#[test]
fn a_damaged_chunk_costs_itself_alone() {
    let klon = imaged();
    // The frame of the first chunk is the first behind the header.
    flip(&klon.path("a.klon"), 4096 + 64 + 20);
    let failed = klon.run(&["extract", "a.klon", "out"]).expect(5);
    failed.says(&["bytes 0x0 to 0xfffff of what was imaged"]);
    assert!(!klon.path("out").exists());
    // What does not touch it is whole.
    klon.ok(&[
        "extract",
        "a.klon",
        "behind",
        "--range",
        "1M+1M",
        "--skip-damaged",
    ]);
    let whole = fs::read(klon.path("whole")).unwrap();
    assert!(fs::read(klon.path("behind")).unwrap() == whole[1 << 20..2 << 20]);
    let arguments = [
        "extract",
        "a.klon",
        "out",
        "--skip-damaged",
        "--range",
        "512K+1M",
        "--json",
    ];
    let skipped = klon.run(&arguments).expect(5);
    skipped.says(&["damaged", "zeroes in the output", "bytes 0 to 524287"]);
    let damaged: ExtentMap = serde_json::from_value(skipped.last()["damaged"].clone()).unwrap();
    assert_eq!(damaged, Extent::new(0, MIB / 2).unwrap().into());
    let out = fs::read(klon.path("out")).unwrap();
    assert!(out[..1 << 19].iter().all(|&byte| byte == 0));
    assert!(out[1 << 19..] == whole[1 << 20..3 << 19]);
    let arguments = ["extract", "a.klon", "-", "--skip-damaged"];
    let streamed = klon.command(&arguments).output().unwrap();
    assert_eq!(streamed.status.code(), Some(5));
    assert!(streamed.stdout[1 << 20..] == whole[1 << 20..]);
}
