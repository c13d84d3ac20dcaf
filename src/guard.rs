//! What klon refuses to write to, each with its reason.

use crate::error::refused;
use crate::named::open::OpenPlace;
use crate::plan_file::{find_plan, no_source};
use anyhow::Result;
use klon_imaging::mark::Mark;
use klon_partition::ReadAt;
use klon_partition::Shown;
use klon_partition::filesystem::dormant::to_wake;
use klon_partition::system::{Location, Relation, System, relation};
use klon_partition::table::{self, Partition};
use std::path::Path;

/// A source, as far as a target must stay clear of it.
pub struct Protected<'a> {
    /// As the user named it.
    pub name: &'a str,
    /// Where its bytes lie.
    pub location: &'a Location,
}

/// Refuses a target that is in use by anything.
///
/// # Errors
/// [`refused`] names who uses it.
pub fn unused(system: &System, target: &Path) -> Result<()> {
    let uses: Vec<String> = system
        .uses(target)?
        .iter()
        .map(ToString::to_string)
        .collect();
    if uses.is_empty() {
        return Ok(());
    }
    Err(refused(format!(
        "{} can't be a target: {}. Unmount or detach it first",
        target.shown(),
        uses.join("; ")
    )))
}

/// Refuses a target that shares bytes with a source.
///
/// # Errors
/// [`refused`] when they share a byte.
pub fn apart(target: &str, location: &Location, source: &Protected<'_>) -> Result<()> {
    let how = match relation(location, source.location) {
        Relation::Unrelated => return Ok(()),
        Relation::Same => "is the source",
        Relation::Inside => "lies inside the source",
        Relation::Around => "contains the source",
        Relation::Overlaps => "overlaps the source",
        Relation::MayOverlap => {
            return Err(refused(format!(
                "{target} and the source {} are device-mapper volumes on the same device, and \
                 nothing shows that they use different parts of it. Name the devices beneath them \
                 instead. Nothing was written",
                source.name
            )));
        }
    };
    Err(refused(format!(
        "{target} {how} {}. Nothing was written",
        source.name
    )))
}

/// Refuses a partition that has bytes in common with another of its table: both would be overwritten.
///
/// # Errors
/// [`refused`] names the other partition, or says that a hybrid MBR lists one; the error of the device.
pub fn beside_others(target: &OpenPlace) -> Result<()> {
    let Some(own) = &target.partition else {
        return Ok(());
    };
    let layout = &target.layout;
    let backup = if layout.has_differing_copies() {
        table::backup(&**target.own()?)?
    } else {
        None
    };
    let tables = layout.table.iter().chain(&backup);
    let others = tables.flat_map(|it| &it.partitions);
    let is_hit = |other: &&Partition| {
        (other.number, other.extent) != (own.number, own.extent)
            && other.extent.overlaps(own.extent)
            && !other.partition_type.is_extended()
    };
    if let Some(table) = &layout.table
        && let listed = table::unknown_hybrid_extents(&**target.own()?, table)?
        && listed.within(own.extent).next().is_some()
    {
        return Err(refused(format!(
            "{} can't be a target: the disk's hybrid MBR lists another partition there, which would be \
             overwritten too. Nothing was written. Mend the MBR first (sgdisk, sfdisk or testdisk)",
            target.place.given
        )));
    }
    match others.into_iter().find(is_hit) {
        Some(other) => Err(refused(format!(
            "{} can't be a target: it overlaps partition {} of its disk, which would be \
             overwritten too. Nothing was written. Mend the partition table first (sgdisk, sfdisk \
             or testdisk)",
            target.place.given, other.number
        ))),
        None => Ok(()),
    }
}

/// Refuses a disk with sectors of `found` bytes when the table that it would get counts in others: nobody
/// would find the table there, nor the partitions. A plain file has no sectors of its own.
///
/// # Errors
/// [`refused`] with both sizes of sectors.
pub fn same_sectors(target: &str, found: u32, table_sector_bytes: Option<u32>) -> Result<()> {
    match table_sector_bytes {
        Some(expected) if expected != found => Err(refused(format!(
            "{target} has sectors of {found} bytes, but the table of the source counts in sectors \
             of {expected}: nobody would find its partitions there. Plan the drive instead (klon \
             plan --drive {target} NAME=SOURCE)"
        ))),
        _ => Ok(()),
    }
}

/// Refuses a source that changes while it is read.
///
/// # Errors
/// [`refused`] names what may write to it.
pub fn still(system: &System, source: &Path) -> Result<()> {
    let uses: Vec<String> = system
        .uses(source)?
        .iter()
        .filter(|one| one.changes_source())
        .map(ToString::to_string)
        .collect();
    if uses.is_empty() {
        return Ok(());
    }
    // What is mounted of a disk is frozen together.
    let own = source.canonicalize().ok();
    let is_disk = (system.disk_of(source)?)
        .is_some_and(|disk| !disk.partitions.is_empty() && Some(disk.path) == own);
    let (shown, uses) = (source.shown(), uses.join("; "));
    let way = if is_disk {
        format!(
            "Unmount it, or mount it read-only (mount -o remount,ro). klon clone and klon image copy a disk that is \
             in use, with its ext3, ext4, XFS and Btrfs frozen for moments. A clone that is repeated by what changed \
             needs a plan: klon plan --drive TARGET NAME={shown}"
        )
    } else {
        "Unmount it, or mount it read-only (mount -o remount,ro). Where an ext3, ext4, XFS or Btrfs is \
         mounted alone, name its device for `klon clone`, which freezes it for moments"
            .to_owned()
    };
    Err(refused(format!(
        "{shown} would change while it is cloned: {uses}. {way}"
    )))
}

