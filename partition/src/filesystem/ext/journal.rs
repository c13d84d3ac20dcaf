//! The journal inside of the filesystem: whether it is empty, and where what it doesn't need then lies.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", section "Journal (jbd2)":
//! `journal_superblock_t`. It is big-endian: <https://docs.kernel.org/filesystems/ext4/index.html>.

mod form;
mod log;
mod recovery;
mod replay;

pub(super) use replay::replay;

use super::address::{Ino, LogBlock};
use super::bitmap;
use super::blockmap::{BlockMaps, Run};
use super::checksum::crc32c;
use super::inode::{FileType, Inode};
use super::superblock::Superblock;
use crate::bytes::be32;
use crate::device::{ReadAt, read_vec};
use crate::error::{Checked, Corrupt, Result};
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::Hazard;
use crate::filesystem::gather::Gather;

/// `JBD2_MAGIC_NUMBER`
const MAGIC: u32 = 0xc03b_3998;
/// `JBD2_SUPERBLOCK_V1`, which has no features, and `JBD2_SUPERBLOCK_V2`.
const TYPES: [u32; 2] = [3, 4];
/// `JBD2_FEATURE_COMPAT_CHECKSUM`
const COMPAT_CHECKSUM: u32 = 0x1;
/// `JBD2_FEATURE_INCOMPAT_REVOKE`
const INCOMPAT_REVOKE: u32 = 0x1;
/// `JBD2_FEATURE_INCOMPAT_64BIT`
const INCOMPAT_64BIT: u32 = 0x2;
/// `JBD2_FEATURE_INCOMPAT_ASYNC_COMMIT`
const INCOMPAT_ASYNC_COMMIT: u32 = 0x4;
/// `JBD2_FEATURE_INCOMPAT_CSUM_V2`
const INCOMPAT_CSUM_V2: u32 = 0x8;
/// `JBD2_FEATURE_INCOMPAT_CSUM_V3`
const INCOMPAT_CSUM_V3: u32 = 0x10;
/// `JBD2_FEATURE_INCOMPAT_FAST_COMMIT`
const INCOMPAT_FAST_COMMIT: u32 = 0x20;
const CHECKSUMS: u32 = INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3;
/// What is known of `s_feature_incompat`.
const INCOMPAT_KNOWN: u32 =
    CHECKSUMS | INCOMPAT_REVOKE | INCOMPAT_64BIT | INCOMPAT_ASYNC_COMMIT | INCOMPAT_FAST_COMMIT;

/// `s_start` of a log that has nothing.
const EMPTY: LogBlock = LogBlock(0);

/// What a journal is written with; version 1 has none of it.
#[derive(Clone, Copy, Debug, Default)]
struct Features {
    /// `s_feature_compat`
    compat: u32,
    /// `s_feature_incompat`
    incompat: u32,
}

/// The journal's inode and its own superblock.
struct Journal {
    inode: Inode,
    /// Where its superblock lies.
    offset_bytes: u64,
    /// Its superblock, as it is.
    raw: Vec<u8>,
    features: Features,
    has_unknown_features: bool,
    /// `s_sequence`: the number of the first transaction of the log.
    sequence: u32,
    /// `s_first`: first block of the log within the file.
    first: LogBlock,
    /// `s_maxlen`: its end within the file, blocks of fast commits included.
    end: LogBlock,
    /// `s_start`: where the log begins; 0 when it is empty.
    start: LogBlock,
    /// `s_errno`
    error: u32,
}

impl Journal {
    /// # Errors
    /// [`crate::Error::Corrupt`] when the inode is no file, or its first block no superblock of jbd2.
    fn read(superblock: &Superblock, number: Ino, device: &dyn ReadAt) -> Result<Self> {
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
        check(&raw, superblock.block_bytes, offset_bytes)?;
        let h_blocktype = be32(&raw, 0x4);
        let is_version_2 = h_blocktype == 4;
        let s_feature_compat = be32(&raw, 0x24);
        let s_feature_incompat = be32(&raw, 0x28);
        let s_feature_ro_compat = be32(&raw, 0x2c);
        let unknown = s_feature_incompat & !INCOMPAT_KNOWN | s_feature_ro_compat;
        Ok(Self {
            inode,
            offset_bytes,
            features: match is_version_2 {
                true => Features {
                    compat: s_feature_compat,
                    incompat: s_feature_incompat,
                },
                false => Features::default(),
            },
            has_unknown_features: is_version_2 && unknown != 0,
            sequence: be32(&raw, 0x18),
            end: LogBlock(be32(&raw, 0x10)),
            first: LogBlock(be32(&raw, 0x14)),
            start: LogBlock(be32(&raw, 0x1c)),
            error: be32(&raw, 0x20),
            raw,
        })
    }

