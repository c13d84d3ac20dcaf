//! The node address table (NAT): where each node is, and which inode it belongs to.
//!
//! Each block of the table has two copies, in segments of first and second copies in turn. The
//! checkpoint says which copy is valid, and its journal has entries that are newer than both.
//! Layouts of `f2fs_nat_block` and `f2fs_nat_entry` (Linux, `f2fs_fs.h`).

use super::address::{Block, Nid, SEGMENT_BLOCKS};
use super::checkpoint::Checkpoint;
use super::entry::{NAT_ENTRY_LEN, bit};
use super::journal::{self, Journal};
use super::superblock::Superblock;
use crate::bytes::le32;
use crate::device::{ReadAt, read_vec};
use crate::error::{Checked, Corrupt, Result};

/// The first nodes stand for the inodes of nodes and of metadata, which are nowhere.
const NODES_FIRST: Nid = Nid(3);
/// `NEW_ADDR`: a node that was never written.
const NEW_ADDR: u32 = u32::MAX;
const STRUCTURE: &str = "F2FS NAT entry";

/// A node: where it is, its number, and the inode that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Node {
    pub(super) block: Block,
    pub(super) nid: Nid,
    /// The node's own number if it is an inode.
    pub(super) inode: Nid,
}

impl Node {
    pub(super) fn is_inode(self) -> bool {
        self.nid == self.inode
    }
}

/// Calls `visit` with the nodes of each segment of the table in order of their numbers, at most
/// 232 960 at once.
///
/// # Errors
/// [`crate::Error::Corrupt`] when a node is not in the main area, or belongs to no inode that the
/// table has room for; and as `visit`.
pub(super) fn for_each(
    superblock: &Superblock,
    checkpoint: &Checkpoint,
    device: &dyn ReadAt,
    visit: &mut impl FnMut(Vec<Node>) -> Result<()>,
) -> Result<()> {
    let table = Table {
        superblock,
        bitmap: checkpoint.nat_bitmap(superblock),
        journal: journal::nat(superblock, checkpoint, device)?,
        device,
    };
    for segment in 0..superblock.nat.segments / 2 {
        visit(table.nodes(segment)?)?;
    }
    Ok(())
}

/// Reads the table.
struct Table<'a> {
    superblock: &'a Superblock,
    /// A bit for each block: 1 where the second copy is the valid one.
    bitmap: &'a [u8],
    journal: Journal<Nid>,
    device: &'a dyn ReadAt,
}

impl Table<'_> {
    /// The nodes of segment `segment` of one copy.
    fn nodes(&self, segment: u32) -> Result<Vec<Node>> {
        let superblock = self.superblock;
        let first = u64::from(segment) * u64::from(SEGMENT_BLOCKS);
        // The segment of second copies follows that of first ones.
        let start = superblock.block(superblock.nat, first * 2)?;
        let (at, block_len) = (superblock.offset_bytes(start), superblock.block_len());
        let len = block_len * SEGMENT_BLOCKS as usize;
        let raw = read_vec(self.device, at, len * 2)?;
        let (zero, one) = raw.split_at(len.min(raw.len()));
        let copies = zero.chunks_exact(block_len);
        let copies = copies.zip(one.chunks_exact(block_len));
        let mut nodes = Vec::new();
        for (index, (zero, one)) in (first..).zip(copies) {
            let block = if bit(self.bitmap, index) { one } else { zero };
            let number = index * u64::from(superblock.nodes_per_nat_block());
            // There may be room for more nodes than 32 bits can name.
            let Ok(number) = u32::try_from(number) else {
                break;
            };
            let numbers = (number..superblock.end_nid().0).map(Nid);
            for (nid, raw) in numbers.zip(block.chunks_exact(NAT_ENTRY_LEN)) {
                let raw = self.journal.get(&nid).map_or(raw, Vec::as_slice);
                nodes.extend(self.node(nid, raw, at)?);
            }
        }
        Ok(nodes)
    }

    /// The node of the entry `raw`, if that is in use. `at` is where errors say it lies.
    fn node(&self, nid: Nid, raw: &[u8], at: u64) -> Checked<Option<Node>> {
        let (ino, block_addr) = (Nid(le32(raw, 1)), le32(raw, 5));
        if nid < NODES_FIRST || block_addr == 0 || block_addr == NEW_ADDR {
            return Ok(None);
        }
        let Some(block) = self.superblock.main.named(block_addr) else {
            let expected = format!("a block of the main area for node {nid}");
            let found = format!("{block_addr:#x}");
            return Err(Corrupt::new(STRUCTURE, "block_addr", at, expected, found));
        };
        let end = self.superblock.end_nid();
        if !(NODES_FIRST..end).contains(&ino) {
            let expected = format!("an inode of {NODES_FIRST} to {end} for node {nid}");
            return Err(Corrupt::new(STRUCTURE, "ino", at, expected, ino));
        }
        Ok(Some(Node {
            block,
            nid,
            inode: ino,
        }))
    }
}
