//! Feature bits of the superblock, and those that klon doesn't know.

use crate::bytes::{be16, be32};
use crate::filesystem::Hazard;

const VERSION_MASK: u16 = 0xf;
const VERSION_LOGV2: u16 = 0x0400;
const VERSION_MOREBITS: u16 = 0x8000;

/// `XFS_SB_VERSION2_LAZYSBCOUNTBIT`, `ATTR2BIT`, `PARENTBIT`, `PROJID32BIT`, `CRCBIT` and `FTYPE`:
/// none of them moves or hides a block.
const FEATURES2_KNOWN: u32 = 0x2 | 0x8 | 0x10 | 0x80 | 0x100 | 0x200;
const FEATURES2_FTYPE: u32 = 0x200;
/// `finobt`, `rmapbt`, `reflink`, `inobtcount`.
const RO_COMPAT_KNOWN: u32 = 0x1 | 0x2 | 0x4 | 0x8;
const RO_COMPAT_FINOBT: u32 = 0x1;
const RO_COMPAT_RMAPBT: u32 = 0x2;
const RO_COMPAT_REFLINK: u32 = 0x4;
const INCOMPAT_FTYPE: u32 = 0x1;
const INCOMPAT_SPINODES: u32 = 0x2;
pub(super) const INCOMPAT_META_UUID: u32 = 0x4;
const INCOMPAT_NEEDSREPAIR: u32 = 0x10;
/// `ftype`, `spinodes`, `meta_uuid`, `bigtime`, `needsrepair`, `nrext64`, `exchange-range` and
/// `parent`. Metadata directories and zones (0x100 and up) put realtime groups on the volume.
const INCOMPAT_KNOWN: u32 = 0xff;
/// Logged extended attributes; of interest to replay only.
const LOG_INCOMPAT_KNOWN: u32 = 0x1;

/// The version (`sb_versionnum`) and the feature words of the superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Features {
    versionnum: u16,
    features2: u32,
    ro_compat: u32,
    incompat: u32,
    log_incompat: u32,
}

impl Features {
    /// Reads the words of a superblock of at least 512 bytes. The words of version 5 mean nothing in
    /// earlier versions.
    pub(super) fn parse(raw: &[u8]) -> Self {
        let sb_versionnum = be16(raw, 100);
        let sb_features2 = be32(raw, 200);
        let sb_bad_features2 = be32(raw, 204);
        let sb_features_ro_compat = be32(raw, 212);
        let sb_features_incompat = be32(raw, 216);
        let sb_features_log_incompat = be32(raw, 220);
        let is_v5 = sb_versionnum & VERSION_MASK == 5;
        let of_v5 = |word| if is_v5 { word } else { 0 };
        let has_more = sb_versionnum & VERSION_MOREBITS != 0;
        // A compiler's padding once moved the word, so sb_bad_features2 counts as well.
        let features2 = sb_features2 | sb_bad_features2;
        Self {
            versionnum: sb_versionnum,
            features2: if has_more { features2 } else { 0 },
            ro_compat: of_v5(sb_features_ro_compat),
            incompat: of_v5(sb_features_incompat),
            log_incompat: of_v5(sb_features_log_incompat),
        }
    }

    /// Whether it is version 5: metadata describes itself and has checksums.
    pub(super) const fn is_v5(self) -> bool {
        self.versionnum & VERSION_MASK == 5
    }

    pub(super) const fn has_log_v2(self) -> bool {
        self.versionnum & VERSION_LOGV2 != 0
    }

    pub(super) const fn has_meta_uuid(self) -> bool {
        self.incompat & INCOMPAT_META_UUID != 0
    }

    /// Whether entries of directories say of what type the file is.
    pub(super) const fn has_ftype(self) -> bool {
        let is_in_v4 = !self.is_v5() && self.features2 & FEATURES2_FTYPE != 0;
        is_in_v4 || self.incompat & INCOMPAT_FTYPE != 0
    }

    pub(super) const fn has_sparse_inodes(self) -> bool {
        self.incompat & INCOMPAT_SPINODES != 0
    }

    pub(super) const fn has_finobt(self) -> bool {
        self.ro_compat & RO_COMPAT_FINOBT != 0
    }

    pub(super) const fn has_rmapbt(self) -> bool {
        self.ro_compat & RO_COMPAT_RMAPBT != 0
    }

    pub(super) const fn has_reflink(self) -> bool {
        self.ro_compat & RO_COMPAT_REFLINK != 0
    }

    pub(super) const fn needs_repair(self) -> bool {
        self.incompat & INCOMPAT_NEEDSREPAIR != 0
    }

    /// The words without the word of the log, whose bits come and go.
    pub(super) fn lasting(self) -> Vec<u64> {
        let words = [self.features2, self.ro_compat, self.incompat].map(u64::from);
        [[self.versionnum.into()].as_slice(), &words].concat()
    }

    /// Versions and bits that may change what the free-space trees mean.
    pub(super) fn unknown(self) -> Vec<Hazard> {
        let version = self.versionnum & VERSION_MASK;
        let old = (version != 4 && version != 5)
            .then(|| Hazard::UnknownFeature(format!("version {version}")));
        let words = [
            ("features2", self.features2 & !FEATURES2_KNOWN),
            ("features_ro_compat", self.ro_compat & !RO_COMPAT_KNOWN),
            ("features_incompat", self.incompat & !INCOMPAT_KNOWN),
            (
                "features_log_incompat",
                self.log_incompat & !LOG_INCOMPAT_KNOWN,
            ),
        ];
        let unknown = words.into_iter().filter(|&(_, bits)| bits != 0);
        let unknown =
            unknown.map(|(word, bits)| Hazard::UnknownFeature(format!("sb_{word} {bits:#x}")));
        old.into_iter().chain(unknown).collect()
    }
}
