//! What a physical volume's label and metadata say together, and which bytes are free by them.

use super::address::PhysicalExtents;
use super::area::{self, Committed, Text};
use super::group::{BootArea, Group};
use super::label::{Area, Label};
use crate::device::ReadAt;
use crate::error::{Corrupt, Error, Result};
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::Hazard;

const SECTOR_BYTES: u64 = 512;
/// LVM makes one or two.
const AREAS_MAX: usize = 2;

/// A physical volume whose structures fit each other and the device.
pub(super) struct Layout {
    label: Label,
    /// Its volume group; `None` while it has none.
    pub(super) group: Option<Group>,
    pub(super) hazards: Vec<Hazard>,
    /// Where the first physical extent starts.
    data_offset_bytes: u64,
    /// `None` without a volume group.
    extents: Option<PhysicalExtents>,
}

impl Layout {
    /// Reads all metadata of the volume with this label.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a structure fails its check or contradicts another;
    /// [`Error::Unsupported`] when nothing on this volume says which of its extents are free.
    pub(super) fn read(volume: &dyn ReadAt, label: &Label) -> Result<Self> {
        let size_bytes = volume.geometry().size_bytes;
        let data_offset_bytes = check_label(label, size_bytes)?;
        let mut hazards: Vec<Hazard> = label
            .unknown()
            .map(Hazard::UnknownFeature)
            .into_iter()
            .collect();
        let mut texts = Vec::new();
        let (mut empty, mut ignored) = (0_usize, 0_usize);
        for &area in &label.metadata {
            let contents = area::read(volume, area)?;
            if contents.has_precommitted {
                hazards.push(Hazard::NeedsRecovery(
                    "a change of the volume group's metadata was not committed".to_owned(),
                ));
            }
            match contents.text {
                Text::Ignored => ignored += 1,
                Text::Empty => empty += 1,
                Text::Committed(text) => texts.push(text),
            }
        }
        if !texts.is_empty() && empty > 0 {
            let found = "one with metadata and one without";
            return Err(bad_label(label, "metadata areas", "the same in all", found));
        }
        let group = group(label, &texts, &mut hazards)?;
        let extents = if let Some(group) = &group {
            Some(check_group(label, group, data_offset_bytes, size_bytes)?)
        } else {
            check_orphan(label, empty, ignored)?;
            None
        };
        Ok(Self {
            label: label.clone(),
            group,
            hazards,
            data_offset_bytes,
            extents,
        })
    }

    /// Every byte in use: all before the first physical extent, the metadata areas, what is kept
    /// for boot loaders, and the extents of logical volumes.
    pub(super) fn used(&self) -> ExtentMap {
        let runs = self.group.iter().flat_map(|group| &group.runs);
        // The group's check: no run is beyond pe_count.
        let data = runs.filter_map(|run| self.extents?.extent(*run));
        let areas = self.label.metadata.iter().chain(&self.label.boot);
        Extent::new(0, self.data_offset_bytes)
            .into_iter()
            .chain(areas.filter_map(|area| area.extent()))
            .chain(data)
            .collect()
    }

    /// Where the last physical extent ends; `None` without a volume group.
    pub(super) fn end_bytes(&self) -> Option<u64> {
        self.extents.as_ref().map(PhysicalExtents::end_bytes)
    }

    /// Bytes of a physical extent; 0 without a volume group.
    pub(super) fn extent_bytes(&self) -> u64 {
        self.extents
            .as_ref()
            .map_or(0, PhysicalExtents::extent_bytes)
    }
}

fn bad_label(
    label: &Label,
    field: &'static str,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Error {
    Corrupt::new("LVM2 label", field, label.offset_bytes, expected, found).into()
}

