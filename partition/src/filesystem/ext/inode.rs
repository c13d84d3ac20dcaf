//! Inodes: one from its table, checked, and the blocks that it maps.
//!
//! Layout of `struct ext4_inode`: kernel documentation, "ext4 Data Structures and Algorithms",
//! sections "Index Nodes" and "The Contents of inode.i_block":
//! <https://docs.kernel.org/filesystems/ext4/index.html>.

use super::address::{Block, Ino};
use super::checksum::crc32c;
use super::descriptor::Descriptors;
use super::superblock::{Superblock, wide};
use crate::bytes::{le16, le32};
use crate::device::{ReadAt, read_vec};
use crate::error::{Checked, Corrupt, Result};

const STRUCTURE: &str = "ext inode";
/// `EXT4_IMMUTABLE_FL`
const FLAG_IMMUTABLE: u32 = 0x10;
/// `EXT4_EXTENTS_FL`
const FLAG_EXTENTS: u32 = 0x8_0000;
/// `EXT4_EA_INODE_FL`
const FLAG_ATTRIBUTE_VALUE: u32 = 0x20_0000;
/// `EXT4_INLINE_DATA_FL`
const FLAG_INLINE_DATA: u32 = 0x1000_0000;

/// Where `i_block` is in an inode, and its size.
const I_BLOCK: usize = 0x28;
const BLOCK_MAP_LEN: usize = 60;

/// What an inode is, of the kinds that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileType {
    Regular,
    Directory,
    Symlink,
    Other,
}

/// `EXT4_ENCRYPT_FL` and `EXT4_VERITY_FL`
const FLAG_ENCRYPT: u32 = 0x800;
const FLAG_VERITY: u32 = 0x10_0000;

/// An inode in use, as far as it says where its blocks are.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub(super) number: Ino,
    pub(super) offset_bytes: u64,
    pub(super) file_type: FileType,
    pub(super) size_bytes: u64,
    pub(super) has_extents: bool,
    /// Whether `i_block` holds block numbers at all.
    pub(super) has_blocks: bool,
    /// Whether its contents are the value of an extended attribute.
    pub(super) is_attribute_value: bool,
    /// Whether the file must not be changed.
    pub(super) is_immutable: bool,
    /// Whether its contents are encrypted, or have digests elsewhere (fs-verity).
    pub(super) is_sealed: bool,
    /// Block of extended attributes (`i_file_acl`); 0 for none.
    pub(super) attribute_block: Block,
    /// `i_block`
    pub(super) block_map: [u8; BLOCK_MAP_LEN],
    /// What the checksums of this inode's own blocks start from.
    pub(super) checksum_seed: u32,
}

impl Inode {
    /// Reads inode `number` from its table.
    pub(super) fn read(superblock: &Superblock, device: &dyn ReadAt, number: Ino) -> Result<Self> {
        let place = superblock.inode_place(number);
        let descriptor = match place {
            Some(place) => Descriptors::new(superblock, device).of_group(place.group)?,
            None => None,
        };
        let (Some(place), Some(descriptor)) = (place, descriptor) else {
            let expected = format!("1 to {}", superblock.inodes);
            return Err(Corrupt::new(STRUCTURE, "number", 0, expected, number).into());
        };
        let offset_bytes = superblock.inode_byte(descriptor.inode_table, place.index);
        let raw = read_vec(device, offset_bytes, superblock.inode_bytes as usize)?;
        Ok(Self::parse(superblock, number, offset_bytes, &raw)?)
    }

    /// Checks and parses the inode in `raw`, which is as long as the filesystem's inodes are.
    pub(super) fn parse(
        superblock: &Superblock,
        number: Ino,
        offset_bytes: u64,
        raw: &[u8],
    ) -> Checked<Self> {
        let i_mode = le16(raw, 0x00);
        let i_size_lo = le32(raw, 0x04);
        let i_flags = le32(raw, 0x20);
        let i_block = raw
            .get(I_BLOCK..)
            .and_then(<[u8]>::first_chunk::<BLOCK_MAP_LEN>);
        let i_generation = le32(raw, 0x64);
        let i_file_acl_lo = le32(raw, 0x68);
        let i_size_high = le32(raw, 0x6c);
        let l_i_file_acl_high = le16(raw, 0x76);
        let seed = crc32c(superblock.checksum_seed, &number.0.to_le_bytes());
        let checksum_seed = crc32c(seed, &i_generation.to_le_bytes());
        if superblock.features.has_metadata_csum() {
            check_checksum(checksum_seed, number, offset_bytes, raw)?;
        }
        let size_bytes = wide(i_size_lo, i_size_high);
        let file_type = match i_mode & 0xf000 {
            0x8000 => FileType::Regular,
            0x4000 => FileType::Directory,
            0xa000 => FileType::Symlink,
            _ => FileType::Other,
        };
        let has_extents = i_flags & FLAG_EXTENTS != 0;
        // A short symbolic link keeps its target where the block numbers would be.
        let is_mapped = match file_type {
            FileType::Regular | FileType::Directory => true,
            FileType::Symlink => size_bytes >= BLOCK_MAP_LEN as u64 || has_extents,
            FileType::Other => false,
        };
        Ok(Self {
            number,
            offset_bytes,
            file_type,
            size_bytes,
            has_extents,
            has_blocks: is_mapped && i_flags & FLAG_INLINE_DATA == 0,
            is_attribute_value: i_flags & FLAG_ATTRIBUTE_VALUE != 0,
            is_immutable: i_flags & FLAG_IMMUTABLE != 0,
            is_sealed: i_flags & (FLAG_ENCRYPT | FLAG_VERITY) != 0,
            attribute_block: Block(wide(i_file_acl_lo, l_i_file_acl_high.into())),
            block_map: i_block.copied().unwrap_or([0; BLOCK_MAP_LEN]),
            checksum_seed,
        })
    }

    /// Says that a field of this inode is not as it must be.
    pub(super) fn corrupt(
        &self,
        field: &'static str,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Corrupt {
        Corrupt::new(STRUCTURE, field, self.offset_bytes, expected, found)
    }
}

/// Checks the two halves of the checksum. Their own places count as zeroes.
fn check_checksum(seed: u32, number: Ino, offset_bytes: u64, raw: &[u8]) -> Checked {
    // i_checksum_hi is there when i_extra_isize reaches over it.
    let has_high = raw.len() > 128 && le16(raw, 0x80) >= 4;
    let l_i_checksum_lo = le16(raw, 0x7c);
    let i_checksum_hi = if has_high { le16(raw, 0x82) } else { 0 };
    let stored = u32::from(i_checksum_hi) << 16 | u32::from(l_i_checksum_lo);
    let part = |range: std::ops::Range<usize>| raw.get(range).unwrap_or_default();
    let mut crc = crc32c(seed, part(0..0x7c));
    crc = crc32c(crc, &[0; 2]);
    crc = crc32c(crc, part(0x7e..if has_high { 0x82 } else { raw.len() }));
    if has_high {
        crc = crc32c(crc, &[0; 2]);
        crc = crc32c(crc, part(0x84..raw.len()));
    }
    let computed = if has_high { crc } else { crc & 0xffff };
    if stored == computed {
        return Ok(());
    }
    let expected = format!("{computed:#x} (inode {number})");
    let found = format!("{stored:#x}");
    Err(Corrupt::new(
        STRUCTURE,
        "i_checksum",
        offset_bytes,
        expected,
        found,
    ))
}
