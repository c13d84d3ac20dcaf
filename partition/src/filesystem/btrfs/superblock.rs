//! The superblock: every field that says where things are, checked before it is used.
//!
//! Layout of `struct btrfs_super_block`: btrfs on-disk format, "Superblock".

use super::checksum::Checksum;
use super::feature::Features;
use super::ids::{CHUNK_TREE, ROOT_TREE};
use crate::bytes::{le16, le32, le64, u8_at};
use crate::error::Corrupt;

/// Where the primary superblock starts.
pub(super) const OFFSET_BYTES: u64 = 64 << 10;
/// Size of the superblock.
pub(super) const LEN_BYTES: usize = 4096;
/// Where its copies start, as far as the device reaches (`btrfs_sb_offset`).
pub(super) const MIRRORS: [u64; 2] = [64 << 20, 256 << 30];
/// `magic`, at 0x40.
pub(super) const MAGIC: &[u8; 8] = b"_BHRfS_M";

/// Deepest tree: `BTRFS_MAX_LEVEL` - 1.
const LEVEL_MAX: u8 = 7;
/// Size of `sys_chunk_array`.
const SYSTEM_CHUNKS_BYTES_MAX: u32 = 2048;

/// A value read from the disk, or what is wrong with it.
pub(super) type Checked<T = ()> = Result<T, Corrupt>;

/// Where a tree starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root {
    /// Object id of the tree.
    pub(super) tree: u64,
    /// Logical address of its top block.
    pub(super) logical: u64,
    pub(super) generation: u64,
    pub(super) level: u8,
}

/// The device that the superblock is on (`dev_item`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Device {
    pub(super) id: u64,
    /// How much of it the filesystem uses; at most the volume.
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
    /// `sectorsize`, the unit of allocation.
    pub(super) sector_bytes: u32,
    /// `nodesize`, of every tree block.
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

/// The checksum type, after the superblock's own checksum was compared; `None` when klon knows no
/// checksum of that type.
pub(super) fn checksum(raw: &[u8]) -> Checked<Option<Checksum>> {
    let Some(checksum) = Checksum::new(le16(raw, 0xc4)) else {
        return Ok(None);
    };
    let compared = checksum.verify(raw);
    compared.map_err(|(expected, found)| corrupt("csum", expected, found))?;
    Ok(Some(checksum))
}

impl Superblock {
    /// Parses and checks the superblock in `raw` (4096 bytes, checksum compared) of a volume of
    /// `volume_bytes`.
    pub(super) fn parse(raw: &[u8], checksum: Checksum, volume_bytes: u64) -> Checked<Self> {
        let features = Features::parse(raw);
        let (sector_bytes, node_bytes) = sizes(raw)?;
        let tree_uuid = if features.has_metadata_uuid() {
            uuid(raw, 0x23b)
        } else {
            uuid(raw, 0x20)
        };
        let found = uuid::Uuid::from_bytes(uuid(raw, 0x11b));
        let expected = uuid::Uuid::from_bytes(tree_uuid);
        check(found == expected, "dev_item.fsid", expected, found)?;
        let superblock = Self {
            features,
            checksum,
            tree_uuid,
            root_tree: Root {
                tree: ROOT_TREE,
                logical: le64(raw, 0x50),
                generation: le64(raw, 0x48),
                level: u8_at(raw, 0xc6),
            },
            chunk_tree: Root {
                tree: CHUNK_TREE,
                logical: le64(raw, 0x58),
                generation: le64(raw, 0xa4),
                level: u8_at(raw, 0xc7),
            },
            device: device(raw, volume_bytes)?,
            sector_bytes,
            node_bytes,
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
}

fn sizes(raw: &[u8]) -> Checked<(u32, u32)> {
    let (sector_bytes, node_bytes) = (le32(raw, 0x90), le32(raw, 0x94));
    let is_size = |size: u32| size.is_power_of_two() && (4096..=65_536).contains(&size);
    let expected = "a power of two from 4096 to 65536";
    check(is_size(sector_bytes), "sectorsize", expected, sector_bytes)?;
    let is_node = is_size(node_bytes) && node_bytes >= sector_bytes;
    let expected = format!("a power of two from {sector_bytes} to 65536");
    check(is_node, "nodesize", expected, node_bytes)?;
    Ok((sector_bytes, node_bytes))
}

fn device(raw: &[u8], volume_bytes: u64) -> Checked<Device> {
    let total_bytes = le64(raw, 0xd1);
    let is_valid = total_bytes >= super::RESERVED_BYTES && total_bytes <= volume_bytes;
    let expected = format!("1 MiB to the volume's {volume_bytes} bytes");
    check(is_valid, "dev_item.total_bytes", expected, total_bytes)?;
    Ok(Device {
        id: le64(raw, 0xc9),
        total_bytes,
        uuid: uuid(raw, 0x10b),
    })
}

fn system_chunks(raw: &[u8]) -> Checked<Vec<u8>> {
    let len_bytes = le32(raw, 0xa0);
    let is_valid = (1..=SYSTEM_CHUNKS_BYTES_MAX).contains(&len_bytes);
    check(is_valid, "sys_chunk_array_size", "1 to 2048", len_bytes)?;
    let end = usize::try_from(len_bytes)
        .ok()
        .and_then(|len| len.checked_add(0x32b));
    let array = end.and_then(|end| raw.get(0x32b..end));
    Ok(array.unwrap_or_default().to_vec())
}

/// The 16 bytes at `offset`; zeroes when they are not there.
pub(super) fn uuid(raw: &[u8], offset: usize) -> [u8; 16] {
    offset
        .checked_add(16)
        .and_then(|end| raw.get(offset..end))
        .and_then(|field| field.try_into().ok())
        .unwrap_or_default()
}
