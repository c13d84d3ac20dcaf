//! A source that is shown with identifiers of its clone's own.

use super::references::note;
use crate::error::refused;
use crate::named::identity::{disk_identity, partition_identity};
use crate::source::SourceEnd;
use anyhow::{Context as _, Result};
use klon_imaging::record::{Named, OwnIdentity, OwnName};
use klon_partition::device::{Patched, Patches, Window};
use klon_partition::filesystem::{Basis, Filesystem, Kind, Usage, recognize};
use klon_partition::table::{self, Found, Table};
use klon_partition::{Extent, ExtentMap, Identity, OwnIds, ReadAt};
use std::sync::Arc;

/// Shows `source` with an identity of its own, and notes in it which that is. The clone is recognized as
/// `clone`.
///
/// # Errors
/// [`refused`] for what can't have one, with the reason.
pub(super) fn show(source: &mut SourceEnd, own: &OwnIdentity, clone: &Identity) -> Result<()> {
    if source.live.is_some() {
        return Err(refused(format!(
            "{} is mounted for writing, and a clone with an identity of its own needs a source that is at rest. \
             Unmount it, mount it read-only, or have it read from a snapshot (--still snapshot). Nothing was written",
            source.name
        )));
    }
    if source.snapshot.is_some() {
        // Digests of what is in the image show what changed, and no file does.
        return Err(refused(format!(
            "{} is in an image, and a clone with an identity of its own can't be made of it. Restore it, and clone \
             what came back. Nothing was written",
            source.name
        )));
    }
    let patches = match &source.table {
        Some(table) => of_disk(source, table, own.ids)?,
        None => of_volume(&source.device, &source.usage, own.ids)?,
    };
    let before = Names::of(source);
    let changed = patches.extents();
    source.device = Arc::new(Patched::new(source.device.clone(), patches));
    look_again(source)?;
    let mut names = Names::of(source).instead_of(before);
    names.extend(of_partitions(&source.identity, clone));
    let others = own.names.iter();
    let others = others.filter(|other| names.iter().all(|name| name.from != other.from));
    let others: Vec<_> = others.cloned().collect();
    names.extend(others);
    source.own_identity = Some(OwnIdentity {
        ids: own.ids,
        names,
        changed: ExtentMap::new(),
    });
    note(source, &changed);
    Ok(())
}

/// The PARTUUID of the partition that a clone is on, in place of that of its source.
fn of_partitions(source: &Identity, clone: &Identity) -> Option<OwnName> {
    match (source, clone) {
        (Identity::PartUuid(from), Identity::PartUuid(to)) => Some(OwnName {
            of: Named::Partition,
            from: from.clone(),
            to: to.clone(),
        }),
        _ => None,
    }
}

/// What a disk has otherwise: its table, and each of its volumes.
fn of_disk(source: &SourceEnd, table: &Table, ids: OwnIds) -> Result<Patches> {
    if source.usage.basis != Basis::Map {
        return Err(refused(
            "its partition table can't be relied on, so the clone can't have an identity of its own. Mend it first \
             (sgdisk, gdisk). Nothing was written",
        ));
    }
    let mut patches = table::with_own_ids(&*source.device, table, &ids)?;
    for volume in &source.volumes {
        let Some(partition) = &volume.partition else {
            continue;
        };
        let window = window(&source.device, volume.extent)?;
        let own = of_volume(&window, &volume.usage, ids);
        let own = own.with_context(|| format!("partition {}", partition.number))?;
        patches.add_part(&own, volume.extent.offset_bytes())?;
    }
    Ok(patches)
}

/// What a volume has otherwise.
fn of_volume(device: &Arc<dyn ReadAt>, usage: &Usage, ids: OwnIds) -> Result<Patches> {
    let Some(filesystem) = usage.filesystem() else {
        return Ok(Patches::new());
    };
    let summary = filesystem.summary();
    let kind = summary.kind;
    // They have no UUID that anything mounts them by.
    if matches!(kind, Kind::Squashfs | Kind::Erofs | Kind::Iso9660) {
        return Ok(Patches::new());
    }
    let not = |why: String| {
        refused(format!(
            "a clone of this {kind} can't have an identity of its own: {why}. Nothing was written"
        ))
    };
    if let Basis::Contained { reason } = &usage.basis {
        return Err(not(reason.clone()));
    }
    if let Basis::Whole {
        reason,
        is_warning: true,
    } = &usage.basis
    {
        return Err(not(reason.clone()));
    }
    if let Some(hazard) = summary.hazards.first() {
        return Err(not(format!("it {hazard}")));
    }
    match filesystem.with_own_id(&**device, &ids) {
        Some(Ok(patches)) => Ok(patches),
        Some(Err(klon_partition::Error::Unsupported { what, reason })) => {
            Err(not(format!("{what} is not supported: {reason}")))
        }
        Some(Err(error)) => Err(error.into()),
        None => Err(not(format!(
            "klon does not know how to give {kind} another one"
        ))),
    }
}

