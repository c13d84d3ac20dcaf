//! Filesystems on disks whose logical sector is another than that of the disk that they were made on: which of them
//! can be used there as they are, and which can be shown for such sectors.
//!
//! A filesystem can't use blocks smaller than the sector of its device, and some keep the sector that they were made
//! for: FAT, exFAT and NTFS in their boot sectors, XFS in its superblock.

use super::{Kind, Summary};

/// What becomes of a filesystem on sectors of another size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnSectors {
    /// It is used as it is.
    AsIs,
    /// It is laid out anew by [`Filesystem::laid_out`](super::Filesystem::laid_out): in words, what that is.
    Anew(String),
    /// It can't be used there, and not be shown so that it can, for this reason.
    Never(String),
    /// Nobody can tell, for this reason.
    Unknown(String),
}

/// By the kind alone, for filesystems that keep no sector.
pub(super) fn by_kind(summary: &Summary, sector_bytes: u32) -> OnSectors {
    let kind = summary.kind;
    match kind {
        Kind::Ext2 | Kind::Ext3 | Kind::Ext4 => {
            let block_bytes = summary.block_size_bytes;
            match block_bytes < sector_bytes {
                true => OnSectors::Never(format!(
                    "{kind} with blocks of {block_bytes} bytes does not mount on sectors of {sector_bytes}"
                )),
                false => OnSectors::AsIs,
            }
        }
        // Their blocks are pages or 4096 bytes whatever the sector.
        Kind::Btrfs | Kind::Swap | Kind::Bcachefs if sector_bytes <= 4096 => OnSectors::AsIs,
        // Nothing has smaller ones, and these keep no sector.
        _ if sector_bytes <= 512 && !keeps_sector(kind) => OnSectors::AsIs,
        Kind::Iso9660 if sector_bytes > 2048 => OnSectors::Never(format!(
            "{kind} has blocks of 2048 bytes and does not mount on sectors of {sector_bytes}"
        )),
        _ => OnSectors::Unknown(format!(
            "{kind} may have been made for sectors of another size, and then does not mount on sectors of \
             {sector_bytes}"
        )),
    }
}

const fn keeps_sector(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Fat12
            | Kind::Fat16
            | Kind::Fat32
            | Kind::Exfat
            | Kind::Ntfs
            | Kind::Bitlocker
            | Kind::Xfs
    )
}

/// A filesystem whose boot sector says for which sectors it is, where only that has to be written anew.
pub(super) fn patched(kind: Kind, own_bytes: u64, sector_bytes: u32) -> OnSectors {
    OnSectors::Anew(format!(
        "its {kind} was made for sectors of {own_bytes} bytes. klon makes its boot sectors anew for sectors of \
         {sector_bytes}; everything else stays as it is"
    ))
}

#[cfg(test)]
mod tests {
    use super::{OnSectors, by_kind};
    use crate::filesystem::{Kind, Summary};

    fn summary(kind: Kind, block_size_bytes: u32) -> Summary {
        Summary {
            kind,
            label: None,
            uuid: None,
            size_bytes: 1 << 30,
            block_size_bytes,
            used_bytes: None,
            hazards: Vec::new(),
        }
    }

    #[test]
    fn blocks_are_no_smaller_than_sectors() {
        let on = |kind, block, sector| by_kind(&summary(kind, block), sector);
        assert_eq!(on(Kind::Ext4, 4096, 4096), OnSectors::AsIs);
        assert_eq!(on(Kind::Btrfs, 4096, 4096), OnSectors::AsIs);
        assert_eq!(on(Kind::Ext4, 1024, 512), OnSectors::AsIs);
        assert_eq!(on(Kind::Luks, 0, 512), OnSectors::AsIs);
        for (kind, block) in [(Kind::Ext4, 1024), (Kind::Iso9660, 2048)] {
            assert!(matches!(on(kind, block, 4096), OnSectors::Never(_)));
        }
        assert!(matches!(on(Kind::Luks, 0, 4096), OnSectors::Unknown(_)));
        assert!(matches!(on(Kind::Bitlocker, 0, 512), OnSectors::Unknown(_)));
    }
}
