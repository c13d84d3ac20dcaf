//! Feature bits and superblock flags, and what they say against copying by the extent tree.
//!
//! `BTRFS_FEATURE_*` and `BTRFS_SUPER_FLAG_*` of the kernel's `include/uapi/linux/btrfs.h` and
//! `include/uapi/linux/btrfs_tree.h`.

use crate::bytes::le64;
use crate::filesystem::Hazard;

const INCOMPAT_MIXED_BACKREF: u64 = 1 << 0;
pub(super) const INCOMPAT_METADATA_UUID: u64 = 1 << 10;
/// Mixed back references, default subvolume, mixed block groups, compression by LZO and Zstandard,
/// big metadata, extended inode references, RAID5/6, skinny metadata, no holes, metadata UUID,
/// RAID1 on three and four devices.
const INCOMPAT_KNOWN: u64 = 0xfff | INCOMPAT_SIMPLE_QUOTA;
/// Default subvolume, compression by LZO and Zstandard, extended inode references.
const INCOMPAT_PASSING: u64 = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 6;
const INCOMPAT_SIMPLE_QUOTA: u64 = 1 << 16;

/// Free space tree, and that it is valid.
const COMPAT_RO_FREE_SPACE_TREE: u64 = 1 << 0 | 1 << 1;
const COMPAT_RO_VERITY: u64 = 1 << 2;
const COMPAT_RO_BLOCK_GROUP_TREE: u64 = 1 << 3;
const COMPAT_RO_KNOWN: u64 =
    COMPAT_RO_FREE_SPACE_TREE | COMPAT_RO_VERITY | COMPAT_RO_BLOCK_GROUP_TREE;

const FLAG_WRITTEN: u64 = 1 << 0;
const FLAG_ERROR: u64 = 1 << 2;
const FLAG_SEEDING: u64 = 1 << 32;
/// Bits that tools set while they rewrite UUIDs, checksums or the block group tree.
const FLAGS_CONVERSION: u64 = 1 << 35 | 1 << 36 | 1 << 38 | 1 << 39 | 1 << 40;

/// The feature bits of the superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Features {
    compat_ro: u64,
    incompat: u64,
}

impl Features {
    /// The features in the superblock `raw`.
    pub(super) fn parse(raw: &[u8]) -> Self {
        let (compat_ro_flags, incompat_flags) = (le64(raw, 0xb4), le64(raw, 0xbc));
        Self {
            compat_ro: compat_ro_flags,
            incompat: incompat_flags,
        }
    }

    pub(super) const fn has_metadata_uuid(self) -> bool {
        self.incompat & INCOMPAT_METADATA_UUID != 0
    }

    pub(super) const fn has_block_group_tree(self) -> bool {
        self.compat_ro & COMPAT_RO_BLOCK_GROUP_TREE != 0
    }

    /// A hazard for each field with bits that klon doesn't know.
    fn unknown(self) -> Vec<Hazard> {
        let mut hazards = Vec::new();
        let incompat = self.incompat & !INCOMPAT_KNOWN;
        if incompat != 0 {
            let names = names(incompat);
            hazards.push(Hazard::UnknownFeature(format!(
                "incompat {incompat:#x}{names}"
            )));
        }
        let compat_ro = self.compat_ro & !COMPAT_RO_KNOWN;
        if compat_ro != 0 {
            hazards.push(Hazard::UnknownFeature(format!("compat_ro {compat_ro:#x}")));
        }
        if self.incompat & INCOMPAT_MIXED_BACKREF == 0 {
            let which = "extent items from before mixed back references (2009)";
            hazards.push(Hazard::UnknownFeature(which.to_owned()));
        }
        hazards
    }
}

/// The incompat and the compat_ro features in the superblock `raw` that say how what is there is
/// kept. The others come with a mount, a compressed file or the first default subvolume.
pub(super) fn lasting(raw: &[u8]) -> [u64; 2] {
    let Features {
        compat_ro,
        incompat,
    } = Features::parse(raw);
    [
        incompat & !INCOMPAT_PASSING,
        compat_ro & !(COMPAT_RO_FREE_SPACE_TREE | COMPAT_RO_VERITY),
    ]
}

/// Features that have a name but no support.
fn names(incompat: u64) -> String {
    let known = [
        (12, "zoned"),
        (13, "extent tree v2"),
        (14, "raid stripe tree"),
    ];
    known
        .iter()
        .filter(|&&(bit, _)| incompat >> bit & 1 == 1)
        .map(|&(_, name)| format!(", {name}"))
        .collect()
}

/// What the superblock `raw` alone says against copying by the extent tree.
pub(super) fn recorded(raw: &[u8]) -> Vec<Hazard> {
    let mut hazards = Features::parse(raw).unknown();
    let (flags, log_root, num_devices) = (le64(raw, 0x38), le64(raw, 0x60), le64(raw, 0x88));
    let devid = le64(raw, 0xc9);
    if log_root != 0 {
        let how = format!("a log tree at {log_root:#x}; mount and unmount it once");
        hazards.push(Hazard::NeedsRecovery(how));
    }
    if num_devices != 1 {
        let which = format!("{num_devices} devices");
        hazards.push(Hazard::MultiDevice(which));
    }
    if devid == 0 {
        // `BTRFS_DEV_REPLACE_DEVID`: the target of a replacement under way.
        let which = "this one is to replace another".to_owned();
        hazards.push(Hazard::MultiDevice(which));
    }
    if flags & FLAG_SEEDING != 0 {
        let which = "a seed device: others may build on it".to_owned();
        hazards.push(Hazard::MultiDevice(which));
    }
    if flags & FLAG_ERROR != 0 {
        let how = "flags: an error was recorded; run btrfs check".to_owned();
        hazards.push(Hazard::Errors(how));
    }
    if flags & FLAGS_CONVERSION != 0 {
        let how = format!("flags {flags:#x}: btrfstune was interrupted; run it again");
        hazards.push(Hazard::NeedsRecovery(how));
    }
    let unknown = flags & !(FLAG_WRITTEN | FLAG_ERROR | FLAG_SEEDING | FLAGS_CONVERSION);
    if unknown != 0 {
        hazards.push(Hazard::UnknownFeature(format!("flags {unknown:#x}")));
    }
    hazards
}
