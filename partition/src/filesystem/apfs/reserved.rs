//! What must be in use whatever the volumes hold: if it is not, the bitmaps are not right.

use super::spaceman::Spaceman;
use super::superblock::{Blocks, Superblock};
use crate::error::{Corrupt, Result};
use crate::extent::ExtentMap;

/// The container's own structures in places of their own, and the fields that name them.
pub(super) fn structures(
    superblock: &Superblock,
    spaceman: &Spaceman,
) -> impl Iterator<Item = (Blocks, &'static str)> {
    let object = &superblock.object;
    let range = |offset: usize| Blocks {
        start: object.u64(offset),
        count: object.u64(offset.saturating_add(8)),
    };
    let block = |offset: usize| Blocks {
        start: object.u64(offset),
        count: 1,
    };
    let zero = Blocks { start: 0, count: 1 };
    let always = [
        (zero, "block 0"),
        (superblock.descriptors, "nx_xp_desc_base"),
        (superblock.data, "nx_xp_data_base"),
        (spaceman.pool, "sm_ip_base"),
        (spaceman.pool_bitmaps, "sm_ip_bm_base"),
        (block(160), "nx_omap_oid"),
    ];
    // Where there are any.
    let optional = [
        (block(1272), "nx_efi_jumpstart"),
        (range(1296), "nx_keylocker"),
        (range(1392), "nx_mkb_locker"),
    ];
    let optional = optional
        .into_iter()
        .filter(|(blocks, _)| blocks.start != 0 && blocks.count != 0);
    always.into_iter().chain(optional)
}

/// Checks that the bitmaps have the container's own structures in use.
///
/// # Errors
/// [`crate::Error::Corrupt`] when one lies outside of the container, or is free.
pub(super) fn check(superblock: &Superblock, spaceman: &Spaceman, used: &ExtentMap) -> Result<()> {
    for (blocks, field) in structures(superblock, spaceman) {
        let is_used = superblock
            .extent(blocks)
            .is_some_and(|extent| used.contains(extent));
        if !is_used {
            return Err(free(superblock, blocks, field).into());
        }
    }
    Ok(())
}

fn free(superblock: &Superblock, blocks: Blocks, field: &'static str) -> Corrupt {
    let found = format!("blocks {}+{} free", blocks.start, blocks.count);
    let expected = "blocks in use by the bitmaps";
    superblock.object.corrupt(field, expected, found)
}
