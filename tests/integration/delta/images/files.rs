//! Images of other forms: in parts, from a stream, of a snapshot, with chunks of other sizes.

use super::{Imaged, by_digest, by_metadata, evidence};
use crate::delta::changes::On;
use crate::delta::clones::WORD;
use crate::support::klon::number;
use crate::support::{MIB, lacks_root};

#[test]
fn images_in_parts_and_of_other_chunks_leave_unread_what_did_not_change() {
    if lacks_root() {
        return;
    }
    let imaged = Imaged::once(On::Ext);
    let klon = &imaged.pair.klon;
    for more in [
        &["parts.klon", "--split", "20M"][..],
        &["small.klon", "--chunk", "64K"],
        &["large.klon", "--chunk", "16M"],
    ] {
        klon.ok(&[&["image", "source"][..], more].concat());
    }
    imaged.pair.change("put f 8K 4K");
    let mut read_bytes = Vec::new();
    for image in ["parts.klon", "small.klon", "large.klon"] {
        let done = klon.json(&["image", "source", image, WORD, "--audit", "none"]);
        if image == "large.klon" {
            // Files end and metadata lies in the midst of such chunks.
            assert_eq!(done["rung"], "metadata", "{done:#}");
        } else {
            by_metadata(done.clone());
        }
        super::assert_equal(&imaged.pair, image, &klon.path("source"));
        klon.ok(&["verify", image]);
        read_bytes.push(number(&done, "read_source_bytes"));
    }
    assert!(read_bytes[1] <= read_bytes[0], "{read_bytes:?}");
    assert!(read_bytes[0] <= read_bytes[2], "{read_bytes:?}");
    assert!(read_bytes[0] <= 16 * MIB, "{read_bytes:?}");
}

#[test]
fn what_went_to_a_stream_has_no_evidence() {
    if lacks_root() {
        return;
    }
    let imaged = Imaged::once(On::Ext);
    let klon = &imaged.pair.klon;
    let line = format!("$K image source - {WORD} > stream.klon");
    klon.shell(&line).expect(0);
    assert_eq!(evidence(&imaged.pair.klon).len(), 1);
    let image = ["image", "source", "stream.klon", WORD];
    by_digest(klon.json(&image), "the last run kept nothing of the files");
    by_metadata(klon.json(&image));
    klon.run(&["image", "source", "-", "--explain"]).expect(2);
}

#[test]
fn an_image_of_a_snapshot_reads_what_it_lacks_and_nothing_twice() {
    if lacks_root() {
        return;
    }
    let imaged = Imaged::once(On::Ext);
    let klon = &imaged.pair.klon;
    klon.ok(&["image", "i.klon@1", "new.klon"]);
    imaged.pair.change("put f 8K 4K");
    imaged.image(&[]);
    let again = klon.json(&["image", "i.klon@1", "new.klon"]);
    assert_eq!(number(&again, "read_source_bytes"), 0, "{again:#}");
    assert_eq!(number(&again, "changed_bytes"), 0, "{again:#}");
    let done = klon.json(&["image", "i.klon@2", "new.klon"]);
    let [read, changed] = ["read_source_bytes", "changed_bytes"].map(|key| number(&done, key));
    assert!(read > 0 && read <= changed, "{done:#}");
    assert!(changed <= 4 * MIB, "{done:#}");
    super::assert_equal(&imaged.pair, "new.klon", &klon.path("source"));
    klon.ok(&["verify", "new.klon"]);
    // No file of a snapshot is looked at: its digests tell all.
    assert_eq!(evidence(&imaged.pair.klon).len(), 1);
    let asked = klon.json(&["image", "i.klon@2", "new.klon", "--rung", "metadata"]);
    by_digest(asked, "metadata is not possible: nothing on such a source");
    // A run that compares reads what is stored.
    let compared = klon.json(&["image", "i.klon@2", "new.klon", "--rung", "compare"]);
    assert!(number(&compared, "read_source_bytes") > 40 * MIB);
}
