//! What a plan stands on: the table that is kept or made, the part of the drive that it can use, and
//! the gaps there.

use super::new_table::{name, new_slots, new_usable};
use super::placement::{Class, Gap};
use super::request::Request;
use super::role::Role;
use super::size::human_size;
use crate::error::{Error, Remedy, Result};
use crate::extent::{Extent, ExtentMap};
use crate::table::{Partition, Scheme, Table};

/// Alignment of partitions, unless the drive prefers more or the user asks for another.
pub(super) const ALIGNMENT_BYTES: u64 = 1 << 20;

/// Larger "optimal" sizes are taken for nonsense (USB bridges are known to report them).
const ALIGNMENT_MAX_BYTES: u64 = 64 << 20;

/// The base of a plan.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    pub(super) scheme: Scheme,
    /// The table that is kept; `None` for a new one.
    pub(super) table: Option<Table>,
    pub(super) size_bytes: u64,
    pub(super) sector_bytes: u64,
    pub(super) alignment_bytes: u64,
    pub(super) usable: Extent,
    pub(super) slots_max: u32,
    /// What is free in the table that is kept and no place for a partition.
    barred: ExtentMap,
    /// Kept free at the end of the largest gap.
    reserve_bytes: u64,
}

/// Where partitions should start: at multiples of 1 MiB, and of the size that the drive prefers if
/// that makes sense.
pub(super) fn natural_alignment(optimal_io_bytes: u32, physical_sector_bytes: u32) -> u64 {
    let optimal = u64::from(optimal_io_bytes);
    let physical = u64::from(physical_sector_bytes).max(4096);
    if optimal == 0 || !optimal.is_multiple_of(physical) {
        return ALIGNMENT_BYTES;
    }
    let (mut a, mut b) = (ALIGNMENT_BYTES, optimal);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    let common = ALIGNMENT_BYTES.saturating_mul(optimal / a);
    if common <= ALIGNMENT_MAX_BYTES {
        common
    } else {
        ALIGNMENT_BYTES
    }
}

impl Ground {
    pub(super) fn of(request: &Request) -> Result<Self> {
        let drive = &request.drive;
        if let Some(why) = drive
            .doubt
            .as_ref()
            .filter(|_| !request.options.replace_table)
        {
            return Err(Error::RefusedUnless {
                reason: format!(
                    "the drive's partition table can't be relied on: {why}. It can be mended \
                     (sgdisk, sfdisk or testdisk) or replaced"
                ),
                remedy: Remedy::ReplaceTable,
            });
        }
        let kept = drive
            .table
            .as_ref()
            .filter(|_| !request.options.replace_table);
        let sector_bytes = kept.map_or(drive.geometry.logical_sector_bytes, |table| {
            table.logical_sector_bytes
        });
        if !sector_bytes.is_power_of_two() || !(512..=65536).contains(&sector_bytes) {
            return Err(Error::Invalid(format!(
                "the drive reports sectors of {sector_bytes} bytes; expected a power of \
                 two from 512 to 65536"
            )));
        }
        let scheme = scheme(request, kept)?;
        let whole = drive.geometry.extent();
        let usable = match kept {
            Some(table) => whole.and_then(|whole| table.usable.intersection(whole)),
            None => new_usable(scheme, drive.geometry.size_bytes, sector_bytes),
        };
        Ok(Self {
            scheme,
            table: kept.cloned(),
            size_bytes: drive.geometry.size_bytes,
            sector_bytes: u64::from(sector_bytes),
            alignment_bytes: alignment(request, sector_bytes)?,
            usable: usable.ok_or_else(|| {
                let size = human_size(drive.geometry.size_bytes);
                Error::Refused(format!("a drive of {size} has no space behind its table"))
            })?,
            slots_max: kept.map_or(new_slots(scheme), |table| table.slots_max),
            barred: kept.map_or_else(ExtentMap::new, |_| drive.listed_elsewhere.clone()),
            reserve_bytes: request.options.reserve.bytes,
        })
    }

    /// The same ground, with all of its gaps to be used.
    pub(super) fn without_reserve(&self) -> Self {
        Self {
            reserve_bytes: 0,
            ..self.clone()
        }
    }

    /// The partitions of the table that is kept.
    pub(super) fn existing(&self) -> &[Partition] {
        self.table.as_ref().map_or(&[], |table| &table.partitions)
    }

    /// Free in the table that is kept, and taken by others: a hybrid MBR.
    pub(super) fn barred_bytes(&self) -> u64 {
        let taken: ExtentMap = self.existing().iter().map(|one| one.extent).collect();
        self.barred.difference(&taken).total_bytes()
    }

