//! Updates that are staged, interrupted while they are, and begun again.

use super::{StopAfter, World, identities, noise, options, usage};
use crate::change::RungChoice;
use crate::clone::{Ends, Job, clone};
use crate::mark::Mark;
use crate::progress::{Observer, Silent};
use crate::{CloneSummary, Error};
use klon_partition::filesystem::Usage;
use klon_partition::{Extent, ExtentMap, WriteAt};

const MIB: usize = 1 << 20;
const SIZE: usize = 12 * MIB;

/// Half of the volume is in use.
fn used() -> ExtentMap {
    Extent::new(0, SIZE as u64 / 2).unwrap().into()
}

fn update(world: &World, observer: &dyn Observer) -> Result<CloneSummary, Error> {
    update_of(world, &usage(used()), observer)
}

/// The same where a volume with such a use is `present`.
fn update_of(
    world: &World,
    present: &Usage,
    observer: &dyn Observer,
) -> Result<CloneSummary, Error> {
    let usage = usage(used());
    let [source_identity, target_identity] = identities();
    let job = Job {
        present: Some(present),
        ..Job::new(
            "TestClone",
            Ends {
                source: &world.source,
                usage: &usage,
                source_identity: &source_identity,
                target: &world.target,
                target_identity: &target_identity,
            },
        )
    };
    Ok(clone(
        &job,
        &world.records,
        &options(RungChoice::Auto),
        observer,
    )?)
}

/// A clone whose source has changed in every chunk since.
fn changed() -> World {
    let world = World::new(noise(1, SIZE), noise(2, SIZE));
    world.run(&used(), RungChoice::Auto, &Silent).unwrap();
    for chunk in 0..SIZE / MIB / 2 {
        let at = (chunk * MIB + 40_000) as u64;
        world.source.write_all_at(&noise(3, 100_000), at).unwrap();
    }
    world
}

fn is_new(world: &World) -> bool {
    world.target.to_vec()[..SIZE / 2] == world.source.to_vec()[..SIZE / 2]
}

#[test]
fn an_interrupted_update_is_not_staged_again() {
    let world = changed();
    let whole = update(&world, &Silent).unwrap().tally.staged_bytes;
    assert!(is_new(&world));
    let world = changed();
    let before = world.target.to_vec();
    for stops in 1..5 {
        let error = update(&world, &StopAfter(stops.into())).unwrap_err();
        assert!(matches!(error, Error::Interrupted), "{error}");
        assert_eq!(Mark::read(&world.target).unwrap(), None);
        let target = world.target.to_vec();
        assert_eq!(target[..SIZE / 2], before[..SIZE / 2], "the earlier clone");
    }
    let done = update(&world, &Silent).unwrap();
    assert!(is_new(&world));
    // The chunks 1 to 3 are there; the first one, held back until the end, is not.
    assert!(
        done.tally.staged_bytes < whole * 2 / 3,
        "{} of {whole}",
        done.tally.staged_bytes
    );
}

#[test]
fn what_was_staged_and_overwritten_since_is_staged_again() {
    let world = changed();
    update(&world, &StopAfter(4.into())).unwrap_err();
    // Someone used the free room, all of it or a part.
    for (at, len) in [(SIZE / 2 + 200_000, 5000), (SIZE / 2, SIZE / 2)] {
        let noise = noise(9, len);
        world.target.write_all_at(&noise, at as u64).unwrap();
        update(&world, &StopAfter(5.into())).unwrap_err();
    }
    update(&world, &Silent).unwrap();
    assert!(is_new(&world));
}

#[test]
fn the_source_may_change_between_the_attempts() {
    let world = changed();
    for stops in [3, 5, 4] {
        update(&world, &StopAfter(stops.into())).unwrap_err();
        let at = (stops * MIB + 60_000) as u64;
        world
            .source
            .write_all_at(&noise(stops as u8, 9000), at)
            .unwrap();
    }
    update(&world, &Silent).unwrap();
    assert!(is_new(&world));
}

#[test]
fn room_that_came_into_use_is_not_given_back() {
    let half = SIZE / 2;
    let world = World::new(noise(1, half), vec![0; SIZE]);
    world.run(&used(), RungChoice::Auto, &Silent).unwrap();
    for chunk in 0..half / MIB {
        let at = (chunk * MIB + 40_000) as u64;
        world.source.write_all_at(&noise(3, 100_000), at).unwrap();
    }
    let behind = |from: usize| ExtentMap::from(Extent::between(from as u64, SIZE as u64).unwrap());
    let present = |used_end: usize| Usage {
        unproven: behind(used_end),
        ..usage(behind(0).difference(&behind(used_end)))
    };
    update_of(&world, &present(half), &StopAfter(4.into())).unwrap_err();
    let before = world.target.to_vec();
    // What was staged lies in what is somebody's now.
    let taken = half..half + 3 * MIB;
    assert!(before[taken.clone()].iter().any(|&byte| byte != 0));
    update_of(&world, &present(taken.end), &Silent).unwrap();
    assert!(world.target.to_vec()[..half] == world.source.to_vec()[..]);
    assert!(world.target.to_vec()[taken.clone()] == before[taken]);
}
