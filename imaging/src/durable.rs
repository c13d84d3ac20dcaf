//! Files that are replaced as a whole: after a power cut there is the old one or the new one.

pub(crate) use klon_partition::durable::{directory_of, sync_name};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use tempfile::{Builder, NamedTempFile};

/// Characters behind the prefix of a file that has no name of its own yet.
pub(crate) const RANDOM_LEN: usize = 6;

/// Begins a file that is to be at `path`: beside it, under a name with `prefix`. Dropped without
/// [`name`] it leaves no trace. As long as it is open it is locked, so that nobody takes it for one that
/// a killed run left.
pub(crate) fn begin(path: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    loop {
        let file = Builder::new()
            .prefix(prefix)
            .rand_bytes(RANDOM_LEN)
            .tempfile_in(directory_of(path))?;
        let is_held = matches!(file.as_file().try_lock(), Err(TryLockError::WouldBlock));
        let looked = fs::symlink_metadata(file.path());
        let is_gone = looked.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        // Between its creation and its lock, another run may have taken it for left over.
        if !is_held && !is_gone {
            return Ok(file);
        }
    }
}

/// Gives a file, whose content is durable, its name instead of the file that has it, durably.
pub(crate) fn name(file: NamedTempFile, path: &Path) -> io::Result<File> {
    let file = file.persist(path)?;
    sync_name(path)?;
    Ok(file)
}

/// Puts the file at `from`, whose content is durable, in the place of the one at `to`, durably.
pub(crate) fn replace(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_name(to)
}

/// Removes the file at `path`; `false` when there is none. The removal becomes durable with the next
/// one in its directory that is.
pub(crate) fn remove_lazily(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes the file at `path` durably, if there is one.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match remove_lazily(path)? {
        true => sync_name(path),
        false => Ok(()),
    }
}

/// Takes space for a file before anything is cloned, where the filesystem can do that.
pub(crate) fn reserve(file: &File, len_bytes: u64) -> io::Result<()> {
    let len = match len_bytes.try_into() {
        Ok(len) if len > 0 => len,
        _ => return Ok(()),
    };
    match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, len) {
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => Ok(()),
        result => Ok(result?),
    }
}
