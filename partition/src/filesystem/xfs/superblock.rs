//! The primary superblock: every field that says where things are, checked before it is used.
//!
//! Layout of `struct xfs_dsb`: XFS Algorithms & Data Structures, "Superblocks". All of XFS is
//! big-endian but for the checksums:
//! <https://mirrors.edge.kernel.org/pub/linux/utils/fs/xfs/docs/xfs_filesystem_structure.pdf>.

use super::address::{AgNumber, FsBlock, Ino};
use super::checksum;
use super::feature::Features;
use crate::bytes::{be16, be32, be64, u8_at};
use crate::error::{Checked, Corrupt};
use crate::extent::Extent;

/// `sb_magicnum`.
pub(super) const MAGIC: &[u8] = b"XFSB";
/// As much of a superblock as there are fields, and the smallest sector.
pub(super) const LEN_BYTES: usize = 512;

/// `sb_crc`, of version 5.
pub(super) const CRC_OFFSET: usize = 224;
/// `XFS_MIN_AG_BLOCKS`
const GROUP_BLOCKS_MIN: u32 = 64;
/// `XFS_MAX_AG_BYTES`
const GROUP_BYTES_MAX: u64 = 1 << 40;
/// More than this are left to a copy of the whole volume: 16 TiB in the smallest groups.
const GROUPS_MAX: u32 = 1 << 20;
/// `XFS_MAX_LOG_BYTES`
const LOG_BYTES_MAX: u64 = 1 << 31;

/// A checked superblock. All of the filesystem lies on the volume.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    pub(super) features: Features,
    /// A power of two from 512 to 65536.
    pub(super) block_bytes: u32,
    /// A power of two from 512 to 32768, at most a block.
    pub(super) sector_bytes: u32,
    /// Blocks of the filesystem; all their bytes together fit 64 bits.
    pub(super) blocks: u64,
    /// Allocation groups, at least one.
    pub(super) groups: u32,
    /// Blocks of each group but the last, at least 64.
    pub(super) group_blocks: u32,
    /// Bits of a block's number that count the blocks of its group, at most 32.
    pub(super) group_blocks_log: u8,
    /// The internal log; `None` for an external one.
    pub(super) log: Option<Extent>,
    /// A power of two from 256 to 2048, at most a block.
    pub(super) inode_bytes: u32,
    /// Bits of an inode number that count the inodes of a block, at most 8.
    pub(super) inodes_per_block_log: u8,
    pub(super) root_inode: Ino,
    /// `sb_dirblklog`: a block of a directory is that power of two of blocks.
    pub(super) directory_blocks_log: u8,
    /// Files that no directory names: bitmap and summary of the realtime device, quotas.
    pub(super) internal_inodes: [Ino; 5],
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
    let sb_blocksize = be32(raw, 4);
    let sb_dblocks = be64(raw, 8);
    let sb_agcount = be32(raw, 88);
    let sb_sectsize = be16(raw, 102);
    let sb_blocklog = u8_at(raw, 120);
    let sb_sectlog = u8_at(raw, 121);
    raw.starts_with(MAGIC)
        && (512..=65_536).contains(&sb_blocksize)
        && 1u32.checked_shl(sb_blocklog.into()) == Some(sb_blocksize)
        && (512..=32_768).contains(&sb_sectsize)
        && 1u16.checked_shl(sb_sectlog.into()) == Some(sb_sectsize)
        && sb_agcount != 0
        && sb_dblocks != 0
}

/// `sb_sectsize` of one that [`is_one`], within 512 to 32768.
pub(super) fn sector_bytes(raw: &[u8]) -> u32 {
    be16(raw, 102).into()
}

