//! Signatures of filesystems that come from Windows and macOS.

use super::head::Head;
use super::{named, sized, uuid};
use crate::bytes::{be16, be32, le16, le32, le64, u8_at};
use crate::error::Result;
use crate::filesystem::fat;
use crate::filesystem::{Hazard, Kind, Summary};

/// BitLocker: "-FVE-FS-" as OEM name, or the GUID of BitLocker To Go.
pub(super) fn bitlocker(head: &Head<'_>) -> Result<Option<Summary>> {
    let Some(sector) = head.at(0, 512) else {
        return Ok(None);
    };
    let is_fixed = head.has(3, b"-FVE-FS-") && u8_at(sector, 0) == 0xeb;
    let is_to_go = head.has(3, b"MSWIN4.1") && fat::is_bitlocker_to_go(sector);
    Ok((is_fixed || is_to_go).then(|| named(Kind::Bitlocker, head)))
}

/// HFS+ "H+" version 4 and HFSX "HX" version 5 (TN1150, "Volume Header").
pub(super) fn hfsplus(head: &Head<'_>) -> Result<Option<Summary>> {
    let Some(header) = head.at(1024, 512) else {
        return Ok(None);
    };
    let block_size_bytes = be32(header, 40);
    let is_signed = matches!((&header[..2], be16(header, 2)), (b"H+", 4) | (b"HX", 5));
    if !is_signed || block_size_bytes < 512 || !block_size_bytes.is_power_of_two() {
        return Ok(None);
    }
    let (blocks, free_blocks) = (be32(header, 44), be32(header, 48));
    let block_bytes = u64::from(block_size_bytes);
    let mut summary = sized(Kind::Hfsplus, head, u64::from(blocks), block_size_bytes);
    summary.used_bytes = blocks
        .checked_sub(free_blocks)
        .map(|used| u64::from(used).saturating_mul(block_bytes));
    // kHFSVolumeUnmountedBit, kHFSBootVolumeInconsistentBit
    let attributes = be32(header, 4);
    if attributes & 0x100 == 0 {
        let how = "kHFSVolumeUnmountedBit is 0".to_owned();
        summary.hazards.push(Hazard::NotCleanlyUnmounted(how));
    }
    if attributes & 0x800 != 0 {
        let how = "kHFSBootVolumeInconsistentBit".to_owned();
        summary.hazards.push(Hazard::Errors(how));
    }
    Ok(Some(summary))
}

/// HFS+ inside an HFS wrapper: "BD" with drEmbedSigWord "H+" (TN1150, "HFS Wrapper").
pub(super) fn hfs_wrapper(head: &Head<'_>) -> Result<Option<Summary>> {
    let is_wrapper = head.has(1024, b"BD") && head.has(1024 + 124, b"H+");
    Ok(is_wrapper.then(|| named(Kind::Hfsplus, head)))
}

/// APFS: nx_magic "NXSB" of the container superblock (Apple File System Reference).
pub(super) fn apfs(head: &Head<'_>) -> Result<Option<Summary>> {
    let Some(block) = head.at(0, 128).filter(|_| head.has(32, b"NXSB")) else {
        return Ok(None);
    };
    // o_oid OID_NX_SUPERBLOCK, o_type OBJECT_TYPE_NX_SUPERBLOCK, o_subtype 0
    let is_sound = le64(block, 8) == 1 && le16(block, 24) == 1 && le32(block, 28) == 0;
    let block_size_bytes = le32(block, 36);
    if !is_sound || !matches!(block_size_bytes, 4096..=65_536) {
        return Ok(None);
    }
    Ok(Some(Summary {
        uuid: uuid(&block[72..88]),
        ..sized(Kind::Apfs, head, le64(block, 40), block_size_bytes)
    }))
}
