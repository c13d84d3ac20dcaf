//! The superblock: every field that says where things are, checked before it is used.
//!
//! Layout of `struct ext4_super_block`: kernel documentation, "ext4 Data Structures and
//! Algorithms", section "Super Block":
//! <https://docs.kernel.org/filesystems/ext4/index.html>.

use super::address::{Block, Group, Ino};
use super::checksum::crc32c;
use super::feature::{self, Features};
use crate::bytes::{le16, le32, u8_at};
use crate::error::{Checked, Corrupt};

/// Where the superblock starts, whatever the block size.
pub(super) const OFFSET_BYTES: u64 = 1024;
/// Size of the superblock.
pub(super) const LEN_BYTES: usize = 1024;
/// `s_magic` of every version.
pub(super) const MAGIC: u16 = 0xef53;

/// More groups than this are left to a copy of the whole volume: 256 TiB with 4 KiB blocks.
const GROUPS_MAX: u32 = 1 << 21;

/// A checked superblock. All of the filesystem lies on the volume.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    pub(super) features: Features,
    /// Blocks of the filesystem; all their bytes together fit 64 bits.
    pub(super) blocks: u64,
    /// Block groups, at least one.
    pub(super) groups: u32,
    /// The block of the primary superblock: 0 or 1.
    pub(super) first_data_block: Block,
    /// 1024 to 65536.
    pub(super) block_bytes: u32,
    /// Blocks per cluster; 1 without bigalloc.
    pub(super) cluster_blocks: u32,
    /// Not 0.
    pub(super) blocks_per_group: u32,
    /// Not 0, and at most the bits of a block.
    pub(super) clusters_per_group: u32,
    /// Inodes of all groups.
    pub(super) inodes: u32,
    /// Not 0, and at most the bits of a block.
    pub(super) inodes_per_group: u32,
    /// A power of two from 128 to a block.
    pub(super) inode_bytes: u32,
    /// Number of the first inode that is not reserved.
    pub(super) first_inode: u32,
    /// Inodes that may be outside of the reserved ones and belong to the filesystem: the journal,
    /// the quotas of users, groups and projects, the orphan file; 0 where there is none.
    pub(super) internal_inodes: [Ino; 5],
    /// A power of two from 32 to a block.
    pub(super) descriptor_bytes: u32,
    pub(super) reserved_gdt_blocks: u32,
    /// The first block of the descriptor table that lies in the groups that it describes.
    pub(super) first_meta_bg: u32,
    pub(super) backup_groups: [Group; 2],
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
        let s_inodes_count = le32(raw, 0x00);
        let s_first_data_block = le32(raw, 0x14);
        let s_log_block_size = le32(raw, 0x18);
        let s_blocks_per_group = le32(raw, 0x20);
        let s_inodes_per_group = le32(raw, 0x28);
        let s_uuid = uuid(raw, 0x68);
        let s_reserved_gdt_blocks = le16(raw, 0xce);
        let s_journal_inum = le32(raw, 0xe0);
        let s_first_meta_bg = le32(raw, 0x104);
        let s_usr_quota_inum = le32(raw, 0x240);
        let s_grp_quota_inum = le32(raw, 0x244);
        let s_backup_bgs = [le32(raw, 0x24c), le32(raw, 0x250)];
        let s_prj_quota_inum = le32(raw, 0x26c);
        let s_orphan_file_inum = le32(raw, 0x280);
        let features = Features::parse(raw);
        check_checksum(raw, features)?;
        let block_bytes = size("s_log_block_size", s_log_block_size)?;
        let internal_inodes = [
            s_journal_inum,
            s_usr_quota_inum,
            s_grp_quota_inum,
            s_prj_quota_inum,
            s_orphan_file_inum,
        ];
        let mut superblock = Self {
            features,
            cluster_blocks: cluster_blocks(raw, features, block_bytes)?,
            blocks: blocks(raw, features)?,
            groups: 0,
            first_data_block: Block(s_first_data_block.into()),
            block_bytes,
            blocks_per_group: s_blocks_per_group,
            clusters_per_group: clusters_per_group(raw, features),
            inodes: s_inodes_count,
            inodes_per_group: s_inodes_per_group,
            inode_bytes: inode_bytes(raw, block_bytes)?,
            first_inode: first_inode(raw),
            internal_inodes: internal_inodes.map(Ino),
            descriptor_bytes: descriptor_bytes(raw, features, block_bytes)?,
            reserved_gdt_blocks: s_reserved_gdt_blocks.into(),
            first_meta_bg: s_first_meta_bg,
            backup_groups: s_backup_bgs.map(Group),
            uuid: s_uuid,
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
        let found = self.first_data_block;
        let is_valid = found == Block(is_first_1.into());
        check(is_valid, "s_first_data_block", expected, found)?;
        let size_bytes = self.blocks.checked_mul(self.block_bytes.into());
        let fits = size_bytes.is_some_and(|size_bytes| size_bytes <= volume_bytes);
        let expected = format!("at most the volume's {volume_bytes} bytes");
        let found = format!("{} blocks of {} bytes", self.blocks, self.block_bytes);
        check(fits, "s_blocks_count", &expected, found)
    }

    fn check_group_sizes(&self) -> Checked {
        let bits = self.block_bytes * 8;
        let (clusters, inodes) = (self.clusters_per_group, self.inodes_per_group);
        let in_bitmap = "a multiple of 8, at most the bits of a block";
        let clusters_fit = clusters > 0 && clusters <= bits && clusters.is_multiple_of(8);
        check(clusters_fit, "s_clusters_per_group", in_bitmap, clusters)?;
        let product = clusters.checked_mul(self.cluster_blocks);
        let found = self.blocks_per_group;
        let expected = "s_clusters_per_group times the blocks of a cluster";
        check(
            product == Some(found),
            "s_blocks_per_group",
            expected,
            found,
        )?;
        let inodes_per_block = self.block_bytes / self.inode_bytes;
        let inodes_fit = inodes >= inodes_per_block && inodes <= bits;
        let expected = "a block of inodes to a block of bits";
        check(inodes_fit, "s_inodes_per_group", expected, inodes)
    }

    /// The number of block groups. [`check_group_sizes`](Self::check_group_sizes) comes first.
    fn count_groups(&self) -> Checked<u32> {
        let in_groups = self.blocks.saturating_sub(self.first_data_block.0);
        let groups = in_groups.div_ceil(self.blocks_per_group.into());
        let expected = format!("1 to {GROUPS_MAX} block groups");
        let found = format!("{groups} block groups");
        let counted = u32::try_from(groups).ok();
        counted
            .filter(|groups| (1..=GROUPS_MAX).contains(groups))
            .ok_or_else(|| corrupt("s_blocks_count", expected, found))
    }

    fn check_tables(&self) -> Checked {
        let inodes = u64::from(self.groups) * u64::from(self.inodes_per_group);
        let is_valid = inodes == u64::from(self.inodes);
        check(is_valid, "s_inodes_count", &inodes.to_string(), self.inodes)?;
        if self.features.has_incompat(feature::INCOMPAT_META_BG) {
            let blocks = self.descriptor_blocks();
            let is_valid = self.first_meta_bg <= blocks;
            let expected = format!("at most {blocks}, the descriptor blocks");
            check(is_valid, "s_first_meta_bg", &expected, self.first_meta_bg)?;
        }
        let reserved = self.reserved_gdt_blocks;
        let is_valid = reserved <= self.block_bytes / 4;
        let expected = "at most the pointers of a block";
        check(is_valid, "s_reserved_gdt_blocks", expected, reserved)
    }

    /// Length of a block.
    pub(super) const fn block_len(&self) -> usize {
        self.block_bytes as usize
    }

    /// Length of a group descriptor.
    pub(super) const fn descriptor_len(&self) -> usize {
        self.descriptor_bytes as usize
    }

    /// Size of a cluster, at most 1 GiB.
    pub(super) fn cluster_bytes(&self) -> u64 {
        u64::from(self.cluster_blocks) * u64::from(self.block_bytes)
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
}

