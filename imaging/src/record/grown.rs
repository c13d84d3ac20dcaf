//! A record of a clone that was made larger, or put to sleep: it says so, and all else of it stays, byte for byte.

use super::manifest::{Growth, Manifest};
use super::reader::Reader;
use super::scan::Sections;
use super::store::RecordStore;
use super::writer::Hashing;
use crate::durable;
use crate::error::{Result, io_error};
use crate::section;
use klon_partition::Identity;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

impl RecordStore {
    /// Notes durably, in the record of `target`, that something on it is made larger. Goes on with a growth
    /// of the same partition that was not completed. Says whether there is a record.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`]; [`crate::Error::RecordCorrupt`] when any of it fails its check.
    pub fn note_growth(&self, target: &Identity, growth: Growth) -> Result<bool> {
        self.note(target, |manifest| add(&mut manifest.grown, growth))
    }

    /// Notes durably, in the record of `target`, whether the clone is put to sleep after each run. Says whether
    /// there is a record.
    ///
    /// # Errors
    /// As [`note_growth`](Self::note_growth).
    pub fn note_dormant(&self, target: &Identity, is_dormant: bool) -> Result<bool> {
        self.note(target, |manifest| manifest.is_dormant = is_dormant)
    }

    fn note(&self, target: &Identity, edit: impl FnOnce(&mut Manifest)) -> Result<bool> {
        let Some(outline) = self.outline(target)? else {
            return Ok(false);
        };
        let path = self.path(target);
        let file = File::open(&path).map_err(|source| io_error(&path, "open", source))?;
        // What is written anew gets checksums that are right; so they must have been.
        let (sections, _) = Sections::scan(&path, &file)?;
        let reader = Reader {
            path: &path,
            file: &file,
            sections: &sections,
        };
        let mut manifest = reader.manifest()?;
        if manifest != outline.manifest {
            let changed = io::Error::other("it changed meanwhile");
            return Err(io_error(&path, "read", changed));
        }
        edit(&mut manifest);
        let Some(meta) = sections.get(&path, *b"META")? else {
            let empty = io::Error::other("its description is empty");
            return Err(io_error(&path, "read", empty));
        };
        replace(&path, &file, &manifest, section::around(meta))
            .map_err(|source| io_error(&path, "write", source))?;
        Ok(true)
    }
}

/// Adds a growth, or goes on with the one of the same partition that was not completed.
fn add(grown: &mut Vec<Growth>, growth: Growth) {
    let is_begun = |last: &&mut Growth| !last.is_complete && last.partition == growth.partition;
    match grown.last_mut().filter(is_begun) {
        Some(last) => {
            last.to_bytes = growth.to_bytes;
            last.is_complete = growth.is_complete;
        }
        None => grown.push(growth),
    }
}

/// Writes the record with another description in the place of the one at `meta`.
fn replace(path: &Path, file: &File, manifest: &Manifest, meta: Range<u64>) -> io::Result<()> {
    const END_BYTES: u64 = section::HEADER_LEN as u64 + 32 + 4;
    let end_bytes = file.metadata()?.len().saturating_sub(END_BYTES);
    let new = durable::begin(path, ".record-")?;
    let mut output = Hashing::new(BufWriter::new(new));
    output.copy(part(file, 0..meta.start)?)?;
    output.section(*b"META", &serde_json::to_vec(manifest)?)?;
    output.copy(part(file, meta.end..end_bytes)?)?;
    let digest = output.digest();
    output.section(*b"END ", &digest)?;
    let new = output.inner.into_inner()?;
    new.as_file().sync_all()?;
    durable::name(new, path).map(drop)
}

/// The bytes of a file in a range.
fn part(mut file: &File, range: Range<u64>) -> io::Result<impl Read> {
    file.seek(SeekFrom::Start(range.start))?;
    Ok(file.take(range.end.saturating_sub(range.start)))
}

#[cfg(test)]
mod tests {
    use super::add;
    use crate::chunk::{CHUNK_BYTES, Digest};
    use crate::record::{Growth, Manifest, RecordStore, sample};
    use klon_partition::{ExtentMap, Identity};

    const GROWTH: Growth = Growth {
        began_unix_seconds: 5,
        partition: None,
        from_bytes: 10,
        to_bytes: 20,
        is_complete: false,
    };

    #[test]
    fn a_growth_that_was_interrupted_is_gone_on_with() {
        let mut grown = Vec::new();
        add(&mut grown, GROWTH);
        let later = Growth {
            began_unix_seconds: 9,
            from_bytes: 15,
            to_bytes: 30,
            is_complete: true,
            ..GROWTH
        };
        add(&mut grown, later.clone());
        let [one] = &grown[..] else {
            panic!("{grown:?}")
        };
        assert_eq!((one.began_unix_seconds, one.from_bytes), (5, 10));
        assert_eq!((one.to_bytes, one.is_complete), (30, true));
        add(&mut grown, later);
        assert_eq!(grown.len(), 2);
        let other = Growth {
            partition: Some(2),
            ..GROWTH
        };
        add(&mut grown, other);
        assert_eq!(grown.len(), 3);
    }

    #[test]
    fn all_else_of_a_record_stays() {
        let directory = tempfile::tempdir().unwrap();
        let store = RecordStore::new(directory.path().to_owned());
        let target = Identity::Path("/target".to_owned());
        assert!(!store.note_growth(&target, GROWTH).unwrap());
        let manifest = sample::manifest(&target);
        let mut writer = store.begin(&target, 1).unwrap();
        writer.push(Digest([3; 32])).unwrap();
        let (data, none) = (ExtentMap::whole(CHUNK_BYTES), ExtentMap::new());
        writer.into_place(&manifest, &data, &none, &none).unwrap();
        assert!(store.note_growth(&target, GROWTH).unwrap());
        let record = store.load(&target).unwrap().unwrap();
        assert_eq!(record.manifest.grown, [GROWTH]);
        assert_eq!((&record.data, &record.zero), (&data, &none));
        let plain = Manifest {
            skipped: Vec::new(),
            grown: Vec::new(),
            ..record.manifest.clone()
        };
        assert_eq!(plain, manifest);
        // A damaged one is not made to look whole.
        let path = store.path(&target);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[90] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(store.note_growth(&target, GROWTH).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}
