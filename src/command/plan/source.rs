//! What a source is, as the planner wants to know it.

use crate::boot_code::found;
use crate::error::refused;
use crate::minimum::{self, Subject};
use crate::named::identity::identity_of;
use crate::named::open::OpenPlace;
use crate::source::{adapted, contained, live};
use crate::still::How;
use anyhow::Result;
use klon_partition::filesystem::{Basis, Hazard, Kind, Usage};
use klon_partition::inspect::Volume;
use klon_partition::planner::{self, Source, SourceVolume};
use klon_partition::system::{MountPoint, System};
use klon_partition::table::{Partition, Table};
use klon_partition::{Extent, Identity};
use std::path::Path;

/// Describes a disk, a partition, or a file. With `may_mount` the kernel may tell how small its Btrfs could be.
///
/// # Errors
/// [`refused`] for a table that can't be relied on, and for a disk without partitions to clone; when it
/// can't be read.
pub fn describe(open: &OpenPlace, may_mount: bool, system: &System) -> Result<Source> {
    if let (Some(why), None) = (open.layout.doubt(), &open.partition) {
        return Err(refused(format!(
            "its partition table can't be relied on ({why}), so klon can't say what is on it. Plan \
             for the partitions that you want to clone (NAME={0}:1), or copy all of it with klon \
             clone {0} TARGET",
            open.place.given
        )));
    }
    let parent = open.parent(system)?;
    // The disk that the source is or lies on.
    let (path, layout): (&Path, _) = match parent {
        Some(parent) => (&parent.path, &parent.layout),
        None => (&open.place.path, &open.layout),
    };
    let partition = parent.map_or(&open.partition, |parent| &parent.partition);
    let table = layout.table.as_ref();
    // What is known of disks is not known of files: a PARTUUID in one is not found again.
    let in_file = match system.disk_of(&open.place.path)? {
        None => open.partition.as_ref().map(|partition| partition.number),
        Some(_) => None,
    };
    let disk = table
        .map(|_| identity_of(system, path, layout))
        .transpose()?;
    Ok(Source {
        original: match &disk {
            Some(identity) => found::original(open, identity.clone(), layout)?,
            None => None,
        },
        identity: match in_file {
            Some(_) => identity_of(system, path, layout)?,
            None => open.identity(system)?,
        },
        disk,
        logical_sector_bytes: table.map_or(layout.geometry.logical_sector_bytes, |table| {
            table.logical_sector_bytes
        }),
        disk_has_esp: table.is_some_and(has_esp),
        has_boot_code: found::has_code(open)?,
        unassigned: found::data_outside(open)?,
        volumes: if open.is_disk() {
            partitions(open, may_mount, system)?
        } else {
            vec![SourceVolume {
                number: in_file,
                ..single(open, partition.as_ref(), may_mount, system)?
            }]
        },
    })
}

fn has_esp(table: &Table) -> bool {
    table
        .partitions
        .iter()
        .any(|partition| partition.partition_type.is_efi_system())
}

fn partitions(open: &OpenPlace, may_mount: bool, system: &System) -> Result<Vec<SourceVolume>> {
    let mut volumes = Vec::new();
    let disk = system.disk_of(&open.place.path)?;
    for volume in &open.layout.volumes {
        let mut used = volume.usage(&*open.device)?;
        if let Some(reason) = volume
            .contained_because
            .clone()
            .filter(|_| used.basis == Basis::Map)
        {
            used = used.contained(volume.extent.len_bytes(), reason);
        }
        let table = open.layout.table.as_ref();
        let mut described = SourceVolume::new(volume, table, used_bytes(&used));
        described.end_bytes = used.end_bytes(volume.extent.len_bytes());
        let number = described.number.map(|number| (number, volume.extent));
        let subject = Subject {
            open,
            part: number,
            usage: &used,
            size_bytes: volume.extent.len_bytes(),
            may_mount,
        };
        described.minimum = minimum::of(&subject, system).into();
        let node = disk
            .as_ref()
            .and_then(|disk| disk.partition_at(volume.extent));
        if let Some(node) = node {
            in_use(&mut described, &node.mounts);
        }
        volumes.push(described);
    }
    if volumes.is_empty() {
        return Err(refused("the disk has a table but no partitions to clone"));
    }
    Ok(volumes)
}

