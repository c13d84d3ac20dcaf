//! A run that stops says in which phase.

use super::{SIZE, World, identities, options, usage};
use crate::Error;
use crate::change::RungChoice;
use crate::clone::{Ends, Job, Phase, Stopped, Watch, clone};
use crate::mark::Mark;
use crate::progress::Silent;
use klon_partition::device::{Fault, FaultAt, MemoryDevice};
use klon_partition::{ExtentMap, WriteAt};

fn run(target: &dyn WriteAt, watch: Option<&Watch<'_>>) -> Result<(), Stopped> {
    let world = World::new(vec![1; SIZE], Vec::new());
    let usage = usage(ExtentMap::whole(SIZE as u64));
    let [source_identity, target_identity] = identities();
    let job = Job {
        watch,
        ..Job::new(
            "TestClone",
            Ends {
                source: &world.source,
                usage: &usage,
                source_identity: &source_identity,
                target,
                target_identity: &target_identity,
            },
        )
    };
    let options = options(RungChoice::Auto);
    clone(&job, &world.records, &options, &Silent).map(drop)
}

#[test]
fn phases_ascend_and_before_the_last_step_a_changed_target_is_marked() {
    let before = vec![2; SIZE];
    let mut phases = vec![Phase::Planning];
    for operation in 0.. {
        let target = MemoryDevice::new(before.clone(), 512);
        let target = FaultAt::new(target, Some(Fault::Persistent(operation)));
        let Err(Stopped { phase, error }) = run(&target, None) else {
            break;
        };
        assert!(matches!(error, Error::Target(_)), "{error}");
        let last = phases.last().copied().unwrap();
        assert!(phase >= last, "{phase:?} after {last:?}");
        phases.push(phase);
        let target = target.device();
        let is_unfinished = Mark::read(target).unwrap().is_some() || target.to_vec() == before;
        assert!(is_unfinished || phase >= Phase::Committing, "{phase:?}");
    }
    phases.dedup();
    let all = [
        Phase::Planning,
        Phase::Copying,
        Phase::Committing,
        Phase::Recording,
    ];
    assert_eq!(phases, all);
}

#[test]
fn a_source_that_changed_stops_a_run_before_the_last_step() {
    let target = MemoryDevice::new(vec![2; SIZE], 512);
    let watch = || Ok(Some("it was written to".to_owned()));
    let stopped = run(&target, Some(&watch)).unwrap_err();
    assert_eq!(stopped.phase, Phase::Checking);
    assert!(matches!(stopped.error, Error::SourceChanged(_)));
    assert!(Mark::read(&target).unwrap().is_some());
}
