//! Feature words of the superblock: what is known, and what each bit is called.

use crate::bytes::le32;
use crate::filesystem::Hazard;

/// The three feature words (`s_feature_compat`, `s_feature_incompat`, `s_feature_ro_compat`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Features {
    pub(super) compat: u32,
    pub(super) incompat: u32,
    pub(super) ro_compat: u32,
}

pub(super) const COMPAT_HAS_JOURNAL: u32 = 0x4;
pub(super) const COMPAT_RESIZE_INODE: u32 = 0x10;
const COMPAT_LAZY_BG: u32 = 0x40;
pub(super) const COMPAT_SPARSE_SUPER2: u32 = 0x200;

const INCOMPAT_FILETYPE: u32 = 0x2;
pub(super) const INCOMPAT_RECOVER: u32 = 0x4;
pub(super) const INCOMPAT_JOURNAL_DEV: u32 = 0x8;
pub(super) const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_EXTENTS: u32 = 0x40;
pub(super) const INCOMPAT_64BIT: u32 = 0x80;
pub(super) const INCOMPAT_MMP: u32 = 0x100;
const INCOMPAT_FLEX_BG: u32 = 0x200;
const INCOMPAT_EA_INODE: u32 = 0x400;
const INCOMPAT_DIRDATA: u32 = 0x1000;
pub(super) const INCOMPAT_CSUM_SEED: u32 = 0x2000;
const INCOMPAT_LARGEDIR: u32 = 0x4000;
const INCOMPAT_INLINE_DATA: u32 = 0x8000;
const INCOMPAT_ENCRYPT: u32 = 0x1_0000;
const INCOMPAT_CASEFOLD: u32 = 0x2_0000;

pub(super) const RO_COMPAT_SPARSE_SUPER: u32 = 0x1;
const RO_COMPAT_LARGE_FILE: u32 = 0x2;
const RO_COMPAT_BTREE_DIR: u32 = 0x4;
const RO_COMPAT_HUGE_FILE: u32 = 0x8;
pub(super) const RO_COMPAT_GDT_CSUM: u32 = 0x10;
const RO_COMPAT_DIR_NLINK: u32 = 0x20;
const RO_COMPAT_EXTRA_ISIZE: u32 = 0x40;
const RO_COMPAT_QUOTA: u32 = 0x100;
pub(super) const RO_COMPAT_BIGALLOC: u32 = 0x200;
pub(super) const RO_COMPAT_METADATA_CSUM: u32 = 0x400;
const RO_COMPAT_READONLY: u32 = 0x1000;
const RO_COMPAT_PROJECT: u32 = 0x2000;
const RO_COMPAT_SHARED_BLOCKS: u32 = 0x4000;
const RO_COMPAT_VERITY: u32 = 0x8000;
pub(super) const RO_COMPAT_ORPHAN_PRESENT: u32 = 0x1_0000;

const INCOMPAT_KNOWN: u32 = INCOMPAT_FILETYPE
    | INCOMPAT_RECOVER
    | INCOMPAT_JOURNAL_DEV
    | INCOMPAT_META_BG
    | INCOMPAT_EXTENTS
    | INCOMPAT_64BIT
    | INCOMPAT_MMP
    | INCOMPAT_FLEX_BG
    | INCOMPAT_EA_INODE
    | INCOMPAT_DIRDATA
    | INCOMPAT_CSUM_SEED
    | INCOMPAT_LARGEDIR
    | INCOMPAT_INLINE_DATA
    | INCOMPAT_ENCRYPT
    | INCOMPAT_CASEFOLD;

const RO_COMPAT_KNOWN: u32 = RO_COMPAT_SPARSE_SUPER
    | RO_COMPAT_LARGE_FILE
    | RO_COMPAT_BTREE_DIR
    | RO_COMPAT_HUGE_FILE
    | RO_COMPAT_GDT_CSUM
    | RO_COMPAT_DIR_NLINK
    | RO_COMPAT_EXTRA_ISIZE
    | RO_COMPAT_QUOTA
    | RO_COMPAT_BIGALLOC
    | RO_COMPAT_METADATA_CSUM
    | RO_COMPAT_READONLY
    | RO_COMPAT_PROJECT
    | RO_COMPAT_SHARED_BLOCKS
    | RO_COMPAT_VERITY
    | RO_COMPAT_ORPHAN_PRESENT;

const INCOMPAT_EXT3: u32 = INCOMPAT_FILETYPE | INCOMPAT_RECOVER | INCOMPAT_META_BG;
const RO_COMPAT_EXT3: u32 = RO_COMPAT_SPARSE_SUPER | RO_COMPAT_LARGE_FILE | RO_COMPAT_BTREE_DIR;

impl Features {
    /// Reads the feature words of a 1024-byte superblock.
    pub(super) fn parse(superblock: &[u8]) -> Self {
        Self {
            compat: le32(superblock, 0x5c),
            incompat: le32(superblock, 0x60),
            ro_compat: le32(superblock, 0x64),
        }
    }

    pub(super) const fn has_compat(self, bit: u32) -> bool {
        self.compat & bit != 0
    }

    pub(super) const fn has_incompat(self, bit: u32) -> bool {
        self.incompat & bit != 0
    }

    pub(super) const fn has_ro_compat(self, bit: u32) -> bool {
        self.ro_compat & bit != 0
    }

    /// Whether group descriptors carry a checksum, and with it flags that count.
    pub(super) const fn has_descriptor_checksums(self) -> bool {
        self.has_ro_compat(RO_COMPAT_GDT_CSUM | RO_COMPAT_METADATA_CSUM)
    }

    pub(super) const fn has_metadata_csum(self) -> bool {
        self.has_ro_compat(RO_COMPAT_METADATA_CSUM)
    }

    pub(super) const fn has_journal(self) -> bool {
        self.has_compat(COMPAT_HAS_JOURNAL)
    }

    /// Whether any feature is one that ext3 never had.
    pub(super) const fn is_ext4(self) -> bool {
        self.incompat & !(INCOMPAT_EXT3 | INCOMPAT_JOURNAL_DEV) != 0
            || self.ro_compat & !RO_COMPAT_EXT3 != 0
    }

    /// Bits that may change what the allocation bitmaps mean.
    ///
    /// The read-only-compatible word counts too: bigalloc, which makes a bit stand for a cluster,
    /// is one of them. Compatible features never matter to a reader, except the long-gone
    /// `lazy_bg`, which left bitmaps unwritten without a checksum to say so.
    pub(super) fn unknown(self) -> Vec<Hazard> {
        let words = [
            ("compat", self.compat & COMPAT_LAZY_BG),
            ("incompat", self.incompat & !INCOMPAT_KNOWN),
            ("ro_compat", self.ro_compat & !RO_COMPAT_KNOWN),
        ];
        words
            .into_iter()
            .filter(|&(_, bits)| bits != 0)
            .map(|(word, bits)| Hazard::UnknownFeature(format!("s_feature_{word} {bits:#x}")))
            .collect()
    }
}
