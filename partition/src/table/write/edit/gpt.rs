//! A GPT, edited: headers, arrays and the first sector as bytes.

use super::steps::Steps;
use super::{Tables, entries, hybrid, put, record};
use crate::bytes::{is_zero, le32};
use crate::device::{ReadAt, read_vec};
use crate::error::{Error, Result};
use crate::extent::{Extent, ExtentMap};
use crate::table::gpt::{Copies, Selected};
use crate::table::guard::Header;
use crate::table::sectors::Sectors;
use crate::table::write::gpt::protective_mbr;
use crate::table::write::kept::Kept;
use crate::table::write::{Rewrite, Step};
use crate::table::{Moved, MovedField, Table};
use std::ops::RangeInclusive;

/// See [`super::plan`].
///
/// # Errors
/// As [`Rewrite::plan`].
pub(super) fn plan(
    origin: &dyn ReadAt,
    disk: &dyn ReadAt,
    sectors: Sectors,
    tables: Tables<'_>,
) -> Result<Rewrite> {
    let gone = || Error::Refused("the GPT can't be read any more".to_owned());
    let old_sectors = Sectors::of(origin.geometry(), sectors.bytes()).ok_or_else(gone)?;
    let copies = Copies::load(origin, old_sectors);
    let Selected { header, array, .. } = copies.select(origin).ok_or_else(gone)?;
    let edit = Edit {
        origin,
        old_sectors,
        sectors,
        old: Places::of(&copies, &header, origin, old_sectors)?,
        copies,
        header,
        array,
    };
    hybrid::check(origin, sectors, tables)?;
    edit.rewrite(disk, tables)
}

/// Where the structures are, in sectors; the primary header is in sector 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Places {
    array_lba: u64,
    backup_lba: u64,
    backup_array_lba: u64,
    array_sectors: u64,
    first_usable_lba: u64,
    last_usable_lba: u64,
}

impl Places {
    /// Where they are, or belong when one is damaged.
    fn of(copies: &Copies, header: &Header, disk: &dyn ReadAt, sectors: Sectors) -> Result<Self> {
        let array_sectors = header.array_sectors(sectors);
        let array_lba = match copies.primary_array_lba(disk) {
            Some(array_lba) => array_lba,
            None => lost_array(header, disk, sectors)?,
        };
        let named = copies.primary().header().map(|header| header.alternate_lba);
        let named = named.filter(|&lba| lba <= sectors.last_lba() && lba > header.last_usable_lba);
        let backup_lba = match copies.backup().header() {
            Some(_) => copies.backup().lba(),
            None => named.unwrap_or_else(|| sectors.last_lba()),
        };
        let own = copies.backup_array_lba(disk);
        Ok(Self {
            array_lba,
            backup_lba,
            backup_array_lba: own.unwrap_or_else(|| backup_lba.saturating_sub(array_sectors)),
            array_sectors,
            first_usable_lba: header.first_usable_lba,
            last_usable_lba: header.last_usable_lba,
        })
    }

    /// The places on a disk whose last sector is `last_lba`, where other sectors are `usable`.
    fn moved(self, usable: RangeInclusive<u64>, last_lba: u64) -> Self {
        let (first_usable_lba, last_usable_lba) = usable.into_inner();
        // As far from the end as before, where that is behind the partitions.
        let distance = self.backup_lba.checked_sub(self.backup_array_lba);
        let array_lba = distance
            .filter(|&distance| distance >= self.array_sectors)
            .and_then(|distance| last_lba.checked_sub(distance))
            .filter(|&array_lba| array_lba > last_usable_lba);
        Self {
            backup_lba: last_lba,
            backup_array_lba: array_lba
                .unwrap_or_else(|| last_lba.saturating_sub(self.array_sectors)),
            first_usable_lba,
            last_usable_lba,
            ..self
        }
    }

