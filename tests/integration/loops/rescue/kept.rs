//! What could not be read once is bad in whatever is made of the copy, in any generation.

use super::volume;
use crate::support::image::{ext4, flip, put, sparse};
use crate::support::klon::number;
use crate::support::tool::run_with_input;
use crate::support::{BadDisk, Klon, MIB, lacks_root, run};
use klon_imaging::image::Image;
use klon_partition::device::look_at;
use klon_partition::{Extent, ExtentMap};
use serde_json::{Value, json};
use std::fs;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Where a block of a file lies in an ext4 volume.
fn block(volume: &str, path: &str, index: u64) -> u64 {
    let text = run("debugfs", &["-R", &format!("bmap {path} {index}"), volume]);
    text.trim().parse::<u64>().unwrap() * 4096
}

/// A volume `source`, two sectors of the file `/large` in it, and a disk that can't read them.
fn bad_volume() -> (Klon, Value, BadDisk) {
    let (klon, ..) = volume();
    let at = block(&klon.text("source"), "/large", 3);
    let bad: ExtentMap = Extent::new(at, 1024).into_iter().collect();
    let disk = BadDisk::new(&klon.path("source"), &bad, klon.directory());
    (klon, json!([[at, 1024]]), disk)
}

/// Runs a command that makes a clone, and expects that it names what is bad and the file that is hit.
fn made(klon: &Klon, line: &[&str], bad: &Value) {
    let lines = klon.run(&[line, &["--json"]].concat()).expect(1).lines();
    let event = |event: &str| lines.iter().find(|line| line["event"] == event);
    let told = event("lost_before").unwrap_or_else(|| panic!("{line:?}: {lines:#?}"));
    assert_eq!(&told["bad"], bad, "{line:?}");
    let path = told["files"][0]["path"].as_str().unwrap();
    assert!(path.ends_with("/large"), "{path}");
    let last = lines.last().unwrap();
    match event("imaged") {
        Some(imaged) => assert_eq!(&imaged["bad"], bad),
        None => {
            assert_eq!(&last["volumes"][0]["bad"], bad);
            assert_eq!(last["bad_bytes"], told["bad_bytes"]);
        }
    }
}

/// Checks that a clone's record has what is bad.
fn is_kept(klon: &Klon, clone: &str, bad: &Value) {
    let verified = klon.run(&["verify", clone, "--json"]).expect(1).last();
    assert_eq!(verified["is_equal"], true, "{clone}: {verified:#}");
    assert_eq!(&verified["bad"], bad, "{clone}");
}

/// All that is made of a copy keeps what is bad of it.
fn all_keep(klon: &Klon, copy: &str, bad: &Value) {
    let named = |end: &str| format!("{copy}-{end}");
    let (second, third) = (&*named("second"), &*named("third"));
    let lacks = format!("in 1 place that {copy} lacks, too");
    klon.run(&["clone", copy, second]).expect(1).shows(&[
        "complete, except",
        &lacks,
        "bad: /large from byte",
    ]);
    is_kept(klon, second, bad);
    made(klon, &["clone", second, third], bad);
    is_kept(klon, third, bad);
    // Again, by the record, and staged.
    made(klon, &["clone", copy, second], bad);
    is_kept(klon, second, bad);
    let image = &*named("i.klon");
    made(klon, &["image", copy, image], bad);
    made(klon, &["image", copy, image], bad);
    assert_eq!(&klon.json(&["info", image])["bad"], bad);
    let listed = klon.json(&["list", image]);
    assert_eq!(listed["bad_bytes"], bad[0][1]);
    klon.run(&["verify", image]).expect(1);
    let (back, on) = (&*named("back"), &*named("on"));
    made(klon, &["restore", image, back], bad);
    is_kept(klon, back, bad);
    made(klon, &["clone", back, on], bad);
    is_kept(klon, on, bad);
    for out in ["out.raw", "out.qcow2"] {
        let line = ["export", image, &named(out), "--json"];
        let exported = klon.run(&line).expect(1);
        exported.says(&["could not be read when it was imaged"]);
        assert_eq!(&exported.last()["bad"], bad);
    }
    let compared = klon.run(&["verify", second, copy, "--json"]).expect(1);
    assert_eq!(&compared.last()["bad"], bad);
    klon.run(&["clone", copy, &named("strict"), "--strict"])
        .expect(3)
        .says(&["could not be read when"]);
}

