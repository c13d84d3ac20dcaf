//! What the superblock says that needs no sound geometry: names, counters, state.

use super::feature::{self, Features};
use super::superblock::{size, uuid, wide};
use crate::bytes::{le16, le32, le64, text};

/// Fields of the superblock as they are, not checked against anything.
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
    pub(super) last_orphan: u32,
    pub(super) journal_inode: u32,
    pub(super) journal_device: u32,
    pub(super) journal_uuid: [u8; 16],
    pub(super) mmp_block: u64,
}

impl Status {
    /// Reads `raw` (1024 bytes), whatever is in it.
    pub(super) fn parse(raw: &[u8]) -> Self {
        let features = Features::parse(raw);
        let high = |offset| {
            let has_high = features.has_incompat(feature::INCOMPAT_64BIT);
            if has_high { le32(raw, offset) } else { 0 }
        };
        let uuid = uuid(raw);
        let journal_uuid = raw.get(0xd0..0xe0).and_then(|field| field.try_into().ok());
        Self {
            features,
            label: text(raw.get(0x78..0x88).unwrap_or_default()),
            uuid: (uuid != [0; 16]).then(|| uuid::Uuid::from_bytes(uuid).to_string()),
            block_bytes: size("s_log_block_size", le32(raw, 0x18)).unwrap_or(0),
            blocks: wide(le32(raw, 0x04), high(0x150)),
            free_blocks: wide(le32(raw, 0x0c), high(0x158)),
            state: le16(raw, 0x3a),
            error_count: le32(raw, 0x194),
            last_orphan: le32(raw, 0xe8),
            journal_inode: le32(raw, 0xe0),
            journal_device: le32(raw, 0xe4),
            journal_uuid: journal_uuid.unwrap_or_default(),
            mmp_block: le64(raw, 0x168),
        }
    }
}
