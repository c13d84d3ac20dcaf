//! Sources that someone writes to while they are read.

use crate::support::hooked::Hooked;
use crate::support::image::{ext4, fat, sparse};
use crate::support::klon::number;
use crate::support::{Klon, LoopDevice, MIB, Mount, lacks_root, run};
use std::fs;

/// Clones to a target that has `script` run in the middle; fails unless the run is refused for
/// `reason` and the target left unfinished.
fn check(klon: &Klon, source: &str, script: &str, reason: &str) {
    sparse(&klon.path("target"), 48 * MIB);
    let served = Hooked::at_write(&klon.path("target"), 4 * MIB, script);
    let words = [
        "the source changed while it was read",
        reason,
        "is marked as unfinished",
    ];
    klon.refused(&["clone", source, served.text()], &words);
    assert!(klon.path("target.done").exists());
    drop(served);
    let head = fs::read(klon.path("target")).unwrap();
    assert!(klon_imaging::mark::Mark::parse(&head).is_some());
}

#[test]
fn a_file_that_is_written_to() {
    if lacks_root() {
        return;
    }
    for (script, reason) in [
        (
            "printf x | dd of=FILE bs=1 seek=40000000 conv=notrunc status=none",
            "was written to",
        ),
        ("truncate -s +1M FILE", "bytes and has"),
        ("touch -d '2020-01-01' FILE", "was written to"),
    ] {
        let klon = Klon::new();
        // No token shows a change of FAT.
        fat(&klon.path("source"), 40, 512);
        let file = klon.path("extra");
        fs::write(&file, crate::support::tree::noise(1, 20 << 20)).unwrap();
        run(
            "mcopy",
            &["-i", &klon.text("source"), file.to_str().unwrap(), "::/"],
        );
        let script = script.replace("FILE", &format!("'{}'", klon.text("source")));
        check(&klon, "source", &script, reason);
    }
}

#[test]
fn a_device_that_is_written_to_past_its_claim() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("source"), 48, 30);
    let device = LoopDevice::new(&klon.path("source"), 512);
    let write = format!(
        "printf x | dd of='{}' bs=1 seek=40000000 conv=notrunc,fsync status=none",
        device.text()
    );
    check(
        &klon,
        device.text(),
        &write,
        "were written to or discarded on the device",
    );
}

#[test]
fn a_device_that_is_mounted_to_be_written_meanwhile() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("source"), 48, 30);
    let device = LoopDevice::new(&klon.path("source"), 512);
    let mount = Mount::new(device.path(), &klon.path("mnt"), "ro");
    let at = mount.path().display().to_string();
    let write =
        format!("mount -o remount,rw '{at}'; touch '{at}/new'; sync; mount -o remount,ro '{at}'");
    check(&klon, device.text(), &write, "was written to");
}

#[test]
fn a_staged_update_leaves_the_earlier_clone() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("source"), 64, 8);
    sparse(&klon.path("target"), 64 * MIB);
    let served = Hooked::at_write(
        &klon.path("target"),
        0,
        &format!(
            "[ -e '{0}' ] && printf x >> '{1}'; rm -f '{2}'; [ -e '{0}' ] && touch '{2}'; true",
            klon.text("now"),
            klon.text("source"),
            klon.text("target.done"),
        ),
    );
    klon.ok(&["clone", "source", served.text()]);
    let before = fs::read(klon.path("target")).unwrap();
    let change = klon.path("change");
    fs::write(&change, crate::support::tree::noise(9, 3 << 20)).unwrap();
    let write = format!("write \"{}\" /change", change.display());
    run("debugfs", &["-w", "-R", &write, &klon.text("source")]);
    fs::write(klon.path("now"), "").unwrap();
    let words = ["the source changed", "is as it was before"];
    klon.refused(&["clone", "source", served.text()], &words);
    drop(served);
    run("e2fsck", &["-fn", &klon.text("target")]);
    let after = fs::read(klon.path("target")).unwrap();
    assert!(before[..MIB as usize] == after[..MIB as usize]);
}

#[test]
fn a_source_that_stands_still_is_no_changed_one() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("source"), 48, 30);
    let device = LoopDevice::new(&klon.path("source"), 512);
    {
        let mount = Mount::new(device.path(), &klon.path("mnt"), "rw");
        fs::write(
            mount.path().join("late"),
            crate::support::tree::noise(4, 5 << 20),
        )
        .unwrap();
        run(
            "mount",
            &["-o", "remount,ro", mount.path().to_str().unwrap()],
        );
        let done = klon.json(&["clone", device.text(), "target"]);
        assert!(number(&done, "written_bytes") > 0);
    }
    klon.ok(&["clone", device.text(), "target"]);
    klon.ok(&["clone", "source", "other"]);
}
