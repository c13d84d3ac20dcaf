//! Volumes: their trees, and which blocks those say are contents of files.
//!
//! Layouts of `apfs_superblock_t`, `j_phys_ext_key_t`, `j_phys_ext_val_t` and
//! `j_snap_metadata_val_t`: Apple File System Reference, "Volumes", "File-System Objects",
//! "Snapshot Metadata".

use super::address::{Blocks, Paddr};
use super::node::{EXTENTS, SNAPSHOTS};
use super::object::{FS, Field, Kind};
use super::omap;
use super::trees::{Mapped, Record, Trees};
use crate::bytes::le64;
use crate::error::Result;
use crate::filesystem::gather::Gather;

/// `apfs_superblock_t`
const SUPERBLOCK: Kind = Kind::new("APFS volume superblock", FS);
/// `apfs_magic`, at 32.
const MAGIC: &[u8; 4] = b"APSB";
/// Bits of `apfs_incompatible_features` up to `APFS_INCOMPAT_SECONDARY_FSROOT`.
const INCOMPATIBLE: u64 = 0x1ff;
/// `APFS_TYPE_SNAP_METADATA`, `APFS_TYPE_EXTENT`.
const SNAPSHOT_RECORD: u64 = 1;
const EXTENT_RECORD: u64 = 2;
/// Up to `extentref_tree_type` and `flags`.
const SNAPSHOT_BYTES: usize = 48;
/// `PEXT_LEN_MASK` and `PEXT_KIND_SHIFT`.
const LENGTH_MASK: u64 = (1 << 60) - 1;
const KIND_SHIFT: u32 = 60;
/// `APFS_KIND_NEW` and `APFS_KIND_UPDATE`.
const KINDS: [u64; 2] = [1, 2];

/// Takes in the trees of the volume whose superblock is `mapped`, which `field` names, and adds to
/// `contents` what of the container only holds contents of its files; whether there was room for
/// that.
///
/// The trees that are read are in the clear in an encrypted volume, too. A volume with features
/// that klon doesn't know has no contents: all that is its counts as metadata.
///
/// # Errors
/// [`crate::Error::Corrupt`] when a structure fails its check or has blocks that are free;
/// [`crate::Error::Io`] when the device fails.
pub(super) fn read(
    trees: &mut Trees<'_>,
    mapped: Mapped,
    field: Field<'_>,
    contents: &mut Gather,
) -> Result<bool> {
    let volume = trees.object(SUPERBLOCK, mapped, field)?;
    let apfs_magic = volume.raw.get(32..36);
    let apfs_readonly_compatible_features = volume.u64(48);
    let apfs_incompatible_features = volume.u64(56);
    let (apfs_omap_oid, apfs_extentref_tree_oid) = (volume.paddr(128), volume.paddr(144));
    let apfs_snap_meta_tree_oid = volume.paddr(152);
    volume.check(apfs_magic == Some(MAGIC), "apfs_magic", "APSB", "another")?;
    if apfs_readonly_compatible_features != 0 || apfs_incompatible_features & !INCOMPATIBLE != 0 {
        return Ok(true);
    }
    let field = volume.field("apfs_omap_oid");
    omap::read(trees, apfs_omap_oid, field, &mut |_| {})?;
    let mut extent_trees = vec![apfs_extentref_tree_oid];
    let root = apfs_snap_meta_tree_oid;
    let field = volume.field("apfs_snap_meta_tree_oid");
    trees.walk(SNAPSHOTS, root, field, &mut |trees, record| {
        if record.key.second == SNAPSHOT_RECORD {
            extent_trees.push(snapshot(trees, &record)?);
        }
        Ok(())
    })?;
    let mut has_room = true;
    for tree in extent_trees {
        let field = volume.field("apfs_extentref_tree_oid");
        trees.walk(EXTENTS, tree, field, &mut |trees, record| {
            has_room &= extent(trees, &record, contents)?;
            Ok(())
        })?;
    }
    Ok(has_room)
}

/// Takes in a snapshot; the block of its tree of extents.
fn snapshot(trees: &mut Trees<'_>, record: &Record<'_>) -> Result<Paddr> {
    let (object, found) = (record.object, record.value.len());
    let is_whole = found >= SNAPSHOT_BYTES;
    object.check(is_whole, "j_snap_metadata_val_t", SNAPSHOT_BYTES, found)?;
    let extentref_tree_oid = Paddr(le64(record.value, 0));
    let sblock_oid = Paddr(le64(record.value, 8));
    trees.push(Blocks::one(sblock_oid), object.field("sblock_oid"))?;
    Ok(extentref_tree_oid)
}

/// Takes in an extent of a file's, of another stream of a file's, or of an attribute's contents.
fn extent(trees: &Trees<'_>, record: &Record<'_>, contents: &mut Gather) -> Result<bool> {
    let (object, found) = (record.object, record.key.second);
    let is_extent = found == EXTENT_RECORD;
    object.check(is_extent, "obj_id_and_type", EXTENT_RECORD, found)?;
    let len_and_kind = le64(record.value, 0);
    let blocks = Blocks {
        start: Paddr(record.key.id),
        count: len_and_kind & LENGTH_MASK,
    };
    let extent = trees.used(blocks, object.field("len_and_kind"))?;
    // Nobody knows whether anything else is there in any other kind.
    Ok(!KINDS.contains(&(len_and_kind >> KIND_SHIFT)) || contents.push(extent))
}
