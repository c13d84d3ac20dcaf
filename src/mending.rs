//! How to mend a volume whose record of used blocks can't be believed.

use klon_partition::filesystem::{CUT, Hazard, Kind, UNREAD};

/// The advice for a volume of this kind with these hazards. `reason` is why it was not believed.
pub fn of(kind: Option<Kind>, hazards: &[Hazard], reason: &str) -> String {
    let has = |is_meant: fn(&Hazard) -> bool| hazards.iter().any(is_meant);
    if reason.starts_with(UNREAD) {
        // A repair would write to a disk that is about to fail.
        return "Repair nothing on it before you clone it".to_owned();
    }
    if reason.contains(CUT) {
        // A check would make the loss final.
        return "The file ends before its filesystem: it is cut, or the first of several parts. Repair \
            nothing on it"
            .to_owned();
    }
    if has(|hazard| matches!(hazard, Hazard::ExternalJournal(_) | Hazard::MultiDevice(_))) {
        return "The clone of this device alone is not complete. Clone the other devices that \
            belong to it too"
            .to_owned();
    }
    if has(|hazard| matches!(hazard, Hazard::Hibernated(_))) {
        return "To avoid this, resume and shut down the hibernated system".to_owned();
    }
    if has(|hazard| matches!(hazard, Hazard::UnknownFeature(_))) {
        return "A later klon may know the feature".to_owned();
    }
    let is_open = has(|h| matches!(h, Hazard::NeedsRecovery(_) | Hazard::NotCleanlyUnmounted(_)));
    let Some(kind) = kind else {
        return "The clone has all of it".to_owned();
    };
    match closed(kind).filter(|_| is_open).or_else(|| mended(kind)) {
        Some(how) => format!("To avoid this, {how}"),
        None => format!("Nothing mends {kind}: the clone will be the same"),
    }
}

/// What closes a volume that is still open or was never closed.
const fn closed(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Ext2
        | Kind::Ext3
        | Kind::Ext4
        | Kind::Xfs
        | Kind::Btrfs
        | Kind::F2fs
        | Kind::Nilfs2
        | Kind::Reiserfs
        | Kind::Jfs
        | Kind::Bcachefs => Some("mount and unmount it once"),
        Kind::Ntfs => Some("start Windows and shut it down (shutdown /s /f, not a fast shutdown)"),
        Kind::Apfs => Some("mount and unmount it once on a Mac"),
        // Linux mounts these for reading only.
        Kind::Hfsplus => Some("mount and unmount it once on a Mac, or run fsck.hfsplus on it"),
        Kind::Lvm2 => Some("let LVM complete the change (vgck --updatemetadata)"),
        Kind::Zfs => Some("export its pool (zpool export)"),
        Kind::Mdraid => Some("stop its array (mdadm --stop)"),
        // Of FAT and exFAT the kernel keeps what says that they were not unmounted.
        _ => None,
    }
}

