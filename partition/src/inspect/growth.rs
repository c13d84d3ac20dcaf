//! A partition made larger: as far as the room goes that lies directly behind it.

use crate::device::ReadAt;
use crate::error::{Error, Result};
use crate::extent::{Extent, ExtentMap};
use crate::table::{
    Partition, Scheme, Table, hybrid_extents, raw_extents, relocated, unknown_hybrid_extents,
};

/// Where partitions end by convention, as they begin.
const ALIGNMENT_BYTES: u64 = 1 << 20;

/// A table in which one partition is larger than on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrownTable {
    /// The table that shall be.
    pub table: Table,
    /// Where the partition lies then.
    pub extent: Extent,
    /// What it gets of the disk.
    pub gained: Extent,
}

/// The table of a disk with partition `number` as large as it can be where it begins: up to the next
/// partition, the next record of the table, the end of the extended partition that it is in, or the end of
/// the disk. A GPT whose backup is short of the disk's end gets it there. `None` when the partition can't
/// become larger by a whole mebibyte.
///
/// # Errors
/// [`Error::Invalid`] when there is no such partition, or it is an extended one; [`Error::Io`] when the
/// device fails; [`Error::Corrupt`] when the chain of logical partitions can't be followed.
pub fn grown(disk: &dyn ReadAt, table: &Table, number: u32) -> Result<Option<GrownTable>> {
    let mut partitions = table.partitions.iter();
    let own = partitions.find(|it| it.number == number);
    let own = own.ok_or_else(|| Error::Invalid(format!("there is no partition {number}")))?;
    if own.partition_type.is_extended() {
        let message = format!("partition {number} is an extended one, which only holds others");
        return Err(Error::Invalid(message));
    }
    let table = to_the_end(disk, table);
    let limit_bytes = limit(disk, &table, own)?;
    let sector_bytes = u64::from(table.logical_sector_bytes.max(1));
    let unit_bytes = ALIGNMENT_BYTES.max(sector_bytes);
    let end_bytes = limit_bytes - limit_bytes % unit_bytes;
    let start_bytes = own.extent.end_bytes();
    let extent = Extent::between(own.extent.offset_bytes(), end_bytes);
    let gained = Extent::between(start_bytes, end_bytes);
    let (Some(extent), Some(gained)) = (extent, gained) else {
        return Ok(None);
    };
    if gained.len_bytes() < ALIGNMENT_BYTES {
        return Ok(None);
    }
    let mut wanted = table;
    for partition in &mut wanted.partitions {
        if partition.number == number {
            partition.extent = extent;
        }
    }
    Ok(Some(GrownTable {
        table: wanted,
        extent,
        gained,
    }))
}

/// The table with what partitions may lie in reaching to the end of the disk, where it does not yet.
fn to_the_end(disk: &dyn ReadAt, table: &Table) -> Table {
    let whole = relocated(table, disk.geometry().size_bytes);
    // Where less would be usable than now, the table stays as it is.
    let longer = whole.ok().filter(|whole| {
        let beyond_bytes = whole
            .usable
            .end_bytes()
            .saturating_sub(table.usable.end_bytes());
        beyond_bytes >= ALIGNMENT_BYTES
    });
    longer.unwrap_or_else(|| table.clone())
}

/// Where the room ends that begins with the end of `own`.
fn limit(disk: &dyn ReadAt, table: &Table, own: &Partition) -> Result<u64> {
    let start_bytes = own.extent.end_bytes();
    let is_around = |other: &&Partition| {
        other.partition_type.is_extended() && other.extent.contains(own.extent)
    };
    let around = table.partitions.iter().find(is_around);
    let bound_bytes = match around {
        Some(extended) => extended.extent.end_bytes(),
        None => table.usable.end_bytes(),
    };
    let others = table.partitions.iter().filter(|other| {
        other.number != own.number && around.is_none_or(|around| around.number != other.number)
    });
    let mut taken: ExtentMap = others.map(|other| other.extent).collect();
    taken = match table.scheme {
        // The structures of a GPT lie outside of what is usable.
        Scheme::Gpt => taken.union(&unknown_hybrid_extents(disk, table)?),
        Scheme::Mbr => taken.union(&raw_extents(disk, table)?),
    };
    taken = taken.union(&behind(&hybrid_extents(disk, table)?, start_bytes));
    let behind = Extent::between(start_bytes, bound_bytes);
    let first = behind.and_then(|behind| taken.within(behind).next());
    Ok(first.map_or(bound_bytes, Extent::offset_bytes))
}

