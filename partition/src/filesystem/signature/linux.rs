//! Signatures of filesystems that come from Linux.

use super::head::Head;
use super::{named, sized, uuid};
use crate::bytes::{le16, le32, le64, text, u8_at};
use crate::error::Result;
use crate::filesystem::{Hazard, Kind, Summary};

/// F2FS: magic 0xF2F52010 at 1 KiB (struct f2fs_super_block).
pub(super) fn f2fs(head: &Head<'_>) -> Result<Option<Summary>> {
    let Some(block) = head.at(1024, 3072) else {
        return Ok(None);
    };
    // log_blocksize
    let shift = le32(block, 16);
    if le32(block, 0) != 0xf2f5_2010 || le16(block, 4) != 1 || !(12..=16).contains(&shift) {
        return Ok(None);
    }
    let units: Vec<u16> = block[124..1148]
        .chunks_exact(2)
        .map(|pair| le16(pair, 0))
        .take_while(|&unit| unit != 0)
        .collect();
    Ok(Some(Summary {
        label: (!units.is_empty()).then(|| String::from_utf16_lossy(&units)),
        uuid: uuid(&block[108..124]),
        ..sized(Kind::F2fs, head, le64(block, 36), 1 << shift)
    }))
}

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
