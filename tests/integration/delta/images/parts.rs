//! Of a chunk that is proven in part only the rest is read from the source, also where chunks are large.

use super::Imaged;
use crate::delta::changes::On;
use crate::support::klon::number;
use crate::support::{MIB, lacks_root};
use std::fs;

/// Files of which some share each chunk.
const SMALL: &str = "mkdir small; for i in $(seq -w 40); do noise small/$i 200K; done";

/// Two of those change. What is read of the source then.
fn read_bytes(imaged: &Imaged) -> u64 {
    imaged
        .pair
        .change("put small/10 96K 4K; put small/30 96K 4K");
    let done = imaged.by_metadata(&["--audit", "none"]);
    let used = number(&done, "used_bytes");
    assert!(number(&done, "skipped_bytes") < used, "{done:#}");
    imaged.assert_equal("i.klon");
    number(&done, "read_source_bytes")
}

fn proven_parts_are_not_read(on: On) {
    if lacks_root() {
        return;
    }
    let imaged = Imaged::once(on);
    imaged.pair.change(SMALL);
    imaged.image(&[]);
    let read = read_bytes(&imaged);
    fs::remove_file(imaged.pair.klon.path("i.klon")).unwrap();
    imaged.image(&["--chunk", "16M"]);
    let of_large = read_bytes(&imaged);
    // All that is in use is in a dozen of those chunks, and most of them are proven but for a little.
    assert!(of_large <= read + 4 * MIB, "{of_large} and {read}");
    let audited = imaged.by_metadata(&["--audit", "100%"]);
    assert_eq!(audited["audit"], "passed", "{audited:#}");
    assert_eq!(audited["audited_bytes"], audited["skipped_bytes"]);
    imaged.pair.klon.ok(&["verify", "i.klon"]);
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
