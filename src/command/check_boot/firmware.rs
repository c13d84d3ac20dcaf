//! What firmware finds on a disk: a loader by UEFI, boot code by BIOS.

use super::Report;
use super::disk::Volume;
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

/// By which firmware the disk can be started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ways {
    uefi: bool,
    bios: bool,
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
    let ways = Ways {
        uefi: uefi(volumes, report)?,
        bios: bios(open, volumes, report, system)?,
    };
    if !ways.uefi && !ways.bios {
        report.missing("firmware: nothing on this disk is started, neither by UEFI nor by BIOS");
    }
    Ok(())
}

/// Whether UEFI firmware finds a loader.
fn uefi(volumes: &[Volume], report: &mut Report) -> Result<bool> {
    let mut finds = false;
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
        finds |= loaders(esp, report)?;
    }
    Ok(finds)
}

/// Whether there is any loader on an ESP.
fn loaders(esp: &Volume, report: &mut Report) -> Result<bool> {
    let name = esp.name();
    let mut has_fallback = false;
    for (path, machine) in FALLBACKS {
        if esp.has(path)? {
            has_fallback = true;
            report.found(&format!("UEFI: {path} on {name}: firmware of {machine} starts it without an entry of its own"));
        }
    }
    let mut others = Vec::new();
    for vendor in esp.names("EFI")? {
        if vendor.eq_ignore_ascii_case("BOOT") {
            continue;
        }
        let files = esp.names(&format!("EFI/{vendor}"))?;
        let is_loader = |file: &&String| file.to_ascii_lowercase().ends_with(".efi");
        others.extend(
            files
                .iter()
                .filter(is_loader)
                .map(|file| format!("EFI/{vendor}/{file}")),
        );
    }
    for path in &others {
        report.found(&format!("UEFI: {path} on {name}"));
    }
    match (has_fallback, others.is_empty()) {
        (false, true) => report.missing(&format!("UEFI: {name} has no loader: neither EFI/BOOT/BOOTX64.EFI nor any other")),
        (false, false) => report.missing(&format!(
            "UEFI: EFI/BOOT/BOOTX64.EFI on {name}: only firmware that has an entry for this disk starts it. To start \
             anywhere, copy a loader there (grub-install --removable, bootctl install)"
        )),
        (true, _) => {}
    }
    Ok(has_fallback || !others.is_empty())
}

/// Whether BIOS firmware finds boot code that can go on.
fn bios(
    open: &OpenPlace,
    volumes: &[Volume],
    report: &mut Report,
    system: &System,
) -> Result<bool> {
    let original = found::original(open, open.identity(system)?, &open.layout)?;
    let Some(original) = original.filter(|original| !original.boot_code.is_empty()) else {
        report.note("BIOS: there is no boot code in the first sector, so BIOS firmware starts nothing from this disk");
        return Ok(false);
    };
    if original.boot_code.windows(4).any(|four| four == b"GRUB") {
        report.found("BIOS: GRUB's boot code is in the first sector");
        return rest_of_grub(open, (&original, volumes), report);
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
            report.missing(
                "BIOS: no partition is marked as the one to start from (active, or legacy boot)",
            );
            Ok(false)
        }
    }
}

/// GRUB's boot code reads the rest of it from before the first partition, or from a BIOS boot partition.
fn rest_of_grub(
    open: &OpenPlace,
    (original, volumes): (&Original, &[Volume]),
    report: &mut Report,
) -> Result<bool> {
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
