//! A table gets onto a drive: looked at once more, what is in the way of new partitions cleared, written,
//! shown to the kernel. What would be lost was shown before, and consented to.

use crate::description::{SeenDisk, described};
use crate::error::refused;
use crate::guard;
use crate::named::open::OpenPlace;
use anyhow::{Context as _, Result};
use klon_imaging::mark::{MARK_LEN, Mark};
use klon_partition::Shown;
use klon_partition::device::{Target, Window, is_blank, open_target};
use klon_partition::inspect::{DiskLayout, inspect};
use klon_partition::planner::{Change, Warning};
use klon_partition::system::{System, lock, tell_kernel};
use klon_partition::table::{Rewrite, Table};
use klon_partition::{Extent, ExtentMap, Identity, ReadAt, WriteAt};
use serde::Serialize;
use std::path::Path;

/// What `--json` says of a table that gets, or would get, onto a drive.
#[derive(Serialize)]
pub struct Prepared<'a> {
    /// `prepared`.
    pub event: &'static str,
    /// How the drive is recognized.
    pub drive: &'a Identity,
    /// Where it is.
    #[serde(serialize_with = "klon_partition::text::path")]
    pub path: &'a Path,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// What becomes of its partitions.
    pub changes: &'a [Change],
    /// Data in no partition that the table goes over.
    #[serde(skip_serializing_if = "ExtentMap::is_empty")]
    pub covered: &'a ExtentMap,
}

/// What is cleared at both ends of a new partition: room for every signature that a filesystem,
/// RAID or volume manager leaves there.
const CLEARED_BYTES: u64 = 1 << 20;

/// A new partition that will be filled: it bears an unfinished mark from before it is in the table, so that
/// nobody takes it for a volume while it is empty.
pub struct Marked {
    /// Where the partition begins on the drive.
    pub start_bytes: u64,
    /// The mark.
    pub mark: Mark,
}

/// What a drive shall have.
pub struct WantedTable<'a> {
    /// Its table.
    pub table: &'a Table,
    /// How the table comes from the one that is there.
    pub changes: &'a [Change],
    /// The new partitions that will be filled.
    pub marked: &'a [Marked],
}

/// Writes the wanted table to a drive, and `more` to what was opened for it, before anyone else can have it. Before
/// that, new partitions get the marks that they shall have.
///
/// # Errors
/// [`refused`] when the drive is in use by now, or was changed since it was opened; when it can't be
/// written.
pub fn carry_out(
    drive: &OpenPlace,
    wanted: &WantedTable<'_>,
    system: &System,
    more: impl FnOnce(&Target) -> Result<()>,
) -> Result<()> {
    let table = wanted.table;
    let path = &drive.place.path;
    let _lock = match system.disk_of(path)? {
        Some(disk) => Some(lock(&disk.path)?),
        None => None,
    };
    let target = open_target(path)?;
    still(drive, &target, system)?;
    write(&target, wanted).with_context(|| path.shown())?;
    more(&target).with_context(|| path.shown())?;
    drop(target);
    let partitions: Vec<(u32, Extent)> = table
        .partitions
        .iter()
        .map(|partition| (partition.number, partition.extent))
        .collect();
    tell_kernel(path, &partitions).context(
        "the table is written, but the kernel does not know it yet. Detach and attach the drive",
    )?;
    Ok(())
}

/// Refuses a drive that is not what was shown before it was opened for this run alone.
fn still(drive: &OpenPlace, target: &Target, system: &System) -> Result<()> {
    let path = &drive.place.path;
    guard::unused(system, path)?;
    let now = inspect(target).with_context(|| path.shown())?;
    let shown = |layout: &DiskLayout, device: &dyn ReadAt| {
        let disk = SeenDisk {
            path,
            layout,
            device,
        };
        described(&disk, system, |_| true)
    };
    let is_same = target.id()? == drive.own()?.id()?
        && now.table == drive.layout.table
        && shown(&now, target) == shown(&drive.layout, &**drive.own()?);
    if is_same {
        Ok(())
    } else {
        Err(refused(format!(
            "someone changed {} after klon looked at it. Nothing was written. Look at it and run \
             the command again",
            path.shown()
        )))
    }
}

/// What an earlier layout left where the new partitions lie goes first: it would look like their
/// content.
fn write(target: &Target, wanted: &WantedTable<'_>) -> Result<()> {
    let WantedTable {
        table,
        changes,
        marked,
    } = *wanted;
    let rewrite = Rewrite::plan(target, target, table)?;
    for change in changes {
        let Change::Create { partition } = change else {
            continue;
        };
        if partition.partition_type.is_extended() {
            continue;
        }
        for extent in ends(partition.extent) {
            target.zero(extent)?;
        }
    }
    for Marked { start_bytes, mark } in marked {
        // A whole sector, however large sectors are. What is behind the mark was just cleared.
        let mut sector = vec![0; 4096];
        sector[..MARK_LEN].copy_from_slice(&mark.to_bytes());
        target.write_all_at(&sector, *start_bytes)?;
    }
    target.sync()?;
    rewrite.carry_out(target)?;
    Ok(())
}

fn ends(extent: Extent) -> impl Iterator<Item = Extent> {
    let len_bytes = extent.len_bytes().min(CLEARED_BYTES);
    let last = extent.end_bytes().saturating_sub(len_bytes);
    [extent.offset_bytes(), last]
        .into_iter()
        .filter_map(move |at| Extent::new(at, len_bytes))
}

/// Nothing recognized, no table, and zeroes wherever one looks: nothing would be lost.
///
/// # Errors
/// When the drive can't be read.
pub fn is_drive_blank(drive: &OpenPlace) -> Result<bool> {
    let layout = &drive.layout;
    let is_known = layout.table.is_some() || !layout.volumes.is_empty();
    Ok(!is_known && is_blank(drive.own()?)?)
}

/// Whether a new partition lies on data that no partition has. klon looks at many places for that. Data of a
/// partition that is removed do not count: they are named with the partition.
pub fn takes_data(change: &Change, changes: &[Change], drive: &OpenPlace) -> bool {
    let Change::Create { partition } = change else {
        return false;
    };
    let is_named = |change: &Change| matches!(change, Change::Remove { partition: old } if old.extent.overlaps(partition.extent));
    let own = drive.own().ok();
    let room = own.and_then(|own| Window::new(&**own, partition.extent).ok());
    !changes.iter().any(is_named)
        && room.is_some_and(|room| is_blank(&room).is_ok_and(|blank| !blank))
}

/// Data in no partition that a table goes over, in words.
pub fn covered_warning(covered: &ExtentMap) -> Option<Warning> {
    let first = covered.iter().next()?;
    Some(Warning::Covered {
        covered_bytes: covered.total_bytes(),
        first_bytes: first.offset_bytes(),
    })
}
