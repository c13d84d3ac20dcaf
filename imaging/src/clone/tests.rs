//! Clones of random volumes against the law: what is wanted is equal, what is not is untouched.

use super::{CloneOptions, Ends, Freed, Job, Rewrite, Update, clone};
use crate::change::{Reliance, RungChoice};
use crate::mark::Mark;
use crate::progress::{Event, Observer, Runner, Silent};
use crate::record::RecordStore;
use crate::rung::Rung;
use crate::verify::{Against, verify};
use crate::{CloneSummary, Error};
use klon_partition::device::MemoryDevice;
use klon_partition::filesystem::Usage;
use klon_partition::{Extent, ExtentMap, Identity, WriteAt};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use std::num::NonZeroUsize;

mod in_part;
mod live;
mod phase;
mod resume;
mod staged;
mod unread;

const SIZE: usize = 3 << 20;
const THREADS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

fn options(rung: RungChoice) -> CloneOptions {
    CloneOptions {
        rung,
        rewrite: Rewrite::Blocks,
        freed: Freed::Leave,
        update: Update::Staged,
        threads: THREADS,
        reliance: Reliance::USUAL,
    }
}

struct World {
    source: MemoryDevice,
    target: MemoryDevice,
    records: RecordStore,
    _directory: tempfile::TempDir,
}

impl World {
    fn new(source: Vec<u8>, target: Vec<u8>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let records = RecordStore::new(directory.path().to_owned());
        let (source, target) = (
            MemoryDevice::new(source, 512),
            MemoryDevice::new(target, 512),
        );
        Self {
            source,
            target,
            records,
            _directory: directory,
        }
    }

    fn run(
        &self,
        used: &ExtentMap,
        rung: RungChoice,
        observer: &dyn Observer,
    ) -> crate::Result<CloneSummary> {
        let usage = usage(used.clone());
        let [source_identity, target_identity] = identities();
        let job = Job::new(
            "TestClone",
            Ends {
                source: &self.source,
                usage: &usage,
                source_identity: &source_identity,
                target: &self.target,
                target_identity: &target_identity,
            },
        );
        Ok(clone(&job, &self.records, &options(rung), observer)?)
    }
}

/// Of a source and a target.
fn identities() -> [Identity; 2] {
    ["/source", "/target"].map(|path| Identity::Path(path.to_owned()))
}

fn usage(extents: ExtentMap) -> Usage {
    Usage::mapped(extents)
}

fn noise(seed: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at / 997) as u8 ^ (at % 251) as u8 ^ seed)
        .collect()
}

fn used() -> impl Strategy<Value = ExtentMap> {
    proptest::collection::vec((0..SIZE as u64 / 512, 1..400_u64), 1..12).prop_map(|ranges| {
        let whole = ExtentMap::whole(SIZE as u64);
        let map: ExtentMap = ranges
            .into_iter()
            .filter_map(|(at, len)| Extent::new(at * 512, len * 512))
            .collect();
        map.intersection(&whole)
    })
}

fn bytes_of(bytes: &[u8], extent: Extent) -> &[u8] {
    &bytes[extent.offset_bytes() as usize..extent.end_bytes() as usize]
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

    #[test]
    fn every_rung_ends_with_an_exact_clone(
        used in used(),
        zeroed in used(),
        edits in proptest::collection::vec((0..SIZE, any::<u8>()), 0..20),
        rung in proptest::sample::select(vec![Rung::Full, Rung::Compare, Rung::Digest]),
        extra in 0..3_usize,
    ) {
        let mut source = noise(0, SIZE);
        for extent in zeroed.iter() {
            source[extent.offset_bytes() as usize..extent.end_bytes() as usize].fill(0);
        }
        let before = noise(0x55, SIZE + extra * 512);
        let world = World::new(source.clone(), before.clone());
        let first = world.run(&used, RungChoice::Auto, &Silent).unwrap();
        prop_assert_eq!(first.rung, Rung::Full);
        for &(at, byte) in &edits {
            source[at] = byte;
            world.source.write_all_at(&[byte], at as u64).unwrap();
        }
        let previous = world.target.to_vec();
        let again = world.run(&used, RungChoice::Only(rung), &Silent).unwrap();
        let target = world.target.to_vec();
        let held = Extent::new(0, 1 << 20).unwrap();
        for extent in used.union(&held.into()).iter() {
            prop_assert_eq!(bytes_of(&source, extent), bytes_of(&target, extent));
        }
        for extent in used.union(&held.into()).complement(before.len() as u64).iter() {
            prop_assert_eq!(bytes_of(&before, extent), bytes_of(&target, extent));
        }
        if rung != Rung::Full {
            let blocks = (0..SIZE / 4096)
                .filter(|at| previous[at * 4096..][..4096] != target[at * 4096..][..4096])
                .count() as u64;
            prop_assert!(again.tally.changed_bytes <= blocks * 4096);
            let commit_bytes = if blocks == 0 { 0 } else { 18 * 4096 };
            prop_assert!(again.tally.written_bytes <= again.tally.changed_bytes + commit_bytes);
        }
        let record = world.records.load(&Identity::Path("/target".to_owned())).unwrap().unwrap();
        prop_assert_eq!(record.manifest.history.len(), 2);
        let runner = Runner { name: "x", threads: THREADS, observer: &Silent };
        let verified = verify(&world.target, &Against::Record(&record), runner).unwrap();
        prop_assert!(verified.is_equal);
    }
}

