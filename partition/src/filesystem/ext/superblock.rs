//! The superblock: every field that says where things are, checked before it is used.
//!
//! Layout of `struct ext4_super_block`: kernel documentation, "ext4 Data Structures and
//! Algorithms", section "Super Block".

use super::checksum::crc32c;
use super::feature::{self, Features};
use crate::bytes::{le16, le32, u8_at};
use crate::error::Corrupt;

/// Where the superblock starts, whatever the block size.
pub(super) const OFFSET_BYTES: u64 = 1024;
/// Size of the superblock.
pub(super) const LEN_BYTES: usize = 1024;
/// `s_magic` of every version.
pub(super) const MAGIC: u16 = 0xef53;

/// More groups than this are left to a copy of the whole volume: 256 TiB with 4 KiB blocks.
const GROUPS_MAX: u64 = 1 << 21;

/// A value read from the disk, or what is wrong with it.
pub(super) type Checked<T = ()> = Result<T, Corrupt>;

/// A checked superblock. All of the filesystem lies on the volume.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    pub(super) features: Features,
    pub(super) blocks: u64,
    pub(super) groups: u32,
    pub(super) first_data_block: u64,
    pub(super) block_bytes: u32,
    /// Blocks per cluster; 1 without bigalloc.
    pub(super) cluster_blocks: u32,
    pub(super) blocks_per_group: u32,
    pub(super) clusters_per_group: u32,
    pub(super) inodes: u32,
    pub(super) inodes_per_group: u32,
    pub(super) inode_bytes: u32,
    /// First inode that is not reserved.
    pub(super) first_inode: u32,
    /// Inodes that may be outside of the reserved ones and are none of a user's: journal, quotas
    /// of users, groups and projects, orphan file; 0 where there is none.
    pub(super) internal_inodes: [u32; 5],
    pub(super) descriptor_bytes: u32,
    pub(super) reserved_gdt_blocks: u32,
    pub(super) first_meta_bg: u32,
    pub(super) backup_groups: [u32; 2],
    pub(super) uuid: [u8; 16],
    pub(super) checksum_seed: u32,
}

/// Says that a field of the superblock is not as it must be.
pub(super) fn corrupt(
    field: &'static str,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Corrupt {
    Corrupt::new("ext superblock", field, OFFSET_BYTES, expected, found)
}

fn check(
    is_valid: bool,
    field: &'static str,
    expected: &str,
    found: impl std::fmt::Display,
) -> Checked {
    if is_valid {
        Ok(())
    } else {
        Err(corrupt(field, expected, found))
    }
}

impl Superblock {
    /// Parses and checks the superblock in `raw` (1024 bytes) of a volume of `volume_bytes`.
    pub(super) fn parse(raw: &[u8], volume_bytes: u64) -> Checked<Self> {
        let features = Features::parse(raw);
        check_checksum(raw, features)?;
        let block_bytes = size("s_log_block_size", le32(raw, 0x18))?;
        let cluster_blocks = cluster_blocks(raw, features, block_bytes)?;
        let uuid = uuid(raw);
        let mut superblock = Self {
            features,
            blocks: blocks(raw, features)?,
            groups: 0,
            first_data_block: le32(raw, 0x14).into(),
            block_bytes,
            cluster_blocks,
            blocks_per_group: le32(raw, 0x20),
            clusters_per_group: clusters_per_group(raw, features),
            inodes: le32(raw, 0x00),
            inodes_per_group: le32(raw, 0x28),
            inode_bytes: inode_bytes(raw, block_bytes)?,
            first_inode: first_inode(raw),
            internal_inodes: [0xe0, 0x240, 0x244, 0x26c, 0x280].map(|offset| le32(raw, offset)),
            descriptor_bytes: descriptor_bytes(raw, features, block_bytes)?,
            reserved_gdt_blocks: le16(raw, 0xce).into(),
            first_meta_bg: le32(raw, 0x104),
            backup_groups: [le32(raw, 0x24c), le32(raw, 0x250)],
            uuid,
            checksum_seed: checksum_seed(raw, features),
        };
        superblock.check_blocks(volume_bytes)?;
        superblock.check_group_sizes()?;
        superblock.groups = superblock.count_groups()?;
        superblock.check_tables()?;
        Ok(superblock)
    }

