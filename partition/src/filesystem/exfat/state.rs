//! What an exFAT volume says of its own state: VolumeFlags and the first entry of each FAT.

use super::boot;
use super::layout::Layout;
use crate::bytes::le32;
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use crate::filesystem::Hazard;

/// VolumeFlags (section 3.1.13).
const VOLUME_DIRTY: u16 = 0x0002;
const MEDIA_FAILURE: u16 = 0x0004;
/// Bits without a meaning in revision 1.00. (Bit 3, ClearToZero, is one to be cleared and no more.)
const RESERVED: u16 = 0xfff0;

/// Why the allocation bitmap may not be believed by the boot sector alone.
pub(super) fn flag_hazards(sector: &[u8]) -> Vec<Hazard> {
    let flags = boot::volume_flags(sector);
    let mut hazards = Vec::new();
    if flags & VOLUME_DIRTY != 0 {
        let how = "VolumeDirty in the boot sector; mount and unmount it, or run fsck.exfat";
        hazards.push(Hazard::NotCleanlyUnmounted(how.to_owned()));
    }
    if flags & MEDIA_FAILURE != 0 {
        let how = "MediaFailure in the boot sector; run fsck.exfat";
        hazards.push(Hazard::Errors(how.to_owned()));
    }
    if flags & RESERVED != 0 {
        let which = format!("VolumeFlags {flags:#06x}, of which 0x000f are known");
        hazards.push(Hazard::UnknownFeature(which));
    }
    hazards
}

/// FatEntry\[0\]: a media type and three bytes FFh (section 4.1.1), in each FAT.
///
/// # Errors
/// [`crate::Error::Corrupt`] when it is something else.
pub(super) fn check_fats(device: &dyn ReadAt, layout: &Layout) -> Result<()> {
    for number in 0..layout.fat_count {
        let offset_bytes = layout.fat_copy_offset_bytes(number);
        let entry = le32(&read_vec(device, offset_bytes, 4)?, 0);
        if entry >> 8 != 0x00ff_ffff {
            let expected = "0xffffff and a media type";
            let found = format!("{entry:#010x}");
            return Err(Corrupt::new("FAT", "FatEntry[0]", offset_bytes, expected, found).into());
        }
    }
    Ok(())
}