impl Superblock {
    /// Parses and checks the superblock in `raw` (a sector, which [`is_one`]) of a volume of
    /// `volume_bytes`.
    pub(super) fn parse(raw: &[u8], volume_bytes: u64) -> Checked<Self> {
        let sb_blocksize = be32(raw, 4);
        let sb_dblocks = be64(raw, 8);
        let sb_uuid = uuid(raw, 32);
        let sb_logstart = be64(raw, 48);
        let sb_rootino = be64(raw, 56);
        let sb_rbmino = be64(raw, 64);
        let sb_rsumino = be64(raw, 72);
        let sb_agblocks = be32(raw, 84);
        let sb_agcount = be32(raw, 88);
        let sb_logblocks = be32(raw, 96);
        let sb_inodesize = be16(raw, 104);
        let sb_inodelog = u8_at(raw, 122);
        let sb_inopblog = u8_at(raw, 123);
        let sb_agblklog = u8_at(raw, 124);
        let sb_uquotino = be64(raw, 160);
        let sb_gquotino = be64(raw, 168);
        let sb_dirblklog = u8_at(raw, 192);
        let sb_pquotino = be64(raw, 232);
        let sb_meta_uuid = uuid(raw, 248);
        let features = Features::parse(raw);
        if features.is_v5() {
            checksum::check("XFS superblock", 0, raw, CRC_OFFSET)?;
        }
        let internal_inodes = [sb_rbmino, sb_rsumino, sb_uquotino, sb_gquotino, sb_pquotino];
        let mut superblock = Self {
            features,
            block_bytes: sb_blocksize,
            sector_bytes: sector_bytes(raw),
            blocks: sb_dblocks,
            groups: sb_agcount,
            group_blocks: sb_agblocks,
            group_blocks_log: sb_agblklog,
            log: None,
            inode_bytes: sb_inodesize.into(),
            inodes_per_block_log: sb_inopblog,
            root_inode: Ino(sb_rootino),
            directory_blocks_log: sb_dirblklog,
            internal_inodes: internal_inodes.map(Ino),
            uuid: sb_uuid,
            meta_uuid: if features.has_meta_uuid() {
                sb_meta_uuid
            } else {
                sb_uuid
            },
        };
        superblock.check_sizes(volume_bytes)?;
        superblock.check_inodes(sb_inodelog)?;
        superblock.check_groups()?;
        superblock.log = superblock.log(FsBlock(sb_logstart), sb_logblocks)?;
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
        let blocks = volume_bytes / block_bytes;
        let expected = format!("at most the volume's {blocks} blocks");
        check(fits, "sb_dblocks", &expected, self.blocks)
    }

    fn check_inodes(&self, sb_inodelog: u8) -> Checked {
        let inode_bytes = self.inode_bytes;
        let is_valid = (256..=2048).contains(&inode_bytes)
            && 1u32.checked_shl(sb_inodelog.into()) == Some(inode_bytes)
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
        let found = self.group_blocks_log.into();
        let is_valid = found == u64::from(log);
        check(is_valid, "sb_agblklog", &log.to_string(), found)?;
        let groups = self.blocks.div_ceil(group_blocks);
        let found = self.groups.into();
        check(groups == found, "sb_agcount", &groups.to_string(), found)?;
        let expected = format!("at most {GROUPS_MAX}");
        check(self.groups <= GROUPS_MAX, "sb_agcount", &expected, found)?;
        let header_blocks = self.header_bytes().div_ceil(self.block_bytes.into());
        let last = self.group_blocks_of(AgNumber(self.groups - 1));
        let is_valid = u64::from(last) > header_blocks;
        let expected = "room in the last group";
        check(is_valid, "sb_dblocks", expected, self.blocks)
    }

    /// The internal log, if there is one. [`check_groups`](Self::check_groups) comes first.
    fn log(&self, sb_logstart: FsBlock, sb_logblocks: u32) -> Checked<Option<Extent>> {
        if sb_logstart == FsBlock(0) {
            return Ok(None);
        }
        let bytes = self.byte(sb_logblocks.into());
        let is_valid = sb_logblocks > 0 && bytes <= LOG_BYTES_MAX;
        let expected = "1 block to 2 GiB";
        check(is_valid, "sb_logblocks", expected, sb_logblocks.into())?;
        let extent = self.fs_extent(sb_logstart, sb_logblocks);
        let expected = "a log within its group";
        let extent = extent.ok_or_else(|| corrupt("sb_logstart", expected, sb_logstart))?;
        Ok(Some(extent))
    }

    /// Superblock, AGF, AGI and AGFL at the start of each group.
    pub(super) fn header_bytes(&self) -> u64 {
        u64::from(self.sector_bytes) * 4
    }

    /// Length of a block.
    pub(super) const fn block_len(&self) -> usize {
        self.block_bytes as usize
    }

    /// Length of a sector.
    pub(super) const fn sector_len(&self) -> usize {
        self.sector_bytes as usize
    }
}

/// The 16 bytes at `offset`.
pub(super) fn uuid(raw: &[u8], offset: usize) -> [u8; 16] {
    let field = raw.get(offset..).and_then(<[u8]>::first_chunk);
    field.copied().unwrap_or_default()
}
