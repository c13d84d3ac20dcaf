//! What a record keeps of an identity that a clone has of its own.

use super::{manifest, map};
use crate::chunk::Digest;
use crate::record::{Named, OwnIdentity, OwnName, RecordStore};
use klon_partition::{ExtentMap, Identity, OwnIds};
use std::fs;

fn own() -> OwnIdentity {
    OwnIdentity {
        ids: OwnIds::at("a place"),
        names: vec![OwnName {
            of: Named::Filesystem,
            from: "1234-ABCD".to_owned(),
            to: "0F1E-2D3C".to_owned(),
        }],
        changed: map(&[(39, 4)]),
    }
}

#[test]
fn it_is_kept_and_what_is_damaged_of_it_is_never_believed() {
    let directory = tempfile::tempdir().unwrap();
    let store = RecordStore::new(directory.path().to_owned());
    let target = Identity::Path("/target".to_owned());
    let mut writer = store.begin(&target, 1).unwrap();
    writer.push(Digest([1; 32])).unwrap();
    writer.set_own_identity(Some(own()));
    let (data, none) = (map(&[(0, 4096)]), ExtentMap::new());
    writer
        .into_place(&manifest(&target), &data, &none, &none)
        .unwrap();
    let record = store.load(&target).unwrap().unwrap();
    assert_eq!(record.own_identity, Some(own()));
    let outline = store.outline(&target).unwrap().unwrap();
    assert_eq!(outline.own_identity().unwrap(), Some(own()));
    let path = store.path(&target);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        fs::write(&path, &damaged).unwrap();
        assert!(store.load(&target).is_err(), "byte {at}");
        // Neither another one nor none, as an outline believes each section by itself.
        if let Ok(Some(outline)) = store.outline(&target)
            && let Ok(found) = outline.own_identity()
        {
            assert_eq!(found, Some(own()), "byte {at}");
        }
    }
}

#[test]
fn a_reader_that_does_not_know_it_must_refuse_the_record() {
    for tag in [*b"IDNT", *b"IDEX"] {
        let header = crate::section::header(tag, 0);
        assert_eq!(header[4..8], 1_u32.to_le_bytes());
    }
}
