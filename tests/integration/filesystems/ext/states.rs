//! Volumes that are in use, frozen, or have their journal elsewhere.

use super::tool::{Mount, dumpe2fs_used, is_root, run};
use super::variant::{VARIANTS, Variant};
use super::{ImageFile, assert_agrees, hazards};
use klon_partition::filesystem::{Basis, Hazard, usage};

#[test]
fn a_copy_of_a_mounted_volume_is_dirty() {
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for name in ["ext4", "ext3", "ext2"] {
        let variant = Variant::named(name);
        let image = variant.make(directory.path());
        let mount = Mount::new(&image, &directory.path().join(name), "loop");
        run(
            "sh",
            &[
                "-c",
                "seq 10000 > \"$0\"/busy; sync -f \"$0\"; mkdir \"$0\"/new",
                mount.path(),
            ],
        );
        let copy = directory.path().join("copy.img");
        std::fs::copy(&image, &copy).unwrap();
        drop(mount);
        let found = hazards(&copy);
        let is_dirty = match found.first() {
            Some(Hazard::NeedsRecovery(_)) => name != "ext2",
            Some(Hazard::NotCleanlyUnmounted(_)) => name == "ext2",
            _ => false,
        };
        assert!(is_dirty, "{name}: {found:?}");
        let usage = usage(&ImageFile::open(&copy)).unwrap();
        assert!(matches!(
            usage.basis,
            Basis::Whole {
                is_warning: true,
                ..
            }
        ));
        assert_eq!(hazards(&image), [], "{name} unmounted");
        if name != "ext2" {
            // A read-only mount of a writable device replays the journal and leaves it clean.
            let script = "
                device=$(losetup --find --show \"$1\")
                trap 'losetup -d $device' EXIT
                mount -o ro $device \"$0\" && umount \"$0\"";
            let point = directory.path().join(name);
            let paths = [point.to_str().unwrap(), copy.to_str().unwrap()];
            run("sh", &["-e", "-c", script, paths[0], paths[1]]);
            assert_agrees(&copy, &format!("{name} replayed"));
        }
    }
}

/// A frozen filesystem is clean, and the blocks of a file that is deleted and still open are in
/// its bitmaps.
#[test]
fn a_frozen_volume_with_orphans_is_clean() {
    if !is_root() {
        return;
    }
    for name in ["ext4", "journals"] {
        let directory = tempfile::tempdir().unwrap();
        let variant = Variant::named(name);
        let image = variant.make(directory.path());
        let mount = Mount::new(&image, &directory.path().join("mnt"), "loop");
        let copy = directory.path().join("copy.img");
        let script = "
            exec 3> \"$0\"/orphan
            head -c 500000 /dev/urandom >&3
            rm \"$0\"/orphan
            fsfreeze -f \"$0\"
            cp \"$1\" \"$2\"; status=$?
            fsfreeze -u \"$0\"
            exit $status";
        let paths = [
            mount.path(),
            image.to_str().unwrap(),
            copy.to_str().unwrap(),
        ];
        run("sh", &["-e", "-c", script, paths[0], paths[1], paths[2]]);
        drop(mount);
        assert_agrees(&copy, &format!("{name} frozen"));
        let (frozen, after) = (dumpe2fs_used(&copy), dumpe2fs_used(&image));
        assert!(
            frozen.total_bytes() > after.total_bytes() + 400_000,
            "{name}"
        );
        run("e2fsck", &["-fp", copy.to_str().unwrap()]);
        assert_agrees(&copy, &format!("{name} without its orphans"));
    }
}

#[test]
fn journals_elsewhere_are_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal.img");
    run("truncate", &["-s", "8M", journal.to_str().unwrap()]);
    run(
        "mke2fs",
        &[
            "-q",
            "-O",
            "journal_dev",
            "-b",
            "4096",
            journal.to_str().unwrap(),
        ],
    );
    let found = hazards(&journal);
    assert!(
        matches!(&found[..], [Hazard::ExternalJournal(_)]),
        "{found:?}"
    );
    let image = VARIANTS[0].make(directory.path());
    let path = image.to_str().unwrap();
    run("tune2fs", &["-O", "^has_journal", path]);
    // What `mke2fs -J device=` leaves: the feature, and the journal's UUID and device.
    for command in [
        "feature has_journal",
        "ssv journal_dev 0x700",
        "ssv journal_uuid random",
    ] {
        run("debugfs", &["-w", "-R", command, path]);
    }
    let found = hazards(&image);
    assert!(
        matches!(&found[..], [Hazard::ExternalJournal(_)]),
        "{found:?}"
    );
}
