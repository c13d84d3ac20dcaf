//! A whole disk that goes to another one by its partitions: when that is so.

use super::image;
use crate::cli::{RestoreArgs, TableKind};
use crate::error::usage;
use crate::jobs::pair::check_apart;
use crate::named::Place;
use crate::named::open::OpenPlace;
use crate::target::TargetEnd;
use anyhow::Result;
use klon_partition::ReadAt as _;
use klon_partition::system::System;
use std::path::Path;

/// The image that is given, and the disk that it is to be restored to by partitions: with `--shrink`, where
/// the disk in the image is too large for it.
///
/// # Errors
/// When one of the two can't be opened.
pub fn shrunk_image(args: &RestoreArgs, system: &System) -> Result<Option<ToDisk>> {
    let [target] = &args.target[..] else {
        return Ok(None);
    };
    if args.skip_damaged {
        return Ok(None);
    }
    // Who restores the disk as a whole tells what is wrong.
    let is_asked = args.table.is_some() || args.shrink.shrink;
    let image = match Place::resolve(&args.image, system) {
        Err(_) if !is_asked => return Ok(None),
        image => image?,
    };
    if image.image.is_none() || image.number.is_some() {
        return Ok(None);
    }
    let wanted = ByPartitions {
        shrinks: args.shrink.shrink,
        table: args.table,
    };
    match wanted.look(&image, target, system) {
        Err(_) if !is_asked => Ok(None),
        found => found,
    }
}

/// A whole disk, and the one that it goes to.
pub struct ToDisk {
    /// The disk, or the snapshot of one.
    pub source: OpenPlace,
    /// Where it goes.
    pub target: Place,
}

/// When a whole disk goes to another one by partitions.
pub struct ByPartitions {
    /// Where it is too large for that one.
    pub shrinks: bool,
    /// Where that one is to have a table of this kind.
    pub table: Option<TableKind>,
}

impl ByPartitions {
    /// The source and the target, opened and looked at; `None` where the disk goes as a whole.
    ///
    /// # Errors
    /// When one of the two can't be opened; [`usage`] where a table is asked for and there is no disk for it.
    pub fn look(&self, source: &Place, target: &Path, system: &System) -> Result<Option<ToDisk>> {
        let target = TargetEnd::look(target, system)?;
        check_apart(source, &target, system)?;
        let Some(now) = &target.now else {
            // A file that is made gets the size and the sectors of its source.
            return match self.table {
                Some(_) => Err(usage(format!(
                    "{} is not there. --table is for a disk, or a file that is as large as one",
                    target.place.given
                ))),
                None => Ok(None),
            };
        };
        let is_disk_target = target.place.number.is_none() && now.open.parent(system)?.is_none();
        let disk = now.disk.as_ref().filter(|_| is_disk_target);
        if self.table.is_none() && !self.shrinks && disk.is_none() {
            return Ok(None);
        }
        let open = source.open()?;
        let is_disk = open.layout.believed_table().is_some() && open.is_disk();
        if self.table.is_some() && !(is_disk && is_disk_target) {
            return Err(usage(format!(
                "--table is for a whole disk that goes to another one, and one of {} and {} is none",
                source.given, target.place.given
            )));
        }
        let is_other = |sector_bytes| image::has_other_sectors(&open, sector_bytes);
        let by_sectors = disk.is_some_and(|disk| is_other(disk.logical_sector_bytes));
        let target_bytes = now.open.device.geometry().size_bytes;
        let by_size = self.shrinks && image::is_too_large(&open, target_bytes);
        let is_meant = by_sectors || by_size || self.table.is_some();
        Ok(is_meant.then_some(ToDisk {
            source: open,
            target: target.place,
        }))
    }
}
