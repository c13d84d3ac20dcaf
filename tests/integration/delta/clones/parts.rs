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

    /// Writes to a block of a file on the target, past its filesystem.
    fn rot(&self, name: &str, offset_bytes: u64) {
        let target = self.klon.path("target");
        let mount = Mount::new(&target, &self.klon.path("mnt"), "loop,ro");
        let inode = fs::metadata(mount.path().join(name)).unwrap().ino();
        drop(mount);
        past::write(&target, (inode, offset_bytes), name);
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
    pair.rot("small/05", 100 << 10);
    pair.rot("small/21", 4096);
    pair.klon.run(&["verify", "target", "source"]).expect(1);
    pair.change(CHANGE);
    pair.by_metadata(&["--audit", "none"]);
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
