//! Group descriptors, read in order and in batches, each of them checked.
//!
//! Layout of `struct ext4_group_desc`: kernel documentation, "ext4 Data Structures and
//! Algorithms", section "Block Group Descriptors":
//! <https://docs.kernel.org/filesystems/ext4/index.html>.

use super::address::{Block, Group};
use super::checksum::{crc16, crc32c};
use super::feature;
use super::superblock::{Superblock, wide};
use crate::bytes::{le16, le32};
use crate::device::{ReadAt, read_vec};
use crate::error::{Checked, Corrupt, Result};

const BLOCK_UNINIT: u16 = 2;
const INODE_UNINIT: u16 = 1;
const STRUCTURE: &str = "ext group descriptor";
const BATCH_BYTES: u32 = 1 << 20;

/// A checked group descriptor: its tables lie in the filesystem.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptor {
    pub(super) group: Group,
    /// Where the descriptor itself lies.
    pub(super) offset_bytes: u64,
    pub(super) block_bitmap: Block,
    pub(super) inode_bitmap: Block,
    pub(super) inode_table: Block,
    pub(super) free_clusters: u32,
    pub(super) free_inodes: u32,
    /// Inodes at the end of the table that were never used.
    pub(super) unused_inodes: u32,
    /// Whether the block bitmap was never written: only the format's own blocks are in use.
    pub(super) is_block_uninit: bool,
    /// Whether no inode of the group was ever used.
    pub(super) is_inode_uninit: bool,
    /// Checksum of the block bitmap, as far as it is stored.
    bitmap_checksum: u32,
    /// Checksum of the inode bitmap, as far as it is stored.
    inode_bitmap_checksum: u32,
    /// The bits of these checksums that are stored.
    bitmap_checksum_mask: u32,
}

/// A part of the descriptor table as it lies on the disk.
pub(super) struct Table {
    /// The group of its first descriptor.
    pub(super) first: Group,
    pub(super) offset_bytes: u64,
    pub(super) raw: Vec<u8>,
}

/// Reads the primary group descriptor table from start to end.
pub(super) struct Descriptors<'a> {
    superblock: &'a Superblock,
    device: &'a dyn ReadAt,
    /// Index in the table of the block to be read next.
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

    /// The table from where the last batch ended; `None` at its end.
    pub(super) fn next_raw(&mut self) -> Result<Option<Table>> {
        let superblock = self.superblock;
        let index = self.next_block;
        if index >= superblock.descriptor_blocks() {
            return Ok(None);
        }
        let block = superblock.descriptor_block(index);
        let blocks = self.adjacent(index, block);
        self.next_block = index + blocks;
        let offset_bytes = superblock.byte(block);
        if superblock.extent(block, blocks.into()).is_none() {
            let expected = format!("blocks below {}", superblock.blocks);
            let found = format!("{blocks} blocks from {block}");
            return Err(Corrupt::new(STRUCTURE, "table", offset_bytes, expected, found).into());
        }
        let first = superblock.first_described(index);
        let in_blocks = blocks * superblock.descriptors_per_block();
        let groups = in_blocks.min(superblock.groups - first.0);
        let len = groups as usize * superblock.descriptor_len();
        Ok(Some(Table {
            first,
            offset_bytes,
            raw: read_vec(self.device, offset_bytes, len)?,
        }))
    }

    /// How many blocks of the table follow each other on the volume, from `index` on at `block`.
    fn adjacent(&self, index: u32, block: Block) -> u32 {
        let rest = self.superblock.descriptor_blocks() - index;
        let most = self.batch_blocks.min(rest);
        let is_adjacent = |&ahead: &u32| {
            let next = self.superblock.descriptor_block(index + ahead);
            Some(next.0) == block.0.checked_add(ahead.into())
        };
        // At least the first of them.
        (1..most).find(|ahead| !is_adjacent(ahead)).unwrap_or(most)
    }

    /// The next descriptors in order of group; `None` at the end.
    pub(super) fn next_batch(&mut self) -> Result<Option<Vec<Descriptor>>> {
        let batch = self.next_parsed()?;
        let batch = batch.map(|batch| batch.into_iter().collect::<Checked<_>>());
        Ok(batch.transpose()?)
    }

    /// As [`Self::next_batch`]. For each damaged descriptor, it says what is wrong.
    pub(super) fn next_parsed(&mut self) -> Result<Option<Vec<Checked<Descriptor>>>> {
        let Some(table) = self.next_raw()? else {
            return Ok(None);
        };
        let len = self.superblock.descriptor_len();
        let descriptors = (table.first.0..)
            .zip((table.offset_bytes..).step_by(len))
            .zip(table.raw.chunks_exact(len))
            .map(|((group, offset_bytes), raw)| {
                Descriptor::parse(self.superblock, Group(group), offset_bytes, raw)
            });
        Ok(Some(descriptors.collect()))
    }

    /// The descriptor of one group.
    pub(super) fn of_group(mut self, group: Group) -> Result<Option<Descriptor>> {
        self.batch_blocks = 1;
        self.next_block = group.0 / self.superblock.descriptors_per_block();
        let batch = self.next_batch()?.unwrap_or_default();
        Ok(batch
            .into_iter()
            .find(|descriptor| descriptor.group == group))
    }
}