    /// The structures with their names.
    fn structures(&self, sectors: Sectors) -> [(&'static str, Option<Extent>); 4] {
        let count = self.array_sectors;
        [
            ("the primary header", sectors.run(1, 1)),
            ("the primary entries", sectors.run(self.array_lba, count)),
            (
                "the backup's entries",
                sectors.run(self.backup_array_lba, count),
            ),
            ("the backup header", sectors.run(self.backup_lba, 1)),
        ]
    }

    /// Checks that no structure lies on another one or where partitions may.
    fn check(&self, sectors: Sectors) -> Result<()> {
        let usable = sectors.extent(self.first_usable_lba, self.last_usable_lba);
        let mut taken: Vec<(&str, Extent)> = vec![("the partitions", usable.ok_or_else(small)?)];
        taken.extend(sectors.run(0, 1).map(|first| ("the MBR", first)));
        for (name, place) in self.structures(sectors) {
            let place = place.ok_or_else(small)?;
            if let Some((other, _)) = taken.iter().find(|(_, it)| it.overlaps(place)) {
                return Err(Error::Refused(format!(
                    "{name} of the GPT, from sector {} on, would lie on {other}, and klon does not move \
                     either. Move them with sgdisk (--move-main-table, --move-backup-table), or \
                     choose a disk of another size",
                    sectors.lba(place.offset_bytes())
                )));
            }
            taken.push((name, place));
        }
        Ok(())
    }
}

fn small() -> Error {
    Error::Refused("the disk is too small for the structures of its GPT".to_owned())
}

/// Where the primary entries belong when nothing says where they were: in sector 2 if no other
/// place is left, or if nothing else is there.
fn lost_array(header: &Header, disk: &dyn ReadAt, sectors: Sectors) -> Result<u64> {
    let count = header.array_sectors(sectors);
    let conventional = sectors.run(2, count);
    let is_free = conventional.is_some_and(|place| {
        let len = usize::try_from(place.len_bytes()).unwrap_or(usize::MAX);
        read_vec(disk, place.offset_bytes(), len).is_ok_and(|bytes| is_zero(&bytes))
    });
    if is_free || header.first_usable_lba.checked_sub(count) == Some(2) {
        return Ok(2);
    }
    Err(Error::Refused(
        "the primary GPT is damaged, and nothing shows where its entries were. Something else may \
         lie in sector 2. Repair the GPT first (gdisk: r, then b and c)"
            .to_owned(),
    ))
}

struct Edit<'a> {
    origin: &'a dyn ReadAt,
    old_sectors: Sectors,
    /// Of the disk that it goes to.
    sectors: Sectors,
    copies: Copies,
    /// The better header, and the array that it has.
    header: Header,
    array: Vec<u8>,
    old: Places,
}

