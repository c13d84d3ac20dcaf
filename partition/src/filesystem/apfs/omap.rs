//! Object maps: where virtual objects are, as of each transaction that a snapshot or the newest
//! checkpoint needs.
//!
//! Layouts of `omap_phys_t`, `omap_key_t` and `omap_val_t`: Apple File System Reference, "Object
//! Maps".

use super::address::{Blocks, Oid, Paddr, Xid};
use super::node::{OBJECTS, OMAP_SNAPSHOTS};
use super::object::{Field, Kind, OMAP};
use super::trees::Trees;
use crate::bytes::{le32, le64};
use crate::error::Result;

/// `omap_phys_t`
const OBJECT_MAP: Kind = Kind::new("APFS object map", OMAP);
/// `OMAP_VAL_DELETED`.
const DELETED: u32 = 1;

/// Where an object is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapping {
    /// `ok_oid`.
    pub(super) oid: Oid,
    /// `ok_xid`.
    pub(super) xid: Xid,
    /// `ov_paddr`; `None` for an object that is deleted since this transaction.
    pub(super) address: Option<Paddr>,
}

/// Takes in the object map at the address that `field` has, and all objects in it; those are not
/// read. Calls `visit` with each.
///
/// # Errors
/// As [`Trees::object`] and [`Trees::walk`].
pub(super) fn read(
    trees: &mut Trees<'_>,
    address: Paddr,
    field: Field<'_>,
    visit: &mut dyn FnMut(Mapping),
) -> Result<()> {
    let omap = trees.physical(OBJECT_MAP, address, field)?;
    let (om_tree_oid, om_snapshot_tree_oid) = (omap.paddr(48), omap.paddr(56));
    let block_bytes = u64::from(trees.superblock.container.block_size_bytes);
    let field = omap.field("om_tree_oid");
    trees.walk(OBJECTS, om_tree_oid, field, &mut |trees, record| {
        let (ov_flags, ov_size) = (le32(record.value, 0), u64::from(le32(record.value, 4)));
        let ov_paddr = Paddr(le64(record.value, 8));
        let is_deleted = ov_flags & DELETED != 0;
        visit(Mapping {
            oid: Oid(record.key.id),
            xid: Xid(record.key.second),
            address: (!is_deleted).then_some(ov_paddr),
        });
        if is_deleted {
            return Ok(());
        }
        let is_size = ov_size > 0 && ov_size.is_multiple_of(block_bytes);
        record
            .object
            .check(is_size, "ov_size", "whole blocks", ov_size)?;
        let blocks = Blocks {
            start: ov_paddr,
            count: ov_size / block_bytes,
        };
        trees.push(blocks, record.object.field("ov_paddr"))
    })?;
    if om_snapshot_tree_oid == Paddr(0) {
        return Ok(());
    }
    let field = omap.field("om_snapshot_tree_oid");
    trees.walk(OMAP_SNAPSHOTS, om_snapshot_tree_oid, field, &mut |_, _| {
        Ok(())
    })
}
