//! What a volume can be formatted as.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a volume is formatted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// ext2: no journal.
    Ext2,
    /// ext3: a journal, none of ext4's features.
    Ext3,
    /// ext4.
    Ext4,
    /// FAT with 12-bit entries.
    Fat12,
    /// FAT with 16-bit entries.
    Fat16,
    /// FAT with 32-bit entries, the usual EFI system partition.
    Fat32,
    /// XFS.
    Xfs,
    /// Btrfs.
    Btrfs,
    /// NTFS.
    Ntfs,
    /// exFAT.
    Exfat,
    /// F2FS.
    F2fs,
    /// HFS+ or HFSX.
    Hfsplus,
    /// An APFS container.
    Apfs,
    /// Linux swap.
    Swap,
    /// LUKS 1 or 2.
    Luks,
    /// An LVM2 physical volume.
    Lvm2,
    /// An MD RAID member.
    Mdraid,
    /// A ZFS member.
    Zfs,
    /// bcachefs.
    Bcachefs,
    /// BitLocker.
    Bitlocker,
    /// ISO 9660.
    Iso9660,
    /// squashfs.
    Squashfs,
    /// EROFS.
    Erofs,
    /// UDF, also together with ISO 9660.
    Udf,
    /// NILFS2.
    Nilfs2,
    /// UFS 1 or 2.
    Ufs,
    /// ReiserFS 3.
    Reiserfs,
    /// JFS.
    Jfs,
}

impl Kind {
    /// How to copy less of such a volume. There is a way where the files are in something inside of the
    /// volume, of which klon has a better map.
    #[must_use]
    pub const fn advice(self) -> Option<&'static str> {
        match self {
            Self::Luks => Some(
                "it is encrypted; unlock it with 'cryptsetup open' and copy its mapping, which is \
                 faster: only blocks in use are copied",
            ),
            Self::Bitlocker => Some(
                "it is encrypted; unlock it with 'cryptsetup open --type bitlk' and copy its mapping, \
                 which is faster: only blocks in use are copied",
            ),
            Self::Mdraid => Some(
                "it is a member of a RAID; assemble the array and copy it, which is faster: only \
                 blocks in use are copied",
            ),
            Self::Lvm2 => Some(
                "it holds logical volumes ('lvs' lists them); copy each by itself, which is faster: only \
                 blocks in use are copied",
            ),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
            Self::Fat12 => "fat12",
            Self::Fat16 => "fat16",
            Self::Fat32 => "fat32",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Ntfs => "ntfs",
            Self::Exfat => "exfat",
            Self::F2fs => "f2fs",
            Self::Hfsplus => "hfsplus",
            Self::Apfs => "apfs",
            Self::Swap => "swap",
            Self::Luks => "luks",
            Self::Lvm2 => "lvm2",
            Self::Mdraid => "mdraid",
            Self::Zfs => "zfs",
            Self::Bcachefs => "bcachefs",
            Self::Bitlocker => "bitlocker",
            Self::Iso9660 => "iso9660",
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
            Self::Udf => "udf",
            Self::Nilfs2 => "nilfs2",
            Self::Ufs => "ufs",
            Self::Reiserfs => "reiserfs",
            Self::Jfs => "jfs",
        })
    }
}
