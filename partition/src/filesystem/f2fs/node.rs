//! Nodes: inodes, and blocks of addresses that belong to one (`struct f2fs_node` of Linux,
//! `f2fs_fs.h`).

use super::address::Nid;
use super::checksum::crc32_from;
use super::nat::Node;
use super::superblock::Superblock;
use crate::bytes::{le16, le32, u8_at};
use crate::error::Corrupt;

const STRUCTURE: &str = "F2FS node";
/// `i_addr`, and the words in it where there are no attributes: `DEF_ADDRS_PER_INODE`.
const ADDRESSES: usize = 360;
const ADDRESSES_MAX: usize = 923;
/// `i_nid`: two blocks of addresses, two of nodes, one of nodes of nodes.
const NODES: usize = 4052;
/// `struct node_footer`: node, inode, flags with the offset in the file's nodes, version, next.
const FOOTER: usize = 4072;
/// `NIDS_PER_BLOCK`, which is `DEF_ADDRS_PER_BLOCK` as well.
const NODES_PER_BLOCK: u32 = 1018;
/// `XATTR_NODE_OFFSET`
const ATTRIBUTES_OFFSET: u32 = u32::MAX >> 3;
/// `DEFAULT_INLINE_XATTR_ADDRS`
const INLINE_ATTRIBUTES: usize = 50;
/// `i_inode_checksum`
const CHECKSUM: usize = 368;
/// `S_IFREG` of `S_IFMT`
const REGULAR: u16 = 0o100_000;
const FORMAT: u16 = 0o170_000;
/// `FADVISE_VERITY_BIT`
const VERITY: u8 = 0x40;
/// Flags of `i_inline`: `F2FS_INLINE_XATTR`, `F2FS_INLINE_DATA`, `F2FS_INLINE_DENTRY`,
/// `F2FS_EXTRA_ATTR`.
const INLINE_XATTR: u8 = 0x1;
const INLINE_DATA: u8 = 0x2;
const INLINE_DENTRY: u8 = 0x4;
const EXTRA_ATTR: u8 = 0x20;

/// A block with a node. Its footer says what its NAT entry says.
pub(super) struct Block<'a> {
    raw: &'a [u8],
    node: Node,
}

impl<'a> Block<'a> {
    /// Checks the footer, and the checksum where there is one.
    pub(super) fn check(
        superblock: &Superblock,
        node: Node,
        raw: &'a [u8],
    ) -> Result<Self, Corrupt> {
        let at = superblock.offset_bytes(node.block);
        let (nid, ino) = (Nid(le32(raw, FOOTER)), Nid(le32(raw, FOOTER + 4)));
        if (nid, ino) != (node.nid, node.inode) {
            let expected = format!("node {} of inode {}", node.nid, node.inode);
            let found = format!("node {nid} of inode {ino}");
            return Err(Corrupt::new(STRUCTURE, "footer", at, expected, found));
        }
        let block = Self { raw, node };
        if block.has_checksum(superblock) {
            let i_inode_checksum = le32(raw, CHECKSUM);
            let computed = block.checksum(superblock);
            if computed != i_inode_checksum {
                let expected = format!("{computed:#010x}");
                let found = format!("{i_inode_checksum:#010x}");
                let field = "i_inode_checksum";
                return Err(Corrupt::new(STRUCTURE, field, at, expected, found));
            }
        }
        Ok(block)
    }

    fn has_checksum(&self, superblock: &Superblock) -> bool {
        let end = CHECKSUM + 4 - ADDRESSES;
        let i_extra_isize = usize::from(le16(self.raw, ADDRESSES));
        superblock.features.has_inode_checksums()
            && self.node.is_inode()
            && self.has_inline(EXTRA_ATTR)
            && i_extra_isize >= end
    }

    /// Over the UUID, the inode's number, its generation, and the block with no checksum in it.
    fn checksum(&self, superblock: &Superblock) -> u32 {
        let ino = self.node.inode.0.to_le_bytes();
        let i_generation = self.raw.get(68..72).unwrap_or_default();
        let before = self.raw.get(..CHECKSUM).unwrap_or_default();
        let after = self.raw.get(CHECKSUM + 4..).unwrap_or_default();
        let uuid = &superblock.uuid;
        crc32_from(
            u32::MAX,
            &[uuid, &ino, i_generation, before, &[0; 4], after],
        )
    }

    fn has_inline(&self, flag: u8) -> bool {
        let i_inline = u8_at(self.raw, 3);
        i_inline & flag != 0
    }

    /// Whether an inode is a user's file, and its blocks hold contents alone. fs-verity keeps a
    /// tree of hashes behind the end of a file.
    pub(super) fn is_plain_file(&self, superblock: &Superblock) -> bool {
        let (i_mode, i_advise) = (le16(self.raw, 0), u8_at(self.raw, 2));
        i_mode & FORMAT == REGULAR
            && i_advise & VERITY == 0
            && !superblock.quota_inodes.contains(&self.node.nid)
    }

    /// Whether an inode has blocks of addresses besides its own.
    pub(super) fn has_nodes(&self) -> bool {
        let nodes = self.raw.get(NODES..FOOTER).unwrap_or_default();
        nodes.iter().any(|&byte| byte != 0)
    }

    /// The addresses of blocks of data in this node, holes and marks among them; none if it holds
    /// nodes, attributes, or data itself.
    pub(super) fn addresses(&self, superblock: &Superblock) -> impl Iterator<Item = u32> + use<'a> {
        // The footer's flag has the offset above three bits of other use.
        let flag = le32(self.raw, FOOTER + 8);
        let words = if self.node.is_inode() {
            self.inode_words(superblock)
        } else if is_direct(flag >> 3) {
            self.raw.get(..FOOTER)
        } else {
            None
        };
        let words = words.unwrap_or_default().chunks_exact(4);
        words.map(|word| le32(word, 0))
    }

    /// What is between extra attributes and extended ones.
    fn inode_words(&self, superblock: &Superblock) -> Option<&'a [u8]> {
        if self.has_inline(INLINE_DATA | INLINE_DENTRY) {
            return None;
        }
        let has_extra = self.has_inline(EXTRA_ATTR);
        let i_extra_isize = usize::from(le16(self.raw, ADDRESSES));
        let i_inline_xattr_size = usize::from(le16(self.raw, ADDRESSES + 2));
        let start = if has_extra { i_extra_isize / 4 } else { 0 };
        let attributes = if superblock.features.has_flexible_inline_attributes() && has_extra {
            i_inline_xattr_size
        } else if self.has_inline(INLINE_XATTR) {
            INLINE_ATTRIBUTES
        } else {
            0
        };
        let end = ADDRESSES_MAX.checked_sub(attributes)?;
        let at = |word: usize| ADDRESSES + word * 4;
        self.raw.get(at(start)..at(end))
    }
}

/// Whether a node has addresses of blocks, by its offset among the nodes of its inode (Linux,
/// `IS_DNODE`). The inode is 0. Nodes 1 and 2 have addresses. Node 3 has the numbers of the nodes
/// that follow it, and so has a second such node. The last one has the numbers of such nodes.
fn is_direct(offset: u32) -> bool {
    let last = 5 + 2 * NODES_PER_BLOCK;
    if offset == ATTRIBUTES_OFFSET {
        return false;
    }
    match offset.checked_sub(last + 1) {
        Some(after) => !after.is_multiple_of(NODES_PER_BLOCK + 1),
        None => ![0, 3, 4 + NODES_PER_BLOCK, last].contains(&offset),
    }
}
