//! Reading a GPT: two copies, each with a header and an array that are judged on their own.
//!
//! Both are checked by [`super::guard`] before the `gpt` crate decodes the entries.

mod copy;
mod entries;
mod rival;

use super::guard::Header;
use super::sectors::Sectors;
use super::{Finding, Table};
use crate::bytes::is_zero;
use crate::device::{ReadAt, read_vec};
use crate::error::{Error, Result};
pub(super) use copy::Copy;
use entries::Entries;

/// Protective MBR, two headers, two arrays of a sector, and a sector for a partition.
const SECTORS_MIN: u64 = 6;

/// A GPT that could be read, and how much speaks for the disk being a GPT disk at all.
pub(super) struct Gpt {
    pub(super) table: Table,
    pub(super) findings: Vec<Finding>,
    pub(super) alternate_lba: u64,
    /// Whether something of the primary copy is there: its signature, or its array. Without
    /// it, the backup may be left over from a table that was replaced.
    pub(super) has_primary: bool,
    /// Whether the primary header is intact.
    pub(super) is_primary_valid: bool,
}

/// The header and the array that a table is read from; each may be of another copy.
pub(super) struct Selected {
    pub(super) header: Header,
    pub(super) array: Vec<u8>,
    /// Whether the array is the one of the primary copy.
    pub(super) is_primary_array: bool,
}

impl Selected {
    fn entries(&self) -> Entries<'_> {
        Entries {
            header: &self.header,
            array: &self.array,
        }
    }
}

/// The two copies as they are on the disk.
pub(super) struct Copies {
    primary: Copy,
    backup: Copy,
    sectors: Sectors,
}

impl Copies {
    pub(super) fn load(disk: &dyn ReadAt, sectors: Sectors) -> Self {
        let primary = Copy::load(disk, sectors, 1);
        let last_lba = sectors.last_lba();
        let named_lba = primary
            .header
            .as_ref()
            .map_or(last_lba, |header| header.alternate_lba);
        let mut backup = Copy::load(disk, sectors, named_lba);
        if backup.header.is_err() && named_lba != last_lba {
            backup = Copy::load(disk, sectors, last_lba);
        }
        Self {
            primary,
            backup,
            sectors,
        }
    }

    const fn has_signature(&self) -> bool {
        self.primary.has_signature || self.backup.has_signature
    }

    /// The array of the copy whose own header is lost, where its checksum finds it.
    fn salvage(&self, disk: &dyn ReadAt) -> Option<Selected> {
        let sectors = self.sectors;
        if let Ok(header) = &self.primary.header {
            let array_lba = self.backup_array_lba(disk)?;
            let array = header.read_array(disk, sectors, array_lba).ok()?;
            return Some(Selected {
                header: header.clone(),
                array,
                is_primary_array: false,
            });
        }
        let header = self.backup.header.as_ref().ok()?;
        let array_lba = self.primary_array_lba(disk)?;
        let array = header.read_array(disk, sectors, array_lba).ok()?;
        Some(Selected {
            header: header.clone(),
            array,
            is_primary_array: true,
        })
    }

    /// Where the primary array is: as its header says or, when that is damaged, where the
    /// checksum of the backup finds it: the place that the damaged header names, sector 2, or the
    /// sectors right before the usable ones.
    pub(super) fn primary_array_lba(&self, disk: &dyn ReadAt) -> Option<u64> {
        if let Some(header) = self.primary.header() {
            return Some(header.array_lba);
        }
        let header = self.backup.header()?;
        let count = header.array_sectors(self.sectors);
        let before = header.first_usable_lba.checked_sub(count);
        self.find_array(disk, header, &[self.primary.named(), Some(2), before])
    }

    /// Where the backup's array is. Tools put it right before its header or right behind the usable sectors.
    pub(super) fn backup_array_lba(&self, disk: &dyn ReadAt) -> Option<u64> {
        if let Some(header) = self.backup.header() {
            return Some(header.array_lba);
        }
        let header = self.primary.header()?;
        let count = header.array_sectors(self.sectors);
        let before = header.alternate_lba.checked_sub(count);
        let behind = header.last_usable_lba.checked_add(1);
        self.find_array(disk, header, &[self.backup.named(), before, behind])
    }

