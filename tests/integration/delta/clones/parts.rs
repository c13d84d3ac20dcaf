//! Of a chunk that is proven in part only the rest is read from the source.

use super::{Pair, WORD};
use crate::delta::changes::On;
use crate::delta::past;
use crate::support::klon::number;
use crate::support::{MIB, Mount, lacks_root};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

/// Files of which some share each chunk.
const SMALL: &str = "mkdir small; for i in $(seq -w 40); do noise small/$i 200K; done";
/// One of four changes, so that most of each chunk is proven.
const CHANGE: &str = "for i in $(seq -w 2 4 40); do put small/$i 96K 4K; done";

impl Pair {
    /// A source with small files, which was cloned with them.
    fn with_small_files(on: On) -> Self {
        let pair = Self::cloned(on);
        pair.change(SMALL);
        pair.by_metadata(&["--audit", "none"]);
        pair
    }

    /// What a run would do.
    fn dry(&self, more: &[&str]) -> Value {
        let dry = ["clone", "source", "target", "--dry-run", "--json", WORD];
        let would = self.klon.ok(&[&dry[..], more].concat()).last();
        assert_eq!(would["rung"], "metadata", "{would:#}");
        would
    }

    /// The inode of a file on the target.
    fn inode(&self, name: &str) -> u64 {
        let mount = Mount::new(self.klon.path("target"), &self.klon.path("mnt"), "loop,ro");
        fs::metadata(mount.path().join(name)).unwrap().ino()
    }

    /// Writes to a block of a file on the target, past its filesystem.
    fn rot(&self, name: &str, offset_bytes: u64) {
        let place = (self.inode(name), offset_bytes);
        past::write(&self.klon.path("target"), place, name);
    }
}

fn proven_parts_are_not_read(on: On) {
    if lacks_root() {
        return;
    }
    let pair = Pair::with_small_files(on);
    for more in [&[][..], &["--in-place"]] {
        pair.change(CHANGE);
        let skipped = |more| number(&pair.dry(more), "skipped_bytes");
        let (by_blocks, by_chunks) = (skipped(&[]), skipped(&["--rewrite", "chunks"]));
        // Btrfs writes what changes elsewhere, so that most of a chunk is new, or nothing.
        let least = if on == On::Btrfs { 0 } else { 2 * MIB };
        assert!(
            by_blocks >= by_chunks + least,
            "{by_blocks} and {by_chunks}"
        );
        let done = pair.by_metadata(&[&["--audit", "none"], more].concat());
        assert_eq!(number(&done, "skipped_bytes"), by_blocks, "{done:#}");
        assert!(number(&done, "changed_bytes") >= 10 * 4096, "{done:#}");
        pair.assert_equal();
    }
}

#[test]
fn proven_parts_of_chunks_of_ext_are_not_read() {
    proven_parts_are_not_read(On::Ext);
}

#[test]
fn proven_parts_of_chunks_of_xfs_are_not_read() {
    proven_parts_are_not_read(On::Xfs);
}

#[test]
fn proven_parts_of_chunks_of_btrfs_are_not_read() {
    proven_parts_are_not_read(On::Btrfs);
}

/// What is not what the record says on the target is not taken for it: such a chunk is read whole, and mended.
#[test]
fn a_target_that_rots_is_no_source() {
    if lacks_root() {
        return;
    }
    let pair = Pair::with_small_files(On::Ext);
    // Beside what changes, in the same piece of 128 KiB, whose digest is in the record.
    for name in ["small/06", "small/22"] {
        let place = (pair.inode(name), 96 << 10);
        let changed = past::offset_bytes(&pair.klon.path("target"), place, name);
        let is_first = changed.is_multiple_of(128 << 10);
        pair.rot(name, if is_first { 100 << 10 } else { 92 << 10 });
    }
    pair.klon.run(&["verify", "target", "source"]).expect(1);
    pair.change(CHANGE);
    pair.by_metadata(&["--audit", "none"]);
    pair.assert_equal();
}

/// Of the target only the pieces are read in which something may have changed; a verify reads all.
#[test]
fn what_rots_where_nothing_changed_is_found_by_a_verify() {
    if lacks_root() {
        return;
    }
    let pair = Pair::with_small_files(On::Ext);
    pair.rot("small/05", 4096);
    pair.change(CHANGE);
    let done = pair.by_metadata(&["--audit", "none"]);
    // Of 20 chunks or so two pieces each at most, and the metadata.
    let read = number(&done, "read_target_bytes") - number(&done, "checked_bytes");
    assert!(read <= 20 * (256 << 10), "{done:#}");
    pair.klon.run(&["verify", "target"]).expect(1);
    pair.clone(&["--rung", "compare"]);
    pair.assert_equal();
}

/// A change without a trace beside one that has a trace.
#[test]
fn audits_look_at_parts_of_chunks() {
    if lacks_root() {
        return;
    }
    let pair = Pair::with_small_files(On::Ext);
    pair.change(CHANGE);
    let whole = pair.by_metadata(&["--audit", "100%"]);
    assert_eq!(whole["audit"], "passed", "{whole:#}");
    assert_eq!(
        number(&whole, "audited_bytes"),
        number(&whole, "skipped_bytes"),
        "{whole:#}"
    );
    pair.change(CHANGE);
    pair.write_past("small/05", 100 << 10);
    let reason = "the audit found a change in /small/05";
    let done = pair.by_digest(&[WORD, "--audit", "100%"], reason);
    assert_eq!(done["audit_files"].as_array().unwrap().len(), 1, "{done:#}");
    pair.assert_equal();
}
