//! The superblock: every field that says where things are, checked before it is used.
//!
//! `struct btrfs_super_block` (btrfs on-disk format, "Superblock"; the kernel's
//! `include/uapi/linux/btrfs_tree.h`).

use super::address::Logical;
use super::feature::Features;
use super::ids::TreeId;
use crate::bytes::{le16, le32, le64, u8_at};
use crate::error::{Checked, Corrupt};
use crate::filesystem::extents::Checksum;

/// Where the primary superblock starts.
pub(super) const OFFSET_BYTES: u64 = 64 << 10;
/// Size of the superblock.
pub(super) const LEN_BYTES: usize = 4096;
/// Where its copies start, as far as the device reaches (`btrfs_sb_offset`).
pub(super) const MIRRORS: [u64; 2] = [64 << 20, 256 << 30];
/// `magic`, at 0x40.
pub(super) const MAGIC: &[u8; 8] = b"_BHRfS_M";

/// The highest level of a tree: `BTRFS_MAX_LEVEL` - 1.
pub(super) const LEVEL_MAX: u8 = 7;
/// Where `sys_chunk_array` starts in the superblock.
const SYS_CHUNK_ARRAY_AT: usize = 0x32b;
/// Size of `sys_chunk_array`.
const SYS_CHUNK_ARRAY_BYTES: usize = 2048;
/// Where the system chunks start on the device.
pub(super) const SYSTEM_CHUNKS_AT_BYTES: u64 = OFFSET_BYTES + SYS_CHUNK_ARRAY_AT as u64;

/// Where a tree starts, or a part of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root {
    /// The tree that the block must name as its owner. `None` where several trees may share the
    /// block: it names the first of them.
    pub(super) owner: Option<TreeId>,
    /// Where its top block is.
    pub(super) logical: Logical,
    pub(super) generation: u64,
    pub(super) level: u8,
}

/// The device that the superblock is on (`dev_item`, a `struct btrfs_dev_item`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Device {
    /// `devid`.
    pub(super) id: u64,
    /// The bytes that the filesystem uses of the device; at most the volume's.
    pub(super) total_bytes: u64,
    pub(super) uuid: [u8; 16],
}

/// A checked superblock.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    pub(super) features: Features,
    pub(super) checksum: Checksum,
    /// The UUID in every tree block: `metadata_uuid` where there is one, or else `fsid`.
    pub(super) tree_uuid: [u8; 16],
    pub(super) root_tree: Root,
    pub(super) chunk_tree: Root,
    pub(super) device: Device,
    /// `sectorsize`: the unit of allocation.
    pub(super) sector_bytes: u32,
    /// `nodesize`: the size of every tree block.
    pub(super) node_bytes: u32,
    /// The used part of `sys_chunk_array`.
    pub(super) system_chunks: Vec<u8>,
}

/// Says that a field of the superblock is not as it must be.
pub(super) fn corrupt(
    field: &'static str,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Corrupt {
    Corrupt::new("btrfs superblock", field, OFFSET_BYTES, expected, found)
}

fn check(
    is_valid: bool,
    field: &'static str,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Checked {
    if is_valid {
        Ok(())
    } else {
        Err(corrupt(field, expected, found))
    }
}

/// The kind of checksum, once the superblock's own was compared. `None` when klon doesn't know the
/// kind.
pub(super) fn checksum(raw: &[u8]) -> Checked<Option<Checksum>> {
    let csum_type = le16(raw, 0xc4);
    let Some(checksum) = Checksum::new(csum_type) else {
        return Ok(None);
    };
    let compared = checksum.verify(raw);
    compared.map_err(|mismatch| corrupt("csum", mismatch.computed, mismatch.stored))?;
    Ok(Some(checksum))
}