/// The part of a map that begins at `start_bytes` or behind it.
fn behind(map: &ExtentMap, start_bytes: u64) -> ExtentMap {
    let begins = |extent: &Extent| extent.offset_bytes() >= start_bytes;
    map.iter().filter(begins).collect()
}

#[cfg(test)]
mod tests {
    use super::grown;
    use crate::device::{Geometry, MemoryDevice};
    use crate::extent::Extent;
    use crate::inspect::inspect;
    use crate::table::{Partition, PartitionType, Table, relocated, write};
    use uuid::Uuid;

    const MIB: u64 = 1 << 20;

    fn partition(number: u32, mib: (u64, u64), partition_type: PartitionType) -> Partition {
        Partition {
            number,
            extent: Extent::between(mib.0 * MIB, mib.1 * MIB).unwrap(),
            partition_type,
            guid: matches!(partition_type, PartitionType::Gpt(_))
                .then(|| Uuid::from_u128(number.into())),
            name: String::new(),
            attributes: 0,
            is_bootable: false,
        }
    }

    fn gpt(partitions: &[(u32, (u64, u64))]) -> Table {
        let linux = PartitionType::Gpt(Uuid::from_u128(0x0fc6_3daf_8483_4772_8e79_3d69_d847_7de4));
        let geometry = Geometry::new(64 * MIB, 512);
        let mut table = Table::new_gpt(geometry, Uuid::from_u128(9)).unwrap();
        let all = partitions.iter();
        table.partitions = all
            .map(|&(number, mib)| partition(number, mib, linux))
            .collect();
        table
    }

    fn reach(disk: &MemoryDevice, table: &Table, number: u32) -> Option<u64> {
        let found = grown(disk, table, number).unwrap()?;
        // What is found can be written, and is read back.
        let copy = MemoryDevice::new(disk.to_vec(), 512);
        write(&copy, &found.table).unwrap();
        let layout = inspect(&copy).unwrap();
        assert_eq!(layout.believed_table(), Some(&found.table));
        assert_eq!(found.extent.end_bytes(), found.gained.end_bytes());
        Some(found.extent.end_bytes() / MIB)
    }

    #[test]
    fn a_partition_grows_up_to_the_next_one_or_the_end() {
        let table = gpt(&[(1, (1, 10)), (2, (20, 30)), (3, (12, 20))]);
        let disk = MemoryDevice::zeroed(64 << 20);
        write(&disk, &table).unwrap();
        assert_eq!(reach(&disk, &table, 1), Some(12));
        assert_eq!(reach(&disk, &table, 2), Some(63));
        assert_eq!(reach(&disk, &table, 3), None);
        assert!(grown(&disk, &table, 4).is_err());
    }

    #[test]
    fn a_gpt_that_is_short_of_the_end_of_its_disk_gets_there() {
        let table = gpt(&[(1, (1, 10)), (2, (20, 62))]);
        let small = MemoryDevice::zeroed(64 << 20);
        write(&small, &table).unwrap();
        let mut bytes = small.to_vec();
        bytes.resize(100 << 20, 0);
        let disk = MemoryDevice::new(bytes, 512);
        let found = inspect(&disk).unwrap().table.unwrap();
        assert_eq!(reach(&disk, &found, 2), Some(99));
        assert_eq!(reach(&disk, &found, 1), Some(20));
        let whole = relocated(&found, 100 << 20).unwrap();
        assert_eq!(
            grown(&disk, &found, 2).unwrap().unwrap().table.usable,
            whole.usable
        );
    }

    #[test]
    fn a_logical_partition_grows_in_its_extended_one() {
        let geometry = Geometry::new(64 * MIB, 512);
        let mut table = Table::new_mbr(geometry, 7).unwrap();
        let of = |number, mib, byte| partition(number, mib, PartitionType::Mbr(byte));
        table.partitions = vec![
            of(1, (1, 10), 0x83),
            of(2, (20, 50), 0x0f),
            of(5, (21, 30), 0x83),
            of(6, (40, 45), 0x83),
        ];
        let disk = MemoryDevice::zeroed(64 << 20);
        write(&disk, &table).unwrap();
        let table = inspect(&disk).unwrap().table.unwrap();
        assert_eq!(reach(&disk, &table, 1), Some(20));
        // The record of the next one lies a mebibyte before it.
        assert_eq!(reach(&disk, &table, 5), Some(39));
        assert_eq!(reach(&disk, &table, 6), Some(50));
        assert!(grown(&disk, &table, 2).is_err());
    }
}
