//! Evidence comes back as it was written, and any other bytes are refused.

use super::{Belonging, Draft, Evidence, EvidenceMeta, Findings, Spool};
use crate::Error;
use crate::change::Bitmap;
use crate::change::proven::{Entry, Horizon, IdentityWriter, Stamped};
use crate::chunk::Digest;
use klon_partition::filesystem::files::Stamp;
use klon_partition::{Extent, ExtentMap};
use proptest::prelude::{any, proptest};
use std::fs;
use std::path::Path;
use uuid::Uuid;

const SIZE_BYTES: u64 = 1 << 30;
const OWN: Belonging = Belonging::Record([7; 32]);

fn map(ranges: &[(u64, u64)]) -> ExtentMap {
    let extents = ranges.iter().filter_map(|&(at, len)| Extent::new(at, len));
    extents.collect()
}

fn meta() -> EvidenceMeta {
    EvidenceMeta {
        stamped: Stamped {
            instance: None,
            age: Some(3),
            is_clean: true,
            seen: 5,
            continuity: None,
            written_by: Vec::new(),
            session: None,
        },
        said_clean_unix_seconds: Some(5),
        trusts_file_records: true,
        audit_cursor_bytes: 1 << 20,
        full_unix_seconds: 4,
        runs_since_full: 2,
        tracked_runs_since_full: 1,
        bitmap: Some(Bitmap {
            export: "nbd://host/disk".to_owned(),
            name: "since".to_owned(),
        }),
        disabled: Some("because".to_owned()),
    }
}

const fn entry(number: u64) -> Entry {
    Entry {
        number,
        identity: [1; 16],
        mapping: [2; 16],
        counted: None,
    }
}

/// A draft with a few identities, which is to be at `path`.
fn draft(path: &Path) -> Draft {
    let horizon = Horizon::at(Stamp {
        seconds: 99,
        nanoseconds: 1,
    });
    let mut writer = IdentityWriter::begin(Spool::begin(path).unwrap(), horizon).unwrap();
    for number in 11..20 {
        writer.push(&entry(number)).unwrap();
    }
    let (spool, kept) = writer.finish().unwrap();
    Draft::new(spool, kept.len_bytes, map(&[(4096, 8192)]), meta()).unwrap()
}

fn written(path: &Path) -> Vec<u8> {
    let findings = Findings {
        signatures: map(&[(512, 512)]),
        damaged: map(&[(8192, 4096)]),
    };
    draft(path).keep(OWN, &findings).unwrap();
    fs::read(path).unwrap()
}

/// All of it, read to the end.
fn read(path: &Path) -> Option<()> {
    let evidence = Evidence::open(path, SIZE_BYTES).ok()??;
    evidence.identities().ok()?.read_to_end().ok()
}

#[test]
fn it_comes_back_and_leaves_no_other_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("records").join("x.evidence");
    assert!(Evidence::open(&path, SIZE_BYTES).unwrap().is_none());
    drop(draft(&path));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    written(&path);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    let evidence = Evidence::open(&path, SIZE_BYTES).unwrap().unwrap();
    assert_eq!((evidence.belonging, &evidence.meta), (OWN, &meta()));
    assert_eq!(evidence.signatures, map(&[(512, 512)]));
    assert_eq!(evidence.written_past, map(&[(4096, 8192)]));
    assert_eq!(evidence.damaged, map(&[(8192, 4096)]));
    assert!(evidence.extents().is_err(), "it is of files");
    let mut identities = evidence.identities().unwrap();
    assert_eq!(identities.find(15).unwrap(), Some(entry(15)));
    assert_eq!(identities.find(99).unwrap(), None);
    identities.read_to_end().unwrap();
    // It is read from the first once more.
    let mut again = evidence.identities().unwrap();
    assert_eq!(again.find(11).unwrap(), Some(entry(11)));
}

#[test]
fn what_goes_nowhere_is_no_draft() {
    let horizon = Horizon::NEVER;
    let writer = IdentityWriter::begin(Spool::Dropped, horizon).unwrap();
    let (spool, kept) = writer.finish().unwrap();
    assert!(Draft::new(spool, kept.len_bytes, ExtentMap::new(), meta()).is_none());
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.evidence");
    let bytes = written(&path);
    assert!(read(&path).is_some());
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&path, &damaged).unwrap();
        assert!(read(&path).is_none(), "byte {at}");
        fs::write(&path, &bytes[..at]).unwrap();
        assert!(read(&path).is_none(), "cut at {at}");
    }
    fs::write(&path, [&bytes[..], b"more"].concat()).unwrap();
    let error = Evidence::open(&path, SIZE_BYTES).unwrap_err();
    assert!(matches!(error, Error::RecordCorrupt { .. }), "{error}");
    assert!(error.to_string().contains("length of the file"), "{error}");
}

#[test]
fn extents_behind_the_volume_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.evidence");
    written(&path);
    let error = Evidence::open(&path, 8192).unwrap_err();
    assert!(error.to_string().contains("PAST"), "{error}");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.evidence");
        fs::write(&path, &bytes).unwrap();
        assert!(read(&path).is_none());
    }
}

#[test]
fn what_is_of_a_snapshot_is_of_that_volume_in_it_alone() {
    let part = |at, len| Extent::new(at, len).unwrap();
    let of = |image: u128, manifest, part| {
        Belonging::of_snapshot(Uuid::from_u128(image), Digest([manifest; 32]), part)
    };
    let own = of(1, 2, part(512, 1024));
    assert_eq!(own, of(1, 2, part(512, 1024)));
    for other in [
        of(2, 2, part(512, 1024)),
        of(1, 3, part(512, 1024)),
        of(1, 2, part(1024, 1024)),
        of(1, 2, part(512, 2048)),
        Belonging::Record([2; 32]),
    ] {
        assert_ne!(own, other);
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.evidence");
    draft(&path).keep(own, &Findings::default()).unwrap();
    let found = Evidence::open(&path, SIZE_BYTES).unwrap().unwrap();
    assert_eq!(found.belonging, own);
}
