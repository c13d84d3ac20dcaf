//! The leaves of a tree, around blocks that can't be read.

use super::superblock::Root;
use super::tree::{Block, Pointer, Tree, push_children};
use crate::error::{Corrupt, Result};
use crate::filesystem::owners::Gaps;

/// What is to be read of a tree.
pub(super) trait Visitor {
    /// Whether the leaf at that logical address may hold anything of interest.
    fn wants(&mut self, logical: u64) -> bool {
        let _ = logical;
        true
    }

    /// Told of each leaf; whether to go on.
    fn leaf(&mut self, logical: u64, block: &Block) -> bool;
}

/// Visits the leaves below `root` in order. Blocks of which both copies are bad are noted in
/// `gaps`, and so is more of them than the device has room for.
pub(super) fn leaves(tree: &Tree<'_>, root: Root, gaps: &Gaps, visitor: &mut dyn Visitor) {
    let node_bytes = u64::from(tree.superblock.node_bytes);
    let mut blocks_left = tree.superblock.device.total_bytes / node_bytes.max(1);
    let mut pending = vec![Pointer::from(root)];
    while let Some(pointer) = pending.pop() {
        let is_leaf = pointer.root.level == 0;
        if is_leaf && !visitor.wants(pointer.root.logical) {
            continue;
        }
        let Some(left) = blocks_left.checked_sub(1) else {
            let found = format!("a cycle at {:#x}", pointer.root.logical);
            let expected = "a tree without cycles";
            gaps.note(Corrupt::new("btrfs tree", "blockptr", 0, expected, found));
            return;
        };
        blocks_left = left;
        let visited = visit(tree, pointer, &mut pending, visitor);
        if gaps.tolerate(visited) == Some(false) {
            return;
        }
    }
}

fn visit(
    tree: &Tree<'_>,
    pointer: Pointer,
    pending: &mut Vec<Pointer>,
    visitor: &mut dyn Visitor,
) -> Result<bool> {
    let block = tree.read_any(pointer)?;
    if block.level() == 0 {
        return Ok(visitor.leaf(pointer.root.logical, &block));
    }
    push_children(&block, pointer.root, pending)?;
    Ok(true)
}
