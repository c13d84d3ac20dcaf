//! Snapshots of made-up systems, and of the real one with loop devices.

mod fixture;
mod real;

use super::{HolderKind, MountPoint, Object, Relation, Transport, Use, relation};
use crate::extent::Extent;
use crate::identity::Identity;
use fixture::Fixture;
use std::path::{Path, PathBuf};

/// A laptop: an NVMe disk with the system on LVM, a USB disk with two partitions, an idle loop.
fn laptop() -> Fixture {
    let fixture = Fixture::new();
    fixture.disk("pci0/nvme/nvme0/nvme0n1", "259:0", 1_000_000);
    fixture.set("nvme0n1", "device/serial", "S4EWNX0M  ");
    fixture.set("nvme0n1", "device/model", "Fast Disk 500");
    fixture.partition("nvme0n1", "nvme0n1p1", "259:1", (1, 2048, 100_000));
    fixture.partition("nvme0n1", "nvme0n1p2", "259:2", (2, 102_048, 800_000));
    fixture.disk("virtual/block/dm-0", "253:0", 700_000);
    fixture.set("dm-0", "dm/name", "vg-root");
    fixture.hold("nvme0n1p2", "dm-0");
    fixture.disk("pci0/usb1/1-4/1-4:1.0/host6/block/sda", "8:0", 500_000);
    fixture.set("sda", "queue/logical_block_size", "4096");
    fixture.partition("sda", "sda1", "8:1", (1, 2048, 200_000));
    fixture.partition("sda", "sda2", "8:2", (2, 202_048, 200_000));
    fixture.disk("virtual/block/loop0", "7:0", 0);
    fixture.mounts(&[
        "22 1 0:21 / /proc rw - proc proc rw",
        "30 1 253:0 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw",
        "31 30 259:1 / /boot rw - ext4 /dev/nvme0n1p1 rw",
    ]);
    fixture
}

fn uses(fixture: &Fixture, name: &str) -> Vec<Use> {
    let system = fixture.load();
    let index = system.index_of_name(name).unwrap();
    system.uses_of(&Object::Device(index)).unwrap()
}

fn mounted(on: &str, at: &str, read_only: bool) -> Use {
    Use::Mounted {
        at: at.into(),
        read_only,
        on: on.to_owned(),
    }
}

fn system_disk(disk: &str, why: &str) -> Use {
    Use::SystemDisk {
        disk: disk.to_owned(),
        why: why.to_owned(),
    }
}

#[test]
fn disks_are_described() {
    let fixture = laptop();
    fixture.disk("virtual/block/ram0", "1:0", 100);
    fixture.disk("virtual/block/zram0", "252:0", 100);
    let disks = fixture.load().disks();
    let names: Vec<&str> = disks.iter().map(|disk| disk.name.as_str()).collect();
    assert_eq!(names, ["dm-0", "nvme0n1", "sda"]);
    let (nvme, usb) = (&disks[1], &disks[2]);
    assert_eq!(nvme.path, Path::new("/dev/nvme0n1"));
    assert_eq!(nvme.size_bytes, 512_000_000);
    assert_eq!(nvme.transport, Transport::Nvme);
    assert_eq!(nvme.model.as_deref(), Some("Fast Disk 500"));
    assert_eq!(nvme.serial.as_deref(), Some("S4EWNX0M"));
    assert_eq!(nvme.system.as_deref(), Some("/ is on it"));
    assert_eq!(nvme.partitions[1].holders, ["dm-0"]);
    let boot = MountPoint {
        at: "/boot".into(),
        is_read_only: false,
        filesystem: "ext4".to_owned(),
    };
    assert_eq!(nvme.partitions[0].mounts, [boot]);
    assert_eq!((usb.transport, usb.system.as_ref()), (Transport::Usb, None));
    assert_eq!(
        (usb.logical_sector_bytes, usb.physical_sector_bytes),
        (4096, 4096)
    );
    // sysfs counts in units of 512 bytes whatever the sectors are.
    let second = Extent::new(202_048 * 512, 200_000 * 512).unwrap();
    assert_eq!(
        (usb.partitions[1].number, usb.partitions[1].extent),
        (2, second)
    );
}

#[test]
fn an_idle_disk_has_no_uses() {
    assert_eq!(uses(&laptop(), "sda"), []);
    assert_eq!(uses(&laptop(), "sda2"), []);
}

#[test]
fn the_system_is_found_through_every_layer() {
    let fixture = laptop();
    let held = Use::Holder {
        name: "vg-root".to_owned(),
        kind: HolderKind::DeviceMapper,
        on: "nvme0n1p2".to_owned(),
    };
    let root = mounted("dm-0", "/", false);
    let on_disk = system_disk("nvme0n1", "/ is on it");
    let found = uses(&fixture, "nvme0n1");
    assert!(
        found.contains(&mounted("nvme0n1p1", "/boot", false)),
        "{found:?}"
    );
    assert!(found.contains(&held) && found.contains(&root) && found.contains(&on_disk));
    assert_eq!(
        uses(&fixture, "nvme0n1p2"),
        [held, root.clone(), on_disk.clone()]
    );
    let on_volume = system_disk("dm-0", "/ is on it");
    assert_eq!(uses(&fixture, "dm-0"), [root, on_volume, on_disk]);
}