/// A partition, or a file or disk that is one volume.
fn single(
    open: &OpenPlace,
    partition: Option<&Partition>,
    may_mount: bool,
    system: &System,
) -> Result<SourceVolume> {
    let used = contained::by_disk(open.usage()?, open, system)?;
    let size_bytes = open.device.geometry().size_bytes;
    let volume = Volume {
        extent: Extent::new(0, size_bytes).ok_or_else(|| refused("it has no bytes"))?,
        partition: partition.cloned(),
        filesystem: used.summary.clone(),
        recognized: used.recognized.clone(),
        contained_because: None,
    };
    let mut single = SourceVolume::new(&volume, None, used_bytes(&used));
    single.end_bytes = used.end_bytes(size_bytes);
    let subject = Subject {
        open,
        part: None,
        usage: &used,
        size_bytes,
        may_mount,
    };
    single.minimum = minimum::of(&subject, system).into();
    if let Some(disk) = system.disk_of(&open.place.path)? {
        let own = open.location(system)?;
        let mut mounts = disk.mounts.clone();
        for node in &disk.partitions {
            if system.locate(&node.path)? == own {
                mounts.clone_from(&node.mounts);
            }
        }
        in_use(&mut single, &mounts);
    }
    if let Identity::PartUuid(partuuid) = open.identity(system)? {
        single.partuuid = Some(partuuid);
    }
    Ok(single)
}

/// What a volume that is mounted for writing says of itself is no unclean end: `klon clone` brings it to rest, and
/// then its journal is empty, or its mark of being in use (FAT) is gone. So that is no reason either why its clone
/// could not be smaller.
fn in_use(volume: &mut SourceVolume, mounts: &[MountPoint]) {
    let writable = |mount: &&MountPoint| !mount.is_read_only;
    let held: Vec<_> = mounts
        .iter()
        .filter(writable)
        .filter_map(|mount| live::held_as(&mount.filesystem))
        .collect();
    if let Some(summary) = &mut volume.filesystem {
        summary.hazards.retain(|hazard| match hazard {
            Hazard::NeedsRecovery(_) => held.is_empty(),
            Hazard::NotCleanlyUnmounted(_) => !held.contains(&How::ReadOnly),
            _ => true,
        });
        if summary.hazards.is_empty() && held.contains(&How::ReadOnly) {
            volume.minimum = planner::Minimum::Never(not_now(summary.kind));
        }
    }
}

/// Why the clone of a filesystem that is made read-only for moments is as large as it is.
fn not_now(kind: Kind) -> String {
    match adapted::is_own(kind) {
        true => format!(
            "klon makes {kind} smaller only while nobody writes to it. Unmount it, or mount it read-only, and plan again"
        ),
        false => minimum::never(Some(kind)),
    }
}

fn used_bytes(usage: &Usage) -> Option<u64> {
    (usage.basis == Basis::Map).then(|| usage.used_bytes())
}

#[cfg(test)]
mod tests {
    use super::{Volume, in_use};
    use klon_partition::Extent;
    use klon_partition::filesystem::{Hazard, Kind, Summary};
    use klon_partition::planner::{Minimum, SourceVolume};
    use klon_partition::system::MountPoint;

    const COPIED_WHOLE: &str = "klon copies all of it (not cleanly unmounted)";

    /// A FAT that says that it is in use, and how small its clone could be once it is mounted so.
    fn mounted(is_read_only: bool) -> SourceVolume {
        let extent = Extent::new(0, 1 << 20).unwrap();
        let filesystem = Some(Summary {
            kind: Kind::Fat32,
            label: None,
            uuid: None,
            size_bytes: 1 << 20,
            block_size_bytes: 512,
            used_bytes: None,
            hazards: vec![Hazard::NotCleanlyUnmounted("dirty".to_owned())],
        });
        let volume = Volume {
            extent,
            partition: None,
            filesystem,
            recognized: None,
            contained_because: None,
        };
        let mut described = SourceVolume::new(&volume, None, None);
        described.minimum = Minimum::Never(COPIED_WHOLE.to_owned());
        let mount = MountPoint {
            at: "/boot/efi".into(),
            is_read_only,
            filesystem: "vfat".to_owned(),
        };
        in_use(&mut described, &[mount]);
        described
    }

    #[test]
    fn a_fat_that_is_mounted_for_writing_is_not_called_unclean() {
        let volume = mounted(false);
        assert!(volume.filesystem.unwrap().hazards.is_empty());
        let Minimum::Never(why) = volume.minimum else {
            panic!("{:?}", volume.minimum);
        };
        assert!(why.contains("only while nobody writes to it"), "{why}");
    }

    #[test]
    fn a_fat_that_nobody_writes_to_and_that_says_so_is_unclean() {
        let volume = mounted(true);
        assert_eq!(volume.filesystem.unwrap().hazards.len(), 1);
        assert_eq!(volume.minimum, Minimum::Never(COPIED_WHOLE.to_owned()));
    }
}
