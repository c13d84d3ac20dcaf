//! Inodes in use, from each group's tree of inode chunks.
//!
//! XFS Algorithms & Data Structures, "AG Inode B+trees" and "Inode Core".

use super::btree::{Shape, Tree};
use super::checksum;
use super::group::Group;
use super::superblock::Superblock;
use crate::bytes::{be16, be32, be64, u8_at};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use crate::filesystem::files::{Changes, Stamp};
use crate::filesystem::owners::Gaps;

static SHAPE: Shape = Shape {
    structure: "XFS inode btree block",
    magic: [*b"IABT", *b"IAB3"],
    record_len: 16,
    key_len: 4,
};

/// `XFS_INODES_PER_CHUNK`
const CHUNK: u32 = 64;
const MAGIC: u16 = u16::from_be_bytes(*b"IN");
const MODE_TYPE: u16 = 0o170_000;
const MODE_REGULAR: u16 = 0o100_000;
const MODE_DIRECTORY: u16 = 0o040_000;
/// `XFS_DIFLAG_IMMUTABLE`
const FLAG_IMMUTABLE: u16 = 0x8;
/// `XFS_DIFLAG2_BIGTIME`
const FLAG2_BIGTIME: u64 = 0x8;
const NANOSECONDS: u64 = 1_000_000_000;
/// `XFS_DIFLAG2_NREXT64`
const FLAG2_WIDE_COUNTERS: u64 = 0x10;

/// An inode as it lies on the disk.
pub(super) struct Inode {
    pub(super) number: u64,
    pub(super) offset_bytes: u64,
    raw: Vec<u8>,
    core_len: usize,
}

/// What an inode says of the blocks of its data, or of its attributes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fork<'a> {
    /// `di_format`: how it does.
    pub(super) format: u8,
    /// How many extents it has.
    pub(super) extents: u64,
    pub(super) raw: &'a [u8],
}

/// Told of each inode, or of what is wrong with it.
pub(super) type Visit<'a> = dyn FnMut(Result<Inode>) -> Result<()> + 'a;

/// Visits every inode in use of a group. With `gaps`, blocks of its tree that fail a check are
/// noted and left out.
pub(super) fn inodes(
    superblock: &Superblock,
    device: &dyn ReadAt,
    (group, gaps): (&Group, Option<&Gaps>),
    visit: &mut Visit<'_>,
) -> Result<()> {
    let tree = Tree {
        superblock,
        device,
        group,
        shape: &SHAPE,
        root: group.inode_root,
        levels: group.inode_levels,
        gaps,
    };
    let mut next = 0;
    tree.records(&mut |record, block_bytes| {
        let start = be32(record, 0);
        let is_valid = start >= next && start <= u32::MAX.saturating_sub(CHUNK);
        let expected = format_args!("a chunk after inode {next}");
        tree.check(is_valid, ("ir_startino", block_bytes), expected, start)?;
        next = start.saturating_add(CHUNK);
        chunk(&tree, record, block_bytes, visit)
    })
}

fn chunk(tree: &Tree<'_>, record: &[u8], block_bytes: u64, visit: &mut Visit<'_>) -> Result<()> {
    let superblock = tree.superblock;
    let start = be32(record, 0);
    // Each bit of the mask is four inodes that there are none of.
    let holes = if superblock.features.has_sparse_inodes() {
        be16(record, 4)
    } else {
        0
    };
    let free = be64(record, 8);
    let quarter = |index: u32| (index.saturating_mul(4), 4);
    let runs: Vec<(u32, u32)> = match holes {
        0 => vec![(0, CHUNK)],
        _ => (0..16)
            .filter(|bit| holes >> bit & 1 == 0)
            .map(quarter)
            .collect(),
    };
    let group_bytes = superblock.byte(tree.group.blocks.into());
    let inode_bytes = u64::from(superblock.inode_bytes);
    for (first, count) in runs {
        let in_group = u64::from(start.saturating_add(first)).saturating_mul(inode_bytes);
        let len_bytes = u64::from(count).saturating_mul(inode_bytes);
        let is_inside = in_group.saturating_add(len_bytes) <= group_bytes;
        let field = ("ir_startino", block_bytes);
        tree.check(is_inside, field, "a chunk in the group", start)?;
        let group_start = superblock.group_byte(tree.group.number, 0);
        let offset_bytes = group_start.saturating_add(in_group);
        let len = usize::try_from(len_bytes).unwrap_or(usize::MAX);
        let raw = read_vec(tree.device, offset_bytes, len)?;
        let inode_len = usize::try_from(superblock.inode_bytes).unwrap_or(usize::MAX);
        for (index, raw) in (first..).zip(raw.chunks_exact(inode_len.max(1))) {
            if free >> index.min(63) & 1 == 0 {
                let number =
                    superblock.inode_number(tree.group.number, start.saturating_add(index));
                let before = u64::from(index.saturating_sub(first)).saturating_mul(inode_bytes);
                let offset_bytes = offset_bytes.saturating_add(before);
                visit(Inode::parse(superblock, number, (offset_bytes, raw)))?;
            }
        }
    }
    Ok(())
}

