//! Reads of a source with bad sectors: counted, timed, and distinguished from reads of a source that
//! is gone.

use super::status::Status;
use crate::chunk::to_len;
use crate::error::{Error, Result};
use klon_partition::{Error as PartitionError, Extent, ReadAt};
use nix::errno::Errno;
use std::time::{Duration, Instant};

/// After this many failures in a row the source may be gone.
const FAILURES_MAX: usize = 16;
/// Places that could be read and are remembered.
const PLACES_MAX: usize = 64;
/// How many of them are tried when the source may be gone; all over it, when there are none.
const TRIES: u64 = 8;
/// Reads up to this size are small.
const SMALL_BYTES: u64 = 64 << 10;
/// How long a small read takes, until one was timed.
const SMALL_READ: Duration = Duration::from_micros(500);

/// The source of a rescue.
pub(super) struct Reader<'a> {
    source: &'a dyn ReadAt,
    places: Places,
    /// What failed since the last read that worked, with the status that it had before.
    suspects: Vec<(Extent, Status)>,
    failures_in_row: usize,
    failed: Timed,
    small: Timed,
    pub(super) read_bytes: u64,
    pub(super) failed_reads: u64,
}

impl<'a> Reader<'a> {
    /// A reader of `source`. An earlier run read what is in `good`.
    pub(super) fn new(source: &'a dyn ReadAt, good: impl Iterator<Item = Extent>) -> Self {
        let mut places = Places::default();
        good.for_each(|extent| places.add(extent));
        Self {
            source,
            places,
            suspects: Vec::new(),
            failures_in_row: 0,
            failed: Timed::default(),
            small: Timed::default(),
            read_bytes: 0,
            failed_reads: 0,
        }
    }

    /// Reads `extents`, whose status is `from`, by `read`, which returns how many bytes that were.
    /// False when a sector of them is bad.
    ///
    /// # Errors
    /// [`Error::Source`] and [`Error::SourceGone`]: nothing is known of its sectors.
    pub(super) fn read(
        &mut self,
        from: Status,
        extents: &[Extent],
        read: impl FnOnce(&dyn ReadAt) -> klon_partition::Result<u64>,
    ) -> Result<bool> {
        let started = Instant::now();
        match read(self.source) {
            Ok(read_bytes) => {
                self.read_bytes = self.read_bytes.saturating_add(read_bytes);
                if read_bytes <= SMALL_BYTES {
                    self.small.add(started.elapsed());
                }
                if let Some(&extent) = extents.first() {
                    self.places.add(extent);
                }
                self.believe();
                Ok(true)
            }
            Err(PartitionError::Io { source, .. }) => {
                self.failed.add(started.elapsed());
                self.failed_reads = self.failed_reads.saturating_add(1);
                self.failures_in_row = self.failures_in_row.saturating_add(1);
                let suspects = extents.iter().map(|&extent| (extent, from));
                self.suspects.extend(suspects);
                if self.failures_in_row >= FAILURES_MAX || is_of_device(&source) {
                    self.check()?;
                }
                Ok(false)
            }
            Err(error) => Err(Error::Source(error)),
        }
    }

    /// Makes sure that the last failures are bad sectors, not a source that is gone.
    ///
    /// # Errors
    /// [`Error::SourceGone`].
    pub(super) fn check(&mut self) -> Result<()> {
        if self.failures_in_row == 0 {
            return Ok(());
        }
        let tries = self.places.some(self.failed_reads);
        let was_read = !tries.is_empty();
        let tries = match was_read {
            true => tries,
            false => self.all_over(),
        };
        let sector_bytes = u64::from(self.source.geometry().logical_sector_bytes.max(1));
        let is_there = tries.iter().any(|&offset_bytes| {
            let mut sector = vec![0; to_len(sector_bytes)];
            self.source.read_exact_at(&mut sector, offset_bytes).is_ok()
        });
        if is_there {
            self.believe();
            return Ok(());
        }
        Err(Error::SourceGone {
            failed_reads: self.failures_in_row as u64,
            places: tries.len() as u64,
            was_read,
        })
    }

    /// Whether pieces are worth reading that save this many reads of sectors: not where a failure
    /// takes longer.
    pub(super) fn is_worth(&self, saved_reads: u32) -> bool {
        let small = self.small.mean().unwrap_or(SMALL_READ);
        let saved = small.saturating_mul(saved_reads);
        self.failed.mean().is_none_or(|failed| failed <= saved)
    }

    /// What must not count as bad when the source is gone, with its status before.
    pub(super) fn suspects(&self) -> impl Iterator<Item = (Extent, Status)> + '_ {
        // What failed twice has the status that it had first.
        self.suspects.iter().rev().copied()
    }

    fn believe(&mut self) {
        self.failures_in_row = 0;
        self.suspects.clear();
    }

    fn all_over(&self) -> Vec<u64> {
        let geometry = self.source.geometry();
        let sector_bytes = u64::from(geometry.logical_sector_bytes.max(1));
        let sectors = geometry.size_bytes / sector_bytes;
        let count = TRIES.saturating_mul(2);
        let place = |number| sectors / count * number * sector_bytes;
        (0..count).map(place).collect()
    }
}

