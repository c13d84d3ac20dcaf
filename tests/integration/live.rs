//! Clones of volumes that are mounted and written to meanwhile, byte by byte against what was frozen; needs
//! root.

mod busy_disk;
mod clone_disk;
mod compared;
mod database;
mod disk;
mod guest;
mod hidden;
mod image_disk;
mod images;
mod options;
mod power_cut;
mod room;
mod struck;
mod writers;

use crate::support::klon::number;
use crate::support::{Klon, LoopDevice, MIB, Mount, Outcome, image, lacks_root, run};
use database::Database;
use klon_partition::device::open_source;
use klon_partition::filesystem::usage;
use klon_partition::{Extent, ReadAt};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use writers::Writers;

const SIZE_BYTES: u64 = 400 * MIB;

/// A volume that is mounted, and a target.
struct Pair {
    // Dropped in this order.
    mount: Option<Mount>,
    source: LoopDevice,
    target: LoopDevice,
    klon: Klon,
}

impl Pair {
    fn new(mkfs: &[&str], options: &str) -> Self {
        let klon = Klon::new();
        for name in ["source", "target"] {
            image::sparse(&klon.path(name), SIZE_BYTES);
        }
        let (program, arguments) = mkfs.split_first().unwrap();
        run(program, &[arguments, &[&*klon.text("source")]].concat());
        let source = LoopDevice::new(&klon.path("source"), 512);
        let target = LoopDevice::new(&klon.path("target"), 512);
        let mount = Mount::new(source.path(), &klon.path("mount"), options);
        Self {
            mount: Some(mount),
            source,
            target,
            klon,
        }
    }

    fn at(&self) -> PathBuf {
        self.klon.path("mount")
    }

    /// Clones it and compares the target with what was frozen last.
    fn clone(&self, options: &[&str]) -> Value {
        let ends = ["clone", self.source.text(), self.target.text()];
        let always = ["--json", "--yes", "--freeze-max", "120s"];
        let arguments = [&ends[..], &always, options].concat();
        let summary = self.keeping_frozen(&arguments)["volumes"][0].clone();
        assert_frozen(&summary);
        // What keeps the frozen state is in no release.
        if cfg!(debug_assertions) {
            self.assert_same();
        }
        summary
    }

    /// Runs klon, and keeps what is frozen. Returns the last line that it prints.
    fn keeping_frozen(&self, arguments: &[&str]) -> Value {
        let frozen = self.klon.text("frozen");
        let source = self.klon.text("source");
        let mut command = self.klon.command(arguments);
        let keep = format!("cp --sparse=always '{source}' '{frozen}'");
        command.env("KLON_TEST_WHILE_FROZEN", keep);
        let outcome = Outcome::new(arguments, &command.output().unwrap()).expect(0);
        assert_within_totals(&outcome.lines());
        outcome.last()
    }

    /// Fails unless the target has all that was in use when the source was frozen.
    fn assert_same(&self) {
        let frozen = open_source(&self.klon.path("frozen")).unwrap();
        let target = open_source(&self.klon.path("target")).unwrap();
        let usage = usage(&frozen).unwrap();
        // The log of an empty journal is zero on a clone.
        let compared = usage.extents.difference(&usage.blank(&frozen));
        assert!(compared.total_bytes() < SIZE_BYTES / 2, "it was not clean");
        let read = |device: &dyn ReadAt, extent: Extent| {
            let mut bytes = vec![0; usize::try_from(extent.len_bytes()).unwrap()];
            device
                .read_exact_at(&mut bytes, extent.offset_bytes())
                .unwrap();
            bytes
        };
        for extent in compared.iter().flat_map(|extent| extent.split(64 << 10)) {
            let is_same = read(&frozen, extent) == read(&target, extent);
            assert!(is_same, "{extent} is not as it was frozen");
        }
    }

    /// Checks a copy of the target with the filesystem's own tool, after its recovery.
    fn check(&self, arguments: &[&str], is_recovered: bool) {
        let copy = self.klon.text("copy");
        run("cp", &["--sparse=always", &self.klon.text("target"), &copy]);
        if is_recovered {
            drop(Mount::new(
                &copy,
                &self.klon.path("copy.mnt"),
                "loop,nouuid",
            ));
        }
        let (program, options) = arguments.split_first().unwrap();
        run(program, &[options, &[&*copy]].concat());
    }

