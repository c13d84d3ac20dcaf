//! Says what will boot of a disk that comes back, before anything is written.

use klon_partition::planner::{Original, WayBack};
use klon_partition::table::types::BIOS_BOOT;
use klon_partition::table::{PartitionType, Scheme};

/// One line for each way of booting that the original had, as the `carrier` knows of it: a plan or an image.
pub fn lines(original: &Original, way: &WayBack, carrier: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let is_back = |number: u32| way.partition(number).is_some() && !way.empty.contains(&number);
    let has_esp = (original.partitions.iter())
        .any(|one| one.partition_type.is_efi_system() && is_back(one.number));
    if has_esp {
        lines.push(
            "UEFI firmware finds the EFI system partition by the PARTUUID that it had. On another computer \
             it takes EFI/BOOT there, if there is one"
                .to_owned(),
        );
    }
    lines.extend(bios(original, way, carrier));
    lines
}

/// What boots of a disk whose table becomes one of the other kind, and what does not.
pub fn converted(original: &Original) -> Vec<String> {
    let partitions = original.partitions.iter();
    let mut esps = partitions.filter(|one| one.partition_type.is_efi_system());
    let esp = esps.next().map(|one| one.number);
    let others = "PARTUUIDs are others than they were. What mounts or boots by them (fstab, cmdline.txt, loader entries) \
                  has to be told; UUIDs of filesystems stay";
    let (kind, more) = match original.scheme {
        Scheme::Gpt => (
            "GPT",
            "Windows boots from it by UEFI alone. To boot by BIOS, make a BIOS boot partition and install the boot \
             loader anew (grub-install)",
        ),
        Scheme::Mbr => (
            "MBR",
            "Names, GUIDs and attributes of partitions have no place there, and Windows does not boot from it by UEFI. To \
             boot by BIOS, install the boot loader anew (grub-install)",
        ),
    };
    let uefi = match esp {
        Some(number) => format!(
            "UEFI firmware boots what is in EFI/BOOT of its EFI system partition {number}, if there is something"
        ),
        None => "UEFI firmware does not boot it: it has no EFI system partition".to_owned(),
    };
    vec![
        format!(
            "its table becomes a new {kind}. BIOS does not boot it then: the code of the first sector and the loader before \
             the first partition do not come along. {more}"
        ),
        uefi,
        others.to_owned(),
    ]
}

fn bios(original: &Original, way: &WayBack, carrier: &str) -> Option<String> {
    let loader = original
        .partitions
        .iter()
        .find(|one| one.partition_type == PartitionType::Gpt(BIOS_BOOT));
    let is_moved = loader.is_some_and(|one| {
        let now = way.partition(one.number);
        now.is_none_or(|now| now.extent.offset_bytes() != one.extent.offset_bytes())
    });
    let has_code = !original.boot_code.is_empty();
    let anew = "To boot by BIOS, install the boot loader anew (grub-install)";
    if original.loader_for(&way.table).is_some() {
        return Some(match has_code {
            true => format!(
                "the BIOS boot code of the first sector and the loader before the first partition come back, as \
                 they were when the {carrier} was made"
            ),
            false => format!(
                "what the original had between its table and its first partition comes back, as it was when \
                 the {carrier} was made"
            ),
        });
    }
    let sector_bytes = original.logical_sector_bytes;
    let new_sector_bytes = way.table.logical_sector_bytes;
    match (!has_code, original.has_loader_in_gap) {
        (true, true) => Some(format!(
            "the original had data between its table and its first partition, perhaps a boot loader. They do \
             not come back: there is no place for them on this disk, or the {carrier} does not have them"
        )),
        (true, false) => loader
            .is_some()
            .then(|| format!("the {carrier} has no BIOS boot code for the first sector. {anew}")),
        (false, true) => Some(format!(
            "the BIOS boot code of the first sector comes back, but what the original had of its boot loader \
             before the first partition does not: there is no place for it on this disk, or the {carrier} does \
             not have it. {anew}"
        )),
        // The code finds its loader by the number of a sector.
        (false, false) if loader.is_some() && new_sector_bytes != sector_bytes => Some(format!(
            "the BIOS boot code of the first sector comes back, but it counts in sectors of {sector_bytes} bytes, \
             and this disk has those of {new_sector_bytes}. {anew}"
        )),
        (false, false) if is_moved => Some(format!(
            "the BIOS boot code of the first sector comes back, but the BIOS boot partition begins elsewhere \
             than it did. {anew}"
        )),
        (false, false) => Some(format!(
            "the BIOS boot code of the first sector comes back, as it was when the {carrier} was made"
        )),
    }
}