impl Superblock {
    /// Parses and checks the superblock in `raw` (4096 bytes, checksum compared) of a volume of
    /// `volume_bytes`.
    pub(super) fn parse(raw: &[u8], checksum: Checksum, volume_bytes: u64) -> Checked<Self> {
        let features = Features::parse(raw);
        let (fsid, metadata_uuid) = (uuid(raw, 0x20), uuid(raw, 0x23b));
        let tree_uuid = if features.has_metadata_uuid() {
            metadata_uuid
        } else {
            fsid
        };
        let (sectorsize, nodesize) = (le32(raw, 0x90), le32(raw, 0x94));
        check_sizes(sectorsize, nodesize)?;
        let dev_item_fsid = uuid::Uuid::from_bytes(uuid(raw, 0x11b));
        let expected = uuid::Uuid::from_bytes(tree_uuid);
        let is_of_device = dev_item_fsid == expected;
        check(is_of_device, "dev_item.fsid", expected, dev_item_fsid)?;
        let superblock = Self {
            features,
            checksum,
            tree_uuid,
            root_tree: root_tree(raw),
            chunk_tree: chunk_tree(raw),
            device: device(raw, volume_bytes)?,
            sector_bytes: sectorsize,
            node_bytes: nodesize,
            system_chunks: system_chunks(raw)?,
        };
        superblock.check_roots()?;
        Ok(superblock)
    }

    fn check_roots(&self) -> Checked {
        let (root, chunk) = (self.root_tree, self.chunk_tree);
        let levels = "0 to 7";
        check(root.level <= LEVEL_MAX, "root_level", levels, root.level)?;
        let is_level = chunk.level <= LEVEL_MAX;
        check(is_level, "chunk_root_level", levels, chunk.level)?;
        let is_older = chunk.generation <= root.generation;
        let expected = format!("at most generation {}", root.generation);
        let field = "chunk_root_generation";
        check(is_older, field, expected, chunk.generation)
    }

    /// Tree blocks that the device has room for. A walk over more of them is in a cycle.
    pub(super) fn tree_blocks_max(&self) -> u64 {
        self.device.total_bytes / u64::from(self.node_bytes)
    }
}

fn root_tree(raw: &[u8]) -> Root {
    let (generation, root, root_level) = (le64(raw, 0x48), le64(raw, 0x50), u8_at(raw, 0xc6));
    Root {
        owner: Some(TreeId::ROOT),
        logical: Logical::new(root),
        generation,
        level: root_level,
    }
}

fn chunk_tree(raw: &[u8]) -> Root {
    let (chunk_root, chunk_root_level) = (le64(raw, 0x58), u8_at(raw, 0xc7));
    let chunk_root_generation = le64(raw, 0xa4);
    Root {
        owner: Some(TreeId::CHUNK),
        logical: Logical::new(chunk_root),
        generation: chunk_root_generation,
        level: chunk_root_level,
    }
}

fn check_sizes(sectorsize: u32, nodesize: u32) -> Checked {
    let is_size = |size: u32| size.is_power_of_two() && (4096..=65_536).contains(&size);
    let expected = "a power of two from 4096 to 65536";
    check(is_size(sectorsize), "sectorsize", expected, sectorsize)?;
    let is_node = is_size(nodesize) && nodesize >= sectorsize;
    let expected = format!("a power of two from {sectorsize} to 65536");
    check(is_node, "nodesize", expected, nodesize)
}

fn device(raw: &[u8], volume_bytes: u64) -> Checked<Device> {
    let (devid, total_bytes) = (le64(raw, 0xc9), le64(raw, 0xd1));
    let is_valid = total_bytes >= super::RESERVED_BYTES && total_bytes <= volume_bytes;
    let expected = format!("1 MiB to the volume's {volume_bytes} bytes");
    check(is_valid, "dev_item.total_bytes", expected, total_bytes)?;
    Ok(Device {
        id: devid,
        total_bytes,
        uuid: uuid(raw, 0x10b),
    })
}

fn system_chunks(raw: &[u8]) -> Checked<Vec<u8>> {
    let sys_chunk_array_size = le32(raw, 0xa0);
    let array = raw.get(SYS_CHUNK_ARRAY_AT..).and_then(|rest| {
        rest.get(..SYS_CHUNK_ARRAY_BYTES)?
            .get(..sys_chunk_array_size as usize)
    });
    match array {
        Some(array) if !array.is_empty() => Ok(array.to_vec()),
        _ => Err(corrupt(
            "sys_chunk_array_size",
            "1 to 2048",
            sys_chunk_array_size,
        )),
    }
}

/// The 16 bytes at `offset`; zeroes when they are not there.
pub(super) fn uuid(raw: &[u8], offset: usize) -> [u8; 16] {
    let field = raw.get(offset..).and_then(<[u8]>::first_chunk);
    field.copied().unwrap_or_default()
}
