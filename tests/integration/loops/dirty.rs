//! Filesystems that are or were in use: mounted sources, journals to be recovered, targets that
//! somebody changed.

use crate::support::image::{ext4, sparse};
use crate::support::klon::number;
use crate::support::tree::{Tree, add_specials, fill, noise};
use crate::support::{Klon, LoopDevice, MIB, Mount, lacks_root, run};
use std::fs;

/// `dirty`: a copy of a volume made while it was mounted and written to, and a mount of it later.
fn with_dirty_copy() -> Klon {
    let klon = Klon::new();
    sparse(&klon.path("volume"), 96 * MIB);
    run("mkfs.ext4", &["-q", "-b", "4096", &klon.text("volume")]);
    let device = LoopDevice::new(&klon.path("volume"), 512);
    let mount = Mount::new(device.path(), &klon.path("mnt"), "rw");
    fill(mount.path(), 3, 12);
    add_specials(mount.path());
    run("sync", &["-f", mount.path().to_str().unwrap()]);
    // In the journal, if anywhere.
    for number in 0..20_u64 {
        let path = mount.path().join(format!("late {number}"));
        fs::write(&path, noise(number, 5000)).unwrap();
        run("sync", &[path.to_str().unwrap()]);
    }
    run(
        "cp",
        &["--sparse=always", &klon.text("volume"), &klon.text("dirty")],
    );
    drop(mount);
    drop(device);
    klon
}

#[test]
fn a_dirty_volume_is_copied_whole_and_recovers_with_all_its_files() {
    if lacks_root() {
        return;
    }
    let klon = with_dirty_copy();
    let words = ["--strict", "journal", "mount and unmount it once"];
    let clone = ["clone", "dirty", "target", "--replay", "never"];
    klon.refused(&[&clone[..], &["--strict"]].concat(), &words);
    assert!(!klon.path("target").exists());
    let outcome = klon.ok(&[&clone[..], &["--json"]].concat());
    outcome.says(&[
        "warning",
        "dirty",
        "copies all of it",
        "mount and unmount it once",
    ]);
    let done = outcome.last();
    assert_eq!(number(&done, "used_bytes"), 96 * MIB, "{done:#}");
    assert!(fs::read(klon.path("dirty")).unwrap() == fs::read(klon.path("target")).unwrap());
    let again = klon.json(&clone);
    assert_eq!(
        (&again["rung"], &again["written_bytes"]),
        (&"compare".into(), &0.into())
    );
    // The kernel recovers both; the volume itself was unmounted cleanly.
    let tree = |name: &str| {
        let device = LoopDevice::new(&klon.path(name), 512);
        let mount = Mount::new(device.path(), &klon.path("mnt"), "rw");
        Tree::read(mount.path())
    };
    let (recovered, volume) = (tree("target"), tree("volume"));
    volume.assert_rich();
    volume.assert_same(&recovered);
    run("e2fsck", &["-fn", &klon.text("target")]);
}

#[test]
fn a_source_may_be_mounted_read_only_but_not_read_write() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("source"), 32, 4);
    let device = LoopDevice::new(&klon.path("source"), 512);
    let node = device.text();
    let mount = Mount::new(node, &klon.path("mnt"), "rw");
    let at = mount.path().to_str().unwrap();
    let words = ["would change while it is cloned", at, "mount -o remount,ro"];
    klon.refused(&["clone", node, "target", "--still", "refuse"], &words);
    klon.refused(&["clone", "source", "target"], &words);
    assert!(!klon.path("target").exists());
    run("mount", &["-o", "remount,ro", at]);
    klon.ok(&["clone", node, "target"]);
    run("e2fsck", &["-fn", &klon.text("target")]);
    klon.ok(&["verify", "target"]);
}

#[test]
fn a_clone_that_was_mounted_and_changed_is_compared_and_ends_exact() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("source"), 48, 8);
    sparse(&klon.path("target"), 48 * MIB);
    let device = LoopDevice::new(&klon.path("target"), 512);
    let node = device.text();
    klon.ok(&["clone", "source", node]);
    let again = klon.json(&["clone", "source", node]);
    assert_eq!(
        (&again["rung"], &again["written_bytes"]),
        (&"digest".into(), &0.into())
    );
    let mount = Mount::new(node, &klon.path("mnt"), "rw");
    fs::write(mount.path().join("documents/30"), "not the backup").unwrap();
    fs::remove_file(mount.path().join("documents/31")).unwrap();
    drop(mount);
    let done = klon.json(&["clone", "source", node]);
    assert_eq!(done["rung"], "compare", "{done:#}");
    let reason = done["volumes"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("changed the target"), "{reason}");
    assert!(number(&done, "changed_bytes") > 0, "{done:#}");
    klon.ok(&["verify", node]);
    klon.ok(&["verify", node, "source"]);
    run("e2fsck", &["-fn", node]);
    let mount = Mount::new(node, &klon.path("mnt"), "ro,noload");
    let content = fs::read(mount.path().join("documents/30")).unwrap();
    assert!(content == noise(48 + 30, 30 * 700));
    assert!(!mount.path().join("lost").exists() && mount.path().join("documents/31").exists());
}
