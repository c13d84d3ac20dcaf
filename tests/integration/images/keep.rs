//! What keeps images sound and small: verify, diff, prune, parts.

use crate::support::image::{allocated_bytes, boot_disk, ext4, flip};
use crate::support::klon::number;
use crate::support::tree::noise;
use crate::support::{Klon, MIB, run};
use klon_imaging::image::{Image, ImageFiles};
use klon_partition::device::look_at;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// The byte of a volume where a file of it begins.
fn place(volume: &str, file: &str) -> u64 {
    let blocks = run("debugfs", &["-R", &format!("blocks {file}"), volume]);
    let first: u64 = blocks.split_whitespace().next().unwrap().parse().unwrap();
    first * 4096
}

fn overwrite(path: &Path, offset_bytes: u64, seed: u64, len: usize) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&noise(seed, len), offset_bytes).unwrap();
}

/// Where the chunk with a byte of the source is stored in an image.
fn stored(image: &Path, snapshot: u64, byte: u64) -> u64 {
    let image = Image::open(Arc::new(look_at(image).unwrap())).unwrap();
    let snapshot = image.snapshot(Some(snapshot)).unwrap();
    let reference = snapshot.reference(byte / MIB).unwrap().unwrap();
    reference.position + 64
}

/// A volume of 48 MiB, imaged `count` times with 4 MiB of its large file changed each time.
fn imaged(count: u64) -> (Klon, u64) {
    let klon = Klon::new();
    ext4(&klon.path("source"), 48, 8);
    let large = place(&klon.text("source"), "large").next_multiple_of(MIB);
    for snapshot in 1..=count {
        overwrite(&klon.path("source"), large, snapshot, 4 * MIB as usize);
        klon.ok(&["image", "source", "i.klon"]);
    }
    (klon, large)
}

#[test]
fn damage_is_told_by_snapshot_extent_and_file() {
    let (klon, large) = imaged(2);
    let whole = klon.ok(&["verify", "i.klon"]).stdout;
    assert!(whole.contains("no damage in its 2 snapshots"), "{whole}");
    flip(
        &klon.path("i.klon"),
        stored(&klon.path("i.klon"), 1, large) + 500_000,
    );
    let found = klon.run(&["verify", "i.klon"]).expect(1).stdout;
    let bytes = format!("bytes {large} to {}", large + MIB - 1);
    for part in [
        "DAMAGED",
        "snapshot 1: 1 MiB damaged",
        &bytes,
        "in /large from byte",
        "--rung compare",
    ] {
        assert!(found.contains(part), "{part:?} is not in {found}");
    }
    assert!(!found.contains("snapshot 2"), "{found}");
    klon.ok(&["verify", "i.klon@2"]);
    flip(
        &klon.path("i.klon"),
        stored(&klon.path("i.klon"), 2, large) + 100,
    );
    let json = klon.run(&["verify", "i.klon", "--json"]).expect(1).last();
    assert_eq!(
        (&json["event"], &json["is_whole"]),
        (&"verified_image".into(), &false.into())
    );
    let damage = json["damage"].as_array().unwrap();
    assert_eq!(damage.len(), 2);
    assert_eq!(number(&damage[1], "snapshot"), 2);
    assert_eq!(damage[1]["files"][0]["path"], "/large", "{json:#}");
    // Exit codes of what is no damage.
    klon.run(&["verify", "i.klon@7"]).expect(2);
    klon.run(&["verify", "i.klon", "--only", "x"]).expect(2);
    flip(&klon.path("i.klon"), 2000);
    klon.run(&["verify", "i.klon"]).expect(1).shows(&[
        "DAMAGED",
        "image header",
        "snapshot 1: 1 MiB damaged",
    ]);
    // The end would tell what the header said.
    let file = OpenOptions::new().write(true).open(klon.path("i.klon"));
    let file = file.unwrap();
    file.set_len(file.metadata().unwrap().len() - 64).unwrap();
    klon.run(&["verify", "i.klon"])
        .expect(5)
        .says(&["image header"]);
}

#[test]
fn a_torn_end_is_told_and_a_lost_footer_is_damage() {
    let (klon, _) = imaged(2);
    let path = klon.path("i.klon");
    let len = fs::metadata(&path).unwrap().len();
    flip(&path, len - 100);
    let found = klon.run(&["verify", "i.klon"]).expect(1).stdout;
    assert!(
        found.contains("the footer at") && found.contains("2 snapshots"),
        "{found}"
    );
    klon.refused(&["image", "source", "i.klon"], &["klon prune --compact"]);
    klon.ok(&["prune", "i.klon", "--compact", "--yes"]);
    klon.ok(&["verify", "i.klon"]);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(fs::metadata(&path).unwrap().len() - 4096 - 5)
        .unwrap();
    let torn = klon.ok(&["verify", "i.klon"]).stdout;
    assert!(torn.contains("an interrupted run left"), "{torn}");
}