    /// The first of `places` that has the array of `header`.
    fn find_array(
        &self,
        disk: &dyn ReadAt,
        header: &Header,
        places: &[Option<u64>],
    ) -> Option<u64> {
        let count = header.array_sectors(self.sectors);
        let (first, last) = (header.first_usable_lba, header.last_usable_lba);
        let usable = self.sectors.extent(first, last);
        // Zeroes between the partitions look like an array without entries.
        let is_clear = |lba: u64| {
            let place = self.sectors.run(lba, count);
            place.is_some_and(|place| usable.is_none_or(|usable| !usable.overlaps(place)))
        };
        (places.iter().flatten().copied())
            .filter(|&lba| lba >= 2 && is_clear(lba))
            .find(|&lba| header.read_array(disk, self.sectors, lba).is_ok())
    }

    /// The primary copy.
    pub(super) const fn primary(&self) -> &Copy {
        &self.primary
    }

    /// The backup.
    pub(super) const fn backup(&self) -> &Copy {
        &self.backup
    }

    /// The best header and its array.
    pub(super) fn select(&self, disk: &dyn ReadAt) -> Option<Selected> {
        let of = |entries: Entries<'_>, is_primary_array| Selected {
            header: entries.header.clone(),
            array: entries.array.to_vec(),
            is_primary_array,
        };
        if let Some(primary) = self.primary.intact() {
            return Some(of(primary, true));
        }
        if let Some(backup) = self.backup.intact() {
            return Some(of(backup, false));
        }
        self.salvage(disk)
    }

    fn findings(&self, disk: &dyn ReadAt) -> Vec<Finding> {
        let mut findings = Vec::new();
        let rival = rival::rival(self, disk).map(Finding::CopiesDiffer);
        findings.extend(rival.or_else(|| self.primary.damage().map(Finding::PrimaryDamaged)));
        findings.extend(self.backup.damage().map(Finding::BackupDamaged));
        let last_lba = self.sectors.last_lba();
        if let Ok(header) = &self.backup.header {
            if self.backup.lba != last_lba {
                findings.push(Finding::BackupMisplaced(format!(
                    "it is in sector {}, the last sector is {last_lba}",
                    self.backup.lba
                )));
            }
            match self.difference() {
                Some(how) => findings.push(Finding::CopiesDiffer(how)),
                None => findings.extend(self.disagreement(header).map(Finding::BackupDiffers)),
            }
        }
        findings
    }

    /// How two intact copies name different partitions, or different disks: nothing tells which of
    /// them is right.
    fn difference(&self) -> Option<String> {
        let (primary, backup) = (self.primary.intact()?, self.backup.intact()?);
        if primary.header.disk_guid != backup.header.disk_guid {
            return Some("both copies of the GPT are intact and have other disk GUIDs".to_owned());
        }
        let how = entries::difference(primary, backup)?;
        Some(format!(
            "both copies of the GPT are intact and name different partitions: {how}"
        ))
    }

    /// What the backup, whose header is intact, says otherwise than the primary.
    fn disagreement(&self, backup: &Header) -> Option<String> {
        let primary = self.primary.header.as_ref().ok()?;
        if primary.disk_guid != backup.disk_guid {
            return Some(format!(
                "the disk GUID is {} in the primary, and {} in the backup",
                primary.disk_guid, backup.disk_guid
            ));
        }
        if primary.array_crc32 != backup.array_crc32 {
            let copies = self.primary.intact().zip(self.backup.intact());
            let detail = copies.map(|(one, other)| entries::detail(one, other));
            return Some(detail.unwrap_or_else(|| "they have other entries".to_owned()));
        }
        let usable = |header: &Header| (header.first_usable_lba, header.last_usable_lba);
        let (one, other) = (usable(primary), usable(backup));
        (one != other).then(|| {
            format!(
                "partitions may have sectors {} to {} in the primary, and {} to {} in the backup",
                one.0, one.1, other.0, other.1
            )
        })
    }

    fn into_error(self) -> Error {
        let (primary, backup) = (self.primary.into_error(), self.backup.into_error());
        match (primary, backup) {
            // A failing disk is not a damaged table.
            (_, Some(error @ Error::Io { .. })) => error,
            (Some(error), _) | (None, Some(error)) => error,
            (None, None) => Error::Invalid("a GPT without damage was refused".to_owned()),
        }
    }

    /// Where the headers and arrays are: what they say themselves, or where tools put them.
    pub(super) fn extents(&self) -> Vec<crate::Extent> {
        let sectors = self.sectors;
        let mut extents = vec![
            sectors.run(0, 2),
            sectors.run(sectors.last_lba(), 1),
            sectors.run(self.backup.lba, 1),
        ];
        let headers = [self.primary.header.as_ref(), self.backup.header.as_ref()];
        for header in headers.into_iter().flatten() {
            extents.push(header.array_extent(sectors));
        }
        match headers {
            [Err(_), Ok(other)] => extents.push(sectors.run(2, other.array_sectors(sectors))),
            [Ok(other), Err(_)] => {
                let count = other.array_sectors(sectors);
                let array_lba = other.alternate_lba.checked_sub(count);
                extents.push(array_lba.and_then(|array_lba| sectors.run(array_lba, count)));
            }
            _ => {}
        }
        extents.into_iter().flatten().collect()
    }
}

