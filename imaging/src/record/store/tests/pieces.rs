//! Records whose digests are of pieces of chunks.

use super::{RecordStore, check_damage, manifest, map, write};
use crate::chunk::{CHUNK_BYTES, Digested, Pieces};
use klon_partition::{ExtentMap, Identity};

/// What three chunks hold; the pieces of the second are not known.
fn chunks() -> [(Pieces, bool); 3] {
    let chunk = |byte| Pieces::of(&vec![byte; 300_000]);
    [(chunk(1), true), (chunk(2), false), (chunk(3), true)]
}

fn write_in_pieces(store: &RecordStore, target: &Identity) {
    let begun = store.begin_digested(target, 3, Digested::InPieces);
    let mut writer = begun.unwrap();
    for (pieces, is_known) in chunks() {
        let known = is_known.then_some(&pieces);
        writer.push_in_pieces(pieces.digest(), known).unwrap();
    }
    let data = map(&[(0, 4096), (CHUNK_BYTES + 5, 9), (3 * CHUNK_BYTES, 512)]);
    let none = ExtentMap::new();
    writer
        .into_place(&manifest(target), &data, &none, &none)
        .unwrap();
}

#[test]
fn what_is_known_of_pieces_reads_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = RecordStore::new(directory.path().to_owned());
    let target = Identity::Serial("X".to_owned());
    write_in_pieces(&store, &target);
    let record = store.load(&target).unwrap().unwrap();
    assert_eq!(record.digested, Digested::InPieces);
    let digests = record.digests().unwrap().map(|item| item.unwrap().1);
    assert!(digests.eq(chunks().iter().map(|(pieces, _)| pieces.digest())));
    let read = record.pieces().unwrap().unwrap();
    let read: Vec<_> = read.map(|item| item.unwrap().1).collect();
    let expected = chunks().map(|(pieces, is_known)| is_known.then_some(pieces));
    assert_eq!(read, expected);
    // A record of whole chunks has none.
    write(&store, &target);
    let record = store.load(&target).unwrap().unwrap();
    assert_eq!(record.digested, Digested::Whole);
    assert!(record.pieces().unwrap().is_none());
}

#[test]
fn every_flipped_bit_and_every_cut_of_pieces_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let store = RecordStore::new(directory.path().to_owned());
    let target = Identity::Serial("X".to_owned());
    write_in_pieces(&store, &target);
    check_damage(&store, &target);
}
