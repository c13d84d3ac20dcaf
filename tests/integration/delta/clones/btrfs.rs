//! Clones of Btrfs: extents are compared by their checksums, and so is what is read.

use super::Pair;
use crate::delta::changes::On;
use crate::delta::forged::write;
use crate::delta::state::Bytes;
use crate::support::klon::number;
use crate::support::{MIB, lacks_root};
use klon_partition::filesystem::probe;
use klon_partition::{Extent, ExtentMap};
use serde_json::Value;
use std::fs;

impl Pair {
    /// Clones by metadata, without a word of the user.
    fn by_checksums(&self, more: &[&str]) -> Value {
        let done = self.clone(more);
        assert_eq!(done["rung"], "metadata", "{done:#}");
        done
    }

    /// Where the first sector of a file lies first.
    pub(in crate::delta) fn place(&self, path: &str) -> usize {
        let bytes = fs::read(self.klon.path("source")).unwrap();
        let device = Bytes(&bytes);
        let filesystem = probe(&device).unwrap().unwrap();
        let all = ExtentMap::whole(bytes.len() as u64);
        let owners = filesystem.owners(&device, &all, 10_000).files;
        let owner = owners.iter().find(|owner| owner.path == path);
        usize::try_from(owner.unwrap().extent.offset_bytes()).unwrap()
    }
}

#[test]
fn a_repeated_clone_of_btrfs_reads_what_changed_and_needs_no_word() {
    if lacks_root() {
        return;
    }
    let pair = Pair::cloned(On::Btrfs);
    for more in [&[][..], &["--in-place"], &["--rung", "metadata"]] {
        pair.change("put f 64K 20K; noise new 300K; rm -f still/7; mv still/9 moved || :");
        let done = pair.by_checksums(more);
        let [used, skipped, read] =
            ["used_bytes", "skipped_bytes", "read_source_bytes"].map(|key| number(&done, key));
        assert!(skipped >= 80 * MIB && skipped < used, "{done:#}");
        assert!(read <= 24 * MIB, "{done:#}");
        assert!(number(&done, "extents_unchanged") >= 37, "{done:#}");
        assert!(number(&done, "extents_changed") >= 1, "{done:#}");
        assert!(number(&done, "checksummed_bytes") >= 40 << 10, "{done:#}");
        assert_eq!(number(&done, "files_examined"), 0, "{done:#}");
        assert_eq!(done["audit"], "passed", "{done:#}");
        pair.assert_equal();
        let idle = pair.by_checksums(&["--audit", "none"]);
        assert_eq!(number(&idle, "changed_bytes"), 0, "{idle:#}");
        let [all, unchanged] =
            ["extents_examined", "extents_unchanged"].map(|key| number(&idle, key));
        assert_eq!(all, unchanged, "{idle:#}");
    }
    let explained = pair.klon.ok(&["clone", "source", "target", "--explain"]);
    explained.shows(&["extents", "unchanged", "always read: the filesystem's own"]);
}

/// A sector that is not what Btrfs wrote there is told with its file, by each run until it is right.
#[test]
fn a_damaged_source_is_told_with_its_file() {
    if lacks_root() {
        return;
    }
    let pair = Pair::cloned(On::Btrfs);
    let place = pair.place("/f");
    let image = pair.klon.path("source");
    let sound = fs::read(&image).unwrap()[place + 9];
    write(&image, place + 9, &[!sound]);
    // Nothing in the metadata shows it, so a run that leaves it unread does not see it.
    let full = ["clone", "source", "target", "--rung", "digest", "--json"];
    let outcome = pair.klon.run(&full).expect(1);
    outcome.says(&[
        "klon: warning: target: 4 KiB of the source is not what its filesystem wrote there",
        "/f from byte 0 is damaged on the source",
    ]);
    let done = outcome.last()["volumes"][0].take();
    assert_eq!(done["damaged_files"][0]["path"], "/f", "{done:#}");
    pair.change("put f 1M 4K");
    let outcome = pair
        .klon
        .run(&["clone", "source", "target", "--json"])
        .expect(1);
    outcome.says(&["/f from byte 0 is damaged on the source"]);
    let done = outcome.last()["volumes"][0].take();
    assert_eq!(done["rung"], "metadata", "{done:#}");
    let sector = Extent::new(place as u64 / 4096 * 4096, 4096).unwrap();
    let damaged = serde_json::to_value([sector].into_iter().collect::<ExtentMap>()).unwrap();
    assert_eq!(done["damaged"], damaged, "{done:#}");
    // A scrub puts it right by the other copy.
    pair.change("btrfs scrub start -B . >&2");
    let done = pair.by_checksums(&[]);
    assert!(done["damaged"].is_null(), "{done:#}");
    pair.assert_equal();
    let idle = pair.by_checksums(&["--audit", "100%"]);
    assert_eq!(idle["audit"], "passed", "{idle:#}");
    assert_eq!(number(&idle, "changed_bytes"), 0, "{idle:#}");
}
