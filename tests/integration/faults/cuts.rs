//! The power fails at every sync of a run and at random points: of what was written since the last
//! sync any part has reached the medium, in any order, writes torn between sectors. Then what is
//! there is what was there, unmistakably unfinished, or exact; and the next run, with the records
//! as they were at that moment, ends with an exact clone.
//!
//! `KLON_POWER_CUTS` is how many random points each scenario has (100; `scripts/power-cuts` takes 500), `KLON_POWER_SEED` chooses
//! others.

use super::journal::{Cut, Journal, Tape, files, put_files};
use super::staged::Stage;
use super::{
    Scene, check_state, clone_to, disk_scene, ext4_scene, is_equal, set_source, start, wanted,
};
use crate::support::dice::Dice;
use crate::support::scratch::in_memory;
use crate::support::tool::command;
use klon_imaging::intent::Interrupted;
use klon_imaging::mark::Mark;
use klon_imaging::{Error, RecordStore};
use klon_partition::Identity;
use klon_partition::device::MemoryDevice;
use klon_partition::device::fault::{Fault, FaultAt};
use std::path::Path;
use std::rc::Rc;
use tempfile::TempDir;

/// How often the next run is tried, and how often e2fsck is asked.
const NEXT_EVERY: usize = 4;
const E2FSCK_EVERY: usize = 40;

fn of_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

/// A way to cut the power, again and again.
struct Sweep {
    name: String,
    seed: u64,
    points: usize,
    directory: TempDir,
}

impl Sweep {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            seed: of_environment("KLON_POWER_SEED", 1),
            points: of_environment("KLON_POWER_CUTS", 100) as usize,
            directory: in_memory(),
        }
    }

    /// Gives each cut of `tape` to `judge`, with its number and what to say of it.
    fn over(&self, tape: &Tape, points: usize, mut judge: impl FnMut(usize, &str, Cut)) {
        let mut dice = Dice::new(self.seed);
        let mut count = 0;
        for (number, cut) in tape.cuts(points, &mut dice).enumerate() {
            let Self { name, seed, .. } = self;
            let context = format!(
                "{name}, power cut {number} in operation {} of {} (KLON_POWER_SEED={seed}, \
                 KLON_POWER_CUTS={points})",
                cut.point,
                tape.len()
            );
            judge(number, &context, cut);
            count = number + 1;
        }
        assert!(count > points && tape.len() > 5, "{}: {count}", self.name);
    }

    /// The records as a cut left them.
    fn records(&self, cut: &Cut) -> RecordStore {
        put_files(self.directory.path(), &cut.records);
        RecordStore::new(self.directory.path().to_owned())
    }
}

/// Records a run to a device that holds `image`.
fn tape_of(image: Vec<u8>, directory: &Path, run: impl FnOnce(&Journal)) -> Tape {
    let journal = Journal::new(image, directory);
    run(&journal);
    journal.end()
}

fn sweep_in_place(name: &str, scene: &Scene, original: Vec<u8>, records: &Path, was_clone: bool) {
    let sweep = Sweep::new(name);
    let source = set_source(&scene.after);
    let used = wanted(&scene.after);
    let store = RecordStore::new(records.to_owned());
    let tape = tape_of(original.clone(), records, |target| {
        clone_to(&source, target, &store).unwrap();
    });
    sweep.over(&tape, sweep.points, |number, context, cut| {
        check_state(scene, context, &cut.image, &original, was_clone);
        if number.is_multiple_of(NEXT_EVERY) {
            let store = sweep.records(&cut);
            let target = MemoryDevice::new(cut.image, 512);
            clone_to(&source, &target, &store).unwrap_or_else(|e| panic!("{context}: {e}"));
            let target = target.to_vec();
            assert!(Mark::parse(&target).is_none(), "{context}");
            assert!(is_equal(&used, &target, &scene.after), "{context}");
            if number.is_multiple_of(E2FSCK_EVERY) && scene.name == "ext4" {
                e2fsck(context, &target, sweep.directory.path());
            }
        }
    });
}

/// Fails unless e2fsck finds nothing wrong with the volume.
fn e2fsck(context: &str, volume: &[u8], directory: &Path) {
    let path = directory.join("volume");
    std::fs::write(&path, volume).unwrap();
    let output = command("e2fsck").arg("-fn").arg(&path).output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{context}: {text}");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn first_clones() {
    for scene in [ext4_scene(), disk_scene()] {
        let (original, records) = start(&scene, false);
        let name = format!("first clone, {}", scene.name);
        sweep_in_place(&name, &scene, original, records.path(), false);
    }
}

#[test]
fn repeats_in_place() {
    for scene in [ext4_scene(), disk_scene()] {
        let (original, records) = start(&scene, true);
        let name = format!("repeat in place, {}", scene.name);
        sweep_in_place(&name, &scene, original, records.path(), true);
    }
}