    fn check_blocks(&self, volume_bytes: u64) -> Checked {
        // Block 0 holds the boot area alone when a block is too small for both; with bigalloc
        // it is nevertheless part of the first cluster.
        let is_first_1 = self.block_bytes == 1024 && self.cluster_blocks == 1;
        let expected = if is_first_1 { "1" } else { "0" };
        let is_valid = self.first_data_block == u64::from(is_first_1);
        check(
            is_valid,
            "s_first_data_block",
            expected,
            self.first_data_block,
        )?;
        let size_bytes = self.blocks.checked_mul(self.block_bytes.into());
        let fits = size_bytes.is_some_and(|size_bytes| size_bytes <= volume_bytes);
        let expected = format!("at most the volume's {volume_bytes} bytes");
        let found = format!("{} blocks of {} bytes", self.blocks, self.block_bytes);
        check(fits, "s_blocks_count", &expected, found)
    }

    fn check_group_sizes(&self) -> Checked {
        let bits = self.block_bytes.saturating_mul(8);
        let (clusters, inodes) = (self.clusters_per_group, self.inodes_per_group);
        let in_bitmap = "a multiple of 8, at most the bits of a block";
        let clusters_fit = clusters > 0 && clusters <= bits && clusters.is_multiple_of(8);
        check(clusters_fit, "s_clusters_per_group", in_bitmap, clusters)?;
        let product = clusters.checked_mul(self.cluster_blocks);
        let is_product = product == Some(self.blocks_per_group);
        let expected = "s_clusters_per_group times the blocks of a cluster";
        check(
            is_product,
            "s_blocks_per_group",
            expected,
            self.blocks_per_group,
        )?;
        let inodes_per_block = self.block_bytes / self.inode_bytes;
        let inodes_fit = inodes >= inodes_per_block && inodes <= bits;
        check(
            inodes_fit,
            "s_inodes_per_group",
            "a block of inodes to a block of bits",
            inodes,
        )
    }

    fn count_groups(&self) -> Checked<u32> {
        let in_groups = self.blocks.saturating_sub(self.first_data_block);
        let groups = in_groups.div_ceil(u64::from(self.blocks_per_group).max(1));
        let is_valid = (1..=GROUPS_MAX).contains(&groups);
        let expected = format!("1 to {GROUPS_MAX} block groups");
        let found = format!("{groups} block groups");
        check(is_valid, "s_blocks_count", &expected, found)?;
        u32::try_from(groups).map_err(|_| corrupt("s_blocks_count", "fewer groups", groups))
    }

    fn check_tables(&self) -> Checked {
        let inodes = u64::from(self.groups).saturating_mul(self.inodes_per_group.into());
        let is_valid = inodes == u64::from(self.inodes);
        check(is_valid, "s_inodes_count", &inodes.to_string(), self.inodes)?;
        if self.features.has_incompat(feature::INCOMPAT_META_BG) {
            let blocks = self.descriptor_blocks();
            let is_valid = self.first_meta_bg <= blocks;
            let expected = format!("at most {blocks}, the descriptor blocks");
            check(is_valid, "s_first_meta_bg", &expected, self.first_meta_bg)?;
        }
        let is_valid = self.reserved_gdt_blocks <= self.block_bytes / 4;
        let expected = "at most the pointers of a block";
        check(
            is_valid,
            "s_reserved_gdt_blocks",
            expected,
            self.reserved_gdt_blocks,
        )
    }

    /// Descriptors per block of the group descriptor table.
    pub(super) const fn descriptors_per_block(&self) -> u32 {
        self.block_bytes / self.descriptor_bytes
    }

    /// Blocks of the group descriptor table.
    pub(super) const fn descriptor_blocks(&self) -> u32 {
        self.groups.div_ceil(self.descriptors_per_block())
    }

    /// Blocks of one group's inode table.
    pub(super) const fn inode_table_blocks(&self) -> u32 {
        self.inodes_per_group
            .div_ceil(self.block_bytes / self.inode_bytes)
    }

