//! An inode: what it is, and where it says that its blocks are.
//!
//! XFS Algorithms & Data Structures, "Inode Core": `xfs_dinode`:
//! <https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf>.

use super::address::Ino;
use super::checksum;
use super::superblock::Superblock;
use crate::bytes::{be16, be32, be64, u8_at};
use crate::error::{Checked, Corrupt};
use crate::filesystem::files::{Changes, FileKind, Stamp};
use std::fmt::Display;

const MAGIC: u16 = u16::from_be_bytes(*b"IN");
/// Size of the core, after which the data fork begins, in versions 4 and 5 of the filesystem.
const CORE_LEN: [usize; 2] = [100, 176];
/// `S_IFMT`, `S_IFREG` and `S_IFDIR` of `di_mode`.
const MODE_TYPE: u16 = 0o170_000;
const MODE_REGULAR: u16 = 0o100_000;
const MODE_DIRECTORY: u16 = 0o040_000;
/// `XFS_DIFLAG_REALTIME` of `di_flags`.
const FLAG_REALTIME: u16 = 0x1;
/// `XFS_DIFLAG_IMMUTABLE` of `di_flags`.
const FLAG_IMMUTABLE: u16 = 0x8;
/// `XFS_DIFLAG2_BIGTIME` of `di_flags2`.
const FLAG2_BIGTIME: u64 = 0x8;
/// `XFS_DIFLAG2_NREXT64` of `di_flags2`.
const FLAG2_WIDE_COUNTERS: u64 = 0x10;
const NANOSECONDS: u64 = 1_000_000_000;

/// An inode in use.
pub(super) struct Inode<'a> {
    pub(super) number: Ino,
    pub(super) offset_bytes: u64,
    pub(super) kind: FileKind,
    /// Whether its contents are on the realtime device.
    pub(super) is_realtime: bool,
    /// Whether the file must not be changed.
    pub(super) is_immutable: bool,
    pub(super) changed: Stamp,
    /// `di_changecount`, with `di_atime`, whose updates count.
    pub(super) changes: Option<Changes>,
    pub(super) size_bytes: u64,
    /// The data fork: contents of a file, entries of a directory, a symbolic link's target.
    pub(super) data: Fork<'a>,
    /// The fork of extended attributes; empty when there is none.
    pub(super) attributes: Fork<'a>,
    /// The inode as it lies on the disk.
    pub(super) raw: &'a [u8],
}

/// What an inode says of the blocks of its data, or of its attributes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fork<'a> {
    /// `di_format` or `di_aformat`: in which form it is stored.
    pub(super) format: u8,
    /// How many extents it has.
    pub(super) extents: u64,
    pub(super) raw: &'a [u8],
}

impl<'a> Inode<'a> {
    /// Checks and parses the inode in `raw`, which is as long as the filesystem's inodes are.
    pub(super) fn parse(
        superblock: &Superblock,
        number: Ino,
        offset_bytes: u64,
        raw: &'a [u8],
    ) -> Checked<Self> {
        let is_v5 = superblock.features.is_v5();
        let di_mode = be16(raw, 2);
        let di_format = u8_at(raw, 5);
        let di_big_nextents = be64(raw, 24);
        let di_size = be64(raw, 56);
        let di_nextents = be32(raw, 76);
        let di_anextents = be16(raw, 80);
        let di_forkoff = usize::from(u8_at(raw, 82));
        let di_aformat = u8_at(raw, 83);
        let di_flags = be16(raw, 90);
        let di_atime = raw.get(32..).and_then(<[u8]>::first_chunk);
        // The fields from here on are of version 3 of the inode, which version 5 has.
        let di_changecount = is_v5.then(|| be64(raw, 104));
        let di_flags2 = if is_v5 { be64(raw, 120) } else { 0 };
        check_identity(superblock, number, offset_bytes, raw)?;
        let [v4, v5] = CORE_LEN;
        let core_len = if is_v5 { v5 } else { v4 };
        // The data fork ends at the attribute fork, if there is one.
        let fork_offset = match di_forkoff {
            0 => raw.len(),
            words => words * 8 + core_len,
        };
        let Some((before, attributes)) = raw.split_at_checked(fork_offset) else {
            let expected = "an attribute fork in the inode";
            return Err(corrupt(offset_bytes, "di_forkoff", expected, fork_offset));
        };
        let (extents, attribute_extents) = if di_flags2 & FLAG2_WIDE_COUNTERS != 0 {
            (di_big_nextents, di_nextents.into())
        } else {
            (di_nextents.into(), di_anextents.into())
        };
        Ok(Self {
            number,
            offset_bytes,
            kind: match di_mode & MODE_TYPE {
                MODE_REGULAR => FileKind::Regular,
                MODE_DIRECTORY => FileKind::Directory,
                _ => FileKind::Other,
            },
            is_realtime: di_flags & FLAG_REALTIME != 0,
            is_immutable: di_flags & FLAG_IMMUTABLE != 0,
            changed: changed(raw, di_flags2),
            changes: di_changecount
                .zip(di_atime)
                .map(|(count, accessed)| Changes {
                    count,
                    accessed: *accessed,
                }),
            size_bytes: di_size,
            data: Fork {
                format: di_format,
                extents,
                raw: before.get(core_len..).unwrap_or_default(),
            },
            attributes: Fork {
                format: di_aformat,
                extents: attribute_extents,
                raw: attributes,
            },
            raw,
        })
    }

    /// Says that a field of this inode is not as it must be.
    pub(super) fn corrupt(
        &self,
        field: &'static str,
        expected: impl Display,
        found: impl Display,
    ) -> Corrupt {
        corrupt(self.offset_bytes, field, expected, found)
    }
}

fn corrupt(
    offset_bytes: u64,
    field: &'static str,
    expected: impl Display,
    found: impl Display,
) -> Corrupt {
    Corrupt::new("XFS inode", field, offset_bytes, expected, found)
}

/// Checks what an inode says of itself.
fn check_identity(superblock: &Superblock, number: Ino, offset_bytes: u64, raw: &[u8]) -> Checked {
    let di_magic = be16(raw, 0);
    if di_magic != MAGIC {
        let expected = format_args!("{MAGIC:#x}");
        return Err(corrupt(offset_bytes, "di_magic", expected, di_magic));
    }
    if !superblock.features.is_v5() {
        return Ok(());
    }
    checksum::check("XFS inode", offset_bytes, raw, 100)?;
    let di_ino = Ino(be64(raw, 152));
    if di_ino == number {
        return Ok(());
    }
    Err(corrupt(offset_bytes, "di_ino", number, di_ino))
}

/// `di_ctime`: seconds and nanoseconds. With "bigtime" it is nanoseconds since the earliest moment
/// of the other form.
fn changed(raw: &[u8], di_flags2: u64) -> Stamp {
    if di_flags2 & FLAG2_BIGTIME == 0 {
        let (seconds, nanoseconds) = (be32(raw, 48), be32(raw, 52));
        return Stamp {
            seconds: seconds.cast_signed().into(),
            nanoseconds,
        };
    }
    // Of 64 bits of nanoseconds, the seconds are 35 bits and the rest 30.
    let nanoseconds = be64(raw, 48);
    Stamp {
        seconds: (nanoseconds / NANOSECONDS).cast_signed() + i64::from(i32::MIN),
        nanoseconds: (nanoseconds % NANOSECONDS) as u32,
    }
}