fn check_checksum(raw: &[u8], features: Features) -> Checked {
    if !features.has_metadata_csum() {
        return Ok(());
    }
    let s_checksum_type = u8_at(raw, 0x175);
    let is_known = s_checksum_type == 1;
    check(is_known, "s_checksum_type", "1 (crc32c)", s_checksum_type)?;
    let s_checksum = le32(raw, 0x3fc);
    let computed = crc32c(!0, raw.get(..0x3fc).unwrap_or_default());
    let expected = format!("{computed:#010x}");
    let found = format!("{s_checksum:#010x}");
    check(s_checksum == computed, "s_checksum", &expected, found)
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
    let s_log_cluster_size = le32(raw, 0x1c);
    let bytes = (s_log_cluster_size <= 20).then(|| 1024_u32 << s_log_cluster_size);
    let Some(bytes) = bytes.filter(|&bytes| bytes >= block_bytes) else {
        let expected = "s_log_block_size to 20";
        return Err(corrupt("s_log_cluster_size", expected, s_log_cluster_size));
    };
    Ok(bytes / block_bytes)
}

fn clusters_per_group(raw: &[u8], features: Features) -> u32 {
    let s_blocks_per_group = le32(raw, 0x20);
    let s_clusters_per_group = le32(raw, 0x24);
    // Without bigalloc, old versions of the tools left s_clusters_per_group as it was.
    if features.has_ro_compat(feature::RO_COMPAT_BIGALLOC) {
        s_clusters_per_group
    } else {
        s_blocks_per_group
    }
}

