//! Who may do what to an image at the same time.
//!
//! Writers exclude each other by a lock of the first file (flock). Readers hold a shared lock of one byte
//! far behind the end of the file (an open file description lock). A prune frees what readers may be about
//! to read, so it holds this byte alone. Adding to an image changes nothing that is in it, so readers don't
//! mind. klon looks whether there is an image, and what is in it, only when its file is locked.

use crate::advice;
use crate::error::{refused, usage};
use crate::messages::say;
use anyhow::{Context as _, Result};
use klon_imaging::image::ImageFiles;
use klon_partition::Shown;
use klon_partition::device::{FileId, open_plain};
use klon_partition::durable::sync_name;
use klon_partition::text::sealed_bytes;
use klon_partition::{Extent, ExtentMap, Geometry, ReadAt};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{self, SEEK_SET};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Readers lock this byte. No image reaches that far, so even a mandatory lock keeps nobody from data.
const READERS_AT: i64 = 1 << 62;
/// How often an image is opened anew when it was replaced in that moment.
const TRIES: u32 = 10;
/// Processes that are named.
const NAMED_MAX: usize = 5;

/// Keeps others from adding to an image and from pruning it, as long as the file is open.
///
/// # Errors
/// [`refused`] names who holds the image; the error of opening it.
pub fn for_writing(path: &Path) -> Result<File> {
    let open = || Ok((open_plain(path, false)?, false));
    lock_writers(path, open).map(|(file, _)| file)
}

/// The first file of an image, open for reading and writing, which nobody else writes to as long as
/// it is open.
pub struct Claimed {
    /// The file.
    pub file: File,
    /// Its name.
    pub path: PathBuf,
    /// Whether it was made here.
    is_made: bool,
}

impl Claimed {
    /// Opens the file, or makes an empty one; what is in it is looked at only after that, since
    /// somebody else may just have made it.
    pub fn open(path: &Path) -> Result<Self> {
        let (file, is_made) = lock_writers(path, || open_or_make(path))?;
        if is_made {
            sync_name(path).with_context(|| path.shown())?;
        }
        Ok(Self {
            file,
            path: path.to_owned(),
            is_made,
        })
    }

    /// Whether it still is the file of its name: it may have been renamed or removed.
    pub fn is_named(&self) -> bool {
        is_of(&self.file, &self.path)
    }

    /// Takes back what was made here, `file_count` files in all; one that was there is empty again.
    ///
    /// # Errors
    /// The error of the filesystem.
    pub fn discard(&self, file_count: usize) -> Result<()> {
        if !self.is_named() {
            return Ok(());
        }
        let given = || self.path.shown();
        let files = ImageFiles::find(&self.path).with_context(given)?;
        let made = usize::from(!self.is_made)..file_count;
        files.remove(made).with_context(given)?;
        if !self.is_made {
            self.file.set_len(0).with_context(given)?;
        }
        Ok(())
    }
}

/// Opens a file, or makes it where nothing has its name: also a link to nothing has it.
fn open_or_make(path: &Path) -> io::Result<(File, bool)> {
    for _ in 0..TRIES {
        match open_plain(path, true) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => return opened.map(|file| (file, false)),
        }
        match File::create_new(path) {
            // Somebody was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => return made.map(|file| (file, true)),
        }
    }
    let what = "it is a link to a file that does not exist. Remove it, or name the file";
    Err(io::Error::new(ErrorKind::AlreadyExists, what))
}

/// Refuses a new image if one of the same name exists, or is about to, in the other form: in parts, or as one
/// file. Each process makes its own first file before it looks for the other. So when two begin at the same
/// time, at least one sees the other.
///
/// # Errors
/// [`refused`] names the other one.
pub fn no_twin(new: &Claimed, twin: &Path) -> Result<()> {
    let (shown, path) = (twin.shown(), new.path.shown());
    let Ok(found) = open_plain(twin, false) else {
        return Ok(());
    };
    let is_busy = matches!(found.try_lock(), Err(TryLockError::WouldBlock));
    let is_parts = twin.extension().is_some_and(|extension| extension == "000");
    match found.metadata().map_or(0, |found| found.len()) {
        0 if !is_busy && is_parts => {
            say(&format!(
                "klon: {shown} is empty: a first run in parts left it when it was killed. It is no part of \
                 {path}, and can be removed"
            ));
            Ok(())
        }
        0 if !is_busy => Err(refused(format!(
            "{shown} is an empty file, which would hide the image's parts ({path}, …). Remove it, \
             or name another image"
        ))),
        _ if is_busy => Err(refused(format!(
            "another klon{} writes {shown}, an image of the same name. Wait until it is done",
            holders(&found, "FLOCK")
        ))),
        _ => Err(refused(format!(
            "{shown} exists, and {path} would be an image of the same name. Name another one"
        ))),
    }
}

