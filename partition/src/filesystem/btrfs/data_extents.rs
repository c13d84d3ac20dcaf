//! The walk over data extents: the extent tree and the checksum tree, merged by address.

use super::address::LogicalRange;
use super::checksums::ChecksumTree;
use super::extent_item::{
    BLOCK_GROUP_ITEM, EXTENT_ITEM, ExtentItem, ExtentItems, METADATA_ITEM, is_reference,
};
use super::roots::Roots;
use super::tree::{Items, Tree};
use crate::error::{Corrupt, Result};
use crate::filesystem::extents::{Copies, DataExtent, ExtentVisitor, Sectors};
use std::ops::ControlFlow;

/// Tells `visitor` of every data extent. Both trees ascend by address, so a leaf of each is all
/// that is held, beside what is read ahead.
///
/// # Errors
/// [`crate::Error::Corrupt`] when a structure fails its check, [`crate::Error::Io`] when the device
/// fails.
pub(super) fn data_extents(tree: Tree<'_>, visitor: &mut dyn ExtentVisitor) -> Result<()> {
    let roots = Roots::read(tree)?;
    let mut walk = Walk {
        sector_bytes: tree.superblock.sector_bytes,
        checksums: ChecksumTree::new(tree, roots.checksum_tree(tree)?),
        visitor,
    };
    let mut extents = ExtentItems::new(tree);
    let mut items = Items::new(tree, roots.extent_tree);
    while let Some(item) = items.next()? {
        match item.key.kind {
            EXTENT_ITEM | METADATA_ITEM => {
                let extent = extents.parse(&item)?;
                if !extent.is_tree_block && walk.extent(&extent)?.is_break() {
                    return Ok(());
                }
            }
            BLOCK_GROUP_ITEM => {}
            kind if is_reference(kind) => {}
            _ => return Err(item.unexpected("an extent, a reference or a block group")),
        }
    }
    walk.checksums.read_to_end()
}

struct Walk<'a> {
    sector_bytes: u32,
    checksums: ChecksumTree<'a>,
    visitor: &'a mut dyn ExtentVisitor,
}

impl Walk<'_> {
    /// Tells of an extent and of all its sectors.
    fn extent(&mut self, item: &ExtentItem) -> Result<ControlFlow<()>> {
        let extent = DataExtent {
            logical_bytes: item.range.start().bytenr(),
            len_bytes: item.range.len_bytes(),
            generation: item.generation,
            flags: item.flags,
            copies: copies(item, item.range)?,
        };
        if self.visitor.extent(&extent).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let mut rest = Some(item.range);
        while let Some(wanted) = rest {
            let found = self.checksums.first(wanted)?;
            let sectors = Sectors {
                offset_bytes: item.range.offset_of(found.range).unwrap_or_default(),
                sector_bytes: self.sector_bytes,
                copies: copies(item, found.range)?,
                checksums: found.checksums,
            };
            if self.visitor.sectors(&extent, &sectors).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            rest = LogicalRange::between(found.range.end(), wanted.end());
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Where a part of an extent lies on the device.
fn copies(item: &ExtentItem, part: LogicalRange) -> Result<Copies> {
    let copies = item.chunk.physical(part);
    copies.ok_or_else(|| {
        let at = item.chunk.stripes.first.offset_bytes();
        let expected = format!("a range in chunk {}", item.chunk.logical);
        Corrupt::new("btrfs extent", "key", at, expected, part).into()
    })
}
