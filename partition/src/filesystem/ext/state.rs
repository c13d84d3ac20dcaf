//! Whether the bitmaps can be believed: state flags, journal, multiple-mount protection.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", sections "Super Block", "Journal
//! (jbd2)" and "Multiple Mount Protection":
//! <https://docs.kernel.org/filesystems/ext4/index.html>.

use super::address::{Block, Ino};
use super::checksum::crc32c;
use super::status::Status;
use super::superblock::{Superblock, corrupt};
use super::{feature, journal};
use crate::bytes::le32;
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Error, Result};
use crate::filesystem::Hazard;

/// `EXT4_VALID_FS`
const STATE_VALID: u16 = 1;
/// `EXT4_ERROR_FS`
const STATE_ERROR: u16 = 2;

/// `EXT4_MMP_MAGIC`
const MMP_MAGIC: u32 = 0x004d_4d50;
/// `EXT4_MMP_SEQ_CLEAN`
const MMP_CLEAN: u32 = 0xff4d_4d50;

/// What the superblock alone says against copying by the bitmaps.
///
/// A list of orphaned inodes (`s_last_orphan`, `orphan_present`) is no hazard where there is a
/// journal: the same transaction frees their blocks in the bitmaps and takes them off the list. So
/// a copy has all of their blocks, and cleans up at its first mount as the original would. Without
/// a journal, nothing orders the two.
pub(super) fn recorded(status: &Status) -> Vec<Hazard> {
    let mut hazards = status.features.unknown();
    if status.features.has_incompat(feature::INCOMPAT_RECOVER) {
        let how = "the needs_recovery flag is set; mount and unmount it once";
        hazards.push(Hazard::NeedsRecovery(how.to_owned()));
    }
    if status.state & STATE_ERROR != 0 || status.error_count > 0 {
        let how = format!(
            "s_state {:#x}, {} errors; run e2fsck",
            status.state, status.error_count
        );
        hazards.push(Hazard::Errors(how));
    }
    if status.state & !STATE_ERROR != STATE_VALID {
        let how = format!("s_state {:#x}; run e2fsck", status.state);
        hazards.push(Hazard::NotCleanlyUnmounted(how));
    }
    if status.last_orphan != Ino(0) && !status.features.has_journal() {
        let how = format!("orphaned inode {} and no journal", status.last_orphan);
        hazards.push(Hazard::NotCleanlyUnmounted(how));
    }
    hazards.extend(external_journal(status));
    hazards
}

fn external_journal(status: &Status) -> Option<Hazard> {
    if status.features.has_incompat(feature::INCOMPAT_JOURNAL_DEV) {
        let which = "this volume is the journal of another filesystem";
        return Some(Hazard::ExternalJournal(which.to_owned()));
    }
    let is_elsewhere = status.journal_device != 0 || status.journal_uuid != [0; 16];
    let is_external =
        status.features.has_journal() && status.journal_inode == Ino(0) && is_elsewhere;
    is_external.then(|| {
        let uuid = uuid::Uuid::from_bytes(status.journal_uuid);
        Hazard::ExternalJournal(format!("device {:#x}, UUID {uuid}", status.journal_device))
    })
}

/// What the journal and the multiple-mount block say against copying by the bitmaps.
///
/// # Errors
/// [`Error::Io`] when the device fails.
pub(super) fn observed(
    superblock: &Superblock,
    status: &Status,
    device: &dyn ReadAt,
) -> Result<Vec<Hazard>> {
    let has_journal = superblock.features.has_journal() && external_journal(status).is_none();
    let has_mmp = superblock.features.has_incompat(feature::INCOMPAT_MMP);
    let mut hazards = Vec::new();
    if has_journal {
        hazards.extend(judged(journal::hazard(
            superblock,
            status.journal_inode,
            device,
        ))?);
    }
    if has_mmp {
        hazards.extend(judged(mmp(superblock, status.mmp_block, device))?);
    }
    Ok(hazards)
}

fn judged(found: Result<Option<Hazard>>) -> Result<Option<Hazard>> {
    match found {
        Err(Error::Corrupt(corrupt)) => Ok(Some(Hazard::Damaged(corrupt.to_string()))),
        other => other,
    }
}

/// The multiple-mount protection block (`struct mmp_struct`): which host uses the volume.
fn mmp(superblock: &Superblock, block: Block, device: &dyn ReadAt) -> Result<Option<Hazard>> {
    let Some(extent) = superblock.pointed(block, 1) else {
        let expected = format!("a block below {}", superblock.blocks);
        return Err(corrupt("s_mmp_block", expected, block).into());
    };
    let offset_bytes = extent.offset_bytes();
    let raw = read_vec(device, offset_bytes, 1024)?;
    let bad = |field, expected: u32, found: u32| {
        let (expected, found) = (format!("{expected:#x}"), format!("{found:#x}"));
        Err(Corrupt::new("MMP block", field, offset_bytes, expected, found).into())
    };
    let mmp_magic = le32(&raw, 0);
    let mmp_seq = le32(&raw, 4);
    if mmp_magic != MMP_MAGIC {
        return bad("mmp_magic", MMP_MAGIC, mmp_magic);
    }
    if superblock.features.has_metadata_csum() {
        let mmp_checksum = le32(&raw, 0x3fc);
        let covered = raw.get(..0x3fc).unwrap_or_default();
        let computed = crc32c(superblock.checksum_seed, covered);
        if mmp_checksum != computed {
            return bad("mmp_checksum", computed, mmp_checksum);
        }
    }
    let how = format!("mmp_seq {mmp_seq:#x}: mounted or being checked by some host");
    Ok((mmp_seq != MMP_CLEAN).then_some(Hazard::NotCleanlyUnmounted(how)))
}
