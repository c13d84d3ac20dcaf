//! A snapshot as a device: what was imaged, to be read at any place.

use super::chunk_cache::{Check, Piece};
use super::snapshot::Snapshot;
use klon_partition::device::check_range;
use klon_partition::error::Operation;
use klon_partition::{Error, Extent, ExtentMap, Geometry, ReadAt, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// How much is unpacked ahead of a reader that goes from chunk to chunk in pieces; at least one
/// chunk.
const AHEAD_BYTES: u64 = 1 << 20;
/// No chunk was read yet.
const NONE: u64 = u64::MAX;

/// A snapshot as a device. Each chunk's digest is checked when it is read.
pub struct SnapshotDevice(Arc<Inner>);

struct Inner {
    snapshot: Arc<Snapshot>,
    check: Check,
    /// The chunk of the last read.
    last: AtomicU64,
    /// Whether a thread is reading ahead.
    is_ahead: AtomicBool,
}

impl SnapshotDevice {
    /// The device that was imaged, as it was then.
    #[must_use]
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        Self::checked_by(snapshot, Check::Digest)
    }

    /// The device for many small reads at any place. The first piece of a chunk is checked by the checksum of
    /// the stored bytes, which takes a fraction of the time. Whole chunks, and further pieces, are checked by
    /// their digest.
    #[must_use]
    pub fn for_pieces(snapshot: Arc<Snapshot>) -> Self {
        Self::checked_by(snapshot, Check::Stored)
    }

    fn checked_by(snapshot: Arc<Snapshot>, check: Check) -> Self {
        Self(Arc::new(Inner {
            snapshot,
            check,
            last: AtomicU64::new(NONE),
            is_ahead: AtomicBool::new(false),
        }))
    }

    /// The snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.0.snapshot
    }

    fn read_part(&self, number: u64, chunk: Extent, part: Extent, out: &mut [u8]) -> Result<()> {
        let snapshot = &self.0.snapshot;
        let Some(reference) = snapshot.reference(number)? else {
            out.fill(0);
            return Ok(());
        };
        if part == chunk || reference.is_zero() {
            return snapshot.read_chunk(&reference, out);
        }
        let start = usize::try_from(part.offset_bytes() - chunk.offset_bytes()).unwrap_or(0);
        let last = self.0.last.swap(number, Ordering::Relaxed);
        // Most of what follows another chunk will be read whole.
        let (check, is_next) = match last != NONE && last.checked_add(1) == Some(number) {
            true => (Check::Digest, true),
            false => (self.0.check, false),
        };
        if is_next {
            self.read_ahead(number);
        }
        let image = snapshot.image();
        let piece = Piece {
            reference: &reference,
            start,
            check,
        };
        image.chunk_cache().copy(image, piece, out)
    }

    /// Unpacks the next chunks in the background, unless a thread does so already.
    fn read_ahead(&self, number: u64) {
        if self.0.is_ahead.swap(true, Ordering::Acquire) {
            return;
        }
        let inner = Arc::clone(&self.0);
        let work = move || {
            inner.prepare(number);
            inner.is_ahead.store(false, Ordering::Release);
        };
        // Without a thread, reads are only slower.
        if thread::Builder::new()
            .name("ahead".to_owned())
            .spawn(work)
            .is_err()
        {
            self.0.is_ahead.store(false, Ordering::Release);
        }
    }
}

impl Inner {
    fn prepare(&self, number: u64) {
        let count = (AHEAD_BYTES / self.snapshot.chunk_size().bytes()).max(1);
        let image = self.snapshot.image();
        for next in (1..=count).filter_map(|step| number.checked_add(step)) {
            // Damage is reported when the chunk is read.
            let Ok(Some(reference)) = self.snapshot.reference(next) else {
                return;
            };
            if !reference.is_zero() && image.chunk_cache().prepare(image, &reference).is_err() {
                return;
            }
        }
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
        let meta = self.0.snapshot.meta();
        Geometry::new(meta.source_bytes, meta.sector_bytes)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        check_range(self.geometry(), Operation::Read, offset_bytes, buffer.len())?;
        let Some(all) = Extent::new(offset_bytes, buffer.len() as u64) else {
            return Ok(());
        };
        let snapshot = &self.0.snapshot;
        let mut rest = buffer;
        let size = snapshot.chunk_size();
        for part in all.split(size.bytes()) {
            let number = size.index(part.offset_bytes());
            let len = usize::try_from(part.len_bytes()).unwrap_or(0);
            let (out, behind) = rest.split_at_mut(len);
            // Within the device there is a chunk everywhere.
            if let Some(chunk) = snapshot.chunk(number) {
                let read = self.read_part(number, chunk, part, out);
                read.map_err(|error| placed(error, chunk))?;
            }
            rest = behind;
        }
        Ok(())
    }

    fn sha256(&self, extent: Extent) -> Result<Option<[u8; 32]>> {
        let snapshot = &self.0.snapshot;
        let number = snapshot.chunk_size().index(extent.offset_bytes());
        if snapshot.chunk(number) != Some(extent) {
            return Ok(None);
        }
        Ok(snapshot.digest(number)?.map(|digest| digest.0))
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        let snapshot = &self.0.snapshot;
        Ok(snapshot.manifest().data.within(within).collect())
    }
}
