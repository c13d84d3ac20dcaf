//! ISO 9660: images of discs, also those that are disks as well (isohybrid).

mod boot;
mod descriptor;
mod table;

use super::read_only::ReadOnly;
use super::{Filesystem, Hazard, Kind, Summary};
use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use descriptor::Descriptors;

/// Recognises ISO 9660 by its volume descriptors.
///
/// A disc that has a UDF too counts as UDF, as the two share bytes that ISO 9660 does not name.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<Option<Box<dyn Filesystem>>> {
    let found = Descriptors::read(volume)?.filter(|found| !found.has_udf);
    let Some(descriptors) = found else {
        return Ok(None);
    };
    let summary = summary(&descriptors, volume.geometry().size_bytes);
    if let Some(reason) = &descriptors.unfit {
        return Ok(Some(Box::new(ReadOnly::whole(summary, reason))));
    }
    let own = ExtentMap::whole(summary.size_bytes);
    let used = own.union(&table::partitions(volume)?);
    let filesystem = match boot::images(volume, &descriptors)?.find(|it| !used.contains(*it)) {
        None => ReadOnly::new(summary, used),
        Some(image) => {
            let reason = format!("its boot image at {image} reaches past its end");
            ReadOnly::whole(summary, &reason)
        }
    };
    Ok(Some(Box::new(filesystem)))
}

/// The bytes of an ISO 9660 that shares its disk with a partition table, whatever the partitions
/// say; empty when there is none.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(crate) fn beside_table(disk: &dyn ReadAt) -> Result<ExtentMap> {
    let Some(descriptors) = Descriptors::read(disk)? else {
        return Ok(ExtentMap::new());
    };
    let size_bytes = disk.geometry().size_bytes;
    if descriptors.has_udf {
        return Ok(ExtentMap::whole(size_bytes));
    }
    let own = ExtentMap::whole(summary(&descriptors, size_bytes).size_bytes);
    let images: ExtentMap = boot::images(disk, &descriptors)?.collect();
    Ok(own
        .union(&images)
        .intersection(&ExtentMap::whole(size_bytes)))
}

fn summary(descriptors: &Descriptors, volume_bytes: u64) -> Summary {
    let primary = descriptors.primary.as_ref();
    let damage = primary.and_then(|primary| primary.damage.clone());
    // Without a size to be believed, all of the volume.
    let size_bytes = match (&damage, &descriptors.unfit) {
        (None, None) => descriptors.end_bytes.min(volume_bytes),
        _ => volume_bytes,
    };
    let mut hazards: Vec<Hazard> = damage
        .into_iter()
        .map(|corrupt| Hazard::Damaged(corrupt.to_string()))
        .collect();
    if hazards.is_empty() && descriptors.end_bytes > volume_bytes {
        hazards.push(Hazard::Damaged(format!(
            "claims {} bytes of a volume of {volume_bytes}",
            descriptors.end_bytes
        )));
    }
    Summary {
        kind: Kind::Iso9660,
        label: primary.and_then(|primary| primary.label.clone()),
        uuid: primary.and_then(|primary| primary.date.clone()),
        size_bytes,
        block_size_bytes: primary.map_or(0, |primary| primary.block_bytes),
        used_bytes: hazards.is_empty().then_some(size_bytes),
        hazards,
    }
}

/// The bytes of `count` units of `unit_bytes` from unit `start` on.
fn units(start: u64, count: u64, unit_bytes: u64) -> Option<Extent> {
    Extent::new(
        start.checked_mul(unit_bytes)?,
        count.checked_mul(unit_bytes)?,
    )
}

#[cfg(test)]
mod tests;
