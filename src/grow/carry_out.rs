//! The growth itself: noted in the record, the table edited, the filesystem grown by its tool, looked at.

use super::look::Growing;
use super::node::Node;
use super::tool;
use crate::confirm::quoted;
use crate::error::{Advice, refused};
use crate::guard;
use anyhow::{Context as _, Result};
use klon_imaging::RecordStore;
use klon_imaging::clock::unix_seconds_now;
use klon_imaging::record::Growth;
use klon_partition::Shown;
use klon_partition::device::{Window, look_at, open_target};
use klon_partition::filesystem::{Kind, recognize};
use klon_partition::inspect::inspect;
use klon_partition::system::{System, lock, tell_kernel};
use klon_partition::table::Rewrite;
use klon_partition::{Extent, Identity};

/// What was done.
pub struct Done {
    /// Where the volume lies now.
    pub extent: Extent,
    /// Where its filesystem ends now.
    pub filesystem_bytes: u64,
    /// Whether a record of a clone says that it was grown.
    pub is_recorded: bool,
}

/// Grows what was looked at, and consented to.
///
/// # Errors
/// When the target is in use or another one by now, its record or table can't be written, or the tool fails.
pub fn carry_out(growing: &Growing, records: &RecordStore, system: &System) -> Result<Done> {
    let _lock = match system.disk_of(&growing.disk)? {
        Some(disk) => Some(lock(&disk.path)?),
        None => None,
    };
    let from_bytes = growing.extent.len_bytes();
    let extent = growing
        .table
        .as_ref()
        .map_or(growing.extent, |table| table.extent);
    let began_unix_seconds = unix_seconds_now();
    let note = |is_complete| {
        let growth = |partition| Growth {
            began_unix_seconds,
            partition,
            from_bytes,
            to_bytes: extent.len_bytes(),
            is_complete,
        };
        note(growing, growth, records)
    };
    check_same(growing)?;
    let is_recorded = note(false).context("nothing was written to the target")?;
    write_table(growing, system)?;
    let part = growing.partition.as_ref().map(|_| extent);
    let filesystem_bytes =
        grow_filesystem(growing, part).map_err(|error| error.context(Advice(advice(growing))))?;
    note(true)?;
    Ok(Done {
        extent,
        filesystem_bytes,
        is_recorded,
    })
}

/// Notes that a growth is complete which a run began that was interrupted: the tool went on alone. Says
/// whether there was one.
///
/// # Errors
/// When a record can't be read or written.
pub fn settle(growing: &Growing, records: &RecordStore) -> Result<bool> {
    let mut is_begun = false;
    for identity in [&growing.identity, &growing.disk_identity] {
        let record = records.outline(identity)?;
        let last = record.and_then(|record| record.manifest.grown.last().cloned());
        is_begun |= last.is_some_and(|last| !last.is_complete);
    }
    let growth = |partition| Growth {
        began_unix_seconds: 0,
        partition,
        from_bytes: growing.filesystem_bytes,
        to_bytes: growing.extent.len_bytes(),
        is_complete: true,
    };
    Ok(is_begun && note(growing, growth, records)?)
}

/// Notes the growth in the record of the volume, and in that of its whole disk.
fn note(
    growing: &Growing,
    growth: impl Fn(Option<u32>) -> Growth,
    records: &RecordStore,
) -> Result<bool> {
    let number = growing.partition.as_ref().map(|partition| partition.number);
    let mut noted = records.note_growth(&growing.identity, growth(None))?;
    if is_of_disk(&growing.identity, growing) {
        noted |= records.note_growth(&growing.disk_identity, growth(number))?;
    }
    Ok(noted)
}

fn is_of_disk(identity: &Identity, growing: &Growing) -> bool {
    *identity != growing.disk_identity
}

/// Refuses a disk that is not what was looked at.
fn check_same(growing: &Growing) -> Result<()> {
    guard::unused(&System::current()?, &growing.disk)?;
    let now = inspect(&look_at(&growing.disk)?).with_context(|| growing.disk.shown())?;
    if now.geometry == growing.layout.geometry && now.table == growing.layout.table {
        return Ok(());
    }
    Err(refused(format!(
        "someone changed {} after klon looked at it. Nothing was written. Look at it and run the command again",
        growing.disk.shown()
    )))
}

/// Edits the table, where the partition grows. Before the filesystem does: a filesystem that is smaller than
/// its partition is whole.
fn write_table(growing: &Growing, system: &System) -> Result<()> {
    let Some(grown) = &growing.table else {
        return Ok(());
    };
    let path = &growing.disk;
    let write = || -> Result<()> {
        let target = open_target(path)?;
        let now = inspect(&target)?;
        if now.table != growing.layout.table {
            return Err(refused("its table changed just now"));
        }
        Rewrite::plan(&target, &target, &grown.table)?.carry_out(&target)?;
        Ok(())
    };
    write().with_context(|| path.shown())?;
    let partitions = grown.table.partitions.iter();
    let known: Vec<(u32, Extent)> = partitions.map(|it| (it.number, it.extent)).collect();
    if system.disk_of(path)?.is_some() {
        tell_kernel(path, &known).context(
            "the table is written, but the kernel does not know it yet. Detach and attach the drive, and run \
             the command again",
        )?;
    }
    Ok(())
}

/// Runs the tool, and looks at what it made: where the filesystem ends.
fn grow_filesystem(growing: &Growing, part: Option<Extent>) -> Result<u64> {
    let node = Node::new(&growing.disk, part, tool::needs_mount(growing.kind))?;
    tool::grow(growing.kind, node.path())?;
    let found = match part {
        // As others see the disk, once the tool has written to the partition.
        Some(extent) => recognize(&Window::new(look_at(&growing.disk)?, extent)?)?,
        None => recognize(&look_at(&growing.disk)?)?,
    };
    drop(node);
    let found = found.context("what the tool left is no filesystem that klon recognizes")?;
    let size_bytes = found.summary().size_bytes;
    if found.summary().kind != growing.kind || size_bytes <= growing.filesystem_bytes {
        anyhow::bail!(
            "the tool said that it was done, and the {} ends where it ended, at {size_bytes} bytes",
            growing.kind
        );
    }
    Ok(size_bytes)
}

/// What to do after a tool failed, or was interrupted.
fn advice(growing: &Growing) -> String {
    let again = format!("klon grow {}", quoted(&growing.given));
    let check = match growing.kind {
        Kind::Ext2 | Kind::Ext3 | Kind::Ext4 => "e2fsck -f",
        Kind::Ntfs => "ntfsfix, or chkdsk in Windows",
        Kind::Xfs => "xfs_repair",
        _ => "btrfs check",
    };
    format!(
        "The partition may be larger than its filesystem, which is no harm. Check the filesystem ({check}), and \
         run `{again}` again; or clone to it again from the source, which makes it what it was"
    )
}
