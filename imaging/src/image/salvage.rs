//! A snapshot of a damaged image as a device: damaged chunks read as zeroes, and are noted.

use super::device::SnapshotDevice;
use super::snapshot::Snapshot;
use crate::chunk::{Digest, range_in, to_len};
use klon_partition::device::check_range;
use klon_partition::error::Operation;
use klon_partition::locks::lock;
use klon_partition::{Error, Extent, ExtentMap, Geometry, ReadAt, Result};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// How many reasons for damage are kept.
const REASONS_MAX: usize = 20;

/// What counts as damage, beside frames that fail their checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Only failed checks. An image that can't be read is an error: a restore must not take a
    /// detached drive for zeroes.
    Stop,
    /// Failed checks, and what can't be read.
    Damage,
}

/// The damage that was found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// The chunks that were read and are lost, as extents of what was imaged.
    pub extents: ExtentMap,
    /// What is wrong with their frames, the first of them.
    pub reasons: Vec<String>,
}

/// A snapshot as a device, with zeroes in place of damaged chunks.
pub struct SalvageDevice {
    device: SnapshotDevice,
    unreadable: Unreadable,
    elsewhere: Option<Elsewhere>,
    met: Mutex<Met>,
}

/// A device that may still have chunks which the image lost.
struct Elsewhere {
    device: Arc<dyn ReadAt>,
    /// Where in what was imaged the device begins.
    start_bytes: u64,
}

/// What was found so far.
#[derive(Default)]
struct Met {
    /// Numbers of chunks.
    chunks: BTreeSet<u64>,
    reasons: Vec<String>,
}

impl SalvageDevice {
    /// The device that was imaged, as far as the image still has it.
    #[must_use]
    pub fn new(snapshot: Arc<Snapshot>, unreadable: Unreadable) -> Self {
        Self {
            device: SnapshotDevice::new(snapshot),
            unreadable,
            elsewhere: None,
            met: Mutex::default(),
        }
    }

    /// Takes damaged chunks from `device` where it has them, which their digests show. The device
    /// begins at `start_bytes` of what was imaged. The target of the restore may be such a device.
    #[must_use]
    pub fn or_from(mut self, device: Arc<dyn ReadAt>, start_bytes: u64) -> Self {
        self.elsewhere = Some(Elsewhere {
            device,
            start_bytes,
        });
        self
    }

    /// The snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        self.device.snapshot()
    }

    /// The damage found since the device was opened, or since [`forget`](Self::forget).
    #[must_use]
    pub fn damage(&self) -> Damage {
        let met = lock(&self.met);
        let chunks = met.chunks.iter();
        Damage {
            extents: chunks
                .filter_map(|&number| self.snapshot().chunk(number))
                .collect(),
            reasons: met.reasons.clone(),
        }
    }

    /// The parts of `within` that were read so far and came as zeroes.
    #[must_use]
    pub fn lost(&self, within: Extent) -> ExtentMap {
        let size = self.snapshot().chunk_size();
        let numbers = size.index(within.offset_bytes())..=size.index(within.end_bytes());
        let met = lock(&self.met);
        let chunks = met.chunks.range(numbers);
        let read: ExtentMap = chunks
            .filter_map(|&number| self.snapshot().chunk(number)?.intersection(within))
            .collect();
        // What was zero is zero whatever became of its chunk.
        read.intersection(&self.snapshot().manifest().data)
    }

    /// Forgets the damage found so far, for callers that only looked at the device.
    pub fn forget(&self) {
        *lock(&self.met) = Met::default();
    }

    /// Whether `error` is damage that can be read around.
    const fn is_damage(&self, error: &Error) -> bool {
        match error {
            Error::Corrupt(_) => true,
            Error::Io { .. } => matches!(self.unreadable, Unreadable::Damage),
            _ => false,
        }
    }

    fn note(&self, number: u64, error: &Error) {
        let mut met = lock(&self.met);
        if met.chunks.insert(number) && met.reasons.len() < REASONS_MAX {
            met.reasons.push(error.to_string());
        }
    }

    /// Reads a part of a chunk from the other device, if that has the chunk.
    fn take_elsewhere(&self, number: u64, part: Extent, out: &mut [u8]) -> Option<()> {
        let elsewhere = self.elsewhere.as_ref()?;
        let snapshot = self.snapshot();
        // A damaged page has no digests.
        let digest = snapshot.digest(number).ok()??;
        let chunk = snapshot.chunk(number)?;
        let mut content = vec![0; to_len(chunk.len_bytes())];
        for data in snapshot.manifest().data.within(chunk) {
            let offset_bytes = data.offset_bytes().checked_sub(elsewhere.start_bytes)?;
            let bytes = &mut content[range_in(chunk, data)];
            elsewhere.device.read_exact_at(bytes, offset_bytes).ok()?;
        }
        (Digest::of(&content) == digest)
            .then(|| out.copy_from_slice(&content[range_in(chunk, part)]))
    }

    fn read_part(&self, part: Extent, out: &mut [u8]) -> Result<()> {
        match self.device.read_exact_at(out, part.offset_bytes()) {
            Err(error) if self.is_damage(&error) => {
                let number = self.snapshot().chunk_size().index(part.offset_bytes());
                if self.take_elsewhere(number, part, out).is_none() {
                    self.note(number, &error);
                    out.fill(0);
                }
                Ok(())
            }
            read => read,
        }
    }
}

impl ReadAt for SalvageDevice {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        check_range(self.geometry(), Operation::Read, offset_bytes, buffer.len())?;
        let Some(all) = Extent::new(offset_bytes, buffer.len() as u64) else {
            return Ok(());
        };
        let mut rest = buffer;
        // Damage of one chunk leaves its neighbors readable.
        for part in all.split(self.snapshot().chunk_size().bytes()) {
            let len = usize::try_from(part.len_bytes()).unwrap_or(0);
            let (out, behind) = rest.split_at_mut(len);
            self.read_part(part, out)?;
            rest = behind;
        }
        Ok(())
    }

    fn sha256(&self, extent: Extent) -> Result<Option<[u8; 32]>> {
        match self.device.sha256(extent) {
            // The same damage is found again when the chunk is read.
            Err(error) if self.is_damage(&error) => Ok(None),
            found => found,
        }
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        self.device.data(within)
    }
}

/// Where a source lies on a salvaged device, which says what of the source is lost.
#[derive(Clone)]
pub struct Salvaged {
    device: Arc<SalvageDevice>,
    /// Where the source lies in what was imaged.
    at: Extent,
    /// The bytes of the source that are read from elsewhere.
    replaced: ExtentMap,
}

impl Salvaged {
    /// The source that lies `at` in what was imaged.
    #[must_use]
    pub const fn new(device: Arc<SalvageDevice>, at: Extent) -> Self {
        Self {
            device,
            at,
            replaced: ExtentMap::new(),
        }
    }

    /// Notes that `replaced` is read from elsewhere, not from this source.
    pub fn replace(&mut self, replaced: &ExtentMap) {
        self.replaced = self.replaced.union(replaced);
    }

    /// The parts of the source that were read so far and came as zeroes, because the image no longer
    /// has what was there.
    #[must_use]
    pub fn lost(&self) -> ExtentMap {
        let in_source = |extent: Extent| {
            let offset_bytes = extent.offset_bytes().checked_sub(self.at.offset_bytes())?;
            Extent::new(offset_bytes, extent.len_bytes())
        };
        let lost = self.device.lost(self.at);
        let lost: ExtentMap = lost.iter().filter_map(in_source).collect();
        lost.difference(&self.replaced)
    }
}
