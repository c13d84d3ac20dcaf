//! Exports: raw, raw to a stream, and with a block map; of damaged images, too.

use super::{assert_same_in, cmp, data};
use crate::support::image::{allocated_bytes, boot_disk, ext4, flip, sparse};
use crate::support::klon::number;
use crate::support::oracle::copy_onto_noise;
use crate::support::{Klon, MIB, run};
use klon_partition::ExtentMap;
use std::fs;

/// An ext4 volume and its image.
fn imaged() -> Klon {
    let klon = Klon::new();
    ext4(&klon.path("volume"), 24, 5);
    klon.ok(&["image", "volume", "a.klon"]);
    klon
}

fn names(klon: &Klon) -> Vec<String> {
    let entries = fs::read_dir(klon.directory()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        // What images keep of the files for the next run is there.
        .filter(|name| name != "records")
        .collect();
    names.sort();
    names
}

#[test]
fn a_raw_file_is_the_volume_with_holes() {
    let klon = imaged();
    let done = klon.json(&["export", "a.klon", "out"]);
    assert_eq!(done["event"], "exported");
    assert_eq!(number(&done, "size_bytes"), 24 * MIB);
    assert_same_in(
        &klon.path("volume"),
        &klon.path("out"),
        &data(&klon, "a.klon"),
    );
    run("e2fsck", &["-fn", &klon.text("out")]);
    assert!(allocated_bytes(&klon.path("out")) <= allocated_bytes(&klon.path("volume")) + MIB);
    let refused = klon.refused(&["export", "a.klon", "out"], &["exists already", "--force"]);
    assert!(refused.stdout.is_empty());
    klon.ok(&["export", "a.klon@1", "out", "--force"]);
    run("e2fsck", &["-fn", &klon.text("out")]);
    let streamed = klon.command(&["export", "a.klon", "-"]).output().unwrap();
    assert!(streamed.status.success());
    assert!(streamed.stdout == fs::read(klon.path("out")).unwrap());
    assert_eq!(names(&klon), ["a.klon", "out", "volume"]);
    // The exported volume is that volume.
    klon.ok(&["image", "out", "b.klon"]);
    klon.ok(&["export", "b.klon", "again"]);
    cmp(&klon, "out", "again");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let klon = imaged();
    for (arguments, reason) in [
        (["a.klon", "-", "--format=qcow2"], "only raw"),
        (["a.klon", "out", "--compress"], "for qcow2"),
        (["volume", "out", "--force"], "not a klon image"),
        (["a.klon:2", "out", "--force"], "has no partitions"),
        (["a.klon@7", "out", "--force"], "no snapshot 7"),
    ] {
        let arguments = [&["export"][..], &arguments].concat();
        klon.run(&arguments).expect(2).says(&[reason]);
    }
    klon.refused(
        &["export", "a.klon", "a.klon", "--force"],
        &["image itself"],
    );
    assert_eq!(names(&klon), ["a.klon", "volume"]);
}

#[test]
fn no_part_of_the_image_that_is_read_is_replaced() {
    let klon = Klon::new();
    ext4(&klon.path("volume"), 24, 5);
    klon.ok(&["image", "volume", "a.klon", "--split", "1M"]);
    let before = names(&klon);
    fs::hard_link(klon.path("a.klon.001"), klon.path("same")).unwrap();
    for (output, why) in [
        ("a.klon.000", "part of the image itself"),
        ("a.klon.002", "part of the image itself"),
        ("./a.klon.003", "part of the image itself"),
        ("same", "part of the image itself"),
        ("a.klon.777", "would be taken for a part"),
    ] {
        for command in ["export", "extract"] {
            klon.refused(&[command, "a.klon", output, "--force"], &[why]);
        }
    }
    fs::remove_file(klon.path("same")).unwrap();
    assert_eq!(names(&klon), before);
    klon.ok(&["verify", "a.klon"]);
}

#[test]
fn a_damaged_chunk_ends_the_export_or_is_listed() {
    let klon = imaged();
    klon.ok(&["export", "a.klon", "whole"]);
    // The frame of the first chunk is the first behind the header.
    flip(&klon.path("a.klon"), 4096 + 64 + 20);
    let failed = klon.run(&["export", "a.klon", "out"]).expect(5);
    failed.says(&["bytes 0x0 to 0xfffff of what was imaged"]);
    assert_eq!(names(&klon), ["a.klon", "volume", "whole"]);
    let arguments = ["export", "a.klon", "out", "--skip-damaged", "--json"];
    let skipped = klon.run(&arguments).expect(5);
    skipped.says(&["damaged", "0x0 to 0xfffff"]);
    let damaged: ExtentMap = serde_json::from_value(skipped.last()["damaged"].clone()).unwrap();
    assert_eq!(damaged, ExtentMap::whole(MIB));
    let rest = ExtentMap::whole(24 * MIB).difference(&damaged);
    assert_same_in(&klon.path("whole"), &klon.path("out"), &rest);
    assert_eq!(fs::read(klon.path("out")).unwrap()[..4096], [0; 4096]);
}

#[test]
fn a_block_map_brings_what_is_in_use_to_any_target() {
    let klon = imaged();
    klon.ok(&["export", "a.klon", "out", "--format", "bmap"]);
    let noise = klon.path("noise");
    copy_onto_noise(&klon.path("volume"), &noise, &ExtentMap::new());
    let [map, out, target] = ["out.bmap", "out", "noise"].map(|name| klon.text(name));
    run("bmaptool", &["copy", "--bmap", &map, &out, &target]);
    let used = data(&klon, "a.klon");
    assert_same_in(&klon.path("volume"), &noise, &used);
    run("e2fsck", &["-fn", &target]);
    // The map's own checksum, and those of the runs, are checked.
    let text = fs::read_to_string(&map).unwrap();
    fs::write(
        &map,
        text.replacen("<BlockSize> 4096", "<BlockSize> 4097", 1),
    )
    .unwrap();
    let failed = crate::support::tool::output("bmaptool", &["copy", "--bmap", &map, &out, &target]);
    assert!(!failed.status.success());
    fs::write(&map, text).unwrap();
    flip(&klon.path("out"), 1024 + 8);
    let failed = crate::support::tool::output("bmaptool", &["copy", "--bmap", &map, &out, &target]);
    assert!(!failed.status.success());
}

#[test]
fn a_disk_and_its_partitions_are_exported() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    klon.ok(&["image", "disk", "a.klon"]);
    klon.ok(&["export", "a.klon", "raw"]);
    for (name, options) in [
        ("plain.qcow2", &[][..]),
        ("packed.qcow2", &["--compress"][..]),
    ] {
        klon.ok(&[&["export", "a.klon", name][..], options].concat());
        let file = klon.text(name);
        run("qemu-img", &["check", "-q", &file]);
        run("qemu-img", &["compare", "-q", &file, &klon.text("raw")]);
        klon.ok(&["import", name, "b.klon"]);
        klon.ok(&["export", "b.klon", "again", "--force"]);
        cmp(&klon, "raw", "again");
    }
    let sizes = ["plain.qcow2", "packed.qcow2"].map(|name| allocated_bytes(&klon.path(name)));
    assert!(sizes[1] < sizes[0] && sizes[0] < 60 * MIB, "{sizes:?}");
    // The same disk again adds next to nothing.
    let list = klon.json(&["info", "b.klon"]);
    assert_eq!(number(&list, "snapshot"), 2);
    assert_eq!(list["kind"], "disk");
    klon.ok(&["export", "a.klon:3", "root"]);
    run("e2fsck", &["-fn", &klon.text("root")]);
    klon.ok(&["export", "b.klon@1:1", "esp"]);
    run("fsck.fat", &["-n", &klon.text("esp")]);
    sparse(&klon.path("empty"), 64 * MIB);
    klon.ok(&["image", "empty", "c.klon"]);
    klon.ok(&["export", "c.klon", "empty.qcow2"]);
    run("qemu-img", &["check", "-q", &klon.text("empty.qcow2")]);
    klon.ok(&["export", "c.klon", "empty.raw"]);
    cmp(&klon, "empty", "empty.raw");
}
