//! Signatures of filesystems that come from Linux.

use super::head::Head;
use super::{named, sized, uuid};
use crate::bytes::{le16, le32, le64, text, u8_at};
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

/// Swap space: a signature at the end of the first page, whose size is the machine's.
pub(super) fn swap(head: &Head<'_>) -> Result<Option<Summary>> {
    for page_bytes in [4096u32, 8192, 16_384, 32_768, 65_536] {
        let signature = head.at(page_bytes as usize - 10, 10);
        let (Some(signature), Some(header)) = (signature, head.at(1024, 128)) else {
            break;
        };
        let is_hibernated = [&b"S1SUSPEND"[..], b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001"]
            .iter()
            .any(|magic| signature.starts_with(magic));
        let is_swap = matches!(signature, b"SWAPSPACE2" | b"SWAP-SPACE");
        if is_swap || is_hibernated {
            return Ok(Some(swap_summary(head, header, page_bytes, is_hibernated)));
        }
    }
    Ok(None)
}

fn swap_summary(head: &Head<'_>, header: &[u8], page_bytes: u32, is_hibernated: bool) -> Summary {
    // version, last_page; a machine of the other byte order reads as version 1 << 24.
    let mut summary = if le32(header, 0) == 1 {
        let pages = u64::from(le32(header, 4)).saturating_add(1);
        Summary {
            uuid: uuid(&header[12..28]),
            label: text(&header[28..44]),
            ..sized(Kind::Swap, head, pages, page_bytes)
        }
    } else {
        named(Kind::Swap, head)
    };
    if is_hibernated {
        let how = "swap holds a suspended system".to_owned();
        summary.hazards.push(Hazard::Hibernated(how));
    }
    summary
}

/// squashfs 4: magic "hsqs" (struct squashfs_super_block).
pub(super) fn squashfs(head: &Head<'_>) -> Result<Option<Summary>> {
    let block = head.at(0, 96).filter(|_| head.has(0, b"hsqs"));
    let Some(block) = block.filter(|block| le16(block, 28) == 4) else {
        return Ok(None);
    };
    let mut summary = sized(Kind::Squashfs, head, le64(block, 40), 1);
    summary.block_size_bytes = le32(block, 12);
    Ok(Some(summary))
}

/// EROFS: magic 0xE0F5E1E2 at 1 KiB (struct erofs_super_block).
pub(super) fn erofs(head: &Head<'_>) -> Result<Option<Summary>> {
    let Some(block) = head.at(1024, 128) else {
        return Ok(None);
    };
    let shift = u8_at(block, 12);
    if le32(block, 0) != 0xe0f5_e1e2 || !(9..=16).contains(&shift) {
        return Ok(None);
    }
    let blocks = u64::from(le32(block, 36));
    Ok(Some(Summary {
        uuid: uuid(&block[48..64]),
        label: text(&block[64..80]),
        ..sized(Kind::Erofs, head, blocks, 1 << shift)
    }))
}
