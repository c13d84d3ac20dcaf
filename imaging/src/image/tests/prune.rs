//! Pruning: what remains reads as before, whatever interrupts it, and what goes gives its room back.

use super::super::{
    Append, Image, Punch, SnapshotDevice, forget, forget_from, plan_prune, punch_unused,
};
use super::{MIB, SIZE, World, content, open, three};
use crate::error::{Error, Result};
use crate::progress::Silent;
use klon_partition::Error as PartitionError;
use klon_partition::bytes::is_zero;
use klon_partition::device::MemoryDevice;
use klon_partition::error::Remedy;
use klon_partition::{Extent, ExtentMap, Geometry, ReadAt};
use std::io;
use std::sync::{Arc, Mutex};

/// A file whose zero blocks are holes.
struct Sparse(MemoryDevice, Vec<u8>);

impl Sparse {
    fn image(bytes: &[u8]) -> Image {
        let device = MemoryDevice::new(bytes.to_vec(), 512);
        Image::open(Arc::new(Self(device, bytes.to_vec()))).unwrap()
    }
}

impl ReadAt for Sparse {
    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> klon_partition::Result<()> {
        self.0.read_exact_at(buffer, offset_bytes)
    }

    fn data(&self, within: Extent) -> klon_partition::Result<ExtentMap> {
        let blocks = (0..).step_by(4096).zip(self.1.chunks(4096));
        let taken = blocks.filter(|(_, block)| !is_zero(block));
        let taken: ExtentMap = taken
            .filter_map(|(at, block)| Extent::new(at, block.len() as u64))
            .collect();
        Ok(taken.within(within).collect())
    }
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Cut(usize),
    Punch(Extent),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, new) => {
                bytes.resize(bytes.len().max(at + new.len()), 0);
                bytes[*at..at + new.len()].copy_from_slice(new);
            }
            Self::Cut(len) => bytes.resize(*len, 0),
            Self::Punch(hole) => {
                let range = hole.offset_bytes() as usize..hole.end_bytes() as usize;
                bytes[range].fill(0);
            }
        }
    }
}

/// A disk that loses power at the n-th operation.
#[derive(Default)]
struct Disk {
    durable: Vec<u8>,
    pending: Vec<Change>,
    operations: usize,
    fails_at: Option<usize>,
}

impl Disk {
    fn now(&self) -> Vec<u8> {
        self.after(|_| true)
    }

    fn after(&self, survives: impl Fn(usize) -> bool) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let changes = self.pending.iter().enumerate();
        changes
            .filter(|(number, _)| survives(*number))
            .for_each(|(_, change)| change.apply(&mut bytes));
        bytes
    }

    fn step(&mut self, change: Option<Change>) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        if self.fails_at.is_some_and(|at| number >= at) {
            return Err(io::Error::other("power cut"));
        }
        match change {
            Some(change) => self.pending.push(change),
            None => {
                self.durable = self.now();
                self.pending.clear();
            }
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Disk>>);

/// The end of a file, written in sectors.
struct End {
    disk: Shared,
    position: usize,
    unwritten: Vec<u8>,
}

impl Append for End {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.unwritten.extend(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut bytes = &self.unwritten[..];
        while !bytes.is_empty() {
            let len = (512 - self.position % 512).min(bytes.len());
            let change = Change::Write(self.position, bytes[..len].to_vec());
            self.position += len;
            bytes = &bytes[len..];
            self.disk.0.lock().unwrap().step(Some(change))?;
        }
        self.unwritten.clear();
        self.disk.0.lock().unwrap().step(None)
    }
}

impl Punch for Shared {
    fn punch(&self, extent: Extent) -> io::Result<()> {
        self.0.lock().unwrap().step(Some(Change::Punch(extent)))
    }

    fn sync(&self) -> io::Result<()> {
        self.0.lock().unwrap().step(None)
    }
}

impl Shared {
    fn new(durable: Vec<u8>, fails_at: Option<usize>) -> Self {
        Self(Arc::new(Mutex::new(Disk {
            durable,
            fails_at,
            ..Disk::default()
        })))
    }

    fn image(&self) -> Image {
        Sparse::image(&self.0.lock().unwrap().now())
    }

    /// A prune of those of the snapshots that are still there.
    fn prune(&self, remove: &[u64]) -> Result<u64> {
        let image = self.image();
        let is_there = |number: &&u64| image.catalog().find(Some(**number)).is_some();
        let remove: Vec<u64> = remove.iter().filter(is_there).copied().collect();
        let plan = plan_prune(&image, &remove)?;
        if let Some(from) = forget_from(&image, &plan) {
            let from = from as usize;
            let cut = self.0.lock().unwrap().step(Some(Change::Cut(from)));
            cut.map_err(crate::Error::ImageWrite)?;
            let end = End {
                disk: self.clone(),
                position: from,
                unwritten: Vec::new(),
            };
            forget(&image, &plan, end)?;
        }
        punch_unused(&self.image(), "x", self, &Silent)
    }
}

fn allocated(bytes: &[u8]) -> usize {
    bytes.chunks(4096).filter(|block| !is_zero(block)).count() * 4096
}

fn prune(file: &[u8], remove: &[u64]) -> Vec<u8> {
    let disk = Shared::new(file.to_vec(), None);
    disk.prune(remove).unwrap();
    let disk = disk.0.lock().unwrap();
    assert!(disk.pending.is_empty(), "not durable");
    disk.durable.clone()
}

