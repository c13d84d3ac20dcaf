//! A snapshot as a device: what was imaged, to be read at any place.

use super::snapshot::Snapshot;
use bytes::Bytes;
use klon_partition::device::check_range;
use klon_partition::error::Operation;
use klon_partition::{Error, Extent, ExtentMap, Geometry, ReadAt, Result};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Chunks that are kept at hand, for those who read in small pieces.
const CHUNKS_KEPT: usize = 8;
/// Chunks that are unpacked at the same time.
const TURNS: usize = 16;

/// A snapshot as a device. Each chunk's digest is checked when it is read.
pub struct SnapshotDevice {
    snapshot: Arc<Snapshot>,
    kept: Mutex<VecDeque<(u64, Bytes)>>,
    /// Of several who read the same chunk in pieces, one unpacks it.
    turns: [Mutex<()>; TURNS],
}

impl SnapshotDevice {
    /// The device that was imaged, as it was then.
    #[must_use]
    pub const fn new(snapshot: Arc<Snapshot>) -> Self {
        Self {
            snapshot,
            kept: Mutex::new(VecDeque::new()),
            turns: [const { Mutex::new(()) }; TURNS],
        }
    }

    /// The snapshot.
    #[must_use]
    pub const fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    fn read_part(&self, number: u64, chunk: Extent, part: Extent, out: &mut [u8]) -> Result<()> {
        let start = usize::try_from(part.offset_bytes() - chunk.offset_bytes()).unwrap_or(0);
        if self.copy_kept(number, start, out) {
            return Ok(());
        }
        let Some(reference) = self.snapshot.reference(number)? else {
            out.fill(0);
            return Ok(());
        };
        if part == chunk {
            return self.snapshot.read_chunk(&reference, out);
        }
        let turn = usize::try_from(number % TURNS as u64).unwrap_or(0);
        let _turn = self.turns[turn]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.copy_kept(number, start, out) {
            return Ok(());
        }
        let mut content = vec![0; usize::try_from(chunk.len_bytes()).unwrap_or(0)];
        self.snapshot.read_chunk(&reference, &mut content)?;
        out.copy_from_slice(&content[start..start + out.len()]);
        self.keep(number, content.into());
        Ok(())
    }

    /// Copies a part of a chunk that is at hand; says whether it is.
    fn copy_kept(&self, number: u64, start: usize, out: &mut [u8]) -> bool {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|kept| kept.0 == number);
        let content = found.map(|(_, content)| content.clone());
        // Others need not wait for the copy.
        drop(kept);
        if let Some(content) = &content {
            out.copy_from_slice(&content[start..start + out.len()]);
        }
        content.is_some()
    }

    fn keep(&self, number: u64, content: Bytes) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == CHUNKS_KEPT {
            kept.pop_front();
        }
        kept.push_back((number, content));
    }
}

/// A damaged chunk is named by its place in what was imaged, too.
fn placed(error: Error, chunk: Extent) -> Error {
    match error {
        Error::Corrupt(mut corrupt) => {
            corrupt.found.push_str(&format!(
                "; it holds bytes {:#x} to {:#x} of what was imaged",
                chunk.offset_bytes(),
                chunk.end_bytes() - 1
            ));
            corrupt.into()
        }
        error => error,
    }
}

impl ReadAt for SnapshotDevice {
    fn geometry(&self) -> Geometry {
        let meta = self.snapshot.meta();
        Geometry::new(meta.source_bytes, meta.sector_bytes)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        check_range(self.geometry(), Operation::Read, offset_bytes, buffer.len())?;
        let Some(all) = Extent::new(offset_bytes, buffer.len() as u64) else {
            return Ok(());
        };
        let mut rest = buffer;
        for part in all.split(self.snapshot.chunk_bytes()) {
            let number = part.offset_bytes() / self.snapshot.chunk_bytes();
            let len = usize::try_from(part.len_bytes()).unwrap_or(0);
            let (out, behind) = rest.split_at_mut(len);
            // Within the device there is a chunk everywhere.
            if let Some(chunk) = self.snapshot.chunk(number) {
                let read = self.read_part(number, chunk, part, out);
                read.map_err(|error| placed(error, chunk))?;
            }
            rest = behind;
        }
        Ok(())
    }

    fn sha256(&self, extent: Extent) -> Result<Option<[u8; 32]>> {
        let number = extent.offset_bytes() / self.snapshot.chunk_bytes();
        if self.snapshot.chunk(number) != Some(extent) {
            return Ok(None);
        }
        Ok(self.snapshot.digest(number)?.map(|digest| digest.0))
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        Ok(self.snapshot.manifest().data.within(within).collect())
    }
}
