//! Copies of a busy filesystem as a power cut would leave it: at one instant, while it is mounted
//! and written to.

use super::tree::noise;
use super::{LoopDevice, MIB, Mount, image, run};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

/// Files that are synced and kept; then the writers only churn.
const KEPT_MAX: u64 = 1200;

/// An XFS with reflinks, where a file is copied at one instant: no write to it is under way while
/// its extents are shared.
pub(crate) struct Host {
    mount: Mount,
    _device: LoopDevice,
}

impl Host {
    /// Makes it in a file of `directory`.
    pub(crate) fn new(directory: &Path) -> Self {
        let file = directory.join("host");
        image::sparse(&file, 4096 * MIB);
        run(
            "mkfs.xfs",
            &["-q", "-m", "reflink=1", file.to_str().unwrap()],
        );
        let device = LoopDevice::new(&file, 512);
        let mount = Mount::new(device.path(), &directory.join("host.mnt"), "rw");
        Self {
            mount,
            _device: device,
        }
    }

    /// A path on it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.mount.path().join(name)
    }

    /// Copies one of its files to another, at one instant.
    pub(crate) fn snapshot(&self, from: &str, to: &str) {
        let paths = [from, to].map(|name| self.path(name));
        let [from, to] = paths.each_ref().map(|path| path.to_str().unwrap());
        run("cp", &["--reflink=always", from, to]);
    }
}

/// Numbers of files whose content, name and directory had been synced.
pub(crate) type Kept = Vec<u64>;

/// The content of a kept file.
fn content(number: u64) -> Vec<u8> {
    let lens = [1, 300, 4096, 9000, 33_000, 150, 70_000];
    noise(number, lens[usize::try_from(number).unwrap() % lens.len()])
}

fn folder(root: &Path, number: u64) -> PathBuf {
    root.join(format!("kept/{}", number % 5))
}

/// Fails unless each of the `kept` files is under `root` with its content.
pub(crate) fn check(root: &Path, kept: &Kept) {
    for &number in kept {
        let path = folder(root, number).join(number.to_string());
        let found = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(found == content(number), "{} differs", path.display());
    }
}

/// Two writers in a mounted filesystem: one syncs each of its files and keeps a list of them, the
/// other makes, cuts, renames and removes files and syncs nothing.
struct Writers {
    stop: Arc<AtomicBool>,
    kept: Arc<Mutex<Kept>>,
    threads: Vec<JoinHandle<()>>,
}

impl Writers {
    fn start(root: &Path) -> Self {
        let (stop, kept) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let threads = vec![
            spawn(root, &stop, {
                let kept = Arc::clone(&kept);
                move |root, number| keep(root, number, &kept)
            }),
            spawn(root, &stop, churn),
        ];
        Self {
            stop,
            kept,
            threads,
        }
    }

    fn kept(&self) -> Kept {
        self.kept.lock().unwrap().clone()
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

fn spawn(
    root: &Path,
    stop: &Arc<AtomicBool>,
    step: impl Fn(&Path, u64) + Send + 'static,
) -> JoinHandle<()> {
    let (root, stop) = (root.to_owned(), Arc::clone(stop));
    std::thread::spawn(move || {
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            step(&root, number);
            number += 1;
        }
    })
}

fn sync(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

/// Writes a file, some under another name first, and notes it once all of it is durable.
fn keep(root: &Path, number: u64, kept: &Mutex<Kept>) {
    let folder = folder(root, number);
    if number < 5 {
        fs::create_dir_all(&folder).unwrap();
        sync(&root.join("kept"));
        sync(root);
    }
    if number >= KEPT_MAX {
        sleep(Duration::from_millis(1));
        fs::write(folder.join("again"), content(number)).unwrap();
        return sync(&folder.join("again"));
    }
    let path = folder.join(number.to_string());
    let first = if number.is_multiple_of(3) {
        folder.join("new")
    } else {
        path.clone()
    };
    let mut file = File::create(&first).unwrap();
    file.write_all(&content(number)).unwrap();
    file.sync_all().unwrap();
    if first != path {
        fs::rename(&first, &path).unwrap();
    }
    sync(&folder);
    kept.lock().unwrap().push(number);
}

fn churn(root: &Path, number: u64) {
    let folder = root.join(format!("churn/{}", number / 90 % 4));
    fs::create_dir_all(&folder).unwrap();
    let path = |number: u64| folder.join((number % 60).to_string());
    fs::write(path(number), noise(number, 500 * (number as usize % 150))).unwrap();
    match number % 7 {
        0 => drop(fs::remove_file(path(number + 20))),
        1 => drop(fs::rename(path(number), path(number + 9))),
        2 => File::options()
            .write(true)
            .open(path(number))
            .and_then(|file| file.set_len(number % 5000))
            .unwrap(),
        3 if number % 90 == 3 => drop(fs::remove_dir_all(&folder)),
        _ => {}
    }
}

/// Mounts `volume`, a file of the host, has it written to, and copies it at as many instants as
/// there are names; gives what was durable before each.
pub(crate) fn snapshots(host: &Host, volume: &str, options: &str, names: &[&str]) -> Vec<Kept> {
    let device = LoopDevice::new(&host.path(volume), 512);
    let mount = Mount::new(device.path(), &host.path("busy.mnt"), options);
    let writers = Writers::start(mount.path());
    let start = Instant::now();
    let mut before = 0;
    let snapshot = |name: &&str| {
        while writers.kept().len() < before + 60 {
            sleep(Duration::from_millis(10));
            let is_late = start.elapsed() > Duration::from_secs(60);
            assert!(!is_late, "the writer is stuck");
        }
        let kept = writers.kept();
        before = kept.len();
        host.snapshot(volume, name);
        kept
    };
    names.iter().map(snapshot).collect()
}
