//! The primary superblock: every field that says where things are, checked before it is used.
//!
//! Layout of `struct xfs_dsb`: XFS Algorithms & Data Structures, "Superblocks". All of XFS is
//! big-endian but for the checksums.

use super::checksum;
use super::feature::Features;
use crate::bytes::{be16, be32, be64, u8_at};
use crate::error::Corrupt;
use crate::extent::Extent;

/// `sb_magicnum`.
pub(super) const MAGIC: &[u8] = b"XFSB";
/// As much of a superblock as there are fields, and the smallest sector.
pub(super) const LEN_BYTES: usize = 512;

const CRC_OFFSET: usize = 224;
/// `XFS_MIN_AG_BLOCKS`
const GROUP_BLOCKS_MIN: u32 = 64;
/// `XFS_MAX_AG_BYTES`
const GROUP_BYTES_MAX: u64 = 1 << 40;
/// More than this are left to a copy of the whole volume: 16 TiB in the smallest groups.
const GROUPS_MAX: u32 = 1 << 20;
/// `XFS_MAX_LOG_BYTES`
const LOG_BYTES_MAX: u64 = 1 << 31;

/// A value read from the disk, or what is wrong with it.
pub(super) type Checked<T = ()> = Result<T, Corrupt>;

/// A checked superblock. All of the filesystem lies on the volume.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    pub(super) features: Features,
    pub(super) block_bytes: u32,
    pub(super) sector_bytes: u32,
    pub(super) blocks: u64,
    pub(super) groups: u32,
    pub(super) group_blocks: u32,
    group_blocks_log: u8,
    /// First block of the internal log as group and block in it; `None` for an external one.
    pub(super) log_start: Option<(u32, u32)>,
    pub(super) log_blocks: u32,
    pub(super) inode_bytes: u32,
    /// Bits of an inode number that count the inodes of a block.
    pub(super) inodes_per_block_log: u8,
    pub(super) root_inode: u64,
    /// `sb_dirblklog`: a block of a directory is that power of two of blocks.
    pub(super) directory_blocks_log: u8,
    /// Files that no directory names: bitmap and summary of the realtime device, quotas.
    pub(super) internal_inodes: [u64; 5],
    /// `sb_uuid`, which the log carries.
    pub(super) uuid: [u8; 16],
    /// The UUID in metadata blocks: `sb_meta_uuid` where that was kept on a change.
    pub(super) meta_uuid: [u8; 16],
}

fn corrupt(
    field: &'static str,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Corrupt {
    Corrupt::new("XFS superblock", field, 0, expected, found)
}

fn check(is_valid: bool, field: &'static str, expected: &str, found: u64) -> Checked {
    if is_valid {
        Ok(())
    } else {
        Err(corrupt(field, expected, found))
    }
}

/// Whether `raw` (512 bytes) is an XFS superblock and not a few stray bytes.
pub(super) fn is_one(raw: &[u8]) -> bool {
    let (block_bytes, sector_bytes) = (be32(raw, 4), be16(raw, 102));
    raw.starts_with(MAGIC)
        && (512..=65_536).contains(&block_bytes)
        && 1u32.checked_shl(u8_at(raw, 120).into()) == Some(block_bytes)
        && (512..=32_768).contains(&sector_bytes)
        && 1u16.checked_shl(u8_at(raw, 121).into()) == Some(sector_bytes)
        && be32(raw, 88) != 0
        && be64(raw, 8) != 0
}

/// `sb_sectsize` of one that [`is_one`], within 512 to 32768.
pub(super) fn sector_bytes(raw: &[u8]) -> u32 {
    be16(raw, 102).into()
}

