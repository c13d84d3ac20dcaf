//! I/O past the page cache (open(2), `O_DIRECT`): so that what is copied once does not push out
//! what others need.

use super::IoMode;
use super::aligned::AlignedBuffer;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

/// Opens a file that is open here once more, for writing past the page cache.
///
/// # Errors
/// What the system says; not every filesystem can.
pub fn open_direct(file: &File) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .custom_flags(OFlag::O_DIRECT.bits())
        .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Sets it where it is known to work.
pub(super) fn set(file: &File) -> io::Result<()> {
    let flags = flags(file)?;
    fcntl(file, FcntlArg::F_SETFL(flags | OFlag::O_DIRECT))?;
    Ok(())
}

fn flags(file: &File) -> io::Result<OFlag> {
    let flags = fcntl(file, FcntlArg::F_GETFL)?;
    Ok(OFlag::from_bits_retain(flags))
}

/// Sets O_DIRECT, and keeps it only when an aligned read works.
pub(super) fn settle(file: &File, size_bytes: u64, unit_bytes: u64) -> io::Result<IoMode> {
    let buffered = |reason: String| Ok(IoMode::Buffered { reason });
    if size_bytes == 0 {
        return buffered("it is empty".to_owned());
    }
    if !size_bytes.is_multiple_of(unit_bytes) {
        return buffered(format!(
            "its size of {size_bytes} bytes is not a multiple of {unit_bytes}"
        ));
    }
    let flags = flags(file)?;
    if let Err(errno) = fcntl(file, FcntlArg::F_SETFL(flags | OFlag::O_DIRECT)) {
        return buffered(format!("O_DIRECT is refused: {}", errno.desc()));
    }
    // The last unit shows a file system that wants larger ones.
    let mut unit = AlignedBuffer::zeroed(unit_bytes as usize);
    match file.read_exact_at(&mut unit, size_bytes - unit_bytes) {
        Err(source) if source.kind() == io::ErrorKind::InvalidInput => {
            fcntl(file, FcntlArg::F_SETFL(flags))?;
            buffered(format!("a direct read of {unit_bytes} bytes is refused"))
        }
        // A bad sector is met again by whoever needs it.
        _ => Ok(IoMode::Direct),
    }
}
