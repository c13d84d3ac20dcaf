//! Files of other programs: what they are, told by their bytes, so that none is taken for a raw disk.

mod archive;
mod document;
mod magic;
mod nbd;
mod packed;
mod virtual_disk;

pub use nbd::{NbdDisk, NbdUri};
pub(crate) use virtual_disk::check_end;
pub use virtual_disk::check_whole;

use crate::packed::Packing;
use klon_partition::device::read_vec;
use klon_partition::filesystem::probe;
use klon_partition::table::{self, Found};
use klon_partition::{Error, ReadAt, Result};

/// What all signatures at the start lie in.
const HEAD_BYTES: u64 = 4096;
/// From this length on a magic number is no chance.
const SURE_BYTES: usize = 6;

/// A file that is no raw disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// What it is, in a few words with an article: `a qcow2 image`.
    pub name: &'static str,
    /// How its disk can be had.
    pub form: Form,
}

/// How the disk in a file can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// qcow2: [`Qcow2`](crate::image::import::qcow2::Qcow2) reads it.
    Qcow2,
    /// A fixed VHD: a raw disk of that many bytes with a footer behind it.
    FixedVhd {
        /// Size of the disk.
        size_bytes: u64,
    },
    /// The disk of a virtual machine that QEMU reads by the driver of this name.
    VirtualDisk {
        /// The name of the driver.
        driver: &'static str,
    },
    /// A packed stream.
    Packed(Packing),
    /// An image of partclone.
    Partclone,
    /// What only its own program makes a disk of: what to do, `{}` for the name of the file.
    Saved {
        /// What to do, as in "`simg2img {} {}.raw` makes it raw".
        advice: &'static str,
    },
    /// Several files in one, and no disk.
    Archive,
    /// One file that is of use by itself: a document, a program, a picture.
    Document,
}

/// What was seen, and whether that can be chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    foreign: Foreign,
    /// Whether more than a few bytes speak for it, so that a table or filesystem beside them does not
    /// count.
    is_sure: bool,
}

/// What a plain file is, if it is no raw disk or volume.
///
/// A few bytes may be chance: where klon also finds a partition table or a filesystem, only a header
/// that is right in itself counts.
///
/// # Errors
/// [`Error::Io`] when the file can't be read; [`Error::Corrupt`] and [`Error::Unsupported`] for a file
/// that is of a known kind beyond doubt, and must not be read: a part of a chain of snapshots, one that
/// names other files by path.
pub fn recognize(file: &dyn ReadAt) -> Result<Option<Foreign>> {
    let size_bytes = file.geometry().size_bytes;
    let len = usize::try_from(size_bytes.min(HEAD_BYTES)).unwrap_or(0);
    let head = read_vec(file, 0, len)?;
    let seen = match virtual_disk::see(file, &head)? {
        Some(seen) => Some(seen),
        None => (magic::see(&head))
            .or_else(|| packed::see(file, &head))
            .or_else(|| archive::see(&head))
            .or_else(|| document::see(&head)),
    };
    let seen = match seen {
        Some(seen) => Some(seen),
        None => magic::see_end(file)?,
    };
    match seen {
        Some(seen) if seen.is_sure || !looks_raw(file)? => Ok(Some(seen.foreign)),
        _ => Ok(None),
    }
}

/// Whether klon finds a partition table or a filesystem in the bytes as they are.
///
/// # Errors
/// [`Error::Io`] when the file can't be read.
pub fn looks_raw(file: &dyn ReadAt) -> Result<bool> {
    let has_table = match table::read(file) {
        Ok(Found::Table(table, _)) => !table.partitions.is_empty(),
        Ok(Found::Blank | Found::NoTable) => false,
        Err(error @ Error::Io { .. }) => return Err(error),
        // Something that is nearly one.
        Err(_) => true,
    };
    Ok(has_table
        || match probe(file) {
            Ok(found) => found.is_some(),
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(_) => false,
        })
}

#[cfg(test)]
mod tests;
