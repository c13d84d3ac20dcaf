//! Another VolumeSerialNumber (section 3.1.11), in both boot regions, with their checksums (section 3.4).

use super::boot::{REGION_SECTORS, checksum};
use crate::bytes::{le32, u8_at};
use crate::device::{Patches, ReadAt, read_vec};
use crate::error::Result;
use crate::filesystem::own_id::put;
use crate::own_id::OwnIds;

const SERIAL: usize = 100;
const BYTES_PER_SECTOR_SHIFT: usize = 108;

/// See [`crate::filesystem::Filesystem::with_own_id`].
pub(super) fn patches(device: &dyn ReadAt, ids: &OwnIds) -> Result<Patches> {
    let boot = read_vec(device, 0, super::boot::SECTOR_BYTES)?;
    let serial = le32(&boot, SERIAL);
    // It was checked to be 9 to 12.
    let sector_len = 1_usize << u8_at(&boot, BYTES_PER_SECTOR_SHIFT).clamp(9, 12);
    let region_len = REGION_SECTORS * sector_len;
    let mut patches = Patches::new();
    for at in [0, region_len as u64] {
        let old = read_vec(device, at, region_len)?;
        let mut new = old.clone();
        let (covered, sums) = new.split_at_mut(region_len - sector_len);
        let is_sound = le32(sums, 0) == checksum(covered);
        // What is no copy of the boot region is left alone.
        if !is_sound || covered.get(3..11) != boot.get(3..11) || le32(covered, SERIAL) != serial {
            continue;
        }
        put(covered, SERIAL, &ids.number(serial).to_le_bytes());
        let sum = checksum(covered).to_le_bytes();
        for field in sums.chunks_exact_mut(4) {
            field.copy_from_slice(&sum);
        }
        patches.add(at, &old, &new)?;
    }
    Ok(patches)
}
