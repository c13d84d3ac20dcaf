//! Volumes that are mounted where klon can't see it; needs root.

use super::Pair;
use crate::support::image::{ext4, sparse};
use crate::support::{Klon, LoopDevice, MIB, Mount, lacks_root, run};
use std::fs::{self, File};
use std::io::Write as _;

/// What is on the device is not what is in the file that is still open.
fn lazily_unmounted(mkfs: &[&str]) {
    let mut pair = Pair::new(mkfs, "rw");
    let mut late = File::create(pair.at().join("late")).unwrap();
    run("umount", &["--lazy", pair.at().to_str().unwrap()]);
    late.write_all(b"precious").unwrap();
    let ends = [pair.source.text(), pair.target.text()];
    for command in [
        &["clone", ends[0], ends[1], "--yes"][..],
        &["image", ends[0], "x.klon"],
    ] {
        let refused = pair.klon.run(command).expect(3);
        refused.says(&["would change while it is read", "is mounted"]);
    }
    drop(late);
    // Nothing is left to be unmounted.
    std::mem::forget(pair.mount.take());
}

#[test]
fn what_is_mounted_but_not_listed_is_no_source() {
    if lacks_root() {
        return;
    }
    for mkfs in [
        &["mkfs.ext4", "-q"][..],
        &["mkfs.xfs", "-q"],
        &["mkfs.btrfs", "-q"],
    ] {
        lazily_unmounted(mkfs);
    }
}

#[test]
fn what_another_program_has_claimed_is_no_source_and_what_klon_has_is() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 1);
    sparse(&klon.path("target"), 24 * MIB);
    let source = LoopDevice::new(&klon.path("source"), 512);
    let claim = || {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = fs::OpenOptions::new();
        options
            .read(true)
            .custom_flags(nix::libc::O_EXCL)
            .open(source.path())
            .unwrap()
    };
    let claimed = claim();
    let clone = ["clone", source.text(), "target", "--yes"];
    klon.run(&clone)
        .expect(3)
        .says(&["something has claimed it"]);
    drop(claimed);
    klon.ok(&clone);
}

/// klon would bring what lies on top to rest, and read what lies beneath while others write to it.
#[test]
fn what_another_mount_covers_is_no_source_until_that_is_gone() {
    if lacks_root() {
        return;
    }
    for (mkfs, over) in [
        (&["mkfs.btrfs", "-q"][..], "mkfs.ext4"),
        (&["mkfs.xfs", "-q"], "mkfs.xfs"),
    ] {
        let pair = Pair::new(mkfs, "rw");
        sparse(&pair.klon.path("over"), 320 * MIB);
        run(over, &["-q", &pair.klon.text("over")]);
        let cover = Mount::new(pair.klon.path("over"), &pair.at(), "loop");
        let ends = [pair.source.text(), pair.target.text()];
        let image = ["image", ends[0], "x.klon"];
        for command in [&["clone", ends[0], ends[1], "--yes"][..], &image] {
            let reasons = [
                "is mounted",
                "something else is mounted over",
                "Unmount that first",
            ];
            pair.klon.run(command).expect(3).says(&reasons);
        }
        drop(cover);
        pair.klon.ok(&image);
    }
}
