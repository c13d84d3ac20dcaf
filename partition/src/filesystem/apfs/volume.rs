//! Volumes: their trees, and which blocks those say are contents of files.
//!
//! Layouts of `apfs_superblock_t`, `j_phys_ext_key_t`, `j_phys_ext_val_t` and
//! `j_snap_metadata_val_t`: Apple File System Reference, "Volumes", "File-System Objects",
//! "Snapshot Metadata".

use super::node::{EXTENTS, SNAPSHOTS};
use super::object::{FS, Object};
use super::omap;
use super::superblock::Blocks;
use super::trees::{Record, Trees};
use crate::bytes::le64;
use crate::error::Result;
use crate::filesystem::gather::Gather;

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

/// Takes in the trees of the volume `oid`, whose superblock is at the block `number`, named by
/// `named`, and adds to `contents` what of the container only holds contents of its files; whether
/// there was room for that.
///
/// The trees that are read are in the clear in an encrypted volume, too. A volume with features
/// that klon doesn't know has no contents: all that is its counts as metadata.
///
/// # Errors
/// [`crate::Error::Corrupt`] when a structure fails its check or has blocks that are free;
/// [`crate::Error::Io`] when the device fails.
pub(super) fn read(
    trees: &mut Trees<'_>,
    (number, oid): (u64, u64),
    named: (&Object, &'static str),
    contents: &mut Gather,
) -> Result<bool> {
    let structure = "APFS volume superblock";
    let volume = trees.object((structure, FS.into()), (number, oid), named)?;
    let is_one = volume.raw.get(32..36) == Some(MAGIC);
    volume.check(is_one, "apfs_magic", "APSB", "another")?;
    if volume.u64(48) != 0 || volume.u64(56) & !INCOMPATIBLE != 0 {
        return Ok(true);
    }
    omap::read(
        trees,
        volume.u64(128),
        (&volume, "apfs_omap_oid"),
        &mut |_| {},
    )?;
    let mut extent_trees = vec![volume.u64(144)];
    let snapshots = (&volume, "apfs_snap_meta_tree_oid");
    trees.walk(
        SNAPSHOTS,
        volume.u64(152),
        snapshots,
        &mut |trees, record| {
            if record.key.second == SNAPSHOT_RECORD {
                extent_trees.push(snapshot(trees, &record)?);
            }
            Ok(())
        },
    )?;
    let mut has_room = true;
    for tree in extent_trees {
        let named = (&volume, "apfs_extentref_tree_oid");
        trees.walk(EXTENTS, tree, named, &mut |trees, record| {
            has_room &= extent(trees, &record, contents)?;
            Ok(())
        })?;
    }
    Ok(has_room)
}

/// Takes in a snapshot; the block of its tree of extents.
fn snapshot(trees: &mut Trees<'_>, record: &Record<'_>) -> Result<u64> {
    let (object, found) = (record.object, record.value.len());
    let is_whole = found >= SNAPSHOT_BYTES;
    object.check(is_whole, "j_snap_metadata_val_t", SNAPSHOT_BYTES, found)?;
    let (start, count) = (le64(record.value, 8), 1);
    trees.push(Blocks { start, count }, object, "sblock_oid")?;
    Ok(le64(record.value, 0))
}

/// Takes in an extent of a file's, of another stream of a file's, or of an attribute's contents.
fn extent(trees: &Trees<'_>, record: &Record<'_>, contents: &mut Gather) -> Result<bool> {
    let (object, found) = (record.object, record.key.second);
    let is_extent = found == EXTENT_RECORD;
    object.check(is_extent, "obj_id_and_type", EXTENT_RECORD, found)?;
    let field = le64(record.value, 0);
    let (start, count) = (record.key.id, field & LENGTH_MASK);
    let extent = trees.used(Blocks { start, count }, object, "len_and_kind")?;
    // Of any other kind it isn't known whether anything else is there.
    Ok(!KINDS.contains(&(field >> KIND_SHIFT)) || contents.push(extent))
}