#[test]
fn a_snapshot_is_compared_with_its_source() {
    let (klon, large) = imaged(2);
    klon.ok(&["verify", "i.klon@2", "source"]);
    let first = klon
        .run(&["verify", "i.klon@1", "source", "--json"])
        .expect(1)
        .last();
    assert_eq!(number(&first, "differing_bytes"), 4 * MIB);
    assert_eq!(number(&first, "first_difference_bytes"), large);
    assert_eq!(first["files"][0]["path"], "/large");
    flip(&klon.path("source"), large + 5000);
    let found = klon.run(&["verify", "i.klon", "source"]).expect(1).stdout;
    let bytes = format!("bytes {} to {}", large + 4096, large + 8191);
    assert!(
        found.contains(&bytes) && found.contains("DIFFERENT from "),
        "{found}"
    );
    // Where nothing is in use, nothing is compared.
    let map = klon.json(&["map", "source"]);
    let last = map["extents"].as_array().unwrap().last().unwrap().clone();
    flip(
        &klon.path("source"),
        last[0].as_u64().unwrap() + last[1].as_u64().unwrap(),
    );
    flip(&klon.path("source"), large + 5000);
    klon.ok(&["verify", "i.klon", "source"]);
    fs::write(klon.path("small"), vec![0; 1 << 20]).unwrap();
    klon.refused(
        &["verify", "i.klon", "small"],
        &["so they can't be the same"],
    );
}

#[test]
fn a_diff_names_extents_and_files_of_both_sides() {
    let (klon, large) = imaged(1);
    let small = place(&klon.text("source"), "documents/39");
    flip(&klon.path("source"), small + 3);
    klon.ok(&["image", "source", "i.klon"]);
    klon.ok(&["diff", "i.klon@1", "i.klon@1"]);
    let json = klon
        .run(&["diff", "i.klon@1", "i.klon@2", "--json"])
        .expect(1)
        .last();
    assert_eq!(
        (&json["event"], &json["is_equal"]),
        (&"diff".into(), &false.into())
    );
    assert_eq!(json["changed"], serde_json::json!([[small, 4096]]));
    assert_eq!(number(&json, "differing_bytes"), 4096);
    for side in ["first_files", "second_files"] {
        assert_eq!(json[side]["files"][0]["path"], "/documents/39", "{json:#}");
    }
    // A file that is deleted is in use on one side only.
    run("debugfs", &["-w", "-R", "rm large", &klon.text("source")]);
    let found = klon.run(&["diff", "i.klon", "source"]).expect(1).stdout;
    for part in [
        "in use in i.klon@2 only: 8 MiB",
        "i.klon@2: /large from byte 0",
        "different",
    ] {
        assert!(found.contains(part), "{part:?} is not in {found}");
    }
    // A damaged chunk is not known to be the same.
    flip(
        &klon.path("i.klon"),
        stored(&klon.path("i.klon"), 1, small) + 9,
    );
    flip(
        &klon.path("i.klon"),
        stored(&klon.path("i.klon"), 1, large) + 9,
    );
    let json = klon
        .run(&["diff", "i.klon@1", "i.klon@2", "--json"])
        .expect(1)
        .last();
    assert_eq!(json["damaged"][0][0], small / MIB * MIB, "{json:#}");
}

#[test]
fn a_prune_gives_room_back_and_keeps_what_the_rules_keep() {
    let (klon, _) = imaged(4);
    let path = klon.path("i.klon");
    let (len, before) = (fs::metadata(&path).unwrap().len(), allocated_bytes(&path));
    let rules = ["prune", "i.klon", "--keep-last", "2"];
    let dry = klon.json(&[&rules[..], &["--dry-run"]].concat());
    assert_eq!(dry["removed"], serde_json::json!([1, 2]));
    assert_eq!(fs::metadata(&path).unwrap().len(), len);
    klon.refused(&rules, &["snapshots 1, 2", "--yes"]);
    klon.run(&["prune", "i.klon"])
        .expect(2)
        .says(&["--keep-last"]);
    klon.refused(&["prune", "i.klon@4", "--yes"], &["never pruned"]);
    let done = klon.json(&[&rules[..], &["--yes"]].concat());
    assert!(number(&done, "freed_bytes") > 8 * MIB - 65536, "{done:#}");
    let freed = before - allocated_bytes(&path);
    assert!(freed > 8 * MIB - 131_072, "{freed}");
    let numbers: Vec<u64> = klon
        .run(&["list", "i.klon", "--json"])
        .lines()
        .iter()
        .map(|line| number(line, "snapshot"))
        .collect();
    assert_eq!(numbers, [3, 4]);
    klon.ok(&["verify", "i.klon"]);
    klon.ok(&["verify", "i.klon", "source"]);
    klon.ok(&["prune", "i.klon@3", "--yes"]);
    klon.ok(&["image", "source", "i.klon"]);
    klon.ok(&["verify", "i.klon"]);
    klon.run(&["verify", "i.klon@3"])
        .expect(2)
        .says(&["it has 4, 5"]);
    // All of the rest in a file without holes.
    klon.ok(&["prune", "i.klon", "--keep-daily", "1", "--compact", "--yes"]);
    assert!(fs::metadata(&path).unwrap().len() <= allocated_bytes(&path) + 4096);
    klon.ok(&["verify", "i.klon", "source"]);
    assert!(!klon.path("i.klon.compact").exists());
}