#[test]
fn whatever_is_made_of_a_rescued_clone_lacks_what_it_lacks() {
    if lacks_root() {
        return;
    }
    let (klon, bad, disk) = bad_volume();
    klon.run(&["clone", "--rescue", disk.text(), "copy"])
        .expect(1);
    all_keep(&klon, "copy", &bad);
    // What somebody put there since is as good as anything.
    let at = bad[0][0].as_u64().unwrap();
    let file = OpenOptions::new().write(true).open(klon.path("copy"));
    file.unwrap().write_all_at(&[7; 512], at).unwrap();
    made(&klon, &["clone", "copy", "half"], &json!([[at + 512, 512]]));
    // A sparse copy has holes there.
    run("fallocate", &["--dig-holes", &klon.text("copy-second")]);
    made(&klon, &["clone", "copy-second", "holes"], &bad);
    is_kept(&klon, "holes", &bad);
}

#[test]
fn a_text_in_the_place_of_bad_sectors_is_known_again() {
    if lacks_root() {
        return;
    }
    let (klon, bad, disk) = bad_volume();
    klon.run(&["clone", "--rescue", "--fill-bad", disk.text(), "copy"])
        .expect(1);
    all_keep(&klon, "copy", &bad);
    let at = bad[0][0].as_u64().unwrap() as usize;
    let sector = |name: &str| fs::read(klon.path(name)).unwrap()[at..at + 16].to_vec();
    assert_eq!(sector("copy-third"), b"KLON BAD SECTOR\n");
    assert_eq!(sector("copy-back"), [0; 16]);
    let verified = klon
        .run(&["verify", "copy-third", "--json"])
        .expect(1)
        .last();
    assert_eq!(verified["bad_fill"], "KLON BAD SECTOR\n");
    // And in a rescue of the copy, which fails elsewhere.
    let other = block(&klon.text("source"), "/large", 40);
    let more: ExtentMap = Extent::new(other, 512).into_iter().collect();
    drop(disk);
    let disk = BadDisk::new(&klon.path("copy"), &more, klon.directory());
    let line = ["clone", "--rescue", disk.text(), "again", "--json"];
    let again = klon.run(&line).expect(1).last();
    assert_eq!(number(&again, "bad_bytes"), 512, "its device has no record");
}

#[test]
fn whatever_is_made_of_a_rescued_image_or_of_a_damaged_one_lacks_what_it_lacks() {
    if lacks_root() {
        return;
    }
    let (klon, bad, disk) = bad_volume();
    klon.run(&["image", disk.text(), "i.klon", "--rescue"])
        .expect(1);
    made(&klon, &["restore", "i.klon", "restored"], &bad);
    all_keep(&klon, "restored", &bad);
    made(&klon, &["clone", "i.klon", "cloned"], &bad);
    is_kept(&klon, "cloned", &bad);
    drop(disk);
    let klon = Klon::new();
    ext4(&klon.path("source"), 64, 24);
    klon.ok(&["image", "source", "i.klon"]);
    let at = block(&klon.text("source"), "/large", 300) / MIB;
    let image = Image::open(Arc::new(look_at(&klon.path("i.klon")).unwrap())).unwrap();
    let reference = image
        .snapshot(None)
        .unwrap()
        .reference(at)
        .unwrap()
        .unwrap();
    flip(&klon.path("i.klon"), reference.position + 64 + 11);
    klon.run(&["restore", "i.klon", "restored", "--skip-damaged"])
        .expect(1);
    all_keep(&klon, "restored", &json!([[at * MIB, MIB]]));
}

