//! Signatures of what lies beneath filesystems: RAID members, encryption, volume managers, pools.

use super::head::Head;
use super::{named, uuid};
use crate::bytes::{be16, be64, le32, le64, text, u8_at};
use crate::error::Result;
use crate::filesystem::{Hazard, Kind, Summary, fat};

/// LUKS 1 and 2 (LUKS2 On-Disk Format Specification, "Binary Header").
pub(super) fn luks(head: &Head<'_>) -> Result<Option<Summary>> {
    let header = head.at(0, 512).filter(|_| head.has(0, b"LUKS\xba\xbe"));
    Ok(header.and_then(|header| luks_summary(head, header)))
}

fn luks_summary(head: &Head<'_>, header: &[u8]) -> Option<Summary> {
    let label = match be16(header, 6) {
        1 => None,
        2 => text(&header[24..72]),
        _ => return None,
    };
    Some(Summary {
        label,
        uuid: text(&header[168..208]),
        ..named(Kind::Luks, head)
    })
}

/// LUKS 2 whose first header is gone: the second lies where the first ends, at one of the sizes
/// that headers have, and says so in `hdr_offset`.
pub(super) fn luks_secondary(head: &Head<'_>) -> Result<Option<Summary>> {
    for shift in 14..=22 {
        let offset_bytes = 1u64 << shift;
        let Some(header) = head.far(offset_bytes, 512)? else {
            break;
        };
        let is_second = header.starts_with(b"SKUL\xba\xbe")
            && be16(&header, 6) == 2
            && be64(&header, 256) == offset_bytes;
        if is_second {
            let how = format!("LUKS2: no header at byte 0; the second is at {offset_bytes:#x}");
            return Ok(luks_summary(head, &header).map(|summary| Summary {
                hazards: vec![Hazard::Damaged(how)],
                ..summary
            }));
        }
    }
    Ok(None)
}

/// MD RAID with a version 1 superblock: at 0 (1.1), 4 KiB (1.2) or near the end (1.0).
pub(super) fn mdraid(head: &Head<'_>) -> Result<Option<Summary>> {
    let sectors = head.size_bytes() / 512;
    let near_end = sectors.checked_sub(16).map(|sector| sector & !7);
    for sector in [Some(0), Some(8), near_end].into_iter().flatten() {
        let Some(block) = head.far(sector.saturating_mul(512), 256)? else {
            continue;
        };
        // magic, major_version, super_offset
        let is_super =
            le32(&block, 0) == 0xa92b_4efc && le32(&block, 4) == 1 && le64(&block, 144) == sector;
        if is_super {
            return Ok(Some(Summary {
                // set_uuid, set_name
                uuid: uuid(&block[16..32]),
                label: text(&block[32..64]),
                hazards: raid_members(le32(&block, 92)),
                ..named(Kind::Mdraid, head)
            }));
        }
    }
    Ok(None)
}

/// MD RAID with a version 0.90 superblock: in the last whole 64 KiB but one.
pub(super) fn mdraid_old(head: &Head<'_>) -> Result<Option<Summary>> {
    const RESERVED_BYTES: u64 = 64 << 10;
    let end_bytes = head.size_bytes() / RESERVED_BYTES * RESERVED_BYTES;
    let Some(offset_bytes) = end_bytes.checked_sub(RESERVED_BYTES) else {
        return Ok(None);
    };
    let Some(block) = head.far(offset_bytes, 128)? else {
        return Ok(None);
    };
    let is_super = le32(&block, 0) == 0xa92b_4efc && le32(&block, 4) == 0 && le32(&block, 8) <= 91;
    if !is_super {
        return Ok(None);
    }
    // set_uuid0 lies apart from set_uuid1 to set_uuid3; each is a number.
    let mut id = Vec::with_capacity(16);
    for at in [20, 52, 56, 60] {
        id.extend(le32(&block, at).to_be_bytes());
    }
    Ok(Some(Summary {
        uuid: uuid(&id),
        hazards: raid_members(le32(&block, 40)),
        ..named(Kind::Mdraid, head)
    }))
}

fn raid_members(count: u32) -> Vec<Hazard> {
    if count > 1 {
        vec![Hazard::MultiDevice(format!("RAID of {count} members"))]
    } else {
        Vec::new()
    }
}

/// BitLocker: "-FVE-FS-" as OEM name, or the GUID of BitLocker To Go.
pub(super) fn bitlocker(head: &Head<'_>) -> Result<Option<Summary>> {
    let Some(sector) = head.at(0, 512) else {
        return Ok(None);
    };
    let is_fixed = head.has(3, b"-FVE-FS-") && u8_at(sector, 0) == 0xeb;
    let is_to_go = head.has(3, b"MSWIN4.1") && fat::is_bitlocker_to_go(sector);
    Ok((is_fixed || is_to_go).then(|| named(Kind::Bitlocker, head)))
}

/// ZFS: uberblocks in one of the first two labels (ZFS On-Disk Specification, section 1.3).
pub(super) fn zfs(head: &Head<'_>) -> Result<Option<Summary>> {
    const LABEL_BYTES: u64 = 256 << 10;
    const RING_BYTES: usize = 128 << 10;
    // One stray magic number is no pool.
    const UBERBLOCKS_MIN: usize = 4;
    for label in 0..2 {
        let offset_bytes = label * LABEL_BYTES + RING_BYTES as u64;
        let Some(ring) = head.far(offset_bytes, RING_BYTES)? else {
            break;
        };
        let count = ring
            .chunks_exact(1024)
            .map(|uberblock| le64(uberblock, 0))
            .filter(|&magic| magic == 0x00ba_b10c || magic.swap_bytes() == 0x00ba_b10c)
            .count();
        if count >= UBERBLOCKS_MIN {
            return Ok(Some(named(Kind::Zfs, head)));
        }
    }
    Ok(None)
}
