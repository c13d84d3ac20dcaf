//! Which blocks a file maps: extent trees and indirect blocks, in bounded time.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", section "The Contents of
//! inode.i_block": `struct ext4_extent_header`, `ext4_extent_idx`, `ext4_extent`,
//! `ext4_extent_tail`:
//! <https://docs.kernel.org/filesystems/ext4/index.html>.

use super::address::Block;
use super::checksum::crc32c;
use super::inode::Inode;
use super::superblock::{Superblock, wide};
use crate::bytes::{le16, le32};
use crate::device::{ReadAt, read_vec};
use crate::error::{Checked, Result};
use crate::extent::Extent;

const EXTENT_MAGIC: u16 = 0xf30a;
const DEPTH_MAX: u16 = 5;
const ENTRY_LEN: usize = 12;
/// An `ee_len` above this marks blocks that are allocated and not yet written.
const WRITTEN_MAX: u16 = 1 << 15;
/// `EXT4_NDIR_BLOCKS`: pointers of `i_block` that are direct. Three more follow, one of each level.
const DIRECT_POINTERS: usize = 12;

/// Blocks that follow each other both in a file and on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// First block within the file; `None` for a block of the map itself.
    pub(super) file_block: Option<u64>,
    /// Where they lie on the volume.
    pub(super) extent: Extent,
    /// Whether the blocks were written since they were allocated.
    pub(super) is_written: bool,
}

/// Gets each run. Whether to go on.
pub(super) type Visit<'a> = dyn FnMut(Run) -> bool + 'a;

/// Reads the block maps of inodes. All of them together may read no more blocks than the filesystem
/// has.
pub(super) struct BlockMaps<'a> {
    superblock: &'a Superblock,
    device: &'a dyn ReadAt,
    nodes_left: u64,
}

/// A node of an extent tree. Its header is checked; what its entries point at is not.
struct Node<'a> {
    raw: &'a [u8],
    depth: u16,
    entries: u16,
}

/// A pointer of an indirect block, or of `i_block`.
#[derive(Clone, Copy)]
struct Pointer {
    /// 0 for a hole.
    block: Block,
    /// How many levels of indirect blocks are below it; 0 for a pointer to contents.
    level: u32,
    /// First block of the file that is below it.
    file_block: u64,
}

impl<'a> BlockMaps<'a> {
    pub(super) const fn new(superblock: &'a Superblock, device: &'a dyn ReadAt) -> Self {
        Self {
            superblock,
            device,
            nodes_left: superblock.blocks,
        }
    }

    /// Visits every run of `inode` in order, and the blocks of the map itself. Whether all of them
    /// were visited.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when the map fails its checks, points outside of the filesystem or
    /// visits more blocks than there are.
    pub(super) fn visit(&mut self, inode: &Inode, visit: &mut Visit<'_>) -> Result<bool> {
        if !inode.has_blocks {
            return Ok(true);
        }
        if inode.has_extents {
            let root = self.node(inode, &inode.block_map, None)?;
            return self.visit_node(inode, &root, visit);
        }
        let direct = [0; DIRECT_POINTERS].into_iter();
        let mut file_block = 0;
        for (pointer, level) in inode
            .block_map
            .as_chunks()
            .0
            .iter()
            .zip(direct.chain(1..=3))
        {
            let block = Block(u32::from_le_bytes(*pointer).into());
            let pointer = Pointer {
                block,
                level,
                file_block,
            };
            if !self.visit_indirect(inode, pointer, visit)? {
                return Ok(false);
            }
            file_block += self.reach(level);
        }
        Ok(true)
    }

    /// Where the first block of the file lies.
    pub(super) fn first_block(&mut self, inode: &Inode) -> Result<Option<Extent>> {
        let mut first = None;
        self.visit(inode, &mut |run| {
            if run.file_block == Some(0) {
                first = Some(run.extent);
            }
            run.file_block.is_none()
        })?;
        Ok(first)
    }

    /// File blocks below one pointer of a level, at most 2^42.
    const fn reach(&self, level: u32) -> u64 {
        (self.superblock.block_bytes as u64 / 4).pow(level)
    }

    fn visit_indirect(
        &mut self,
        inode: &Inode,
        pointer: Pointer,
        visit: &mut Visit<'_>,
    ) -> Result<bool> {
        if pointer.block == Block(0) {
            return Ok(true);
        }
        let extent = self.extent(inode, pointer.block, 1)?;
        let Some(level) = pointer.level.checked_sub(1) else {
            return Ok(visit(Run {
                file_block: Some(pointer.file_block),
                extent,
                is_written: true,
            }));
        };
        let raw = self.read(inode, extent)?;
        if !visit(of_map(extent)) {
            return Ok(false);
        }
        let mut file_block = pointer.file_block;
        for pointer in raw.as_chunks::<4>().0 {
            let child = Pointer {
                block: Block(u32::from_le_bytes(*pointer).into()),
                level,
                file_block,
            };
            if !self.visit_indirect(inode, child, visit)? {
                return Ok(false);
            }
            file_block += self.reach(level);
        }
        Ok(true)
    }