impl Edit<'_> {
    fn rewrite(&self, disk: &dyn ReadAt, tables: Tables<'_>) -> Result<Rewrite> {
        let Tables { current, wanted } = tables;
        let new = self.places(current, wanted);
        new.check(self.sectors)?;
        let mut array = self.array.clone();
        entries::edit(&mut array, tables, self.sectors)?;
        let mut steps = Steps::new(disk);
        if !self.copies.primary().is_intact() {
            // The other copy is the only whole one: it is not touched before this one is whole.
            self.primary(&mut steps, &self.array, &self.old)?;
            steps.sync();
        }
        let at = |lba: u64| self.sectors.offset_bytes(lba);
        let backup_array = self.array_sectors(&array, self.old.backup_array_lba);
        steps.write(at(new.backup_array_lba), backup_array);
        let backup = self.header_sector(false, &array, &new)?;
        steps.write(at(new.backup_lba), backup);
        steps.sync();
        self.primary(&mut steps, &array, &new)?;
        let (first_sector, covered) = self.first_sector(wanted)?;
        steps.write(0, first_sector);
        steps.sync();
        let steps = steps.finish();
        let moved = |field, old, new| Moved::between(field, old, new);
        let (old, alternate) = (&self.old, self.old.backup_lba);
        let moved = [
            covered,
            moved(
                MovedField::LastUsableLba,
                old.last_usable_lba,
                new.last_usable_lba,
            ),
            moved(
                MovedField::BackupArrayLba,
                old.backup_array_lba,
                new.backup_array_lba,
            ),
            moved(MovedField::BackupLba, alternate, new.backup_lba),
        ];
        Ok(Rewrite {
            covered: self.covered(disk, &steps)?,
            steps,
            moved: moved.into_iter().flatten().collect(),
        })
    }

    /// The places on the new disk. On the same disk the backup stays where it is, which may be
    /// short of the end: what is there belongs to someone.
    fn places(&self, current: &Table, wanted: &Table) -> Places {
        let is_same_disk = self.old_sectors.count() == self.sectors.count();
        if is_same_disk && current.usable == wanted.usable {
            return self.old;
        }
        let usable = wanted.usable;
        let first = self.sectors.lba(usable.offset_bytes());
        let last = self.sectors.lba(usable.end_bytes()).saturating_sub(1);
        self.old.moved(first..=last, self.sectors.last_lba())
    }

    fn primary(&self, steps: &mut Steps<'_>, array: &[u8], places: &Places) -> Result<()> {
        let at = |lba: u64| self.sectors.offset_bytes(lba);
        let sectors = self.array_sectors(array, self.old.array_lba);
        steps.write(at(places.array_lba), sectors);
        let header = self.header_sector(true, array, places)?;
        steps.write(at(1), header);
        Ok(())
    }

    /// `array` as whole sectors, with what was behind it in the last of those from `old_lba`.
    fn array_sectors(&self, array: &[u8], old_lba: u64) -> Vec<u8> {
        let mut bytes = array.to_vec();
        let whole = array.len().next_multiple_of(self.sectors.len());
        let rest = whole.saturating_sub(array.len());
        let start = u64::try_from(array.len()).unwrap_or(u64::MAX);
        let start = self.sectors.offset_bytes(old_lba).saturating_add(start);
        let behind = match rest {
            0 => None,
            _ => read_vec(self.origin, start, rest).ok(),
        };
        bytes.extend(behind.unwrap_or_else(|| vec![0; rest]));
        bytes
    }

    /// The sector of the primary or backup header: its own one, or the other's where it is
    /// damaged.
    fn header_sector(&self, is_primary: bool, array: &[u8], places: &Places) -> Result<Vec<u8>> {
        let (primary, backup) = (self.copies.primary(), self.copies.backup());
        let (own, other) = match is_primary {
            true => (primary, backup),
            false => (backup, primary),
        };
        let sector = own.header_sector().or_else(|| other.header_sector());
        let mut sector = sector
            .ok_or_else(|| Error::Invalid("a GPT without a header was selected".to_owned()))?
            .to_vec();
        let (my_lba, alternate_lba, array_lba) = match is_primary {
            true => (1, places.backup_lba, places.array_lba),
            false => (places.backup_lba, 1, places.backup_array_lba),
        };
        put(&mut sector, 24, &my_lba.to_le_bytes());
        put(&mut sector, 32, &alternate_lba.to_le_bytes());
        put(&mut sector, 40, &places.first_usable_lba.to_le_bytes());
        put(&mut sector, 48, &places.last_usable_lba.to_le_bytes());
        put(&mut sector, 56, &self.header.disk_guid.to_bytes_le());
        put(&mut sector, 72, &array_lba.to_le_bytes());
        put(&mut sector, 80, &self.header.slots_max.to_le_bytes());
        put(&mut sector, 84, &self.header.entry_bytes.to_le_bytes());
        put(&mut sector, 88, &crc32fast::hash(array).to_le_bytes());
        put(&mut sector, 16, &[0; 4]);
        // The size was checked when the header was read: 92 to the whole sector.
        let len = usize::try_from(le32(&sector, 12)).unwrap_or(usize::MAX);
        let covered = sector.get(..len).unwrap_or(&sector);
        let sum = crc32fast::hash(covered).to_le_bytes();
        put(&mut sector, 16, &sum);
        Ok(sector)
    }

    fn first_sector(&self, wanted: &Table) -> Result<(Vec<u8>, Option<Moved>)> {
        let mut sector = read_vec(self.origin, 0, self.sectors.len())?;
        let kept = Kept::read(self.origin, self.sectors)?;
        let plain = protective_mbr(wanted, self.sectors, &kept);
        let sizes = record::Sizes {
            old: self.old_sectors.count(),
            new: self.sectors.count(),
            alternate_lba: self.old.backup_lba,
        };
        let moved = record::edit(&mut sector, &plain, sizes);
        Ok((sector, moved))
    }

    /// A backup of this very table at the end of `disk`, from a time when the table fitted that size.
    fn earlier_backup(&self, disk: &dyn ReadAt) -> ExtentMap {
        let (sectors, lba) = (self.sectors, self.sectors.last_lba());
        let sector = read_vec(disk, sectors.offset_bytes(lba), sectors.len());
        let header = sector.and_then(|sector| Header::parse(&sector, sectors, lba));
        let Ok(header) = header.map_err(|_| ()) else {
            return ExtentMap::new();
        };
        let is_whole = header.disk_guid == self.header.disk_guid
            && header.read_array(disk, sectors, header.array_lba).is_ok();
        let places = [sectors.run(lba, 1), header.array_extent(sectors)];
        places.into_iter().flatten().filter(|_| is_whole).collect()
    }

    /// What `steps` write over that is neither the old table's nor zero.
    fn covered(&self, disk: &dyn ReadAt, steps: &[Step]) -> Result<ExtentMap> {
        let old = self.old.structures(self.old_sectors);
        let own: ExtentMap = old.into_iter().filter_map(|(_, place)| place).collect();
        let own = own.union(&self.copies.extents().into_iter().collect());
        let own = own.union(&self.earlier_backup(disk));
        let written: ExtentMap = steps.iter().filter_map(Step::extent).collect();
        let mut covered = Vec::new();
        for extent in written.difference(&own).iter() {
            let len = usize::try_from(extent.len_bytes()).unwrap_or(usize::MAX);
            let bytes = read_vec(disk, extent.offset_bytes(), len)?;
            let sectors = bytes.chunks(self.sectors.len());
            let lbas = self.sectors.lba(extent.offset_bytes())..;
            let used = lbas.zip(sectors).filter(|(_, sector)| !is_zero(sector));
            covered.extend(used.filter_map(|(lba, _)| self.sectors.run(lba, 1)));
        }
        Ok(covered.into_iter().collect())
    }
}
