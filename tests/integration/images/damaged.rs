//! Images that are damaged: what is whole of them is restored, and the rest is told.

use super::port::{assert_same_in, data};
use crate::support::image::{boot_disk, ext4, flip};
use crate::support::klon::number;
use crate::support::{Klon, MIB, run, tree};
use klon_imaging::image::{HEADER_LEN, Image};
use klon_partition::device::look_at;
use klon_partition::{Extent, ExtentMap};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

fn open(path: &Path) -> Image {
    Image::open(Arc::new(look_at(path).unwrap())).unwrap()
}

/// Flips a bit in the frame of a chunk of the last snapshot.
fn damage(klon: &Klon, image: &str, chunk: u64) {
    let snapshot = open(&klon.path(image)).snapshot(None).unwrap();
    let reference = snapshot.reference(chunk).unwrap().unwrap();
    flip(&klon.path(image), reference.position + 64 + 11);
}

/// The first chunk from `first` on of which there is a frame.
fn stored(klon: &Klon, image: &str, first: u64) -> u64 {
    let snapshot = open(&klon.path(image)).snapshot(None).unwrap();
    let mut references = snapshot.references().map(Result::unwrap);
    let found = references.find(|(number, found)| *number >= first && found.position > 0);
    found.unwrap().0
}

/// A chunk of an ext4 volume in which nothing but that file is.
fn chunk_of(volume: &str, path: &str) -> u64 {
    let text = run("debugfs", &["-R", &format!("bmap {path} 300"), volume]);
    text.trim().parse::<u64>().unwrap() * 4096 / MIB
}

fn chunk(number: u64) -> ExtentMap {
    Extent::new(number * MIB, MIB).unwrap().into()
}

/// A volume with its image, of which a chunk of the file is damaged.
fn damaged() -> (Klon, u64) {
    let klon = Klon::new();
    ext4(&klon.path("source"), 64, 10);
    klon.ok(&["image", "source", "i.klon"]);
    let at = chunk_of(&klon.text("source"), "/large");
    damage(&klon, "i.klon", at);
    (klon, at)
}

/// Checks that all that is data in the image is on the target, but for zeroes in `bad`.
fn assert_restored(klon: &Klon, target: &str, bad: &ExtentMap) {
    let data = data(klon, "i.klon");
    let whole = data.difference(bad);
    assert_same_in(&klon.path("source"), &klon.path(target), &whole);
    let file = File::open(klon.path(target)).unwrap();
    for extent in data.intersection(bad).iter() {
        let mut bytes = vec![1; usize::try_from(extent.len_bytes()).unwrap()];
        file.read_exact_at(&mut bytes, extent.offset_bytes())
            .unwrap();
        assert!(bytes.iter().all(|&byte| byte == 0), "{extent}");
    }
}

#[test]
fn what_is_whole_is_restored_and_the_rest_is_named() {
    let (klon, at) = damaged();
    let (start, end) = (at * MIB, at * MIB + MIB - 1);
    let failed = klon.run(&["restore", "i.klon", "target"]).expect(5);
    let place = format!("it holds bytes {start:#x} to {end:#x} of what was imaged");
    failed.says(&[&place, "restore --skip-damaged", "marked as unfinished"]);
    assert!(!failed.stderr.contains("same command"), "{}", failed.stderr);
    klon.refused(&["verify", "target"], &["not finished"]);
    let skipped = klon.run(&["restore", "i.klon", "target", "--skip-damaged"]);
    let named = format!("snapshot 1, bytes {start} to {end}");
    let skipped = skipped.expect(1);
    skipped.shows(&[
        "restored, except 1 MiB in 1 place",
        &named,
        "bad: /large from byte",
    ]);
    assert_restored(&klon, "target", &chunk(at));
    let verified = klon.run(&["verify", "target", "--json"]).expect(1).last();
    assert_eq!(verified["is_equal"], true);
    assert_eq!(verified["bad"], serde_json::json!([[start, MIB]]));
    assert_eq!(verified["bad_files"]["files"][0]["path"], "/large");
    klon.run(&["verify", "i.klon"]).expect(1).shows(&[
        "snapshot 1: 1 MiB damaged",
        &format!("bytes {start} to {end}"),
        "in /large from byte",
    ]);
    // A sound image of the same brings the rest.
    klon.ok(&["image", "source", "i.klon", "--rung", "compare"]);
    klon.ok(&["restore", "i.klon", "target"]);
    klon.ok(&["verify", "target"]);
    klon.ok(&["verify", "target", "source"]);
}