impl Descriptor {
    fn parse(
        superblock: &Superblock,
        group: Group,
        offset_bytes: u64,
        raw: &[u8],
    ) -> Checked<Self> {
        check_checksum(superblock, group, offset_bytes, raw)?;
        let is_wide = raw.len() >= 64;
        let block = |low, high| {
            let high = if is_wide { le32(raw, high) } else { 0 };
            Block(wide(le32(raw, low), high))
        };
        let count = |low, high| {
            let high = if is_wide { le16(raw, high) } else { 0 };
            u32::from(high) << 16 | u32::from(le16(raw, low))
        };
        let bg_block_bitmap = block(0x00, 0x20);
        let bg_inode_bitmap = block(0x04, 0x24);
        let bg_inode_table = block(0x08, 0x28);
        let bg_free_blocks_count = count(0x0c, 0x2c);
        let bg_free_inodes_count = count(0x0e, 0x2e);
        let bg_flags = le16(raw, 0x12);
        let bg_block_bitmap_csum = count(0x18, 0x38);
        let bg_inode_bitmap_csum = count(0x1a, 0x3a);
        let bg_itable_unused = count(0x1c, 0x32);
        // Without checksums these two mean nothing; old volumes may hold anything there.
        let (flags, unused_inodes) = if superblock.features.has_descriptor_checksums() {
            (bg_flags, bg_itable_unused)
        } else {
            (0, 0)
        };
        let descriptor = Self {
            group,
            offset_bytes,
            block_bitmap: bg_block_bitmap,
            inode_bitmap: bg_inode_bitmap,
            inode_table: bg_inode_table,
            free_clusters: bg_free_blocks_count,
            free_inodes: bg_free_inodes_count,
            unused_inodes,
            is_block_uninit: flags & BLOCK_UNINIT != 0,
            is_inode_uninit: flags & INODE_UNINIT != 0,
            bitmap_checksum: bg_block_bitmap_csum,
            inode_bitmap_checksum: bg_inode_bitmap_csum,
            bitmap_checksum_mask: if is_wide { u32::MAX } else { 0xffff },
        };
        descriptor.check_tables(superblock)?;
        Ok(descriptor)
    }

    fn check_tables(&self, superblock: &Superblock) -> Checked {
        let inode_blocks = superblock.inode_table_blocks();
        let tables = [
            ("bg_block_bitmap", self.block_bitmap, 1),
            ("bg_inode_bitmap", self.inode_bitmap, 1),
            ("bg_inode_table", self.inode_table, inode_blocks),
        ];
        for (field, block, blocks) in tables {
            if superblock.pointed(block, blocks.into()).is_none() {
                let first = superblock.first_data_block;
                let expected = format!("{blocks} blocks between {first} and {}", superblock.blocks);
                let offset_bytes = self.offset_bytes;
                return Err(Corrupt::new(
                    STRUCTURE,
                    field,
                    offset_bytes,
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
        let len = superblock.clusters_per_group as usize / 8;
        let bits = bitmap.get(..len).unwrap_or(bitmap);
        let stored = self.bitmap_checksum;
        let computed = crc32c(superblock.checksum_seed, bits) & self.bitmap_checksum_mask;
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

impl Descriptor {
    /// Whether a bitmap of inodes, without what follows its last bit, has the checksum that is stored of
    /// the one of this group, where there is one.
    pub(super) fn has_inode_bitmap(&self, superblock: &Superblock, bits: &[u8]) -> bool {
        let computed = || crc32c(superblock.checksum_seed, bits) & self.bitmap_checksum_mask;
        !superblock.features.has_metadata_csum() || self.inode_bitmap_checksum == computed()
    }
}

fn check_checksum(superblock: &Superblock, group: Group, offset_bytes: u64, raw: &[u8]) -> Checked {
    if !superblock.features.has_descriptor_checksums() {
        return Ok(());
    }
    let bg_checksum = le16(raw, 0x1e);
    let computed = if superblock.features.has_metadata_csum() {
        crc32c_of(superblock, group, raw)
    } else {
        crc16_of(superblock, group, raw)
    };
    if bg_checksum == computed {
        return Ok(());
    }
    let expected = format!("{computed:#06x} (group {group})");
    let found = format!("{bg_checksum:#06x}");
    Err(Corrupt::new(
        STRUCTURE,
        "bg_checksum",
        offset_bytes,
        expected,
        found,
    ))
}

fn crc32c_of(superblock: &Superblock, group: Group, raw: &[u8]) -> u16 {
    let (before, after) = around_checksum(raw);
    let seed = crc32c(superblock.checksum_seed, &group.0.to_le_bytes());
    // The checksum's own place counts as zeroes.
    let crc = crc32c(crc32c(crc32c(seed, before), &[0; 2]), after);
    crc as u16
}

/// The checksum of a descriptor where it is one of `gdt_csum`.
pub(super) fn crc16_of(superblock: &Superblock, group: Group, raw: &[u8]) -> u16 {
    let (before, after) = around_checksum(raw);
    let seed = crc16(crc16(!0, &superblock.uuid), &group.0.to_le_bytes());
    // Here the checksum's own place is left out.
    let has_rest = superblock.features.has_incompat(feature::INCOMPAT_64BIT);
    crc16(crc16(seed, before), if has_rest { after } else { &[] })
}

/// What lies before `bg_checksum` in a descriptor, and what lies after it.
fn around_checksum(raw: &[u8]) -> (&[u8], &[u8]) {
    let (before, rest) = raw.split_at_checked(0x1e).unwrap_or((raw, &[]));
    (before, rest.get(2..).unwrap_or_default())
}