#[test]
fn names_with_blanks_and_read_only_mounts_are_understood() {
    let fixture = laptop();
    fixture.mounts(&[
        r"40 1 8:1 / /media/My\040Disk\134x rw,nosuid - ext4 /dev/sda1 ro",
        r"41 1 8:2 / /media/two ro - ext4 /dev/sda2 rw",
    ]);
    let blanks = mounted("sda1", r"/media/My Disk\x", true);
    assert_eq!(uses(&fixture, "sda1"), std::slice::from_ref(&blanks));
    // A read-only bind mount of a writable filesystem can change under the reader.
    let writable = mounted("sda2", "/media/two", false);
    assert_eq!(uses(&fixture, "sda"), [blanks.clone(), writable.clone()]);
    assert!(!blanks.changes_source() && writable.changes_source());
}

#[test]
fn a_disk_mounted_as_a_whole_is_in_use_in_its_parts() {
    let fixture = laptop();
    fixture.mounts(&["40 1 8:0 / /mnt rw - vfat /dev/sda rw"]);
    assert_eq!(uses(&fixture, "sda1"), [mounted("sda", "/mnt", false)]);
}

#[test]
fn every_device_of_a_btrfs_is_mounted() {
    let fixture = laptop();
    fixture.mounts(&["40 1 0:44 / /data rw - btrfs /dev/sda1 rw,subvol=/"]);
    fixture.btrfs("7c60d6e2-0000-4000-8000-000000000000", &["sda1", "sda2"]);
    assert_eq!(uses(&fixture, "sda1"), [mounted("sda1", "/data", false)]);
    assert_eq!(uses(&fixture, "sda2"), [mounted("sda2", "/data", false)]);
}

#[test]
fn swap_is_in_use_and_marks_the_systems_disk() {
    let fixture = laptop();
    fixture.swaps(&["/dev/sda2   partition\t1000\t0\t-2"]);
    assert_eq!(
        uses(&fixture, "sda1"),
        [system_disk("sda", "it is swapped to")]
    );
    let swap = Use::Swap {
        on: "sda2".to_owned(),
    };
    assert_eq!(
        uses(&fixture, "sda"),
        [swap, system_disk("sda", "it is swapped to")]
    );
}

#[test]
fn a_file_that_a_loop_device_shows_is_in_use_with_all_that_is_on_it() {
    let fixture = laptop();
    let file = fixture.file("disk.img", 512 * 1000);
    fixture.set("loop0", "size", "1000");
    fixture.set("loop0", "loop/backing_file", "/disk.img");
    fixture.partition("loop0", "loop0p1", "259:9", (1, 100, 300));
    fixture.mounts(&["40 1 259:9 / /mnt rw - ext4 /dev/loop0p1 rw"]);
    let system = fixture.load();
    let shown = Use::LoopBacked {
        name: "loop0".to_owned(),
    };
    let on_it = mounted("loop0p1", "/mnt", false);
    assert_eq!(system.uses(&file).unwrap(), [shown, on_it.clone()]);
    // The loop device as the request itself is no use of itself.
    assert_eq!(uses(&fixture, "loop0"), std::slice::from_ref(&on_it));
    assert_eq!(uses(&fixture, "loop0p1"), [on_it]);
}

#[test]
fn a_deleted_backing_file_is_not_mistaken_for_a_new_one() {
    let fixture = laptop();
    let file = fixture.file("disk.img", 512 * 1000);
    fixture.set("loop0", "size", "1000");
    fixture.set("loop0", "loop/backing_file", "/disk.img (deleted)");
    let system = fixture.load();
    assert_eq!(system.uses(&file).unwrap(), []);
    let of_loop = system.locate_object(&device(&system, "loop0"), 0).unwrap();
    let of_file = system.locate(&file).unwrap();
    assert_eq!(relation(&of_loop, &of_file), Relation::Unrelated);
}

#[test]
fn swap_files_and_read_only_devices_are_named() {
    let fixture = laptop();
    let file = fixture.file("swapfile", 8192);
    fixture.swaps(&["/swapfile file\t8\t0\t-2"]);
    fixture.set("sda", "ro", "1");
    let system = fixture.load();
    let swapped = Use::SwapFile {
        path: PathBuf::from("/swapfile"),
    };
    assert_eq!(system.uses(&file).unwrap(), [swapped]);
    let read_only = Use::ReadOnly {
        on: "sda1".to_owned(),
    };
    assert_eq!(uses(&fixture, "sda1"), [read_only]);
}

fn device(system: &super::System, name: &str) -> Object {
    Object::Device(system.index_of_name(name).unwrap())
}

