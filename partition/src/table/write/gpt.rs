//! The bytes of a GPT, made with the low-level interface of the `gpt` crate.
//!
//! Its `GptDisk::write` numbers partitions anew and writes past the end of a smaller disk, and
//! its header builder raises slot counts and usable ranges to what it thinks right. So entries
//! and headers are made one by one, in memory.

use super::Step;
use super::kept::Kept;
use super::region::Region;
use crate::error::{Error, Result};
use crate::table::layout::GptPlaces;
use crate::table::sectors::Sectors;
use crate::table::validate::new_gpt;
use crate::table::{Partition, PartitionType, Scheme, Table};
use crate::text::written;
use ::gpt::disk::LogicalBlockSize;
use ::gpt::header::Header;
use ::gpt::mbr::ProtectiveMBR;

/// The steps that write `table`, which was validated.
///
/// # Errors
/// [`Error::Unsupported`] for sectors of other than 512 or 4096 bytes.
pub(super) fn steps(table: &Table, sectors: Sectors, kept: &Kept) -> Result<Vec<Step>> {
    let places = new_gpt(table, sectors)?;
    let block = LogicalBlockSize::try_from(u64::from(sectors.bytes())).map_err(|error| {
        Error::unsupported(
            format!("writing a GPT in sectors of {} bytes", sectors.bytes()),
            error.to_string(),
        )
    })?;
    let build = Build {
        table,
        sectors,
        places,
        block,
    };
    let backup = build.copy(Which::Backup)?;
    let primary = build.copy(Which::Primary)?;
    Ok(vec![
        Step::Write(sectors.offset_bytes(places.backup_array_lba), backup.array),
        Step::Write(sectors.offset_bytes(sectors.last_lba()), backup.header),
        Step::Sync,
        Step::Write(sectors.offset_bytes(2), primary.array),
        Step::Write(sectors.offset_bytes(1), primary.header),
        Step::Write(0, protective_mbr(table, sectors, kept)),
        Step::Sync,
    ])
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Primary,
    Backup,
}

/// The bytes of one copy.
struct CopyBytes {
    /// The sectors of the array.
    array: Vec<u8>,
    /// The sector of the header.
    header: Vec<u8>,
}

struct Build<'a> {
    table: &'a Table,
    sectors: Sectors,
    places: GptPlaces,
    block: LogicalBlockSize,
}

impl Build<'_> {
    fn copy(&self, which: Which) -> Result<CopyBytes> {
        let (array_lba, start_lba) = match which {
            Which::Primary => (2, 1),
            Which::Backup => (self.places.backup_array_lba, self.places.backup_array_lba),
        };
        let array_len = usize::try_from(self.sectors.offset_bytes(self.places.array_sectors))
            .map_err(|_| Error::Invalid("the partition entry array is too large".to_owned()))?;
        let sector_len = self.sectors.len();
        let start_bytes = self.sectors.offset_bytes(start_lba);
        let mut region = Region::zeroed(start_bytes, array_len.saturating_add(sector_len));
        for partition in &self.table.partitions {
            let slot = u64::from(partition.number).saturating_sub(1);
            entry(partition, self.sectors)?
                .write_to_device(
                    &mut region,
                    slot,
                    array_lba,
                    self.block,
                    self.table.entry_bytes,
                )
                .map_err(|error| built("entry", &error))?;
        }
        let mut header = self.header(which, array_lba);
        // Both compute the checksums, the array's from what was written above.
        match which {
            Which::Primary => header.write_primary(&mut region, self.block),
            Which::Backup => header.write_backup(&mut region, self.block),
        }
        .map_err(|error| built("header", &error))?;
        let mut first = region.into_bytes();
        Ok(match which {
            Which::Primary => CopyBytes {
                array: first.split_off(sector_len),
                header: first,
            },
            Which::Backup => CopyBytes {
                header: first.split_off(array_len),
                array: first,
            },
        })
    }

    fn header(&self, which: Which, array_lba: u64) -> Header {
        let last_lba = self.sectors.last_lba();
        let (current_lba, backup_lba) = match which {
            Which::Primary => (1, last_lba),
            Which::Backup => (last_lba, 1),
        };
        let usable = self.table.usable;
        Header {
            signature: "EFI PART".to_owned(),
            revision: (1, 0),
            header_size_le: 92,
            crc32: 0,
            reserved: 0,
            current_lba,
            backup_lba,
            first_usable: self.sectors.lba(usable.offset_bytes()),
            last_usable: self.sectors.lba(usable.end_bytes()).saturating_sub(1),
            disk_guid: self.table.disk_guid.unwrap_or_default(),
            part_start: array_lba,
            num_parts: self.table.slots_max,
            part_size: self.table.entry_bytes,
            crc32_parts: 0,
        }
    }
}

fn entry(partition: &Partition, sectors: Sectors) -> Result<::gpt::partition::Partition> {
    let PartitionType::Gpt(type_guid) = partition.partition_type else {
        let number = partition.number;
        let message = format!("partition {number} has no GPT type");
        return Err(Error::Invalid(message));
    };
    let extent = partition.extent;
    Ok(::gpt::partition::Partition {
        part_type_guid: type_guid.into(),
        part_guid: partition.guid.unwrap_or_default(),
        first_lba: sectors.lba(extent.offset_bytes()),
        last_lba: sectors.lba(extent.end_bytes()).saturating_sub(1),
        flags: partition.attributes,
        name: written(&partition.name),
    })
}

/// The entry of `partition`: the 128 bytes that UEFI defines.
///
/// # Errors
/// [`Error::Invalid`] when the partition has no GPT type.
pub(super) fn entry_bytes(partition: &Partition, sectors: Sectors) -> Result<Vec<u8>> {
    let len = Scheme::Gpt.entry_bytes();
    let mut region = Region::zeroed(0, len as usize);
    // The first entry of an array that begins with the region, whatever the sectors are.
    entry(partition, sectors)?
        .write_to_device(&mut region, 0, 0, LogicalBlockSize::Lb512, len)
        .map_err(|error| built("entry", &error))?;
    Ok(region.into_bytes())
}

fn built(what: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Invalid(format!("the GPT {what} could not be built: {error}"))
}

/// The first sector, with the boot code that was there.
pub(super) fn protective_mbr(table: &Table, sectors: Sectors, kept: &Kept) -> Vec<u8> {
    let covered = sectors.count().saturating_sub(1);
    // A disk that 32 bits can't count is covered as far as they can.
    let mut record = ProtectiveMBR::with_lb_size(u32::try_from(covered).unwrap_or(u32::MAX));
    record.set_bootcode(kept.boot_code);
    record.set_disk_signature(match table.disk_signature {
        0 => kept.disk_signature,
        signature => signature.to_le_bytes(),
    });
    let mut sector = record.to_bytes().to_vec();
    // "Reserved: the rest of the logical block, if any, is reserved." (table 5-3)
    sector.resize(sectors.len(), 0);
    sector
}
