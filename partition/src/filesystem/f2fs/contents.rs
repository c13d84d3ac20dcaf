//! Where the contents of regular files are, so that all else that is in use is metadata.

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
const BLOCKS_AT_ONCE: u32 = 256;
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
    let is_near =
        |first: &Node, node: &Node| node.block.saturating_sub(first.block) < BLOCKS_AT_ONCE;
    let mut rest = nodes;
    while let Some(first) = rest.first() {
        let (now, later) = rest.split_at(rest.partition_point(|node| is_near(first, node)));
        let last = now.last().map_or(first.block, |last| last.block);
        let count = last.saturating_sub(first.block).saturating_add(1) as usize;
        let len = count.saturating_mul(superblock.block_len());
        let raw = read_vec(device, superblock.byte(first.block.into()), len)?;
        for &node in now {
            let index = node.block.saturating_sub(first.block) as usize;
            let block = raw.chunks_exact(superblock.block_len()).nth(index);
            visit(node, block.unwrap_or_default())?;
        }
        rest = later;
    }
    Ok(())
}

struct Walk<'a> {
    superblock: &'a Superblock,
    /// Regular files that have nodes besides their inode.
    large_files: HashSet<u32>,
    contents: Gather,
    /// Nodes, and blocks of what is no regular file.
    others: Gather,
    is_full: bool,
}

impl Walk<'_> {
    fn node(&mut self, node: Node, raw: &[u8]) -> Result<()> {
        let block = Block::check(self.superblock, node, raw)?;
        self.push(false, (node.block, 1));
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
        let mut run = (0, 0);
        for address in block.addresses(self.superblock) {
            if address == 0 || MARKS.contains(&address) {
                continue;
            }
            self.check(node, address)?;
            let (first, count) = run;
            if count > 0 && u32::checked_add(first, count) == Some(address) {
                run = (first, count + 1);
            } else {
                self.push(is_file, run);
                run = (address, 1);
            }
        }
        self.push(is_file, run);
        Ok(())
    }

    fn check(&self, node: Node, address: u32) -> Result<()> {
        if self.superblock.is_main(address) {
            return Ok(());
        }
        let at = self.superblock.byte(node.block.into());
        let expected = "blocks of the main area";
        let found = format!("{address:#x}");
        Err(Corrupt::new("F2FS node", "addresses", at, expected, found).into())
    }

    fn push(&mut self, is_file: bool, (first, count): (u32, u32)) {
        let extent = self.superblock.extent(first.into(), count.into());
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
