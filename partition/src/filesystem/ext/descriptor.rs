//! Group descriptors, read in order and in batches, each one checked.
//!
//! Layout of `struct ext4_group_desc`: kernel documentation, "ext4 Data Structures and
//! Algorithms", section "Block Group Descriptors".

use super::checksum::{crc16, crc32c};
use super::feature;
use super::superblock::{Checked, Superblock, wide};
use crate::bytes::{le16, le32};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};

const BLOCK_UNINIT: u16 = 2;
const INODE_UNINIT: u16 = 1;
const STRUCTURE: &str = "ext group descriptor";
const BATCH_BYTES: u32 = 1 << 20;

/// A checked group descriptor: its tables lie in the filesystem.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptor {
    pub(super) group: u32,
    /// Where the descriptor itself lies.
    pub(super) offset_bytes: u64,
    pub(super) block_bitmap: u64,
    pub(super) inode_bitmap: u64,
    pub(super) inode_table: u64,
    pub(super) free_clusters: u32,
    /// Inodes at the end of the table that were never used.
    pub(super) unused_inodes: u32,
    /// Whether the block bitmap was never written: only the format's own blocks are in use.
    pub(super) is_block_uninit: bool,
    /// Whether no inode of the group was ever used.
    pub(super) is_inode_uninit: bool,
    /// Checksum of the block bitmap and how many bits of it are stored.
    pub(super) bitmap_checksum: (u32, u32),
}

/// Reads the primary group descriptor table from start to end.
pub(super) struct Descriptors<'a> {
    superblock: &'a Superblock,
    device: &'a dyn ReadAt,
    next_block: u32,
    batch_blocks: u32,
}

impl<'a> Descriptors<'a> {
    pub(super) fn new(superblock: &'a Superblock, device: &'a dyn ReadAt) -> Self {
        Self {
            superblock,
            device,
            next_block: 0,
            batch_blocks: (BATCH_BYTES / superblock.block_bytes).max(1),
        }
    }

    /// The raw table from where the last batch ended, and its first group and position; `None`
    /// at the end.
    pub(super) fn next_raw(&mut self) -> Result<Option<(u32, u64, Vec<u8>)>> {
        let superblock = self.superblock;
        let index = self.next_block;
        if index >= superblock.descriptor_blocks() {
            return Ok(None);
        }
        let block = superblock.descriptor_block(index);
        let blocks = self.adjacent(index, block);
        self.next_block = index.saturating_add(blocks);
        let group = index.saturating_mul(superblock.descriptors_per_block());
        let offset_bytes = superblock.byte(block);
        if block.saturating_add(blocks.into()) > superblock.blocks {
            let expected = format!("blocks below {}", superblock.blocks);
            let found = format!("{blocks} blocks from {block}");
            return Err(Corrupt::new(STRUCTURE, "table", offset_bytes, expected, found).into());
        }
        let table_groups = superblock.groups.saturating_sub(group);
        let in_blocks = blocks.saturating_mul(superblock.descriptors_per_block());
        let groups = u64::from(table_groups.min(in_blocks));
        let len_bytes = groups.saturating_mul(superblock.descriptor_bytes.into());
        let len = usize::try_from(len_bytes).unwrap_or(usize::MAX);
        Ok(Some((
            group,
            offset_bytes,
            read_vec(self.device, offset_bytes, len)?,
        )))
    }

    fn adjacent(&self, index: u32, block: u64) -> u32 {
        let rest = self.superblock.descriptor_blocks().saturating_sub(index);
        let is_adjacent = |&ahead: &u32| {
            let next = self
                .superblock
                .descriptor_block(index.saturating_add(ahead));
            next == block.saturating_add(ahead.into())
        };
        let more = (1..self.batch_blocks.min(rest))
            .take_while(is_adjacent)
            .count();
        u32::try_from(more).unwrap_or(0).saturating_add(1)
    }

    /// The next descriptors in order of group; `None` at the end.
    pub(super) fn next_batch(&mut self) -> Result<Option<Vec<Descriptor>>> {
        let batch = self.next_parsed()?;
        let batch = batch.map(|batch| batch.into_iter().collect::<Checked<_>>());
        Ok(batch.transpose()?)
    }

    /// As [`Self::next_batch`], with what is wrong with each that is damaged.
    pub(super) fn next_parsed(&mut self) -> Result<Option<Vec<Checked<Descriptor>>>> {
        let Some((first_group, offset_bytes, raw)) = self.next_raw()? else {
            return Ok(None);
        };
        let len = usize::try_from(self.superblock.descriptor_bytes).unwrap_or(32);
        let descriptors = (first_group..)
            .zip((offset_bytes..).step_by(len))
            .zip(raw.chunks_exact(len))
            .map(|((group, offset_bytes), raw)| {
                Descriptor::parse(self.superblock, group, offset_bytes, raw)
            });
        Ok(Some(descriptors.collect()))
    }

    /// The descriptor of one group.
    pub(super) fn of_group(mut self, group: u32) -> Result<Option<Descriptor>> {
        self.batch_blocks = 1;
        self.next_block = group / self.superblock.descriptors_per_block().max(1);
        let batch = self.next_batch()?.unwrap_or_default();
        Ok(batch
            .into_iter()
            .find(|descriptor| descriptor.group == group))
    }
}