/// A target on which a run was stopped when some of its chunks were done, and the records with
/// its log.
fn stopped(scene: &Scene, is_repeat: bool) -> (Vec<u8>, TempDir) {
    for operation in 20.. {
        let (original, directory) = start(scene, is_repeat);
        let records = RecordStore::new(directory.path().to_owned());
        let target = MemoryDevice::new(original, 512);
        let source = FaultAt::new(set_source(&scene.after), Some(Fault::Persistent(operation)));
        let error = clone_to(&source, &target, &records)
            .expect_err("too few chunks are written before the last is read");
        assert!(matches!(error, Error::Source(_)), "{error}");
        let log = records.log_path(&Identity::Path("/target".to_owned()));
        let Some(log) = Interrupted::load(&log).unwrap() else {
            continue;
        };
        let target = target.to_vec();
        let is_marked = Mark::parse(&target).is_some_and(|mark| mark.run == log.run);
        if is_marked && log.done().unwrap().count() > 0 {
            return (target, directory);
        }
    }
    unreachable!("the source has an end")
}

#[test]
fn runs_that_go_on_with_an_interrupted_one() {
    for is_repeat in [false, true] {
        let mut scene = ext4_scene();
        // Of chunks that changed, some are left when others are written.
        scene.name = "ext4 with a change everywhere";
        for used in wanted(&scene.after).iter() {
            for part in used
                .split(1 << 20)
                .filter(|part| part.offset_bytes() >= 1 << 20)
            {
                scene.after[part.end_bytes() as usize - 1] ^= 1;
            }
        }
        let (original, records) = stopped(&scene, is_repeat);
        let name = format!("resumed, {}, repeat {is_repeat}", scene.name);
        sweep_in_place(&name, &scene, original, records.path(), false);
    }
}

/// A tape of an update of `stage`.
fn update_tape(stage: &Stage) -> Tape {
    let directory = in_memory();
    put_files(directory.path(), &files(stage.records.path()));
    let records = RecordStore::new(directory.path().to_owned());
    tape_of(stage.drive.clone(), directory.path(), |drive| {
        stage.update(drive, &records).unwrap();
    })
}

/// Judges what a cut left of a staged update, then lets the next run have it.
fn judge_staged(sweep: &Sweep, stage: &Stage, number: usize, context: &str, cut: Cut) {
    let has_next = number.is_multiple_of(NEXT_EVERY);
    let records = has_next.then(|| sweep.records(&cut));
    // The program finishes first; a run that does not must be as right.
    let unfinished =
        (has_next && !number.is_multiple_of(2 * NEXT_EVERY)).then(|| cut.image.clone());
    let mut drive = stage.finished(context, cut.image);
    let Some(records) = records else {
        return;
    };
    if let Some(image) = unfinished {
        drive = MemoryDevice::new(image, 512);
    }
    stage
        .update(&drive, &records)
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    stage.check_new(context, &drive);
    if number.is_multiple_of(E2FSCK_EVERY) && stage.scene.name == "ext4" {
        let image = drive.to_vec();
        e2fsck(context, stage.volume_of(&image), sweep.directory.path());
    }
}

#[test]
fn staged_repeats() {
    for (number, stage) in Stage::all().iter().enumerate() {
        let sweep = Sweep::new(&format!("staged repeat {number}"));
        sweep.over(&update_tape(stage), sweep.points, |number, context, cut| {
            judge_staged(&sweep, stage, number, context, cut);
        });
    }
}

/// The drive when the mark of a staged update has just become durable, and the records.
fn staged(stage: &Stage, sweep: &Sweep) -> Cut {
    let is_staged = |cut: &Cut| {
        let mark = Mark::parse(stage.volume_of(&cut.image));
        mark.is_some_and(|mark| mark.staged.is_some_and(|staged| !staged.is_begun))
    };
    let mut dice = Dice::new(sweep.seed);
    let tape = update_tape(stage);
    let found = tape.cuts(0, &mut dice).find(is_staged);
    found.expect("a cut after the mark")
}

/// A tape of the finishing of `image`.
fn finish_tape(stage: &Stage, image: Vec<u8>, directory: &Path) -> Tape {
    tape_of(image, directory, |drive| {
        assert!(stage.finish(drive).unwrap());
    })
}

#[test]
fn updates_being_finished_and_finished_again() {
    for (which, stage) in Stage::all().iter().enumerate() {
        let sweep = Sweep::new(&format!("finishing {which}"));
        let begun = staged(stage, &sweep);
        put_files(sweep.directory.path(), &begun.records);
        let tape = finish_tape(stage, begun.image.clone(), sweep.directory.path());
        let mut left = Vec::new();
        sweep.over(&tape, sweep.points, |number, context, cut| {
            let cut = Cut {
                records: Rc::clone(&begun.records),
                ..cut
            };
            let is_marked = Mark::parse(stage.volume_of(&cut.image)).is_some();
            if is_marked && number % (sweep.points / 10).max(1) == 0 {
                left.push(cut.clone());
            }
            judge_staged(&sweep, stage, number, context, cut);
        });
        assert!(!left.is_empty());
        let again = Sweep::new(&format!("finishing {which} again"));
        let points = sweep.points / left.len();
        for cut in left {
            let tape = finish_tape(stage, cut.image.clone(), again.directory.path());
            again.over(&tape, points, |number, context, second| {
                let context = format!("{context} after one in operation {}", cut.point);
                let second = Cut {
                    records: Rc::clone(&cut.records),
                    ..second
                };
                judge_staged(&again, stage, number, &context, second);
            });
        }
    }
}
