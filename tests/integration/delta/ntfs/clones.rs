//! Clones and images of NTFS that leave unread what its file records show unchanged, through the program.

use super::script;
use crate::delta::past;
use crate::support::image::sparse;
use crate::support::klon::number;
use crate::support::{Klon, MIB, NtfsMount, lacks_root, run};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

/// The user's wish.
const HEURISTIC: &[&str] = &["--heuristic", "ntfs"];

/// A source with files, and a target.
struct Pair {
    klon: Klon,
}

impl Pair {
    /// A source that was cloned once, in the ordinary way.
    fn cloned() -> Self {
        let pair = Self { klon: Klon::new() };
        sparse(&pair.klon.path("source"), 128 * MIB);
        run("mkfs.ntfs", &["-F", "-q", "-f", &pair.klon.text("source")]);
        pair.change(
            "source",
            "mkdir still; for i in $(seq 20); do noise still/$i 1500K; done; noise f 2M",
        );
        pair.clone(&[]);
        pair
    }

    /// Runs a script in a mounted volume.
    fn change(&self, volume: &str, text: &str) {
        let mount = NtfsMount::new(&self.klon.path(volume), &self.klon.path("mnt"), "rw");
        script(mount.path(), text);
    }

    /// Writes to the clusters of a file of the source whose record stays as it is.
    fn write_past(&self, name: &str, offset_bytes: u64) {
        let source = self.klon.path("source");
        let mount = NtfsMount::new(&source, &self.klon.path("mnt"), "ro");
        let record = fs::metadata(mount.path().join(name)).unwrap().ino();
        drop(mount);
        past::write(&source, (record, offset_bytes), name);
    }

    /// Clones, and gives what the run says of the volume.
    fn clone(&self, more: &[&str]) -> Value {
        let arguments = [&["clone", "source", "target"][..], more].concat();
        self.klon.json(&arguments)["volumes"][0].take()
    }

    fn by(&self, rung: &str, more: &[&str], reason: &str) -> Value {
        let done = self.clone(more);
        assert_eq!(done["rung"], rung, "{done:#}");
        let found = done["reason"].as_str().unwrap();
        assert!(found.contains(reason), "{found:?}, not {reason:?}");
        if rung == "compare" {
            assert_eq!(number(&done, "skipped_bytes"), 0, "{done:#}");
        }
        done
    }

    /// Clones by the heuristic.
    fn by_metadata(&self, more: &[&str]) -> Value {
        let more = [HEURISTIC, more].concat();
        let done = self.by("metadata", &more, "by a heuristic where they are on NTFS");
        assert_eq!(done["heuristic"], true, "{done:#}");
        done
    }

    /// The target is what the source is, and ntfsprogs like it.
    fn assert_equal(&self) {
        self.klon.ok(&["verify", "target", "source"]);
        self.klon.ok(&["verify", "target"]);
        let said = run("ntfsfix", &["-n", &self.klon.text("target")]);
        assert!(said.contains("processed successfully"), "{said}");
    }
}

