//! Who may do what to an image at the same time.
//!
//! Those who write to it exclude each other by a lock of its first file (flock). Those who read hold a
//! shared lock of one byte far behind its end (an open file description lock), and a prune, which
//! gives back what they may be about to read, holds that byte alone. What is added to an image
//! changes nothing that is in it, so nobody who reads minds.

use crate::error::refused;
use anyhow::{Context as _, Result};
use klon_partition::Shown;
use klon_partition::text::sealed_bytes;
use klon_partition::{Extent, ExtentMap, Geometry, ReadAt};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{self, SEEK_SET};
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// The byte that is locked by those who read. Filesystems whose locks bind everyone have nothing
/// there.
const READERS_AT: i64 = 1 << 62;
/// How often an image is opened anew when it was replaced in that moment.
const TRIES: u32 = 10;
/// Processes that are named.
const NAMED_MAX: usize = 5;

/// Keeps others from adding to an image and from pruning it, as long as the file is open.
pub fn for_writing(path: &Path) -> Result<File> {
    lock_writers(path, OpenOptions::new().read(true))
}

/// The same, and keeps others from reading it.
pub fn alone(path: &Path) -> Result<File> {
    let file = lock_writers(path, OpenOptions::new().read(true).write(true))?;
    match lock_readers(&file, libc::F_WRLCK) {
        Ok(()) => Ok(file),
        Err(Errno::EAGAIN | Errno::EACCES) => Err(refused(format!(
            "{} is being read{}, and a prune could take away what is read next; wait until that is \
             done, or end it",
            path.shown(),
            holders(&file, "OFDLCK")
        ))),
        Err(error) => Err(refused(format!(
            "whether someone reads {} can't be told, because its filesystem keeps no locks for that \
             ({error}); --compact writes what remains to a new file instead, and takes nothing from \
             those who read",
            path.shown()
        ))),
    }
}

/// Opens an image so that nobody prunes it as long as the device is there; `open` opens what the
/// path names. Where there are no locks, it is opened without.
pub fn reading(path: &Path, open: impl Fn() -> Result<Arc<dyn ReadAt>>) -> Result<Arc<dyn ReadAt>> {
    let named = || fs::metadata(path).ok().as_ref().map(node);
    for _ in 0..TRIES {
        let Ok(file) = File::open(path) else {
            // Says why.
            return open();
        };
        match lock_readers(&file, libc::F_RDLCK) {
            Ok(()) => {}
            Err(Errno::EAGAIN | Errno::EACCES) => {
                return Err(refused(format!(
                    "{} is being pruned by another klon{}; wait until that is done",
                    path.shown(),
                    holders(&file, "OFDLCK")
                )));
            }
            Err(_) => return open(),
        }
        let device = open()?;
        // Compacted meanwhile, it is another file that has the name now.
        if file.metadata().ok().as_ref().map(node) == named() {
            return Ok(Arc::new(Held {
                device,
                _lock: file,
            }));
        }
    }
    Err(refused(format!(
        "{} is replaced again and again while it is opened; run the command again",
        path.shown()
    )))
}

/// A device, and the lock under which it is read.
struct Held {
    device: Arc<dyn ReadAt>,
    _lock: File,
}

impl ReadAt for Held {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> klon_partition::Result<()> {
        self.device.read_exact_at(buffer, offset_bytes)
    }

    fn data(&self, within: Extent) -> klon_partition::Result<ExtentMap> {
        self.device.data(within)
    }
}

fn node(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn lock_writers(path: &Path, options: &OpenOptions) -> Result<File> {
    let given = || path.shown();
    let file = options.open(path).with_context(given)?;
    match file.try_lock() {
        // Compacted meanwhile, it is another file that has the name now.
        Ok(())
            if file.metadata().ok().as_ref().map(node)
                != fs::metadata(path).ok().as_ref().map(node) =>
        {
            Err(refused(format!(
                "{} was replaced while it was opened; run the command again",
                path.shown()
            )))
        }
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(refused(format!(
            "{} is being added to by another klon{}; wait until that is done",
            path.shown(),
            holders(&file, "FLOCK")
        ))),
        Err(TryLockError::Error(error)) => Err(error).with_context(given),
    }
}

/// Locks the byte of the readers, or fails at once.
fn lock_readers(file: &File, kind: libc::c_int) -> nix::Result<()> {
    let lock = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: SEEK_SET as libc::c_short,
        l_start: READERS_AT,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&lock)).map(drop)
}

/// The other processes that hold a lock of this kind on the file, as far as that can be seen:
/// ` (klon mount, process 12)`, or nothing.
fn holders(file: &File, kind: &str) -> String {
    let Ok(own) = file.metadata().as_ref().map(node) else {
        return String::new();
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let named: Vec<String> = processes
        .filter_map(|entry| {
            let id: u32 = entry.file_name().to_str()?.parse().ok()?;
            (id != std::process::id() && holds(&entry.path(), own, kind))
                .then(|| format!("{}, process {id}", command(&entry.path())))
        })
        .take(NAMED_MAX)
        .collect();
    match named.is_empty() {
        true => String::new(),
        false => format!(" ({})", named.join("; ")),
    }
}

/// Whether a process holds a lock on the file (proc_pid_fdinfo(5)). One that ends meanwhile does not.
fn holds(process: &Path, file: (u64, u64), kind: &str) -> bool {
    let descriptors = fs::read_dir(process.join("fdinfo")).into_iter().flatten();
    descriptors.flatten().any(|entry| {
        let target = fs::metadata(process.join("fd").join(entry.file_name()));
        let is_file = target.is_ok_and(|target| node(&target) == file);
        let is_lock = |line: &str| line.starts_with("lock:") && line.contains(kind);
        is_file && fs::read_to_string(entry.path()).is_ok_and(|text| text.lines().any(is_lock))
    })
}

/// A process's program and its first argument, which is klon's command.
fn command(process: &Path) -> String {
    let line = fs::read(process.join("cmdline")).unwrap_or_default();
    let mut words = line.split(|&byte| byte == 0).map(sealed_bytes);
    let program = words.next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let first = words.next().unwrap_or_default();
    let text = format!("{program} {first}");
    text.chars().take(60).collect::<String>().trim().to_owned()
}
