//! Signatures of filesystems that come from Windows, macOS and optical media.

use super::head::Head;
use super::{named, sized};
use crate::bytes::{be16, be32, le16, le32, le64, text, u8_at};
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

/// ISO 9660: "CD001" in the primary volume descriptor at sector 16 (ECMA-119, section 8.4).
pub(super) fn iso9660(head: &Head<'_>) -> Result<Option<Summary>> {
    const DESCRIPTOR: usize = 32 << 10;
    let block = head.at(DESCRIPTOR, 2048);
    let Some(block) = block.filter(|_| head.has(DESCRIPTOR + 1, b"CD001")) else {
        return Ok(None);
    };
    let block_size_bytes = u32::from(le16(block, 128));
    let is_primary = u8_at(block, 0) == 1 && block_size_bytes.is_power_of_two();
    let summary = if is_primary {
        sized(
            Kind::Iso9660,
            head,
            u64::from(le32(block, 80)),
            block_size_bytes,
        )
    } else {
        named(Kind::Iso9660, head)
    };
    // Volume modification date, else creation date.
    let uuid = iso9660_date(&block[830..846]).or_else(|| iso9660_date(&block[813..829]));
    Ok(Some(Summary {
        label: text(&block[40..72]),
        uuid,
        ..summary
    }))
}

/// YYYYMMDDHHMMSScc with dashes, as `blkid` names such a volume.
fn iso9660_date(digits: &[u8]) -> Option<String> {
    let is_date =
        digits.iter().all(u8::is_ascii_digit) && digits.iter().any(|&digit| digit != b'0');
    let date = std::str::from_utf8(digits).ok().filter(|_| is_date)?;
    let (year, rest) = date.split_at_checked(4)?;
    let pairs = rest.as_bytes().chunks(2).map(String::from_utf8_lossy);
    Some(pairs.fold(year.to_owned(), |all, pair| format!("{all}-{pair}")))
}