#[test]
fn partitions_and_their_disk_keep_what_the_other_lacks() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("volume"), 40, 10);
    sparse(&klon.path("disk"), 64 * MIB);
    let script = "label: gpt\n2048,8192\n12288,81920\n";
    run_with_input("sfdisk", &["-q", &klon.text("disk")], script);
    put(&klon.path("volume"), &klon.path("disk"), 6 * MIB);
    let at = block(&klon.text("volume"), "/large", 3);
    let on_disk: ExtentMap = Extent::new(6 * MIB + at, 1024).into_iter().collect();
    let disk = BadDisk::new(&klon.path("disk"), &on_disk, klon.directory());
    klon.run(&["clone", "--rescue", disk.text(), "copy"])
        .expect(1);
    let (inner, outer) = (json!([[at, 1024]]), json!([[6 * MIB + at, 1024]]));
    made(&klon, &["clone", "copy:2", "part"], &inner);
    is_kept(&klon, "part", &inner);
    made(&klon, &["image", "copy", "i.klon"], &outer);
    made(&klon, &["restore", "i.klon:2", "from-image"], &inner);
    is_kept(&klon, "from-image", &inner);
    klon.ok(&["restore", "i.klon:1", "other"]);
    // To disks of other sizes.
    sparse(&klon.path("larger"), 80 * MIB);
    made(&klon, &["clone", "copy", "larger"], &outer);
    is_kept(&klon, "larger", &outer);
    sparse(&klon.path("smaller"), 50 * MIB);
    made(&klon, &["restore", "i.klon", "smaller"], &outer);
    is_kept(&klon, "smaller", &outer);
    // A clone in a partition of a drive, and the drive.
    sparse(&klon.path("drive"), 100 * MIB);
    klon.ok(&["plan", "--drive", "drive", "Data=part", "-o", "plan"]);
    let identity = klon.text("drive");
    klon.ok(&["prepare", "plan", "--yes", "--confirm", &identity]);
    made(&klon, &["clone", "plan"], &inner);
    made(&klon, &["clone", "plan"], &inner);
    made(&klon, &["clone", "drive:1", "out"], &inner);
    let shifted = json!([[MIB + at, 1024]]);
    made(&klon, &["image", "drive", "drive.klon"], &shifted);
}

#[test]
fn each_text_of_several_rescues_on_one_drive_is_known_again() {
    if lacks_root() {
        return;
    }
    let (klon, bad, disk) = bad_volume();
    sparse(&klon.path("drive"), 200 * MIB);
    let script = "label: gpt\n2048,131072\n133120,131072\n";
    run_with_input("sfdisk", &["-q", &klon.text("drive")], script);
    for (target, fill) in [("drive:1", "--fill-bad=ONE"), ("drive:2", "--fill-bad=TWO")] {
        klon.run(&["clone", "--rescue", fill, disk.text(), target])
            .expect(1);
    }
    let at = bad[0][0].as_u64().unwrap();
    let both = json!([[MIB + at, 1024], [65 * MIB + at, 1024]]);
    made(&klon, &["clone", "drive", "second"], &both);
    is_kept(&klon, "second", &both);
    let verified = klon.run(&["verify", "second", "--json"]).expect(1).last();
    assert_eq!(verified["bad_fill"], "ONE");
    assert_eq!(verified["bad_fills"], json!(["ONE", "TWO"]));
    made(&klon, &["clone", "second", "third"], &both);
    is_kept(&klon, "third", &both);
    let told = "now filled with \"ONE\" or \"TWO\"";
    klon.run(&["verify", "third"]).expect(1).shows(&[told]);
    made(&klon, &["image", "third", "i.klon"], &both);
}