/// Reads the GPT on `disk`, counting in `sectors`; `None` when there is no sign of one.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Unsupported`] or [`Error::Io`] when there is one, but neither
/// copy can be used.
pub(super) fn read(disk: &dyn ReadAt, sectors: Sectors) -> Result<Option<Gpt>> {
    if sectors.count() < SECTORS_MIN {
        return Ok(None);
    }
    let copies = Copies::load(disk, sectors);
    let Some(selected) = copies.select(disk) else {
        let error = copies.has_signature() || copies.failed();
        return if error {
            Err(copies.into_error())
        } else {
            Ok(None)
        };
    };
    let conventional = || {
        selected
            .header
            .read_array(disk, sectors, 2)
            .is_ok_and(|array| !is_zero(&array))
    };
    let has_primary = copies.primary.has_signature || selected.is_primary_array || conventional();
    let findings = copies.findings(disk);
    let table = entries::to_table(selected.entries(), sectors)?;
    Ok(Some(Gpt {
        table,
        findings,
        alternate_lba: selected.header.alternate_lba,
        has_primary,
        is_primary_valid: copies.primary.header.is_ok(),
    }))
}

/// What can be told of a GPT that [`read`] refuses: the partitions that are wholly on the disk, by a
/// copy whose checksums hold.
///
/// # Errors
/// [`Error::Io`] when the device fails.
pub(super) fn readable(disk: &dyn ReadAt, sectors: Sectors) -> Result<Option<Table>> {
    if sectors.count() < SECTORS_MIN {
        return Ok(None);
    }
    for lba in [1, sectors.last_lba()] {
        let sector = read_vec(disk, sectors.offset_bytes(lba), sectors.len())?;
        let Ok(header) = Header::parse_claimed(&sector, sectors, lba) else {
            continue;
        };
        // An array behind the end of the disk is lost; that is no failure of the disk.
        if header.array_extent(sectors).is_none() {
            continue;
        }
        match header.read_array(disk, sectors, header.array_lba) {
            Ok(array) => {
                let entries = Entries {
                    header: &header,
                    array: &array,
                };
                return entries::readable(entries, sectors);
            }
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(_) => {}
        }
    }
    Ok(None)
}

/// The table of the backup, where both copies are intact.
///
/// # Errors
/// [`Error::Corrupt`] when it contradicts itself.
pub(super) fn backup(disk: &dyn ReadAt, sectors: Sectors) -> Result<Option<Table>> {
    if sectors.count() < SECTORS_MIN {
        return Ok(None);
    }
    let copies = Copies::load(disk, sectors);
    match (copies.primary.intact(), copies.backup.intact()) {
        (Some(_), Some(entries)) => entries::to_table(entries, sectors).map(Some),
        _ => Ok(None),
    }
}

impl Copies {
    fn failed(&self) -> bool {
        let is_io = |copy: &Copy| matches!(copy.header, Err(Error::Io { .. }));
        is_io(&self.primary) || is_io(&self.backup)
    }
}
