//! What must be in use whatever the volumes hold: if it is not, the bitmaps are not right.

use super::address::{Blocks, Paddr};
use super::spaceman::Spaceman;
use super::superblock::Superblock;
use crate::error::{Corrupt, Result};
use crate::extent::ExtentMap;

/// The container's own structures in places of their own, and the fields that name them.
pub(super) fn structures(
    superblock: &Superblock,
    spaceman: &Spaceman,
) -> impl Iterator<Item = (Blocks, &'static str)> {
    let object = &superblock.object;
    let nx_omap_oid = Blocks::one(object.paddr(160));
    let nx_efi_jumpstart = Blocks::one(object.paddr(1272));
    let (nx_keylocker, nx_mkb_locker) = (object.prange(1296), object.prange(1392));
    let always = [
        (Blocks::one(Paddr(0)), "block 0"),
        (superblock.descriptors, "nx_xp_desc_base"),
        (superblock.data, "nx_xp_data_base"),
        (spaceman.pool, "sm_ip_base"),
        (spaceman.pool_bitmaps, "sm_ip_bm_base"),
        (nx_omap_oid, "nx_omap_oid"),
    ];
    // Where there are any.
    let optional = [
        (nx_efi_jumpstart, "nx_efi_jumpstart"),
        (nx_keylocker, "nx_keylocker"),
        (nx_mkb_locker, "nx_mkb_locker"),
    ];
    let optional = optional
        .into_iter()
        .filter(|(blocks, _)| blocks.start != Paddr(0) && blocks.count != 0);
    always.into_iter().chain(optional)
}

/// Checks that the bitmaps have the container's own structures in use.
///
/// # Errors
/// [`crate::Error::Corrupt`] when one lies outside of the container, or is free.
pub(super) fn check(superblock: &Superblock, spaceman: &Spaceman, used: &ExtentMap) -> Result<()> {
    for (blocks, field) in structures(superblock, spaceman) {
        let is_used = superblock
            .container
            .extent(blocks)
            .is_some_and(|extent| used.contains(extent));
        if !is_used {
            return Err(free(superblock, blocks, field).into());
        }
    }
    Ok(())
}

fn free(superblock: &Superblock, blocks: Blocks, field: &'static str) -> Corrupt {
    let found = format!("blocks {blocks} free");
    let expected = "blocks in use by the bitmaps";
    superblock.object.corrupt(field, expected, found)
}
