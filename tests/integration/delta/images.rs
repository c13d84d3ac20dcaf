//! Snapshots that leave unread what did not change, through the program.

mod audits;
mod btrfs;
mod disks;
mod doubts;
mod files;
mod parts;

use super::changes::On;
use super::clones::{Pair, WORD};
use crate::support::klon::number;
use crate::support::{Klon, MIB, lacks_root, run};
use klon_partition::ReadAt;
use klon_partition::device::look_at;
use klon_partition::filesystem::usage;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// A source with files, in an image.
struct Imaged {
    /// The source, which was cloned, too.
    pair: Pair,
}

impl Imaged {
    /// A source of which there is one snapshot.
    fn once(on: On) -> Self {
        let imaged = Self {
            pair: Pair::cloned(on),
        };
        imaged.image(&[]);
        imaged
    }

    /// Adds a snapshot, and gives what the run says.
    fn image(&self, more: &[&str]) -> Value {
        let arguments = [&["image", "source", "i.klon"][..], more].concat();
        self.pair.klon.json(&arguments)
    }

    /// Adds a snapshot by metadata.
    fn by_metadata(&self, more: &[&str]) -> Value {
        by_metadata(self.image(&[&[WORD][..], more].concat()))
    }

    /// Adds a snapshot by digests for a reason that has these words.
    fn by_digest(&self, more: &[&str], reason: &str) -> Value {
        by_digest(self.image(more), reason)
    }

    /// A snapshot is what the source is.
    fn assert_equal(&self, snapshot: &str) {
        assert_equal(&self.pair, snapshot, &self.pair.klon.path("source"));
    }

    /// What is kept for the next run.
    fn evidence(&self) -> Vec<PathBuf> {
        evidence(&self.pair.klon)
    }
}

fn by_metadata(done: Value) -> Value {
    assert_eq!(done["rung"], "metadata", "{done:#}");
    assert!(number(&done, "skipped_bytes") > 0, "{done:#}");
    done
}

fn by_digest(done: Value, reason: &str) -> Value {
    assert_eq!(done["rung"], "digest", "{done:#}");
    let found = done["reason"].as_str().unwrap();
    assert!(found.contains(reason), "{found:?}, not {reason:?}");
    assert_eq!(number(&done, "skipped_bytes"), 0, "{done:#}");
    done
}

/// A snapshot, restored, has every byte that is in use of that volume.
fn assert_equal(pair: &Pair, snapshot: &str, volume: &Path) {
    let restored = pair.klon.path("restored");
    pair.klon.ok(&["restore", snapshot, "restored"]);
    let (wanted, found) = (look_at(volume).unwrap(), look_at(&restored).unwrap());
    assert_same_used(&wanted, &found);
    fs::remove_file(restored).unwrap();
}

/// Every byte that is in use of one volume is on the other.
fn assert_same_used(wanted: &dyn ReadAt, found: &dyn ReadAt) {
    let used = usage(wanted).unwrap();
    // The log of an empty journal is zero.
    let blank = used.blank(wanted);
    for extent in used.extents.difference(&blank).iter() {
        for part in extent.split(MIB) {
            let len = usize::try_from(part.len_bytes()).unwrap();
            let [mut expected, mut read] = [vec![0; len], vec![1; len]];
            let at = part.offset_bytes();
            wanted.read_exact_at(&mut expected, at).unwrap();
            found.read_exact_at(&mut read, at).unwrap();
            assert!(read == expected, "{part} differs");
        }
    }
}

/// The files of what is kept for the next run into an image.
fn evidence(klon: &Klon) -> Vec<PathBuf> {
    let names = fs::read_dir(klon.records()).unwrap();
    let paths = names.map(|name| name.unwrap().path());
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("image-") && name.ends_with(".evidence")
    };
    let mut paths: Vec<PathBuf> = paths.filter(is_it).collect();
    paths.sort();
    paths
}

/// A copy that keeps holes.
fn copy(pair: &Pair, from: &str, to: &str) {
    let (from, to) = (pair.klon.text(from), pair.klon.text(to));
    run("cp", &["--sparse=always", &from, &to]);
}

fn appends_are_cheap(on: On) {
    if lacks_root() {
        return;
    }
    let imaged = Imaged::once(on);
    let pair = &imaged.pair;
    copy(pair, "source", "then1");
    for turn in 2..4 {
        pair.change("put f 64K 20K; noise new 300K; rm -f still/7; mv still/9 moved || :");
        let clone = pair.by_metadata(&["--audit", "none"]);
        let done = imaged.by_metadata(&["--audit", "none"]);
        let [used, skipped, read] =
            ["used_bytes", "skipped_bytes", "read_source_bytes"].map(|key| number(&done, key));
        assert!(skipped >= 40 * MIB && skipped < used, "{done:#}");
        let of_clone = number(&clone, "read_source_bytes");
        assert!(read <= of_clone, "{read} and {of_clone}: {done:#}");
        for key in [
            "metadata_read_bytes",
            "files_examined",
            "files_unchanged",
            "files_changed",
            "files_always_read",
        ] {
            assert_eq!(done[key], clone[key], "{key}: {done:#}");
        }
        assert!(number(&done, "changed_bytes") >= MIB, "{done:#}");
        copy(pair, "source", &format!("then{turn}"));
    }
    let audited = imaged.by_metadata(&[]);
    assert_eq!(audited["audit"], "passed", "{audited:#}");
    assert!(number(&audited, "audited_bytes") > 0, "{audited:#}");
    assert_eq!(number(&audited, "changed_bytes"), 0, "{audited:#}");
    pair.klon.ok(&["verify", "i.klon"]);
    for (number, then) in [(1, "then1"), (2, "then2"), (3, "then3"), (4, "then3")] {
        assert_equal(pair, &format!("i.klon@{number}"), &pair.klon.path(then));
    }
    pair.klon.ok(&["verify", "i.klon", "source"]);
}

#[test]
fn a_snapshot_of_ext_reads_no_more_than_its_clone() {
    appends_are_cheap(On::Ext);
}

#[test]
fn a_snapshot_of_xfs_reads_no_more_than_its_clone() {
    appends_are_cheap(On::Xfs);
}

#[test]
fn a_snapshot_is_explained() {
    if lacks_root() {
        return;
    }
    let imaged = Imaged::once(On::Ext);
    let klon = &imaged.pair.klon;
    imaged.pair.change("put f 64K 20K; noise large 5M");
    let image = ["image", "source", "i.klon", WORD, "--explain"];
    klon.ok(&image).shows(&[
        "proven unchanged",
        "rung metadata: the metadata of",
        "unchanged since snapshot 1",
        "read whole: /large, 5 MiB: new",
        "always read: the filesystem's own",
    ]);
    let lines = klon.ok(&[&image[..], &["--json"]].concat()).lines();
    let events: Vec<&Value> = lines.iter().map(|line| &line["event"]).collect();
    assert_eq!(events[events.len() - 2..], ["explained", "imaged"]);
    let done = klon.ok(&["image", "source", "i.klon"]);
    done.shows(&[WORD, "klon ledger install"]);
    let asked = klon.json(&["image", "source", "i.klon", "--rung", "metadata"]);
    let reason = "metadata is not possible: nothing shows that the power never failed";
    let asked = by_digest(asked, reason);
    assert!(asked["remedy"].as_str().unwrap().contains(WORD));
}
