//! Rescues of random volumes with random bad ranges against the law: every good used sector
//! arrives, and the map is the truth.

mod watched;

use super::file::MapFile;
use super::status::Status;
use super::{RescueOptions, RescueSummary, first_bad, rescue};
use crate::change::RungChoice;
use crate::clone::{CloneOptions, Ends, Freed, Job, Rewrite, Update, clone};
use crate::error::Error;
use crate::mark::Mark;
use crate::progress::{Event, Observer, Runner, Silent};
use crate::record::RecordStore;
use crate::verify::{Against, verify};
use klon_partition::device::{KnownBad, MemoryDevice, ReopenAt};
use klon_partition::filesystem::Usage;
use klon_partition::{Extent, ExtentMap, Identity, ReadAt};
use proptest::prelude::{ProptestConfig, Strategy, prop_assert, prop_assert_eq, proptest};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SIZE: usize = (3 << 20) + 70 * 512;
const THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

struct World {
    content: Vec<u8>,
    used: ExtentMap,
    target: MemoryDevice,
    records: RecordStore,
    directory: tempfile::TempDir,
}

impl World {
    fn new(used: ExtentMap) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as u8 | 1
        });
        Self {
            content: noise.take(SIZE).collect(),
            used,
            target: MemoryDevice::new(vec![0xee; SIZE], 512),
            records: RecordStore::new(directory.path().join("records")),
            directory,
        }
    }

    fn map(&self) -> PathBuf {
        self.directory.path().join("map")
    }

    fn wanted(&self) -> ExtentMap {
        let first = Extent::new(0, 1 << 20).unwrap().into();
        self.used.union(&first).aligned_out(512, SIZE as u64)
    }

    /// The source with `bad` sectors.
    fn source(&self, bad: &ExtentMap) -> Arc<dyn ReadAt> {
        let memory = Arc::new(MemoryDevice::new(self.content.clone(), 512));
        let bad = bad.clone();
        let open = move || -> klon_partition::Result<Arc<dyn ReadAt>> {
            Ok(Arc::new(KnownBad::new(memory.clone(), bad.clone())))
        };
        Arc::new(ReopenAt::new(open().unwrap(), Box::new(open)))
    }

    fn with<T>(&self, bad: &ExtentMap, target: &str, run: impl FnOnce(&Job<'_>) -> T) -> T {
        let usage = Usage::mapped(self.used.clone());
        run(&Job::new(
            "TestClone",
            Ends {
                source: &self.source(bad),
                usage: &usage,
                source_identity: &Identity::Path("/source".to_owned()),
                target: &self.target,
                target_identity: &Identity::Path(target.to_owned()),
            },
        ))
    }

    fn rescue(&self, bad: &ExtentMap, observer: &dyn Observer) -> crate::Result<RescueSummary> {
        self.with(bad, "/target", |job| {
            let options = RescueOptions {
                map: &self.map(),
                is_own_map: false,
                metadata: &Extent::new(5 << 17, 1 << 20).unwrap().into(),
                retries: 1,
                fill: None,
                threads: THREADS,
            };
            rescue(job, &self.records, &options, observer)
        })
    }

    /// Fails unless the target is what the law says.
    fn check(&self, bad: &ExtentMap, summary: &RescueSummary) {
        let wanted = self.wanted();
        let bad = bad.intersection(&wanted);
        assert_eq!(summary.bad, bad);
        assert_eq!(summary.bad_bytes, bad.total_bytes());
        let good = wanted.difference(&bad);
        let mut expected = vec![0xee; SIZE];
        for (extent, is_good) in good
            .iter()
            .map(|e| (e, true))
            .chain(bad.iter().map(|e| (e, false)))
        {
            let range = extent.offset_bytes() as usize..extent.end_bytes() as usize;
            match is_good {
                true => expected[range.clone()].copy_from_slice(&self.content[range]),
                false => expected[range].fill(0),
            }
        }
        assert!(self.target.to_vec() == expected, "the target is another");
        let target = Identity::Path("/target".to_owned());
        let record = self.records.load(&target).unwrap().unwrap();
        assert_eq!(record.bad, bad);
        let against = Against::Record(&record);
        let found = verify(
            &self.target,
            &against,
            Runner {
                name: "x",
                threads: THREADS,
                observer: &Silent,
            },
        )
        .unwrap();
        assert!(found.is_equal && found.bad == bad);
        let statuses = MapFile::load(&self.map(), SIZE as u64)
            .unwrap()
            .unwrap()
            .statuses;
        assert_eq!(statuses.with(Status::Bad), bad);
        assert_eq!(statuses.with(Status::Finished), good);
        assert!(statuses.with(Status::NonTrimmed).is_empty());
        assert!(statuses.with(Status::NonScraped).is_empty());
    }
}

fn map(unit: u64) -> impl Strategy<Value = ExtentMap> {
    let count = SIZE as u64 / unit;
    proptest::collection::vec((0..count, 1..40_u64), 0..30).prop_map(move |ranges| {
        let extents = ranges
            .into_iter()
            .filter_map(|(at, len)| Extent::new(at * unit, len.min(count - at) * unit));
        extents.collect()
    })
}

/// Cancels after so many events.
struct CancelAfter(AtomicU64);