/// As [`for_writing`], and keeps others from reading it.
///
/// # Errors
/// As [`for_writing`], and [`refused`] when someone reads it or the filesystem keeps no locks.
pub fn alone(path: &Path) -> Result<File> {
    let open = || Ok((open_plain(path, true)?, false));
    let (file, _) = lock_writers(path, open)?;
    match lock_readers(&file, libc::F_WRLCK) {
        Ok(()) => Ok(file),
        Err(Errno::EAGAIN | Errno::EACCES) => Err(refused(format!(
            "{} is being read{}, and a prune could remove what is read next. Wait until the \
             reading is done, or end it",
            path.shown(),
            holders(&file, "OFDLCK")
        ))),
        Err(error) => Err(refused(format!(
            "klon can't see whether someone reads {}, because its filesystem keeps no locks \
             ({error}). Use --compact: it writes what remains to a new file, and readers keep the \
             old one",
            path.shown()
        ))),
    }
}

/// Opens an image so that nobody prunes it as long as the device is there; `open` opens what the
/// path names. Where there are no locks, it is opened without.
///
/// # Errors
/// [`refused`] when someone prunes it; what `open` says.
pub fn reading(path: &Path, open: impl Fn() -> Result<Arc<dyn ReadAt>>) -> Result<Arc<dyn ReadAt>> {
    for _ in 0..TRIES {
        let Ok(file) = open_plain(path, false) else {
            // Says why.
            return open();
        };
        match lock_readers(&file, libc::F_RDLCK) {
            Ok(()) => {}
            Err(Errno::EAGAIN | Errno::EACCES) => {
                return Err(refused(format!(
                    "another klon prunes {}{}. Wait until it is done",
                    path.shown(),
                    holders(&file, "OFDLCK")
                )));
            }
            Err(_) => return open(),
        }
        let device = open()?;
        // Compacted meanwhile, it is another file that has the name now.
        if is_of(&file, path) {
            return Ok(Arc::new(Locked {
                device,
                _lock: file,
            }));
        }
    }
    Err(replaced(path))
}

/// A device, and the lock under which it is read.
struct Locked {
    device: Arc<dyn ReadAt>,
    _lock: File,
}

impl ReadAt for Locked {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> klon_partition::Result<()> {
        self.device.read_exact_at(buffer, offset_bytes)
    }

    fn data(&self, within: Extent) -> klon_partition::Result<ExtentMap> {
        self.device.data(within)
    }

    fn sha256(&self, extent: Extent) -> klon_partition::Result<Option<[u8; 32]>> {
        self.device.sha256(extent)
    }
}

/// Whether it is the file of that name.
fn is_of(file: &File, path: &Path) -> bool {
    let named = fs::metadata(path).ok();
    named.is_some()
        && named.as_ref().map(FileId::of) == file.metadata().ok().as_ref().map(FileId::of)
}

/// Opens a file and locks it. Whether it was made is the second thing that `open` tells.
fn lock_writers(path: &Path, open: impl Fn() -> io::Result<(File, bool)>) -> Result<(File, bool)> {
    let given = || path.shown();
    for _ in 0..TRIES {
        let (file, is_made) = match open() {
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                return Err(usage(error.to_string())).with_context(given);
            }
            opened => opened
                .map_err(|error| advice::to_write(error.into(), path, advice::ELSEWHERE))
                .with_context(given)?,
        };
        match file.try_lock() {
            Ok(()) if is_of(&file, path) => return Ok((file, is_made)),
            // Compacted, renamed or removed meanwhile, it is another file that has the name now.
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(refused(format!(
                    "another klon adds to {}{}. Wait until it is done",
                    path.shown(),
                    holders(&file, "FLOCK")
                )));
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(given),
        }
    }
    Err(replaced(path))
}

