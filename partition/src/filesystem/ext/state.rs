//! Whether the bitmaps can be believed: state flags, journal, multiple-mount protection.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", sections "Super Block", "Journal
//! (jbd2)" and "Multiple Mount Protection":
//! <https://docs.kernel.org/filesystems/ext4/index.html>.

use super::address::{Block, Ino};
use super::blockmap::BlockMaps;
use super::checksum::crc32c;
use super::feature;
use super::inode::{FileType, Inode};
use super::status::Status;
use super::superblock::{Superblock, corrupt};
use crate::bytes::{be32, le32};
use crate::device::{ReadAt, read_vec};
use crate::error::{Checked, Corrupt, Error, Result};
use crate::filesystem::Hazard;

/// `EXT4_VALID_FS`
const STATE_VALID: u16 = 1;
/// `EXT4_ERROR_FS`
const STATE_ERROR: u16 = 2;

/// `JBD2_MAGIC_NUMBER`
const JOURNAL_MAGIC: u32 = 0xc03b_3998;
/// `JBD2_FEATURE_INCOMPAT_CSUM_V2 | JBD2_FEATURE_INCOMPAT_CSUM_V3`
const JOURNAL_CHECKSUMS: u32 = 0x8 | 0x10;

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
        hazards.extend(judged(journal(superblock, status.journal_inode, device))?);
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

/// The journal's own superblock (`journal_superblock_t` of jbd2). It is big-endian.
///
/// With `s_start` 0 the log is empty. So are its fast commits, which are replayed only after a log
/// that isn't empty.
fn journal(superblock: &Superblock, number: Ino, device: &dyn ReadAt) -> Result<Option<Hazard>> {
    let inode = Inode::read(superblock, device, number)?;
    if inode.file_type != FileType::Regular {
        let expected = "a regular file, the journal";
        let found = format!("{:?}", inode.file_type);
        return Err(inode.corrupt("i_mode", expected, found).into());
    }
    let Some(first) = BlockMaps::new(superblock, device).first_block(&inode)? else {
        let expected = "the journal's first block";
        return Err(inode.corrupt("i_block", expected, "nothing").into());
    };
    let offset_bytes = first.offset_bytes();
    let raw = read_vec(device, offset_bytes, 1024)?;
    check_journal(&raw, superblock.block_bytes, offset_bytes)?;
    let s_start = be32(&raw, 0x1c);
    let s_errno = be32(&raw, 0x20);
    if s_start != 0 {
        let how = format!(
            "the journal has transactions from block {s_start} on; mount and unmount it once"
        );
        return Ok(Some(Hazard::NeedsRecovery(how)));
    }
    let how = format!("the journal was aborted with error {s_errno}; run e2fsck");
    Ok((s_errno != 0).then_some(Hazard::Errors(how)))
}

fn check_journal(raw: &[u8], block_bytes: u32, offset_bytes: u64) -> Checked {
    let bad = |field, expected: String, found: u32| {
        let found = format!("{found:#x}");
        let structure = "jbd2 superblock";
        Err(Corrupt::new(
            structure,
            field,
            offset_bytes,
            expected,
            found,
        ))
    };
    let h_magic = be32(raw, 0x0);
    let h_blocktype = be32(raw, 0x4);
    let s_blocksize = be32(raw, 0xc);
    if h_magic != JOURNAL_MAGIC {
        return bad("h_magic", format!("{JOURNAL_MAGIC:#x}"), h_magic);
    }
    if h_blocktype != 3 && h_blocktype != 4 {
        return bad("h_blocktype", "3 or 4".to_owned(), h_blocktype);
    }
    if s_blocksize != block_bytes {
        return bad("s_blocksize", format!("{block_bytes:#x}"), s_blocksize);
    }
    // Version 1 of the superblock, block type 3, has no features.
    let s_feature_incompat = be32(raw, 0x28);
    if h_blocktype == 4 && s_feature_incompat & JOURNAL_CHECKSUMS != 0 {
        let s_checksum = be32(raw, 0xfc);
        let before = crc32c(!0, raw.get(..0xfc).unwrap_or_default());
        let after = raw.get(0x100..).unwrap_or_default();
        let computed = crc32c(crc32c(before, &[0; 4]), after);
        if s_checksum != computed {
            return bad("s_checksum", format!("{computed:#x}"), s_checksum);
        }
    }
    Ok(())
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
