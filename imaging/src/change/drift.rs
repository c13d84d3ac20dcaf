//! Whether the metadata on a target is still what its record says.

use crate::buffer::Pool;
use crate::chunk::{CHUNK_LEN, Digest, read_data};
use crate::error::{Error, Result};
use crate::pipeline;
use crate::record::{Record, Whole, digest_of};
use klon_partition::{Extent, ReadAt};
use std::num::NonZeroUsize;

/// What reading the metadata of a target showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriftCheck {
    /// Bytes that were read of the target.
    pub read_bytes: u64,
    /// What is not as the record says.
    pub drift: Option<Drift>,
}

/// How a target's metadata is not as its record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// Something in this chunk, and nothing before it.
    In(Extent),
    /// The record contradicts itself.
    Record,
}

/// What ends the check early.
enum Stop {
    Error(Error),
    Differs(Extent),
}

/// Reads what the record counts as metadata of `target`, up to the first chunk that is not as the
/// record says. A record that keeps no digests of metadata says nothing, and nothing is read.
///
/// # Errors
/// [`Error::Target`], [`Error::RecordIo`]; [`Error::Interrupted`] when `is_cancelled` says so.
pub fn check(
    target: &dyn ReadAt,
    record: &Record,
    threads: NonZeroUsize,
    is_cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<DriftCheck> {
    let mut checked = DriftCheck::default();
    let Some((map, digests)) = record.metadata()? else {
        return Ok(checked);
    };
    let tasks = digests.map(|item| match item {
        _ if is_cancelled() => Err(Stop::Error(Error::Interrupted)),
        Ok((chunk, digest)) => Ok((chunk, map.within(chunk).collect::<Vec<Extent>>(), digest)),
        Err(error) => Err(Stop::Error(error)),
    });
    let pool = Pool::new(CHUNK_LEN);
    let mut whole = Whole::default();
    let ended = pipeline::run(
        threads,
        tasks,
        |(chunk, extents, expected)| {
            let mut content = pool.take();
            let read_bytes = read_data(target, chunk, &extents, &mut content)
                .map_err(|error| Stop::Error(Error::Target(error)))?;
            let found = digest_of(chunk, &extents, &content, None);
            Ok((chunk, read_bytes, expected, found))
        },
        |(chunk, read_bytes, expected, found): (Extent, u64, Digest, Digest)| {
            checked.read_bytes = checked.read_bytes.saturating_add(read_bytes);
            whole.push(found);
            match found == expected {
                true => Ok(()),
                false => Err(Stop::Differs(chunk)),
            }
        },
    );
    checked.drift = match ended {
        Err(Stop::Error(error)) => return Err(error),
        Err(Stop::Differs(chunk)) => Some(Drift::In(chunk)),
        Ok(()) => {
            let stated = record.manifest.metadata_digest.map(|digest| digest.0);
            (stated != Some(whole.finish())).then_some(Drift::Record)
        }
    };
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::{Drift, DriftCheck, check};
    use crate::Error;
    use crate::chunk::{CHUNK_BYTES, Digest};
    use crate::hex::Hex;
    use crate::record::{Manifest, Record, RecordStore, digest_of, sample};
    use klon_partition::device::MemoryDevice;
    use klon_partition::{Extent, ExtentMap, Identity, WriteAt};
    use std::num::NonZeroUsize;

    const THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();
    const SIZE_BYTES: u64 = 5 * CHUNK_BYTES / 2;

    fn extent(offset_bytes: u64, len_bytes: u64) -> Extent {
        Extent::new(offset_bytes, len_bytes).unwrap()
    }

    /// Part of the first chunk, all of the second, and the rest that is no whole chunk.
    fn metadata() -> ExtentMap {
        let extents = [
            (512, 512),
            (9000, 1),
            (CHUNK_BYTES, SIZE_BYTES - CHUNK_BYTES),
        ];
        extents
            .map(|(offset, len)| extent(offset, len))
            .into_iter()
            .collect()
    }

    fn content() -> Vec<u8> {
        (0..SIZE_BYTES).map(|at| (at % 251) as u8).collect()
    }

    fn record(directory: &std::path::Path, is_stated_right: bool) -> Record {
        let store = RecordStore::new(directory.to_owned());
        let target = Identity::Path("/target".to_owned());
        let mut writer = store.begin(&target, 3).unwrap();
        let mut digests = writer.begin_metadata(metadata()).unwrap();
        for chunk in crate::chunk::chunks(&metadata(), SIZE_BYTES) {
            writer.push(Digest([0; 32])).unwrap();
            let start = usize::try_from(chunk.offset_bytes()).unwrap();
            let len = usize::try_from(chunk.len_bytes()).unwrap();
            let extents: Vec<Extent> = metadata().within(chunk).collect();
            let content = &content()[start..start + len];
            let digest = digest_of(chunk, &extents, content, None);
            let whole = digest_of(chunk, &extents, content, Some(Digest::of(content)));
            assert_eq!(digest, whole, "the shortcut");
            digests.push(digest).unwrap();
        }
        let mut metadata_digest = digests.digest();
        metadata_digest[5] ^= u8::from(!is_stated_right);
        let manifest = Manifest {
            source_bytes: SIZE_BYTES,
            target_bytes: SIZE_BYTES,
            token: Some(Hex([1; 32])),
            metadata_digest: Some(Hex(metadata_digest)),
            ..sample::manifest(&target)
        };
        writer.keep_metadata(digests);
        let none = ExtentMap::new();
        let data = ExtentMap::whole(SIZE_BYTES);
        writer.into_place(&manifest, &data, &none, &none).unwrap();
        store.load(&target).unwrap().unwrap()
    }

    fn checked(target: &MemoryDevice, record: &Record) -> DriftCheck {
        check(target, record, THREADS, &|| false).unwrap()
    }

    #[test]
    fn every_changed_byte_of_metadata_is_found_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let record = record(directory.path(), true);
        let target = MemoryDevice::new(content(), 512);
        let equal = checked(&target, &record);
        assert_eq!(equal.drift, None);
        assert!(equal.read_bytes >= metadata().total_bytes());
        for at in [0, 511, 1024, 8999, 9001, CHUNK_BYTES - 1] {
            target.write_all_at(&[255], at).unwrap();
            assert_eq!(checked(&target, &record).drift, None, "byte {at}");
        }
        let chunks = [
            (SIZE_BYTES - 1, extent(2 * CHUNK_BYTES, CHUNK_BYTES / 2)),
            (2 * CHUNK_BYTES - 1, extent(CHUNK_BYTES, CHUNK_BYTES)),
            (9000, extent(0, CHUNK_BYTES)),
        ];
        for (at, chunk) in chunks {
            target.write_all_at(&[255], at).unwrap();
            let drift = checked(&target, &record).drift;
            assert_eq!(drift, Some(Drift::In(chunk)), "byte {at}");
        }
    }

    #[test]
    fn a_record_whose_digests_contradict_each_other_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let record = record(directory.path(), false);
        let target = MemoryDevice::new(content(), 512);
        assert_eq!(checked(&target, &record).drift, Some(Drift::Record));
    }

    #[test]
    fn a_check_can_be_interrupted() {
        let directory = tempfile::tempdir().unwrap();
        let record = record(directory.path(), true);
        let target = MemoryDevice::new(content(), 512);
        let ended = check(&target, &record, THREADS, &|| true);
        assert!(matches!(ended, Err(Error::Interrupted)));
    }
}
