//! What a physical volume's label and metadata say together, and which bytes that leaves free.

use super::area::{self, Text};
use super::group::Group;
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
                Text::Ignored => ignored = ignored.saturating_add(1),
                Text::Empty => empty = empty.saturating_add(1),
                Text::Committed(offset_bytes, bytes) => texts.push((offset_bytes, bytes)),
            }
        }
        if !texts.is_empty() && empty > 0 {
            let found = "one with metadata and one without";
            return Err(bad_label(label, "metadata areas", "the same in all", found));
        }
        let group = group(label, &texts, &mut hazards)?;
        match &group {
            Some(group) => check_group(label, group, data_offset_bytes, size_bytes)?,
            None => check_orphan(label, empty, ignored)?,
        }
        Ok(Self {
            label: label.clone(),
            group,
            hazards,
            data_offset_bytes,
        })
    }

    /// Every byte in use: all before the first physical extent, the metadata areas, what is kept
    /// for boot loaders, and the extents of logical volumes.
    pub(super) fn used(&self) -> ExtentMap {
        let extent_bytes = self.extent_bytes();
        let runs = self.group.iter().flat_map(|group| &group.runs);
        let data = runs.filter_map(|run| {
            let start_bytes = u64::from(run.first)
                .saturating_mul(extent_bytes)
                .saturating_add(self.data_offset_bytes);
            Extent::new(
                start_bytes,
                u64::from(run.count).saturating_mul(extent_bytes),
            )
        });
        let areas = self.label.metadata.iter().chain(&self.label.boot);
        Extent::new(0, self.data_offset_bytes)
            .into_iter()
            .chain(areas.filter_map(|area| area.extent()))
            .chain(data)
            .collect()
    }

    /// Where the last physical extent ends; `None` without a volume group.
    pub(super) fn end_bytes(&self) -> Option<u64> {
        let group = self.group.as_ref()?;
        let len_bytes = u64::from(group.volume.pe_count).checked_mul(self.extent_bytes())?;
        len_bytes.checked_add(self.data_offset_bytes)
    }

    /// Bytes of a physical extent; 0 without a volume group.
    pub(super) fn extent_bytes(&self) -> u64 {
        self.group.as_ref().map_or(0, extent_bytes)
    }
}

fn extent_bytes(group: &Group) -> u64 {
    group.extent_sectors.saturating_mul(SECTOR_BYTES)
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
            "klon knows those with one",
        ));
    };
    if label.metadata.len() > AREAS_MAX {
        let expected = format!("at most {AREAS_MAX} metadata areas");
        return Err(bad_label(
            label,
            "disk_areas_xl",
            expected,
            label.metadata.len(),
        ));
    }
    let own_end = label.offset_bytes.saturating_add(SECTOR_BYTES);
    if !(own_end..=size_bytes).contains(&data.offset_bytes) {
        let expected = "data between the label and the end";
        return Err(bad_label(
            label,
            "disk_areas_xl",
            expected,
            data.offset_bytes,
        ));
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

/// The newest metadata; that of several areas should be the same.
fn group(
    label: &Label,
    texts: &[(u64, Vec<u8>)],
    hazards: &mut Vec<Hazard>,
) -> Result<Option<Group>> {
    let mut newest: Option<Group> = None;
    let mut first: Option<&[u8]> = None;
    for (offset_bytes, text) in texts {
        if first == Some(text.as_slice()) {
            continue;
        }
        let group = Group::parse(text, *offset_bytes, &label.uuid)?;
        let Some(other) = &newest else {
            (newest, first) = (Some(group), Some(text.as_slice()));
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
) -> Result<()> {
    let volume = &group.volume;
    let start_bytes = volume.pe_start_sectors.saturating_mul(SECTOR_BYTES);
    if start_bytes != data_offset_bytes {
        let expected = format!("{start_bytes}, pe_start of the metadata");
        return Err(bad_label(label, "data area", expected, data_offset_bytes));
    }
    let len_bytes = u64::from(volume.pe_count).checked_mul(extent_bytes(group));
    let end_bytes = len_bytes.and_then(|len_bytes| len_bytes.checked_add(start_bytes));
    let Some(end_bytes) = end_bytes.filter(|&end_bytes| end_bytes <= size_bytes) else {
        let expected = format!("physical extents within {size_bytes} bytes");
        let found = format!("{} of {} sectors", volume.pe_count, group.extent_sectors);
        return Err(bad_label(label, "pe_count", expected, found));
    };
    let data = Extent::between(start_bytes, end_bytes);
    let areas = label.metadata.iter().chain(&label.boot);
    let over = areas
        .filter_map(|area| area.extent())
        .find(|area| data.is_some_and(|data| data.overlaps(*area)));
    if let Some(area) = over {
        let expected = "areas apart from the physical extents";
        return Err(bad_label(label, "disk_areas_xl", expected, area));
    }
    let boot = volume.boot_sectors.map(|(start, len)| Area {
        offset_bytes: start.saturating_mul(SECTOR_BYTES),
        len_bytes: len.saturating_mul(SECTOR_BYTES),
    });
    if boot.as_slice() != label.boot {
        let expected = format!("ba_start and ba_size of the metadata: {boot:?}");
        return Err(bad_label(
            label,
            "bootloader area",
            expected,
            format!("{:?}", label.boot),
        ));
    }
    Ok(())
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
