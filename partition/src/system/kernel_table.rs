//! Telling the kernel of a disk's new partition table, so that the partitions get nodes in /dev.

use super::{Disk, System};
use crate::device::ioctl;
use crate::error::{Error, Result};
use crate::extent::Extent;
use nix::libc::EBUSY;
use std::fs::File;
use std::io;
use std::path::Path;

/// Makes the kernel know `partitions` (number and place of each) of the disk at `path` and no
/// others. For a plain file there is nothing to tell.
///
/// Call it with the disk's target closed. A partition that stays where it was stays usable.
///
/// # Errors
/// [`Error::Refused`] when a partition that changes or goes is in use, [`Error::Open`] when the
/// kernel does not take the table, [`Error::Invalid`] when `path` is itself a partition.
pub fn tell_kernel(path: &Path, partitions: &[(u32, Extent)]) -> Result<()> {
    let Some(disk) = System::current()?.disk_of(path)? else {
        return Ok(());
    };
    let is_whole = System::current()?.locate(path)? == System::current()?.locate(&disk.path)?;
    if !is_whole {
        return Err(Error::Invalid(format!(
            "{} is a partition: expected the disk, {}",
            path.display(),
            disk.path.display()
        )));
    }
    let node = File::open(&disk.path)
        .map_err(|source| failure(&disk, "open to tell the kernel of its partitions", source))?;
    // Where this works the kernel notes names and GUIDs of partitions too. It fails when one is in
    // use, and does nothing useful where the kernel does not read tables: both are settled below,
    // partition by partition.
    let _ = ioctl::reread_table(&node);
    let known = known_partitions(&disk)?;
    for (number, extent) in &known {
        if !partitions.contains(&(*number, *extent)) {
            forget(&disk, &node, *number)?;
        }
    }
    for (number, extent) in partitions {
        if !known.contains(&(*number, *extent)) {
            ioctl::add_partition(&node, *number, *extent)
                .map_err(|source| failure(&disk, "tell the kernel of a new partition", source))?;
        }
    }
    check(&disk, partitions)
}

fn forget(disk: &Disk, node: &File, number: u32) -> Result<()> {
    ioctl::delete_partition(node, number).map_err(|source| match source.raw_os_error() {
        Some(EBUSY) => Error::Refused(format!(
            "partition {number} of {} is in use, so the kernel keeps its old place; unmount it and \
             try again",
            disk.path.display()
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

fn check(disk: &Disk, partitions: &[(u32, Extent)]) -> Result<()> {
    let mut wanted = partitions.to_vec();
    wanted.sort_by_key(|(number, _)| *number);
    let known = known_partitions(disk)?;
    if known == wanted {
        return Ok(());
    }
    let message = format!("expected partitions {wanted:?}, the kernel has {known:?}");
    Err(failure(
        disk,
        "tell the kernel of its partitions",
        io::Error::other(message),
    ))
}

fn failure(disk: &Disk, doing: &'static str, source: io::Error) -> Error {
    Error::Open {
        path: disk.path.clone(),
        doing,
        source,
    }
}
