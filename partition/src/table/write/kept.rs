//! What a new table keeps of the first sector: boot code and disk signature.

use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::table::boot::{BootSector, RECORD_BYTES};
use crate::table::guard::SIGNATURE;
use crate::table::sectors::Sectors;

/// Length of the boot code in a record (UEFI specification, table 5-1 "BootCode").
const BOOT_CODE_BYTES: usize = 440;

/// What is kept of the first sector. All zeroes unless a record was there: a filesystem's boot
/// sector left in place would make the disk look like that filesystem.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) boot_code: [u8; BOOT_CODE_BYTES],
    pub(super) disk_signature: [u8; 4],
    /// What follows the record in a larger sector, zeroes when a GPT header was there.
    pub(super) rest: Vec<u8>,
}

impl Kept {
    /// Reads the first sector of `disk`.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when the device fails.
    pub(super) fn read(disk: &dyn ReadAt, sectors: Sectors) -> Result<Self> {
        let rest_len = sectors.len().saturating_sub(RECORD_BYTES);
        let mut kept = Self {
            boot_code: [0; BOOT_CODE_BYTES],
            disk_signature: [0; 4],
            rest: vec![0; rest_len],
        };
        if let BootSector::Record(record) = BootSector::read(disk, sectors)? {
            kept.boot_code = record.bootstrap_code;
            kept.disk_signature = record.disk_signature;
            let rest = read_vec(disk, 512, rest_len)?;
            if !rest.starts_with(SIGNATURE) {
                kept.rest = rest;
            }
        }
        Ok(kept)
    }
}
