//! One disk by many names: as source and target it is found to be one.

use crate::support::image::{ext4, own_boot_disk, sparse};
use crate::support::{Klon, LoopDevice, MIB, Mount, lacks_root, run};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::Stdio;

/// Fails unless `target` is refused with full consent, for one of the reasons, and not written to.
fn refused(klon: &Klon, source: &str, target: &str, reason: &str) {
    let consent = ["--yes", "--confirm", target];
    klon.refused(
        &[&["clone", source, target][..], &consent].concat(),
        &[reason],
    );
}

#[test]
fn an_open_files_name_in_proc_is_the_file() {
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 2);
    let before = fs::read(klon.path("source")).unwrap();
    let mut command = klon.command(&["clone", "source", "/proc/self/fd/0"]);
    command.stdin(Stdio::from(File::open(klon.path("source")).unwrap()));
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("is the source"), "{errors}");
    assert!(fs::read(klon.path("source")).unwrap() == before);
}

#[test]
fn a_disk_is_known_by_links_and_windows() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    own_boot_disk(&klon.path("disk"), 512);
    let before = fs::read(klon.path("disk")).unwrap();
    let device = LoopDevice::new(&klon.path("disk"), 512);
    device.scan();
    // As udev names disks and partitions.
    fs::create_dir_all(klon.path("by-id")).unwrap();
    symlink(device.text(), klon.path("by-id/usb-Disk_1")).unwrap();
    symlink(device.part(3), klon.path("by-id/usb-Disk_1-part3")).unwrap();
    let (disk, part) = (
        klon.text("by-id/usb-Disk_1"),
        klon.text("by-id/usb-Disk_1-part3"),
    );
    refused(&klon, device.text(), &disk, "is the source");
    refused(&klon, &disk, device.text(), "is the source");
    refused(&klon, &part, &disk, "contains the source");
    refused(&klon, &disk, &part, "lies inside the source");
    refused(&klon, &part, &device.part(3), "is the source");
    refused(&klon, "disk", &part, "lies inside the source");
    // A bind mount is another name of the file.
    File::create(klon.path("bound")).unwrap();
    run(
        "mount",
        &["--bind", &klon.text("disk"), &klon.text("bound")],
    );
    let code = klon.run(&["clone", "bound", device.text()]);
    let target = klon.run(&["clone", device.text(), "bound"]);
    run("umount", &[&klon.text("bound")]);
    code.expect(3).says(&["is the source"]);
    target.expect(3).says(&["loop device"]);
    drop(device);
    assert!(fs::read(klon.path("disk")).unwrap() == before);
}

#[test]
fn a_window_into_a_file_is_a_part_of_it() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    own_boot_disk(&klon.path("disk"), 512);
    let window = |offset_mib: u64, size_mib: u64| {
        let [offset, size] = [offset_mib, size_mib].map(|mib| (mib * MIB).to_string());
        let file = klon.text("disk");
        let options = [
            "--find",
            "--show",
            "--offset",
            &offset,
            "--sizelimit",
            &size,
            &file,
        ];
        run("losetup", &options).trim().to_owned()
    };
    // Source, the window that is the target, and why not.
    for (source, place, reason) in [
        ("disk", (36, 160), "lies inside the source"),
        ("disk:3", (30, 20), "overlaps the source"),
        ("disk:3", (1, 196), "contains the source"),
    ] {
        let device = window(place.0, place.1);
        let outcome = klon.run(&["clone", source, &device]);
        let around = klon.run(&["clone", &device, "disk"]);
        run("losetup", &["--detach", &device]);
        outcome.expect(3).says(&[reason]);
        around.expect(3).says(&["loop device"]);
    }
    let (first, second) = (window(30, 20), window(40, 20));
    let outcome = klon.run(&["clone", &first, &second]);
    run("losetup", &["--detach", &first]);
    run("losetup", &["--detach", &second]);
    outcome.expect(3).says(&["the loop device"]);
}

#[test]
fn a_loop_device_is_known_after_the_name_of_its_file_is_gone() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 2);
    ext4(&klon.path("disk"), 24, 2);
    let device = LoopDevice::new(&klon.path("disk"), 512);
    fs::hard_link(klon.path("disk"), klon.path("other-name")).unwrap();
    fs::remove_file(klon.path("disk")).unwrap();
    klon.refused(&["clone", "source", "other-name"], &["loop device"]);
    refused(&klon, "other-name", device.text(), "is the source");
    // What bears the name now is another file, which nothing shows.
    sparse(&klon.path("disk"), 24 * MIB);
    klon.ok(&["clone", "source", "disk"]);
}

#[test]
fn source_and_target_on_each_others_filesystems_are_refused() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("disk"), 64, 1);
    let device = LoopDevice::new(&klon.path("disk"), 512);
    let mount = Mount::new(device.path(), &klon.path("mnt"), "rw");
    let inner = mount.path().join("inner");
    sparse(&inner, 70 * MIB);
    let inner = inner.to_str().unwrap();
    // A file of the filesystem that would be overwritten, and the other way.
    klon.refused(&["clone", inner, device.text()], &["mounted"]);
    klon.refused(
        &["clone", device.text(), inner],
        &["inner", "mnt", "at rest"],
    );
    klon.refused(
        &["clone", device.text(), inner, "--still", "refuse"],
        &["would change", "mounted"],
    );
}

#[test]
fn a_targets_disk_is_locked_while_it_is_written() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 2);
    sparse(&klon.path("target"), 24 * MIB);
    let device = LoopDevice::new(&klon.path("target"), 512);
    let node = File::open(device.path()).unwrap();
    node.lock().unwrap();
    // As udev or a partitioning tool holds it.
    klon.refused(
        &["clone", "source", device.text()],
        &["is locked by another program"],
    );
    node.unlock().unwrap();
    // Its source asks, in the middle of the run, whether the lock can be had.
    let script = format!(
        "flock -n '{}' true && touch '{}'; true",
        device.text(),
        klon.text("unlocked")
    );
    let source = crate::support::hooked::Hooked::while_writing(
        &klon.path("source"),
        &klon.path("target"),
        &script,
    );
    klon.ok(&["clone", source.text(), device.text()]);
    assert!(klon.path("source.done").exists() && !klon.path("unlocked").exists());
    node.try_lock().unwrap();
}
