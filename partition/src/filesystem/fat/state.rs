//! What a FAT volume says of its own state: entries 0 and 1, the boot sector's state byte, FSInfo.

use super::layout::Layout;
use crate::bytes::{le32, u8_at};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use crate::filesystem::chain::Table as _;
use crate::filesystem::cluster::Cluster;
use crate::filesystem::{Hazard, Kind};

/// Why the allocation records may not be believed; empty for a clean volume.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(super) fn hazards(device: &dyn ReadAt, layout: &Layout, state: u8) -> Result<Vec<Hazard>> {
    let mut hazards = Vec::new();
    if state & 0x01 != 0 {
        let how = "dirty bit in the boot sector; mount and unmount it, or run fsck.fat";
        hazards.push(Hazard::NotCleanlyUnmounted(how.to_owned()));
    }
    if state & 0x02 != 0 {
        hazards.push(Hazard::Errors("error bit in the boot sector".to_owned()));
    }
    for copy in 0..layout.fat_count {
        for hazard in entry_hazards(device, layout, copy)? {
            if !hazards.contains(&hazard) {
                hazards.push(hazard);
            }
        }
    }
    Ok(hazards)
}

/// FAT\[0\] repeats the media byte; FAT\[1\] has ClnShutBitMask and HrdErrBitMask, set when all
/// is well (fatgen103, "FAT Data Structure"). FAT12 has no such bits.
fn entry_hazards(device: &dyn ReadAt, layout: &Layout, copy: u8) -> Result<Vec<Hazard>> {
    let offset_bytes = layout.fat_copy_offset_bytes(copy);
    let bytes = read_vec(device, offset_bytes, 8)?;
    let mut hazards = Vec::new();
    let media = u8_at(&bytes, 0);
    if media != layout.media {
        let expected = format!("{:#x} (BPB_Media)", layout.media);
        let found = format!("{media:#x}");
        let corrupt = Corrupt::new("FAT", "FAT[0]", offset_bytes, expected, found);
        hazards.push(Hazard::Damaged(corrupt.to_string()));
    }
    let (start, is_clean_bit, is_sound_bit) = match layout.kind {
        Kind::Fat16 => (2, 0x8000, 0x4000),
        Kind::Fat32 => (4, 0x0800_0000, 0x0400_0000),
        _ => return Ok(hazards),
    };
    let flags = layout.decode(bytes.get(start..).unwrap_or_default(), Cluster(1));
    if flags & is_clean_bit == 0 {
        let how = "clean-shutdown bit of FAT[1] is 0; mount and unmount it, or run fsck.fat";
        hazards.push(Hazard::NotCleanlyUnmounted(how.to_owned()));
    }
    if flags & is_sound_bit == 0 {
        let how = "hard-error bit of FAT[1] is 0; run fsck.fat";
        hazards.push(Hazard::Errors(how.to_owned()));
    }
    Ok(hazards)
}

/// FSI_Free_Count, a hint that may be stale; `None` when it is unknown or can't be.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(super) fn free_clusters_hint(device: &dyn ReadAt, layout: &Layout) -> Result<Option<u32>> {
    let Some(offset_bytes) = layout.fsinfo_offset_bytes else {
        return Ok(None);
    };
    let sector = read_vec(device, offset_bytes, 512)?;
    let (fsi_lead_sig, fsi_struc_sig) = (le32(&sector, 0), le32(&sector, 484));
    let fsi_free_count = le32(&sector, 488);
    let is_signed = fsi_lead_sig == 0x4161_5252 && fsi_struc_sig == 0x6141_7272;
    let is_count = fsi_free_count <= layout.clusters.count();
    Ok((is_signed && is_count).then_some(fsi_free_count))
}
