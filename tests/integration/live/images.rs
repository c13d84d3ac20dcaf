//! Images of volumes that are mounted and written to meanwhile, byte by byte against what was frozen; needs
//! root.

use super::database::Database;
use super::writers::Writers;
use super::{Pair, assert_frozen};
use crate::support::klon::number;
use crate::support::{MIB, lacks_root};

/// A first snapshot, and live ones that are added, each as it was frozen.
fn images(mkfs: &[&str], options: &str) {
    if lacks_root() {
        return;
    }
    let pair = Pair::new(mkfs, options);
    let filesystem = mkfs[0].trim_start_matches("mkfs.");
    let database = Database::start(&pair.at());
    let writers = Writers::start(&pair.at());
    let rounds = std::env::var("KLON_LIVE_ROUNDS").ok();
    let rounds: u64 = rounds.and_then(|it| it.parse().ok()).unwrap_or(2);
    let ends = [pair.source.text(), "x.klon", pair.target.text()];
    let image = ["image", ends[0], ends[1], "--json", "--freeze-max", "120s"];
    for round in 0..=rounds {
        let committed = database.committed();
        let added = pair.keeping_frozen(&image);
        assert_frozen(&added);
        if round == 0 {
            assert_eq!(added["rung"], "full", "{added}");
        } else {
            assert_eq!(added["rung"], "metadata", "{added}");
            assert!(number(&added, "skipped_bytes") > 15 * MIB, "{added}");
            // Whole chunks count, so where files lie scattered it may be more than is in use.
            assert!(number(&added, "changed_bytes") > 0, "{added}");
        }
        pair.klon.ok(&["restore", ends[1], ends[2], "--yes"]);
        if cfg!(debug_assertions) {
            pair.assert_same();
        }
        pair.check_database(filesystem, committed);
    }
    drop((writers, database));
    pair.klon.ok(&["verify", ends[1]]);
    let listed = pair.klon.ok(&["list", ends[1], "--json"]).lines();
    let is_frozen = |line: &serde_json::Value| line["consistency"] == "frozen";
    assert!(listed.len() as u64 == rounds + 1, "{listed:?}");
    assert!(listed.iter().all(is_frozen), "{listed:?}");
    pair.klon.ok(&["list", ends[1]]).shows(&["frozen"]);
    pair.klon.ok(&["info", ends[1]]).shows(&["frozen"]);
}

#[test]
fn ext4_in_use() {
    images(&["mkfs.ext4", "-q", "-F"], "rw");
}

#[test]
fn xfs_in_use() {
    images(&["mkfs.xfs", "-q"], "rw");
}

#[test]
fn btrfs_in_use() {
    images(&["mkfs.btrfs", "-q"], "compress=zstd");
}

#[test]
fn an_image_on_what_it_is_of_is_refused() {
    if lacks_root() {
        return;
    }
    let pair = Pair::new(&["mkfs.ext4", "-q", "-F"], "rw");
    let image = pair.at().join("x.klon");
    let arguments = ["image", pair.source.text(), image.to_str().unwrap()];
    let reasons = ["while it is at rest: the image", "Keep the image elsewhere"];
    pair.klon.refused(&arguments, &reasons);
    assert!(!image.exists());
}
