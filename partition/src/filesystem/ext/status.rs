//! What the superblock says that needs no sound geometry: names, counters, state.
//!
//! Layout of `struct ext4_super_block`: kernel documentation, "ext4 Data Structures and
//! Algorithms", section "Super Block":
//! <https://docs.kernel.org/filesystems/ext4/index.html>.

use super::address::{Block, Ino};
use super::feature::{self, Features};
use super::superblock::{size, uuid, wide};
use crate::bytes::{le16, le32, le64, text};

/// Fields of the superblock as they are. Nothing is checked.
#[derive(Clone, Debug)]
pub(super) struct Status {
    pub(super) features: Features,
    pub(super) label: Option<String>,
    pub(super) uuid: Option<String>,
    pub(super) block_bytes: u32,
    pub(super) blocks: u64,
    pub(super) free_blocks: u64,
    pub(super) state: u16,
    pub(super) error_count: u32,
    pub(super) last_orphan: Ino,
    pub(super) journal_inode: Ino,
    pub(super) journal_device: u32,
    pub(super) journal_uuid: [u8; 16],
    pub(super) mmp_block: Block,
}

impl Status {
    /// Reads a superblock of 1024 bytes, whatever is in it.
    pub(super) fn parse(raw: &[u8]) -> Self {
        let features = Features::parse(raw);
        let is_wide = features.has_incompat(feature::INCOMPAT_64BIT);
        let s_blocks_count_lo = le32(raw, 0x04);
        let s_free_blocks_count_lo = le32(raw, 0x0c);
        let s_log_block_size = le32(raw, 0x18);
        let s_state = le16(raw, 0x3a);
        let s_uuid = uuid(raw, 0x68);
        let s_volume_name = raw.get(0x78..0x88).unwrap_or_default();
        let s_journal_uuid = uuid(raw, 0xd0);
        let s_journal_inum = le32(raw, 0xe0);
        let s_journal_dev = le32(raw, 0xe4);
        let s_last_orphan = le32(raw, 0xe8);
        let s_blocks_count_hi = if is_wide { le32(raw, 0x150) } else { 0 };
        let s_free_blocks_count_hi = if is_wide { le32(raw, 0x158) } else { 0 };
        let s_mmp_block = le64(raw, 0x168);
        let s_error_count = le32(raw, 0x194);
        Self {
            features,
            label: text(s_volume_name),
            uuid: (s_uuid != [0; 16]).then(|| uuid::Uuid::from_bytes(s_uuid).to_string()),
            block_bytes: size("s_log_block_size", s_log_block_size).unwrap_or(0),
            blocks: wide(s_blocks_count_lo, s_blocks_count_hi),
            free_blocks: wide(s_free_blocks_count_lo, s_free_blocks_count_hi),
            state: s_state,
            error_count: s_error_count,
            last_orphan: Ino(s_last_orphan),
            journal_inode: Ino(s_journal_inum),
            journal_device: s_journal_dev,
            journal_uuid: s_journal_uuid,
            mmp_block: Block(s_mmp_block),
        }
    }
}
