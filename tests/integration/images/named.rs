//! Disks that look alike: `--name` tells them apart, and klon says when a repeat looks like another disk.

use crate::support::image::{ext4, sparse};
use crate::support::tree::noise;
use crate::support::{Klon, LoopDevice, MIB, Mount, lacks_root, run};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

fn overwrite(klon: &Klon, name: &str, offset_bytes: u64, seed: u64, len: usize) {
    let file = OpenOptions::new()
        .write(true)
        .open(klon.path(name))
        .unwrap();
    file.write_all_at(&noise(seed, len), offset_bytes).unwrap();
}

fn names(klon: &Klon) -> Vec<(u64, Option<String>)> {
    let lines = klon.ok(&["list", "i.klon", "--json"]).lines();
    let of = |line: &serde_json::Value| {
        let name = line["given_name"].as_str().map(str::to_owned);
        (line["snapshot"].as_u64().unwrap(), name)
    };
    lines.iter().map(of).collect()
}

/// Two boards that were written from one image; what is imaged is called the same, as it is always the
/// same card reader.
#[test]
fn retention_goes_by_name_too() {
    let klon = Klon::new();
    ext4(&klon.path("left"), 24, 4);
    fs::copy(klon.path("left"), klon.path("right")).unwrap();
    for board in ["left", "right", "left"] {
        fs::copy(klon.path(board), klon.path("card")).unwrap();
        klon.ok(&["image", "card", "i.klon", "--name", board]);
    }
    let named = |number, name: &str| (number, Some(name.to_owned()));
    let all = [named(1, "left"), named(2, "right"), named(3, "left")];
    assert_eq!(names(&klon), all);
    klon.ok(&["list", "i.klon"])
        .shows(&["name \"left\"", "name \"right\""]);
    klon.ok(&["info", "i.klon@2"]).shows(&["name \"right\""]);
    assert_eq!(klon.json(&["info", "i.klon@2"])["given_name"], "right");
    klon.ok(&["prune", "i.klon", "--keep-last", "1", "--yes"]);
    assert_eq!(names(&klon), all[1..]);
    // Without a name it is one more source.
    klon.ok(&["image", "card", "i.klon"]);
    klon.ok(&["prune", "i.klon", "--keep-last", "1", "--yes"]);
    assert_eq!(names(&klon).len(), 3);
    klon.ok(&["prune", "i.klon", "--compact", "--yes"]);
    assert_eq!(names(&klon)[0], all[1]);
}

#[test]
fn imported_snapshots_have_names_and_what_is_no_name_is_refused() {
    let klon = Klon::new();
    ext4(&klon.path("raw"), 16, 1);
    run(
        "qemu-img",
        &[
            "convert",
            "-O",
            "qcow2",
            &klon.text("raw"),
            &klon.text("raw.qcow2"),
        ],
    );
    klon.ok(&["import", "raw.qcow2", "i.klon", "--name", "vm 1"]);
    assert_eq!(names(&klon), [(1, Some("vm 1".to_owned()))]);
    for name in ["", " ", "a\nb", "\u{1b}[1m", &"x".repeat(129)] {
        klon.run(&["image", "raw", "i.klon", "--name", name])
            .expect(2);
    }
}

#[test]
fn a_repeat_of_which_most_differs_is_pointed_out() {
    let klon = Klon::new();
    sparse(&klon.path("card"), 24 * MIB);
    let fill = |seed, mib: u64| overwrite(&klon, "card", 0, seed, (mib * MIB) as usize);
    fill(1, 24);
    let first = klon.ok(&["image", "card", "i.klon"]);
    assert!(!first.stderr.contains("--name"), "{}", first.stderr);
    fill(2, 4);
    let few = klon.ok(&["image", "card", "i.klon"]);
    assert!(!few.stderr.contains("--name"), "{}", few.stderr);
    fill(3, 20);
    let most = klon.ok(&["image", "card", "i.klon"]);
    most.says(&["20 MiB of 24 MiB in use differ from snapshot 2", "--name"]);
    // As another source it is compared with nothing.
    fill(4, 24);
    let named = klon.ok(&["image", "card", "i.klon", "--name", "other"]);
    assert!(!named.stderr.contains("differ"), "{}", named.stderr);
}

#[test]
fn holes_that_became_zeroes_are_no_other_disk() {
    let klon = Klon::new();
    sparse(&klon.path("card"), 64 * MIB);
    overwrite(&klon, "card", 0, 1, 4 * MIB as usize);
    klon.ok(&["image", "card", "i.klon"]);
    let copy = ["--sparse=never", &klon.text("card"), &klon.text("dense")];
    run("cp", &copy);
    fs::rename(klon.path("dense"), klon.path("card")).unwrap();
    let dense = klon.json(&["image", "card", "i.klon"]);
    assert_eq!(dense["changed_bytes"], 0, "{dense}");
    // What is there as well as the zeroes is seen.
    overwrite(&klon, "card", 0, 2, 4 * MIB as usize);
    let other = klon.ok(&["image", "card", "i.klon"]);
    assert!(!other.stderr.contains("differ"), "{}", other.stderr);
    overwrite(&klon, "card", 8 * MIB, 3, 40 * MIB as usize);
    klon.ok(&["image", "card", "i.klon"])
        .says(&["differ from snapshot 3", "--name"]);
}

/// The same volume as it was before: what each driver counts has gone back.
#[test]
fn a_filesystem_whose_history_went_back_is_pointed_out() {
    if lacks_root() {
        return;
    }
    for (kind, make) in [
        ("ext4", &["mke2fs", "-q", "-t", "ext4"][..]),
        ("xfs", &["mkfs.xfs", "-q"]),
        ("btrfs", &["mkfs.btrfs", "-q"]),
    ] {
        let klon = Klon::new();
        sparse(&klon.path("card"), 320 * MIB);
        let card = klon.text("card");
        run(make[0], &[&make[1..], &[card.as_str()]].concat());
        let write = |name: &str| {
            let device = LoopDevice::new(&klon.path("card"), 512);
            let mount = Mount::new(device.path(), &klon.path("mnt"), "rw");
            fs::write(mount.path().join(name), noise(7, 3_000_000)).unwrap();
        };
        write("first");
        fs::copy(&card, klon.path("before")).unwrap();
        klon.ok(&["image", "card", "i.klon"]);
        write("second");
        let forth = klon.ok(&["image", "card", "i.klon"]);
        assert!(
            !forth.stderr.contains("fewer writes"),
            "{kind} {}",
            forth.stderr
        );
        let same = klon.ok(&["image", "card", "i.klon"]);
        assert!(
            !same.stderr.contains("fewer writes"),
            "{kind} {}",
            same.stderr
        );
        fs::copy(klon.path("before"), &card).unwrap();
        let back = klon.ok(&["image", "card", "i.klon"]);
        back.says(&[
            &format!("the {kind} on it counts fewer writes"),
            "snapshot 3",
            "--name",
        ]);
    }
}
