//! One volume, frozen and thawed: by klon, by the watchdog, by others.

use super::{Hold, PATIENCE, Volume};
use crate::support::{Klon, LoopDevice, Mount, lacks_root, run};
use klon_partition::system::rest;
use nix::sys::signal::Signal;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::spawn;
use std::time::Duration;

/// A copy of the device is that of an instant: its own checker has nothing to say.
fn assert_consistent(klon: &Klon, kind: &str) {
    let copy = klon.text("copy.img");
    fs::copy(klon.path("volume.img"), &copy).unwrap();
    match kind {
        "ext4" => drop(run("e2fsck", &["-f", "-n", &copy])),
        "btrfs" => drop(run("btrfs", &["check", "--force", &copy])),
        _ => {
            // A frozen log has one record more, which a mount takes.
            let device = LoopDevice::new(&klon.path("copy.img"), 512);
            drop(Mount::new(device.path(), &klon.path("copy"), "nouuid"));
            run("xfs_repair", &["-n", device.text()]);
        }
    }
}

#[test]
fn a_frozen_volume_is_of_one_instant_and_its_writers_go_on() {
    if lacks_root() {
        return;
    }
    for kind in ["ext4", "xfs", "btrfs"] {
        let klon = Klon::new();
        let volume = Volume::new(&klon, kind, "volume", "rw");
        let stop = Arc::new(AtomicBool::new(false));
        let writer = {
            let (stop, path) = (Arc::clone(&stop), volume.path("written"));
            spawn(move || {
                let mut rounds = 0_usize;
                while !stop.load(Ordering::Relaxed) {
                    rounds += 1;
                    fs::write(&path, vec![rounds as u8; 100_000]).unwrap();
                }
            })
        };
        let arguments = [volume.at(), "--for", "100s", "--freeze-max", "100s"];
        let mut hold = Hold::at_rest(&klon, &arguments);
        let written = volume.write("while-frozen");
        let before = fs::read(volume.path("written")).unwrap();
        written
            .recv_timeout(Duration::from_millis(300))
            .unwrap_err();
        assert!(
            fs::read(volume.path("written")).unwrap() == before,
            "{kind}"
        );
        assert_consistent(&klon, kind);
        hold.signal(Signal::SIGTERM);
        let (code, said) = hold.ended();
        assert_eq!(code, Some(130), "{said}");
        written.recv_timeout(PATIENCE).unwrap().unwrap();
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    }
}

#[test]
fn the_time_limit_thaws_and_the_run_is_refused() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    let volume = Volume::new(&klon, "ext4", "volume", "rw");
    let arguments = [volume.at(), "--for", "100s", "--freeze-max", "300ms"];
    let mut hold = Hold::at_rest(&klon, &arguments);
    volume.assert_thawed("time limit");
    hold.signal(Signal::SIGINT);
    let (code, said) = hold.ended();
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains("300ms") && said.contains("--freeze-max allows more"),
        "{said}"
    );
    let outcome = klon.ok(&["hold", volume.at(), "--for", "10ms"]);
    outcome.shows(&["frozen since", "ms to be at rest"]);
}

#[test]
fn what_others_freeze_and_thaw_is_noticed_and_left_to_them() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    let volume = Volume::new(&klon, "ext4", "volume", "rw");
    let other = Volume::new(&klon, "xfs", "other", "rw");
    rest::freeze(&volume.thaw).unwrap();
    let both = ["hold", other.at(), volume.at(), "--together"];
    klon.refused(
        &both,
        &["is frozen already, by another program", "klon thaw"],
    );
    other.assert_thawed("the other is frozen by someone else");
    // It is still frozen, and only who is asked for it thaws it.
    let thawed = klon.json(&["thaw", volume.at()]);
    assert_eq!(thawed["was_frozen"], true);
    assert_eq!(thawed["at"], volume.at());
    let again = klon.ok(&["thaw", volume.at(), other.at()]);
    again.shows(&["volume was not frozen", "other was not frozen"]);
    let mut hold = Hold::at_rest(&klon, &[volume.at(), "--for", "5s", "--freeze-max", "100s"]);
    rest::thaw(&volume.thaw).unwrap();
    let (code, said) = hold.ended();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("someone else let go of"), "{said}");
    let missing = klon.run(&["thaw", "nowhere"]).expect(4);
    missing.says(&["nowhere"]);
}

#[test]
fn without_a_watchdog_nothing_stays_frozen() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    let volume = Volume::new(&klon, "ext4", "volume", "rw");
    let arguments = [volume.at(), "--for", "100s", "--freeze-max", "100s"];
    let mut hold = Hold::at_rest(&klon, &arguments);
    nix::sys::signal::kill(hold.watchdog().unwrap(), Signal::SIGKILL).unwrap();
    volume.assert_thawed("watchdog killed");
    hold.signal(Signal::SIGINT);
    let (code, said) = hold.ended();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("watchdog ended"), "{said}");
    // One that does not answer is as good as none.
    let refused = klon.run(&["watchdog", "1", "frozen:3"]).expect(2);
    refused.says(&["klon starts its watchdog itself"]);
}

#[test]
fn hooks_are_run_around_and_one_that_fails_freezes_nothing() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    let volume = Volume::new(&klon, "ext4", "volume", "rw");
    // Both can write to the volume, so neither is run while it is frozen.
    let note = |what: &str| format!("echo {what} >>{}", volume.path("log").to_str().unwrap());
    let (before, after) = (note("before"), note("after"));
    let hooks = ["--before-freeze", &before, "--after-thaw", &after];
    klon.ok(&[&["hold", volume.at()], &hooks[..]].concat());
    assert_eq!(
        fs::read_to_string(volume.path("log")).unwrap(),
        "before\nafter\n"
    );
    let fails = [
        "hold",
        volume.at(),
        "--before-freeze",
        "exit 1",
        "--after-thaw",
        &after,
    ];
    let outcome = klon.refused(
        &fails,
        &["\"exit 1\" failed with exit code 1", "nothing was frozen"],
    );
    assert!(!outcome.stdout.contains("at rest"), "{}", outcome.stdout);
    let fails = ["hold", volume.at(), "--after-thaw", "exit 1"];
    klon.run(&fails).expect(4).says(&["look after it"]);
}