fn blocks(raw: &[u8], features: Features) -> Checked<u64> {
    let s_blocks_count_lo = le32(raw, 0x04);
    let s_blocks_count_hi = le32(raw, 0x150);
    let is_valid = features.has_incompat(feature::INCOMPAT_64BIT) || s_blocks_count_hi == 0;
    let expected = "0 without 64bit";
    check(is_valid, "s_blocks_count_hi", expected, s_blocks_count_hi)?;
    Ok(wide(s_blocks_count_lo, s_blocks_count_hi))
}

fn inode_bytes(raw: &[u8], block_bytes: u32) -> Checked<u32> {
    let s_rev_level = le32(raw, 0x4c);
    let s_inode_size = u32::from(le16(raw, 0x58));
    if s_rev_level == 0 {
        // Revision 0 has no s_inode_size.
        return Ok(128);
    }
    let is_valid = (128..=block_bytes).contains(&s_inode_size) && s_inode_size.is_power_of_two();
    let expected = "a power of two from 128 to a block";
    check(is_valid, "s_inode_size", expected, s_inode_size)?;
    Ok(s_inode_size)
}

fn first_inode(raw: &[u8]) -> u32 {
    let s_rev_level = le32(raw, 0x4c);
    let s_first_ino = le32(raw, 0x54);
    // Revision 0 has no s_first_ino.
    if s_rev_level == 0 { 11 } else { s_first_ino }
}

fn descriptor_bytes(raw: &[u8], features: Features, block_bytes: u32) -> Checked<u32> {
    if !features.has_incompat(feature::INCOMPAT_64BIT) {
        return Ok(32);
    }
    let s_desc_size = u32::from(le16(raw, 0xfe));
    let is_valid =
        (64..=1024.min(block_bytes)).contains(&s_desc_size) && s_desc_size.is_power_of_two();
    let expected = "a power of two from 64 to 1024";
    check(is_valid, "s_desc_size", expected, s_desc_size)?;
    Ok(s_desc_size)
}

fn checksum_seed(raw: &[u8], features: Features) -> u32 {
    let s_checksum_seed = le32(raw, 0x270);
    if features.has_incompat(feature::INCOMPAT_CSUM_SEED) {
        s_checksum_seed
    } else {
        crc32c(!0, &uuid(raw, 0x68))
    }
}

/// The 16 bytes at `offset`.
pub(super) fn uuid(raw: &[u8], offset: usize) -> [u8; 16] {
    let field = raw.get(offset..).and_then(<[u8]>::first_chunk);
    field.copied().unwrap_or_default()
}

/// A number stored in two halves.
pub(super) fn wide(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}
