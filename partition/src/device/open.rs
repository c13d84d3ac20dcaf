//! Opening files and block devices by path.

use super::handle::{Handle, Kind};
use super::{FileId, IoMode, Source, Target, ioctl};
use crate::durable::sync_name;
use crate::error::{Error, Remedy};
use crate::text::Shown;
use nix::libc::{EACCES, EBUSY, EPERM, EROFS, O_CLOEXEC, O_EXCL, O_NOCTTY, O_NONBLOCK};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a target may be busy before it is refused.
const PATIENCE: Duration = Duration::from_millis(300);

const FOR_READING: &str = "open for reading";
const FOR_WRITING: &str = "open for writing";

/// Opens a plain file or a block device for reading, past the page cache where that works.
///
/// A block device is claimed, so that nothing can mount it meanwhile; where something has
/// claimed it already it is opened all the same, and [`Source::is_exclusive`] says no.
///
/// # Errors
/// [`Error::Invalid`] when the path names something else than a plain file or a block device,
/// [`Error::Open`] when it can't be opened or described.
pub fn open_source(path: &Path) -> crate::Result<Source> {
    open_claimed(path, None)
}

fn open_claimed(path: &Path, io_mode: Option<&IoMode>) -> crate::Result<Source> {
    let kind = kind_of(path, FOR_READING)?;
    let open = |flags| OpenOptions::new().read(true).custom_flags(flags).open(path);
    let claimed = match kind {
        Kind::File => open(O_CLOEXEC | O_NONBLOCK).map(|file| (file, false)),
        Kind::Block => match open(O_CLOEXEC | O_EXCL) {
            Err(error) if error.raw_os_error() == Some(EBUSY) => {
                open(O_CLOEXEC).map(|file| (file, false))
            }
            opened => opened.map(|file| (file, true)),
        },
    };
    let (file, is_exclusive) = claimed.map_err(|source| open_error(path, FOR_READING, source))?;
    let handle = Opened {
        file,
        path,
        kind,
        doing: FOR_READING,
    }
    .handle(io_mode)?;
    Ok(Source::new(handle, is_exclusive))
}

/// As [`open_source`], for a device that was open before, and works in this mode. klon reads nothing to find
/// the mode out, because a failing disk would have to seek for it.
///
/// # Errors
/// As [`open_source`].
pub fn open_source_again(path: &Path, io_mode: &IoMode) -> crate::Result<Source> {
    open_claimed(path, Some(io_mode))
}

/// Opens a plain file or a block device for reading without claiming it: to look at what is
/// there, in nobody's way, also where it is to be opened as a target meanwhile.
///
/// # Errors
/// As [`open_source`].
pub fn look_at(path: &Path) -> crate::Result<Source> {
    let kind = kind_of(path, FOR_READING)?;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(O_CLOEXEC | O_NONBLOCK)
        .open(path);
    let file = opened.map_err(|source| open_error(path, FOR_READING, source))?;
    let handle = Opened {
        file,
        path,
        kind,
        doing: FOR_READING,
    }
    .handle(None)?;
    Ok(Source::new(handle, false))
}

/// Opens a plain file, and nothing else: opening a pipe would wait for somebody at its other end,
/// and opening a terminal or a tape would act. With `writable` also for writing.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for anything that is no plain file, and what the system says.
pub fn open_plain(path: &Path, writable: bool) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(writable)
        .custom_flags(O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        .open(path);
    // Some of them can't be opened at all, as sockets.
    let file =
        file.map_err(
            |error| match fs::metadata(path).map(|it| kind_found(it.file_type())) {
                Ok(Err(what)) => not_plain(what),
                _ => error,
            },
        )?;
    match kind_found(file.metadata()?.file_type()) {
        Ok(Kind::File) => Ok(file),
        Ok(Kind::Block) => Err(not_plain("a block device")),
        Err(what) => Err(not_plain(what)),
    }
}

