//! Live clones and images as a whole that are struck at random moments: klon and its watchdog are killed and stopped, and
//! memory runs out. Volumes go on, and what stands on the target is unfinished or exact; needs root.
//!
//! `KLON_LIVE_KILLS` makes it longer; `scripts/soak freeze` sets it.

use super::writers::Writers;
use crate::support::dice::Dice;
use crate::support::tool::watchdog_of;
use crate::support::{Klon, LoopDevice, MIB, Mount, Outcome, image, lacks_root, run};
use klon_imaging::mark::Mark;
use klon_partition::device::{look_at, read_vec};
use klon_partition::filesystem::{Basis, usage};
use klon_partition::system::rest;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

const SIZE_BYTES: u64 = 320 * MIB;
/// The longest that the volume may be at rest.
const FREEZE_MAX: &str = "8s";
/// All must go on by then.
const THAWED_MAX: Duration = Duration::from_secs(15);
/// The limit for what must come.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a run brings its source to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    Staged,
    InPlace,
    Image,
}

/// A volume that is written to, and what was made of it.
struct World {
    // Dropped in this order.
    _writers: Writers,
    thaw: Thaw,
    mount: Mount,
    source: LoopDevice,
    klon: Klon,
    /// The file with the state that was committed last, of clones and of images.
    before: [Option<String>; 2],
    /// How long runs of each kind took that nobody struck.
    usual: [Duration; 3],
}

/// Thaws what a failed test would leave frozen.
struct Thaw(File);

impl Drop for Thaw {
    fn drop(&mut self) {
        let _ = rest::thaw(&self.0);
        sleep(Duration::from_millis(20));
    }
}

impl World {
    fn new(kind: &str) -> Self {
        let klon = Klon::new();
        image::sparse(&klon.path("source"), SIZE_BYTES);
        image::sparse(&klon.path("target"), SIZE_BYTES);
        run(&format!("mkfs.{kind}"), &["-q", &klon.text("source")]);
        let source = LoopDevice::new(&klon.path("source"), 512);
        let mount = Mount::new(source.path(), &klon.path("mount"), "rw");
        Self {
            _writers: Writers::start(mount.path()),
            thaw: Thaw(File::open(mount.path()).unwrap()),
            mount,
            source,
            klon,
            before: [None, None],
            usual: [Duration::ZERO; 3],
        }
    }

    /// A run that keeps what it freezes in a file of that name. What is copied while klon is killed is no state of the
    /// volume, but then nothing of it was committed either.
    fn command(&self, goal: Goal, kept: &str) -> Command {
        let (source, target) = (self.source.text(), &*self.klon.text("target"));
        let always = ["--freeze-max", FREEZE_MAX, "--quiet"];
        let arguments: &[&str] = match goal {
            Goal::Staged => &["clone", source, target, "--yes"],
            Goal::InPlace => &["clone", source, target, "--yes", "--in-place"],
            Goal::Image => &["image", source, "x.klon"],
        };
        let mut command = self.klon.command(&[arguments, &always].concat());
        let (source, kept) = (self.klon.text("source"), self.klon.text(kept));
        let keep =
            format!("cp --sparse=always '{source}' '{kept}.part' && mv '{kept}.part' '{kept}'");
        command.env("KLON_TEST_WHILE_FROZEN", keep);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn before(&mut self, goal: Goal) -> &mut Option<String> {
        &mut self.before[usize::from(goal == Goal::Image)]
    }

    /// A run that nobody strikes, which must be exact.
    fn complete(&mut self, goal: Goal, kept: &str) {
        let begun = Instant::now();
        let mut command = self.command(goal, kept);
        let outcome = Outcome::new(&["a run that nobody strikes"], &command.output().unwrap());
        outcome.expect(0);
        self.usual[goal as usize] = begun.elapsed();
        assert!(
            self.is_now(goal, kept),
            "{goal:?}: it is not as it was frozen"
        );
        self.commit(goal, kept);
    }

    /// What is kept is the state that was committed last.
    fn commit(&mut self, goal: Goal, kept: &str) {
        let old = self.before(goal).replace(kept.to_owned());
        if let Some(old) = old.filter(|old| !self.before.iter().flatten().any(|it| it == old)) {
            let _ = fs::remove_file(self.klon.path(&old));
        }
    }

    /// Whether the target, or the last snapshot of the image, is the state in a file that is called so.
    fn is_now(&self, goal: Goal, state: &str) -> bool {
        let state = self.klon.path(state);
        if !state.exists() {
            return false;
        }
        let found = match goal {
            Goal::Image => {
                let _ = fs::remove_file(self.klon.path("restored"));
                image::sparse(&self.klon.path("restored"), SIZE_BYTES);
                let restore = ["restore", "x.klon", &*self.klon.text("restored"), "--yes"];
                self.klon.ok(&restore);
                self.klon.path("restored")
            }
            _ => self.klon.path("target"),
        };
        is_equal(&state, &found)
    }

    /// Fails unless what stands there is unfinished, and klon says so, or an exact state. Says whether it is unfinished.
    fn check(&mut self, goal: Goal, kept: &str, why: &str) -> bool {
        if goal == Goal::Image {
            if !self.klon.path("x.klon").exists() {
                return true;
            }
            let listed = self.klon.run(&["list", "x.klon", "--json"]);
            if listed.code != 0 || listed.lines().is_empty() {
                assert!(self.before[1].is_none(), "{why}: no snapshot is left");
                return true;
            }
        } else {
            let target = look_at(&self.klon.path("target")).unwrap();
            if Mark::read(&target).unwrap().is_some() {
                let target = self.klon.text("target");
                self.klon
                    .refused(&["verify", &target], &["was not finished"]);
                return true;
            }
        }
        if self.is_now(goal, kept) {
            self.commit(goal, kept);
            return false;
        }
        let before = self.before(goal).clone();
        let is_before = before.is_none_or(|before| self.is_now(goal, &before));
        assert!(
            is_before,
            "{why}: neither what was there nor what was frozen"
        );
        false
    }

    /// How long it takes until the volume can be written to.
    fn thawed_after(&self, why: &str) -> Duration {
        let began = Instant::now();
        let (done, receiver) = channel();
        let path = self.mount.path().join("probe");
        spawn(move || {
            let written = fs::write(&path, b"x").and_then(|()| File::open(&path)?.sync_all());
            let _ = done.send(written);
        });
        let written = receiver.recv_timeout(PATIENCE);
        let thawed = rest::thaw(&self.thaw.0);
        assert!(written.is_ok(), "{why}: it stays frozen ({thawed:?})");
        written.unwrap().unwrap();
        began.elapsed()
    }
}

/// Whether all that is in use in a state that was frozen is in `found`.
fn is_equal(state: &Path, found: &Path) -> bool {
    let (state, found) = (look_at(state).unwrap(), look_at(found).unwrap());
    let usage = usage(&state).unwrap();
    // A copy that goes on after klon was killed is of no instant.
    if usage.basis != Basis::Map {
        return false;
    }
    let compared = usage.extents.difference(&usage.blank(&state));
    let mut pieces = compared.iter().flat_map(|extent| extent.split(MIB));
    pieces.all(|piece| {
        let len = usize::try_from(piece.len_bytes()).unwrap();
        let read = |device| read_vec(device, piece.offset_bytes(), len).unwrap();
        read(&state) == read(&found)
    })
}

/// What is done to a run.
fn strike(child: &Child, round: u64) -> &'static str {
    let klon = Pid::from_raw(child.id().try_into().unwrap());
    let send = |signal| {
        let _ = kill(klon, signal);
    };
    let watchdog = |signal| watchdog_of(child.id()).map(|watchdog| kill(watchdog, signal));
    match round % 6 {
        0 => {
            send(Signal::SIGKILL);
            "klon killed"
        }
        1 => {
            send(Signal::SIGSTOP);
            "klon stopped"
        }
        2 => {
            let limit = format!("--as={}", 64 << 20);
            let limited = Command::new("prlimit")
                .args(["--pid", &klon.to_string(), &limit])
                .output();
            drop(limited.unwrap());
            "no more memory"
        }
        3 => {
            watchdog(Signal::SIGKILL);
            "watchdog killed"
        }
        4 => {
            send(Signal::SIGTERM);
            "klon told to end"
        }
        _ => {
            watchdog(Signal::SIGSTOP);
            "watchdog stopped"
        }
    }
}

