//! Live clones of volumes in memory, whose moments at rest the tests make up.

use super::{World, identities, noise, options, usage};
use crate::change::{Rested, RungChoice};
use crate::clone::live::{AtRest, Consistency, LiveJob, LiveSource, Rest, clone};
use crate::clone::{Context, Ends, Job};
use crate::progress::{Event, Observer, Silent};
use klon_partition::device::MemoryDevice;
use klon_partition::filesystem::Usage;
use klon_partition::locks::lock;
use klon_partition::{Extent, ExtentMap, WriteAt};
use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

const MIB: u64 = 1 << 20;
const SIZE_BYTES: u64 = 12 * MIB;
const LONG: Duration = Duration::from_secs(60);

/// The first time at rest is too short for anything; the others are long.
#[derive(Default)]
struct Moments(u32);

struct Moment(Duration);

impl Rest for Moments {
    fn rest(&mut self) -> crate::Result<Box<dyn AtRest + Send + '_>> {
        self.0 += 1;
        let left = match self.0 {
            1 => Duration::from_millis(1),
            _ => LONG,
        };
        Ok(Box::new(Moment(left)))
    }

    fn longest(&self) -> Duration {
        LONG
    }
}

impl AtRest for Moment {
    fn since(&self) -> SystemTime {
        SystemTime::now()
    }

    fn left(&self) -> Duration {
        self.0
    }

    fn end(self: Box<Self>) -> crate::Result<Duration> {
        Ok(Duration::ZERO)
    }
}

/// What was told of passes: which event, the total, and what was gone through.
#[derive(Default)]
struct Told(Mutex<Vec<(&'static str, u64, u64)>>);

impl Observer for Told {
    fn event(&self, event: &Event<'_>) {
        let mut told = lock(&self.0);
        match event {
            Event::Started { total_bytes, .. } => told.push(("started", *total_bytes, 0)),
            Event::Again { total_bytes, .. } => told.push(("again", *total_bytes, 0)),
            Event::Advanced { bytes } => told.last_mut().unwrap().2 += bytes,
            _ => {}
        }
    }
}

/// The target: the first half is the clone, and nobody proved the rest free, which is zero.
fn halves() -> Usage {
    let half = SIZE_BYTES / 2;
    Usage {
        unproven: Extent::new(half, half).unwrap().into(),
        ..usage(ExtentMap::whole(SIZE_BYTES))
    }
}

#[test]
fn room_in_which_a_pass_staged_what_came_to_differ_no_more_is_zero_again() {
    let half = usize::try_from(SIZE_BYTES / 2).unwrap();
    let bytes = noise(1, half);
    let world = World::new(bytes.clone(), vec![0; half * 2]);
    let [source_identity, target_identity] = identities();
    let all = || usage(ExtentMap::whole(half as u64));
    let (used, present) = (all(), halves());
    world.run(&used.extents, RungChoice::Auto, &Silent).unwrap();
    let before = world.target.to_vec();
    assert!(before[..half] == bytes);
    let job = Job {
        present: Some(&present),
        ..Job::new(
            "TestClone",
            Ends {
                source: &world.source,
                usage: &used,
                source_identity: &source_identity,
                target: &world.target,
                target_identity: &target_identity,
            },
        )
    };
    let options = options(RungChoice::Auto);
    let looks = Cell::new(0);
    let look = |since| {
        looks.set(looks.get() + 1);
        let now = MemoryDevice::new(bytes.clone(), 512);
        if looks.get() == 1 {
            now.write_all_at(&noise(3, 300_000), 3 * MIB).unwrap();
        }
        let rested = Rested {
            since,
            consistency: Consistency::ReadOnly,
            session: None,
        };
        Ok(LiveSource::of_volume(Arc::new(now), all(), rested))
    };
    let live = LiveJob {
        job,
        look: &look,
        beside: None,
    };
    let told = Told::default();
    let with = Context {
        records: &world.records,
        options: &options,
        observer: &told,
    };
    let done = clone(&[live], &mut Moments::default(), with).unwrap();
    assert_eq!(looks.get(), 2);
    assert_eq!(done[0].rest.freezes.len(), 2);
    assert_eq!(done[0].tally.staged_bytes, 0);
    assert!(world.target.to_vec() == before, "room is not what it was");
    // Nothing shows what is as it was, so all is read again.
    let all = SIZE_BYTES / 2;
    assert_eq!(*lock(&told.0), [("started", all, all), ("again", all, all)]);
}

/// Clones a volume that can't be brought to rest, which is as `states` say at each look, and then as at the last one.
fn read_twice(states: &[u8]) -> (crate::Result<()>, u8, usize) {
    let half = usize::try_from(SIZE_BYTES / 2).unwrap();
    let world = World::new(noise(1, half), vec![0; half * 2]);
    let [source_identity, target_identity] = identities();
    let used = usage(ExtentMap::whole(half as u64));
    let job = Job::new(
        "TestClone",
        Ends {
            source: &world.source,
            usage: &used,
            source_identity: &source_identity,
            target: &world.target,
            target_identity: &target_identity,
        },
    );
    let options = options(RungChoice::Auto);
    let looks = Cell::new(0);
    let look = |since| {
        let state = states.get(looks.get()).or(states.last()).unwrap();
        looks.set(looks.get() + 1);
        let now = MemoryDevice::new(noise(1, half), 512);
        now.write_all_at(&[*state], 3 * MIB).unwrap();
        let rested = Rested {
            since,
            consistency: Consistency::ReadTwice,
            session: None,
        };
        let usage = usage(ExtentMap::whole(half as u64));
        Ok(LiveSource::of_volume(Arc::new(now), usage, rested))
    };
    let live = LiveJob {
        job,
        look: &look,
        beside: None,
    };
    let with = Context {
        records: &world.records,
        options: &options,
        observer: &Silent,
    };
    let done = clone(&[live], &mut Moments(1), with);
    let done = done.map(drop).map_err(|stopped| stopped.error);
    (done, world.target.to_vec()[3 << 20], looks.get())
}

#[test]
fn what_can_not_be_at_rest_is_read_until_two_reads_are_equal() {
    let (done, found, looks) = read_twice(&[1, 1]);
    done.unwrap();
    assert_eq!((found, looks), (1, 2));
    let (done, found, looks) = read_twice(&[1, 2, 2, 3, 4, 4]);
    done.unwrap();
    assert_eq!((found, looks), (4, 6));
}

#[test]
fn what_is_never_the_same_is_refused() {
    let states: Vec<u8> = (1..100).collect();
    let (done, _, looks) = read_twice(&states);
    let said = done.unwrap_err().to_string();
    assert!(said.contains("another one each of the 6 times"), "{said}");
    assert_eq!(looks, 12);
}