fn not_plain(what: &str) -> io::Error {
    let text = format!("it is {what}, and a plain file is needed");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Opens an existing plain file or a block device for writing, for us alone.
///
/// # Errors
/// [`Error::Refused`] when it is in use or read-only, [`Error::Invalid`] when the path names
/// something else than a plain file or a block device, [`Error::Open`] when it can't be opened or
/// described.
pub fn open_target(path: &Path) -> crate::Result<Target> {
    let kind = kind_of(path, FOR_WRITING)?;
    let flags = match kind {
        Kind::File => O_CLOEXEC | O_NONBLOCK,
        // Without O_CREAT this claims a block device, as mounting it does.
        Kind::Block => O_CLOEXEC | O_EXCL,
    };
    let open = || {
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(path)
    };
    let is_busy = |error: &io::Error| error.raw_os_error() == Some(EBUSY);
    let file = with_patience(open, is_busy).map_err(|source| refusal(path, kind, source))?;
    claim(file, path, kind)
}

/// Opens the disk around a partition that is claimed already, for writing to what belongs to no
/// partition. It can't be claimed: its partition is.
///
/// # Errors
/// As [`open_target`].
pub fn open_around(path: &Path) -> crate::Result<Target> {
    let kind = kind_of(path, FOR_WRITING)?;
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(O_CLOEXEC | O_NONBLOCK)
        .open(path);
    let file = opened.map_err(|source| refusal(path, kind, source))?;
    let opened = Opened {
        file,
        path,
        kind,
        doing: FOR_WRITING,
    };
    Ok(Target::new(opened.handle(None)?))
}

/// Creates a plain file of `size_bytes` zeroes, all of it a hole, and opens it as a target.
///
/// # Errors
/// [`Error::Refused`] when there is something at `path` already, [`Error::Open`] when the file
/// can't be created with this size.
pub fn create_target_file(path: &Path, size_bytes: u64) -> crate::Result<Target> {
    let created = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path);
    let file = match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Error::Refused(format!(
                "{} exists already. To overwrite it, name it as the target",
                path.shown()
            )));
        }
        created => created.map_err(|source| open_error(path, "create", source))?,
    };
    // Before anyone could take it for a file that was there.
    lock(&file, path)?;
    let sized = file
        .set_len(size_bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_name(path));
    if let Err(source) = sized {
        // Ours, new and useless; that the first failure is reported matters more than this one.
        let _ = fs::remove_file(path);
        return Err(open_error(path, "make a file of the wanted size", source));
    }
    let handle = Opened {
        file,
        path,
        kind: Kind::File,
        doing: FOR_WRITING,
    }
    .handle(None)?;
    Ok(Target::new(handle))
}

fn claim(file: File, path: &Path, kind: Kind) -> crate::Result<Target> {
    match kind {
        Kind::File => lock(&file, path)?,
        Kind::Block => {
            let is_read_only = ioctl::is_read_only(&file)
                .map_err(|source| open_error(path, "ask whether it is read-only", source))?;
            if is_read_only {
                return Err(read_only(path));
            }
        }
    }
    let opened = Opened {
        file,
        path,
        kind,
        doing: FOR_WRITING,
    };
    Ok(Target::new(opened.handle(None)?))
}

/// A file that was just opened: by which name, as what, for what.
struct Opened<'a> {
    file: File,
    path: &'a Path,
    kind: Kind,
    doing: &'static str,
}

impl Opened<'_> {
    /// Describes it, in the mode that is known to work, if one is.
    fn handle(self, known: Option<&IoMode>) -> crate::Result<Handle> {
        let Self {
            file,
            path,
            kind,
            doing,
        } = self;
        // The path may have changed hands since it was looked at.
        let opened = file
            .metadata()
            .map_err(|source| open_error(path, doing, source))?;
        check_kind(path, opened.file_type(), Some(kind))?;
        Handle::new(file, path.to_owned(), kind, known)
            .map_err(|source| open_error(path, "ask for its size and sectors", source))
    }
}