impl Inode {
    fn parse(superblock: &Superblock, number: u64, place: (u64, &[u8])) -> Result<Self> {
        let (offset_bytes, raw) = place;
        let inode = Self {
            number,
            offset_bytes,
            raw: raw.to_vec(),
            core_len: if superblock.features.is_v5() {
                176
            } else {
                100
            },
        };
        let found = be16(raw, 0);
        inode.check(
            found == MAGIC,
            "di_magic",
            format_args!("{MAGIC:#x}"),
            found,
        )?;
        if superblock.features.is_v5() {
            checksum::check("XFS inode", offset_bytes, raw, 100)?;
            let found = be64(raw, 152);
            inode.check(found == number, "di_ino", number, found)?;
        }
        let end = inode.fork_offset();
        let expected = "an attribute fork in the inode";
        inode.check(end <= raw.len(), "di_forkoff", expected, end)?;
        Ok(inode)
    }

    pub(super) fn is_regular(&self) -> bool {
        be16(&self.raw, 2) & MODE_TYPE == MODE_REGULAR
    }

    /// Whether its contents are on the realtime device.
    pub(super) fn is_realtime(&self) -> bool {
        be16(&self.raw, 90) & 1 != 0
    }

    /// Whether it must not be changed: `XFS_DIFLAG_IMMUTABLE` of `di_flags`.
    pub(super) fn is_immutable(&self) -> bool {
        be16(&self.raw, 90) & FLAG_IMMUTABLE != 0
    }

    /// The inode as it lies on the disk.
    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// `di_ctime`: seconds and nanoseconds, or with "bigtime" nanoseconds since the earliest
    /// moment that the former can tell.
    pub(super) fn changed(&self) -> Stamp {
        if self.has_flag2(FLAG2_BIGTIME) {
            let nanoseconds = be64(&self.raw, 48);
            let seconds = i64::try_from(nanoseconds / NANOSECONDS).unwrap_or(i64::MAX);
            return Stamp {
                seconds: seconds.saturating_add(i32::MIN.into()),
                nanoseconds: u32::try_from(nanoseconds % NANOSECONDS).unwrap_or(0),
            };
        }
        Stamp {
            seconds: be32(&self.raw, 48).cast_signed().into(),
            nanoseconds: be32(&self.raw, 52),
        }
    }

    /// `di_changecount`, which version 3 of the inode has, with `di_atime`, whose updates count.
    pub(super) fn changes(&self) -> Option<Changes> {
        let accessed = self.raw.get(32..).and_then(|rest| rest.first_chunk());
        (self.core_len == 176).then(|| Changes {
            count: be64(&self.raw, 104),
            accessed: accessed.copied().unwrap_or_default(),
        })
    }

    pub(super) fn is_directory(&self) -> bool {
        be16(&self.raw, 2) & MODE_TYPE == MODE_DIRECTORY
    }

    /// `di_size`
    pub(super) fn size_bytes(&self) -> u64 {
        be64(&self.raw, 56)
    }

    fn has_wide_counters(&self) -> bool {
        self.has_flag2(FLAG2_WIDE_COUNTERS)
    }

    /// Whether `di_flags2`, which version 3 of the inode has, has one of `flags`.
    fn has_flag2(&self, flags: u64) -> bool {
        let is_v3 = self.core_len == 176;
        is_v3 && be64(&self.raw, 120) & flags != 0
    }

    /// The data fork: contents of a file, entries of a directory, a symbolic link's target.
    pub(super) fn data(&self) -> Fork<'_> {
        let raw = self.raw.get(self.core_len..self.fork_offset());
        Fork {
            format: u8_at(&self.raw, 5),
            extents: if self.has_wide_counters() {
                be64(&self.raw, 24)
            } else {
                be32(&self.raw, 76).into()
            },
            raw: raw.unwrap_or_default(),
        }
    }

    /// The fork of extended attributes; empty when there is none.
    pub(super) fn attributes(&self) -> Fork<'_> {
        Fork {
            format: u8_at(&self.raw, 83),
            extents: if self.has_wide_counters() {
                be32(&self.raw, 76).into()
            } else {
                be16(&self.raw, 80).into()
            },
            raw: self.raw.get(self.fork_offset()..).unwrap_or_default(),
        }
    }

    /// Where the data fork ends: at the attribute fork, if there is one.
    fn fork_offset(&self) -> usize {
        match u8_at(&self.raw, 82) {
            0 => self.raw.len(),
            words => usize::from(words)
                .saturating_mul(8)
                .saturating_add(self.core_len),
        }
    }

    /// Says what is wrong with this inode.
    pub(super) fn check(
        &self,
        is_valid: bool,
        field: &'static str,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Result<()> {
        if is_valid {
            return Ok(());
        }
        Err(Corrupt::new("XFS inode", field, self.offset_bytes, expected, found).into())
    }
}
