//! XFS and Btrfs that were not unmounted cleanly: the kernel recovers them in an overlay, and the clone is what
//! it makes of a copy.

use crate::support::busy::{Host, Kept, check, snapshots};
use crate::support::klon::number;
use crate::support::overlay::{alone, assert_nothing_stays};
use crate::support::tree::{Tree, noise};
use crate::support::{Klon, MIB, Mount, image, lacks_root, run};
use klon_partition::device::look_at;
use klon_partition::filesystem::{Basis, Usage, usage};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

const SIZE_MIB: u64 = 320;

/// What makes a volume, how it is mounted again beside another of its UUID, and what checks it.
struct Kind {
    make: &'static [&'static str],
    again: &'static str,
    check: &'static [&'static str],
}

const XFS: Kind = Kind {
    make: &["mkfs.xfs", "-q"],
    again: "loop,nouuid",
    check: &["xfs_repair", "-n"],
};

const XFS_SMALL_BLOCKS: Kind = Kind {
    make: &["mkfs.xfs", "-q", "-m", "rmapbt=1", "-b", "size=1024"],
    again: "loop,nouuid",
    check: &["xfs_repair", "-n"],
};

const BTRFS: Kind = Kind {
    make: &["mkfs.btrfs", "-q"],
    again: "loop",
    check: &["btrfs", "check", "--check-data-csum"],
};

/// How many instants of each volume are looked at: one, or as many as the environment says.
fn cuts() -> usize {
    let set = std::env::var("KLON_REPLAY_CUTS").ok();
    set.map_or(1, |text| text.parse().expect("a number of cuts"))
}

/// A volume in use at as many instants, and what was durable at each.
fn cut_volumes(klon: &Klon, kind: &Kind, cuts: usize) -> (Host, Vec<(PathBuf, Kept)>) {
    let host = Host::new(klon.directory());
    image::sparse(&host.path("volume"), SIZE_MIB * MIB);
    let volume = host.path("volume");
    let arguments = [&kind.make[1..], &[volume.to_str().unwrap()]].concat();
    run(kind.make[0], &arguments);
    let names: Vec<String> = (0..cuts).map(|cut| format!("cut-{cut}")).collect();
    let names_text: Vec<&str> = names.iter().map(String::as_str).collect();
    let kept = snapshots(&host, "volume", "rw", &names_text);
    let paths = names.iter().map(|name| host.path(name));
    let paths: Vec<PathBuf> = paths.collect();
    (host, paths.into_iter().zip(kept).collect())
}

fn digest(path: &Path) -> String {
    run("sha256sum", &[path.to_str().unwrap()])
}

fn used(path: &Path) -> Usage {
    let usage = usage(&look_at(path).unwrap()).unwrap();
    assert_eq!(usage.basis, Basis::Map, "{}", path.display());
    usage
}

/// All files of a volume, with what was durable.
fn tree(klon: &Klon, path: &Path, (kind, kept): (&Kind, &Kept)) -> Tree {
    let mount = Mount::new(path, &klon.path("mnt"), kind.again);
    check(mount.path(), kept);
    Tree::read(mount.path())
}

fn run_kind(kind: &Kind) {
    if lacks_root() {
        return;
    }
    let _alone = alone();
    let klon = Klon::new();
    let (_host, cuts) = cut_volumes(&klon, kind, cuts());
    for (source, kept) in &cuts {
        let before = digest(source);
        fs::write(klon.path("target"), noise(5, (SIZE_MIB * MIB) as usize)).unwrap();
        let source_text = source.to_str().unwrap();
        let outcome = klon.ok(&[
            "clone",
            source_text,
            "target",
            "--yes",
            "--confirm",
            "target",
            "--json",
        ]);
        outcome.says(&["The kernel replayed its log in an overlay"]);
        let done = outcome.last()["volumes"][0].take();
        assert_eq!(done["replayed"], true, "{done:#}");
        assert!(number(&done, "used_bytes") < SIZE_MIB * MIB / 2, "{done:#}");
        assert!(digest(source) == before, "the source was written to");
        // What the kernel makes of a copy.
        fs::copy(source, klon.path("oracle")).unwrap();
        let oracle = tree(&klon, &klon.path("oracle"), (kind, kept));
        // The kernel gives back what it reserved for a file when someone closes that.
        let [expected, found] = ["oracle", "target"].map(|name| {
            fs::copy(klon.path(name), klon.path("closed")).unwrap();
            tree(&klon, &klon.path("closed"), (kind, kept));
            used(&klon.path("closed")).used_bytes()
        });
        assert_eq!(
            expected, found,
            "bytes in use after the kernel's recovery, and on the clone"
        );
        run(
            kind.check[0],
            &[&kind.check[1..], &[&*klon.text("target")]].concat(),
        );
        klon.ok(&["verify", "target"]);
        let again = klon.json(&["clone", source_text, "target"]);
        assert_eq!(again["rung"], "digest", "{again:#}");
        println!("written again: {}", again["written_bytes"]);
        let found = tree(&klon, &klon.path("target"), (kind, kept));
        oracle.assert_same(&found);
        assert_nothing_stays();
    }
}