/// Keeps others who respect locks from writing to a file, which must still be the one of its name then.
fn lock(file: &File, path: &Path) -> crate::Result<()> {
    match with_patience(|| file.try_lock(), is_locked) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::Refused(format!(
                "{} is locked by another program that writes to it; `fuser -v {0}` names it",
                path.shown()
            )));
        }
        // A filesystem without locks (some network ones) is no reason not to write to it.
        Err(TryLockError::Error(_)) => {}
    }
    let id = |found: io::Result<fs::Metadata>| found.ok().as_ref().map(FileId::of);
    match id(fs::metadata(path)) == id(file.metadata()) {
        true => Ok(()),
        false => Err(Error::Refused(format!(
            "{} was renamed, replaced or removed while it was opened; look at it and try again",
            path.shown()
        ))),
    }
}

const fn is_locked(error: &TryLockError) -> bool {
    matches!(error, TryLockError::WouldBlock)
}

/// Tries again for a moment: what udev or a program that just ended held is soon free.
fn with_patience<T, E>(
    mut attempt: impl FnMut() -> Result<T, E>,
    is_busy: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

fn kind_of(path: &Path, doing: &'static str) -> crate::Result<Kind> {
    // Looked at before it is opened: opening a pipe waits, opening a tape or a tty acts.
    let metadata = fs::metadata(path).map_err(|source| open_error(path, doing, source))?;
    check_kind(path, metadata.file_type(), None)
}

fn check_kind(path: &Path, file_type: fs::FileType, expected: Option<Kind>) -> crate::Result<Kind> {
    match kind_found(file_type) {
        Ok(kind) if expected.is_none_or(|expected| expected == kind) => Ok(kind),
        Ok(_) => Err(Error::Invalid(format!(
            "{} was replaced while it was opened; try again",
            path.shown()
        ))),
        Err(what) => Err(no_device(path, what)),
    }
}

/// The error for what is neither a block device nor a plain file.
fn no_device(path: &Path, what: &str) -> Error {
    Error::Invalid(format!(
        "{} is {what}. Name a block device, or a plain file that holds a disk or a volume",
        path.shown()
    ))
}

/// Which kind of device a file of this type is.
///
/// # Errors
/// [`Error::Invalid`] when it is neither a block device nor a plain file.
pub(crate) fn kind_of_type(path: &Path, file_type: fs::FileType) -> crate::Result<Kind> {
    kind_found(file_type).map_err(|what| no_device(path, what))
}

/// Which kind of device it is, or what else.
fn kind_found(file_type: fs::FileType) -> Result<Kind, &'static str> {
    if file_type.is_file() {
        Ok(Kind::File)
    } else if file_type.is_block_device() {
        Ok(Kind::Block)
    } else if file_type.is_dir() {
        Err("a directory")
    } else if file_type.is_char_device() {
        Err("a character device")
    } else if file_type.is_fifo() {
        Err("a pipe")
    } else {
        Err("a socket")
    }
}

fn refusal(path: &Path, kind: Kind, source: io::Error) -> Error {
    match (kind, source.raw_os_error()) {
        (Kind::Block, Some(EBUSY)) => Error::RefusedUnless {
            reason: format!(
                "{} is in use: mounted, swap, part of a device-mapper, LVM or RAID device, or open in \
                 another disk tool",
                path.shown()
            ),
            remedy: Remedy::ShowUses,
        },
        (Kind::Block, Some(EACCES | EPERM | EROFS)) if is_read_only(path) => read_only(path),
        (Kind::File, Some(EROFS)) => Error::Refused(format!(
            "{} is on a filesystem that is mounted read-only",
            path.shown()
        )),
        (Kind::File, Some(EACCES | EPERM)) => Error::Refused(format!(
            "{} is read-only for this user: {source}",
            path.shown()
        )),
        _ => open_error(path, FOR_WRITING, source),
    }
}

fn is_read_only(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| ioctl::is_read_only(&file).unwrap_or(false))
}

fn read_only(path: &Path) -> Error {
    Error::Refused(format!(
        "{} is read-only; see `blockdev --getro {0}` and the lock switch of the drive",
        path.shown()
    ))
}

fn open_error(path: &Path, doing: &'static str, source: io::Error) -> Error {
    Error::Open {
        path: path.to_owned(),
        doing,
        source,
    }
}
