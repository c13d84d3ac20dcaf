//! Where files lie that name disks, partitions and filesystems, so that systems start and mount by these names.

use klon_partition::error::Result;
use klon_partition::filesystem::Paths;

/// The most files of one directory that are looked at.
const FILES_MAX: usize = 256;

/// Files of a system, by their paths on the volume that has its root.
const OF_ROOT: &[&str] = &[
    "etc/fstab",
    "etc/crypttab",
    "etc/mdadm.conf",
    "etc/mdadm/mdadm.conf",
    "etc/default/grub",
    "etc/kernel/cmdline",
    "etc/lilo.conf",
    "etc/dracut.conf",
];

/// Directories of it of which all files count.
const DIRECTORIES_OF_ROOT: &[&str] = &[
    "etc/default/grub.d",
    "etc/cmdline.d",
    "etc/dracut.conf.d",
    "etc/initramfs-tools/conf.d",
];

/// Files of a boot loader, by their paths from /boot or the root of a volume that is mounted there.
const OF_BOOT: &[&str] = &[
    "grub/grub.cfg",
    "grub/custom.cfg",
    "grub/grubenv",
    "grub2/grub.cfg",
    "grub2/custom.cfg",
    "grub2/grubenv",
    "extlinux/extlinux.conf",
    "extlinux.conf",
    "syslinux/syslinux.cfg",
    "syslinux.cfg",
    "refind_linux.conf",
    "cmdline.txt",
    "firmware/cmdline.txt",
    "limine.conf",
    "limine/limine.conf",
];

/// Directories of it of which all files count.
const DIRECTORIES_OF_BOOT: &[&str] = &["loader/entries"];

/// Where a volume may have what belongs to /boot.
const BOOT: [&str; 2] = ["", "boot/"];

/// The texts of a volume that may have names in them, by their paths.
///
/// # Errors
/// When a directory can't be read.
pub(super) fn texts(paths: &Paths<'_>) -> Result<Vec<String>> {
    let mut found: Vec<String> = OF_ROOT.iter().map(|&path| path.to_owned()).collect();
    for directory in DIRECTORIES_OF_ROOT {
        found.extend(in_directory(paths, directory)?);
    }
    for boot in BOOT {
        found.extend(OF_BOOT.iter().map(|path| format!("{boot}{path}")));
        for directory in DIRECTORIES_OF_BOOT {
            found.extend(in_directory(paths, &format!("{boot}{directory}"))?);
        }
        for vendor in in_directory(paths, &format!("{boot}EFI"))? {
            found.extend(
                ["grub.cfg", "grubenv", "refind.conf"].map(|name| format!("{vendor}/{name}")),
            );
        }
    }
    Ok(found)
}

/// The programs that firmware starts, by their paths.
///
/// # Errors
/// When a directory can't be read.
pub(super) fn programs(paths: &Paths<'_>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for vendor in in_directory(paths, "EFI")? {
        let all = in_directory(paths, &vendor)?;
        let is_program = |path: &String| path.to_ascii_lowercase().ends_with(".efi");
        found.extend(all.into_iter().filter(is_program));
    }
    Ok(found)
}

fn in_directory(paths: &Paths<'_>, directory: &str) -> Result<Vec<String>> {
    let names = paths.list(directory, FILES_MAX)?;
    let names = names.map(|listing| listing.names).unwrap_or_default();
    Ok(names
        .iter()
        .map(|name| format!("{directory}/{name}"))
        .collect())
}
