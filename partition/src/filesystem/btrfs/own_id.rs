//! Another UUID: `fsid` of all superblocks. Tree blocks keep the one that they have, and `metadata_uuid` says which
//! that is (`BTRFS_FEATURE_INCOMPAT_METADATA_UUID`).
//!
//! `struct btrfs_super_block` (the kernel's `include/uapi/linux/btrfs_tree.h`).

use super::feature::INCOMPAT_METADATA_UUID;
use super::superblock::{self, LEN_BYTES, MAGIC, MIRRORS, OFFSET_BYTES, Superblock};
use crate::bytes::le64;
use crate::device::{Patches, ReadAt, read_vec};
use crate::error::Result;
use crate::filesystem::own_id::put;
use crate::own_id::OwnIds;

/// `fsid`, `incompat_flags` and `metadata_uuid`.
const FSID: usize = 0x20;
const INCOMPAT_FLAGS: usize = 0xbc;
const METADATA_UUID: usize = 0x23b;

/// See [`crate::filesystem::Filesystem::with_own_id`].
pub(super) fn patches(own: &Superblock, device: &dyn ReadAt, ids: &OwnIds) -> Result<Patches> {
    let mut patches = Patches::new();
    let primary = read_vec(device, OFFSET_BYTES, LEN_BYTES)?;
    let fsid = superblock::uuid(&primary, FSID);
    let new_fsid = ids.uuid(uuid::Uuid::from_bytes(fsid)).into_bytes();
    for at in [OFFSET_BYTES].into_iter().chain(MIRRORS) {
        if at.saturating_add(LEN_BYTES as u64) > device.geometry().size_bytes {
            continue;
        }
        let old = read_vec(device, at, LEN_BYTES)?;
        let is_own = old.get(0x40..0x48) == Some(MAGIC)
            && le64(&old, 0x30) == at
            && superblock::uuid(&old, FSID) == fsid
            && own.checksum.verify(&old).is_ok();
        // What is no copy of the superblock is left alone.
        if !is_own {
            continue;
        }
        let mut new = old.clone();
        put(&mut new, FSID, &new_fsid);
        let flags = le64(&old, INCOMPAT_FLAGS) | INCOMPAT_METADATA_UUID;
        put(&mut new, INCOMPAT_FLAGS, &flags.to_le_bytes());
        put(&mut new, METADATA_UUID, &own.tree_uuid);
        own.checksum.renew(&mut new);
        patches.add(at, &old, &new)?;
    }
    Ok(patches)
}