impl Descriptor {
    fn parse(superblock: &Superblock, group: u32, offset_bytes: u64, raw: &[u8]) -> Checked<Self> {
        check_checksum(superblock, group, offset_bytes, raw)?;
        let is_wide = raw.len() >= 64;
        let block = |low, high| wide(le32(raw, low), if is_wide { le32(raw, high) } else { 0 });
        let half = |offset| {
            if is_wide {
                u32::from(le16(raw, offset))
            } else {
                0
            }
        };
        let count = |low, high| half(high) << 16 | u32::from(le16(raw, low));
        // Without a checksum the flags have no meaning; old volumes may hold anything there.
        let flags = if superblock.features.has_descriptor_checksums() {
            le16(raw, 0x12)
        } else {
            0
        };
        let is_inode_uninit = flags & INODE_UNINIT != 0;
        let has_checksums = superblock.features.has_descriptor_checksums();
        let descriptor = Self {
            group,
            offset_bytes,
            block_bitmap: block(0x00, 0x20),
            inode_bitmap: block(0x04, 0x24),
            inode_table: block(0x08, 0x28),
            free_clusters: count(0x0c, 0x2c),
            unused_inodes: if has_checksums { count(0x1c, 0x32) } else { 0 },
            is_block_uninit: flags & BLOCK_UNINIT != 0,
            is_inode_uninit,
            bitmap_checksum: (count(0x18, 0x38), if is_wide { u32::MAX } else { 0xffff }),
        };
        descriptor.check_tables(superblock)?;
        Ok(descriptor)
    }

    fn check_tables(&self, superblock: &Superblock) -> Checked {
        let tables = [
            ("bg_block_bitmap", self.block_bitmap, 1),
            ("bg_inode_bitmap", self.inode_bitmap, 1),
            (
                "bg_inode_table",
                self.inode_table,
                superblock.inode_table_blocks(),
            ),
        ];
        for (field, block, blocks) in tables {
            let end = block.checked_add(blocks.into());
            let is_inside = end.is_some_and(|end| end <= superblock.blocks);
            if !is_inside || block <= superblock.first_data_block {
                let first = superblock.first_data_block;
                let expected = format!("{blocks} blocks between {first} and {}", superblock.blocks);
                return Err(Corrupt::new(
                    STRUCTURE,
                    field,
                    self.offset_bytes,
                    expected,
                    block,
                ));
            }
        }
        Ok(())
    }

    /// Checks the bitmap of this group against its checksum.
    pub(super) fn check_bitmap(&self, superblock: &Superblock, bitmap: &[u8]) -> Checked {
        if !superblock.features.has_metadata_csum() {
            return Ok(());
        }
        let len = usize::try_from(superblock.clusters_per_group / 8).unwrap_or(usize::MAX);
        let (stored, mask) = self.bitmap_checksum;
        let bits = bitmap.get(..len).unwrap_or(bitmap);
        let computed = crc32c(superblock.checksum_seed, bits) & mask;
        if stored == computed {
            return Ok(());
        }
        Err(Corrupt::new(
            "ext block bitmap",
            "bg_block_bitmap_csum",
            superblock.byte(self.block_bitmap),
            format!("{stored:#x}"),
            format!("{computed:#x}"),
        ))
    }
}

fn check_checksum(superblock: &Superblock, group: u32, offset_bytes: u64, raw: &[u8]) -> Checked {
    if !superblock.features.has_descriptor_checksums() {
        return Ok(());
    }
    let stored = le16(raw, 0x1e);
    let computed = if superblock.features.has_metadata_csum() {
        crc32c_of(superblock, group, raw)
    } else {
        crc16_of(superblock, group, raw)
    };
    if stored == computed {
        return Ok(());
    }
    let expected = format!("{computed:#06x} (group {group})");
    let found = format!("{stored:#06x}");
    Err(Corrupt::new(
        STRUCTURE,
        "bg_checksum",
        offset_bytes,
        expected,
        found,
    ))
}

fn crc32c_of(superblock: &Superblock, group: u32, raw: &[u8]) -> u16 {
    let seed = crc32c(superblock.checksum_seed, &group.to_le_bytes());
    let before = crc32c(seed, raw.get(..0x1e).unwrap_or_default());
    // The checksum's own place counts as zeroes.
    let crc = crc32c(crc32c(before, &[0; 2]), raw.get(0x20..).unwrap_or_default());
    u16::try_from(crc & 0xffff).unwrap_or(0)
}

fn crc16_of(superblock: &Superblock, group: u32, raw: &[u8]) -> u16 {
    let seed = crc16(crc16(!0, &superblock.uuid), &group.to_le_bytes());
    let before = crc16(seed, raw.get(..0x1e).unwrap_or_default());
    // Here the checksum's own place is left out.
    let has_rest = superblock.features.has_incompat(feature::INCOMPAT_64BIT);
    let rest = if has_rest { raw.get(0x20..) } else { None };
    crc16(before, rest.unwrap_or_default())
}