#[test]
fn xfs() {
    run_kind(&XFS);
}

#[test]
fn xfs_with_small_blocks_and_reverse_mapping() {
    run_kind(&XFS_SMALL_BLOCKS);
}

#[test]
fn btrfs() {
    run_kind(&BTRFS);
}

/// A volume of that kind that awaits recovery.
fn dirty(klon: &Klon, kind: &Kind) {
    let (_host, cuts) = cut_volumes(klon, kind, 1);
    run(
        "cp",
        &[
            "--sparse=always",
            cuts[0].0.to_str().unwrap(),
            &klon.text("dirty"),
        ],
    );
}

#[test]
fn images_maps_comparisons_and_disks_have_the_recovered_state() {
    if lacks_root() {
        return;
    }
    let _alone = alone();
    let klon = Klon::new();
    dirty(&klon, &XFS);
    let [map, whole] = ["auto", "never"].map(|when| klon.json(&["map", "dirty", "--replay", when]));
    assert!(number(&map, "used_bytes") < SIZE_MIB * MIB / 2, "{map:#}");
    assert_eq!(number(&whole, "used_bytes"), SIZE_MIB * MIB);
    let note = map["journals"][0].as_str().unwrap();
    assert!(note.contains("kernel replayed its log"), "{note}");
    klon.ok(&["image", "dirty", "image.klon"]);
    klon.ok(&["info", "image.klon"])
        .shows(&["replayed its journal"]);
    klon.ok(&["restore", "image.klon", "restored"]);
    run("xfs_repair", &["-n", &klon.text("restored")]);
    image::sparse(&klon.path("disk"), (SIZE_MIB + 8) * MIB);
    let table = format!("label: gpt\n2048,{},L\n", SIZE_MIB * MIB / 512);
    crate::support::tool::run_with_input("sfdisk", &["-q", &klon.text("disk")], &table);
    image::put(&klon.path("dirty"), &klon.path("disk"), MIB);
    for (source, target) in [("disk:1", "part"), ("disk", "whole")] {
        let done = klon.json(&["clone", source, target]);
        assert!(number(&done, "used_bytes") < SIZE_MIB * MIB / 2, "{done:#}");
        assert_eq!(done["volumes"][0]["replayed"], true);
    }
    run("xfs_repair", &["-n", &klon.text("part")]);
    assert_nothing_stays();
}

#[test]
fn what_can_not_be_recovered_is_copied_whole_with_the_reason() {
    if lacks_root() {
        return;
    }
    let _alone = alone();
    let klon = Klon::new();
    dirty(&klon, &BTRFS);
    // Another one of its UUID is in use.
    fs::copy(klon.path("dirty"), klon.path("other")).unwrap();
    let mount = Mount::new(klon.path("other"), &klon.path("mnt"), "loop");
    let outcome = klon.ok(&["clone", "dirty", "target", "--json"]);
    outcome.says(&[
        "did not replay its journal",
        "with the same UUID",
        "is mounted",
    ]);
    assert_eq!(number(&outcome.last(), "used_bytes"), SIZE_MIB * MIB);
    drop(mount);
    // Where scratch has no room, nothing is begun.
    fs::create_dir(klon.path("small")).unwrap();
    run(
        "mount",
        &[
            "-t",
            "tmpfs",
            "-o",
            "size=1m",
            "klon-test",
            &klon.text("small"),
        ],
    );
    let small = klon.run(&["clone", "dirty", "third", "--scratch", "small"]);
    run("umount", &[&klon.text("small")]);
    small.expect(3).says(&["--scratch", "free"]);
    assert!(!klon.path("third").exists());
    assert_nothing_stays();
}

#[test]
fn nothing_stays_behind_when_klon_is_killed() {
    if lacks_root() {
        return;
    }
    let _alone = alone();
    let klon = Klon::new();
    dirty(&klon, &XFS);
    fs::rename(klon.path("dirty"), klon.path("xfs")).unwrap();
    let other = Klon::new();
    dirty(&other, &BTRFS);
    fs::rename(other.path("dirty"), klon.path("btrfs")).unwrap();
    fs::create_dir(klon.path("scratch")).unwrap();
    let kills = std::env::var("KLON_KILLS").map_or(4, |text| text.parse().unwrap());
    for name in ["xfs", "btrfs"] {
        let before = digest(&klon.path(name));
        let map = ["map", name, "--scratch", "scratch"];
        let begin = Instant::now();
        klon.ok(&map);
        let usual = begin.elapsed();
        for kill in 0..kills {
            let mut command = klon.command(&map);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            sleep(usual.mul_f64(f64::from(kill + 1) / f64::from(kills + 1)));
            child.kill().unwrap();
            child.wait().unwrap();
            assert_nothing_stays();
            let names = fs::read_dir(klon.path("scratch")).unwrap().count();
            assert_eq!(names, 0, "a file stays");
        }
        klon.ok(&map);
        assert!(
            digest(&klon.path(name)) == before,
            "the source was written to"
        );
        // The kernel keeps nothing of it in mind that would stand in the way of the volume itself.
        drop(Mount::new(klon.path(name), &klon.path("mnt"), "loop"));
        sleep(Duration::from_millis(100));
    }
}