impl Superblock {
    /// Parses and checks the superblock in `raw` (a sector, which [`is_one`]) of a volume of
    /// `volume_bytes`.
    pub(super) fn parse(raw: &[u8], volume_bytes: u64) -> Checked<Self> {
        let features = Features::parse(raw);
        if features.is_v5() {
            checksum::check("XFS superblock", 0, raw, CRC_OFFSET)?;
        }
        let uuid = uuid(raw, 32);
        let has_other = features.has_meta_uuid();
        let mut superblock = Self {
            features,
            block_bytes: be32(raw, 4),
            sector_bytes: sector_bytes(raw),
            blocks: be64(raw, 8),
            groups: be32(raw, 88),
            group_blocks: be32(raw, 84),
            group_blocks_log: u8_at(raw, 124),
            log_start: None,
            log_blocks: be32(raw, 96),
            inode_bytes: be16(raw, 104).into(),
            inodes_per_block_log: u8_at(raw, 123),
            root_inode: be64(raw, 56),
            directory_blocks_log: u8_at(raw, 192),
            internal_inodes: [64, 72, 160, 168, 232].map(|offset| be64(raw, offset)),
            uuid,
            meta_uuid: if has_other {
                self::uuid(raw, 248)
            } else {
                uuid
            },
        };
        superblock.check_sizes(volume_bytes)?;
        superblock.check_inodes(u8_at(raw, 122))?;
        superblock.check_groups()?;
        superblock.log_start = superblock.log(be64(raw, 48))?;
        Ok(superblock)
    }

    fn check_sizes(&self, volume_bytes: u64) -> Checked {
        let smallest = if self.features.is_v5() { 1024 } else { 512 };
        let block_bytes = u64::from(self.block_bytes);
        let is_valid = self.block_bytes >= smallest;
        check(is_valid, "sb_blocksize", "1024 to 65536", block_bytes)?;
        let is_valid = self.sector_bytes <= self.block_bytes;
        let sector_bytes = self.sector_bytes.into();
        check(is_valid, "sb_sectsize", "at most a block", sector_bytes)?;
        let size_bytes = self.blocks.checked_mul(block_bytes);
        let fits = size_bytes.is_some_and(|size_bytes| size_bytes <= volume_bytes);
        let blocks = volume_bytes.checked_div(block_bytes).unwrap_or_default();
        let expected = format!("at most the volume's {blocks} blocks");
        check(fits, "sb_dblocks", &expected, self.blocks)
    }

    fn check_inodes(&self, log: u8) -> Checked {
        let inode_bytes = self.inode_bytes;
        let is_valid = (256..=2048).contains(&inode_bytes)
            && 1u32.checked_shl(log.into()) == Some(inode_bytes)
            && inode_bytes <= self.block_bytes;
        let expected = "a power of two from 256 to 2048";
        check(is_valid, "sb_inodesize", expected, inode_bytes.into())?;
        let per_block = 1u32.checked_shl(self.inodes_per_block_log.into());
        let is_valid =
            per_block.and_then(|count| count.checked_mul(inode_bytes)) == Some(self.block_bytes);
        let found = self.inodes_per_block_log.into();
        check(is_valid, "sb_inopblog", "that of a block", found)
    }

    fn check_groups(&self) -> Checked {
        let bytes = self.byte(self.group_blocks.into());
        let is_valid = self.group_blocks >= GROUP_BLOCKS_MIN && bytes <= GROUP_BYTES_MAX;
        let group_blocks = self.group_blocks.into();
        check(is_valid, "sb_agblocks", "64 blocks to 1 TiB", group_blocks)?;
        let log = self.group_blocks.checked_next_power_of_two();
        let log = log.map_or(32, u32::trailing_zeros);
        let is_valid = u32::from(self.group_blocks_log) == log;
        let found = self.group_blocks_log.into();
        check(is_valid, "sb_agblklog", &log.to_string(), found)?;
        let groups = self.blocks.div_ceil(group_blocks.max(1));
        let is_valid = groups == u64::from(self.groups);
        check(
            is_valid,
            "sb_agcount",
            &groups.to_string(),
            self.groups.into(),
        )?;
        let expected = format!("at most {GROUPS_MAX}");
        let is_valid = self.groups <= GROUPS_MAX;
        check(is_valid, "sb_agcount", &expected, self.groups.into())?;
        let header_blocks = self.header_bytes().div_ceil(self.block_bytes.into());
        let last = self.blocks_of(self.groups.saturating_sub(1));
        let is_valid = u64::from(last) > header_blocks;
        check(
            is_valid,
            "sb_dblocks",
            "room in the last group",
            self.blocks,
        )
    }