#[test]
fn relations_see_through_partitions_loops_links_and_layers() {
    let fixture = laptop();
    let file = fixture.file("disk.img", 512 * 1000);
    fixture.set("loop0", "size", "500");
    fixture.set("loop0", "loop/backing_file", "/disk.img");
    fixture.set("loop0", "loop/offset", "51200");
    let link = fixture.root().join("hard.img");
    std::fs::hard_link(&file, &link).unwrap();
    let system = fixture.load();
    let relate = |a: &str, b: &str| {
        let locate = |name: &str| match name.strip_prefix('/') {
            Some(file) => system.locate(&fixture.root().join(file)).unwrap(),
            None => system.locate_object(&device(&system, name), 0).unwrap(),
        };
        relation(&locate(a), &locate(b))
    };
    assert_eq!(relate("sda1", "sda"), Relation::Inside);
    assert_eq!(relate("sda", "sda2"), Relation::Around);
    assert_eq!(relate("sda1", "sda2"), Relation::Unrelated);
    assert_eq!(relate("sda1", "nvme0n1p1"), Relation::Unrelated);
    assert_eq!(relate("/disk.img", "/hard.img"), Relation::Same);
    assert_eq!(relate("loop0", "/hard.img"), Relation::Inside);
    assert_eq!(relate("dm-0", "nvme0n1"), Relation::Inside);
    assert_eq!(relate("nvme0n1p2", "dm-0"), Relation::Around);
    assert_eq!(relate("dm-0", "nvme0n1p1"), Relation::Unrelated);
}

#[test]
fn identities_are_serials_or_paths_and_nothing_that_two_disks_share() {
    let fixture = laptop();
    let file = fixture.file("disk.img", 512 * 1000);
    fixture.set("loop0", "size", "1000");
    fixture.set("loop0", "loop/backing_file", "/disk.img");
    let identity = |fixture: &Fixture, name: &str| {
        let system = fixture.load();
        system.identity_of(&device(&system, name)).unwrap()
    };
    let serial = Identity::Serial("S4EWNX0M".to_owned());
    assert_eq!(identity(&fixture, "nvme0n1"), Some(serial));
    assert_eq!(identity(&fixture, "nvme0n1p1"), None);
    assert_eq!(identity(&fixture, "sda"), None);
    let path = Identity::Path(file.canonicalize().unwrap().to_str().unwrap().to_owned());
    assert_eq!(identity(&fixture, "loop0"), Some(path.clone()));
    assert_eq!(fixture.load().identity(&file).unwrap(), Some(path));

    fixture.udev("8:0", "E:ID_SERIAL_SHORT=S4EWNX0M\nE:ID_MODEL=My_Book");
    assert_eq!(identity(&fixture, "nvme0n1"), None);
    fixture.udev("8:0", "E:ID_SERIAL_SHORT=WX41A\n");
    assert_eq!(
        identity(&fixture, "sda"),
        Some(Identity::Serial("WX41A".to_owned()))
    );
    fixture.set_bytes("sda", "device/vpd_pg80", b"\0\x80\0\x08  Z1F0\0");
    assert_eq!(
        identity(&fixture, "sda"),
        Some(Identity::Serial("Z1F0".to_owned()))
    );
    fixture.set_bytes("sda", "device/vpd_pg80", b"\0\x80\0\x08000000000000");
    assert_eq!(identity(&fixture, "sda"), None);
}

#[test]
fn disks_of_virtual_machines_without_serial_numbers_are_known_by_their_slots() {
    let fixture = laptop();
    fixture.disk("pci0/0000:00:05.0/virtio2/block/vda", "254:0", 1000);
    fixture.partition("vda", "vda1", "254:1", (1, 100, 900));
    fixture.disk("pci0/0000:00:06.0/virtio3/block/vdb", "254:16", 1000);
    fixture.set("vdb", "serial", "rootdisk1");
    for (slot, name) in [
        ("virtio-pci-0000:00:05.0", "vda"),
        ("pci-0000:00:05.0", "vda"),
        ("pci-0000:00:05.0-part1", "vda1"),
        ("pci-0000:00:06.0", "vdb"),
        ("pci-0000:00:14.0-usb-0:1:1.0-scsi-0:0:0:0", "sda"),
    ] {
        fixture.slot(slot, name);
    }
    let system = fixture.load();
    let identity = |name: &str| system.identity_of(&device(&system, name)).unwrap();
    let slot = "/dev/disk/by-path/pci-0000:00:05.0".to_owned();
    assert_eq!(identity("vda"), Some(Identity::Path(slot)));
    assert_eq!(identity("vda1"), None);
    let serial = Identity::Serial("rootdisk1".to_owned());
    assert_eq!(identity("vdb"), Some(serial));
    // What is plugged there tomorrow is another drive.
    assert_eq!(identity("sda"), None);
}

#[test]
fn a_mountinfo_that_is_not_understood_is_no_empty_one() {
    let fixture = laptop();
    fixture.mounts(&["31 30 8:1 / /mnt rw ext4 /dev/sda1 rw"]);
    assert!(super::System::load(fixture.root()).is_err());
}
