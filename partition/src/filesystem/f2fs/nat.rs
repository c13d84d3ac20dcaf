//! The node address table (NAT): where each node is, and which inode it belongs to.
//!
//! Each of its blocks is there twice, segments of first and second copies in turn. The checkpoint
//! says which one is valid, and its journal has entries that are newer than both.

use super::checkpoint::Checkpoint;
use super::entry::{NAT_ENTRY_LEN, bit};
use super::journal::{self, Journal};
use super::superblock::{SEGMENT_BLOCKS, Superblock};
use crate::bytes::le32;
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};

/// The first nodes stand for the inodes of nodes and of metadata, which are nowhere.
const NODES_FIRST: u32 = 3;
/// `NEW_ADDR`: a node that was never written.
const NEW_ADDR: u32 = u32::MAX;
const STRUCTURE: &str = "F2FS NAT entry";

/// A node, where it is, and the inode that it belongs to: its own number if it is an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Node {
    pub(super) block: u32,
    pub(super) number: u32,
    pub(super) inode: u32,
}

impl Node {
    pub(super) const fn is_inode(self) -> bool {
        self.number == self.inode
    }
}

/// One more than the last node that the table has room for.
pub(super) fn end(superblock: &Superblock) -> u32 {
    let blocks = superblock.nat.blocks() / 2;
    let nodes = blocks.saturating_mul(u64::from(per_block(superblock)));
    u32::try_from(nodes).unwrap_or(u32::MAX)
}

fn per_block(superblock: &Superblock) -> u32 {
    (superblock.block_bytes / NAT_ENTRY_LEN as u32).max(1)
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
    let journal = journal::nat(superblock, checkpoint, device, end(superblock))?;
    for segment in 0..superblock.nat.segments / 2 {
        visit(nodes(superblock, checkpoint, device, (&journal, segment))?)?;
    }
    Ok(())
}

fn nodes(
    superblock: &Superblock,
    checkpoint: &Checkpoint,
    device: &dyn ReadAt,
    (journal, segment): (&Journal, u32),
) -> Result<Vec<Node>> {
    let per_segment = u64::from(SEGMENT_BLOCKS);
    let first = u64::from(segment).saturating_mul(per_segment);
    let start = u64::from(superblock.nat.first_block).saturating_add(first.saturating_mul(2));
    let (at, block_len) = (superblock.byte(start), superblock.block_len());
    let len = block_len.saturating_mul(SEGMENT_BLOCKS as usize);
    let raw = read_vec(device, at, len.saturating_mul(2))?;
    let (zero, one) = raw.split_at(len.min(raw.len()));
    let bitmap = checkpoint.nat_bitmap(superblock);
    let end = end(superblock);
    let mut nodes = Vec::new();
    let copies = zero
        .chunks_exact(block_len)
        .zip(one.chunks_exact(block_len));
    for (index, (zero, one)) in (first..).zip(copies) {
        let block = if bit(bitmap, index) { one } else { zero };
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let number = number.saturating_mul(per_block(superblock));
        for (number, raw) in (number..end).zip(block.chunks_exact(NAT_ENTRY_LEN)) {
            let raw = journal.get(&number).map_or(raw, Vec::as_slice);
            nodes.extend(
                node(superblock, number, raw).map_err(|(field, expected, found)| {
                    Corrupt::new(STRUCTURE, field, at, expected, found)
                })?,
            );
        }
    }
    Ok(nodes)
}

/// The node of an entry in use; else which field is wrong, what was expected and found.
fn node(
    superblock: &Superblock,
    number: u32,
    raw: &[u8],
) -> std::result::Result<Option<Node>, (&'static str, String, String)> {
    let (inode, block) = (le32(raw, 1), le32(raw, 5));
    if number < NODES_FIRST || block == 0 || block == NEW_ADDR {
        return Ok(None);
    }
    if !superblock.is_main(block) {
        let expected = format!("a block of the main area for node {number}");
        return Err(("block_addr", expected, format!("{block:#x}")));
    }
    let end = end(superblock);
    if !(NODES_FIRST..end).contains(&inode) {
        let expected = format!("an inode of {NODES_FIRST} to {end} for node {number}");
        return Err(("ino", expected, inode.to_string()));
    }
    Ok(Some(Node {
        block,
        number,
        inode,
    }))
}
