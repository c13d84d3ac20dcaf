//! Plans whose clones are smaller than the filesystems of their sources.

use crate::support::klon::number;
use crate::support::overlay::{alone, assert_nothing_stays};
use crate::support::tool::run_with_input;
use crate::support::tree::{Tree, add_specials, fill, noise};
use crate::support::{Klon, MIB, Mount, NtfsMount, image, lacks_root, run};
use std::fs;

/// A disk with an ESP, an ext4 and an NTFS: where they begin, and how large they are, in MiB.
const ESP: (u64, u64) = (1, 40);
const ROOT: (u64, u64) = (41, 600);
const WINDOWS: (u64, u64) = (641, 600);
const DISK_MIB: u64 = 1242;
const DATA_MIB: u64 = 800;

/// Makes the disk, and a Btrfs beside it.
fn sources(klon: &Klon) {
    image::fat(&klon.path("esp"), ESP.1, 512);
    image::sparse(&klon.path("root"), ROOT.1 * MIB);
    run("mke2fs", &["-q", "-F", "-t", "ext4", &klon.text("root")]);
    image::sparse(&klon.path("windows"), WINDOWS.1 * MIB);
    run("mkntfs", &["-q", "-F", "-f", &klon.text("windows")]);
    image::sparse(&klon.path("data"), DATA_MIB * MIB);
    run("mkfs.btrfs", &["-q", &klon.text("data")]);
    for name in ["root", "data"] {
        let mount = Mount::new(klon.path(name), &klon.path("mnt"), "loop");
        // All over the volume: much of it has to move.
        let spread = |number: u64| mount.path().join(format!("spread {number}"));
        for number in 0..16 {
            fs::write(spread(number), noise(number, 8 << 20)).unwrap();
            run("sync", &["-f", mount.path().to_str().unwrap()]);
        }
        for number in (0..16).filter(|number| number % 8 != 7) {
            fs::remove_file(spread(number)).unwrap();
        }
        fill(mount.path(), 3, 6);
        add_specials(mount.path());
    }
    let mount = NtfsMount::new(&klon.path("windows"), &klon.path("mnt"), "rw");
    for number in 0..10 {
        let name = mount.path().join(format!("spread {number}"));
        fs::write(name, noise(number, 8 << 20)).unwrap();
    }
    (0..10).filter(|number| number % 5 != 4).for_each(|number| {
        fs::remove_file(mount.path().join(format!("spread {number}"))).unwrap();
    });
    drop(mount);
    image::sparse(&klon.path("disk"), DISK_MIB * MIB);
    let part = |(start, size): (u64, u64), kind| format!("{start}MiB,{size}MiB,{kind}\n");
    let table = [
        "label: gpt\n".to_owned(),
        part(ESP, "U"),
        part(ROOT, "L"),
        part(WINDOWS, "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"),
    ];
    run_with_input("sfdisk", &["-q", &klon.text("disk")], &table.concat());
    for (name, (start, _)) in [("esp", ESP), ("root", ROOT), ("windows", WINDOWS)] {
        image::put(&klon.path(name), &klon.path("disk"), start * MIB);
    }
}

fn digests(klon: &Klon) -> [String; 2] {
    ["disk", "data"].map(|name| run("sha256sum", &[&klon.text(name)]))
}

/// The files of an ext4 or a Btrfs in a file.
fn tree(klon: &Klon, name: &str, offset_bytes: u64) -> Tree {
    let options = format!("loop,ro,offset={offset_bytes}");
    let mount = Mount::new(klon.path(name), &klon.path("mnt"), &options);
    Tree::read(mount.path()).without_numbers()
}

/// A partition of the drive, as a file of its own.
fn cut(klon: &Klon, volume: &serde_json::Value, name: &str) {
    let extent = &volume["extent"];
    let at = |index: usize| extent[index].as_u64().unwrap();
    let (from, to) = (klon.text("drive"), klon.text(name));
    let offset = format!("skip={}", at(0));
    let len = format!("count={}", at(1));
    let flags = [
        "iflag=skip_bytes,count_bytes",
        "bs=1M",
        "conv=sparse",
        "status=none",
    ];
    let files = [format!("if={from}"), format!("of={to}"), offset, len];
    let all: Vec<&str> = files.iter().map(String::as_str).chain(flags).collect();
    let _ = fs::remove_file(klon.path(name));
    run("dd", &all);
    fs::File::options()
        .write(true)
        .open(klon.path(name))
        .unwrap()
        .set_len(at(1))
        .unwrap();
}

fn ntfs_tree(klon: &Klon, name: &str) -> Tree {
    let mount = NtfsMount::new(&klon.path(name), &klon.path("mnt"), "ro");
    Tree::read(mount.path())
}

/// Checks the clones by the tools, and compares their files with those of the sources.
fn check(klon: &Klon, volumes: &serde_json::Value) {
    for (index, name) in [(1, "clone-root"), (2, "clone-windows"), (3, "clone-data")] {
        cut(klon, &volumes[index], name);
    }
    run("e2fsck", &["-fn", &klon.text("clone-root")]);
    run("ntfsfix", &["-n", &klon.text("clone-windows")]);
    run(
        "btrfs",
        &["check", "--check-data-csum", &klon.text("clone-data")],
    );
    tree(klon, "clone-root", 0).assert_same(&tree(klon, "disk", ROOT.0 * MIB));
    tree(klon, "clone-data", 0).assert_same(&tree(klon, "data", 0));
    let from = format!("if={}", klon.text("disk"));
    let to = format!("of={}", klon.text("windows"));
    let skip = format!("skip={}", WINDOWS.0);
    let count = format!("count={}", WINDOWS.1);
    run("dd", &[&from, &to, "bs=1M", &skip, &count, "status=none"]);
    ntfs_tree(klon, "clone-windows").assert_same(&ntfs_tree(klon, "windows"));
}

