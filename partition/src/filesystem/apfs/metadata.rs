//! The metadata of a container: all that is in use but contents of files.
//!
//! The trees of extent references name the blocks that hold contents. Each volume and each snapshot
//! has one, with the extents that were new since the snapshot before. All else that is in use is
//! metadata: trees of files and all other trees, volumes' superblocks, bitmaps, the rings, keys, the
//! boot driver, and blocks that only an older checkpoint needs. Trees of files are not read; they
//! may be encrypted.

use super::address::Oid;
use super::object::Object;
use super::omap::{self, Mapping};
use super::reserved;
use super::spaceman::Spaceman;
use super::superblock::Superblock;
use super::trees::{Mapped, Trees};
use super::volume;
use crate::device::ReadAt;
use crate::error::Result;
use crate::extent::ExtentMap;
use crate::filesystem::gather::Gather;
use std::collections::BTreeMap;

/// `nx_fs_oid`, and `NX_MAX_FILE_SYSTEMS`.
const VOLUMES_AT: usize = 184;
const VOLUMES_MAX: usize = 100;

/// The part of `used` that is metadata; `None` when it, or contents, are in too many pieces.
///
/// # Errors
/// [`crate::Error::Corrupt`] when a structure on the way fails its check, is free or shared;
/// [`crate::Error::Io`] when the device fails.
pub(super) fn metadata(
    superblock: &Superblock,
    spaceman: &Spaceman,
    used: &ExtentMap,
    device: &dyn ReadAt,
) -> Result<Option<ExtentMap>> {
    let container = &superblock.object;
    let mut trees = Trees::new(superblock, device, used);
    let mut contents = Gather::new();
    for volume in volumes(&mut trees, container)? {
        let field = container.field("nx_fs_oid");
        let has_room = volume::read(&mut trees, volume, field, &mut contents)?;
        if !has_room || trees.is_full() {
            return Ok(None);
        }
    }
    let places = reserved::structures(superblock, spaceman);
    let fixed: ExtentMap = places
        .filter_map(|(blocks, _)| superblock.container.extent(blocks))
        .collect();
    let (Some(contents), Some(objects)) = (contents.finish(), trees.finish()) else {
        return Ok(None);
    };
    // A damaged tree could claim what is the format's own.
    let contents = contents.difference(&objects).difference(&fixed);
    Ok(Some(used.difference(&contents)))
}

/// The superblocks of the volumes, by the container's object map.
fn volumes(trees: &mut Trees<'_>, container: &Object) -> Result<Vec<Mapped>> {
    let nx_omap_oid = container.paddr(160);
    let nx_fs_oid = (0..VOLUMES_MAX).map(|index| Oid(container.u64(VOLUMES_AT + 8 * index)));
    let mut newest: BTreeMap<Oid, Option<Mapping>> = nx_fs_oid
        .filter(|&oid| oid != Oid(0))
        .map(|oid| (oid, None))
        .collect();
    let field = container.field("nx_omap_oid");
    omap::read(trees, nx_omap_oid, field, &mut |mapping| {
        // Keys ascend, so the last one of an identifier is the newest.
        if let Some(known) = newest.get_mut(&mapping.oid) {
            *known = Some(mapping);
        }
    })?;
    let mut volumes = Vec::new();
    for (oid, mapping) in newest {
        let mapping = mapping.filter(|mapping| mapping.xid <= container.xid());
        let address = mapping.and_then(|mapping| mapping.address);
        let missing = || container.corrupt("nx_fs_oid", "an object in the object map", oid);
        let address = address.ok_or_else(missing)?;
        volumes.push(Mapped { address, oid });
    }
    Ok(volumes)
}
