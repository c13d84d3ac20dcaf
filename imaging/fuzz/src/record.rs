//! Records.

use super::{SCRATCH, number, seal, target};
use klon_imaging::{Digest, RecordStore};
use std::path::Path;

/// Reads `data` as a record, as it is and with right checksums.
pub fn check(data: &[u8]) {
    SCRATCH.with(|directory| {
        read(directory.path(), data);
        read(directory.path(), &sealed(data.to_vec()));
    });
}

fn read(directory: &Path, bytes: &[u8]) {
    let store = RecordStore::new(directory.to_owned());
    let path = store.path(&target());
    std::fs::write(&path, bytes).expect("a scratch file");
    store.manifests().expect("the directory can be listed");
    let Ok(Some(record)) = store.load(&target()) else {
        return;
    };
    let size_bytes = record.manifest.target_bytes;
    assert!(record.wanted().end_bytes() <= size_bytes);
    assert!(record.changed.end_bytes() <= size_bytes);
    assert!(record.bad.difference(&record.data).is_empty());
    for item in record.digests().expect("the file is there") {
        item.expect("as many digests as chunks");
    }
    if let Some(pieces) = record.pieces().expect("the file is there") {
        for item in pieces {
            item.expect("those of as many chunks");
        }
    }
    if let Some((map, digests)) = record.metadata().expect("the file is there") {
        assert!(map.end_bytes() <= size_bytes);
        for item in digests {
            item.expect("as many digests as chunks");
        }
    }
}

/// The record with right checksums, or no input would ever get past them.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let _ = seal_all(&mut bytes);
    bytes
}

fn seal_all(bytes: &mut [u8]) -> Option<()> {
    seal(bytes, 0, 60)?;
    let mut at = 64_usize;
    loop {
        let start = at.checked_add(16)?;
        let end = start.checked_add(number(bytes, at.checked_add(8)?, 8)?)?;
        if bytes.get(at..)?.starts_with(b"END ") {
            let digest = Digest::of(&bytes[..at]).0;
            bytes
                .get_mut(start..end)?
                .get_mut(..32)?
                .copy_from_slice(&digest);
        }
        seal(bytes, at, end)?;
        at = end.checked_add(4)?;
    }
}
