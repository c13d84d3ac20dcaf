//! Where the contents of regular files are, so that all else that is in use is metadata.

use super::address::{Block as Address, Nid};
use super::checkpoint::Checkpoint;
use super::nat::{self, Node};
use super::node::Block;
use super::superblock::Superblock;
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use crate::extent::ExtentMap;
use crate::filesystem::gather::Gather;
use std::collections::HashSet;

/// `COMPRESS_ADDR` and `NEW_ADDR`: a compressed cluster begins, a block was never written.
const MARKS: [u32; 2] = [u32::MAX - 1, u32::MAX];
/// Nodes read at once.
const BLOCKS_AT_ONCE: u64 = 256;
/// Files of more than an inode's addresses, 3.6 MiB; their numbers take 40 MiB at most.
const LARGE_FILES_MAX: usize = 1 << 22;

/// The bytes that hold contents of regular files and nothing else; `None` when those are in too
/// many pieces.
///
/// # Errors
/// [`crate::Error::Corrupt`] when a node is not where the NAT has it, fails its check, or has
/// addresses that can't be.
pub(super) fn contents(
    superblock: &Superblock,
    checkpoint: &Checkpoint,
    device: &dyn ReadAt,
) -> Result<Option<ExtentMap>> {
    let mut walk = Walk {
        superblock,
        large_files: HashSet::new(),
        contents: Gather::new(),
        others: Gather::new(),
        is_full: false,
    };
    // What a node of addresses is for is known by its inode, which may come later.
    for is_inode in [true, false] {
        nat::for_each(superblock, checkpoint, device, &mut |nodes| {
            let mut nodes = nodes;
            nodes.retain(|node| node.is_inode() == is_inode);
            // In the order in which they lie on the volume.
            nodes.sort_unstable();
            read(superblock, device, &nodes, &mut |node, raw| {
                walk.node(node, raw)
            })
        })?;
        if walk.is_full {
            return Ok(None);
        }
    }
    let (contents, others) = (walk.contents.finish(), walk.others.finish());
    // A damaged file could claim a directory's blocks, or nodes.
    Ok(contents
        .zip(others)
        .map(|(contents, others)| contents.difference(&others)))
}

/// Calls `visit` with each of `nodes`, which are sorted, and its block.
fn read(
    superblock: &Superblock,
    device: &dyn ReadAt,
    nodes: &[Node],
    visit: &mut impl FnMut(Node, &[u8]) -> Result<()>,
) -> Result<()> {
    let is_near = |first: &Node, node: &Node| node.block.since(first.block) < BLOCKS_AT_ONCE;
    let mut rest = nodes;
    while let Some(first) = rest.first() {
        let (now, later) = rest.split_at(rest.partition_point(|node| is_near(first, node)));
        let last = now.last().map_or(first.block, |last| last.block);
        let count = last.since(first.block) as usize + 1;
        let len = count * superblock.block_len();
        let raw = read_vec(device, superblock.offset_bytes(first.block), len)?;
        for &node in now {
            let index = node.block.since(first.block) as usize;
            let block = raw.chunks_exact(superblock.block_len()).nth(index);
            visit(node, block.unwrap_or_default())?;
        }
        rest = later;
    }
    Ok(())
}

/// Adjacent blocks.
#[derive(Clone, Copy)]
struct Run {
    first: Address,
    count: u64,
}

struct Walk<'a> {
    superblock: &'a Superblock,
    /// Regular files that have nodes besides their inode.
    large_files: HashSet<Nid>,
    contents: Gather,
    /// Nodes, and blocks of what is no regular file.
    others: Gather,
    is_full: bool,
}

impl Walk<'_> {
    fn node(&mut self, node: Node, raw: &[u8]) -> Result<()> {
        let block = Block::check(self.superblock, node, raw)?;
        let own = Run {
            first: node.block,
            count: 1,
        };
        self.push(false, own);
        let is_file = if node.is_inode() {
            let is_file = block.is_plain_file(self.superblock);
            if is_file && block.has_nodes() {
                self.large_files.insert(node.inode);
                self.is_full |= self.large_files.len() > LARGE_FILES_MAX;
            }
            is_file
        } else {
            self.large_files.contains(&node.inode)
        };
        let mut run: Option<Run> = None;
        for address in block.addresses(self.superblock) {
            if address == 0 || MARKS.contains(&address) {
                continue;
            }
            let next = self.named(node, address)?;
            match &mut run {
                Some(run) if next.since(run.first) == run.count => run.count += 1,
                _ => {
                    let begun = Run {
                        first: next,
                        count: 1,
                    };
                    let ended = run.replace(begun);
                    ended.into_iter().for_each(|run| self.push(is_file, run));
                }
            }
        }
        run.into_iter().for_each(|run| self.push(is_file, run));
        Ok(())
    }

    /// The block that a node has the address of.
    fn named(&self, node: Node, address: u32) -> Result<Address> {
        let missing = || {
            let at = self.superblock.offset_bytes(node.block);
            let expected = "blocks of the main area";
            let found = format!("{address:#x}");
            Corrupt::new("F2FS node", "addresses", at, expected, found)
        };
        let block = self.superblock.main.named(address);
        Ok(block.ok_or_else(missing)?)
    }

    fn push(&mut self, is_file: bool, run: Run) {
        let extent = self.superblock.extent(run.first, run.count);
        let gather = if is_file {
            &mut self.contents
        } else {
            &mut self.others
        };
        if let Some(extent) = extent {
            self.is_full |= !gather.push(extent);
        }
    }
}
