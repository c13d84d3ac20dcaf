//! The options of a clone, on block devices.

use crate::support::image::{ext4, read_range, sparse};
use crate::support::klon::{number, typed};
use crate::support::{Klon, LoopDevice, MIB, Mount, lacks_root, run, tree};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

/// A source and a target on loop devices, cloned once; detached before the files go.
struct Pair {
    source: LoopDevice,
    target: LoopDevice,
    klon: Klon,
}

impl Pair {
    fn new() -> Self {
        let klon = Klon::new();
        ext4(&klon.path("source"), 64, 12);
        sparse(&klon.path("target"), 64 * MIB);
        let source = LoopDevice::new(&klon.path("source"), 512);
        let target = LoopDevice::new(&klon.path("target"), 4096);
        let pair = Self {
            source,
            target,
            klon,
        };
        assert_eq!(pair.clone(&[])["rung"], "full");
        pair
    }

    fn clone(&self, options: &[&str]) -> serde_json::Value {
        let clone = ["clone", self.source.text(), self.target.text()];
        self.klon.json(&[&clone[..], options].concat())
    }

    /// Something for the next run to do: 9000 bytes in place, and a file of 12 MiB less.
    fn change(&self) {
        let mount = Mount::new(self.source.path(), &self.klon.path("mnt"), "rw");
        let file = OpenOptions::new()
            .write(true)
            .open(mount.path().join("documents/39"));
        file.unwrap()
            .write_all_at(&tree::noise(5, 9000), 4000)
            .unwrap();
        fs::remove_file(mount.path().join("large")).unwrap();
    }

    fn check(&self) {
        run("e2fsck", &["-fn", self.target.text()]);
        self.klon.ok(&["verify", self.target.text()]);
        self.klon
            .ok(&["verify", self.target.text(), self.source.text()]);
    }
}

#[test]
fn freed_space_on_a_device_is_left_or_zeroed_or_discarded() {
    if lacks_root() {
        return;
    }
    for freed in ["leave", "zero", "discard"] {
        let pair = Pair::new();
        let blocks = run("debugfs", &["-R", "blocks large", pair.source.text()]);
        let blocks = blocks
            .split_whitespace()
            .map(|block| block.parse::<u64>().unwrap());
        let blocks: Vec<u64> = blocks.collect();
        pair.change();
        let done = pair.clone(&["--freed", freed]);
        assert_eq!(done["rung"], "digest", "{done:#}");
        assert_eq!(
            number(&done, "freed_bytes") >= 12 * MIB,
            freed != "leave",
            "{done:#}"
        );
        let holds = |&&block: &&u64| {
            let bytes = read_range(pair.target.path(), block * 4096, 4096);
            bytes.iter().any(|&byte| byte != 0)
        };
        let held = blocks.iter().filter(holds).count();
        // Few blocks of the file may be in use again.
        assert_eq!(held > blocks.len() / 2, freed == "leave", "{freed}: {held}");
        pair.check();
    }
}

#[test]
fn every_rung_and_rewrite_on_a_device_ends_exact() {
    if lacks_root() {
        return;
    }
    let pair = Pair::new();
    pair.change();
    let done = pair.clone(&["--rewrite", "chunks", "--verify"]);
    assert_eq!(
        (&done["rung"], &done["read_target_bytes"]),
        (&"digest".into(), &done["checked_bytes"])
    );
    assert!(number(&done, "changed_bytes") >= MIB);
    pair.check();
    for rung in ["compare", "full", "digest"] {
        assert_eq!(pair.clone(&["--rung", rung, "--verify"])["rung"], rung);
        pair.check();
    }
}

#[test]
fn a_dry_run_on_a_device_writes_nothing() {
    if lacks_root() {
        return;
    }
    let pair = Pair::new();
    pair.change();
    let image = || {
        run("blockdev", &["--flushbufs", pair.target.text()]);
        fs::read(pair.klon.path("target")).unwrap()
    };
    let (before, record) = (image(), fs::read(pair.klon.only_record()).unwrap());
    for rung in ["auto", "digest", "compare", "full"] {
        let would = pair.clone(&["--dry-run", "--rung", rung, "--freed", "zero"]);
        assert_eq!(would["event"], "preview");
    }
    assert!(image() == before);
    assert!(fs::read(pair.klon.only_record()).unwrap() == record);
}

#[test]
fn a_device_with_something_on_it_needs_consent() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 2);
    ext4(&klon.path("target"), 32, 2);
    let device = LoopDevice::new(&klon.path("target"), 512);
    let identity = klon.text("target");
    let how = format!("--yes --confirm {}", typed(&identity));
    let words = ["would overwrite", device.text(), "ext4 \"target\"", &how];
    klon.refused(&["clone", "source", device.text()], &words);
    klon.ok(&[
        "clone",
        "source",
        device.text(),
        "--yes",
        "--confirm",
        &identity,
    ]);
    run("e2fsck", &["-fn", device.text()]);
}
