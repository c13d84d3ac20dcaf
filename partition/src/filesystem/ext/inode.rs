//! Inodes: one from its table, checked, and the blocks that it maps.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", sections "Index Nodes" and "The
//! Contents of inode.i_block".

use super::checksum::crc32c;
use super::descriptor::Descriptors;
use super::superblock::{Checked, Superblock, wide};
use crate::bytes::{le16, le32};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};

const STRUCTURE: &str = "ext inode";
/// `EXT4_IMMUTABLE_FL`
const FLAG_IMMUTABLE: u32 = 0x10;
/// `EXT4_EXTENTS_FL`
const FLAG_EXTENTS: u32 = 0x8_0000;
/// `EXT4_EA_INODE_FL`
const FLAG_ATTRIBUTE_VALUE: u32 = 0x20_0000;
const FLAG_INLINE_DATA: u32 = 0x1000_0000;

/// What an inode is, of the kinds that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileType {
    Regular,
    Directory,
    Symlink,
    Other,
}

/// An inode in use, as far as it says where its blocks are.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub(super) number: u32,
    pub(super) offset_bytes: u64,
    pub(super) file_type: FileType,
    pub(super) size_bytes: u64,
    pub(super) has_extents: bool,
    /// Whether `i_block` holds block numbers at all.
    pub(super) has_blocks: bool,
    /// Whether its contents are the value of an extended attribute.
    pub(super) is_attribute_value: bool,
    /// Whether it must not be changed.
    pub(super) is_immutable: bool,
    /// Block of extended attributes (`i_file_acl`); 0 for none.
    pub(super) attribute_block: u64,
    /// `i_block`: 60 bytes.
    pub(super) block_map: [u8; 60],
    /// What the checksums of this inode's own blocks start from.
    pub(super) checksum_seed: u32,
}

impl Inode {
    /// Reads inode `number` from its table.
    pub(super) fn read(superblock: &Superblock, device: &dyn ReadAt, number: u32) -> Result<Self> {
        let index = number.wrapping_sub(1);
        let group = index / superblock.inodes_per_group.max(1);
        let found = if number == 0 || number > superblock.inodes {
            None
        } else {
            Descriptors::new(superblock, device).of_group(group)?
        };
        let Some(descriptor) = found else {
            let expected = format!("1 to {}", superblock.inodes);
            return Err(Corrupt::new(STRUCTURE, "number", 0, expected, number).into());
        };
        let in_table = u64::from(index % superblock.inodes_per_group.max(1))
            .saturating_mul(superblock.inode_bytes.into());
        let offset_bytes = superblock
            .byte(descriptor.inode_table)
            .saturating_add(in_table);
        let len = usize::try_from(superblock.inode_bytes).unwrap_or(usize::MAX);
        let raw = read_vec(device, offset_bytes, len)?;
        Ok(Self::parse(superblock, number, offset_bytes, &raw)?)
    }

    /// Checks and parses the inode in `raw`, which is as long as the filesystem's inodes are.
    pub(super) fn parse(
        superblock: &Superblock,
        number: u32,
        offset_bytes: u64,
        raw: &[u8],
    ) -> Checked<Self> {
        let number_seed = crc32c(superblock.checksum_seed, &number.to_le_bytes());
        let checksum_seed = crc32c(number_seed, raw.get(0x64..0x68).unwrap_or_default());
        if superblock.features.has_metadata_csum() {
            check_checksum(checksum_seed, number, offset_bytes, raw)?;
        }
        let flags = le32(raw, 0x20);
        let size_bytes = wide(le32(raw, 0x04), le32(raw, 0x6c));
        let file_type = match le16(raw, 0x00) & 0xf000 {
            0x8000 => FileType::Regular,
            0x4000 => FileType::Directory,
            0xa000 => FileType::Symlink,
            _ => FileType::Other,
        };
        // A short symbolic link keeps its target where the block numbers would be.
        let is_mapped = match file_type {
            FileType::Regular | FileType::Directory => true,
            FileType::Symlink => size_bytes >= 60 || flags & FLAG_EXTENTS != 0,
            FileType::Other => false,
        };
        let block_map = raw.get(0x28..0x64).and_then(|field| field.try_into().ok());
        Ok(Self {
            number,
            offset_bytes,
            file_type,
            size_bytes,
            has_extents: flags & FLAG_EXTENTS != 0,
            has_blocks: is_mapped && flags & FLAG_INLINE_DATA == 0,
            is_attribute_value: flags & FLAG_ATTRIBUTE_VALUE != 0,
            is_immutable: flags & FLAG_IMMUTABLE != 0,
            attribute_block: u64::from(le16(raw, 0x76)) << 32 | u64::from(le32(raw, 0x68)),
            block_map: block_map.unwrap_or([0; 60]),
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

fn check_checksum(seed: u32, number: u32, offset_bytes: u64, raw: &[u8]) -> Checked {
    let is_large = raw.len() > 128;
    // i_checksum_hi is there when i_extra_isize reaches over it.
    let has_high = is_large && le16(raw, 0x80) >= 4;
    let high = if has_high {
        u32::from(le16(raw, 0x82))
    } else {
        0
    };
    let stored = high << 16 | u32::from(le16(raw, 0x7c));
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
