//! Whether what is on a target is worth reading before it is overwritten.

use crate::jobs::VolumeJob;
use anyhow::Result;
use klon_imaging::change::Rung;
use klon_imaging::{CHUNK_BYTES, Digest};
use klon_partition::{Extent, ReadAt};

/// Chunks that are looked at.
const LOOKS: usize = 32;

/// The rung for a target without a record that is of use, and why.
pub(super) fn rung(job: &VolumeJob) -> Result<Option<(Rung, &'static str)>> {
    let (Some(source), Some(now)) = (&job.source, &job.target.now) else {
        return Ok(None);
    };
    let source: &dyn ReadAt = &*source.device;
    let target: &dyn ReadAt = &*now.open.device;
    let size_bytes = source.geometry().size_bytes;
    let Some(whole) = Extent::new(0, size_bytes) else {
        return Ok(None);
    };
    // Whole chunks, all of which is in the image.
    let data = source.data(whole)?;
    let whole_chunks = data.iter().flat_map(|extent| {
        let first = extent.offset_bytes().div_ceil(CHUNK_BYTES);
        let end = extent.end_bytes() / CHUNK_BYTES;
        (first..end).filter_map(|number| Extent::new(number * CHUNK_BYTES, CHUNK_BYTES))
    });
    let chunks: Vec<Extent> = whole_chunks.collect();
    let step = chunks.len().div_ceil(LOOKS).max(1);
    let mut buffer = vec![0; usize::try_from(CHUNK_BYTES).unwrap_or(0)];
    for chunk in chunks.into_iter().step_by(step) {
        if chunk.end_bytes() > target.geometry().size_bytes {
            break;
        }
        let digest = match source.sha256(chunk)? {
            Some(digest) => digest,
            None => match source.read_exact_at(&mut buffer, chunk.offset_bytes()) {
                Ok(()) => Digest::of(&buffer).0,
                // Damage is told where it is in the way.
                Err(_) => continue,
            },
        };
        target.read_exact_at(&mut buffer, chunk.offset_bytes())?;
        if Digest::of(&buffer).0 == digest {
            let reason = "some of it is on the target already";
            return Ok(Some((Rung::Compare, reason)));
        }
    }
    Ok(Some((Rung::Full, "none of it is on the target yet")))
}
