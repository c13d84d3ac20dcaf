//! What firmware finds on a disk: a loader by UEFI, boot code by BIOS.

use super::disk::Volume;
use super::look;
use super::report::{Report, State};
use crate::boot_code::found;
use crate::named::open::OpenPlace;
use anyhow::Result;
use klon_partition::filesystem::Kind;
use klon_partition::outside::first_set;
use klon_partition::planner::Original;
use klon_partition::system::System;
use klon_partition::table::types::BIOS_BOOT;
use klon_partition::table::{Partition, PartitionType, Scheme};

/// Where UEFI firmware looks on a disk that it has no entry for, and the machines that do so (UEFI specification,
/// section "Removable Media Boot Behavior").
const FALLBACKS: [(&str, &str); 4] = [
    ("EFI/BOOT/BOOTX64.EFI", "x86-64"),
    ("EFI/BOOT/BOOTAA64.EFI", "64-bit ARM"),
    ("EFI/BOOT/BOOTIA32.EFI", "32-bit x86"),
    ("EFI/BOOT/BOOTRISCV64.EFI", "64-bit RISC-V"),
];
/// Bit 2 of GPT attributes: the partition from which the boot code of syslinux goes on.
const LEGACY_BOOT: u64 = 1 << 2;

/// The most files on an ESP that are looked at as loaders.
const LOADERS_MAX: usize = 256;

/// The disk that is looked at, and its volumes.
struct Disk<'a> {
    open: &'a OpenPlace,
    volumes: &'a [Volume],
}

/// Looks at what both kinds of firmware look at.
///
/// # Errors
/// When the disk can't be read.
pub fn check(
    open: &OpenPlace,
    volumes: &[Volume],
    report: &mut Report,
    system: &System,
) -> Result<()> {
    let by_uefi = uefi(volumes, report)?;
    let disk = Disk { open, volumes };
    let by_bios = bios(&disk, by_uefi, report, system)?;
    if by_uefi == Some(false) && !by_bios {
        report.missing("firmware: nothing on this disk is started, neither by UEFI nor by BIOS");
    }
    Ok(())
}

/// Whether UEFI firmware finds a loader; `None` where that can't be told.
fn uefi(volumes: &[Volume], report: &mut Report) -> Result<Option<bool>> {
    let mut finds = Some(false);
    let mut esps = volumes.iter().filter(|volume| volume.is_esp()).peekable();
    if esps.peek().is_none() {
        report.note("UEFI: there is no EFI system partition, so UEFI firmware starts nothing from this disk");
    }
    for esp in esps {
        let name = esp.name();
        if !matches!(esp.kind(), Some(Kind::Fat12 | Kind::Fat16 | Kind::Fat32)) {
            report.missing(&format!(
                "UEFI: {name} is an EFI system partition without a FAT filesystem"
            ));
            continue;
        }
        report.found(&format!("UEFI: the EFI system partition is {name}"));
        finds = match (finds, loaders(esp, report)?) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (None, _) | (_, None) => None,
            (Some(false), Some(false)) => Some(false),
        };
    }
    Ok(finds)
}

/// Whether there is any loader on an ESP; `None` where it has none in what klon could look at.
fn loaders(esp: &Volume, report: &mut Report) -> Result<Option<bool>> {
    let name = esp.name();
    let unknown_before = report.count(State::Unknown);
    let mut has_fallback = false;
    for (path, machine) in FALLBACKS {
        if look::has_file(esp, path, report)? == Some(true) {
            has_fallback = true;
            report.found(&format!("UEFI: {path} on {name}: firmware of {machine} starts it without an entry of its own"));
        }
    }
    let others = others(esp, report)?;
    for path in &others {
        report.found(&format!("UEFI: {path} on {name}"));
    }
    let has_loader = has_fallback || !others.is_empty();
    if report.count(State::Unknown) > unknown_before {
        return Ok(has_loader.then_some(true));
    }
    match (has_fallback, others.is_empty()) {
        (false, true) => report.missing(&format!("UEFI: {name} has no loader: neither EFI/BOOT/BOOTX64.EFI nor any other")),
        (false, false) => report.missing(&format!(
            "UEFI: EFI/BOOT/BOOTX64.EFI on {name}: only firmware with an entry for this disk starts it. To start \
             anywhere, copy a loader there (grub-install --removable, bootctl install)"
        )),
        (true, _) => {}
    }
    Ok(Some(has_loader))
}

