//! Targets that klon does not write to: devices in use, and the devices of sources.

use crate::support::image::{ext4, own_boot_disk, sparse};
use crate::support::{Klon, LoopDevice, MIB, Mount, lacks_root, run};
use std::fs;

/// A source of 24 MiB and an ext4 volume of 32 MiB as target, as files.
fn files() -> Klon {
    let klon = Klon::new();
    ext4(&klon.path("source"), 24, 2);
    ext4(&klon.path("target"), 32, 2);
    klon
}

/// Runs a clone with full consent that must be refused for `reasons`, and nothing be written.
fn refused(klon: &Klon, target: &str, file: &str, reasons: &[&str]) {
    let before = fs::read(klon.path(file)).unwrap();
    let confirm = klon.text(file);
    let arguments = ["clone", "source", target, "--yes", "--confirm", &confirm];
    klon.refused(&arguments, reasons);
    assert!(
        fs::read(klon.path(file)).unwrap() == before,
        "{target} was written to"
    );
}

#[test]
fn a_mounted_target_is_refused_by_any_name() {
    if lacks_root() {
        return;
    }
    let klon = files();
    let device = LoopDevice::new(&klon.path("target"), 512);
    let second = LoopDevice::new(&klon.path("target"), 512);
    let names = [device.text(), second.text(), "target"];
    {
        // The kernel itself writes to it at any time, so its bytes prove nothing.
        let mount = Mount::new(device.path(), &klon.path("mnt"), "rw");
        let at = mount.path().to_str().unwrap();
        for target in names {
            klon.refused(&["clone", "source", target], &["mounted", at]);
        }
    }
    let mount = Mount::new(device.path(), &klon.path("mnt"), "ro,noload");
    let at = mount.path().to_str().unwrap();
    for target in names {
        refused(&klon, target, "target", &["mounted", at]);
    }
}

#[test]
fn a_disk_with_a_mounted_partition_is_refused() {
    if lacks_root() {
        return;
    }
    let klon = files();
    own_boot_disk(&klon.path("disk"), 512);
    let device = LoopDevice::new(&klon.path("disk"), 512);
    device.scan();
    let mount = Mount::new(device.part(3), &klon.path("mnt"), "ro,noload");
    let at = mount.path().to_str().unwrap();
    for target in [device.text(), &device.part(3), "disk", "disk:3"] {
        refused(&klon, target, "disk", &["mounted", at]);
    }
    let planning = [
        "plan",
        "--drive",
        device.text(),
        "A=source",
        "--replace-table",
    ];
    klon.ok(&[&planning[..], &["-o", "plan"]].concat());
    let confirm = klon.text("disk");
    let prepare = ["prepare", "plan", "--yes", "--confirm", &confirm];
    klon.refused(&prepare, &["mounted", at]);
}

#[test]
fn a_file_that_a_loop_device_shows_is_refused() {
    if lacks_root() {
        return;
    }
    let klon = files();
    let device = LoopDevice::new(&klon.path("target"), 512);
    let name = device.path().file_name().unwrap().to_str().unwrap();
    refused(&klon, "target", "target", &["loop device", name]);
}

#[test]
fn the_source_is_known_through_loop_devices() {
    if lacks_root() {
        return;
    }
    let klon = Klon::new();
    own_boot_disk(&klon.path("disk"), 512);
    let device = LoopDevice::new(&klon.path("disk"), 512);
    device.scan();
    let before = fs::read(klon.path("disk")).unwrap();
    let (node, first, third) = (device.text(), device.part(1), device.part(3));
    let refused = |source: &str, target: &str, how: &str| {
        let consent = ["--yes", "--confirm", target];
        klon.refused(&[&["clone", source, target][..], &consent].concat(), &[how]);
    };
    refused("disk", node, "is the source");
    refused(&third, node, "contains the source");
    refused("disk:3", node, "contains the source");
    refused(node, &third, "inside the source");
    refused("disk", &first, "inside the source");
    refused(&third, &third, "is the source");
    refused("disk:3", &third, "is the source");
    let other = LoopDevice::new(&klon.path("disk"), 512);
    refused(node, other.text(), "shows it");
    refused(other.text(), &third, "shows it");
    assert!(fs::read(klon.path("disk")).unwrap() == before);
}

#[test]
fn a_read_only_device_is_refused() {
    if lacks_root() {
        return;
    }
    let klon = files();
    let device = LoopDevice::new(&klon.path("target"), 512);
    run("blockdev", &["--setro", device.text()]);
    refused(&klon, device.text(), "target", &["read-only"]);
}

#[test]
fn a_device_that_another_program_holds_is_refused() {
    if lacks_root() {
        return;
    }
    let klon = files();
    let device = LoopDevice::new(&klon.path("target"), 512);
    let held = klon_partition::device::open_target(device.path()).unwrap();
    refused(&klon, device.text(), "target", &["in use"]);
    drop(held);
    let confirm = klon.text("target");
    klon.ok(&[
        "clone",
        "source",
        device.text(),
        "--yes",
        "--confirm",
        &confirm,
    ]);
}

#[test]
fn a_device_that_is_too_small_is_refused() {
    if lacks_root() {
        return;
    }
    let klon = files();
    sparse(&klon.path("small"), 23 * MIB);
    let device = LoopDevice::new(&klon.path("small"), 512);
    refused(
        &klon,
        device.text(),
        "small",
        &["the target (23 MiB) is too small"],
    );
}

/// The disk that holds `/`, if one does.
fn system_disk() -> Option<String> {
    let disks = klon_partition::system::System::current().unwrap().disks();
    let disk = disks.into_iter().find(|disk| disk.system.is_some())?;
    Some(disk.path.to_str().unwrap().to_owned())
}

#[test]
fn the_disk_of_the_running_system_is_refused() {
    if lacks_root() {
        return;
    }
    // In a container there may be none; the tests of the system module cover that.
    let Some(disk) = system_disk() else { return };
    let klon = files();
    // Without consent, should all else fail.
    klon.refused(
        &["clone", "source", &disk, "--dry-run"],
        &["running system"],
    );
    klon.refused(&["clone", "source", &disk], &["running system"]);
}
