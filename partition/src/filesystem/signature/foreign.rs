//! Signatures of filesystems that come from Windows and macOS.

use super::head::Head;
use super::named;
use crate::bytes::u8_at;
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
