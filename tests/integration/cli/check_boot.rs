//! `klon check-boot`: what is there for a boot, and what is missing, on disks in plain files.

mod hostile;
mod sound;

use crate::support::image::{put, sparse};
use crate::support::tool::run_with_input;
use crate::support::{Klon, MIB, run};
use std::fs;
use std::os::unix::fs::{FileExt, symlink};

const ROOT: &str = "3e6be9de-8139-11d1-9106-a43f08d823a6";
const SWAP: &str = "7b2f4a5c-1111-4222-8333-123456789abc";

/// A disk as an installer leaves it: an ESP, a root with GRUB's configuration, swap space. `change` is made to the
/// files of the root, and `esp` says which files the ESP has.
fn disk(klon: &Klon, name: &str, esp: &[&str], change: impl FnOnce(&std::path::Path)) {
    let tree = klon.path(&format!("{name}-tree"));
    for directory in ["etc", "boot/grub", "usr/boot"] {
        fs::create_dir_all(tree.join(directory)).unwrap();
    }
    let config = format!(
        "search --no-floppy --fs-uuid --set=root {ROOT}\n\
         menuentry 'Debian' {{\n  linux /boot/vmlinuz-6.1 root=UUID={ROOT} ro quiet resume=UUID={SWAP}\n  \
         initrd /boot/initrd.img-6.1\n}}\n"
    );
    fs::write(tree.join("boot/grub/grub.cfg"), config).unwrap();
    fs::write(tree.join("boot/initrd.img-6.1"), vec![7; 300_000]).unwrap();
    // The kernel by way of two links.
    fs::write(tree.join("usr/boot/kernel"), vec![9; 100_000]).unwrap();
    symlink("../usr/boot/kernel", tree.join("boot/vmlinuz")).unwrap();
    symlink("/boot/vmlinuz", tree.join("boot/vmlinuz-6.1")).unwrap();
    let fstab = format!(
        "# made by hand\nUUID={ROOT} / ext4 errors=remount-ro 0 1\nUUID=1234-ABCD /boot/efi vfat umask=0077 0 1\n\
         UUID={SWAP} none swap sw 0 0\nLABEL=usb /mnt auto noauto 0 0\ntmpfs /tmp tmpfs defaults 0 0\n"
    );
    fs::write(tree.join("etc/fstab"), fstab).unwrap();
    change(&tree);
    sparse(&klon.path("root"), 60 * MIB);
    let tree = tree.to_str().unwrap();
    run(
        "mke2fs",
        &[
            "-q",
            "-F",
            "-t",
            "ext4",
            "-U",
            ROOT,
            "-d",
            tree,
            &klon.text("root"),
        ],
    );
    sparse(&klon.path("esp"), 40 * MIB);
    let fat = klon.text("esp");
    run("mkfs.fat", &["-F", "32", "-i", "1234ABCD", &fat]);
    fs::write(klon.path("loader"), vec![5; 50_000]).unwrap();
    for path in esp {
        let mut above = String::from("::");
        let (directories, _) = path.rsplit_once('/').unwrap();
        for directory in directories.split('/') {
            above.push_str(&format!("/{directory}"));
            let _ = crate::support::tool::output("mmd", &["-D", "s", "-i", &fat, &above]);
        }
        run(
            "mcopy",
            &["-i", &fat, &klon.text("loader"), &format!("::/{path}")],
        );
    }
    sparse(&klon.path("swap"), 8 * MIB);
    run("mkswap", &["-q", "-U", SWAP, &klon.text("swap")]);
    sparse(&klon.path(name), 120 * MIB);
    let table = "label: gpt\nfirst-lba: 34\n1MiB,40MiB,U\n41MiB,60MiB,L\n101MiB,8MiB,S\n";
    run_with_input("sfdisk", &["-q", &klon.text(name)], table);
    for (part, at) in [("esp", 1), ("root", 41), ("swap", 101)] {
        put(&klon.path(part), &klon.path(name), at * MIB);
    }
}

const LOADERS: [&str; 2] = ["EFI/BOOT/BOOTX64.EFI", "EFI/debian/grubx64.efi"];