/// What mends a damaged one.
const fn mended(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Ext2 | Kind::Ext3 | Kind::Ext4 => Some("run e2fsck on it"),
        Kind::Fat12 | Kind::Fat16 | Kind::Fat32 => Some("run fsck.fat on it"),
        Kind::Exfat => Some("run fsck.exfat on it"),
        Kind::Xfs => Some("run xfs_repair on it"),
        Kind::Btrfs => Some("see what btrfs check says of it"),
        Kind::Ntfs => Some("run chkdsk on it in Windows"),
        Kind::F2fs => Some("run fsck.f2fs on it"),
        Kind::Hfsplus => Some("run fsck.hfsplus on it"),
        Kind::Apfs => Some("run First Aid on it on a Mac"),
        Kind::Reiserfs => Some("run reiserfsck on it"),
        Kind::Jfs => Some("run jfs_fsck on it"),
        Kind::Bcachefs => Some("run bcachefs fsck on it"),
        Kind::Lvm2 => Some("see what vgck says of its volume group"),
        Kind::Zfs => Some("see what zpool status says of its pool"),
        Kind::Mdraid => Some("see what mdadm --examine says of it"),
        Kind::Swap => Some("make it again with mkswap"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::of;
    use klon_partition::filesystem::{Hazard, Kind};

    const KINDS: [Kind; 28] = [
        Kind::Ext2,
        Kind::Ext3,
        Kind::Ext4,
        Kind::Fat12,
        Kind::Fat16,
        Kind::Fat32,
        Kind::Xfs,
        Kind::Btrfs,
        Kind::Ntfs,
        Kind::Exfat,
        Kind::F2fs,
        Kind::Hfsplus,
        Kind::Apfs,
        Kind::Swap,
        Kind::Luks,
        Kind::Lvm2,
        Kind::Mdraid,
        Kind::Zfs,
        Kind::Bcachefs,
        Kind::Bitlocker,
        Kind::Iso9660,
        Kind::Squashfs,
        Kind::Erofs,
        Kind::Udf,
        Kind::Nilfs2,
        Kind::Ufs,
        Kind::Reiserfs,
        Kind::Jfs,
    ];

    fn hazards() -> [Hazard; 8] {
        let how = || "x".to_owned();
        [
            Hazard::NeedsRecovery(how()),
            Hazard::NotCleanlyUnmounted(how()),
            Hazard::Errors(how()),
            Hazard::Hibernated(how()),
            Hazard::MultiDevice(how()),
            Hazard::ExternalJournal(how()),
            Hazard::Damaged(how()),
            Hazard::UnknownFeature(how()),
        ]
    }

    #[test]
    fn only_what_has_an_fsck_is_sent_to_it() {
        let has_fsck = |kind| {
            use Kind::{
                Bcachefs, Exfat, Ext2, Ext3, Ext4, F2fs, Fat12, Fat16, Fat32, Hfsplus, Jfs,
                Reiserfs,
            };
            matches!(
                kind,
                Ext2 | Ext3
                    | Ext4
                    | Fat12
                    | Fat16
                    | Fat32
                    | Exfat
                    | F2fs
                    | Hfsplus
                    | Reiserfs
                    | Jfs
                    | Bcachefs
            )
        };
        for kind in KINDS {
            for hazard in hazards() {
                let said = of(Some(kind), std::slice::from_ref(&hazard), "");
                assert!(has_fsck(kind) || !said.contains("fsck"), "{kind}: {said}");
                let is_damage = matches!(hazard, Hazard::Damaged(_) | Hazard::Errors(_));
                assert!(!is_damage || !said.contains("unmount"), "{kind}: {said}");
            }
            let said = of(Some(kind), &[], "");
            assert!(has_fsck(kind) || !said.contains("fsck"), "{kind}: {said}");
        }
    }

    #[test]
    fn nobody_is_told_to_mount_what_is_never_mounted() {
        for kind in [
            Kind::Swap,
            Kind::Luks,
            Kind::Lvm2,
            Kind::Mdraid,
            Kind::Zfs,
            Kind::Bitlocker,
        ] {
            for hazard in hazards() {
                let said = of(Some(kind), &[hazard], "");
                assert!(!said.contains("mount"), "{kind}: {said}");
            }
        }
    }

    #[test]
    fn a_cut_volume_is_not_repaired() {
        for kind in KINDS {
            let reason = format!("{kind} damaged (so){}", super::CUT);
            let said = of(Some(kind), &[Hazard::Damaged("so".to_owned())], &reason);
            assert!(said.contains("first of several parts"), "{said}");
            assert!(!said.contains("fsck"), "{said}");
        }
    }

    #[test]
    fn a_failing_disk_is_not_repaired() {
        for kind in KINDS {
            let said = of(Some(kind), &[], "it can't be read: no luck");
            assert!(said.starts_with("Repair nothing"), "{said}");
        }
    }
}