fn replaced(path: &Path) -> anyhow::Error {
    refused(format!(
        "someone replaces {} again and again while klon opens it. Run the command again",
        path.shown()
    ))
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
    let Ok(own) = file.metadata().as_ref().map(FileId::of) else {
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
    if named.is_empty() {
        String::new()
    } else {
        format!(" ({})", named.join("; "))
    }
}

/// Whether a process holds a lock on the file (proc_pid_fdinfo(5)). One that ends meanwhile does not.
fn holds(process: &Path, file: FileId, kind: &str) -> bool {
    let descriptors = fs::read_dir(process.join("fdinfo")).into_iter().flatten();
    descriptors.flatten().any(|entry| {
        let target = fs::metadata(process.join("fd").join(entry.file_name()));
        let is_file = target.is_ok_and(|target| FileId::of(&target) == file);
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

#[cfg(test)]
mod tests {
    use super::{Claimed, lock_writers, no_twin};
    use std::cell::Cell;
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_that_lost_its_name_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let (path, away) = (directory.path().join("i"), directory.path().join("away"));
        let changes: [&dyn Fn(); 3] = [
            &|| fs::remove_file(&path).unwrap(),
            &|| fs::rename(&path, &away).unwrap(),
            &|| {
                fs::write(&away, "new").unwrap();
                fs::rename(&away, &path).unwrap();
            },
        ];
        for change in changes {
            fs::write(&path, "old").unwrap();
            let opened = Cell::new(0);
            let (file, _) = lock_writers(&path, || {
                let file = File::options().create(true).append(true).open(&path)?;
                opened.set(opened.get() + 1);
                if opened.get() == 1 {
                    change();
                }
                Ok((file, false))
            })
            .unwrap();
            assert_eq!(opened.get(), 2);
            assert_ne!(file.metadata().unwrap().len(), 4);
            assert!(Claimed::open(&path).is_err(), "it is locked");
            drop(file);
            assert!(Claimed::open(&path).unwrap().is_named());
        }
    }

    #[test]
    fn what_was_made_goes_and_what_was_there_is_empty_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let made = Claimed::open(&path("a.000")).unwrap();
        fs::write(path("a.001"), "ours").unwrap();
        fs::write(path("a.002"), "another's").unwrap();
        made.discard(2).unwrap();
        assert!(!path("a.000").exists() && !path("a.001").exists());
        assert!(path("a.002").exists());
        fs::write(path("b"), "").unwrap();
        let found = Claimed::open(&path("b")).unwrap();
        fs::write(path("b"), "begun").unwrap();
        found.discard(1).unwrap();
        assert_eq!(fs::metadata(path("b")).unwrap().len(), 0);
        // Renamed meanwhile, it is not ours to remove.
        let made = Claimed::open(&path("c")).unwrap();
        fs::rename(path("c"), path("d")).unwrap();
        fs::write(path("c"), "another's").unwrap();
        made.discard(1).unwrap();
        assert!(!made.is_named() && path("c").exists() && path("d").exists());
        symlink("nothing", path("e")).unwrap();
        assert!(Claimed::open(&path("e")).is_err());
        assert!(!path("nothing").exists());
    }

    #[test]
    fn one_name_has_one_image() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let plain = Claimed::open(&path("x")).unwrap();
        no_twin(&plain, &path("x.000")).unwrap();
        let parts = Claimed::open(&path("x.000")).unwrap();
        // Each sees the other at work.
        no_twin(&plain, &path("x.000")).unwrap_err();
        no_twin(&parts, &path("x")).unwrap_err();
        drop(parts);
        no_twin(&plain, &path("x.000")).unwrap();
        fs::write(path("x.000"), "an image").unwrap();
        no_twin(&plain, &path("x.000")).unwrap_err();
        drop(plain);
        let parts = Claimed::open(&path("x.000")).unwrap();
        no_twin(&parts, &path("x")).unwrap_err();
    }
}