    /// Whether a block of the file is one of the log.
    fn body(&self, run: &Run, block_bytes: u64) -> Option<Extent> {
        let blocks = |count: u64| count.saturating_mul(block_bytes);
        let at = run.file_block?;
        let start_bytes = run.extent.offset_bytes();
        let skipped_bytes = blocks(u64::from(self.first.0).saturating_sub(at));
        let reach_bytes = blocks(u64::from(self.end.0).saturating_sub(at));
        let end_bytes = start_bytes.saturating_add(reach_bytes);
        Extent::between(
            start_bytes.saturating_add(skipped_bytes),
            end_bytes.min(run.extent.end_bytes()),
        )
    }
}

/// What the journal says against copying by the bitmaps.
///
/// With `s_start` 0 the log is empty. So are its fast commits, which are replayed only after a log
/// that isn't empty.
///
/// # Errors
/// [`crate::Error::Corrupt`] when it is damaged; [`crate::Error::Io`] when the device fails.
pub(super) fn hazard(
    superblock: &Superblock,
    number: Ino,
    device: &dyn ReadAt,
) -> Result<Option<Hazard>> {
    let journal = Journal::read(superblock, number, device)?;
    let (s_start, s_errno) = (journal.start, journal.error);
    if s_start != EMPTY {
        let how = format!(
            "the journal has transactions from block {s_start} on; mount and unmount it once"
        );
        return Ok(Some(Hazard::NeedsRecovery(how)));
    }
    let how = format!("the journal was aborted with error {s_errno}; run e2fsck");
    Ok((s_errno != 0).then_some(Hazard::Errors(how)))
}

/// The log of an empty journal, blocks of fast commits included: all but its superblock.
///
/// Nobody reads what an empty log holds. But once it is used again, a recovery ends at the first block
/// that doesn't have the next sequence number, and what is left of earlier transactions must not have
/// it. In the filesystem's own journal these have lower numbers. Zeroes have none; `mke2fs` writes
/// them. The log of another time would not do, though it be of the same filesystem: its checksums are
/// right there, and its numbers may be the next ones.
///
/// A file that claims a block of the log is not looked for: the kernel does not read such a block as a
/// file's (`block_validity`), and overwrites it when it logs.
///
/// None where anything about the journal is unusual, or where the log and a structure of the format
/// share a block.
///
/// # Errors
/// [`crate::Error::Corrupt`] when the journal is damaged; [`crate::Error::Io`] when the device fails.
pub(super) fn empty_log(superblock: &Superblock, device: &dyn ReadAt) -> Result<ExtentMap> {
    let [number, ..] = superblock.internal_inodes;
    if !superblock.features.has_journal() || number == Ino(0) {
        return Ok(ExtentMap::new());
    }
    let journal = Journal::read(superblock, number, device)?;
    let is_usual = journal.start == EMPTY && journal.error == 0 && !journal.has_unknown_features;
    if !is_usual || journal.first == LogBlock(0) || journal.end <= journal.first {
        return Ok(ExtentMap::new());
    }
    let block_bytes = u64::from(superblock.block_bytes);
    let (mut log, mut rest) = (Gather::new(), Gather::new());
    let is_all = BlockMaps::new(superblock, device).visit(&journal.inode, &mut |run| {
        let body = journal.body(&run, block_bytes);
        let others = ExtentMap::from(run.extent).difference(&body.into_iter().collect());
        let is_room = others.iter().all(|extent| rest.push(extent));
        is_room && body.is_none_or(|body| log.push(body)) && run.is_written
    })?;
    let (Some(log), Some(rest)) = (log.finish(), rest.finish()) else {
        return Ok(ExtentMap::new());
    };
    let rest = rest.union(&bitmap::structures(superblock, device)?);
    let log_blocks = u64::from(journal.end.0 - journal.first.0);
    // Blocks that are missing, or there twice, make it less.
    let is_whole = log.total_bytes() == log_blocks.saturating_mul(block_bytes);
    let is_sound = is_all && is_whole && log.intersection(&rest).is_empty();
    Ok(if is_sound { log } else { ExtentMap::new() })
}

fn check(raw: &[u8], block_bytes: u32, offset_bytes: u64) -> Checked {
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
    if h_magic != MAGIC {
        return bad("h_magic", format!("{MAGIC:#x}"), h_magic);
    }
    if !TYPES.contains(&h_blocktype) {
        return bad("h_blocktype", "3 or 4".to_owned(), h_blocktype);
    }
    if s_blocksize != block_bytes {
        return bad("s_blocksize", format!("{block_bytes:#x}"), s_blocksize);
    }
    let s_feature_incompat = be32(raw, 0x28);
    if h_blocktype == 4 && s_feature_incompat & CHECKSUMS != 0 {
        let s_checksum = be32(raw, 0xfc);
        let computed = checksum(raw);
        if s_checksum != computed {
            return bad("s_checksum", format!("{computed:#x}"), s_checksum);
        }
    }
    Ok(())
}

/// What `s_checksum` of a superblock of jbd2 has to be.
fn checksum(raw: &[u8]) -> u32 {
    let before = crc32c(!0, raw.get(..0xfc).unwrap_or_default());
    let after = raw.get(0x100..).unwrap_or_default();
    crc32c(crc32c(before, &[0; 4]), after)
}

#[cfg(test)]
mod tests;
