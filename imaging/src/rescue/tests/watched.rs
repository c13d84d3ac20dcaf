//! What a rescue asks of its source: nothing twice, nothing of a source that is gone, as few
//! failures as can be; and what it puts where nothing could be read.

use super::{SIZE, THREADS, World, small_world};
use crate::error::Error;
use crate::progress::{Observer, Runner, Silent};
use crate::rescue::file::MapFile;
use crate::rescue::status::Status;
use crate::rescue::{RescueOptions, RescueSummary, rescue};
use crate::source::FillTexts;
use crate::verify::{Against, verify};
use klon_partition::device::{KnownBad, MemoryDevice};
use klon_partition::filesystem::Usage;
use klon_partition::{Error as PartitionError, Extent, ExtentMap, Geometry, Identity, ReadAt};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A source that counts.
struct Watched {
    device: KnownBad<MemoryDevice>,
    physical_sector_bytes: u32,
    /// How often each sector could be read.
    read: Vec<AtomicU32>,
    failed: AtomicU64,
    /// Reads that are left until all of it fails.
    left: AtomicU64,
}

impl Watched {
    fn new(world: &World, bad: &ExtentMap) -> Self {
        let memory = MemoryDevice::new(world.content.clone(), 512);
        Self {
            device: KnownBad::new(memory, bad.clone()),
            physical_sector_bytes: 512,
            read: (0..SIZE / 512).map(|_| AtomicU32::new(0)).collect(),
            failed: AtomicU64::new(0),
            left: AtomicU64::new(u64::MAX),
        }
    }
}

