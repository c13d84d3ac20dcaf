//! Another UUID for ext2, ext3 and ext4: in all superblocks, and in what their checksums begin with.
//!
//! With `metadata_csum` the checksum of each structure begins with the UUID, or with `s_checksum_seed` where the
//! feature `metadata_csum_seed` is on. Here it is turned on with the seed of the UUID that was, so that no
//! structure changes but the superblocks. With `gdt_csum` alone the checksums of descriptors begin with the UUID,
//! and each of them changes.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", sections "Super Block" and "Checksums":
//! <https://docs.kernel.org/filesystems/ext4/index.html>.

use super::address::{Block, Group};
use super::checksum::crc32c;
use super::descriptor::{Descriptors, Table, crc16_of};
use super::feature;
use super::superblock::{LEN_BYTES, MAGIC, OFFSET_BYTES, Superblock, uuid};
use crate::bytes::{le16, le32};
use crate::device::{Patches, ReadAt, read_vec};
use crate::error::{Error, Result};
use crate::filesystem::own_id::put;
use crate::own_id::OwnIds;

/// `EXT4_FEATURE_COMPAT_STABLE_INODES`: keys of encrypted files are made with the UUID.
const COMPAT_STABLE_INODES: u32 = 0x800;

/// See [`crate::filesystem::Filesystem::with_own_id`].
pub(super) fn patches(
    superblock: &Superblock,
    device: &dyn ReadAt,
    ids: &OwnIds,
) -> Result<Patches> {
    if superblock.features.has_compat(COMPAT_STABLE_INODES) {
        return Err(Error::unsupported(
            "another UUID for an ext4 with stable_inodes".to_owned(),
            "its encrypted files could not be read any more",
        ));
    }
    let old = uuid::Uuid::from_bytes(superblock.uuid);
    let change = Change {
        superblock,
        device,
        uuid: ids.uuid(old).into_bytes(),
    };
    let mut patches = Patches::new();
    if old.is_nil() {
        return Ok(patches);
    }
    for group in (0..superblock.groups).map(Group) {
        if superblock.has_superblock(group) {
            change.superblock(group, &mut patches)?;
        }
    }
    let features = superblock.features;
    if features.has_descriptor_checksums() && !features.has_metadata_csum() {
        let mut descriptors = Descriptors::new(superblock, device);
        while let Some(table) = descriptors.next_raw()? {
            change.descriptors(&table, &mut patches)?;
        }
        change.descriptor_copies(&mut patches)?;
    }
    Ok(patches)
}

struct Change<'a> {
    superblock: &'a Superblock,
    device: &'a dyn ReadAt,
    /// The UUID that shall be.
    uuid: [u8; 16],
}

impl Change<'_> {
    /// The superblock of a group. A copy that is none of this filesystem's stays as it is.
    fn superblock(&self, group: Group, patches: &mut Patches) -> Result<()> {
        let at = match group {
            Group(0) => OFFSET_BYTES,
            _ => self.superblock.byte(self.superblock.group_header(group)),
        };
        let old = read_vec(self.device, at, LEN_BYTES)?;
        let is_own = le16(&old, 0x38) == MAGIC && uuid(&old, 0x68) == self.superblock.uuid;
        let has_sum = self.superblock.features.has_metadata_csum();
        let is_sound = |raw: &[u8]| !has_sum || le32(raw, 0x3fc) == sum(raw);
        if !is_own || !is_sound(&old) {
            return Ok(());
        }
        let mut new = old.clone();
        put(&mut new, 0x68, &self.uuid);
        if has_sum && le32(&old, 0x60) & feature::INCOMPAT_CSUM_SEED == 0 {
            let incompat = le32(&old, 0x60) | feature::INCOMPAT_CSUM_SEED;
            put(&mut new, 0x60, &incompat.to_le_bytes());
            let seed = self.superblock.checksum_seed;
            put(&mut new, 0x270, &seed.to_le_bytes());
        }
        if has_sum {
            let sum = sum(&new);
            put(&mut new, 0x3fc, &sum.to_le_bytes());
        }
        patches.add(at, &old, &new)
    }

    /// The checksums of descriptors, as far as they are right.
    fn descriptors(&self, table: &Table, patches: &mut Patches) -> Result<()> {
        let superblock = self.superblock;
        let renamed = Superblock {
            uuid: self.uuid,
            ..superblock.clone()
        };
        let mut new = table.raw.clone();
        let len = superblock.descriptor_len();
        for (group, raw) in (table.first.0..).zip(new.chunks_exact_mut(len)) {
            let group = Group(group);
            if le16(raw, 0x1e) == crc16_of(superblock, group, raw) {
                let sum = crc16_of(&renamed, group, raw);
                put(raw, 0x1e, &sum.to_le_bytes());
            }
        }
        patches.add(table.offset_bytes, &table.raw, &new)
    }

    /// Those of the copies of the table, which lie behind copies of the superblock. Copies in meta block groups
    /// stay as they are: nobody reads them but a repair, which makes them anew.
    fn descriptor_copies(&self, patches: &mut Patches) -> Result<()> {
        let superblock = self.superblock;
        let blocks = match superblock.features.has_incompat(feature::INCOMPAT_META_BG) {
            true => superblock.first_meta_bg,
            false => superblock.descriptor_blocks(),
        };
        let descriptors = blocks.saturating_mul(superblock.descriptors_per_block());
        let len = descriptors.min(superblock.groups) as usize * superblock.descriptor_len();
        for group in (1..superblock.groups).map(Group) {
            let first = Block(superblock.group_header(group).0.saturating_add(1));
            let is_there = superblock.extent(first, blocks.into()).is_some();
            if !superblock.has_superblock(group) || !is_there {
                continue;
            }
            let offset_bytes = superblock.byte(first);
            let raw = read_vec(self.device, offset_bytes, len)?;
            let copy = Table {
                first: Group(0),
                offset_bytes,
                raw,
            };
            self.descriptors(&copy, patches)?;
        }
        Ok(())
    }
}

/// `s_checksum` of a superblock.
fn sum(raw: &[u8]) -> u32 {
    crc32c(!0, raw.get(..0x3fc).unwrap_or_default())
}
