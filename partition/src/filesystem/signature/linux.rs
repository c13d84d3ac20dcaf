//! Signatures of filesystems that come from Linux.

use super::head::Head;
use super::{named, uuid};
use crate::bytes::{text, u8_at};
use crate::error::Result;
use crate::filesystem::{Hazard, Kind, Summary};

/// bcachefs: magic of the superblock at sector 8 (struct bch_sb).
pub(super) fn bcachefs(head: &Head<'_>) -> Result<Option<Summary>> {
    const MAGIC: [u8; 16] = [
        0xc6, 0x85, 0x73, 0xf6, 0x66, 0xce, 0x90, 0xa9, 0xd9, 0x6a, 0x60, 0xcf, 0x80, 0x3d, 0xf7,
        0xef,
    ];
    let block = head.at(4096, 512);
    let Some(block) = block.filter(|block| block[24..40] == MAGIC) else {
        return Ok(None);
    };
    let mut summary = named(Kind::Bcachefs, head);
    summary.label = text(&block[72..104]);
    // user_uuid
    summary.uuid = uuid(&block[56..72]);
    // nr_devices
    if u8_at(block, 123) > 1 {
        let devices = format!("{} devices", u8_at(block, 123));
        summary.hazards.push(Hazard::MultiDevice(devices));
    }
    Ok(Some(summary))
}
