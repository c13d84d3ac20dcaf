//! A mounted filesystem that can be held at rest, by a descriptor that was opened before.

use super::writers::writers;
use anyhow::{Context as _, Result};
use klon_partition::Shown as _;
use klon_partition::system::rest;
use nix::errno::Errno;
use nix::sys::statvfs::{FsFlags, fstatvfs};
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

/// Those that the kernel can freeze, and that klon knows to be consistent on their device then. FAT, exFAT and NTFS
/// can't be frozen, nor can what is in memory, in a network or a program.
const FREEZABLE: [&str; 6] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs"];

/// Whether a filesystem of that name (as the kernel has it) can be frozen.
pub fn can_be_frozen(filesystem: &str) -> bool {
    FREEZABLE.contains(&filesystem)
}

/// How a filesystem is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Frozen: who writes waits.
    Frozen,
    /// Made read-only: who writes gets an error.
    ReadOnly,
}

/// A mounted filesystem, open.
#[derive(Debug)]
pub struct Volume {
    /// Where it is mounted, for messages.
    pub at: PathBuf,
    /// How it is held.
    pub how: How,
    /// The directory that it is mounted at.
    pub file: File,
}

impl Volume {
    /// Opens what is mounted there; that changes no time of access, which would be a write.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(at: &Path, how: How) -> Result<Self> {
        let file = File::open(at).with_context(|| at.shown())?;
        let at = at.to_owned();
        Ok(Self { at, how, file })
    }

    /// Holds it.
    ///
    /// # Errors
    /// As [`rest::freeze`] and [`rest::set_read_only`].
    pub fn hold(&self) -> io::Result<()> {
        match self.how {
            How::Frozen => rest::freeze(&self.file),
            How::ReadOnly => rest::set_read_only(&self.file, true),
        }
    }

    /// Whether that error says that it can't be made read-only, as a file on it is open for writing.
    pub fn is_open_for_writing(&self, error: &io::Error) -> bool {
        self.how == How::ReadOnly && error.raw_os_error() == Some(Errno::EBUSY as i32)
    }

    /// Lets it go; `false` when it was not held any more.
    ///
    /// # Errors
    /// What the system says: it may be held still.
    pub fn let_go(&self) -> io::Result<bool> {
        match self.how {
            How::Frozen => match rest::thaw(&self.file) {
                Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => Ok(false),
                thawed => thawed.map(|()| true),
            },
            How::ReadOnly => {
                if !self.is_read_only()? {
                    return Ok(false);
                }
                rest::set_read_only(&self.file, false).map(|()| true)
            }
        }
    }

    /// Whether it can't be written to.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_read_only(&self) -> io::Result<bool> {
        let stated = fstatvfs(self.file.as_fd())?;
        Ok(stated.flags().contains(FsFlags::ST_RDONLY))
    }
}

/// Why a volume could not be held, and what to do.
pub fn refusal(volume: &Volume, error: &io::Error) -> String {
    let at = volume.at.shown();
    let errno = error.raw_os_error().map(Errno::from_raw);
    match (volume.how, errno) {
        (How::Frozen, Some(Errno::EBUSY)) => format!(
            "{at} is frozen already, by another program. Wait until that is done, or, if nothing is, thaw it: \
             klon thaw {at}"
        ),
        (How::Frozen, Some(Errno::EOPNOTSUPP)) => {
            format!("the filesystem at {at} can't be frozen. Unmount it, or mount it read-only")
        }
        (How::ReadOnly, Some(Errno::EBUSY)) => {
            let writers = writers(&volume.at);
            let by = match writers.is_empty() {
                true => format!("`fuser -vm {at}` says by whom"),
                false => format!("Open are {}", writers.join(", ")),
            };
            format!("{at} can't be made read-only, as a file on it is open for writing. {by}")
        }
        (_, Some(Errno::EPERM)) => format!("only root may bring {at} to rest: run klon as root"),
        (How::Frozen, _) => format!("{at} can't be frozen: {error}"),
        (How::ReadOnly, _) => format!("{at} can't be made read-only: {error}"),
    }
}