impl Observer for CancelAfter {
    fn event(&self, _event: &Event<'_>) {
        let left = self.0.load(Ordering::SeqCst);
        self.0.store(left.saturating_sub(1), Ordering::SeqCst);
    }

    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_good_sector_arrives_and_the_map_is_the_truth(used in map(4096), bad in map(512)) {
        let world = World::new(used);
        let summary = world.rescue(&bad, &Silent).unwrap();
        world.check(&bad, &summary);
    }

    #[test]
    fn an_interrupted_rescue_is_marked_and_gone_on_with(
        used in map(4096), bad in map(512), events in proptest::collection::vec(1..12_u64, 1..5)
    ) {
        let world = World::new(used);
        // Stopped before it touches anything, a run over a whole clone leaves that.
        let mut was_whole = false;
        for events in events {
            match world.rescue(&bad, &CancelAfter(AtomicU64::new(events))) {
                Ok(summary) => {
                    world.check(&bad, &summary);
                    was_whole = true;
                }
                Err(Error::Interrupted) => {
                    let found = MapFile::load(&world.map(), SIZE as u64).unwrap().unwrap();
                    let finished = found.statuses.with(Status::Finished);
                    let is_marked = Mark::read(&world.target).unwrap().is_some();
                    prop_assert!(finished.is_empty() || is_marked || was_whole);
                    was_whole &= !is_marked;
                    let bytes = world.target.to_vec();
                    for extent in finished.iter() {
                        let range = extent.offset_bytes() as usize..extent.end_bytes() as usize;
                        prop_assert!(bytes[range.clone()] == world.content[range]);
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
        let summary = world.rescue(&bad, &Silent).unwrap();
        world.check(&bad, &summary);
        // And again, when another part of it can't be read: nothing that was read is lost.
        let none = world.rescue(&ExtentMap::new(), &Silent).unwrap();
        world.check(&ExtentMap::new(), &none);
        let later = world.rescue(&bad, &Silent).unwrap();
        prop_assert_eq!(later.read_source_bytes, 0);
        world.check(&ExtentMap::new(), &later);
    }
}

fn small_world() -> (World, ExtentMap) {
    let world = World::new(Extent::new(1 << 20, 1 << 20).unwrap().into());
    (world, Extent::new((1 << 20) + 512, 1024).unwrap().into())
}

#[test]
fn the_next_plain_clone_reads_the_bad_sectors_again() {
    let (world, bad) = small_world();
    let options = CloneOptions {
        rung: RungChoice::Auto,
        rewrite: Rewrite::Blocks,
        freed: Freed::Leave,
        update: Update::Staged,
        threads: THREADS,
        reliance: crate::change::Reliance::USUAL,
    };
    world.rescue(&bad, &Silent).unwrap();
    let plain = |bad: &ExtentMap| {
        world.with(bad, "/target", |job| {
            Ok(clone(job, &world.records, &options, &Silent)?)
        })
    };
    let Err(Error::Source(klon_partition::Error::Io { .. })) = plain(&bad) else {
        panic!("a plain clone stops at a bad sector");
    };
    plain(&ExtentMap::new()).unwrap();
    let target = Identity::Path("/target".to_owned());
    let record = world.records.load(&target).unwrap().unwrap();
    assert!(record.bad.is_empty());
    let range = 1 << 20..2 << 20;
    assert!(world.target.to_vec()[range.clone()] == world.content[range]);
}

#[test]
fn a_map_of_another_target_is_refused() {
    let (world, bad) = small_world();
    world.rescue(&bad, &Silent).unwrap();
    let options = RescueOptions {
        map: &world.map(),
        is_own_map: false,
        metadata: &ExtentMap::new(),
        retries: 0,
        fill: None,
        threads: THREADS,
    };
    let run = |target| {
        world.with(&bad, target, |job| {
            rescue(job, &world.records, &options, &Silent)
        })
    };
    let error = run("/other").unwrap_err();
    assert!(error.to_string().contains("of the target"), "{error}");
    // The map as ddrescue writes it, and a target that does not bear it out.
    let text = std::fs::read_to_string(world.map()).unwrap();
    let text: Vec<&str> = text.lines().filter(|line| !line.contains("klon")).collect();
    std::fs::write(world.map(), text.join("\n")).unwrap();
    let again = run("/other").unwrap();
    assert_eq!((again.read_source_bytes, &again.bad), (0, &bad));
    let text = text.join("\n");
    std::fs::write(world.map(), text).unwrap();
    klon_partition::WriteAt::write_all_at(&world.target, &[9; 2 << 20], 0).unwrap();
    let error = run("/third").unwrap_err();
    assert!(
        error.to_string().contains("map of another target"),
        "{error}"
    );
}

#[test]
fn chunks_that_somebody_changed_since_are_read_again() {
    let (world, bad) = small_world();
    world.rescue(&bad, &Silent).unwrap();
    klon_partition::WriteAt::write_all_at(&world.target, &[9; 512], (1 << 20) + 8192).unwrap();
    let summary = world.rescue(&bad, &Silent).unwrap();
    world.check(&bad, &summary);
}

#[test]
fn the_first_bad_sector_is_found() {
    let (world, bad) = small_world();
    let source = world.source(&bad);
    let all = Extent::new(1 << 20, 1 << 20).unwrap();
    assert_eq!(first_bad(&source, all), Extent::new((1 << 20) + 512, 512));
    assert_eq!(first_bad(&source, Extent::new(0, 1 << 20).unwrap()), None);
}
