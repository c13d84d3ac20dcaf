//! What writes to a mounted volume while it is cloned.

use crate::support::tree::{fill, noise};
use crate::support::{MIB, run};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

/// Writers, until they are dropped.
pub(super) struct Writers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Writers {
    /// Fills a volume with files that nobody changes, and starts.
    pub(super) fn start(root: &Path) -> Self {
        fill(root, 1, 20);
        let busy = root.join("busy");
        fs::create_dir(&busy).unwrap();
        if !Path::new("/usr/bin/chattr").exists() {
            println!("no chattr");
        } else if fs::read_to_string("/proc/self/mounts")
            .unwrap()
            .contains("btrfs")
        {
            // Written in place, and without checksums, where the filesystem can do that.
            let _ = std::process::Command::new("chattr")
                .arg("+C")
                .arg(&busy)
                .status();
        }
        for number in 0..3 {
            fs::write(busy.join(number.to_string()), noise(number, 2 << 20)).unwrap();
        }
        run("sync", &["-f", root.to_str().unwrap()]);
        // What was changed within the second before a freeze is not proven by the next run.
        sleep(Duration::from_millis(1200));
        let stop = Arc::new(AtomicBool::new(false));
        let threads = [overwrite, append, churn].map(|step| spawn(root, &stop, step));
        sleep(Duration::from_millis(200));
        Self {
            threads: threads.into(),
            stop,
        }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a writer failed");
        }
    }
}

fn spawn(root: &Path, stop: &Arc<AtomicBool>, step: fn(&Path, u64)) -> JoinHandle<()> {
    let (root, stop): (PathBuf, _) = (root.to_owned(), Arc::clone(stop));
    std::thread::spawn(move || {
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            step(&root, number);
            number += 1;
            sleep(Duration::from_millis(3));
        }
    })
}

/// Overwrites a piece of a file, and gives it back the times that it had.
fn overwrite(root: &Path, number: u64) {
    let path = root.join("busy").join((number % 3).to_string());
    let file = File::options().write(true).open(&path).unwrap();
    let before = file.metadata().unwrap();
    let at_bytes = number * 7919 * 513 % (2 * MIB - 9000);
    file.write_all_at(&noise(number, 1 + number as usize % 9000), at_bytes)
        .unwrap();
    let time = |seconds, nanoseconds| TimeSpec::new(seconds, nanoseconds);
    let accessed = time(before.atime(), before.atime_nsec());
    let modified = time(before.mtime(), before.mtime_nsec());
    let flags = UtimensatFlags::FollowSymlink;
    utimensat(nix::fcntl::AT_FDCWD, &path, &accessed, &modified, flags).unwrap();
}

/// Writes larger files, again and again.
fn append(root: &Path, number: u64) {
    let path = root.join(format!("large{}", number % 3));
    fs::write(path, noise(number, 1 << 20)).unwrap();
    sleep(Duration::from_millis(20));
}

/// Makes, renames and removes small ones.
fn churn(root: &Path, number: u64) {
    let folder = root.join("churn");
    fs::create_dir_all(&folder).unwrap();
    let path = |number: u64| folder.join((number % 60).to_string());
    fs::write(path(number), noise(number, 300 * (number as usize % 150))).unwrap();
    match number % 5 {
        0 => drop(fs::remove_file(path(number + 20))),
        1 => drop(fs::rename(path(number), path(number + 9))),
        _ => {}
    }
}