    /// The extended partition of the table that is kept.
    pub(super) fn extended(&self) -> Option<&Partition> {
        self.existing()
            .iter()
            .find(|partition| Role::of(partition.partition_type) == Role::Extended)
    }

    /// Free space in order, from aligned starts; primary space first.
    pub(super) fn gaps(&self) -> Vec<Gap> {
        let is_logical =
            |partition: &&Partition| self.scheme == Scheme::Mbr && partition.number > 4;
        let (logical, primary): (Vec<&Partition>, Vec<&Partition>) =
            self.existing().iter().partition(is_logical);
        let taken: ExtentMap = primary.iter().map(|partition| partition.extent).collect();
        let mut gaps = self.free(&taken.union(&self.barred), self.usable, Class::Primary);
        self.set_aside(&mut gaps);
        if let Some(extended) = self.extended() {
            // The boot record of a logical partition lies before it, and is not listed.
            let with_record = |extent: Extent| {
                let start_bytes = extent.offset_bytes().saturating_sub(self.alignment_bytes);
                Extent::between(start_bytes, extent.end_bytes())
            };
            let taken: ExtentMap = logical
                .iter()
                .filter_map(|partition| with_record(partition.extent))
                .collect();
            if let Some(within) = extended.extent.intersection(self.usable) {
                gaps.extend(self.free(&taken, within, Class::Logical));
            }
        }
        gaps
    }

    /// Shortens the largest gap by the reserve.
    fn set_aside(&self, gaps: &mut Vec<Gap>) {
        let largest = (0..gaps.len()).max_by_key(|&index| gaps[index].extent.len_bytes());
        let Some(index) = largest.filter(|_| self.reserve_bytes > 0) else {
            return;
        };
        let extent = gaps[index].extent;
        let end_bytes = extent.end_bytes().saturating_sub(self.reserve_bytes);
        let end_bytes = end_bytes / self.sector_bytes * self.sector_bytes;
        match Extent::between(extent.offset_bytes(), end_bytes) {
            Some(rest) => gaps[index].extent = rest,
            None => drop(gaps.remove(index)),
        }
    }

    fn free(&self, taken: &ExtentMap, within: Extent, class: Class) -> Vec<Gap> {
        let end_bytes = within.end_bytes() / self.sector_bytes * self.sector_bytes;
        let free = taken.complement(end_bytes);
        free.within(within)
            .filter_map(|extent| {
                let start_bytes = extent
                    .offset_bytes()
                    .checked_next_multiple_of(self.alignment_bytes)?
                    .max(self.alignment_bytes);
                let extent = Extent::between(start_bytes, extent.end_bytes())?;
                Some(Gap { extent, class })
            })
            .collect()
    }
}

fn scheme(request: &Request, kept: Option<&Table>) -> Result<Scheme> {
    match (request.options.scheme, kept) {
        (Some(wanted), Some(table)) if wanted != table.scheme => Err(Error::Refused(format!(
            "the drive has a table of another kind ({}, not {}), and klon keeps it. Either replace it \
             (all its partitions are lost), or don't ask for a kind",
            name(table.scheme),
            name(wanted)
        ))),
        (wanted, Some(table)) => Ok(wanted.unwrap_or(table.scheme)),
        (wanted, None) => Ok(wanted.unwrap_or(Scheme::Gpt)),
    }
}

fn alignment(request: &Request, sector_bytes: u32) -> Result<u64> {
    let geometry = request.drive.geometry;
    let Some(alignment) = request.options.alignment_bytes else {
        return Ok(natural_alignment(
            geometry.optimal_io_bytes,
            geometry.physical_sector_bytes,
        ));
    };
    if alignment == 0 || !alignment.is_multiple_of(u64::from(sector_bytes)) {
        return Err(Error::Invalid(format!(
            "an alignment of {alignment} bytes: expected a multiple of the drive's sector of \
             {sector_bytes} bytes"
        )));
    }
    Ok(alignment)
}

#[cfg(test)]
mod tests {
    use super::natural_alignment;

    const MIB: u64 = 1 << 20;

    #[test]
    fn alignment_follows_the_drive_only_where_that_makes_sense() {
        assert_eq!(natural_alignment(0, 512), MIB);
        assert_eq!(natural_alignment(65536, 4096), MIB);
        assert_eq!(natural_alignment(786_432, 4096), 3 * MIB);
        assert_eq!(natural_alignment(4 << 20, 4096), 4 * MIB);
        assert_eq!(
            natural_alignment(33_553_920, 4096),
            MIB,
            "a USB bridge's 65535 sectors"
        );
        assert_eq!(natural_alignment(1 << 30, 4096), MIB);
    }
}
