//! A disk's new partition table for the kernel, so that the partitions get nodes in /dev.

use super::{Disk, System};
use crate::device::ioctl;
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::text::Shown;
use nix::libc::EBUSY;
use std::fs::File;
use std::io;
use std::path::Path;

/// Makes the kernel know `partitions` (number and place of each) of the disk at `path` and no
/// others. For a plain file there is nothing to tell.
///
/// Call it with the disk's target closed. A partition that stays where it was stays usable. An
/// extended partition around logical ones may be listed and is left to the kernel, which shows a
/// stub of it or nothing.
///
/// # Errors
/// [`Error::Refused`] when a partition that changes or goes is in use, [`Error::Open`] when the
/// kernel does not take the table, [`Error::Invalid`] when `path` is itself a partition.
pub fn tell_kernel(path: &Path, partitions: &[(u32, Extent)]) -> Result<()> {
    let Some(disk) = System::current()?.disk_of(path)? else {
        return Ok(());
    };
    let system = System::current()?;
    let is_whole = system.locate(path)? == system.locate(&disk.path)?;
    if !is_whole {
        return Err(Error::Invalid(format!(
            "{} is a partition: expected the disk, {}",
            path.shown(),
            disk.path.shown()
        )));
    }
    let node = File::open(&disk.path)
        .map_err(|source| failure(&disk, "open to tell the kernel of its partitions", source))?;
    // Where this works the kernel notes names and GUIDs of partitions too. It fails when one is in
    // use, and does nothing useful where the kernel does not read tables: both are settled below,
    // partition by partition.
    let _ = ioctl::reread_table(&node);
    let (containers, wanted): (Vec<_>, Vec<_>) = partitions
        .iter()
        .partition(|(_, extent)| is_container(*extent, partitions));
    let is_kept = |known: &(u32, Extent)| {
        let mut containers = containers.iter();
        wanted.contains(known)
            || containers.any(|(number, extent)| {
                (*number, extent.offset_bytes()) == (known.0, known.1.offset_bytes())
            })
    };
    let known = known_partitions(&disk)?;
    for (number, _) in known.iter().filter(|known| !is_kept(known)) {
        forget(&disk, &node, *number)?;
    }
    for (number, extent) in wanted.iter().filter(|wanted| !known.contains(wanted)) {
        ioctl::add_partition(&node, *number, *extent)
            .map_err(|source| failure(&disk, "tell the kernel of a new partition", source))?;
    }
    let known = known_partitions(&disk)?;
    if known.iter().all(is_kept) && wanted.iter().all(|wanted| known.contains(wanted)) {
        return Ok(());
    }
    let message = format!("expected {wanted:?}, the kernel has {known:?}");
    let source = io::Error::other(message);
    Err(failure(&disk, "tell the kernel of its partitions", source))
}

/// Whether an extent is around others of the table, as an extended partition is.
fn is_container(extent: Extent, partitions: &[(u32, Extent)]) -> bool {
    let mut others = partitions.iter().filter(|(_, other)| *other != extent);
    others.any(|(_, other)| extent.contains(*other))
}

fn forget(disk: &Disk, node: &File, number: u32) -> Result<()> {
    ioctl::delete_partition(node, number).map_err(|source| match source.raw_os_error() {
        Some(EBUSY) => Error::Refused(format!(
            "partition {number} of {} is in use, so the kernel keeps its old place; unmount it and \
             try again",
            disk.path.shown()
        )),
        _ => failure(disk, "make the kernel forget an old partition", source),
    })
}

fn known_partitions(disk: &Disk) -> Result<Vec<(u32, Extent)>> {
    let now = System::current()?.disk_of(&disk.path)?;
    let partitions = now.map_or_else(Vec::new, |disk| disk.partitions);
    Ok(partitions
        .into_iter()
        .map(|part| (part.number, part.extent))
        .collect())
}

fn failure(disk: &Disk, doing: &'static str, source: io::Error) -> Error {
    Error::Open {
        path: disk.path.clone(),
        doing,
        source,
    }
}
