//! Many snapshots in one image: what one adds does not grow with their number, and all are read.

use crate::support::image::{ext4, sparse};
use crate::support::klon::number;
use crate::support::tree::noise;
use crate::support::{Klon, LoopDevice, MIB, Mount, lacks_root, run};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

const READER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/integration/images/reader.py"
);

#[test]
fn a_snapshot_of_what_did_not_change_takes_as_much_as_the_one_before() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 5, 0);
    let len = || fs::metadata(klon.path("i.klon")).unwrap().len();
    klon.ok(&["image", "source", "i.klon"]);
    let mut added = Vec::new();
    for _ in 0..70 {
        let before = len();
        klon.ok(&["image", "source", "i.klon", "-q"]);
        added.push(len() - before);
    }
    let most = |part: &[u64]| part.iter().copied().max().unwrap();
    assert!(most(&added[35..]) <= most(&added[..35]) + 4096, "{added:?}");
    assert!(added.iter().sum::<u64>() <= 70 * 8192, "{added:?}");
    assert_eq!(klon.ok(&["list", "i.klon", "--json"]).lines().len(), 71);
    klon.ok(&["verify", "i.klon"]);
    // The reader that was made from the description finds the first, the last, one in a page.
    let source = fs::read(klon.path("source")).unwrap();
    for snapshot in ["1", "40", "71"] {
        run(
            "python3",
            &[READER, &klon.text("i.klon"), snapshot, &klon.text("raw")],
        );
        assert!(fs::read(klon.path("raw")).unwrap() == source, "{snapshot}");
    }
    klon.ok(&["prune", "i.klon", "--keep-last", "3", "--yes", "-q"]);
    run(
        "python3",
        &[READER, &klon.text("i.klon"), "70", &klon.text("raw")],
    );
    assert!(fs::read(klon.path("raw")).unwrap() == source);
    assert_eq!(klon.ok(&["list", "i.klon", "--json"]).lines().len(), 3);
}

#[test]
fn in_parts_too() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 5, 0);
    for _ in 0..40 {
        klon.ok(&["image", "source", "i.klon", "--split", "64K", "-q"]);
    }
    assert_eq!(klon.ok(&["list", "i.klon", "--json"]).lines().len(), 40);
    klon.ok(&["verify", "i.klon"]);
    klon.ok(&["prune", "i.klon", "--keep-last", "35", "--yes", "-q"]);
    klon.ok(&["image", "source", "i.klon", "-q"]);
    klon.ok(&["restore", "i.klon@10", "restored"]);
    assert!(fs::read(klon.path("restored")).unwrap() == fs::read(klon.path("source")).unwrap());
}

/// Takes snapshots on a filesystem in a file, each of other content, and prunes all but the last.
fn pruned_on(kind: &str, make: &[&str], check: fn(&Klon, &Path)) {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    sparse(&klon.path("disk"), 512 * MIB);
    run(
        make[0],
        &[&make[1..], &[klon.text("disk").as_str()]].concat(),
    );
    let device = LoopDevice::new(&klon.path("disk"), 512);
    let mount = Mount::new(device.path(), &klon.path("mnt"), "rw");
    sparse(&klon.path("source"), 24 * MIB);
    let source = fs::OpenOptions::new()
        .write(true)
        .open(klon.path("source"))
        .unwrap();
    for seed in 0..3_u64 {
        // Every other mebibyte stays.
        for mib in (seed % 2..24).step_by(2) {
            let content = noise(seed * 100 + mib, MIB as usize);
            source.write_all_at(&content, mib * MIB).unwrap();
        }
        klon.ok(&["image", "source", "mnt/i.klon", "-q"]);
    }
    println!("{kind}");
    check(&klon, mount.path());
}

/// What is free on a filesystem, by `stat`, when it has settled.
fn free_bytes(mount: &Path) -> u64 {
    let mount = mount.to_str().unwrap();
    run("sync", &["-f", mount]);
    let text = run("stat", &["-f", "-c", "%f %S", mount]);
    let numbers = text
        .split_whitespace()
        .map(|text| text.parse::<u64>().unwrap());
    numbers.product()
}

#[test]
fn what_a_prune_gave_back_is_what_the_filesystem_says() {
    let check = |klon: &Klon, mount: &Path| {
        let blocks = || fs::metadata(mount.join("i.klon")).unwrap().blocks() * 512;
        let (before, free) = (blocks(), free_bytes(mount));
        let done = klon.json(&["prune", "mnt/i.klon", "--keep-last", "1", "--yes"]);
        let freed = number(&done, "freed_bytes");
        // Two catalogs came on top.
        let given = before - blocks();
        assert!((given..=given + 65_536).contains(&freed), "{freed} {given}");
        assert!(free_bytes(mount).abs_diff(free + freed) < MIB, "{freed}");
    };
    pruned_on("ext4", &["mke2fs", "-q", "-t", "ext4"], check);
    pruned_on("xfs", &["mkfs.xfs", "-q"], check);
}

#[test]
fn on_btrfs_what_does_not_come_back_is_said() {
    let check = |klon: &Klon, mount: &Path| {
        let free = free_bytes(mount);
        let done = klon.run(&["prune", "mnt/i.klon", "--keep-last", "1", "--yes", "--json"]);
        let done = done.expect(0);
        let freed = number(&done.last(), "freed_bytes");
        let given = free_bytes(mount).saturating_sub(free);
        assert!(freed.abs_diff(given) < 2 * MIB, "{freed} {given}");
        let is_told = done.stderr.contains("--compact");
        // 24 MiB of the first two are in no snapshot any more.
        assert_eq!(is_told, freed < 20 * MIB, "{freed}: {}", done.stderr);
        klon.ok(&["prune", "mnt/i.klon", "--compact", "--yes"]);
        let given = free_bytes(mount).saturating_sub(free);
        assert!(given > 10 * MIB, "{given}");
    };
    pruned_on(
        "btrfs",
        &["mkfs.btrfs", "-q", "-d", "single", "-m", "single"],
        check,
    );
}