/// Whether the system says that there is no device any more.
fn is_of_device(error: &std::io::Error) -> bool {
    let gone = [Errno::ENXIO, Errno::ENODEV, Errno::ENOMEDIUM];
    let found = error.raw_os_error().map(Errno::from_raw);
    found.is_some_and(|found| gone.contains(&found))
}

/// Some of the places that could be read, spread over all of them.
#[derive(Default)]
struct Places {
    offsets: Vec<u64>,
    /// Of every so many places, one is kept.
    stride: u64,
    seen: u64,
}

impl Places {
    fn add(&mut self, extent: Extent) {
        let is_kept = self.seen.is_multiple_of(self.stride.max(1));
        self.seen = self.seen.saturating_add(1);
        if !is_kept {
            return;
        }
        if self.offsets.len() >= PLACES_MAX {
            let mut number = 0_usize;
            self.offsets.retain(|_| {
                number = number.saturating_add(1);
                number % 2 == 1
            });
            self.stride = self.stride.max(1).saturating_mul(2);
        }
        self.offsets.push(extent.offset_bytes());
    }

    /// A few of the places, different ones each time.
    fn some(&self, seed: u64) -> Vec<u64> {
        let count = self.offsets.len() as u64;
        let number = |at: u64| seed.saturating_add(at * count / TRIES) % count.max(1);
        let places = (0..TRIES.min(count)).filter_map(|at| {
            let index = usize::try_from(number(at)).ok()?;
            self.offsets.get(index).copied()
        });
        places.collect()
    }
}

/// How long reads of a kind take.
#[derive(Default)]
struct Timed {
    total: Duration,
    count: u32,
}

impl Timed {
    fn add(&mut self, took: Duration) {
        self.total = self.total.saturating_add(took);
        self.count = self.count.saturating_add(1);
    }

    fn mean(&self) -> Option<Duration> {
        self.total.checked_div(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::{FAILURES_MAX, PLACES_MAX, Places, Reader, Status};
    use crate::error::Error;
    use klon_partition::Extent;
    use klon_partition::device::{Fault, FaultAt, MemoryDevice};

    const SECTOR: u64 = 512;

    fn read(reader: &mut Reader<'_>, number: u64) -> crate::Result<bool> {
        let extent = Extent::new(number * SECTOR, SECTOR).unwrap();
        reader.read(Status::NonTried, &[extent], |source| {
            source.read_exact_at(&mut [0; 512], extent.offset_bytes())?;
            Ok(SECTOR)
        })
    }

    #[test]
    fn a_source_of_which_nothing_can_be_read_is_gone_after_a_few_reads() {
        let all = Extent::new(0, 1 << 20).unwrap();
        let source = FaultAt::new(MemoryDevice::zeroed(1 << 20), Some(Fault::Unreadable(all)));
        for (earlier, was_there) in [(None, false), (Extent::new(4096, 4096), true)] {
            let mut reader = Reader::new(&source, earlier.into_iter());
            let found = (0..1000).find_map(|number| read(&mut reader, number).err());
            let Some(Error::SourceGone { was_read, .. }) = found else {
                panic!("{found:?}");
            };
            assert_eq!(was_read, was_there);
            assert_eq!(reader.failed_reads, FAILURES_MAX as u64);
            assert_eq!(reader.suspects().count(), FAILURES_MAX);
        }
    }

    #[test]
    fn a_long_bad_range_is_no_source_that_is_gone() {
        let bad = Extent::new(1 << 19, 1 << 18).unwrap();
        let source = FaultAt::new(MemoryDevice::zeroed(1 << 20), Some(Fault::Unreadable(bad)));
        let mut reader = Reader::new(&source, std::iter::empty());
        for number in 0..2048 {
            let is_good = read(&mut reader, number).unwrap();
            assert_eq!(is_good, !(1024..1536).contains(&number));
        }
        reader.check().unwrap();
        assert_eq!(reader.failed_reads, 512);
    }

    #[test]
    fn places_are_few_and_of_all_that_was_read() {
        let mut places = Places::default();
        for number in 0..100_000_u64 {
            places.add(Extent::new(number << 20, 1).unwrap());
        }
        assert!(places.offsets.len() <= PLACES_MAX && places.offsets.len() >= PLACES_MAX / 2);
        assert_eq!(places.offsets[0], 0);
        assert!(*places.offsets.last().unwrap() > 90_000 << 20);
        assert_eq!(places.some(3).len(), 8);
    }
}
