//! Nodes: inodes, and blocks of addresses that belong to one (`struct f2fs_node`).

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

/// A block with a node whose footer is that of its NAT entry.
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
        let at = superblock.byte(node.block.into());
        let found = (le32(raw, FOOTER), le32(raw, FOOTER + 4));
        if found != (node.number, node.inode) {
            let expected = format!("node {} of inode {}", node.number, node.inode);
            let found = format!("node {} of inode {}", found.0, found.1);
            return Err(Corrupt::new(STRUCTURE, "footer", at, expected, found));
        }
        let block = Self { raw, node };
        if block.has_checksum(superblock) {
            let (computed, stored) = (block.checksum(superblock), le32(raw, CHECKSUM));
            if computed != stored {
                let (expected, found) = (format!("{computed:#010x}"), format!("{stored:#010x}"));
                let field = "i_inode_checksum";
                return Err(Corrupt::new(STRUCTURE, field, at, expected, found));
            }
        }
        Ok(block)
    }

    fn has_checksum(&self, superblock: &Superblock) -> bool {
        let end = CHECKSUM.saturating_add(4).saturating_sub(ADDRESSES);
        superblock.features.has_inode_checksums()
            && self.node.is_inode()
            && self.has_inline(EXTRA_ATTR)
            && usize::from(le16(self.raw, ADDRESSES)) >= end
    }

    /// Over the UUID, the inode's number, its generation, and the block with no checksum in it.
    fn checksum(&self, superblock: &Superblock) -> u32 {
        let number = self.node.inode.to_le_bytes();
        let generation = self.raw.get(68..72).unwrap_or_default();
        let before = self.raw.get(..CHECKSUM).unwrap_or_default();
        let after = self
            .raw
            .get(CHECKSUM.saturating_add(4)..)
            .unwrap_or_default();
        let parts: [&[u8]; 6] = [
            &superblock.uuid,
            &number,
            generation,
            before,
            &[0; 4],
            after,
        ];
        crc32_from(u32::MAX, &parts)
    }

    fn has_inline(&self, flag: u8) -> bool {
        u8_at(self.raw, 3) & flag != 0
    }

    /// Whether an inode is a file of a user whose blocks hold its contents alone: not the tree of
    /// hashes that fs-verity keeps behind the end of a file.
    pub(super) fn is_plain_file(&self, superblock: &Superblock) -> bool {
        le16(self.raw, 0) & FORMAT == REGULAR
            && u8_at(self.raw, 2) & VERITY == 0
            && !superblock.quota_inodes.contains(&self.node.number)
    }

    /// Whether an inode has blocks of addresses besides its own.
    pub(super) fn has_nodes(&self) -> bool {
        let nodes = self.raw.get(NODES..FOOTER).unwrap_or_default();
        nodes.iter().any(|&byte| byte != 0)
    }

    /// The addresses of blocks of data in this node, holes and marks among them; none if it holds
    /// nodes, attributes, or data itself.
    pub(super) fn addresses(&self, superblock: &Superblock) -> impl Iterator<Item = u32> + use<'a> {
        let words = if self.node.is_inode() {
            self.inode_words(superblock)
        } else if is_direct(le32(self.raw, FOOTER.saturating_add(8)) >> 3) {
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
        let extra = usize::from(le16(self.raw, ADDRESSES)) / 4;
        let start = if has_extra { extra } else { 0 };
        let attributes = if superblock.features.has_flexible_inline_attributes() && has_extra {
            usize::from(le16(self.raw, ADDRESSES.saturating_add(2)))
        } else if self.has_inline(INLINE_XATTR) {
            INLINE_ATTRIBUTES
        } else {
            0
        };
        let end = ADDRESSES_MAX.checked_sub(attributes)?;
        let at = |word: usize| ADDRESSES.saturating_add(word.saturating_mul(4));
        self.raw.get(at(start)..at(end))
    }
}

/// Whether the node at this offset among those of its inode has addresses of blocks: the inode is
/// 0, 1 and 2 have addresses, 3 has the nodes that follow it, as the next one of two; the last one
/// has nodes that have nodes (Linux, `IS_DNODE`).
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