#[test]
fn verify_names_what_differs() {
    let world = World::new(noise(1, SIZE), vec![0; SIZE]);
    let used = ExtentMap::whole(SIZE as u64);
    world.run(&used, RungChoice::Auto, &Silent).unwrap();
    let usage = usage(used);
    world
        .target
        .write_all_at(&[!noise(1, SIZE)[2_000_123]], 2_000_123)
        .unwrap();
    let source = Against::Source {
        device: &world.source,
        usage: &usage,
        bad: &ExtentMap::new(),
    };
    let found = verify(
        &world.target,
        &source,
        Runner {
            name: "x",
            threads: THREADS,
            observer: &Silent,
        },
    )
    .unwrap();
    assert!(!found.is_equal);
    assert_eq!(found.first_difference_bytes, Some(2_000_123));
    assert_eq!(
        found.differences,
        Extent::new(1_998_848, 4096).unwrap().into()
    );
    let record = world
        .records
        .load(&Identity::Path("/target".to_owned()))
        .unwrap()
        .unwrap();
    let found = verify(
        &world.target,
        &Against::Record(&record),
        Runner {
            name: "x",
            threads: THREADS,
            observer: &Silent,
        },
    )
    .unwrap();
    assert_eq!(
        found.differences,
        Extent::new(1 << 20, 1 << 20).unwrap().into()
    );
}

struct StopAfter(std::sync::atomic::AtomicUsize);

impl Observer for StopAfter {
    fn event(&self, _event: &Event<'_>) {}

    fn is_cancelled(&self) -> bool {
        use std::sync::atomic::Ordering;
        self.0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            })
            .is_err()
    }
}

#[test]
fn an_interrupted_clone_is_marked_and_the_next_run_completes_it() {
    let world = World::new(noise(1, SIZE), noise(2, SIZE));
    let used = ExtentMap::whole(SIZE as u64);
    let error = world
        .run(&used, RungChoice::Auto, &StopAfter(2.into()))
        .unwrap_err();
    assert!(matches!(error, Error::Interrupted));
    assert_eq!(
        Mark::read(&world.target).unwrap().unwrap().source,
        "path:/source"
    );
    let again = world.run(&used, RungChoice::Auto, &Silent).unwrap();
    assert_eq!(again.rung, Rung::Resume, "{}", again.reason);
    assert!(
        again.tally.changed_bytes < SIZE as u64,
        "what was done is kept"
    );
    assert_eq!(world.target.to_vec(), world.source.to_vec());
}

#[test]
fn freed_space_is_treated_as_asked() {
    for (freed, expected) in [(Freed::Leave, 2), (Freed::Zero, 0)] {
        let world = World::new(vec![2; SIZE], vec![9; SIZE]);
        world
            .run(&ExtentMap::whole(SIZE as u64), RungChoice::Auto, &Silent)
            .unwrap();
        let usage = usage(ExtentMap::whole(2 << 20));
        let [source_identity, target_identity] = identities();
        let job = Job::new(
            "x",
            Ends {
                source: &world.source,
                usage: &usage,
                source_identity: &source_identity,
                target: &world.target,
                target_identity: &target_identity,
            },
        );
        let options = CloneOptions {
            freed,
            ..options(RungChoice::Auto)
        };
        clone(&job, &world.records, &options, &Silent).unwrap();
        let target = world.target.to_vec();
        assert!(target[..2 << 20].iter().all(|&byte| byte == 2));
        assert!(
            target[2 << 20..].iter().all(|&byte| byte == expected),
            "{freed:?}"
        );
    }
}
