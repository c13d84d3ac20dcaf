//! klon and its watchdog are killed and stopped at random moments around a freeze, while writers write. All
//! volumes can be written to afterwards.
//!
//! `KLON_FREEZE_KILLS` makes it longer; `scripts/soak freeze` sets it.

use super::{Hold, Volume};
use crate::support::{Klon, lacks_root};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

/// Writes to a directory until it is told to stop.
fn writer(at: &Path, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let (path, stop) = (at.join("written"), Arc::clone(stop));
    spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            fs::write(&path, vec![1; 200_000]).unwrap();
            sleep(Duration::from_millis(5));
        }
    })
}

/// What is done to klon and its watchdog.
fn strike(hold: &Hold, round: u64) -> &'static str {
    let dog = |signal| {
        let watchdog = hold.watchdog();
        watchdog.map(|watchdog| kill(watchdog, signal));
    };
    match round % 6 {
        0 => {
            hold.signal(Signal::SIGKILL);
            "klon killed"
        }
        1 => {
            hold.signal(Signal::SIGSTOP);
            "klon stopped"
        }
        2 => {
            hold.signal(Signal::SIGTERM);
            "klon told to end"
        }
        3 => {
            dog(Signal::SIGKILL);
            "watchdog killed"
        }
        4 => {
            dog(Signal::SIGSTOP);
            "watchdog stopped"
        }
        _ => {
            hold.signal(Signal::SIGQUIT);
            "klon ended by a signal that it knows nothing of"
        }
    }
}

fn ends(pid: Pid) -> bool {
    (0..1200).any(|_| {
        kill(pid, None).is_err() || {
            sleep(Duration::from_millis(50));
            false
        }
    })
}

#[test]
fn nothing_stays_frozen_whatever_is_killed() {
    if lacks_root() {
        return;
    }
    let rounds = std::env::var("KLON_FREEZE_KILLS").map_or(12, |given| given.parse().unwrap());
    let klon = Klon::new();
    let volumes = [("ext4", "one"), ("xfs", "two")];
    let volumes = volumes.map(|(kind, name)| Volume::new(&klon, kind, name, "rw"));
    let stop = Arc::new(AtomicBool::new(false));
    let writers = volumes.each_ref().map(|it| writer(it.mount.path(), &stop));
    let (mut frozen, mut worst) = (0, Duration::ZERO);
    for round in 0..rounds {
        let [one, two] = volumes.each_ref().map(Volume::at);
        let options = ["--together", "--for", "700ms", "--freeze-max", "2s"];
        let mut hold = Hold::start(&klon, &[&[one, two], &options[..]].concat());
        // Half of them come while the watchdog is started or the volumes are being frozen.
        let watchdog = match round % 2 {
            0 => None,
            _ => (0..2000).find_map(|_| {
                sleep(Duration::from_millis(1));
                hold.watchdog()
            }),
        };
        sleep(Duration::from_millis(round * 73 % 400));
        let watchdog = hold.watchdog().or(watchdog);
        let what = strike(&hold, round);
        let struck = Instant::now();
        for volume in &volumes {
            volume.assert_thawed(&format!("round {round}: {what}"));
        }
        let lasted = struck.elapsed();
        frozen += u32::from(lasted > Duration::from_millis(100));
        worst = worst.max(lasted);
        watchdog.map(|watchdog| kill(watchdog, Signal::SIGCONT));
        // One that froze only now, without a watchdog, must not be killed as well.
        let is_ended = hold.comes_to_its_end();
        assert!(is_ended, "round {round}: {what}: klon hangs");
        for volume in &volumes {
            volume.assert_thawed(&format!("round {round}: {what}, after its end"));
        }
        drop(hold);
        assert!(
            watchdog.is_none_or(ends),
            "round {round}: {what}: its watchdog stays"
        );
    }
    stop.store(true, Ordering::Relaxed);
    writers
        .into_iter()
        .for_each(|writer| writer.join().unwrap());
    println!(
        "{rounds} strikes, {frozen} while something was frozen; thawed after {worst:?} at most"
    );
}
