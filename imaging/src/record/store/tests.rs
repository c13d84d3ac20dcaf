//! Records round trip, and no damage goes unnoticed.

mod golden;
mod own_identity;
mod pieces;

use super::{ImageSource, Record, RecordStore};
use crate::chunk::{CHUNK_BYTES, Digest};
use crate::record::{Manifest, Role, RunEntry};
use crate::rung::Rung;
use crate::source::FillTexts;
use crate::tally::Tally;
use klon_partition::{Extent, ExtentMap, Identity};
use std::fs;

fn manifest(target: &Identity) -> Manifest {
    let run = RunEntry {
        ended_unix_seconds: 1,
        rung: Rung::Full,
        reason: "first clone".to_owned(),
        is_replayed: false,
        shrunk_from_bytes: None,
        tally: Tally {
            used_bytes: 10,
            read_source_bytes: 10,
            changed_bytes: 10,
            written_bytes: 10,
            ..Tally::default()
        },
        milliseconds: 3,
    };
    Manifest {
        source: Identity::Path("/source".to_owned()),
        target: target.clone(),
        source_bytes: 4 * CHUNK_BYTES,
        target_bytes: 5 * CHUNK_BYTES,
        chunk_bytes: CHUNK_BYTES,
        filesystem: None,
        token: Some(crate::record::manifest::Hex([7; 32])),
        metadata_digest: None,
        run: None,
        role: Role::Backup,
        outside: klon_partition::Outside::All,
        consistency: Default::default(),
        skipped: Vec::new(),
        grown: Vec::new(),
        is_dormant: false,
        history: vec![run],
    }
}

fn map(ranges: &[(u64, u64)]) -> ExtentMap {
    ranges
        .iter()
        .filter_map(|&(offset, len)| Extent::new(offset, len))
        .collect()
}

fn write(store: &RecordStore, target: &Identity) {
    let mut writer = store.begin(target, 3).unwrap();
    for byte in 0..3 {
        writer.push(Digest([byte; 32])).unwrap();
    }
    let data = map(&[(0, 4096), (CHUNK_BYTES + 5, 9)]);
    let zero = map(&[(3 * CHUNK_BYTES, 512)]);
    writer
        .into_place(&manifest(target), &data, &zero, &map(&[(4096, 4096)]))
        .unwrap();
}

#[test]
fn a_record_reads_back_as_written() {
    let directory = tempfile::tempdir().unwrap();
    let store = RecordStore::new(directory.path().join("new/state"));
    let target = Identity::PartUuid("9f2c-01".to_owned());
    assert!(store.load(&target).unwrap().is_none());
    assert!(store.manifests().unwrap().is_empty());
    write(&store, &target);
    let record = store.load(&target).unwrap().unwrap();
    assert_eq!(record.manifest, manifest(&target));
    assert_eq!(record.data, map(&[(0, 4096), (CHUNK_BYTES + 5, 9)]));
    assert_eq!(record.changed, map(&[(4096, 4096)]));
    let digests: Vec<_> = record
        .digests()
        .unwrap()
        .map(|item| item.unwrap())
        .map(|(c, d)| (c.offset_bytes(), d.0[0]))
        .collect();
    assert_eq!(digests, [(0, 0), (CHUNK_BYTES, 1), (3 * CHUNK_BYTES, 2)]);
    assert_eq!(store.manifests().unwrap(), [manifest(&target)]);
}