/// Loaders on an ESP that firmware starts when it has entries for them.
fn others(esp: &Volume, report: &mut Report) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut left = LOADERS_MAX;
    for vendor in look::names(esp, "EFI", report)? {
        if vendor.eq_ignore_ascii_case("BOOT") {
            continue;
        }
        for file in look::names(esp, &format!("EFI/{vendor}"), report)? {
            if !file.to_ascii_lowercase().ends_with(".efi") {
                continue;
            }
            let Some(rest) = left.checked_sub(1) else {
                report.unknown(&format!(
                    "UEFI: {} has more than {LOADERS_MAX} files whose names are those of loaders, and the others were \
                     not looked at",
                    esp.name()
                ));
                return Ok(found);
            };
            left = rest;
            let path = format!("EFI/{vendor}/{file}");
            if look::has_file(esp, &path, report)? == Some(true) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// Whether BIOS firmware finds boot code that can go on. Where UEFI firmware finds its way, a partition to go on from
/// need not be there: boot code of an earlier system stays in the first sector.
fn bios(
    disk: &Disk<'_>,
    by_uefi: Option<bool>,
    report: &mut Report,
    system: &System,
) -> Result<bool> {
    let open = disk.open;
    let original = found::original(open, open.identity(system)?, &open.layout)?;
    let Some(original) = original.filter(|original| !original.boot_code.is_empty()) else {
        report.note("BIOS: there is no boot code in the first sector, so BIOS firmware starts nothing from this disk");
        return Ok(false);
    };
    if original.boot_code.windows(4).any(|four| four == b"GRUB") {
        report.found("BIOS: GRUB's boot code is in the first sector");
        return rest_of_grub(disk, &original, report);
    }
    report.found("BIOS: there is boot code in the first sector");
    let is_active = |partition: &&Partition| match original.scheme {
        Scheme::Mbr => partition.is_bootable,
        Scheme::Gpt => partition.attributes & LEGACY_BOOT != 0,
    };
    match original.partitions.iter().find(is_active) {
        Some(partition) => {
            let number = partition.number;
            report.found(&format!(
                "BIOS: partition {number} is marked as the one to start from"
            ));
            Ok(true)
        }
        None if original.has_loader_in_gap => {
            report.found("BIOS: there is more of a boot loader before the first partition");
            Ok(true)
        }
        None => {
            let state = match by_uefi {
                Some(true) => State::Note,
                Some(false) | None => State::Missing,
            };
            report.add(
                state,
                "BIOS: no partition is marked as the one to start from (active, or legacy boot)",
            );
            Ok(false)
        }
    }
}

/// GRUB's boot code reads the rest of it from before the first partition, or from a BIOS boot partition.
fn rest_of_grub(disk: &Disk<'_>, original: &Original, report: &mut Report) -> Result<bool> {
    let Disk { open, volumes } = disk;
    let is_for_bios =
        |volume: &&Volume| volume.partition.partition_type == PartitionType::Gpt(BIOS_BOOT);
    if let Some(volume) = volumes.iter().find(is_for_bios) {
        let number = volume.partition.number;
        if first_set(&*open.device, volume.partition.extent)?.is_some() {
            report.found(&format!(
                "BIOS: the BIOS boot partition {number} has the rest of GRUB"
            ));
            return Ok(true);
        }
        report.missing(&format!(
            "BIOS: the BIOS boot partition {number} is empty: install GRUB anew (grub-install)"
        ));
        return Ok(false);
    }
    if original.has_loader_in_gap {
        report.found("BIOS: the rest of GRUB is before the first partition");
        return Ok(true);
    }
    report.missing(
        "BIOS: the rest of GRUB is neither before the first partition nor in a BIOS boot partition: install GRUB anew \
         (grub-install)",
    );
    Ok(false)
}