/// Waits for the end of a run; says whether it was right.
fn end(child: &mut Child, watchdog: Option<Pid>, why: &str) -> bool {
    for pid in [
        Some(Pid::from_raw(child.id().try_into().unwrap())),
        watchdog,
    ] {
        pid.map(|pid| kill(pid, Signal::SIGCONT));
    }
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        assert!(began.elapsed() < PATIENCE, "{why}: klon hangs");
        sleep(Duration::from_millis(20));
    }
}

fn struck(kind: &str, default: u64) {
    if lacks_root() || !cfg!(debug_assertions) {
        return;
    }
    let given = std::env::var("KLON_LIVE_KILLS").ok();
    let rounds = given.map_or(default, |given| given.parse().unwrap());
    if rounds == 0 {
        return;
    }
    let mut world = World::new(kind);
    let mut dice = Dice::new(rounds ^ 0x51);
    for number in [0, 1] {
        for goal in [Goal::Staged, Goal::InPlace, Goal::Image] {
            world.complete(goal, &format!("first-{number}-{goal:?}"));
        }
    }
    let (mut worst, mut unfinished, mut completed) = (Duration::ZERO, 0, 0);
    for round in 0..rounds {
        let goal = [Goal::Staged, Goal::Image, Goal::InPlace][dice.below(3)];
        let kept = format!("kept-{round}");
        let mut child = world.command(goal, &kept).spawn().unwrap();
        let share = dice.below(1000) as f64 / 1000.0;
        sleep(world.usual[goal as usize].mul_f64(share * 1.05));
        let watchdog = watchdog_of(child.id());
        let what = strike(&child, round);
        let why = format!("{kind}, round {round}: {goal:?}, {what}");
        let lasted = world.thawed_after(&why);
        assert!(lasted < THAWED_MAX, "{why}: thawed after {lasted:?}");
        worst = worst.max(lasted);
        completed += u64::from(end(&mut child, watchdog, &why));
        world.thawed_after(&why);
        if world.check(goal, &kept, &why) {
            unfinished += 1;
            // It goes on from there.
            world.complete(goal, &format!("again-{round}"));
        }
    }
    for goal in [Goal::Staged, Goal::Image] {
        world.complete(goal, &format!("last-{goal:?}"));
    }
    world.klon.ok(&["verify", "x.klon"]);
    println!(
        "{kind}: {rounds} strikes of runs of {:?}: thawed after {worst:?} at most; {completed} runs came to their end, \
         {unfinished} left something unfinished",
        world.usual
    );
}

#[test]
fn ext4_goes_on_and_its_copies_are_unfinished_or_exact() {
    struck("ext4", 7);
}

#[test]
fn xfs_goes_on_and_its_copies_are_unfinished_or_exact() {
    struck("xfs", 0);
}

#[test]
fn btrfs_goes_on_and_its_copies_are_unfinished_or_exact() {
    struck("btrfs", 0);
}
