//! A whole disk that goes to another one by partitions: from an image to a smaller disk, or from anywhere to a disk with
//! sectors of another size, or with a table of another kind.

use super::disk::{Back, NewDisk, target};
use crate::boot_code::{found, table_lost};
use crate::error::refused;
use crate::guard;
use crate::human;
use crate::messages::say;
use crate::named::Place;
use crate::named::identity::identity_of;
use crate::named::open::OpenPlace;
use crate::source::contained;
use crate::still::ways::Ways;
use anyhow::{Context as _, Result};
use klon_partition::ReadAt;
use klon_partition::outside::Outside;
use klon_partition::planner::{Original, Returning};
use klon_partition::system::System;
use klon_partition::table::{Partition, Table};

/// Whether the disk that is open counts in other sectors than a target.
pub fn has_other_sectors(open: &OpenPlace, target_sector_bytes: u32) -> bool {
    let table = open.layout.believed_table().filter(|_| open.is_disk());
    table.is_some_and(|table| table.logical_sector_bytes != target_sector_bytes)
}

/// Whether the partitions of a disk in an image have no room on a target as large as that.
pub fn is_too_large(image: &OpenPlace, target_bytes: u64) -> bool {
    let table = image.layout.believed_table().filter(|_| image.is_disk());
    table.is_some_and(|table| table.least_bytes(end_bytes(table)) > target_bytes)
}

fn end_bytes(table: &Table) -> u64 {
    let ends = table.partitions.iter().map(|one| one.extent.end_bytes());
    ends.max().unwrap_or(0)
}

/// What the image says of its disk.
///
/// # Errors
/// When it can't be read; [`refused`] when its table can't be relied on, and when there are data in no partition,
/// which can't come back, unless `outside` leaves them out.
pub fn original(image: &OpenPlace, outside: Outside, system: &System) -> Result<Original> {
    let identity = image.identity(system)?;
    let found = found::original(image, identity, &image.layout)?;
    let original = found.ok_or_else(|| {
        refused(format!(
            "the partition table in {} can't be relied on, so its partitions can't go one by one",
            image.place.given
        ))
    })?;
    if let Some(table) = image.layout.believed_table() {
        for what in table_lost::lost(image, table)? {
            say(&format!(
                "klon: warning: {}: its table is written anew, and does not have {what}",
                image.place.given
            ));
        }
    }
    if let Some(left) = found::not_carried(image, &original)? {
        let told = format!(
            "{}: there are data in no partition, from {} on, and only partitions go to a disk that is smaller or has \
             another table. To have them, name a disk with the same sectors of at least {}",
            image.place.given,
            human::size(left.first_bytes),
            human::size(image.device.geometry().size_bytes)
        );
        if outside != Outside::None {
            return Err(refused(format!("{told}. `--outside none` leaves them out")));
        }
        say(&format!("klon: warning: {told}"));
    }
    Ok(original)
}

/// The disk `place`, and all partitions of the disk in the image that come back to it.
///
/// # Errors
/// When the disk is in use or is none; when a partition can't be read.
pub fn look<'a>(
    image: &OpenPlace,
    original: &'a Original,
    place: &Place,
    system: &System,
) -> Result<NewDisk<'a>> {
    let open = target(place, system)?;
    let identity = identity_of(system, &place.path, &open.layout)?;
    let mut back = Vec::new();
    for partition in &original.partitions {
        if !partition.partition_type.is_extended() {
            back.push(look_at(image, partition, system)?);
        }
    }
    let carrier = match &image.snapshot {
        Some(_) => "image",
        None => "copy",
    };
    let disk = NewDisk::new(open, identity, original, carrier);
    Ok(NewDisk { back, ..disk })
}

fn look_at(image: &OpenPlace, partition: &Partition, system: &System) -> Result<Back> {
    let number = partition.number;
    let name = format!("{}:{number}", image.place.given);
    let place = Place {
        given: name.clone(),
        number: Some(number),
        ..image.place.clone()
    };
    let open = match &image.snapshot {
        Some(_) => place.open(),
        // Nobody else may write to it meanwhile.
        None => Ways::none().claim(&place.at_node(system)?, system),
    };
    let open = open.with_context(|| name.clone())?;
    guard::is_a_source(&open)?;
    let usage = contained::by_disk(open.usage()?, &open, system)?;
    let own_bytes = partition.extent.len_bytes();
    let group = image.place.given.clone();
    Ok(Back {
        name,
        group: group.clone(),
        number,
        returning: Returning {
            group,
            number,
            size_bytes: own_bytes,
            least_bytes: usage.end_bytes(own_bytes).unwrap_or(own_bytes),
        },
        open,
        source: None,
    })
}
