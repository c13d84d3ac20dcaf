//! What boots a disk by BIOS and is in no partition: code in the first sector, and the loader before the first
//! partition to which it refers.

pub mod found;
pub mod table_lost;

use anyhow::Result;
use klon_partition::device::{Target, read_vec};
use klon_partition::planner::{BOOT_CODE_BYTES, Loader, Original};
use klon_partition::table::Table;
use klon_partition::{ReadAt, WriteAt};

/// The boot code that a disk gets.
pub struct BootCode<'a> {
    code: &'a [u8],
    loader: Option<&'a Loader>,
}

impl<'a> BootCode<'a> {
    /// That of `original` for a disk with `table`, as far as there is a place for it.
    pub fn of(original: &'a Original, table: &Table) -> Self {
        Self {
            code: &original.boot_code,
            loader: original.loader_for(table),
        }
    }

    /// Whether a disk has it already.
    ///
    /// # Errors
    /// When the disk can't be read.
    pub fn is_on(&self, disk: &dyn ReadAt) -> Result<bool> {
        let has_loader = match self.loader {
            Some(Loader { start_bytes, bytes }) => {
                read_vec(disk, *start_bytes, bytes.len())? == *bytes
            }
            None => true,
        };
        Ok(has_loader && read_vec(disk, 0, BOOT_CODE_BYTES)? == self.whole())
    }

    /// Whether a disk has no code in its first sector, and nothing else where the loader belongs.
    ///
    /// # Errors
    /// When the disk can't be read.
    pub fn is_missing(&self, disk: &dyn ReadAt) -> Result<bool> {
        let is_free = match self.loader {
            Some(Loader { start_bytes, bytes }) => {
                let there = read_vec(disk, *start_bytes, bytes.len())?;
                is_zero(&there) || there == *bytes
            }
            None => true,
        };
        Ok(is_free && is_zero(&read_vec(disk, 0, BOOT_CODE_BYTES)?))
    }

    /// Writes it; the first sector refers to the loader, and comes after it. The table in that sector stays.
    ///
    /// # Errors
    /// When the disk can't be read or written.
    pub fn write(&self, target: &Target) -> Result<()> {
        if let Some(Loader { start_bytes, bytes }) = self.loader {
            target.write_all_at(bytes, *start_bytes)?;
            target.sync()?;
        }
        let sector_bytes = target.geometry().logical_sector_bytes;
        let mut sector = read_vec(target, 0, usize::try_from(sector_bytes)?)?;
        for (byte, own) in sector.iter_mut().zip(self.whole()) {
            *byte = own;
        }
        target.write_all_at(&sector, 0)?;
        target.sync()?;
        Ok(())
    }

    /// The code with the zeroes at its end.
    fn whole(&self) -> Vec<u8> {
        let mut whole = self.code.to_vec();
        whole.resize(BOOT_CODE_BYTES, 0);
        whole
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}
