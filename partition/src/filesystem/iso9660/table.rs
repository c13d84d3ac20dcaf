//! Partition tables in the first 16 sectors of a disc, which ISO 9660 leaves to the system.
//!
//! Tools that make discs bootable as disks write tables that no partitioning tool would: their
//! partitions begin with the table itself, or overlap. Such a table is not read as a disk's table
//! is. It only says how far its partitions reach, and bytes that it names too much count as used.

use super::units;
use crate::bytes::{be16, be32, is_zero, le16, le32, le64, u8_at};
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};

/// Entries of a GPT or an Apple Partition Map that are looked at; xorriso makes GPTs of 248.
const PARTITIONS_MAX: u64 = 1024;
/// Length of an entry of a GPT.
const GPT_ENTRY_BYTES: u64 = 128;

/// All partitions of `volume`, and the backup of a GPT.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(super) fn partitions(volume: &dyn ReadAt) -> Result<ExtentMap> {
    let mut found = master_boot_record(volume)?;
    for sector_bytes in [512, 2048] {
        found.extend(guid(volume, sector_bytes)?);
        found.extend(apple(volume, sector_bytes)?);
    }
    let all: ExtentMap = found.into_iter().collect();
    Ok(all.intersection(&ExtentMap::whole(volume.geometry().size_bytes)))
}

fn block(volume: &dyn ReadAt, offset_bytes: u64, len_bytes: usize) -> Result<Option<Vec<u8>>> {
    let end_bytes = offset_bytes.saturating_add(len_bytes as u64);
    if end_bytes > volume.geometry().size_bytes {
        return Ok(None);
    }
    read_vec(volume, offset_bytes, len_bytes).map(Some)
}

fn master_boot_record(volume: &dyn ReadAt) -> Result<Vec<Extent>> {
    let first = block(volume, 0, 512)?.filter(|first| le16(first, 510) == 0xaa55);
    let Some(first) = first else {
        return Ok(Vec::new());
    };
    let entries = first[446..510].chunks_exact(16);
    // Type ee covers the disk for a GPT.
    let used = entries.filter(|entry| !matches!(u8_at(entry, 4), 0 | 0xee));
    Ok(used
        .filter_map(|entry| units(le32(entry, 8).into(), le32(entry, 12).into(), 512))
        .collect())
}

/// The GPT whose header is the second sector (UEFI specification, section 5.3).
fn guid(volume: &dyn ReadAt, sector_bytes: u64) -> Result<Vec<Extent>> {
    let header = block(volume, sector_bytes, 92)?.filter(|it| it.starts_with(b"EFI PART"));
    let Some(header) = header else {
        return Ok(Vec::new());
    };
    // AlternateLBA, PartitionEntryLBA, NumberOfPartitionEntries, SizeOfPartitionEntry
    let (alternate, array) = (le64(&header, 32), le64(&header, 72));
    let count = u64::from(le32(&header, 80)).min(PARTITIONS_MAX);
    let mut found = Vec::new();
    let array_sectors = (count * GPT_ENTRY_BYTES).div_ceil(sector_bytes);
    let backup = alternate.saturating_sub(array_sectors);
    found.extend(units(backup, array_sectors + 1, sector_bytes));
    let place = units(array, 1, sector_bytes).filter(|_| le32(&header, 84) == 128);
    let array_bytes = (count * GPT_ENTRY_BYTES) as usize;
    let entries = match place {
        Some(place) => block(volume, place.offset_bytes(), array_bytes)?,
        None => None,
    };
    for entry in entries.iter().flat_map(|all| all.chunks_exact(128)) {
        let (first, last) = (le64(entry, 32), le64(entry, 40));
        let sectors = last.checked_sub(first).and_then(|more| more.checked_add(1));
        if let Some(sectors) = sectors.filter(|_| !is_zero(&entry[..16])) {
            found.extend(units(first, sectors, sector_bytes));
        }
    }
    Ok(found)
}

/// The Apple Partition Map that starts in the second block (Inside Macintosh: Devices, "The
/// Partition Map").
fn apple(volume: &dyn ReadAt, block_bytes: u64) -> Result<Vec<Extent>> {
    let mut found = Vec::new();
    let unit_bytes = match block(volume, 0, 4)? {
        // sbBlkSize of the driver descriptor map
        Some(first) if first.starts_with(b"ER") => u64::from(be16(&first, 2)),
        _ => block_bytes,
    };
    let mut count = 1;
    let mut index = 1;
    while index <= count {
        let entry = block(volume, index * block_bytes, 16)?.filter(|it| it.starts_with(b"PM"));
        let Some(entry) = entry else {
            break;
        };
        // pmMapBlkCnt, pmPyPartStart, pmPartBlkCnt
        count = u64::from(be32(&entry, 4)).min(PARTITIONS_MAX);
        let (start, blocks) = (be32(&entry, 8), be32(&entry, 12));
        found.extend(units(start.into(), blocks.into(), unit_bytes));
        index += 1;
    }
    Ok(found)
}
