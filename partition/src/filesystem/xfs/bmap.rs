//! Where the parts of a file are: extent lists, and the trees (`bmbt`) of long ones.
//!
//! XFS Algorithms & Data Structures, "Data Extents": `xfs_bmbt_rec`, `xfs_bmdr_block`,
//! `xfs_btree_lblock`:
//! <https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf>.

use super::address::FsBlock;
use super::checksum;
use super::inode::{Fork, Inode};
use super::superblock::Superblock;
use crate::bytes::{be16, be32, be64};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use crate::extent::Extent;
use crate::filesystem::owners::Gaps;

const STRUCTURE: &str = "XFS extent btree block";
const RECORD_LEN: usize = 16;
const POINTER_LEN: usize = 8;
/// `XFS_DINODE_FMT_EXTENTS`
const FORMAT_EXTENTS: u8 = 2;
/// `XFS_DINODE_FMT_BTREE`
const FORMAT_BTREE: u8 = 3;
/// `XFS_BTREE_MAXLEVELS`
const LEVELS_MAX: u16 = 9;
/// Headers of blocks of the tree in versions 4 and 5.
const HEADER_LEN: [usize; 2] = [24, 72];

/// Blocks that follow each other both in a fork and on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// First block within the fork.
    pub(super) file_block: u64,
    pub(super) extent: Extent,
    /// Whether the blocks were written since they were allocated.
    pub(super) is_written: bool,
}

/// Gets each run. Whether to go on.
pub(super) type Visit<'a> = dyn FnMut(Run) -> bool + 'a;

/// Reads extents of inodes. All of them together may read no more blocks of trees than the
/// filesystem has. A block that fails a check is noted as a gap, and left out.
pub(super) struct Bmaps<'a> {
    superblock: &'a Superblock,
    device: &'a dyn ReadAt,
    gaps: &'a Gaps,
    blocks_left: u64,
}

/// A block of a tree that is still to be read.
#[derive(Clone, Copy)]
struct Child {
    block: FsBlock,
    level: u16,
}

impl<'a> Bmaps<'a> {
    pub(super) const fn new(
        superblock: &'a Superblock,
        device: &'a dyn ReadAt,
        gaps: &'a Gaps,
    ) -> Self {
        Self {
            superblock,
            device,
            gaps,
            blocks_left: superblock.blocks,
        }
    }

    /// Visits the runs of a fork in order, those not yet written included.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when the fork itself fails its checks, or when more blocks are
    /// visited than there are.
    pub(super) fn visit(
        &mut self,
        inode: &Inode<'_>,
        fork: &Fork<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        match fork.format {
            FORMAT_EXTENTS => self.list(inode, fork, visit),
            FORMAT_BTREE => self.tree(inode, fork, visit),
            _ => Ok(()),
        }
    }

    fn list(&self, inode: &Inode<'_>, fork: &Fork<'_>, visit: &mut Visit<'_>) -> Result<()> {
        let records = fork.raw.chunks_exact(RECORD_LEN);
        let room = records.len();
        let count = usize::try_from(fork.extents).ok();
        let Some(count) = count.filter(|&count| count <= room) else {
            let expected = format_args!("at most {room}");
            return Err(inode.corrupt("di_nextents", expected, fork.extents).into());
        };
        for record in records.take(count) {
            if !self.record(inode, record, visit) {
                break;
            }
        }
        Ok(())
    }

    /// Visits an extent (`xfs_bmbt_rec`): a flag, then 54 bits of offset, 52 of block and 21 of
    /// length.
    fn record(&self, inode: &Inode<'_>, record: &[u8], visit: &mut Visit<'_>) -> bool {
        let (l0, l1) = (be64(record, 0), be64(record, 8));
        let is_written = l0 >> 63 == 0;
        let br_startoff = l0 << 1 >> 10;
        let br_startblock = FsBlock((l0 & 0x1ff) << 43 | l1 >> 21);
        let br_blockcount = (l1 & 0x1f_ffff) as u32;
        let Some(extent) = self.superblock.fs_extent(br_startblock, br_blockcount) else {
            let corrupt = inode.corrupt("extents", "blocks of one group", "others");
            self.gaps.tolerate::<()>(Err(corrupt.into()));
            return true;
        };
        visit(Run {
            file_block: br_startoff,
            extent,
            is_written,
        })
    }