impl ReadAt for Watched {
    fn geometry(&self) -> Geometry {
        Geometry {
            physical_sector_bytes: self.physical_sector_bytes,
            ..self.device.geometry()
        }
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> klon_partition::Result<()> {
        let left = self.left.load(Ordering::SeqCst);
        self.left.store(left.saturating_sub(1), Ordering::SeqCst);
        let result = match left {
            0 => Err(PartitionError::io(
                klon_partition::error::Operation::Read,
                offset_bytes,
                buffer.len() as u64,
                std::io::Error::other("gone"),
            )),
            _ => self.device.read_exact_at(buffer, offset_bytes),
        };
        match &result {
            Ok(()) => {
                let first = offset_bytes as usize / 512;
                for sector in &self.read[first..first + buffer.len() / 512] {
                    sector.fetch_add(1, Ordering::SeqCst);
                }
            }
            Err(_) => {
                self.failed.fetch_add(1, Ordering::SeqCst);
            }
        }
        result
    }
}

impl World {
    fn rescue_from(
        &self,
        source: &Watched,
        (retries, fill): (u32, Option<&str>),
        observer: &dyn Observer,
    ) -> crate::Result<RescueSummary> {
        let usage = Usage::mapped(self.used.clone());
        let source_identity = Identity::Path("/source".to_owned());
        let target_identity = Identity::Path("/target".to_owned());
        let job = crate::clone::Job {
            ..crate::clone::Job::new(
                "TestClone",
                crate::clone::Ends {
                    source,
                    usage: &usage,
                    source_identity: &source_identity,
                    target: &self.target,
                    target_identity: &target_identity,
                },
            )
        };
        let metadata = match fill {
            Some(_) => Extent::new(1 << 20, 1024).unwrap().into(),
            None => ExtentMap::new(),
        };
        let options = RescueOptions {
            map: &self.map(),
            is_own_map: false,
            metadata: &metadata,
            retries,
            fill,
            threads: THREADS,
        };
        rescue(&job, &self.records, &options, observer)
    }
}

fn extents(all: &[(u64, u64)]) -> ExtentMap {
    let extent = |&(offset, len): &(u64, u64)| Extent::new(offset, len);
    all.iter().filter_map(extent).collect()
}

#[test]
fn no_sector_that_could_be_read_is_read_again() {
    let used = extents(&[(0, 5 << 19)]);
    let bad = extents(&[(512 * 9, 512), (512 * 4000, 1536), (512 * 5000, 512)]);
    for stops in 1..12 {
        let world = World::new(used.clone());
        let source = Watched::new(&world, &bad);
        let mut events = stops;
        let summary = loop {
            let observer = super::CancelAfter(AtomicU64::new(events));
            match world.rescue_from(&source, (0, None), &observer) {
                Ok(summary) => break summary,
                Err(Error::Interrupted) => events += 3,
                Err(error) => panic!("{error}"),
            }
        };
        world.check(&bad, &summary);
        let good = world.wanted().difference(&bad);
        for extent in good.iter().flat_map(|extent| extent.split(512)) {
            let count = source.read[extent.offset_bytes() as usize / 512].load(Ordering::SeqCst);
            assert_eq!(count, 1, "{extent}, stopped after {stops}");
        }
        assert!(!crate::rescue::first::path(&world.map()).exists());
    }
}

#[test]
fn of_a_source_that_is_gone_nothing_is_taken_for_bad() {
    let used = extents(&[(0, 3 << 20)]);
    let bad = extents(&[(1 << 20, 512)]);
    for left in [0, 1, 2, 5, 20, 40] {
        let world = World::new(used.clone());
        let source = Watched::new(&world, &bad);
        source.left.store(left, Ordering::SeqCst);
        let error = world.rescue_from(&source, (1, None), &Silent).unwrap_err();
        let Error::SourceGone { was_read, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(was_read, left > 0);
        assert!(source.failed.load(Ordering::SeqCst) < 60);
        let found = MapFile::load(&world.map(), SIZE as u64).unwrap().unwrap();
        let told = found.statuses.with(Status::Bad);
        assert!(told.difference(&bad).is_empty(), "{told:?}");
        let source = Watched::new(&world, &bad);
        let summary = world.rescue_from(&source, (1, None), &Silent).unwrap();
        world.check(&bad, &summary);
    }
}

#[test]
fn a_physical_sector_fails_once_before_its_parts_are_tried() {
    let used = extents(&[(0, 2 << 20)]);
    let bad = extents(&[((1 << 20) + 4096 + 512, 512)]);
    for (retries, failures_max) in [(0, 5), (1, 5), (2, 6)] {
        let world = World::new(used.clone());
        let mut source = Watched::new(&world, &bad);
        source.physical_sector_bytes = 4096;
        let summary = world
            .rescue_from(&source, (retries, None), &Silent)
            .unwrap();
        world.check(&bad, &summary);
        assert!(summary.failed_reads <= failures_max, "{summary:?}");
    }
}

#[test]
fn what_is_between_far_failures_is_not_left_out() {
    let used = extents(&[(0, SIZE as u64 / 512 * 512)]);
    let bad = extents(&[(1 << 20, 2 << 20)]);
    let world = World::new(used);
    let source = Watched::new(&world, &bad);
    let summary = world.rescue_from(&source, (0, None), &Silent).unwrap();
    world.check(&bad, &summary);
}

#[test]
fn bad_sectors_are_filled_but_for_those_of_the_filesystem() {
    let (world, bad) = small_world();
    let bad = bad.union(&extents(&[(1024, 512)]));
    let source = Watched::new(&world, &bad);
    let fill: FillTexts = ["NO "].into_iter().collect();
    let found = world.rescue_from(&source, (0, Some("NO ")), &Silent);
    let found = found.unwrap();
    assert_eq!((&found.bad_fill, &found.bad), (&fill, &bad));
    let bytes = world.target.to_vec();
    let sector = |number: usize| &bytes[number * 512..][..512];
    assert!(sector(2).starts_with(b"NO NO NO "));
    // The filesystem's own.
    assert!(sector(2049).iter().all(|&byte| byte == 0));
    assert!(sector(2050).starts_with(b"NO NO NO "));
    let target = Identity::Path("/target".to_owned());
    let record = world.records.load(&target).unwrap().unwrap();
    assert_eq!(record.bad_fill, fill);
    let verified = verify(
        &world.target,
        &Against::Record(&record),
        Runner {
            name: "x",
            threads: THREADS,
            observer: &Silent,
        },
    );
    let verified = verified.unwrap();
    assert!(verified.is_equal && verified.bad == bad);
    assert_eq!(verified.bad_fill, fill);
    // Without it, they are zero again.
    let found = world.rescue_from(&source, (0, None), &Silent).unwrap();
    world.check(&bad, &found);
}

#[test]
fn a_source_that_became_bad_is_compared_around() {
    let (world, _) = small_world();
    let sound = Watched::new(&world, &ExtentMap::new());
    world.rescue_from(&sound, (0, None), &Silent).unwrap();
    let usage = Usage::mapped(world.used.clone());
    let compare = |source: &Watched| {
        let against = Against::Source {
            device: source,
            usage: &usage,
            bad: &ExtentMap::new(),
        };
        verify(
            &world.target,
            &against,
            Runner {
                name: "x",
                threads: THREADS,
                observer: &Silent,
            },
        )
    };
    let bad = extents(&[((1 << 20) + 8192, 512), ((2 << 20) - 1024, 512)]);
    let found = compare(&Watched::new(&world, &bad)).unwrap();
    assert!(found.is_equal);
    let unread = extents(&[((1 << 20) + 8192, 4096), ((2 << 20) - 4096, 4096)]);
    assert_eq!((&found.unread, found.unread_bytes), (&unread, 8192));
    assert_eq!(found.compared_bytes, (1 << 20) - 8192);
    // Differences beside it are found.
    let at = (1 << 20) + 4096;
    klon_partition::WriteAt::write_all_at(&world.target, &[9; 512], at).unwrap();
    let found = compare(&Watched::new(&world, &bad)).unwrap();
    assert_eq!(found.differences, Extent::new(at, 4096).unwrap().into());
    assert_eq!(found.unread, unread);
}

#[test]
fn a_run_stopped_over_a_finished_rescue_costs_it_nothing() {
    let (world, bad) = small_world();
    let source = Watched::new(&world, &bad);
    world.rescue_from(&source, (0, None), &Silent).unwrap();
    for _ in 0..2 {
        let observer = super::CancelAfter(AtomicU64::new(1));
        let stopped = world.rescue_from(&source, (0, None), &observer);
        assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    }
    let summary = world.rescue_from(&source, (0, None), &Silent).unwrap();
    assert_eq!(summary.read_source_bytes, 0);
    world.check(&bad, &summary);
}