    /// Fails unless the database on the target is whole, with so many rows at least.
    fn check_database(&self, filesystem: &str, committed: u64) {
        let (copy, there) = (self.klon.text("copy"), self.klon.path("there"));
        run("cp", &["--sparse=always", &self.klon.text("target"), &copy]);
        fs::create_dir(&there).unwrap();
        let folder = there.join(database::NAME);
        let to = there.to_str().unwrap();
        let dump = format!("rdump /{} {to}", database::NAME);
        let only = format!("^/(|{0}(|/.*))$", database::NAME);
        match filesystem {
            "ext4" => drop(run("debugfs", &["-R", &dump, &copy])),
            // As it is, it can't be mounted beside the volume that it is a copy of.
            "btrfs" => drop(run("btrfs", &["restore", "--path-regex", &only, &copy, to])),
            _ => {
                let mounted = Mount::new(&copy, &self.klon.path("copy.mnt"), "loop,nouuid");
                let from = mounted.path().join(database::NAME);
                run("cp", &["--recursive", from.to_str().unwrap(), to]);
            }
        }
        database::check(&folder, committed);
        fs::remove_dir_all(&there).unwrap();
    }

    fn unmount(&mut self) {
        self.mount = None;
    }
}

fn assert_frozen(summary: &Value) {
    assert_eq!(summary["consistency"], "frozen", "{summary}");
    let freezes = summary["freezes"].as_array().unwrap();
    assert!(!freezes.is_empty(), "{summary}");
}

/// Fails unless nothing that is told goes past what was said before, also in later passes.
fn assert_within_totals(lines: &[Value]) {
    let counted = lines.iter().filter(|line| !line["done_bytes"].is_null());
    let mut finished = None;
    for line in counted {
        let (done, total) = (number(line, "done_bytes"), number(line, "total_bytes"));
        let all = (
            number(line, "all_done_bytes"),
            number(line, "all_total_bytes"),
        );
        assert!(done <= total && all.0 <= all.1, "{line}");
        if line["event"] == "finished" {
            finished = Some((done, total));
        }
    }
    let (done, total) = finished.expect("no run finished");
    assert_eq!(done, total, "bytes of the last pass");
}

/// A first clone, live repeats, and a repeat once it is unmounted.
fn clones(mkfs: &[&str], options: &str, check: (&[&str], bool)) {
    if lacks_root() {
        return;
    }
    let mut pair = Pair::new(mkfs, options);
    let filesystem = mkfs[0].trim_start_matches("mkfs.");
    let database = Database::start(&pair.at());
    let writers = Writers::start(&pair.at());
    let committed = database.committed();
    let first = pair.clone(&[]);
    pair.check_database(filesystem, committed);
    assert_eq!(first["rung"], "full", "{first}");
    pair.check(check.0, check.1);
    let rounds = std::env::var("KLON_LIVE_ROUNDS")
        .ok()
        .and_then(|it| it.parse().ok());
    for _ in 0..rounds.unwrap_or(2) {
        let committed = database.committed();
        let again = pair.clone(&["--audit", "none"]);
        assert_eq!(again["rung"], "metadata", "{again}");
        assert!(number(&again, "skipped_bytes") > 15 * MIB, "{again}");
        assert!(number(&again, "staged_bytes") > 0, "{again}");
        pair.check_database(filesystem, committed);
    }
    pair.check(check.0, check.1);
    let in_place = pair.clone(&["--in-place"]);
    assert_eq!(number(&in_place, "staged_bytes"), 0, "{in_place}");
    pair.check(check.0, check.1);
    drop((writers, database));
    pair.unmount();
    let ends = [pair.source.text(), pair.target.text()];
    let word = "--assume-clean-since-record";
    let still = pair.klon.json(&["clone", ends[0], ends[1], word]);
    assert_eq!(still["volumes"][0]["consistency"], "still", "{still}");
    assert_eq!(still["rung"], "metadata", "{still}");
    pair.klon.ok(&["verify", ends[1], ends[0]]);
}

#[test]
fn ext4_in_use() {
    clones(
        &["mkfs.ext4", "-q", "-F"],
        "rw",
        (&["e2fsck", "-fn"], false),
    );
}

#[test]
fn xfs_in_use() {
    clones(&["mkfs.xfs", "-q"], "rw", (&["xfs_repair", "-n"], true));
}

#[test]
fn btrfs_in_use() {
    let check = ["btrfs", "check", "--check-data-csum"];
    clones(&["mkfs.btrfs", "-q"], "compress=zstd", (&check, false));
}
