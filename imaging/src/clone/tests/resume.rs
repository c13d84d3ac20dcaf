//! Runs that are interrupted while they write in place, and gone on with.

use super::{SIZE, StopAfter, World, identities, noise, options, usage, used};
use crate::change::RungChoice;
use crate::clone::{Ends, Job, clone};
use crate::intent::Interrupted;
use crate::progress::{Runner, Silent};
use crate::rung::Rung;
use crate::verify::{Against, verify};
use crate::{CloneSummary, Error};
use klon_partition::device::fault::{Fault, FaultAt};
use klon_partition::{ExtentMap, Identity, WriteAt};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

/// A run to a target that fails at an operation, as a killed one stops at one.
fn run_until(world: &World, used: &ExtentMap, operation: u64) -> Result<CloneSummary, Error> {
    let target = FaultAt::new(&world.target, Some(Fault::Torn(operation)));
    let usage = usage(used.clone());
    let [source_identity, target_identity] = identities();
    let job = Job::new(
        "TestClone",
        Ends {
            source: &world.source,
            usage: &usage,
            source_identity: &source_identity,
            target: &target,
            target_identity: &target_identity,
        },
    );
    Ok(clone(
        &job,
        &world.records,
        &options(RungChoice::Auto),
        &Silent,
    )?)
}

fn log(world: &World) -> Option<Interrupted> {
    let target = Identity::Path("/target".to_owned());
    Interrupted::load(&world.records.log_path(&target)).unwrap()
}

#[test]
fn a_stopped_run_is_gone_on_with() {
    let world = World::new(noise(1, SIZE), noise(2, SIZE));
    let used = ExtentMap::whole(SIZE as u64);
    world
        .run(&used, RungChoice::Auto, &StopAfter(2.into()))
        .unwrap_err();
    let done = log(&world).unwrap().done().unwrap().count();
    assert_eq!(done, 1, "the second chunk; the first is held back");
    let again = world.run(&used, RungChoice::Auto, &Silent).unwrap();
    assert_eq!(again.rung, Rung::Resume, "{}", again.reason);
    assert_eq!(again.tally.read_target_bytes, SIZE as u64 - (1 << 20));
    assert_eq!(world.target.to_vec(), world.source.to_vec());
    assert!(log(&world).is_none(), "nothing is left to go on with");
}

#[test]
fn a_log_of_another_run_is_not_believed() {
    let world = World::new(noise(1, SIZE), noise(2, SIZE));
    let used = ExtentMap::whole(SIZE as u64);
    let stop = || StopAfter(2.into());
    world.run(&used, RungChoice::Auto, &stop()).unwrap_err();
    let target = Identity::Path("/target".to_owned());
    let path = world.records.log_path(&target);
    let kept = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    world.source.write_all_at(b"changed", 1 << 20).unwrap();
    world.run(&used, RungChoice::Auto, &stop()).unwrap_err();
    std::fs::write(&path, kept).unwrap();
    let again = world.run(&used, RungChoice::Auto, &Silent).unwrap();
    assert_eq!(again.rung, Rung::Compare, "{}", again.reason);
    assert_eq!(world.target.to_vec(), world.source.to_vec());
}

#[test]
fn a_log_that_is_cut_anywhere_costs_no_exactness() {
    let world = World::new(noise(1, SIZE), noise(2, SIZE));
    let used = ExtentMap::whole(SIZE as u64);
    let stop = StopAfter(2.into());
    world.run(&used, RungChoice::Auto, &stop).unwrap_err();
    let target = Identity::Path("/target".to_owned());
    let path = world.records.log_path(&target);
    let (kept, stopped) = (std::fs::read(&path).unwrap(), world.target.to_vec());
    for len in 0..kept.len() {
        // A flipped bit as well, in what remains.
        let mut bytes = kept[..len].to_vec();
        if let Some(byte) = bytes.get_mut(len / 2).filter(|_| len % 2 == 0) {
            *byte ^= 1 << (len % 8);
        }
        std::fs::write(&path, bytes).unwrap();
        world.target.write_all_at(&stopped, 0).unwrap();
        world.run(&used, RungChoice::Auto, &Silent).unwrap();
        assert_eq!(world.target.to_vec(), world.source.to_vec(), "{len}");
        let record = world.records.load(&target).unwrap().unwrap();
        std::fs::remove_file(record.path()).unwrap();
    }
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(40))]

    /// Interrupted anywhere, time and again, while the source changes between the runs.
    #[test]
    fn what_was_interrupted_ends_with_an_exact_clone(
        first in used(),
        is_repeat in any::<bool>(),
        rounds in proptest::collection::vec((0..24_u64, used(), 0..SIZE, any::<u8>()), 1..6),
    ) {
        let world = World::new(noise(1, SIZE), noise(2, SIZE));
        let original = world.target.to_vec();
        if is_repeat {
            world.run(&first, RungChoice::Auto, &Silent).unwrap();
        }
        let mut now_used = first.clone();
        let mut ever_used = first;
        for (operation, added, at, byte) in rounds {
            world.source.write_all_at(&[byte], at as u64).unwrap();
            now_used = now_used.union(&added);
            ever_used = ever_used.union(&added);
            let _ = run_until(&world, &now_used, operation);
        }
        let done = world.run(&now_used, RungChoice::Auto, &Silent).unwrap();
        let (source, target) = (world.source.to_vec(), world.target.to_vec());
        for extent in now_used.iter() {
            let range = extent.offset_bytes() as usize..extent.end_bytes() as usize;
            prop_assert!(source[range.clone()] == target[range], "{extent} after {}", done.rung);
        }
        for extent in ever_used.complement(SIZE as u64).iter().filter(|e| e.offset_bytes() >= 1 << 20) {
            let range = extent.offset_bytes() as usize..extent.end_bytes() as usize;
            prop_assert!(original[range.clone()] == target[range], "{extent} was not to be touched");
        }
        let identity = Identity::Path("/target".to_owned());
        let record = world.records.load(&identity).unwrap().unwrap();
        let against = Against::Record(&record);
        let found = verify(&world.target, &against, Runner { name: "x", threads: super::THREADS, observer: &Silent }).unwrap();
        prop_assert!(found.is_equal);
        prop_assert_eq!(log(&world).is_none(), true);
    }
}