    /// Where block `block` starts.
    pub(super) fn byte(&self, block: u64) -> u64 {
        block.saturating_mul(self.block_bytes.into())
    }
}

fn check_checksum(raw: &[u8], features: Features) -> Checked {
    if !features.has_metadata_csum() {
        return Ok(());
    }
    check(
        u8_at(raw, 0x175) == 1,
        "s_checksum_type",
        "1 (crc32c)",
        u8_at(raw, 0x175),
    )?;
    let stored = le32(raw, 0x3fc);
    let computed = crc32c(!0, raw.get(..0x3fc).unwrap_or_default());
    let found = format!("{stored:#010x}");
    check(
        stored == computed,
        "s_checksum",
        &format!("{computed:#010x}"),
        found,
    )
}

/// 1024 bytes shifted by a logarithm that gives at most 64 KiB.
pub(super) fn size(field: &'static str, log: u32) -> Checked<u32> {
    check(log <= 6, field, "0 to 6", log)?;
    Ok(1024 << log)
}

fn cluster_blocks(raw: &[u8], features: Features, block_bytes: u32) -> Checked<u32> {
    if !features.has_ro_compat(feature::RO_COMPAT_BIGALLOC) {
        return Ok(1);
    }
    let log = le32(raw, 0x1c);
    let cluster_bytes = (log <= 20).then(|| 1024_u32 << log);
    let is_valid = cluster_bytes.is_some_and(|bytes| bytes >= block_bytes);
    check(
        is_valid,
        "s_log_cluster_size",
        "s_log_block_size to 20",
        log,
    )?;
    Ok(cluster_bytes.unwrap_or(block_bytes) / block_bytes)
}

fn clusters_per_group(raw: &[u8], features: Features) -> u32 {
    // Without bigalloc, old versions of the tools left s_clusters_per_group as it was.
    let has_clusters = features.has_ro_compat(feature::RO_COMPAT_BIGALLOC);
    le32(raw, if has_clusters { 0x24 } else { 0x20 })
}

fn blocks(raw: &[u8], features: Features) -> Checked<u64> {
    let (low, high) = (le32(raw, 0x04), le32(raw, 0x150));
    let has_high = features.has_incompat(feature::INCOMPAT_64BIT);
    check(
        has_high || high == 0,
        "s_blocks_count_hi",
        "0 without 64bit",
        high,
    )?;
    Ok(wide(low, high))
}

fn inode_bytes(raw: &[u8], block_bytes: u32) -> Checked<u32> {
    if le32(raw, 0x4c) == 0 {
        // s_rev_level 0 knows no s_inode_size.
        return Ok(128);
    }
    let bytes = u32::from(le16(raw, 0x58));
    let is_valid = bytes >= 128 && bytes <= block_bytes && bytes.is_power_of_two();
    check(
        is_valid,
        "s_inode_size",
        "a power of two from 128 to a block",
        bytes,
    )?;
    Ok(bytes)
}

fn first_inode(raw: &[u8]) -> u32 {
    // s_rev_level 0 knows no s_first_ino.
    let has_field = le32(raw, 0x4c) != 0;
    if has_field { le32(raw, 0x54) } else { 11 }
}

fn descriptor_bytes(raw: &[u8], features: Features, block_bytes: u32) -> Checked<u32> {
    if !features.has_incompat(feature::INCOMPAT_64BIT) {
        return Ok(32);
    }
    let bytes = u32::from(le16(raw, 0xfe));
    let is_valid = (64..=1024.min(block_bytes)).contains(&bytes) && bytes.is_power_of_two();
    check(
        is_valid,
        "s_desc_size",
        "a power of two from 64 to 1024",
        bytes,
    )?;
    Ok(bytes)
}

fn checksum_seed(raw: &[u8], features: Features) -> u32 {
    if features.has_incompat(feature::INCOMPAT_CSUM_SEED) {
        le32(raw, 0x270)
    } else {
        crc32c(!0, &uuid(raw))
    }
}

pub(super) fn uuid(raw: &[u8]) -> [u8; 16] {
    raw.get(0x68..0x78)
        .and_then(|field| field.try_into().ok())
        .unwrap_or_default()
}

/// A number stored in two halves.
pub(super) fn wide(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}