/// Adds a file to the ext4 and one to the Btrfs.
fn change(klon: &Klon) {
    for (name, offset) in [("disk", ROOT.0 * MIB), ("data", 0)] {
        let options = format!("loop,offset={offset}");
        let mount = Mount::new(klon.path(name), &klon.path("mnt"), &options);
        fs::write(mount.path().join("added"), noise(77, 5 << 20)).unwrap();
    }
}

#[test]
fn a_plan_whose_clones_fit_is_cloned_and_repeated_and_comes_back() {
    if lacks_root() {
        return;
    }
    let _alone = alone();
    let klon = Klon::new();
    sources(&klon);
    image::sparse(&klon.path("drive"), 1600 * MIB);
    let asked = ["plan", "--drive", "drive", "Boot=disk", "Data=data"];
    // As large as they are they have no room, and the refusal says what would.
    let words = [
        "let filesystems be shrunk",
        "BootClone",
        "DataClone",
        "--shrink",
    ];
    klon.refused(&asked, &words);
    let fit = [
        "--size",
        "Boot=fit",
        "--size",
        "Data=fit",
        "-o",
        "plan.toml",
    ];
    let plan = klon.json(&[&asked[..], &fit].concat());
    let sizes = plan["sizes"].as_array().unwrap();
    assert_eq!(sizes.len(), 4);
    for (one, size_mib) in sizes.iter().zip([ESP.1, ROOT.1, WINDOWS.1, DATA_MIB]) {
        assert_eq!(number(one, "source_bytes"), size_mib * MIB, "{one}");
        let is_shrunk = one["is_shrunk"].as_bool().unwrap();
        assert_eq!(is_shrunk, size_mib > ESP.1, "{one}");
        if is_shrunk {
            let room = number(one, "size_bytes") - number(one, "minimum_bytes");
            assert!((256 * MIB..258 * MIB).contains(&room), "{one}");
        }
    }
    // klon itself makes FAT smaller, but the EFI system partition stays as it is.
    assert!(number(&sizes[0], "minimum_bytes") < ESP.1 * MIB);
    let again = [&asked[..], &fit].concat();
    klon.ok(&again)
        .shows(&["shrunk from 600 MiB", "in use", "least: "]);
    let before = digests(&klon);
    let drive = klon.text("drive");
    klon.ok(&["prepare", "plan.toml", "--yes", "--confirm", &drive]);
    let prepared = run("sha256sum", &[&drive]);
    klon.ok(&["clone", "plan.toml", "--dry-run"])
        .says(&["was shrunk to"]);
    assert_eq!(
        run("sha256sum", &[&drive]),
        prepared,
        "a dry run writes nothing"
    );
    klon.ok(&["clone", "plan.toml"]).says(&[
        "was shrunk to",
        "each time",
        "nothing is written to it",
    ]);
    assert_eq!(digests(&klon), before, "the sources were written to");
    check(&klon, &plan["volumes"]);
    klon.ok(&["verify", "plan.toml"]);
    klon.refused(
        &["verify", "plan.toml", "--against-source", "--only", "Data"],
        &["was shrunk on its way", "with its record"],
    );
    // Again, with something changed.
    change(&klon);
    let before = digests(&klon);
    klon.ok(&["clone", "plan.toml"]).says(&["was shrunk to"]);
    assert_eq!(digests(&klon), before, "the sources were written to");
    check(&klon, &plan["volumes"]);
    klon.ok(&["verify", "plan.toml"]);
    // The way back, to a disk of the size of the original.
    image::sparse(&klon.path("new"), DISK_MIB * MIB);
    klon.ok(&["restore", "plan.toml", "Boot=new", "--grow"]);
    image::check_gpt(&klon.text("new"));
    tree(&klon, "new", ROOT.0 * MIB).assert_same(&tree(&klon, "disk", ROOT.0 * MIB));
    assert_nothing_stays();
}

#[test]
fn a_drive_that_is_too_small_takes_what_klon_may_shrink() {
    let klon = Klon::new();
    image::ext4(&klon.path("data"), 700, 4);
    image::sparse(&klon.path("drive"), 500 * MIB);
    let asked = ["plan", "--drive", "drive", "Master=data"];
    klon.refused(
        &asked,
        &[
            "let filesystems be shrunk: MasterClone from 700 MiB",
            "--shrink",
        ],
    );
    let plan = klon.json(&[&asked[..], &["--shrink", "-o", "plan.toml"]].concat());
    assert_eq!(plan["volumes"][0]["is_shrunk"], true);
    assert!(plan["volumes"][0]["extent"][1].as_u64().unwrap() > 480 * MIB);
    // What can't be made smaller is told with the reason.
    image::sparse(&klon.path("xfs"), 700 * MIB);
    run("mkfs.xfs", &["-q", &klon.text("xfs")]);
    let asked = ["plan", "--drive", "drive", "Master=xfs", "--shrink"];
    klon.refused(&asked, &["needs 700 MiB"]);
    image::sparse(&klon.path("large"), 2000 * MIB);
    for size in ["Master=fit", "Master=500M"] {
        let asked = ["plan", "--drive", "large", "Master=xfs", "--size", size];
        klon.refused(
            &asked,
            &[
                "an XFS can't be made smaller",
                "copy its files",
                "at least 700 MiB",
            ],
        );
    }
    image::sparse(&klon.path("exfat"), 300 * MIB);
    run("mkfs.exfat", &[&klon.text("exfat")]);
    let asked = [
        "plan",
        "--drive",
        "large",
        "Master=exfat",
        "--size",
        "Master=fit",
    ];
    klon.refused(&asked, &["klon can't make", "copy its files"]);
}
