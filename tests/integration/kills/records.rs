//! What a killed run leaves beside the records goes with the next run; what is in use or another's stays.

use crate::support::tool::signal;
use crate::support::tree::noise;
use crate::support::{Klon, MIB};
use nix::sys::signal::Signal;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The files beside the records that have no name of their own yet.
fn unnamed(klon: &Klon) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(klon.records()) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_unnamed = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(".record-")
    };
    paths.filter(is_unnamed).collect()
}

/// A run that ends with its test, whatever becomes of that.
struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A clone that stands still while its record is being written, and the file of that.
fn stopped(klon: &Klon, target: &str) -> (Run, PathBuf) {
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        let mut command = klon.command(&["clone", "source", target, "--quiet"]);
        let mut run = Run(command.stderr(Stdio::null()).spawn().unwrap());
        if let Some(begun) = stop_at_record(klon, &mut run.0) {
            return (run, begun);
        }
        // On a busy machine a run may end between two looks; a repeat writes a record as well.
    }
    panic!("no record was begun");
}

/// Whether someone holds the lock of a file. Before its writer has locked it, it may be taken for left over.
fn is_locked(path: &Path) -> bool {
    let file = File::open(path).unwrap();
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// Stops `process` while its record is being written; its file, or nothing when it ended before.
fn stop_at_record(klon: &Klon, process: &mut Child) -> Option<PathBuf> {
    loop {
        if let Some(status) = process.try_wait().unwrap() {
            assert!(status.success(), "the clone ended with {status}");
            return None;
        }
        if unnamed(klon).len() == 1 {
            signal(process, Signal::SIGSTOP);
            // Whether a record can be written is tried beforehand, for a moment.
            sleep(Duration::from_millis(20));
            if let [path] = &unnamed(klon)[..]
                && is_locked(path)
            {
                return Some(path.clone());
            }
            signal(process, Signal::SIGCONT);
        }
        sleep(Duration::from_micros(200));
    }
}

#[test]
fn the_record_that_a_killed_run_began_goes_with_the_next_run() {
    let klon = Klon::new();
    fs::write(klon.path("source"), noise(3, 64 * MIB as usize)).unwrap();
    fs::write(klon.path("small"), noise(4, MIB as usize)).unwrap();
    let (run, begun) = stopped(&klon, "target");
    let foreign = klon.records().join(".record-Ab3xYz");
    fs::write(&foreign, "not a record").unwrap();

    // As long as that run is there, its file is.
    klon.ok(&["clone", "small", "other"]);
    assert!(begun.exists() && foreign.exists());

    drop(run);
    assert!(begun.exists());
    klon.ok(&["clone", "small", "other"]);
    assert_eq!(unnamed(&klon), [foreign]);

    klon.ok(&["clone", "source", "target"]);
    klon.ok(&["verify", "target", "source"]);
}

#[test]
fn a_run_that_was_taken_for_killed_keeps_its_record() {
    let klon = Klon::new();
    fs::write(klon.path("source"), noise(3, 64 * MIB as usize)).unwrap();
    fs::write(klon.path("small"), noise(4, MIB as usize)).unwrap();
    let (mut run, _) = stopped(&klon, "target");
    klon.ok(&["clone", "small", "other"]);
    signal(&run.0, Signal::SIGCONT);
    assert!(run.0.wait().unwrap().success());
    assert!(unnamed(&klon).is_empty());
    klon.ok(&["verify", "target"]);
}