    fn log(&self, start: u64) -> Checked<Option<(u32, u32)>> {
        if start == 0 {
            return Ok(None);
        }
        let found = start;
        let mask = (1u64 << self.group_blocks_log.min(63)).saturating_sub(1);
        let group = start >> self.group_blocks_log.min(63);
        let (group, block) = (u32::try_from(group), u32::try_from(start & mask));
        let (Ok(group), Ok(block)) = (group, block) else {
            return Err(corrupt("sb_logstart", "a block of the volume", found));
        };
        let end = block.checked_add(self.log_blocks);
        let is_inside = group < self.groups && end.is_some_and(|end| end <= self.blocks_of(group));
        check(is_inside, "sb_logstart", "a log within its group", found)?;
        let bytes = self.byte(self.log_blocks.into());
        let is_valid = self.log_blocks > 0 && bytes <= LOG_BYTES_MAX;
        check(
            is_valid,
            "sb_logblocks",
            "1 block to 2 GiB",
            self.log_blocks.into(),
        )?;
        Ok(Some((group, block)))
    }

    /// Superblock, AGF, AGI and AGFL at the start of each group.
    pub(super) const fn header_bytes(&self) -> u64 {
        (self.sector_bytes as u64).saturating_mul(4)
    }

    /// Blocks of group `group`, the last of which may be shorter.
    pub(super) fn blocks_of(&self, group: u32) -> u32 {
        let start = u64::from(group).saturating_mul(self.group_blocks.into());
        let rest = self.blocks.saturating_sub(start);
        u32::try_from(rest).map_or(self.group_blocks, |rest| rest.min(self.group_blocks))
    }

    /// The volume's bytes of `blocks` blocks from a filesystem block number on, which has the
    /// group in its upper bits; `None` when they aren't all in one group.
    pub(super) fn numbered(&self, number: u64, blocks: u32) -> Option<Extent> {
        let log = u32::from(self.group_blocks_log);
        let group = u32::try_from(number.checked_shr(log)?).ok()?;
        let mask = 1u64.checked_shl(log)?.checked_sub(1)?;
        let block = u32::try_from(number & mask).ok()?;
        let end = block.checked_add(blocks)?;
        let is_inside = group < self.groups && end <= self.blocks_of(group);
        self.extent(group, block, blocks).filter(|_| is_inside)
    }

    /// The number of the inode that is number `inode` of group `group`.
    pub(super) fn inode_number(&self, group: u32, inode: u32) -> u64 {
        let log = u32::from(self.group_blocks_log).saturating_add(self.inodes_per_block_log.into());
        let upper = u64::from(group).checked_shl(log).unwrap_or(u64::MAX);
        upper | u64::from(inode)
    }

    /// Where `blocks` filesystem blocks end.
    pub(super) fn byte(&self, blocks: u64) -> u64 {
        blocks.saturating_mul(self.block_bytes.into())
    }

    /// Where block `block` of group `group` starts on the volume.
    pub(super) fn group_byte(&self, group: u32, block: u32) -> u64 {
        let start = u64::from(group).saturating_mul(self.group_blocks.into());
        self.byte(start.saturating_add(block.into()))
    }

    /// The bytes of `blocks` blocks from block `block` of group `group` on.
    pub(super) fn extent(&self, group: u32, block: u32, blocks: u32) -> Option<Extent> {
        Extent::new(self.group_byte(group, block), self.byte(blocks.into()))
    }

    /// The internal log.
    pub(super) fn log_extent(&self) -> Option<Extent> {
        let (group, block) = self.log_start?;
        self.extent(group, block, self.log_blocks)
    }
}

/// The 16 bytes at `offset`.
pub(super) fn uuid(raw: &[u8], offset: usize) -> [u8; 16] {
    let field = raw.get(offset..offset.saturating_add(16));
    field
        .and_then(|field| field.try_into().ok())
        .unwrap_or_default()
}
