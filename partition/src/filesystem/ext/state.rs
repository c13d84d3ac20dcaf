//! Whether the bitmaps can be believed: state flags, journal, multiple-mount protection.

use super::blockmap::BlockMaps;
use super::checksum::crc32c;
use super::feature;
use super::inode::{FileType, Inode};
use super::status::Status;
use super::superblock::{Checked, Superblock, corrupt};
use crate::bytes::{be32, le32};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Error, Result};
use crate::filesystem::Hazard;

const STATE_VALID: u16 = 1;
const STATE_ERROR: u16 = 2;

const JOURNAL_MAGIC: u32 = 0xc03b_3998;
/// `JBD2_FEATURE_INCOMPAT_CSUM_V2 | JBD2_FEATURE_INCOMPAT_CSUM_V3`
const JOURNAL_CHECKSUMS: u32 = 0x8 | 0x10;

const MMP_MAGIC: u32 = 0x004d_4d50;
const MMP_CLEAN: u32 = 0xff4d_4d50;

/// What the superblock alone says against copying by the bitmaps.
///
/// A list of orphaned inodes (`s_last_orphan`, `orphan_present`) is no hazard where there is a
/// journal: their blocks stay marked in the bitmaps until the transaction that takes them off
/// the list, so a copy has all of them and cleans up at its first mount as the original would.
/// Without a journal nothing orders the two.
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
    if status.last_orphan != 0 && !status.features.has_journal() {
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
    let is_external = status.features.has_journal() && status.journal_inode == 0 && is_elsewhere;
    is_external.then(|| {
        let uuid = uuid::Uuid::from_bytes(status.journal_uuid);
        Hazard::ExternalJournal(format!("device {:#x}, UUID {uuid}", status.journal_device))
    })
}

/// What journal and multiple-mount block say against copying by the bitmaps.
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

/// The journal's own superblock (`journal_superblock_t`, jbd2), big-endian.
///
/// With `s_start` 0 the log is empty, fast commits included: they are replayed only after a log
/// that isn't.
fn journal(superblock: &Superblock, number: u32, device: &dyn ReadAt) -> Result<Option<Hazard>> {
    let inode = Inode::read(superblock, device, number)?;
    if inode.file_type != FileType::Regular {
        let found = format!("{:?}", inode.file_type);
        return Err(inode
            .corrupt("i_mode", "a regular file, the journal", found)
            .into());
    }
    let Some(block) = BlockMaps::new(superblock, device).first_block(&inode)? else {
        return Err(inode
            .corrupt("i_block", "the journal's first block", "nothing")
            .into());
    };
    let offset_bytes = superblock.byte(block);
    let raw = read_vec(device, offset_bytes, 1024)?;
    check_journal(&raw, superblock.block_bytes, offset_bytes)?;
    let (start, errno) = (be32(&raw, 0x1c), be32(&raw, 0x20));
    if start != 0 {
        let how = format!("the journal has transactions from block {start} on");
        return Ok(Some(Hazard::NeedsRecovery(format!(
            "{how}; mount and unmount it once"
        ))));
    }
    let how = format!("the journal was aborted with error {errno}; run e2fsck");
    Ok((errno != 0).then_some(Hazard::Errors(how)))
}

fn check_journal(raw: &[u8], block_bytes: u32, offset_bytes: u64) -> Checked {
    let bad = |field, expected: String, found: u32| {
        let found = format!("{found:#x}");
        Err(Corrupt::new(
            "jbd2 superblock",
            field,
            offset_bytes,
            expected,
            found,
        ))
    };
    let (magic, block_type, block_size) = (be32(raw, 0), be32(raw, 4), be32(raw, 0xc));
    if magic != JOURNAL_MAGIC {
        return bad("h_magic", format!("{JOURNAL_MAGIC:#x}"), magic);
    }
    if block_type != 3 && block_type != 4 {
        return bad("h_blocktype", "3 or 4".to_owned(), block_type);
    }
    if block_size != block_bytes {
        return bad("s_blocksize", format!("{block_bytes:#x}"), block_size);
    }
    if block_type == 4 && be32(raw, 0x28) & JOURNAL_CHECKSUMS != 0 {
        let stored = be32(raw, 0xfc);
        let before = crc32c(!0, raw.get(..0xfc).unwrap_or_default());
        let computed = crc32c(
            crc32c(before, &[0; 4]),
            raw.get(0x100..).unwrap_or_default(),
        );
        if stored != computed {
            return bad("s_checksum", format!("{computed:#x}"), stored);
        }
    }
    Ok(())
}

/// The multiple-mount protection block (`struct mmp_struct`): which host uses the volume.
fn mmp(superblock: &Superblock, block: u64, device: &dyn ReadAt) -> Result<Option<Hazard>> {
    if block <= superblock.first_data_block || block >= superblock.blocks {
        let expected = format!("a block below {}", superblock.blocks);
        return Err(corrupt("s_mmp_block", expected, block).into());
    }
    let offset_bytes = superblock.byte(block);
    let raw = read_vec(device, offset_bytes, 1024)?;
    let bad = |field, expected: u32, found: u32| {
        let (expected, found) = (format!("{expected:#x}"), format!("{found:#x}"));
        Err(Corrupt::new("MMP block", field, offset_bytes, expected, found).into())
    };
    let (magic, sequence) = (le32(&raw, 0), le32(&raw, 4));
    if magic != MMP_MAGIC {
        return bad("mmp_magic", MMP_MAGIC, magic);
    }
    if superblock.features.has_metadata_csum() {
        let computed = crc32c(
            superblock.checksum_seed,
            raw.get(..0x3fc).unwrap_or_default(),
        );
        let stored = le32(&raw, 0x3fc);
        if stored != computed {
            return bad("mmp_checksum", computed, stored);
        }
    }
    let how = format!("mmp_seq {sequence:#x}: mounted or being checked by some host");
    Ok((sequence != MMP_CLEAN).then_some(Hazard::NotCleanlyUnmounted(how)))
}
