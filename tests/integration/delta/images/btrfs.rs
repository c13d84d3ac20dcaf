//! Images of Btrfs: extents are compared by their checksums, and so is what is read.

use super::disks::{AT, Disk};
use super::{Imaged, by_metadata};
use crate::delta::changes::On;
use crate::delta::forged::write;
use crate::support::klon::number;
use crate::support::{MIB, lacks_root};
use std::fs;

#[test]
fn a_snapshot_of_btrfs_reads_no_more_than_its_clone_and_needs_no_word() {
    if lacks_root() {
        return;
    }
    super::appends_are_cheap(On::Btrfs);
    let imaged = Imaged::once(On::Btrfs);
    imaged.pair.change("put f 64K 20K");
    let done = by_metadata(imaged.image(&[]));
    assert!(number(&done, "extents_unchanged") >= 37, "{done:#}");
    assert!(number(&done, "checksummed_bytes") >= 20 << 10, "{done:#}");
    let reason = done["reason"].as_str().unwrap();
    assert!(reason.starts_with("the checksums of "), "{reason}");
    imaged.assert_equal("i.klon");
}

/// A sector that is not what Btrfs wrote there is told with its file, by each run until it is right.
#[test]
fn a_damaged_source_of_an_image_is_told_with_its_file() {
    if lacks_root() {
        return;
    }
    let imaged = Imaged::once(On::Btrfs);
    let klon = &imaged.pair.klon;
    let place = imaged.pair.place("/f");
    let source = klon.path("source");
    let sound = fs::read(&source).unwrap()[place + 9];
    write(&source, place + 9, &[!sound]);
    let image = ["image", "source", "i.klon", "--json"];
    let full = [&image[..], &["--rung", "digest"]].concat();
    let outcome = klon.run(&full).expect(1);
    outcome.says(&[
        "klon: warning: source: 4 KiB of the source is not what its filesystem wrote there",
        "/f from byte 0 is damaged on the source",
    ]);
    let done = outcome.last();
    assert_eq!(done["damaged_files"][0]["path"], "/f", "{done:#}");
    imaged.pair.change("put f 1M 4K");
    let outcome = klon.run(&image).expect(1);
    outcome.says(&["/f from byte 0 is damaged on the source"]);
    by_metadata(outcome.last());
    let stream = klon.shell("$K image source - > stream.klon").expect(1);
    stream.says(&["/f from byte 0 is damaged on the source"]);
    // A scrub puts it right by the other copy.
    imaged.pair.change("btrfs scrub start -B . >&2");
    let done = by_metadata(imaged.image(&[]));
    assert!(done["damaged"].is_null(), "{done:#}");
    imaged.assert_equal("i.klon");
    let idle = by_metadata(imaged.image(&["--audit", "100%"]));
    assert_eq!(idle["audit"], "passed", "{idle:#}");
    assert_eq!(number(&idle, "changed_bytes"), 0, "{idle:#}");
}

#[test]
fn a_btrfs_beside_an_ext4_begins_within_a_chunk() {
    if lacks_root() {
        return;
    }
    let disk = Disk::imaged(&["mkfs.btrfs", "-q", "-d", "single"], &["--chunk", "16M"]);
    disk.change(1, "put f 64K 20K");
    let done = disk.image(&["--audit", "none"]);
    assert_eq!(done["rung"], "metadata", "{done:#}");
    let reason = done["reason"].as_str().unwrap();
    assert!(
        reason.contains("extents show them unchanged since snapshot 1; partition 1: nothing shows"),
        "{reason}"
    );
    assert!(number(&done, "checksummed_bytes") > 0, "{done:#}");
    assert!(done["unchecked_because"].is_null(), "{done:#}");
    disk.assert_equal(AT);
    // A byte of a file is changed past the filesystem.
    let at = disk.place(1, "/f");
    let path = disk.klon.path("disk");
    let sound = fs::read(&path).unwrap()[at + 2];
    write(&path, at + 2, &[!sound]);
    let image = ["image", "disk", "i.klon", "--json", "--rung", "digest"];
    let outcome = disk.klon.run(&image).expect(1);
    outcome.says(&["2:/f from byte 0 is damaged on the source"]);
    let damaged = &outcome.last()["damaged"];
    let sector = at as u64 / 4096 * 4096;
    assert_eq!(damaged[0][0], sector, "{damaged:#}");
    assert!(sector > AT[1] * MIB);
}
