//! What a GPT has that is lost where its partitions get a table that is written anew.

use crate::named::open::OpenPlace;
use anyhow::Result;
use klon_partition::ReadAt;
use klon_partition::device::read_vec;
use klon_partition::table::{Scheme, Table};

/// Where the four entries of an MBR begin, and how long each is.
const ENTRIES: usize = 446;
const ENTRY_LEN: usize = 16;
const PROTECTIVE: u8 = 0xee;
/// SizeOfPartitionEntry in the header (UEFI 5.3.2), and the size that every table has at least.
const ENTRY_BYTES_AT: u64 = 84;
const ENTRY_BYTES: u32 = 128;

/// A sentence for each.
///
/// # Errors
/// When the disk can't be read.
pub fn lost(open: &OpenPlace, table: &Table) -> Result<Vec<String>> {
    if table.scheme != Scheme::Gpt {
        return Ok(Vec::new());
    }
    let record = read_vec(&*open.device, 0, 512)?;
    let entries = record.get(ENTRIES..ENTRIES + 4 * ENTRY_LEN);
    let entries = entries.unwrap_or_default().chunks_exact(ENTRY_LEN);
    let mut lost = Vec::new();
    let mut hybrid = 0;
    for entry in entries {
        match entry[4] {
            PROTECTIVE if entry[0] & 0x80 != 0 => lost.push(
                "the boot flag of its protective MBR, without which some BIOSes do not boot it (sgdisk or fdisk set it)"
                    .to_owned(),
            ),
            0 | PROTECTIVE => {}
            _ => hybrid += 1,
        }
    }
    if hybrid > 0 {
        lost.push(format!("the entries of its hybrid MBR ({hybrid})"));
    }
    let at = u64::from(table.logical_sector_bytes) + ENTRY_BYTES_AT;
    if at < open.device.geometry().size_bytes {
        let field = read_vec(&*open.device, at, 4)?;
        let found = field.try_into().map_or(0, u32::from_le_bytes);
        if found > ENTRY_BYTES {
            lost.push(format!(
                "what its entries of {found} bytes hold behind their first {ENTRY_BYTES}"
            ));
        }
    }
    Ok(lost)
}
