//! Another serial number: BS_VolID of the boot sector, and of its copy on FAT32 (fatgen103, "Boot Sector and
//! BPB").

use super::boot::{SECTOR_BYTES, serial_at};
use super::layout::Layout;
use crate::bytes::{le16, le32};
use crate::device::{Patches, ReadAt, read_vec};
use crate::error::Result;
use crate::filesystem::Kind;
use crate::filesystem::own_id::put;
use crate::own_id::OwnIds;

/// BPB_BkBootSec of FAT32; 0 and 0xffff are no place.
const BACKUP_SECTOR: usize = 0x32;

/// See [`crate::filesystem::Filesystem::with_own_id`].
pub(super) fn patches(device: &dyn ReadAt, layout: &Layout, ids: &OwnIds) -> Result<Patches> {
    let mut patches = Patches::new();
    let boot = read_vec(device, 0, SECTOR_BYTES)?;
    let Some(field) = serial_at(&boot) else {
        return Ok(patches);
    };
    let bs_vol_id = le32(&boot, field);
    let serial = ids.number(bs_vol_id).to_le_bytes();
    let backup = Some(le16(&boot, BACKUP_SECTOR)).filter(|_| layout.kind == Kind::Fat32);
    let backup = backup.filter(|at| !matches!(at, 0 | 0xffff));
    let backup = backup.map(|at| u64::from(at).saturating_mul(layout.sector_bytes));
    for at in [Some(0), backup].into_iter().flatten() {
        let end = at.saturating_add(SECTOR_BYTES as u64);
        if end > layout.size_bytes {
            continue;
        }
        let old = read_vec(device, at, SECTOR_BYTES)?;
        // What is no copy of the boot sector is left alone.
        if serial_at(&old) == Some(field) && le32(&old, field) == bs_vol_id {
            let mut new = old.clone();
            put(&mut new, field, &serial);
            patches.add(at, &old, &new)?;
        }
    }
    Ok(patches)
}