#[test]
fn of_a_disk_that_boots_nothing_is_missing() {
    let klon = Klon::new();
    disk(&klon, "disk", &LOADERS, |_| {});
    let before = run("sha256sum", &[&klon.text("disk")]);
    let outcome = klon.ok(&["check-boot", "disk"]);
    outcome.shows(&[
        "found    UEFI: EFI/BOOT/BOOTX64.EFI on partition 1",
        "found    UEFI: EFI/debian/grubx64.efi",
        "note     BIOS: there is no boot code",
        "\"/boot/vmlinuz-6.1\" is there",
        "\"/boot/initrd.img-6.1\" is there",
        "root: UUID=\"3e6be9de-8139-11d1-9106-a43f08d823a6\" is partition 2 (ext4)",
        "resume: UUID=\"7b2f4a5c-1111-4222-8333-123456789abc\" is partition 3 (swap)",
        "\"/boot/efi\": UUID=\"1234-ABCD\" is partition 1",
        "note     /etc/fstab on partition 2 (ext4): \"/mnt\": LABEL=\"usb\" is not on this disk",
        "all that klon looked for is there",
    ]);
    let answer = klon.json(&["check-boot", "disk"]);
    assert_eq!(answer["is_complete"], true);
    let states: Vec<&str> = answer["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["state"].as_str().unwrap())
        .collect();
    assert!(
        states.iter().all(|state| ["found", "note"].contains(state)),
        "{states:?}"
    );
    assert_eq!(
        run("sha256sum", &[&klon.text("disk")]),
        before,
        "it was written to"
    );
    // The same of a snapshot in an image.
    klon.ok(&["image", "disk", "i.klon"]);
    klon.ok(&["check-boot", "i.klon"]);
}

#[test]
fn each_thing_that_is_missing_is_named() {
    let klon = Klon::new();
    let missing = |name: &str, parts: &[&str]| {
        let outcome = klon.run(&["check-boot", name]).expect(1);
        outcome.shows(parts);
        let answer = klon.run(&["check-boot", name, "--json"]).expect(1).last();
        assert_eq!(answer["is_complete"], false);
    };
    disk(&klon, "a", &LOADERS, |tree| {
        fs::remove_file(tree.join("boot/initrd.img-6.1")).unwrap();
        fs::remove_file(tree.join("usr/boot/kernel")).unwrap();
    });
    missing(
        "a",
        &[
            "MISSING  boot/grub/grub.cfg on partition 2 (ext4): \"/boot/initrd.img-6.1\" is not on this volume",
            "\"/boot/vmlinuz-6.1\" is not on this volume",
            "a: 2 things missing",
        ],
    );
    disk(&klon, "b", &LOADERS, |tree| {
        let path = tree.join("etc/fstab");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("1234-ABCD", "9999-0000")).unwrap();
        fs::write(tree.join("etc/crypttab"), "data UUID=no-such none luks\n").unwrap();
    });
    missing(
        "b",
        &[
            "\"/boot/efi\": UUID=\"9999-0000\" is not on this disk",
            "/etc/crypttab on partition 2 (ext4): \"data\" opens: UUID=\"no-such\" is not on this disk",
        ],
    );
    disk(&klon, "c", &LOADERS[1..], |_| {});
    missing(
        "c",
        &[
            "MISSING  UEFI: EFI/BOOT/BOOTX64.EFI",
            "only firmware with an entry",
            "1 thing missing",
        ],
    );
    disk(&klon, "d", &[], |_| {});
    missing("d", &["has no loader", "neither by UEFI nor by BIOS"]);
}

#[test]
fn boot_by_bios_needs_both_parts_of_a_loader() {
    let klon = Klon::new();
    disk(&klon, "gpt", &LOADERS, |_| {});
    let write = |name: &str, offset: u64, bytes: &[u8]| {
        let file = fs::File::options()
            .write(true)
            .open(klon.path(name))
            .unwrap();
        file.write_all_at(bytes, offset).unwrap();
    };
    write("gpt", 0x80, b"\xeb\x63 GRUB ");
    klon.run(&["check-boot", "gpt"])
        .expect(1)
        .shows(&["the rest of GRUB is neither"]);
    write("gpt", 100 << 10, b"core");
    klon.ok(&["check-boot", "gpt"])
        .shows(&["the rest of GRUB is before the first partition"]);
    // Another loader goes on from the active partition.
    sparse(&klon.path("mbr"), 80 * MIB);
    run_with_input(
        "sfdisk",
        &["-q", &klon.text("mbr")],
        "label: dos\n1MiB,60MiB,L\n",
    );
    put(&klon.path("root"), &klon.path("mbr"), MIB);
    write("mbr", 0, &[0x33, 0xc0, 0x8e, 0xd0]);
    let fstab = ["/boot/efi", "none"];
    let outcome = klon.run(&["check-boot", "mbr"]).expect(1);
    outcome.shows(&[
        "no partition is marked",
        "neither by UEFI nor by BIOS",
        fstab[0],
        fstab[1],
    ]);
    run("sfdisk", &["-q", "-A", &klon.text("mbr"), "1"]);
    klon.run(&["check-boot", "mbr"])
        .expect(1)
        .shows(&["partition 1 is marked as the one to start from"]);
}

#[test]
fn what_is_no_disk_or_can_not_be_read_is_said() {
    let klon = Klon::new();
    crate::support::image::ext4(&klon.path("volume"), 20, 1);
    klon.run(&["check-boot", "volume"])
        .expect(2)
        .says(&["no disk with partitions"]);
    // A system on a volume that klon reads no files of.
    sparse(&klon.path("btrfs"), 300 * MIB);
    run("mkfs.btrfs", &["-q", &klon.text("btrfs")]);
    sparse(&klon.path("disk"), 310 * MIB);
    run_with_input(
        "sfdisk",
        &["-q", &klon.text("disk")],
        "label: gpt\n1MiB,300MiB,L\n",
    );
    put(&klon.path("btrfs"), &klon.path("disk"), MIB);
    let outcome = klon.run(&["check-boot", "disk"]).expect(1);
    outcome.shows(&[
        "unknown  partition 1 (btrfs)",
        "2 things could not be looked at",
    ]);
}
