//! Disks that boot, set up in ways that are less usual: nothing of them is missing.

use super::{LOADERS, ROOT, SWAP, disk};
use crate::support::image::put;
use crate::support::{Klon, MIB, run};
use std::fs;
use std::os::unix::fs::FileExt;

#[test]
fn files_that_klon_can_not_read_are_unknown_and_the_rest_is_looked_at() {
    let klon = Klon::new();
    disk(&klon, "disk", &LOADERS, |_| {});
    // The same root with small files inside of their inodes.
    let tree = klon.text("disk-tree");
    let root = klon.text("root");
    let options = ["-q", "-F", "-t", "ext4", "-O", "inline_data", "-I", "1024"];
    let rest = ["-U", ROOT, "-d", &tree, &root];
    run("mke2fs", &[&options[..], &rest].concat());
    put(&klon.path("root"), &klon.path("disk"), 41 * MIB);
    let outcome = klon.ok(&["check-boot", "disk"]);
    outcome.shows(&[
        "found    UEFI: EFI/BOOT/BOOTX64.EFI",
        "unknown  \"etc/fstab\" on partition 2 (ext4) can't be read",
        "unknown  \"boot/grub/grub.cfg\" on partition 2 (ext4) can't be read",
        "inline_data",
    ]);
}

#[test]
fn syslinux_starts_kernels_from_beside_its_directory() {
    let klon = Klon::new();
    disk(&klon, "disk", &LOADERS, |tree| {
        fs::create_dir_all(tree.join("boot/syslinux")).unwrap();
        let text = "UI menu.c32\nLABEL arch\n  LINUX ../vmlinuz-6.1\n  INITRD ../initrd.img-6.1\n\
            LABEL hdt\n  KERNEL hdt.c32\nLABEL gone\n  KERNEL gone\n";
        fs::write(tree.join("boot/syslinux/syslinux.cfg"), text).unwrap();
    });
    klon.run(&["check-boot", "disk"]).expect(1).shows(&[
        "\"/boot/syslinux/../vmlinuz-6.1\" is there",
        "\"/boot/syslinux/../initrd.img-6.1\" is there",
        "\"/boot/syslinux/gone\" is not on this volume",
        "disk: 1 thing missing",
    ]);
}

#[test]
fn grub_starts_kernels_from_the_volume_that_it_searched_for() {
    let klon = Klon::new();
    disk(&klon, "disk", &LOADERS, |_| {});
    let config = format!(
        "search --no-floppy --fs-uuid --set=root {ROOT}\n\
         menuentry 'swap' {{\n  search --fs-uuid --set=root {SWAP}\n  linux /in-swap\n}}\n\
         menuentry 'root' {{\n  linux /boot/vmlinuz-6.1\n  initrd /boot/gone\n}}\n\
         menuentry 'file' {{\n  search --file --set=root /EFI/debian/grub.cfg\n  linux /EFI/debian/grubx64.efi\n}}\n\
         menuentry 'device' {{\n  set root='hd1,gpt1'\n  linux /on-a-device\n}}\n"
    );
    fs::write(klon.path("grub.cfg"), config).unwrap();
    let (esp, from) = (klon.text("esp"), klon.text("grub.cfg"));
    run("mcopy", &["-i", &esp, &from, "::/EFI/debian/grub.cfg"]);
    put(&klon.path("esp"), &klon.path("disk"), MIB);
    klon.run(&["check-boot", "disk"]).expect(1).shows(&[
        "unknown  EFI/debian/grub.cfg on partition 1 (fat32): \"/in-swap\" was not looked for: klon can't read the files \
         of partition 3 (swap)",
        "\"/boot/vmlinuz-6.1\" is on partition 2 (ext4)",
        "MISSING  EFI/debian/grub.cfg on partition 1 (fat32): \"/boot/gone\" is not on partition 2 (ext4)",
        "\"/EFI/debian/grubx64.efi\" is there",
        "\"/on-a-device\" was not looked for: GRUB takes it from \"hd1,gpt1\"",
        "disk: 1 thing missing, and 2 things could not be looked at",
    ]);
}

#[test]
fn labels_with_blanks_and_volumes_that_may_be_absent() {
    let klon = Klon::new();
    disk(&klon, "disk", &LOADERS, |tree| {
        let text = "LABEL=my\\040root / ext4 defaults 0 1\n/dev/disk/by-label/my\\x20root /again ext4 defaults 0 1\n";
        fs::write(tree.join("etc/fstab"), text).unwrap();
        let text = "usb UUID=no-such none luks,nofail\n";
        fs::write(tree.join("etc/crypttab"), text).unwrap();
    });
    run("e2label", &[&klon.text("root"), "my root"]);
    put(&klon.path("root"), &klon.path("disk"), 41 * MIB);
    klon.ok(&["check-boot", "disk"]).shows(&[
        "\"/\": LABEL=\"my root\" is partition 2",
        "\"/again\": LABEL=\"my root\" is partition 2",
        "note     /etc/crypttab on partition 2 (ext4 \"my root\"): \"usb\" opens: UUID=\"no-such\" is not on this disk, and need not",
        "all that klon looked for is there",
    ]);
}

#[test]
fn boot_code_of_old_is_no_fault_where_uefi_finds_its_way() {
    let klon = Klon::new();
    disk(&klon, "disk", &LOADERS, |_| {});
    let file = fs::File::options()
        .write(true)
        .open(klon.path("disk"))
        .unwrap();
    file.write_all_at(&[0x33, 0xc0, 0x8e, 0xd0], 0).unwrap();
    klon.ok(&["check-boot", "disk"])
        .shows(&["note     BIOS: no partition is marked"]);
}
