//! Whether what is on a target is worth reading before it is overwritten.

use crate::{CHUNK_BYTES, Digest};
use klon_partition::{Extent, ReadAt, Result};

/// Chunks that are looked at.
const LOOKS: usize = 32;

/// Whether one of 32 chunks of `source`, evenly apart, is on `target` already, at the same place;
/// `None` for a source without bytes.
///
/// # Errors
/// [`klon_partition::Error::Io`] when a device fails. A chunk of the source that can't be
/// read is passed over: the run that reads all of it says where the damage is.
pub fn resembles(source: &dyn ReadAt, target: &dyn ReadAt) -> Result<Option<bool>> {
    let Some(whole) = Extent::new(0, source.geometry().size_bytes) else {
        return Ok(None);
    };
    let target_bytes = target.geometry().size_bytes;
    let chunks = whole_chunks(source, whole)?;
    let step = chunks.len().div_ceil(LOOKS).max(1);
    let mut buffer = vec![0; usize::try_from(CHUNK_BYTES).unwrap_or(0)];
    for chunk in chunks.into_iter().step_by(step) {
        if chunk.end_bytes() > target_bytes {
            break;
        }
        let Some(digest) = digest(source, chunk, &mut buffer)? else {
            continue;
        };
        target.read_exact_at(&mut buffer, chunk.offset_bytes())?;
        if Digest::of(&buffer).0 == digest {
            return Ok(Some(true));
        }
    }
    Ok(Some(false))
}

/// The chunks whose bytes the source has all.
fn whole_chunks(source: &dyn ReadAt, whole: Extent) -> Result<Vec<Extent>> {
    let data = source.data(whole)?;
    let chunks = data.iter().flat_map(|extent| {
        let first = extent.offset_bytes().div_ceil(CHUNK_BYTES);
        let end = extent.end_bytes() / CHUNK_BYTES;
        (first..end).filter_map(|number| Extent::new(number * CHUNK_BYTES, CHUNK_BYTES))
    });
    Ok(chunks.collect())
}

/// The digest of a chunk, by reading it where the source does not know it; `None` where it can't be
/// read.
fn digest(source: &dyn ReadAt, chunk: Extent, buffer: &mut [u8]) -> Result<Option<[u8; 32]>> {
    if let Some(known) = source.sha256(chunk)? {
        return Ok(Some(known));
    }
    let read = source.read_exact_at(buffer, chunk.offset_bytes());
    Ok(read.is_ok().then(|| Digest::of(buffer).0))
}

#[cfg(test)]
mod tests {
    use super::resembles;
    use crate::CHUNK_BYTES;
    use klon_partition::device::MemoryDevice;

    fn filled(chunks: &[u8]) -> MemoryDevice {
        let len = usize::try_from(CHUNK_BYTES).unwrap();
        let bytes = chunks.iter().flat_map(|&byte| vec![byte; len]).collect();
        MemoryDevice::new(bytes, 512)
    }

    #[test]
    fn one_chunk_in_its_place_is_enough() {
        let found = resembles(&filled(&[1, 2, 3]), &filled(&[9, 2, 9])).unwrap();
        assert_eq!(found, Some(true));
    }

    #[test]
    fn a_chunk_elsewhere_is_none() {
        let found = resembles(&filled(&[1, 2, 3]), &filled(&[2, 3, 1])).unwrap();
        assert_eq!(found, Some(false));
    }

    #[test]
    fn what_lies_behind_the_target_is_not_looked_at() {
        let found = resembles(&filled(&[1, 2, 3]), &filled(&[9])).unwrap();
        assert_eq!(found, Some(false));
    }
}
