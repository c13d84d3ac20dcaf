//! Whether the maps can be believed: flags, devices, recorded errors, what was written since.

use super::checkpoint::{Checkpoint, Checkpoints, LogHead, UMOUNT};
use super::feature::Features;
use super::superblock::{self, Superblock};
use crate::bytes::{is_zero, le32};
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::filesystem::Hazard;

/// `CP_UMOUNT_FLAG` to `CP_RESIZEFS_FLAG`.
const KNOWN_FLAGS: u32 = 0x7fff;

/// What the superblock (3072 bytes) alone says against copying by the maps.
pub(super) fn recorded(raw: &[u8]) -> Vec<Hazard> {
    let mut hazards = Features(le32(raw, 2180)).hazards();
    let block_bytes = superblock::block_bytes(raw);
    if block_bytes != superblock::BLOCK_BYTES {
        // The journals' places there are shown by no tool yet.
        let which = format!("blocks of {block_bytes} bytes");
        hazards.push(Hazard::UnknownFeature(which));
    }
    let devices = superblock::devices(raw);
    if devices > 0 {
        let which = format!("{devices} of them are named in the superblock");
        hazards.push(Hazard::MultiDevice(which));
    }
    // The first byte of s_stop_reason counts shutdowns that somebody asked for.
    let s_stop_reason = raw.get(2763..2794).unwrap_or_default();
    let s_errors = raw.get(2794..2810).unwrap_or_default();
    for (field, bytes) in [("s_stop_reason", s_stop_reason), ("s_errors", s_errors)] {
        if !is_zero(bytes) {
            let how = format!("{field} is set; run fsck.f2fs");
            hazards.push(Hazard::Errors(how));
        }
    }
    hazards
}

/// What the checkpoints say against copying by the maps.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(super) fn observed(
    superblock: &Superblock,
    checkpoints: &Checkpoints,
    device: &dyn ReadAt,
) -> Result<Vec<Hazard>> {
    let checkpoint = &checkpoints.current;
    let mut hazards = flags(checkpoint.flags);
    // One that was torn was being written when it ended.
    if let Some(corrupt) = &checkpoints.damage {
        hazards.push(Hazard::Damaged(corrupt.to_string()));
    }
    if checkpoint.has(UMOUNT) {
        hazards.extend(later_node(superblock, checkpoint, device)?);
    }
    Ok(hazards)
}

fn flags(flags: u32) -> Vec<Hazard> {
    type Make = fn(String) -> Hazard;
    let mut hazards = Vec::new();
    if flags & UMOUNT == 0 {
        let how = "CP_UMOUNT_FLAG is not set".to_owned();
        hazards.push(Hazard::NotCleanlyUnmounted(how));
    }
    // Orphans are files to be deleted at the next mount. With checkpoints disabled, what was
    // written since the last one is in no map. A change of size moves segments.
    let bad: [(u32, &str, Make); 7] = [
        (0x2, "CP_ORPHAN_PRESENT_FLAG", Hazard::NeedsRecovery),
        (0x8, "CP_ERROR_FLAG", Hazard::Errors),
        (0x10, "CP_FSCK_FLAG", Hazard::Errors),
        (0x800, "CP_QUOTA_NEED_FSCK_FLAG", Hazard::Errors),
        (0x1000, "CP_DISABLED_FLAG", Hazard::NotCleanlyUnmounted),
        (
            0x2000,
            "CP_DISABLED_QUICK_FLAG",
            Hazard::NotCleanlyUnmounted,
        ),
        (0x4000, "CP_RESIZEFS_FLAG", Hazard::NeedsRecovery),
    ];
    for (flag, name, make) in bad {
        if flags & flag != 0 {
            hazards.push(make(format!("{name} is set")));
        }
    }
    if flags & !KNOWN_FLAGS != 0 {
        let which = format!("ckpt_flags {:#x}", flags & !KNOWN_FLAGS);
        hazards.push(Hazard::UnknownFeature(which));
    }
    hazards
}

/// Whether a node has been written since the checkpoint.
///
/// A mount leaves the checkpoint of the last unmount as it is until it writes its own. Until then,
/// synced files are found by their nodes (roll-forward recovery): the nodes follow where the
/// checkpoint says that the logs go on, and bear its version. Drivers look at the log of warm nodes
/// only. Such a node in another log shows as well that there was no unmount.
fn later_node(
    superblock: &Superblock,
    checkpoint: &Checkpoint,
    device: &dyn ReadAt,
) -> Result<Option<Hazard>> {
    let logs = [(0, "hot"), (1, "warm"), (2, "cold")];
    // One made once has no logs but those of hot nodes and data.
    let count = if superblock.features.is_read_only() {
        1
    } else {
        3
    };
    for (log, name) in logs.into_iter().take(count) {
        let LogHead { segment, block } = checkpoint.node_log(log);
        let Some(block) = superblock.main.block(segment.block(block)) else {
            continue;
        };
        // `struct node_footer` ends the block: nid, ino, flag, cp_ver, next_blkaddr.
        let at = superblock.offset_bytes(block) + u64::from(superblock.block_bytes) - 24;
        let footer = read_vec(device, at, 24)?;
        let (nid, cp_ver) = (le32(&footer, 0), footer.get(12..16));
        // The upper half of a version is a checksum, or is not.
        let version = checkpoint.version().to_le_bytes();
        if nid != 0 && cp_ver == version.get(..4) {
            let block = block.number();
            let how = format!("the log of {name} nodes goes on at block {block:#x}");
            return Ok(Some(Hazard::NeedsRecovery(how)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::flags;

    #[test]
    fn only_flags_without_consequence_are_clean() {
        // Unmounted, compact summaries, fast boot, versions with checksums, bits of the NAT,
        // trimmed, versions without, large bitmap.
        assert_eq!(
            flags(0x1 | 0x4 | 0x20 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400),
            []
        );
        for bit in [1, 3, 4, 11, 12, 13, 14, 15, 31] {
            assert_eq!(flags(1 | 1 << bit).len(), 1, "{bit}");
        }
        assert_eq!(flags(0x4).len(), 1);
    }
}