#[test]
fn what_only_pruned_snapshots_used_is_given_back() {
    let (world, contents, _) = three();
    let plan = plan_prune(&Sparse::image(&world.file), &[1, 2]).unwrap();
    let file = prune(&world.file, &[1, 2]);
    let freed = allocated(&world.file) - allocated(&file);
    // One chunk of noise, and one that is small; less what begins and ends within a block.
    assert!((MIB - 40960..MIB + 40960).contains(&freed), "{freed}");
    // Two catalogs and footers came on top.
    assert_eq!(plan.freed_bytes as usize, freed + 2 * 4096);
    let image = open(&file);
    assert_eq!(image.catalog().snapshots.len(), 1);
    assert_eq!(image.catalog().next_number, 4);
    assert!(content(&image, 3).unwrap() == contents[2]);
    let again = plan_prune(&Sparse::image(&file), &[]).unwrap();
    assert!(again.is_nothing() && forget_from(&image, &again).is_none());
    assert!(prune(&file, &[]) == file);
}

#[test]
fn the_last_snapshot_never_goes_and_damage_is_not_pruned_around() {
    let (mut world, contents, _) = three();
    assert!(plan_prune(&world.image(), &[3]).is_err());
    assert!(plan_prune(&world.image(), &[1, 2, 3]).is_err());
    let manifest = |number| {
        let image = open(&world.file);
        image
            .catalog()
            .find(Some(number))
            .unwrap()
            .manifest
            .position as usize
    };
    let (first, second) = (manifest(1), manifest(2));
    world.file[second + 70] ^= 1;
    let error = plan_prune(&world.image(), &[1]).unwrap_err();
    let Error::Image(PartitionError::RefusedUnless { remedy, .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(remedy, Remedy::CheckImage);
    // What goes may be damaged.
    world.file[first + 70] ^= 1;
    let file = prune(&world.file, &[1, 2]);
    assert!(content(&open(&file), 3).unwrap() == contents[2]);
}

#[test]
fn interrupted_anywhere_a_prune_loses_nothing_and_is_completed() {
    let (world, contents, _) = three();
    let whole = prune(&world.file, &[1]);
    let mut number = 0;
    loop {
        let disk = Shared::new(world.file.clone(), Some(number));
        if disk.prune(&[1]).is_ok() {
            break;
        }
        number += 1;
        let disk = disk.0.lock().unwrap();
        let survivors: [fn(usize) -> bool; 4] = [
            |_| true,
            |_| false,
            |change| change % 2 == 0,
            |change| change % 2 == 1,
        ];
        for survives in survivors {
            let file = disk.after(survives);
            let image = open(&file);
            for entry in &image.catalog().snapshots {
                let at = entry.number as usize - 1;
                assert!(
                    content(&image, entry.number).unwrap() == contents[at],
                    "{number}"
                );
            }
            let again = prune(&file, &[1]);
            let image = open(&again);
            assert_eq!(image.catalog().snapshots.len(), 2);
            assert!((2..4).all(|n| content(&image, n).unwrap() == contents[n as usize - 1]));
            // A commit that was torn and one more may be left as holes.
            assert!(allocated(&again) <= allocated(&whole) + 4096, "{number}");
        }
    }
    assert!(number > 10, "{number}");
}

#[test]
fn an_append_after_a_prune_uses_nothing_that_was_pruned() {
    let (world, contents, _) = three();
    let mut pruned = World::new();
    pruned.file = prune(&world.file, &[1, 2]);
    // What snapshot 1 had, and nobody has now.
    pruned.content = World::new().content;
    pruned.content[MIB] ^= 1;
    let summary = pruned.auto();
    assert_eq!(summary.snapshot, 4);
    assert!(summary.added_bytes > MIB as u64, "{}", summary.added_bytes);
    let image = pruned.image();
    assert!(content(&image, 3).unwrap() == contents[2]);
    assert!(content(&image, 4).unwrap() == contents[0]);
    let check = super::check::check_all(&image);
    assert!(check.is_whole, "{check:?}");
}

#[test]
fn torn_behind_holes_what_was_committed_is_found() {
    let (world, contents, _) = three();
    let pruned = prune(&world.file, &[1, 2]);
    let mut next = World::new();
    next.content = world.content.clone();
    next.content[6 * MIB] ^= 1;
    next.content[8 * MIB] ^= 1;
    next.file = pruned.clone();
    next.auto();
    for cut in (pruned.len()..next.file.len()).step_by(7919) {
        let image = open(&next.file[..cut]);
        assert_eq!(
            (image.catalog().snapshots.len(), &image.tail().damage),
            (1, &None)
        );
        if cut % 3 == 0 {
            assert!(content(&image, 3).unwrap() == contents[2], "{cut}");
        }
    }
    // Holes up to the end, as if the last commit had been damaged.
    let mut lost = pruned.clone();
    let footer = open(&pruned).tail().footer as usize;
    lost[footer..].fill(0);
    let image = open(&lost);
    assert_eq!(image.catalog().snapshots.len(), 1);
    let device = SnapshotDevice::new(Arc::new(image.snapshot(None).unwrap()));
    let mut bytes = vec![0; SIZE];
    device.read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes == contents[2]);
}