fn window(device: &Arc<dyn ReadAt>, extent: Extent) -> Result<Arc<dyn ReadAt>> {
    Ok(Arc::new(Window::new(device.clone(), extent)?))
}

/// Looks at the source anew, as it is shown now. What is in use stays what it was.
fn look_again(source: &mut SourceEnd) -> Result<()> {
    if let Some(before) = &source.table {
        let found = match table::read(&*source.device)? {
            Found::Table(table, _) => Some(table),
            Found::Blank | Found::NoTable => None,
        };
        let parts = |table: &Table| -> Vec<(u32, Extent)> {
            let partitions = table.partitions.iter();
            partitions.map(|it| (it.number, it.extent)).collect()
        };
        let found = found.filter(|found| parts(found) == parts(before));
        let Some(found) = found else {
            return Err(refused(
                "its partition table can't be read as klon would change it. Nothing was written",
            ));
        };
        source.table = Some(found);
        for volume in &mut source.volumes {
            let window = window(&source.device, volume.extent)?;
            let number = volume.partition.as_ref().map(|partition| partition.number);
            let name = number.map_or_else(String::new, |number| format!(", partition {number}"));
            let feature = recognize_again(&window, &mut volume.usage)?;
            let note = feature.map(|feature| format!("{}{name}: {feature}", source.name));
            source.journals.extend(note);
        }
        return Ok(());
    }
    let feature = recognize_again(&source.device.clone(), &mut source.usage)?;
    let note = feature.map(|feature| format!("{}: {feature}", source.name));
    source.journals.extend(note);
    Ok(())
}

/// Recognizes a filesystem anew, and says which feature it has now that lets its UUID change.
fn recognize_again(device: &Arc<dyn ReadAt>, usage: &mut Usage) -> Result<Option<String>> {
    let Some(before) = &usage.recognized else {
        return Ok(None);
    };
    let features = |it: &dyn Filesystem| -> Result<Option<Vec<u64>>> {
        Ok(it.instance(&**device)?.map(|it| it.features))
    };
    let features_before = features(&**before)?;
    let found = recognize(&**device)?;
    let kind = usage.summary.as_ref().map(|summary| summary.kind);
    let found =
        found.filter(|it| Some(it.summary().kind) == kind && it.summary().hazards.is_empty());
    let Some(found) = found else {
        return Err(refused(
            "its filesystem can't be read as klon would change it. Nothing was written",
        ));
    };
    if usage.token.is_some() {
        usage.token = found.change_token(&**device)?;
    }
    let kind = found.summary().kind;
    let is_new = features(&*found)? != features_before;
    usage.summary = Some(found.summary().clone());
    usage.recognized = Some(found);
    Ok(is_new.then(|| feature_of(kind)).flatten())
}

/// The feature that lets the UUID of a filesystem change, and who does not know it.
fn feature_of(kind: Kind) -> Option<String> {
    let what = match kind {
        Kind::Ext4 => {
            "its clone has the feature metadata_csum_seed. Linux before 4.4, e2fsprogs before 1.43 and GRUB before \
             2.12 can't read it"
        }
        Kind::Xfs => "its clone has the feature meta_uuid. Linux before 4.3 can't read it",
        Kind::Btrfs => "its clone has the feature metadata_uuid. Linux before 5.0 can't read it",
        _ => return None,
    };
    Some(what.to_owned())
}

/// The names of a disk or volume, in an order that an identity of its own does not change.
struct Names(Vec<(Named, Option<String>)>);

impl Names {
    fn of(source: &SourceEnd) -> Self {
        let uuid = |usage: &Usage| usage.summary.as_ref()?.uuid.clone();
        let mut all = Vec::new();
        if let Some(table) = &source.table {
            let disk = disk_identity(table).map(|it| it.value().clone());
            all.push((Named::Disk, disk));
            for partition in &table.partitions {
                let partuuid = partition_identity(table, partition);
                all.push((Named::Partition, partuuid.map(|it| it.value().clone())));
            }
            for volume in &source.volumes {
                all.push((Named::Filesystem, uuid(&volume.usage)));
            }
        } else {
            all.push((Named::Filesystem, uuid(&source.usage)));
        }
        Self(all)
    }

    /// Which of them stand in place of which.
    fn instead_of(self, before: Self) -> Vec<OwnName> {
        let mut found: Vec<OwnName> = Vec::new();
        for ((of, to), (_, from)) in self.0.into_iter().zip(before.0) {
            let (Some(from), Some(to)) = (from, to) else {
                continue;
            };
            let name = OwnName { of, from, to };
            if name.from != name.to && !found.contains(&name) {
                found.push(name);
            }
        }
        found
    }
}
