//! What overlays may leave behind: loop devices, FUSE mounts and processes.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

/// A test that looks at what is left of overlays: one at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fails unless all is gone within some seconds: the kernel takes its time when a process is killed.
pub(crate) fn assert_nothing_stays() {
    let mut left = Vec::new();
    for _ in 0..200 {
        left = [rooms(), loops(), mounts()].concat();
        if left.is_empty() {
            return;
        }
        sleep(Duration::from_millis(100));
    }
    panic!("these stay: {left:#?}");
}

/// Processes of this test's klon that work on overlays.
fn rooms() -> Vec<String> {
    let own = std::fs::canonicalize(env!("CARGO_BIN_EXE_klon")).unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let command = processes.filter_map(|process| {
        let program = fs::read_link(process.path().join("exe")).ok()?;
        let command = fs::read(process.path().join("cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        (program == own && command.contains("overlay-room")).then_some(command)
    });
    command.collect()
}

fn loops() -> Vec<String> {
    let devices = fs::read_dir("/sys/block").unwrap().flatten();
    let files = devices.filter_map(|device| {
        let file = fs::read_to_string(device.path().join("loop/backing_file")).ok()?;
        file.contains("klon-overlay").then_some(file)
    });
    files.collect()
}

fn mounts() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let own = mounts
        .lines()
        .filter(|line| line.contains("fuse.klon klon "));
    own.map(str::to_owned).collect()
}