    fn visit_node(
        &mut self,
        inode: &Inode,
        node: &Node<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<bool> {
        let entries = node.raw.as_chunks::<ENTRY_LEN>().0.iter().skip(1);
        for entry in entries.take(node.entries.into()) {
            let goes_on = match node.depth.checked_sub(1) {
                None => self.visit_leaf(inode, entry, visit)?,
                Some(below) => self.visit_child(inode, below, entry, visit)?,
            };
            if !goes_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Visits the blocks of an entry of a leaf (`struct ext4_extent`).
    fn visit_leaf(&self, inode: &Inode, entry: &[u8], visit: &mut Visit<'_>) -> Result<bool> {
        let ee_block = le32(entry, 0);
        let ee_len = le16(entry, 4);
        let ee_start_hi = le16(entry, 6);
        let ee_start_lo = le32(entry, 8);
        let is_written = ee_len <= WRITTEN_MAX;
        let blocks = if is_written {
            ee_len
        } else {
            ee_len - WRITTEN_MAX
        };
        let start = Block(wide(ee_start_lo, ee_start_hi.into()));
        let extent = self.extent(inode, start, blocks.max(1).into())?;
        if blocks == 0 {
            return Ok(true);
        }
        Ok(visit(Run {
            file_block: Some(ee_block.into()),
            extent,
            is_written,
        }))
    }

    /// Visits the node of depth `depth` that an entry of its parent (`struct ext4_extent_idx`)
    /// points at.
    fn visit_child(
        &mut self,
        inode: &Inode,
        depth: u16,
        entry: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<bool> {
        let ei_leaf_lo = le32(entry, 4);
        let ei_leaf_hi = le16(entry, 8);
        let block = Block(wide(ei_leaf_lo, ei_leaf_hi.into()));
        let extent = self.extent(inode, block, 1)?;
        let raw = self.read(inode, extent)?;
        if !visit(of_map(extent)) {
            return Ok(false);
        }
        let child = self.node(inode, &raw, Some(depth))?;
        self.visit_node(inode, &child, visit)
    }

    /// Checks the header of the node in `raw`, whose depth its parent gives; the root has no parent.
    fn node<'n>(&self, inode: &Inode, raw: &'n [u8], depth: Option<u16>) -> Result<Node<'n>> {
        let eh_magic = le16(raw, 0);
        let eh_entries = le16(raw, 2);
        let eh_max = le16(raw, 4);
        let eh_depth = le16(raw, 6);
        let fitting = raw.len() / ENTRY_LEN - 1;
        if eh_magic != EXTENT_MAGIC {
            let expected = format!("{EXTENT_MAGIC:#x}");
            let found = format!("{eh_magic:#x}");
            return Err(inode.corrupt("eh_magic", expected, found).into());
        }
        if eh_entries > eh_max || usize::from(eh_max) > fitting {
            let expected = format!("at most {fitting}");
            let found = format!("{eh_entries} of {eh_max}");
            return Err(inode.corrupt("eh_entries", expected, found).into());
        }
        if depth.map_or(eh_depth > DEPTH_MAX, |depth| eh_depth != depth) {
            let expected = depth.unwrap_or(DEPTH_MAX);
            return Err(inode.corrupt("eh_depth", expected, eh_depth).into());
        }
        if depth.is_some() && self.superblock.features.has_metadata_csum() {
            check_node_checksum(inode, raw, eh_max)?;
        }
        Ok(Node {
            raw,
            depth: eh_depth,
            entries: eh_entries,
        })
    }

    /// Reads a block of a map.
    fn read(&mut self, inode: &Inode, block: Extent) -> Result<Vec<u8>> {
        let Some(left) = self.nodes_left.checked_sub(1) else {
            let expected = "no more map blocks than the filesystem has blocks";
            return Err(inode.corrupt("i_block", expected, "more, in a loop").into());
        };
        self.nodes_left = left;
        read_vec(
            self.device,
            block.offset_bytes(),
            self.superblock.block_len(),
        )
    }

    /// Where the blocks that a map points at lie.
    fn extent(&self, inode: &Inode, start: Block, blocks: u64) -> Checked<Extent> {
        self.superblock.pointed(start, blocks).ok_or_else(|| {
            let expected = format!("blocks below {}", self.superblock.blocks);
            inode.corrupt("i_block", expected, format!("{blocks} from {start}"))
        })
    }
}

/// A block of a map.
const fn of_map(extent: Extent) -> Run {
    Run {
        file_block: None,
        extent,
        is_written: true,
    }
}

/// Checks `et_checksum`, which follows the room for `eh_max` entries.
fn check_node_checksum(inode: &Inode, raw: &[u8], eh_max: u16) -> Checked {
    let tail = (usize::from(eh_max) + 1) * ENTRY_LEN;
    let (Some(covered), Some(stored)) = (raw.get(..tail), raw.get(tail..tail + 4)) else {
        return Err(inode.corrupt("eh_max", "room for a checksum", eh_max));
    };
    let et_checksum = le32(stored, 0);
    let computed = crc32c(inode.checksum_seed, covered);
    if et_checksum == computed {
        return Ok(());
    }
    let expected = format!("{computed:#x}");
    Err(inode.corrupt("et_checksum", expected, format!("{et_checksum:#x}")))
}
