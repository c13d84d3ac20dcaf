//! Signatures of filesystems that come from Windows, macOS and optical media.

use super::head::Head;
use super::{named, sized};
use crate::bytes::{le16, le32, text, u8_at};
use crate::error::Result;
use crate::filesystem::fat;
use crate::filesystem::{Kind, Summary};

/// BitLocker: "-FVE-FS-" as OEM name, or the GUID of BitLocker To Go.
pub(super) fn bitlocker(head: &Head<'_>) -> Result<Option<Summary>> {
    let Some(sector) = head.at(0, 512) else {
        return Ok(None);
    };
    let is_fixed = head.has(3, b"-FVE-FS-") && u8_at(sector, 0) == 0xeb;
    let is_to_go = head.has(3, b"MSWIN4.1") && fat::is_bitlocker_to_go(sector);
    Ok((is_fixed || is_to_go).then(|| named(Kind::Bitlocker, head)))
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
