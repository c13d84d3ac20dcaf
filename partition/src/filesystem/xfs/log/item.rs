//! Items of the log: whether what a recovery would write of one is in its place already.
//!
//! `fs/xfs/xfs_buf_item_recover.c` and `fs/xfs/xfs_inode_item_recover.c` of Linux; `struct
//! xfs_buf_log_format`, `xfs_inode_log_format` and `xfs_log_dinode` in `fs/xfs/libxfs/xfs_log_format.h`.

use crate::bytes::{be16, be64, le16, le32, le64, u8_at};
use crate::device::{ReadAt, read_vec};
use crate::error::Result;
use crate::filesystem::xfs::superblock::Superblock;
use std::cmp::Ordering;

/// `XFS_LI_BUF` and `XFS_LI_INODE`: the type of an item.
const BUFFER: u16 = 0x123c;
const INODE: u16 = 0x123b;
/// Least length of a `struct xfs_buf_log_format`, and that of a `struct xfs_inode_log_format`.
const BUFFER_FORMAT_LEN: usize = 24;
const INODE_FORMAT_LEN: usize = 56;
/// `XFS_BLF_CANCEL` of `blf_flags`.
const CANCEL: u16 = 2;
/// `XFS_BLF_CHUNK`: what a bit of `blf_data_map` stands for.
const BUFFER_CHUNK_LEN: usize = 128;
/// `XFS_ILOG_CORE` of `ilf_fields`.
const CORE: u32 = 1;
/// `XFS_DINODE_MAGIC`
const INODE_MAGIC: u16 = u16::from_be_bytes(*b"IN");
/// `struct xfs_dinode` of version 3, and what of it lies before the fields of that version.
const CORE_LEN: usize = 176;
const OLD_CORE_LEN: usize = 96;
/// `XFS_DIFLAG2_BIGTIME` of `di_flags2`.
const FLAG2_BIGTIME: u64 = 0x8;

/// Whether the item of these regions is the superblock, or says of something else what is there. `lsn` is
/// that of its transaction.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(super) fn is_in_place(
    superblock: &Superblock,
    device: &dyn ReadAt,
    lsn: u64,
    regions: &[Vec<u8>],
) -> Result<bool> {
    let Some((format, held)) = regions.split_first() else {
        return Ok(false);
    };
    match (le16(format, 0), held) {
        (BUFFER, [first, ..]) => {
            Ok(is_superblock(superblock, format) && has_geometry(device, format, first)?)
        }
        (INODE, [core]) => match place(superblock, device, format) {
            Some(offset_bytes) => {
                let there = read_vec(device, offset_bytes, CORE_LEN)?;
                Ok(is_inode_in_place(superblock, lsn, core, &there))
            }
            None => Ok(false),
        },
        _ => Ok(false),
    }
}

/// Whether a buffer is the superblock's sector.
fn is_superblock(superblock: &Superblock, format: &[u8]) -> bool {
    if format.len() < BUFFER_FORMAT_LEN {
        return false;
    }
    let blf_flags = le16(format, 4);
    let blf_len = u32::from(le16(format, 6));
    let blf_blkno = le64(format, 8);
    blf_blkno == 0 && blf_flags & CANCEL == 0 && blf_len == superblock.sector_bytes / 512
}

/// Whether a logged superblock has the sizes, groups and features that are there. They are in its first
/// chunk; behind it are counters, which say nothing of what is in use. A filesystem that was grown has the new
/// groups in its place already, and for a while only the log knows of them.
fn has_geometry(device: &dyn ReadAt, format: &[u8], first: &[u8]) -> Result<bool> {
    let blf_data_map = le32(format, 20);
    if blf_data_map & 1 == 0 {
        return Ok(true);
    }
    let there = read_vec(device, 0, BUFFER_CHUNK_LEN)?;
    Ok(first.get(..BUFFER_CHUNK_LEN) == Some(&there[..]))
}

/// Where an inode lies whose core alone is logged.
fn place(superblock: &Superblock, device: &dyn ReadAt, format: &[u8]) -> Option<u64> {
    if format.len() != INODE_FORMAT_LEN || le32(format, 4) != CORE {
        return None;
    }
    let ilf_blkno = le64(format, 40);
    let ilf_boffset = le32(format, 52);
    let offset_bytes = ilf_blkno
        .checked_mul(512)?
        .checked_add(ilf_boffset.into())?;
    let end_bytes = offset_bytes.checked_add(superblock.inode_bytes.into())?;
    let is_inside = end_bytes <= device.geometry().size_bytes;
    (is_inside && offset_bytes.is_multiple_of(superblock.inode_bytes.into()))
        .then_some(offset_bytes)
}

/// Whether a recovery would leave the inode as it is `there`: because it is newer than what was logged, or
/// because it is just that.
fn is_inode_in_place(superblock: &Superblock, lsn: u64, core: &[u8], there: &[u8]) -> bool {
    let di_magic = be16(there, 0);
    let di_version = u8_at(there, 4);
    if di_magic != INODE_MAGIC {
        return false;
    }
    if !superblock.features.is_v5() {
        return core.len() >= OLD_CORE_LEN && is_flushed_later(core, there);
    }
    let Ok(logged) = <&[u8; CORE_LEN]>::try_from(core) else {
        return false;
    };
    let di_lsn = be64(there, 112);
    match di_lsn.cmp(&lsn) {
        Ordering::Greater => di_version >= 3 && di_lsn != u64::MAX,
        Ordering::Equal => di_version >= 3 && on_disk(logged, there) == there,
        Ordering::Less => false,
    }
}

/// Versions before 5 count how often an inode was written back (`di_flushiter`), up to `DI_MAX_FLUSH`.
fn is_flushed_later(core: &[u8], there: &[u8]) -> bool {
    let (logged, flushed) = (le16(core, 30), be16(there, 30));
    let has_begun_again = flushed == u16::MAX && logged < u16::MAX >> 1;
    logged < flushed && !has_begun_again
}

/// A core as a recovery writes it: the log has it in the byte order of the machine. The place in the list
/// of removed inodes (`di_next_unlinked`) stays as it is `there`, the checksum follows from all else, and
/// the LSN is that of the transaction.
fn on_disk(logged: &[u8; CORE_LEN], there: &[u8]) -> Vec<u8> {
    // A stamp is one number, or seconds and nanoseconds.
    let stamp = match le64(logged, 120) & FLAG2_BIGTIME {
        0 => 4,
        _ => 8,
    };
    // How long the fields are, and how many there are of that length, up to `di_uuid`, which is bytes.
    let before_stamps = [(2, 2), (1, 2), (2, 1), (4, 3), (2, 2), (8, 1)];
    let stamps = [(stamp, 24 / stamp)];
    let up_to_checksum = [(8, 2), (4, 2), (2, 1), (1, 2), (4, 1), (2, 2), (4, 3)];
    let of_version_3 = [(8, 3), (4, 4), (stamp, 8 / stamp), (8, 1)];
    let fields = [&before_stamps[..], &stamps, &up_to_checksum, &of_version_3].concat();
    let mut raw = logged.to_vec();
    let mut at = 0;
    for (len, count) in fields {
        let part = raw.get_mut(at..at + len * count).unwrap_or_default();
        part.chunks_exact_mut(len).for_each(<[u8]>::reverse);
        at += len * count;
    }
    for kept in [96..104, 112..120] {
        let (to, from) = (raw.get_mut(kept.clone()), there.get(kept));
        if let (Some(to), Some(from)) = (to, from) {
            to.copy_from_slice(from);
        }
    }
    raw
}