#[test]
fn a_staged_restore_leaves_the_earlier_clone_or_says_what_is_bad() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 64, 10);
    klon.ok(&["image", "source", "i.klon"]);
    klon.ok(&["restore", "i.klon", "target"]);
    let content = klon.path("content");
    fs::write(&content, tree::noise(9, 5 << 20)).unwrap();
    let write = format!("write \"{}\" /new", content.display());
    run("debugfs", &["-w", "-R", &write, &klon.text("source")]);
    klon.ok(&["image", "source", "i.klon"]);
    let at = chunk_of(&klon.text("source"), "/new");
    damage(&klon, "i.klon", at);
    let failed = klon.run(&["restore", "i.klon", "target"]).expect(5);
    failed.says(&["is as it was before", "--skip-damaged"]);
    klon.ok(&["verify", "target"]);
    let lines = klon.run(&["restore", "i.klon", "target", "--skip-damaged", "--json"]);
    let lines = lines.expect(1).lines();
    let told = lines
        .iter()
        .find(|line| line["event"] == "damaged")
        .unwrap();
    assert_eq!(
        (number(told, "snapshot"), number(told, "bad_bytes")),
        (2, MIB)
    );
    assert_eq!(told["bad"], serde_json::json!([[at * MIB, MIB]]));
    assert_eq!(told["files"][0]["path"], "/new");
    let summary = lines.last().unwrap();
    assert!(number(summary, "staged_bytes") > 0);
    assert_eq!(summary["volumes"][0]["bad"], told["bad"]);
    assert_restored(&klon, "target", &chunk(at));
    let verified = klon.run(&["verify", "target", "--json"]).expect(1).last();
    assert_eq!(verified["bad"], told["bad"]);
    run("e2fsck", &["-fn", &klon.text("target")]);
}

#[test]
fn what_is_in_use_is_told_by_the_manifest_where_the_filesystem_can_t() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 64, 10);
    klon.ok(&["image", "source", "i.klon"]);
    klon.ok(&["restore", "i.klon", "earlier"]);
    // The superblock, the bitmaps, and the inodes.
    damage(&klon, "i.klon", 0);
    klon.run(&["restore", "i.klon", "target"])
        .expect(5)
        .says(&["--skip-damaged"]);
    let skipped = klon.run(&["restore", "i.klon", "target", "--skip-damaged"]);
    skipped
        .expect(1)
        .says(&["The snapshot's manifest says what was in use"]);
    assert_restored(&klon, "target", &chunk(0));
    klon.run(&["verify", "target"]).expect(1);
    // What the target has is not made zero there, and so nothing is lost.
    flip(&klon.path("earlier"), 30 * MIB);
    let consent = ["--yes", "--confirm", &klon.text("earlier")];
    let line = [
        "restore",
        "i.klon",
        "earlier",
        "--skip-damaged",
        "--rung",
        "compare",
    ];
    klon.ok(&[&line[..], &consent].concat());
    klon.ok(&["verify", "earlier", "source"]);
}

#[test]
fn damage_of_a_disk_is_told_by_partition() {
    let klon = Klon::new();
    boot_disk(&klon.path("source"), 512);
    klon.ok(&["image", "source", "i.klon"]);
    let info = klon.json(&["info", "i.klon"]);
    let partitions = info["partitions"].as_array().unwrap();
    let third = partitions.iter().find(|part| part["number"] == 3).unwrap();
    let extent: Extent = serde_json::from_value(third["extent"].clone()).unwrap();
    let at = stored(&klon, "i.klon", extent.offset_bytes() / MIB + 1);
    assert!(at * MIB < extent.end_bytes());
    damage(&klon, "i.klon", at);
    let lines = klon.run(&["restore", "i.klon", "target", "--skip-damaged", "--json"]);
    let lines = lines.expect(1).lines();
    let told = lines
        .iter()
        .find(|line| line["event"] == "damaged")
        .unwrap();
    let inner = at * MIB - extent.offset_bytes();
    assert_eq!(told["partitions"][0]["number"], 3);
    let expected: ExtentMap =
        serde_json::from_value(told["partitions"][0]["extents"].clone()).unwrap();
    assert!(chunk(at).total_bytes() >= expected.total_bytes());
    assert!(expected.iter().all(|part| part.offset_bytes() >= inner));
    assert_restored(&klon, "target", &chunk(at));
    klon.run(&["restore", "i.klon:3", "root", "--skip-damaged"])
        .expect(1)
        .shows(&["snapshot 1, partition 3, bytes"]);
    klon.run(&["verify", "root"]).expect(1);
    klon.ok(&["restore", "i.klon:1", "esp", "--skip-damaged"]);
    klon.ok(&["verify", "esp", "source:1"]);
    // The table, too.
    damage(&klon, "i.klon", 0);
    klon.run(&["restore", "i.klon", "again"]).expect(5);
    klon.run(&["restore", "i.klon", "again", "--skip-damaged"])
        .expect(1)
        .shows(&["of it in no partition"]);
    let bad = chunk(0).union(&chunk(at));
    assert_restored(&klon, "again", &bad);
    klon.run(&["extract", "i.klon:1", "esp2", "--skip-damaged"])
        .expect(0);
    run("cmp", &[&klon.text("esp"), &klon.text("esp2")]);
}

