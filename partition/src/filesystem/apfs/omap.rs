//! Object maps: where virtual objects are, as of each transaction that a snapshot or the newest
//! checkpoint needs.
//!
//! Layouts of `omap_phys_t`, `omap_key_t` and `omap_val_t`: Apple File System Reference, "Object
//! Maps".

use super::node::{OBJECTS, OMAP_SNAPSHOTS};
use super::object::{OMAP, Object};
use super::superblock::Blocks;
use super::trees::Trees;
use crate::bytes::{le32, le64};
use crate::error::Result;

/// `OMAP_VAL_DELETED`.
const DELETED: u32 = 1;

/// Where an object is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapping {
    /// `ok_oid`.
    pub(super) oid: u64,
    /// `ok_xid`.
    pub(super) xid: u64,
    /// `ov_paddr`; `None` for an object that is deleted since this transaction.
    pub(super) block: Option<u64>,
}

/// Takes in the object map at the block `number`, named by `field` of `whose`, and all objects in
/// it; those are not read. Calls `visit` with each.
///
/// # Errors
/// As [`Trees::object`] and [`Trees::walk`].
pub(super) fn read(
    trees: &mut Trees<'_>,
    number: u64,
    named: (&Object, &'static str),
    visit: &mut dyn FnMut(Mapping),
) -> Result<()> {
    let structure = "APFS object map";
    let omap = trees.object((structure, OMAP.into()), (number, number), named)?;
    let block_bytes = u64::from(trees.superblock.block_size_bytes);
    let root = omap.u64(48);
    trees.walk(
        OBJECTS,
        root,
        (&omap, "om_tree_oid"),
        &mut |trees, record| {
            let is_deleted = le32(record.value, 0) & DELETED != 0;
            let (size_bytes, start) = (u64::from(le32(record.value, 4)), le64(record.value, 8));
            visit(Mapping {
                oid: record.key.id,
                xid: record.key.second,
                block: (!is_deleted).then_some(start),
            });
            if is_deleted {
                return Ok(());
            }
            let is_size = size_bytes > 0 && size_bytes.is_multiple_of(block_bytes);
            record
                .object
                .check(is_size, "ov_size", "whole blocks", size_bytes)?;
            let count = size_bytes / block_bytes;
            trees.push(Blocks { start, count }, record.object, "ov_paddr")
        },
    )?;
    let snapshots = omap.u64(56);
    if snapshots == 0 {
        return Ok(());
    }
    let named = (&omap, "om_snapshot_tree_oid");
    trees.walk(OMAP_SNAPSHOTS, snapshots, named, &mut |_, _| Ok(()))
}
