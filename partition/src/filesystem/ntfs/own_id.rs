//! Another serial number, in the boot sector and its copy behind the last sector.
//!
//! Linux-NTFS documentation, "$Boot": <https://flatcap.github.io/linux-ntfs/ntfs/files/boot.html>.

use super::boot::{Geometry, SECTOR_BYTES};
use crate::bytes::{le16, le64};
use crate::device::{Patches, ReadAt, read_vec};
use crate::error::Result;
use crate::filesystem::own_id::put;
use crate::own_id::OwnIds;

/// Where the serial number is in a boot sector.
const SERIAL: usize = 0x48;

/// See [`crate::filesystem::Filesystem::with_own_id`].
pub(super) fn patches(device: &dyn ReadAt, geometry: &Geometry, ids: &OwnIds) -> Result<Patches> {
    let boot = read_vec(device, 0, SECTOR_BYTES)?;
    let serial = le64(&boot, SERIAL);
    let [a, b, c, d, e, f, g, h, ..] = ids.bytes(&serial.to_le_bytes());
    let own = [a, b, c, d, e, f, g, h];
    let bytes_per_sector = u64::from(le16(&boot, 0x0b));
    let backup = geometry.size_bytes.saturating_sub(bytes_per_sector);
    let mut patches = Patches::new();
    for at in [0, backup] {
        let old = read_vec(device, at, SECTOR_BYTES)?;
        // What is no copy of the boot sector is left alone.
        if old.get(3..11) == boot.get(3..11) && le64(&old, SERIAL) == serial {
            let mut new = old.clone();
            put(&mut new, SERIAL, &own);
            patches.add(at, &old, &new)?;
        }
    }
    Ok(patches)
}
