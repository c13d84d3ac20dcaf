//! A device that fails on demand: the n-th operation, alone or with everything after it, or the
//! reads of a bad place.

use super::{Geometry, ReadAt, WriteAt};
use crate::error::{Error, Operation, Result};
use crate::extent::{Extent, ExtentMap};
use std::sync::atomic::{AtomicU64, Ordering};

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation of this number (from 0) and no other.
    Transient(u64),
    /// The operation of this number (from 0) and all after it.
    Persistent(u64),
    /// As [`Fault::Persistent`]; if that operation is a write, its first half is done.
    Torn(u64),
    /// As [`Fault::Torn`], but in whole sectors of 512 bytes, as drives write them.
    TornAtSector(u64),
    /// Every read of a byte of these, as on a disk with bad sectors; nothing else.
    Unreadable(Extent),
}

/// A device whose reads, writes, zeroings, discards and syncs are counted, and fail as told.
#[derive(Debug)]
pub struct FaultAt<D> {
    device: D,
    fault: Option<Fault>,
    operations: AtomicU64,
    failures: AtomicU64,
}

impl<D> FaultAt<D> {
    /// `device`, failing as `fault` says; counting alone without one.
    #[must_use]
    pub const fn new(device: D, fault: Option<Fault>) -> Self {
        Self {
            device,
            fault,
            operations: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// The device beneath.
    #[must_use]
    pub const fn device(&self) -> &D {
        &self.device
    }

    /// How many operations were tried, those that failed included.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::SeqCst)
    }

    /// Whether an operation was made to fail.
    #[must_use]
    pub fn has_tripped(&self) -> bool {
        self.failures.load(Ordering::SeqCst) > 0
    }

    /// Counts an operation; how it is to fail, if it is.
    fn step(&self, operation: Operation, range: Range) -> Option<Failure> {
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        let failure = match self.fault? {
            Fault::Transient(at) if number == at => Failure::Whole,
            Fault::Torn(at) if number == at => Failure::Torn { unit: 1 },
            Fault::TornAtSector(at) if number == at => Failure::Torn { unit: 512 },
            Fault::Persistent(at) | Fault::Torn(at) | Fault::TornAtSector(at) if number >= at => {
                Failure::Whole
            }
            Fault::Unreadable(bad) if operation == Operation::Read => {
                Extent::new(range.offset_bytes, range.len_bytes)?.intersection(bad)?;
                Failure::Whole
            }
            _ => return None,
        };
        self.failures.fetch_add(1, Ordering::SeqCst);
        Some(failure)
    }

    fn run(
        &self,
        operation: Operation,
        range: Range,
        run: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        match self.step(operation, range) {
            None => run(),
            Some(_) => Err(injected(operation, range)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Whole,
    /// The first half is done, in units of so many bytes.
    Torn {
        unit: usize,
    },
}

/// The bytes of an operation; a sync has none.
#[derive(Clone, Copy, Debug)]
struct Range {
    offset_bytes: u64,
    len_bytes: u64,
}

impl Range {
    const fn new(offset_bytes: u64, len: usize) -> Self {
        Self {
            offset_bytes,
            len_bytes: len as u64,
        }
    }
}

impl From<Extent> for Range {
    fn from(extent: Extent) -> Self {
        Self {
            offset_bytes: extent.offset_bytes(),
            len_bytes: extent.len_bytes(),
        }
    }
}

fn injected(operation: Operation, range: Range) -> Error {
    let source = std::io::Error::other("injected fault");
    Error::io(operation, range.offset_bytes, range.len_bytes, source)
}

impl<D: ReadAt> ReadAt for FaultAt<D> {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        let range = Range::new(offset_bytes, buffer.len());
        self.run(Operation::Read, range, || {
            self.device.read_exact_at(buffer, offset_bytes)
        })
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        self.device.data(within)
    }
}

impl<D: WriteAt> WriteAt for FaultAt<D> {
    fn write_all_at(&self, data: &[u8], offset_bytes: u64) -> Result<()> {
        let range = Range::new(offset_bytes, data.len());
        let failure = self.step(Operation::Write, range);
        let done = match failure {
            None => data,
            Some(Failure::Torn { unit }) => &data[..data.len() / 2 / unit * unit],
            Some(Failure::Whole) => &[],
        };
        if !done.is_empty() {
            self.device.write_all_at(done, offset_bytes)?;
        }
        match failure {
            None => Ok(()),
            Some(_) => Err(injected(Operation::Write, range)),
        }
    }

    fn zero(&self, extent: Extent) -> Result<()> {
        self.run(Operation::Zero, extent.into(), || self.device.zero(extent))
    }

    fn discard(&self, extent: Extent) -> Result<()> {
        self.run(Operation::Discard, extent.into(), || {
            self.device.discard(extent)
        })
    }

    fn sync(&self) -> Result<()> {
        self.run(Operation::Sync, Range::new(0, 0), || self.device.sync())
    }
}

/// Runs `attempt` with the first operation failing, then the second, until one run has met no
/// fault; returns how many operations that run took.
///
/// `attempt` gets the fault, makes a fresh [`FaultAt`] with it, does its work, checks what it
/// must, and says how that device ended: `(has_tripped, operations)`.
pub fn sweep(make: fn(u64) -> Fault, mut attempt: impl FnMut(Fault) -> (bool, u64)) -> u64 {
    let mut number = 0;
    loop {
        let (has_tripped, operations) = attempt(make(number));
        if !has_tripped {
            return operations;
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, FaultAt, sweep};
    use crate::device::{MemoryDevice, ReadAt, WriteAt};
    use crate::extent::Extent;

    fn outcome(fault: Fault) -> (Vec<bool>, Vec<u8>) {
        let device = FaultAt::new(MemoryDevice::zeroed(8), Some(fault));
        let results = vec![
            device.write_all_at(&[1; 4], 0).is_ok(),
            device.write_all_at(&[2; 4], 4).is_ok(),
            device.zero(Extent::new(0, 1).unwrap()).is_ok(),
            device.read_exact_at(&mut [0; 8], 0).is_ok(),
            device.sync().is_ok(),
        ];
        (results, device.device().to_vec())
    }

    #[test]
    fn faults_hit_the_operations_they_name() {
        let (results, bytes) = outcome(Fault::Transient(1));
        assert_eq!(results, [true, false, true, true, true]);
        assert_eq!(bytes, [0, 1, 1, 1, 0, 0, 0, 0]);
        let (results, bytes) = outcome(Fault::Persistent(1));
        assert_eq!(results, [true, false, false, false, false]);
        assert_eq!(bytes, [1, 1, 1, 1, 0, 0, 0, 0]);
        let (results, bytes) = outcome(Fault::Torn(1));
        assert_eq!(results, [true, false, false, false, false]);
        assert_eq!(bytes, [1, 1, 1, 1, 2, 2, 0, 0]);
    }

    #[test]
    fn a_bad_place_fails_reads_of_it_alone() {
        let bad = Extent::new(3, 2).unwrap();
        let device = FaultAt::new(MemoryDevice::zeroed(8), Some(Fault::Unreadable(bad)));
        let fails = |at, len| device.read_exact_at(&mut vec![0; len], at).is_err();
        assert!(!fails(0, 3) && !fails(5, 3));
        assert!(fails(0, 8) && fails(2, 2) && fails(4, 1));
        assert!(device.write_all_at(&[1; 8], 0).is_ok() && device.sync().is_ok());
    }

    #[test]
    fn a_sweep_fails_each_operation_once_and_ends() {
        let mut failed = Vec::new();
        let operations = sweep(Fault::Persistent, |fault| {
            let device = FaultAt::new(MemoryDevice::zeroed(8), Some(fault));
            let result = (0..5).try_for_each(|at| device.write_all_at(&[1], at));
            failed.push(result.is_err());
            (device.has_tripped(), device.operations())
        });
        assert_eq!(operations, 5);
        assert_eq!(failed, [true, true, true, true, true, false]);
    }
}
