//! A device that remembers what was done to it, in order, and what was in the directory of records
//! meanwhile: from one run comes what a power cut at any point of it may leave.

use crate::support::dice::Dice;
use klon_partition::device::MemoryDevice;
use klon_partition::{Extent, Geometry, ReadAt, Result, WriteAt};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// The files of a directory.
pub(super) type Files = BTreeMap<OsString, Vec<u8>>;

/// The files that are in `directory` now.
pub(super) fn files(directory: &Path) -> Files {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| {
            let content = fs::read(&path).unwrap();
            (path.file_name().unwrap().to_owned(), content)
        })
        .collect()
}

/// Makes `files` the only ones in `directory`.
pub(super) fn put_files(directory: &Path, files: &Files) {
    for entry in fs::read_dir(directory).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (name, content) in files {
        fs::write(directory.join(name), content).unwrap();
    }
}

#[derive(Debug)]
enum Operation {
    Write { start: usize, bytes: Vec<u8> },
    Sync,
}

#[derive(Debug)]
struct Step {
    operation: Operation,
    /// The records when it began.
    records: Arc<Files>,
}

/// The device; reads see everything at once.
#[derive(Debug)]
pub(super) struct Journal {
    before: Vec<u8>,
    live: MemoryDevice,
    directory: PathBuf,
    steps: Mutex<Vec<Step>>,
}

impl Journal {
    /// A device that holds `before`, all of it durable, with the records in `directory`.
    pub(super) fn new(before: Vec<u8>, directory: &Path) -> Self {
        Self {
            live: MemoryDevice::new(before.clone(), 512),
            before,
            directory: directory.to_owned(),
            steps: Mutex::new(Vec::new()),
        }
    }

    /// The run is over: its tape.
    pub(super) fn end(self) -> Tape {
        let records = self.records();
        Tape {
            before: self.before,
            steps: self.steps.into_inner().unwrap(),
            records,
        }
    }

    fn records(&self) -> Arc<Files> {
        let now = files(&self.directory);
        let steps = self.steps.lock().unwrap();
        let last = steps.last().map(|step| &step.records);
        match last.filter(|last| ***last == now) {
            Some(last) => Arc::clone(last),
            None => Arc::new(now),
        }
    }

    fn note(&self, operation: Operation) {
        let records = self.records();
        let step = Step { operation, records };
        self.steps.lock().unwrap().push(step);
    }

    fn change(&self, offset_bytes: u64, bytes: Vec<u8>) -> Result<()> {
        let start = usize::try_from(offset_bytes).unwrap();
        self.live.write_all_at(&bytes, offset_bytes)?;
        self.note(Operation::Write { start, bytes });
        Ok(())
    }
}

impl ReadAt for Journal {
    fn geometry(&self) -> Geometry {
        self.live.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        self.live.read_exact_at(buffer, offset_bytes)
    }
}

impl WriteAt for Journal {
    fn write_all_at(&self, data: &[u8], offset_bytes: u64) -> Result<()> {
        self.change(offset_bytes, data.to_vec())
    }

    fn zero(&self, extent: Extent) -> Result<()> {
        let len = usize::try_from(extent.len_bytes()).unwrap();
        self.change(extent.offset_bytes(), vec![0; len])
    }

    fn discard(&self, extent: Extent) -> Result<()> {
        // Anything may be there then.
        let len = usize::try_from(extent.len_bytes()).unwrap();
        self.change(extent.offset_bytes(), vec![0xdd; len])
    }

    fn sync(&self) -> Result<()> {
        self.note(Operation::Sync);
        Ok(())
    }
}

/// What a power cut leaves.
#[derive(Clone)]
pub(super) struct Cut {
    /// The operation in which it came.
    pub(super) point: usize,
    /// What is on the device.
    pub(super) image: Vec<u8>,
    /// What is in the directory of records.
    pub(super) records: Rc<Files>,
}

/// Everything that a run did.
pub(super) struct Tape {
    before: Vec<u8>,
    steps: Vec<Step>,
    /// The records at its end.
    records: Arc<Files>,
}

impl Tape {
    /// How many operations there were.
    pub(super) const fn len(&self) -> usize {
        self.steps.len()
    }

    /// Cuts at every sync, and at `count` random operations; of what was written since the last
    /// sync a random part survives.
    pub(super) fn cuts(&self, count: usize, dice: &mut Dice) -> impl Iterator<Item = Cut> {
        let syncs = self.steps.iter().enumerate();
        let mut points: Vec<usize> = syncs
            .filter_map(|(at, step)| matches!(step.operation, Operation::Sync).then_some(at))
            .collect();
        points.push(self.len());
        points.extend((0..count).map(|_| dice.below(self.len() + 1)));
        points.sort_unstable();
        let mut durable = self.before.clone();
        let mut synced = 0;
        points.into_iter().map(move |point| {
            let last = self.steps[..point]
                .iter()
                .rposition(|step| matches!(step.operation, Operation::Sync))
                .map_or(0, |at| at + 1);
            for step in &self.steps[synced..last] {
                apply(&mut durable, &step.operation, |_| true);
            }
            synced = last;
            let mut image = durable.clone();
            // The operation at the point is under way.
            let pending = &self.steps[last..self.len().min(point + 1)];
            survive(&mut image, pending, dice);
            let records = self.steps.get(point).map(|step| &step.records);
            let records = Rc::new((**records.unwrap_or(&self.records)).clone());
            Cut {
                point,
                image,
                records,
            }
        })
    }
}

/// Lets a random part of `pending` reach the medium.
fn survive(image: &mut [u8], pending: &[Step], dice: &mut Dice) {
    let chance = [1, 4, 7][dice.below(3)];
    let kind = dice.below(6);
    let edge = dice.below(pending.len() + 1);
    for (number, step) in pending.iter().enumerate() {
        let is_whole = match kind {
            0 => false,
            1 => true,
            // Any of the writes.
            2 => dice.below(8) < chance,
            // In order up to one that is torn.
            3 => number < edge,
            // The latest ones, but not those before.
            4 => number > edge,
            _ => false,
        };
        let is_torn = kind == 5 || (matches!(kind, 3 | 4) && number == edge);
        apply(image, &step.operation, |_| {
            is_whole || (is_torn && dice.below(8) < chance)
        });
    }
}

/// Does what of a write `survives`, sector by sector.
fn apply(image: &mut [u8], operation: &Operation, mut survives: impl FnMut(usize) -> bool) {
    let Operation::Write { start, bytes } = operation else {
        return;
    };
    let mut at = *start;
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let (sector, after) = rest.split_at(rest.len().min(512 - at % 512));
        if survives(at / 512) {
            image[at..][..sector.len()].copy_from_slice(sector);
        }
        at += sector.len();
        rest = after;
    }
}
