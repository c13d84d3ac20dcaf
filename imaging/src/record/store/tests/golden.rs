//! Records of earlier builds, which stay readable.

use super::{CHUNK_BYTES, Identity, Record, fs, map};
use crate::chunk::Digested;

fn golden(name: &str) -> Record {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../images");
    let path = path.join(name);
    let record = Record::read(&path, fs::File::open(&path).unwrap()).unwrap();
    assert_eq!(
        record.manifest.target,
        Identity::Serial("GOLDEN".to_owned())
    );
    assert_eq!(
        record.digests().unwrap().filter_map(Result::ok).count() as u64,
        { record.manifest.source_bytes.div_ceil(CHUNK_BYTES) }
    );
    record
}

/// Of a clone of images/ext4-seed.img.zst: the sections MDEX and MDGS. How all were made is in
/// images/INDEX.md.
#[test]
fn a_record_with_digests_of_metadata_stays_readable() {
    let record = golden("record-metadata.klonrec");
    let (metadata, digests) = record.metadata().unwrap().unwrap();
    let expected = map(&[(0, 18_432), (19_456, 1024), (35_840, 16_384)]);
    assert_eq!(metadata, &expected);
    let mut whole = crate::record::Whole::default();
    digests.for_each(|item| whole.push(item.unwrap().1));
    let whole = crate::record::manifest::Hex(whole.finish());
    assert_eq!(record.manifest.metadata_digest, Some(whole));
    let text = "7bcab892053558b6f05b69fb852b87739856629173ebbddba3931852eb9d724c";
    assert_eq!(String::from(whole), text);
    assert_eq!(record.data, map(&[(0, 307_200)]));
    assert!(record.bad.is_empty());
}

/// Of a rescue: the section BADS.
#[test]
fn a_record_with_bad_sectors_stays_readable() {
    let record = golden("record-bad.klonrec");
    assert_eq!(record.bad, map(&[(CHUNK_BYTES + 2560, 1024)]));
    assert_eq!(record.data, map(&[(0, CHUNK_BYTES + 32_768)]));
    assert!(record.metadata().unwrap().is_none());
}

/// Of a clone of images/ext4-seed.img.zst: the section PIEC.
#[test]
fn a_record_of_pieces_stays_readable() {
    let record = golden("record-pieces.klonrec");
    assert_eq!(record.digested, Digested::InPieces);
    let pieces = record.pieces().unwrap().unwrap();
    let mut known = 0;
    for (digest, pieces) in record.digests().unwrap().zip(pieces) {
        let ((chunk, digest), (of, pieces)) = (digest.unwrap(), pieces.unwrap());
        assert_eq!(chunk, of);
        assert_eq!(pieces.unwrap().digest(), digest);
        known += 1;
    }
    assert!(known > 0);
}
