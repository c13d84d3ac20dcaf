//! Another identity for a disk and its partitions: disk and partition GUIDs of a GPT, the disk signature of an MBR.
//!
//! UEFI specification, chapter 5, "GUID Partition Table (GPT) Disk Layout".

use super::gpt::{Copies, Copy};
use super::guard::guid;
use super::sectors::Sectors;
use super::{Scheme, Table};
use crate::bytes::{is_zero, le32};
use crate::device::{Patches, ReadAt, read_vec};
use crate::error::{Error, Result};
use crate::own_id::OwnIds;

/// Where an MBR has the disk signature.
const SIGNATURE: usize = 440;
/// Where a header has its checksum, the disk GUID, and the checksum of the array.
const HEADER_CRC32: usize = 16;
const DISK_GUID: usize = 56;
const ARRAY_CRC32: usize = 88;
/// Where an entry has its partition GUID.
const PARTITION_GUID: usize = 16;

/// What is to be changed so that a disk with this table, and each of its partitions, has an identity of its own.
///
/// # Errors
/// [`Error::Unsupported`] when a copy of a GPT is damaged, [`Error::Io`] when the device fails.
pub fn with_own_ids(disk: &dyn ReadAt, table: &Table, ids: &OwnIds) -> Result<Patches> {
    let mut patches = Patches::new();
    let sector_bytes = table.logical_sector_bytes;
    let sectors = Sectors::of(disk.geometry(), sector_bytes);
    if let (Scheme::Gpt, Some(sectors)) = (table.scheme, sectors) {
        let copies = Copies::load(disk, sectors);
        for copy in [copies.primary(), copies.backup()] {
            change_copy(copy, sectors, ids, &mut patches)?;
        }
    }
    let old = read_vec(disk, SIGNATURE as u64, 4)?;
    let signature = ids.number(le32(&old, 0));
    patches.add(SIGNATURE as u64, &old, &signature.to_le_bytes())?;
    Ok(patches)
}

fn change_copy(copy: &Copy, sectors: Sectors, ids: &OwnIds, patches: &mut Patches) -> Result<()> {
    let (Some(header), Some(old), Some(old_array)) =
        (copy.header(), copy.header_sector(), copy.array())
    else {
        return Err(Error::unsupported(
            "another identity for a disk with a damaged copy of its GPT".to_owned(),
            "repair it first (sgdisk, gdisk)",
        ));
    };
    let mut array = old_array.to_vec();
    for entry in array.chunks_exact_mut(header.entry_bytes as usize) {
        let is_used = entry.get(..16).is_some_and(|it| !is_zero(it));
        let own = ids.uuid(guid(entry, PARTITION_GUID)).to_bytes_le();
        if is_used {
            put(entry, PARTITION_GUID, &own);
        }
    }
    let mut sector = old.to_vec();
    let disk_guid = ids.uuid(header.disk_guid).to_bytes_le();
    put(&mut sector, DISK_GUID, &disk_guid);
    put(
        &mut sector,
        ARRAY_CRC32,
        &crc32fast::hash(&array).to_le_bytes(),
    );
    put(&mut sector, HEADER_CRC32, &[0; 4]);
    // The size was checked when the header was read: 92 to the whole sector.
    let len = usize::try_from(le32(&sector, 12)).unwrap_or(usize::MAX);
    let sum = crc32fast::hash(sector.get(..len).unwrap_or(&sector)).to_le_bytes();
    put(&mut sector, HEADER_CRC32, &sum);
    patches.add(sectors.offset_bytes(copy.lba()), old, &sector)?;
    patches.add(sectors.offset_bytes(header.array_lba), old_array, &array)
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at.saturating_add(field.len())) {
        place.copy_from_slice(field);
    }
}