#[test]
fn an_image_without_its_header_is_read_and_made_sound() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 40, 4);
    klon.ok(&["image", "source", "i.klon"]);
    klon.ok(&["image", "source", "i.klon"]);
    let file = File::options()
        .write(true)
        .open(klon.path("i.klon"))
        .unwrap();
    file.write_all_at(&[0; HEADER_LEN], 0).unwrap();
    drop(file);
    let list = klon.ok(&["list", "i.klon"]);
    list.says(&["header is damaged", "prune --compact"]);
    let verified = klon.run(&["verify", "i.klon", "--json"]).expect(1).last();
    assert_eq!(
        (&verified["is_whole"], &verified["damage"]),
        (&false.into(), &serde_json::json!([]))
    );
    assert!(verified["header_damage"].is_string());
    klon.ok(&["restore", "i.klon@1", "target"])
        .says(&["header is damaged"]);
    klon.ok(&["verify", "target", "source"]);
    klon.refused(
        &["image", "source", "i.klon"],
        &["header is damaged", "prune --compact"],
    );
    klon.ok(&["prune", "i.klon", "--compact", "--yes"]);
    klon.ok(&["verify", "i.klon"]);
    klon.ok(&["image", "source", "i.klon"]);
}

#[test]
fn a_damaged_manifest_costs_one_snapshot() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 40, 4);
    klon.ok(&["image", "source", "i.klon"]);
    klon.ok(&["image", "source", "i.klon"]);
    let manifest = open(&klon.path("i.klon")).catalog().snapshots[1]
        .manifest
        .position;
    flip(&klon.path("i.klon"), manifest + 64 + 5);
    klon.ok(&["list", "i.klon"]);
    klon.run(&["restore", "i.klon", "target", "--skip-damaged"])
        .expect(5)
        .says(&["manifest", "klon verify"]);
    klon.ok(&["restore", "i.klon@1", "target"]);
    klon.run(&["verify", "i.klon"])
        .expect(1)
        .shows(&["snapshot 2: nothing of it can be read"]);
    klon.ok(&["image", "source", "i.klon"])
        .says(&["snapshot 2 can't be read"]);
    klon.ok(&["verify", "i.klon@3"]);
    klon.refused(&["prune", "i.klon@1", "--yes"], &["is damaged"]);
    klon.ok(&["prune", "i.klon@2", "--yes"]);
    klon.ok(&["verify", "i.klon"]);
}

#[test]
fn what_a_damaged_image_has_no_content_for_is_not_compared_and_told() {
    let (klon, at) = damaged();
    let skip = ["restore", "i.klon", "target", "--skip-damaged"];
    klon.run(&skip).expect(1);
    let extents = serde_json::to_value(chunk(at)).unwrap();
    let compared = || {
        let verified = klon.run(&["verify", "i.klon", "target", "--json"]);
        verified.expect(1).last()
    };
    let found = compared();
    assert_eq!(found["is_equal"], false, "{found:#}");
    assert_eq!(
        (&found["damaged"], number(&found, "damaged_bytes")),
        (&extents, MIB)
    );
    assert_eq!(number(&found, "differing_bytes"), 0, "{found:#}");
    let told = klon.run(&["verify", "i.klon", "target"]).expect(1);
    told.shows(&[
        "what can be compared is equal to target",
        "1 MiB in 1 extent can't be compared, because the image is damaged there",
    ]);
    // A difference elsewhere is one.
    let elsewhere = data(&klon, "i.klon").difference(&chunk(at));
    let last = elsewhere.extents().last().copied().unwrap();
    flip(&klon.path("target"), last.end_bytes() - 1);
    let found = compared();
    assert_eq!(
        (&found["damaged"], number(&found, "differing_bytes")),
        (&extents, 4096)
    );
    let told = klon.run(&["verify", "i.klon", "target"]).expect(1);
    told.shows(&[
        "DIFFERENT from target: 4 KiB",
        "because the image is damaged there",
    ]);
}