#[test]
fn an_unfinished_record_leaves_the_old_one_and_no_trace() {
    let directory = tempfile::tempdir().unwrap();
    let store = RecordStore::new(directory.path().to_owned());
    let target = Identity::Serial("X".to_owned());
    write(&store, &target);
    let mut writer = store.begin(&target, 1).unwrap();
    writer.push(Digest([9; 32])).unwrap();
    drop(writer);
    assert!(store.load(&target).unwrap().is_some());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn digests_of_a_replaced_record_are_not_mixed_up() {
    let directory = tempfile::tempdir().unwrap();
    let store = RecordStore::new(directory.path().to_owned());
    let target = Identity::Serial("X".to_owned());
    write(&store, &target);
    let record = store.load(&target).unwrap().unwrap();
    write(&store, &target);
    assert!(record.digests().is_err());
}

/// As [`write`], with digests of metadata.
fn write_with_metadata(store: &RecordStore, target: &Identity) {
    let mut writer = store.begin(target, 3).unwrap();
    for byte in 0..3 {
        writer.push(Digest([byte; 32])).unwrap();
    }
    let data = map(&[(0, 4096), (CHUNK_BYTES + 5, 9)]);
    let zero = map(&[(3 * CHUNK_BYTES, 512)]);
    let metadata = map(&[(1024, 100), (3 * CHUNK_BYTES, 512)]);
    let mut digests = writer.begin_metadata(metadata).unwrap();
    digests.push(Digest([8; 32])).unwrap();
    digests.push(Digest([9; 32])).unwrap();
    let manifest = Manifest {
        metadata_digest: Some(crate::record::manifest::Hex(digests.digest())),
        run: None,
        ..manifest(target)
    };
    writer.keep_metadata(digests);
    writer
        .into_place(&manifest, &data, &zero, &ExtentMap::new())
        .unwrap();
}

#[test]
fn digests_of_metadata_read_back_and_an_older_reader_may_skip_them() {
    let directory = tempfile::tempdir().unwrap();
    let store = RecordStore::new(directory.path().to_owned());
    let target = Identity::Serial("X".to_owned());
    write_with_metadata(&store, &target);
    let record = store.load(&target).unwrap().unwrap();
    let (found, digests) = record.metadata().unwrap().unwrap();
    assert_eq!(found, &map(&[(1024, 100), (3 * CHUNK_BYTES, 512)]));
    let digests: Vec<_> = digests
        .map(|item| item.unwrap())
        .map(|(chunk, digest)| (chunk.offset_bytes(), digest.0[0]))
        .collect();
    assert_eq!(digests, [(0, 8), (3 * CHUNK_BYTES, 9)]);
    // Nothing else than these sections is without the flag that forbids that.
    let bytes = fs::read(store.path(&target)).unwrap();
    for (tag, flags) in [(b"MDEX", 0), (b"MDGS", 0), (b"META", 1)] {
        let at = bytes.windows(4).position(|window| window == tag).unwrap();
        assert_eq!(bytes[at + 4..at + 8], [flags, 0, 0, 0]);
    }
    write(&store, &target);
    let record = store.load(&target).unwrap().unwrap();
    assert!(record.metadata().unwrap().is_none());
}

#[test]
fn digests_of_metadata_must_be_complete() {
    let directory = tempfile::tempdir().unwrap();
    let store = RecordStore::new(directory.path().to_owned());
    let target = Identity::Serial("X".to_owned());
    let mut writer = store.begin(&target, 0).unwrap();
    let digests = writer.begin_metadata(map(&[(0, 4096)])).unwrap();
    writer.keep_metadata(digests);
    let none = ExtentMap::new();
    let error = writer.into_place(&manifest(&target), &none, &none, &none);
    assert!(matches!(error, Err(crate::Error::Internal(_))));
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let store = RecordStore::new(directory.path().to_owned());
    let target = Identity::Serial("X".to_owned());
    write(&store, &target);
    check_damage(&store, &target);
    write_with_metadata(&store, &target);
    check_damage(&store, &target);
}

fn check_damage(store: &RecordStore, target: &Identity) {
    let path = store.path(target);
    let good = fs::read(&path).unwrap();
    let read = || Record::read(&path, fs::File::open(&path).unwrap());
    for byte in 0..good.len() {
        let mut bad = good.clone();
        bad[byte] ^= 1 << (byte % 8);
        fs::write(&path, &bad).unwrap();
        assert!(read().is_err(), "byte {byte}");
    }
    for len in 0..good.len() {
        fs::write(&path, &good[..len]).unwrap();
        assert!(read().is_err(), "cut at {len}");
    }
    fs::write(&path, &good).unwrap();
    assert!(read().is_ok());
}

#[test]
fn targets_that_look_alike_have_files_of_their_own() {
    let store = RecordStore::new("/state".into());
    let paths: std::collections::BTreeSet<_> = ["/a/b", "/a-b", "/a b", "/a_b", "../x"]
        .iter()
        .flat_map(|text| {
            [
                Identity::Path((*text).to_owned()),
                Identity::Serial((*text).to_owned()),
            ]
        })
        .map(|identity| store.path(&identity))
        .collect();
    assert_eq!(paths.len(), 10);
    assert!(
        paths
            .iter()
            .all(|path| path.parent().unwrap() == std::path::Path::new("/state"))
    );
}

#[test]
fn each_volume_in_each_image_has_evidence_of_its_own() {
    let store = RecordStore::new("/state".into());
    let mut paths = std::collections::BTreeSet::new();
    for image in [1, 2] {
        for text in ["/a", "/b"] {
            for name in [None, Some("n")] {
                let source = Identity::Path(text.to_owned());
                for number in [0, 1] {
                    let image = uuid::Uuid::from_u128(image);
                    paths.insert(store.image_evidence_path(
                        image,
                        ImageSource {
                            identity: &source,
                            given_name: name,
                            partition: number,
                        },
                    ));
                }
            }
        }
    }
    assert_eq!(paths.len(), 16);
    let target = Identity::Path("/a".to_owned());
    assert!(!paths.contains(&store.evidence_path(&target)));
}

/// Records that any version wrote stay readable: images/record-v1.klonrec was written by the first
/// one, by `write` above for the disk with the serial number GOLDEN.
#[test]
fn the_record_of_the_first_version_reads_as_it_was_written() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/record-v1.klonrec");
    let record = Record::read(&path, fs::File::open(&path).unwrap()).unwrap();
    assert_eq!(
        record.manifest,
        manifest(&Identity::Serial("GOLDEN".to_owned()))
    );
    assert_eq!(record.data, map(&[(0, 4096), (CHUNK_BYTES + 5, 9)]));
    assert_eq!(record.zero, map(&[(3 * CHUNK_BYTES, 512)]));
    assert_eq!(record.changed, map(&[(4096, 4096)]));
    let digests: Vec<_> = record
        .digests()
        .unwrap()
        .map(|item| item.unwrap().1.0[0])
        .collect();
    assert_eq!(digests, [0, 1, 2]);
}