    /// Walks down from the root, which is in the inode (`xfs_bmdr_block`).
    fn tree(&mut self, inode: &Inode<'_>, fork: &Fork<'_>, visit: &mut Visit<'_>) -> Result<()> {
        let (header, body) = fork.raw.split_at_checked(4).unwrap_or((&[0; 4], &[]));
        let bb_level = be16(header, 0);
        let bb_numrecs = usize::from(be16(header, 2));
        let below = bb_level.checked_sub(1).filter(|_| bb_level <= LEVELS_MAX);
        let Some(below) = below else {
            return Err(inode.corrupt("bb_level", "1 to 9", bb_level).into());
        };
        let room = body.len() / RECORD_LEN;
        if !(1..=room).contains(&bb_numrecs) {
            let expected = format_args!("1 to {room}");
            return Err(inode.corrupt("bb_numrecs", expected, bb_numrecs).into());
        }
        let mut pending = children(body, room, bb_numrecs, below);
        while let Some(child) = pending.pop() {
            let Some(left) = self.blocks_left.checked_sub(1) else {
                return Err(inode
                    .corrupt("extents", "a tree without loops", "one")
                    .into());
            };
            self.blocks_left = left;
            let visited = self.node(inode, child, &mut pending, visit);
            if self.gaps.tolerate(visited) == Some(false) {
                break;
            }
        }
        Ok(())
    }

    fn node(
        &self,
        inode: &Inode<'_>,
        child: Child,
        pending: &mut Vec<Child>,
        visit: &mut Visit<'_>,
    ) -> Result<bool> {
        let raw = self.read(inode, child)?;
        let [v4, v5] = HEADER_LEN;
        let is_v5 = self.superblock.features.is_v5();
        let body = raw.get(if is_v5 { v5 } else { v4 }..).unwrap_or_default();
        let room = body.len() / RECORD_LEN;
        let bb_numrecs = usize::from(be16(&raw, 6));
        if !(1..=room).contains(&bb_numrecs) {
            return Err(inode
                .corrupt("bb_numrecs of a block", room, bb_numrecs)
                .into());
        }
        if let Some(below) = child.level.checked_sub(1) {
            pending.extend(children(body, room, bb_numrecs, below));
            return Ok(true);
        }
        let mut records = body.chunks_exact(RECORD_LEN).take(bb_numrecs);
        Ok(records.all(|record| self.record(inode, record, visit)))
    }

    /// Reads and checks a block of the tree.
    fn read(&self, inode: &Inode<'_>, child: Child) -> Result<Vec<u8>> {
        let superblock = self.superblock;
        let Some(extent) = superblock.fs_extent(child.block, 1) else {
            let expected = "blocks of the volume";
            return Err(inode.corrupt("bb_ptrs", expected, child.block).into());
        };
        let offset_bytes = extent.offset_bytes();
        let raw = read_vec(self.device, offset_bytes, superblock.block_len())?;
        let bad = |field, expected: u64, found: u64| {
            let (expected, found) = (format!("{expected:#x}"), format!("{found:#x}"));
            Err(Corrupt::new(STRUCTURE, field, offset_bytes, expected, found).into())
        };
        let is_v5 = superblock.features.is_v5();
        let magic = u32::from_be_bytes(if is_v5 { *b"BMA3" } else { *b"BMAP" });
        let bb_magic = be32(&raw, 0);
        let bb_level = be16(&raw, 4);
        if bb_magic != magic {
            return bad("bb_magic", magic.into(), bb_magic.into());
        }
        if bb_level != child.level {
            return bad("bb_level", child.level.into(), bb_level.into());
        }
        if !is_v5 {
            return Ok(raw);
        }
        checksum::check(STRUCTURE, offset_bytes, &raw, 64)?;
        // Disk addresses count 512 bytes, whatever the sector.
        let bb_blkno = be64(&raw, 24);
        let bb_owner = be64(&raw, 56);
        if bb_blkno != offset_bytes / 512 {
            return bad("bb_blkno", offset_bytes / 512, bb_blkno);
        }
        if bb_owner != inode.number.0 {
            return bad("bb_owner", inode.number.0, bb_owner);
        }
        Ok(raw)
    }
}

/// The blocks, all of level `level`, that the first `records` pointers of a node name; the last
/// first. The pointers of its `body` come after room for `room` keys.
fn children(body: &[u8], room: usize, records: usize, level: u16) -> Vec<Child> {
    let pointers = body.get(room * POINTER_LEN..).unwrap_or_default();
    let pointers = pointers.chunks_exact(POINTER_LEN).take(records);
    let child = |pointer| Child {
        block: FsBlock(be64(pointer, 0)),
        level,
    };
    let mut children: Vec<_> = pointers.map(child).collect();
    children.reverse();
    children
}
