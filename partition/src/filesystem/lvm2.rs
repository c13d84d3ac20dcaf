//! Physical volumes of LVM2, by the metadata of their volume group. No specification of the format
//! is public but the sources of [lvm2](https://gitlab.com/lvmteam/lvm2), whose names stand here.
//!
//! In use are the physical extents of all logical volumes, whatever those hold, and everything
//! before the first extent; metadata areas wherever they are. Extents that no logical volume has
//! are free, and so is what follows the last extent.
//!
//! The metadata on one physical volume proves its extents free only while the group has no other.
//! The volumes of a group of several are copied whole: the copy of the metadata on another volume
//! may be newer, and half of a group is no clone of it.

mod address;
mod area;
mod group;
mod label;
mod layout;
mod segment;
mod text;
mod value;

use super::{ChangeToken, Filesystem, Hazard, Kind, Summary};
use crate::device::ReadAt;
use crate::error::{Checked, Error, Result};
use crate::extent::ExtentMap;
use label::Label;
use layout::Layout;

/// An LVM2 physical volume.
#[derive(Debug)]
struct Lvm2 {
    summary: Summary,
    label: Checked<Label>,
    /// The end of the last physical extent, where that is known.
    end_bytes: Option<u64>,
}

/// Recognises a physical volume by the label in one of its first four sectors.
///
/// # Errors
/// [`Error::Io`] when the device fails.
pub(super) fn probe(volume: &dyn ReadAt) -> Result<Option<Box<dyn Filesystem>>> {
    let Some(found) = label::find(volume)? else {
        return Ok(None);
    };
    let volume_bytes = volume.geometry().size_bytes;
    let mut summary = Summary {
        kind: Kind::Lvm2,
        label: None,
        uuid: found.uuid,
        size_bytes: volume_bytes,
        block_size_bytes: 0,
        used_bytes: None,
        hazards: Vec::new(),
    };
    let end_bytes = match &found.label {
        Ok(label) => describe(&mut summary, volume, label)?,
        Err(corrupt) => {
            summary.hazards.push(Hazard::Damaged(corrupt.to_string()));
            None
        }
    };
    Ok(Some(Box::new(Lvm2 {
        summary,
        label: found.label,
        end_bytes,
    })))
}

/// Adds what the metadata says; returns where the last physical extent ends.
fn describe(summary: &mut Summary, volume: &dyn ReadAt, label: &Label) -> Result<Option<u64>> {
    let mut end_bytes = None;
    let size_bytes = |claimed: u64| claimed.min(volume.geometry().size_bytes);
    if label.device_bytes != 0 {
        summary.size_bytes = size_bytes(label.device_bytes);
    }
    match Layout::read(volume, label) {
        Ok(layout) => {
            let group = layout.group.as_ref();
            if let Some(dev_size) = group.and_then(|group| group.volume.dev_size) {
                summary.size_bytes = size_bytes(dev_size.bytes().unwrap_or(u64::MAX));
            }
            // Those of 4 GiB and more have no number here.
            summary.block_size_bytes = u32::try_from(layout.extent_bytes()).unwrap_or(0);
            summary.used_bytes = Some(layout.used().total_bytes());
            end_bytes = layout.end_bytes();
            summary.hazards = layout.hazards;
        }
        Err(Error::Corrupt(corrupt)) => {
            summary.hazards.push(Hazard::Damaged(corrupt.to_string()));
        }
        // That nothing is known here of what is free is no fault of the volume.
        Err(Error::Unsupported { .. }) => (),
        Err(error) => return Err(error),
    }
    Ok(end_bytes)
}

impl Filesystem for Lvm2 {
    fn summary(&self) -> &Summary {
        &self.summary
    }

    fn used(&self, device: &dyn ReadAt) -> Result<Option<ExtentMap>> {
        let layout = match &self.label {
            Ok(label) => Layout::read(device, label)?,
            Err(corrupt) => return Err(corrupt.clone().into()),
        };
        let unknown = layout
            .hazards
            .iter()
            .any(|hazard| matches!(hazard, Hazard::UnknownFeature(_)));
        if unknown {
            return Err(Error::unsupported(
                "this LVM2 volume group",
                "it has features that klon doesn't know, so its segments prove nothing",
            ));
        }
        Ok(Some(layout.used()))
    }

    /// Behind the last physical extent LVM has nothing but the metadata areas.
    fn end_bytes(&self) -> u64 {
        self.end_bytes.unwrap_or(self.summary.size_bytes)
    }

    /// None: the metadata of the group changes with the group's volumes, not with what is written
    /// to them.
    fn change_token(&self, _device: &dyn ReadAt) -> Result<Option<ChangeToken>> {
        Ok(None)
    }

    // No metadata: logical volumes hold filesystems, whose own structures this parser can't tell
    // from contents of files.
}

#[cfg(test)]
mod tests;