#[test]
fn a_record_of_more_chunks_than_anyone_could_count_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = RecordStore::new(directory.path().to_owned());
    let target = Identity::Serial("VAST".to_owned());
    let mut manifest = manifest(&target);
    (manifest.source_bytes, manifest.target_bytes) = (1 << 62, 1 << 62);
    let writer = store.begin(&target, 0).unwrap();
    let all = map(&[(0, 1 << 62)]);
    writer
        .into_place(&manifest, &all, &map(&[]), &map(&[]))
        .unwrap();
    let error = store.load(&target).unwrap_err().to_string();
    assert!(error.contains("expected at least 32, found 0"), "{error}");
}

#[test]
fn what_was_left_out_and_why_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = RecordStore::new(directory.path().to_owned());
    let target = Identity::Path("/target".to_owned());
    let mut writer = store.begin(&target, 1).unwrap();
    writer.push(Digest([1; 32])).unwrap();
    let (data, left_out) = (
        map(&[(0, 4096)]),
        map(&[(8192, 4096), (2 * CHUNK_BYTES, 7)]),
    );
    writer.set_left_out(left_out.clone());
    let manifest = Manifest {
        outside: klon_partition::Outside::Edges,
        consistency: Default::default(),
        ..manifest(&target)
    };
    let none = ExtentMap::new();
    writer.into_place(&manifest, &data, &none, &none).unwrap();
    let record = store.load(&target).unwrap().unwrap();
    assert_eq!(record.left_out, left_out);
    assert_eq!(record.wanted(), data);
    assert_eq!(record.manifest.outside, klon_partition::Outside::Edges);
}

#[test]
fn an_outline_says_what_the_record_does_and_believes_no_damaged_section() {
    let directory = tempfile::tempdir().unwrap();
    let store = RecordStore::new(directory.path().to_owned());
    let target = Identity::Path("/target".to_owned());
    assert!(store.outline(&target).unwrap().is_none());
    let mut writer = store.begin(&target, 1).unwrap();
    writer.push(Digest([1; 32])).unwrap();
    let (data, bad) = (map(&[(0, 4096)]), map(&[(512, 1024)]));
    let texts: FillTexts = ["BAD", "OTHER\n"].into_iter().collect();
    writer.set_bad(bad.clone(), texts.clone());
    let zero = map(&[(8192, 512)]);
    let none = ExtentMap::new();
    writer
        .into_place(&manifest(&target), &data, &zero, &none)
        .unwrap();
    let check = || {
        let outline = store.outline(&target).ok()??;
        // Whatever else is damaged.
        assert_eq!(outline.manifest, manifest(&target));
        let found = outline.bad();
        if let Ok(found) = &found {
            assert_eq!(found.extents, bad);
            assert_eq!(found.texts, texts);
        }
        let wanted = outline.wanted();
        if let Ok(wanted) = &wanted {
            assert_eq!(wanted, &data.union(&zero));
        }
        (found.is_ok() && wanted.is_ok()).then_some(())
    };
    check().unwrap();
    let path = store.path(&target);
    let whole = fs::read(&path).unwrap();
    // Tag and length of a section are covered by its own checksum, and read before it.
    let mut unnoticed = 0;
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        fs::write(&path, &damaged).unwrap();
        unnoticed += u64::from(check().is_some());
        assert!(store.load(&target).is_err(), "byte {at}");
    }
    // The digests, the changed blocks, and the SHA-256 at the end.
    assert!(unnoticed < 180, "{unnoticed}");
    for len in 0..whole.len() - 40 {
        fs::write(&path, &whole[..len]).unwrap();
        assert!(store.outline(&target).is_err(), "{len}");
    }
}

#[test]
fn the_first_chunk_tells_whether_a_record_is_of_a_device() {
    use klon_partition::WriteAt;
    use klon_partition::device::MemoryDevice;
    let directory = tempfile::tempdir().unwrap();
    let store = RecordStore::new(directory.path().to_owned());
    let target = Identity::Path("/target".to_owned());
    let device = MemoryDevice::new(vec![7; 4 * 1024 * 1024], 512);
    let mut content = vec![0; 1 << 20];
    content[..4096].fill(7);
    let mut writer = store.begin(&target, 1).unwrap();
    writer.push(Digest::of(&content)).unwrap();
    let none = ExtentMap::new();
    let data = map(&[(0, 4096)]);
    writer
        .into_place(&manifest(&target), &data, &none, &none)
        .unwrap();
    let record = store.load(&target).unwrap().unwrap();
    assert!(record.has_first_chunk_of(&device).unwrap());
    device.write_all_at(b"free", 8192).unwrap();
    assert!(record.has_first_chunk_of(&device).unwrap());
    device.write_all_at(b"used", 4090).unwrap();
    assert!(!record.has_first_chunk_of(&device).unwrap());
    let small = MemoryDevice::zeroed(512);
    assert!(!record.has_first_chunk_of(&small).unwrap());
}