/// Checks what the label says of areas, and gives the start of the one for data.
fn check_label(label: &Label, size_bytes: u64) -> Result<u64> {
    let [data] = label.data[..] else {
        return Err(Error::unsupported(
            format!(
                "an LVM2 physical volume with {} data areas",
                label.data.len()
            ),
            "klon knows volumes with one",
        ));
    };
    if label.metadata.len() > AREAS_MAX {
        let expected = format!("at most {AREAS_MAX} metadata areas");
        let found = label.metadata.len();
        return Err(bad_label(label, "disk_areas_xl", expected, found));
    }
    // In one of the first four sectors.
    let own_end = label.offset_bytes + SECTOR_BYTES;
    if !(own_end..=size_bytes).contains(&data.offset_bytes) {
        let expected = "data between the label and the end";
        let found = data.offset_bytes;
        return Err(bad_label(label, "disk_areas_xl", expected, found));
    }
    let mut areas: Vec<&Area> = label.metadata.iter().chain(&label.boot).collect();
    areas.sort_unstable_by_key(|area| area.offset_bytes);
    let mut end = own_end;
    for area in areas {
        let extent = area
            .extent()
            .filter(|extent| extent.offset_bytes() >= end && extent.end_bytes() <= size_bytes);
        let Some(extent) = extent else {
            let expected = format!("areas from {end} to {size_bytes}, none over another");
            let found = format!("{} bytes at {}", area.len_bytes, area.offset_bytes);
            return Err(bad_label(label, "disk_areas_xl", expected, found));
        };
        end = extent.end_bytes();
    }
    Ok(data.offset_bytes)
}

/// The newest metadata. All areas should hold the same.
fn group(label: &Label, texts: &[Committed], hazards: &mut Vec<Hazard>) -> Result<Option<Group>> {
    let mut newest: Option<Group> = None;
    let mut first: Option<&[u8]> = None;
    for text in texts {
        let bytes = text.bytes.as_slice();
        if first == Some(bytes) {
            continue;
        }
        let group = Group::parse(bytes, text.offset_bytes, &label.uuid)?;
        let Some(other) = &newest else {
            (newest, first) = (Some(group), Some(bytes));
            continue;
        };
        hazards.push(Hazard::Damaged(format!(
            "metadata areas disagree: volume group {} seqno {}, volume group {} seqno {}",
            other.name, other.seqno, group.name, group.seqno
        )));
        if group.seqno > other.seqno {
            newest = Some(group);
        }
    }
    hazards.extend(
        newest
            .iter()
            .flat_map(|group| group.hazards.iter().cloned()),
    );
    Ok(newest)
}

/// Checks that the group's extents lie on the device, apart from everything else.
fn check_group(
    label: &Label,
    group: &Group,
    data_offset_bytes: u64,
    size_bytes: u64,
) -> Result<PhysicalExtents> {
    let volume = &group.volume;
    if volume.pe_start.bytes() != Some(data_offset_bytes) {
        let start_bytes = volume.pe_start.bytes().unwrap_or(u64::MAX);
        let expected = format!("{start_bytes}, pe_start of the metadata");
        return Err(bad_label(label, "data area", expected, data_offset_bytes));
    }
    let (size, count) = (group.extent_size, volume.pe_count);
    let extents = PhysicalExtents::new(data_offset_bytes, size, count, size_bytes);
    let extents = extents.ok_or_else(|| {
        let expected = format!("physical extents within {size_bytes} bytes");
        let found = format!("{count} of {size} sectors");
        bad_label(label, "pe_count", expected, found)
    })?;
    let data = extents.all();
    let areas = label.metadata.iter().chain(&label.boot);
    let over = areas
        .filter_map(|area| area.extent())
        .find(|area| data.is_some_and(|data| data.overlaps(*area)));
    if let Some(area) = over {
        let expected = "areas apart from the physical extents";
        return Err(bad_label(label, "disk_areas_xl", expected, area));
    }
    let boot = volume.boot.map(boot_area);
    let is_same = match &boot {
        None => label.boot.is_empty(),
        Some(area) => area.as_slice() == label.boot,
    };
    if !is_same {
        let boot = boot.flatten();
        let expected = format!("ba_start and ba_size of the metadata: {boot:?}");
        let found = format!("{:?}", label.boot);
        return Err(bad_label(label, "bootloader area", expected, found));
    }
    Ok(extents)
}

/// `None` when 64 bits can't count its bytes.
fn boot_area(boot: BootArea) -> Option<Area> {
    Some(Area {
        offset_bytes: boot.ba_start.bytes()?,
        len_bytes: boot.ba_size.bytes()?,
    })
}

/// Checks that a volume without metadata is one without a group.
fn check_orphan(label: &Label, empty: usize, ignored: usize) -> Result<()> {
    if ignored == 0 && empty > 0 && label.is_in_use() == Some(false) {
        return Ok(());
    }
    let reason = if label.metadata.is_empty() {
        "it has no metadata area: other physical volumes know what is on it"
    } else if ignored > 0 {
        "its metadata area is switched off: other physical volumes know what is on it"
    } else {
        "its metadata area is empty, but its label does not say that no volume group has it"
    };
    Err(Error::unsupported(
        "an LVM2 physical volume without metadata",
        reason,
    ))
}