#[test]
fn a_repeated_clone_of_ntfs_reads_what_its_records_show() {
    if lacks_root() {
        return;
    }
    let pair = Pair::cloned();
    let nobody = "nothing on such a volume shows whether someone changed the clone";
    let refused = pair.by("compare", &["--rung", "metadata"], nobody);
    let remedy = refused["remedy"].as_str().unwrap();
    assert!(remedy.contains("--heuristic ntfs"), "{remedy}");
    pair.by(
        "compare",
        HEURISTIC,
        "the last run kept nothing of the files",
    );
    for more in [&[][..], &["--in-place"], &["--rung", "metadata"]] {
        pair.change(
            "source",
            "put f 64K 20K; noise new 300K; rm -f still/7; mv still/9 moved || :",
        );
        let done = pair.by_metadata(more);
        let [used, skipped, read] =
            ["used_bytes", "skipped_bytes", "read_source_bytes"].map(|key| number(&done, key));
        assert!(skipped >= 18 * MIB && skipped < used, "{done:#}");
        assert!(read <= 24 * MIB, "{done:#}");
        assert!(number(&done, "changed_bytes") >= 20 << 10, "{done:#}");
        assert!(number(&done, "files_unchanged") >= 17, "{done:#}");
        assert_eq!(done["audit"], "passed", "{done:#}");
        pair.assert_equal();
        let idle = pair.by_metadata(&["--audit", "none"]);
        assert_eq!(number(&idle, "changed_bytes"), 0, "{idle:#}");
    }
    let explained = [
        "clone",
        "source",
        "target",
        "--heuristic",
        "ntfs",
        "--explain",
        "--dry-run",
    ];
    pair.klon.ok(&explained).shows(&[
        "rung metadata",
        "by a heuristic on NTFS: Windows can change a file",
    ]);
    // Nobody gets it unasked, and what others keep is not for it.
    pair.by("compare", &[], nobody);
    pair.by(
        "compare",
        HEURISTIC,
        "the last run kept nothing of the files",
    );
    pair.by_metadata(&[]);
    let full = [HEURISTIC, &["--full-every", "0d"]].concat();
    pair.by(
        "compare",
        &full,
        "the last run that read everything was 0 days ago",
    );
    pair.by_metadata(&[]);
}

#[test]
fn a_target_that_was_used_is_compared() {
    if lacks_root() {
        return;
    }
    let pair = Pair::cloned();
    pair.clone(HEURISTIC);
    for changed in ["put still/3 64K 8K", "noise other 90K", "touch still/4"] {
        pair.change("target", changed);
        pair.by(
            "compare",
            HEURISTIC,
            "something changed the target's metadata",
        );
        pair.assert_equal();
        pair.by_metadata(&[]);
    }
}

#[test]
fn an_audit_of_ntfs_ends_the_trust_in_both_sides() {
    if lacks_root() {
        return;
    }
    let pair = Pair::cloned();
    pair.clone(HEURISTIC);
    pair.write_past("still/12", MIB / 2 + 8192);
    let missed = pair.by_metadata(&["--audit", "none"]);
    assert_eq!(number(&missed, "changed_bytes"), 0, "{missed:#}");
    let all = [HEURISTIC, &["--audit", "100%"]].concat();
    let done = pair.by("compare", &all, "the audit found a change in /still/12");
    assert_eq!(done["audit"], "failed", "{done:#}");
    assert_eq!(number(&done, "changed_bytes"), 4096, "{done:#}");
    assert!(number(&done, "read_target_bytes") >= 30 * MIB, "{done:#}");
    pair.assert_equal();
    let next = "the audit of the last run found a change in /still/12";
    pair.by("compare", HEURISTIC, next);
    pair.by_metadata(&["--audit", "100%"]);
}

#[test]
fn images_of_ntfs_have_the_heuristic_too() {
    if lacks_root() {
        return;
    }
    let pair = Pair::cloned();
    let image = |more: &[&str]| {
        let arguments = [&["image", "source", "i.klon"][..], more].concat();
        pair.klon.json(&arguments)
    };
    image(HEURISTIC);
    pair.change("source", "put f 64K 20K; noise new 300K; rm still/7");
    let done = image(HEURISTIC);
    assert_eq!(done["rung"], "metadata", "{done:#}");
    assert_eq!(done["heuristic"], true, "{done:#}");
    assert!(number(&done, "skipped_bytes") >= 18 * MIB, "{done:#}");
    pair.klon.ok(&["verify", "i.klon", "source"]);
    let refused = image(&["--rung", "metadata"]);
    assert_eq!(refused["rung"], "digest", "{refused:#}");
    let reason = refused["reason"].as_str().unwrap();
    assert!(reason.contains("of NTFS only a heuristic"), "{reason}");
    assert!(
        refused["remedy"]
            .as_str()
            .unwrap()
            .contains("--heuristic ntfs")
    );
}