/// Refuses a source on which a clone was not finished: a clone of it would replace something whole
/// by something that is not.
///
/// # Errors
/// [`refused`] when it bears a mark; the error of the device.
pub fn finished(name: &str, source: &dyn ReadAt) -> Result<()> {
    match Mark::read(source)? {
        None => Ok(()),
        Some(mark) => Err(refused(format!(
            "{name} can't be a source: a clone of {} to it was not finished. Run that clone again \
             first (or `klon finish {name}`)",
            mark.source
        ))),
    }
}

/// Refuses a source that is asleep: nothing tells what of it is in use. One that can't be read is told by who copies it.
///
/// # Errors
/// [`refused`] when it sleeps.
pub fn awake(name: &str, source: &dyn ReadAt) -> Result<()> {
    match to_wake(source) {
        Ok(None) | Err(_) => Ok(()),
        Ok(Some(asleep)) => Err(refused(format!(
            "{name} can't be a source: it is a clone that is asleep ({}). Wake it first (klon wake {name})",
            asleep.kind
        ))),
    }
}

/// A source with bytes in it, that is no plan of klon's: a plan says by itself what goes where.
///
/// # Errors
/// [`refused`] for a source without bytes, [`usage`](crate::error::usage) for a plan.
pub fn is_a_source(open: &OpenPlace) -> Result<()> {
    let place = &open.place;
    if open.device.geometry().size_bytes == 0 {
        return Err(refused(format!(
            "{} has no bytes, so there is nothing to copy",
            place.given
        )));
    }
    let is_plan = || matches!(find_plan(&place.path), Ok(Some(_)));
    if !place.is_raw && place.image.is_none() && is_plan() {
        return Err(no_source(&place.given));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        Protected, apart, beside_others, finished, is_a_source, same_sectors, still, unused,
    };
    use crate::error::{REFUSED, code, message};
    use crate::testing::{file, system};
    use anyhow::Result;
    use klon_imaging::mark::Mark;
    use klon_partition::Extent;
    use klon_partition::device::MemoryDevice;
    use klon_partition::system::{Base, DeviceNumber, Location};

    fn refusal(result: Result<()>) -> String {
        let error = result.unwrap_err();
        assert_eq!(code(&error), REFUSED);
        message(&error)
    }

    fn at(start_bytes: u64, len_bytes: u64) -> Location {
        Location {
            base: Base::Device(DeviceNumber { major: 8, minor: 0 }),
            extent: Extent::new(start_bytes, len_bytes),
            slaves: Vec::new(),
        }
    }

    #[test]
    fn a_target_shares_no_byte_with_a_source() {
        let source = at(100, 100);
        let protected = Protected {
            name: "/dev/a1",
            location: &source,
        };
        let check = |location| apart("/dev/b", &location, &protected);
        assert!(check(at(0, 100)).is_ok() && check(at(200, 50)).is_ok());
        for (location, words) in [
            (at(100, 100), "/dev/b is the source /dev/a1"),
            (at(120, 10), "/dev/b lies inside the source /dev/a1"),
            (at(0, 1000), "/dev/b contains the source /dev/a1"),
            (at(150, 100), "/dev/b overlaps the source /dev/a1"),
        ] {
            let said = refusal(check(location));
            assert!(
                said.contains(words) && said.contains("Nothing was written"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_file_that_is_swapped_to_is_neither_target_nor_source() {
        let directory = tempfile::tempdir().unwrap();
        let (swap, other) = (
            file(&directory, "swap", b"x"),
            file(&directory, "other", b"x"),
        );
        let system = system(directory.path(), &[&swap]);
        assert!(unused(&system, &other).is_ok() && still(&system, &other).is_ok());
        let said = refusal(unused(&system, &swap));
        assert!(
            said.contains("can't be a target") && said.contains("in use as swap"),
            "{said}"
        );
        let said = refusal(still(&system, &swap));
        assert!(said.contains("would change while it is cloned"), "{said}");
        assert!(said.contains("Unmount it, or mount it read-only"), "{said}");
    }

    #[test]
    fn a_table_counts_in_the_sectors_of_its_disk() {
        assert!(same_sectors("/dev/b", 4096, Some(4096)).is_ok());
        assert!(same_sectors("/dev/b", 4096, None).is_ok());
        let said = refusal(same_sectors("/dev/b", 4096, Some(512)));
        assert!(
            said.contains("sectors of 4096 bytes") && said.contains("klon plan --drive /dev/b")
        );
    }

    #[test]
    fn a_volume_with_a_mark_is_no_source() {
        let mut bytes = vec![0; 4096];
        assert!(finished("a", &MemoryDevice::new(bytes.clone(), 512)).is_ok());
        let mark = Mark::new("serial:A").to_bytes();
        bytes[..mark.len()].copy_from_slice(&mark);
        let said = refusal(finished("a", &MemoryDevice::new(bytes, 512)));
        assert!(
            said.contains("a clone of serial:A to it was not finished"),
            "{said}"
        );
        assert!(said.contains("klon finish a"), "{said}");
    }

    #[test]
    fn a_source_has_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let open = |name, bytes| {
            let place = crate::testing::place(&file(&directory, name, bytes));
            place.open().unwrap()
        };
        assert!(is_a_source(&open("some", &[1; 512])).is_ok());
        assert!(refusal(is_a_source(&open("none", &[]))).contains("has no bytes"));
    }

    #[test]
    fn a_file_without_partitions_has_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let place = crate::testing::place(&file(&directory, "a", &[1; 512]));
        assert!(beside_others(&place.open().unwrap()).is_ok());
    }
}
