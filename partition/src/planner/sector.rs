//! Filesystems on drives whose logical sector differs from the source's: which ones still mount.
//!
//! A filesystem can't use blocks smaller than the sector of its device, and some keep the sector
//! size that they were made for: FAT and exFAT and NTFS in their boot sectors, XFS in its
//! superblock.

use crate::filesystem::{Kind, Summary};

/// Why a clone will, or may, not mount on a drive with sectors of another size; `None` when it
/// will.
#[must_use]
pub fn mismatch(
    summary: Option<&Summary>,
    source_sector_bytes: u32,
    drive_sector_bytes: u32,
) -> Option<String> {
    let summary = summary.filter(|_| source_sector_bytes != drive_sector_bytes)?;
    if drive_sector_bytes > source_sector_bytes {
        larger(summary, source_sector_bytes, drive_sector_bytes)
    } else {
        smaller(summary.kind, source_sector_bytes)
    }
}

fn larger(summary: &Summary, source: u32, drive: u32) -> Option<String> {
    let kind = summary.kind;
    match kind {
        Kind::Ext2 | Kind::Ext3 | Kind::Ext4 => {
            let block = summary.block_size_bytes;
            (block < drive).then(|| {
                format!("{kind} with blocks of {block} bytes does not mount on sectors of {drive}")
            })
        }
        // Their blocks are pages or 4096 bytes whatever the sector.
        Kind::Btrfs | Kind::Swap | Kind::Bcachefs if drive <= 4096 => None,
        Kind::Fat12 | Kind::Fat16 | Kind::Fat32 | Kind::Exfat | Kind::Ntfs => Some(format!(
            "{kind} made for sectors of {source} bytes does not mount, nor boot, on sectors of \
             {drive}"
        )),
        Kind::Iso9660 => Some(format!(
            "{kind} has blocks of 2048 bytes and does not mount on sectors of {drive}"
        )),
        _ => Some(format!(
            "{kind} may have been made for sectors of {source} bytes, and then does not mount on \
             sectors of {drive}"
        )),
    }
}

fn smaller(kind: Kind, source: u32) -> Option<String> {
    match kind {
        Kind::Fat12 | Kind::Fat16 | Kind::Fat32 => Some(format!(
            "{kind} made for sectors of {source} bytes mounts on Linux, but not every firmware \
             boots from it"
        )),
        Kind::Ntfs | Kind::Exfat | Kind::Bitlocker => Some(format!(
            "{kind} made for sectors of {source} bytes may not mount on smaller ones"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::mismatch;
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
    fn what_was_made_for_small_sectors_does_not_mount_on_large_ones() {
        let on_4096 = |kind, block| mismatch(Some(&summary(kind, block)), 512, 4096);
        assert_eq!(on_4096(Kind::Ext4, 4096), None);
        assert_eq!(on_4096(Kind::Btrfs, 4096), None);
        assert!(
            on_4096(Kind::Ext4, 1024)
                .unwrap()
                .contains("blocks of 1024")
        );
        assert!(
            on_4096(Kind::Fat32, 4096)
                .unwrap()
                .contains("sectors of 512")
        );
        assert!(on_4096(Kind::Xfs, 4096).unwrap().contains("may"));
        assert_eq!(mismatch(Some(&summary(Kind::Fat32, 4096)), 512, 512), None);
        assert_eq!(mismatch(None, 512, 4096), None);
    }

    #[test]
    fn small_sectors_suit_most() {
        let on_512 = |kind| mismatch(Some(&summary(kind, 4096)), 4096, 512);
        assert_eq!(on_512(Kind::Ext4), None);
        assert_eq!(on_512(Kind::Xfs), None);
        assert!(on_512(Kind::Fat32).is_some());
    }
}