#[test]
fn what_is_damaged_or_in_use_is_not_pruned() {
    let (klon, large) = imaged(2);
    let path = klon.path("i.klon");
    let lock = fs::File::open(&path).unwrap();
    lock.lock().unwrap();
    klon.refused(&["prune", "i.klon@1", "--yes"], &["another klon"]);
    drop(lock);
    let before = fs::read(&path).unwrap();
    flip(&path, stored(&path, 2, large));
    klon.run(&["prune", "i.klon", "--compact", "--yes"])
        .expect(5)
        .says(&["the image is as it was"]);
    assert!(!klon.path("i.klon.compact").exists());
    flip(&path, stored(&path, 1, large));
    // Pages tell what is used, so a damaged chunk keeps nothing from being pruned.
    klon.ok(&["prune", "i.klon@1", "--yes"]);
    assert!(fs::read(&path).unwrap() != before);
    klon.run(&["verify", "i.klon"]).expect(1);
}

#[test]
fn a_disk_is_verified_by_partition() {
    let klon = Klon::new();
    boot_disk(&klon.path("disk"), 512);
    klon.ok(&["image", "disk", "d.klon"]);
    klon.ok(&["verify", "d.klon"]);
    klon.ok(&["verify", "d.klon", "disk"]);
    klon.ok(&["verify", "d.klon:3", "disk:3"]);
    klon.run(&["verify", "d.klon:3"]).expect(2);
    let root = 36 * MIB;
    let volume = klon.text("root");
    klon.ok(&["clone", "disk:3", "root"]);
    let large = (root + place(&volume, "large")).next_multiple_of(MIB) + MIB;
    flip(&klon.path("d.klon"), stored(&klon.path("d.klon"), 1, large));
    let json = klon.run(&["verify", "d.klon", "--json"]).expect(1).last();
    let damage = &json["damage"][0];
    let partition = &damage["partitions"][0];
    assert_eq!(number(partition, "number"), 3, "{json:#}");
    assert_eq!(partition["extents"][0][0], large - root);
    assert_eq!(damage["files"][0]["path"], "3:/large");
    flip(&klon.path("disk"), large + 4096);
    let json = klon
        .run(&["diff", "d.klon", "disk", "--json"])
        .expect(1)
        .last();
    assert_eq!(
        json["second_files"]["files"][0]["path"], "3:/large",
        "{json:#}"
    );
}

#[test]
fn an_image_in_parts_is_read_and_pruned_across_them() {
    let (klon, _) = imaged(3);
    run(
        "split",
        &[
            "-b",
            "3M",
            "-d",
            "-a",
            "3",
            &klon.text("i.klon"),
            &klon.text("p.klon."),
        ],
    );
    let parts: Vec<_> = ImageFiles::find(&klon.path("p.klon"))
        .unwrap()
        .paths()
        .map(Path::to_owned)
        .collect();
    assert!(parts.len() > 4);
    let allocated = || parts.iter().map(|part| allocated_bytes(part)).sum::<u64>();
    let before = allocated();
    klon.ok(&["verify", "p.klon"]);
    klon.ok(&["verify", "p.klon.000"]);
    klon.ok(&["verify", "p.klon@3", "source"]);
    klon.ok(&["prune", "p.klon", "--keep-last", "1", "--yes"]);
    assert!(before - allocated() > 7 * MIB, "{}", before - allocated());
    klon.ok(&["verify", "p.klon@3", "source"]);
    klon.refused(&["prune", "p.klon", "--compact", "--yes"], &["parts"]);
    klon.ok(&["image", "source", "p.klon"]);
    klon.ok(&["image", "source", "p.klon.000"]);
    klon.ok(&["verify", "p.klon@5", "source"]);
    assert!(!klon.path("p.klon").exists());
    let (middle, away) = (klon.path("p.klon.002"), klon.path("away"));
    fs::rename(&middle, &away).unwrap();
    klon.refused(&["verify", "p.klon"], &["p.klon.002"]);
}
