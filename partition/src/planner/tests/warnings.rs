//! What plans warn of.

use super::*;
use crate::device::MemoryDevice;
use crate::filesystem::{Hazard, Recognized, recognize};
use crate::inspect::Unassigned;
use crate::planner::Warning;

fn warnings(request: &Request) -> Vec<Warning> {
    planned(request).unwrap().warnings
}

/// A small FAT of sectors of 512 bytes, of which only the boot sector matters here.
fn fat() -> Recognized {
    let mut bytes = vec![0; 65_536];
    bytes[..3].copy_from_slice(&[0xeb, 0x3c, 0x90]);
    bytes[11..13].copy_from_slice(&512u16.to_le_bytes());
    // Sectors: 1 a cluster, 1 reserved, 2 FATs of 1, 16 entries of the root directory, 128.
    for (at, value) in [
        (13, 1),
        (14, 1),
        (16, 2),
        (17, 16),
        (19, 128),
        (21, 0xf8),
        (22, 1),
    ] {
        bytes[at] = value;
    }
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    recognize(&MemoryDevice::new(bytes, 512)).unwrap().unwrap()
}

#[test]
fn a_plain_plan_warns_of_the_same_uuids_only() {
    let all = warnings(&request(500 * GIB, vec![boot(), master()]));
    let volumes = ["BootClone-ESP", "BootClone", "MasterClone"].map(String::from);
    assert_eq!(
        all,
        [Warning::SameUuids {
            volumes: volumes.into()
        }]
    );
}

#[test]
fn a_drive_smaller_than_twice_what_is_used_is_small() {
    let mut master = master();
    master.source.volumes[0].used_bytes = Some(30 * GIB);
    let is_small = |size_bytes| {
        let all = warnings(&request(size_bytes, vec![master.clone()]));
        all.iter()
            .any(|w| matches!(w, Warning::SmallDrive { used_bytes, .. } if *used_bytes == 30 * GIB))
    };
    assert!(is_small(60 * GIB - MIB) && !is_small(60 * GIB));
}

#[test]
fn a_boot_volume_needs_its_esp() {
    let mut root = data("Root", GIB);
    root.source.disk = Some(Identity::Serial("S4EWNX0M".to_owned()));
    root.source.disk_has_esp = true;
    let lacks = |sources| {
        let all = warnings(&request(500 * GIB, sources));
        all.contains(&Warning::NoEsp {
            group: "Root".to_owned(),
        })
    };
    assert!(lacks(vec![root.clone(), master()]));
    let mut esp = data("Esp", GIB);
    esp.source.disk = root.source.disk.clone();
    esp.source.volumes[0].partition_type = Some(PartitionType::Gpt(ESP));
    assert!(!lacks(vec![root.clone(), esp]));
    root.source.disk_has_esp = false;
    assert!(!lacks(vec![root]));
}

#[test]
fn what_a_volume_is_about_is_said() {
    let mut boot = boot();
    boot.source.has_boot_code = true;
    boot.source.unassigned = Some(Unassigned {
        room_bytes: 3 * GIB,
        first_bytes: 5_000_000,
    });
    boot.source.volumes[1].filesystem.as_mut().unwrap().hazards =
        vec![Hazard::NeedsRecovery("needs_recovery".to_owned())];
    let mut swap = volume(3, SWAP, 30 * GIB, GIB);
    swap.filesystem = Some(summary(Kind::Swap, GIB, "s"));
    boot.source.volumes.push(swap);
    boot.source.volumes[0].recognized = Some(fat());
    let mut request = request(500 * GIB, vec![boot]);
    request.drive.geometry = Geometry::new(500 * GIB, 4096);
    request.drive.content = Some("ext4 \"Old\"".to_owned());
    let said: Vec<String> = warnings(&request).iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "the new table deletes what is on the drive: ext4 \"Old\"",
            "Boot has BIOS boot code outside of its partitions, which no clone of it has. The drive \
             boots by UEFI only, or after you install a boot loader on it",
            "Boot has data in no partition: a boot loader, or the rest of deleted partitions. The \
             first are at 4.76 MiB, and 3 GiB of the disk are in no partition. No clone of this plan has these data",
            "BootClone-ESP: its fat12 was made for sectors of 512 bytes. klon lays it out anew for sectors of 4096: \
             its files, names, times, serial number and label stay",
            "BootClone: the source needs journal recovery (needs_recovery), so klon copies \
             all of it, unused blocks too. To repair it, mounting and unmounting it once is usually \
             enough",
            "BootClone-swap is the clone of a swap volume. Its content is of no use later",
            "BootClone-ESP, BootClone, BootClone-swap will have the filesystem UUIDs of their \
             sources. Do not mount by UUID while both drives are attached",
        ]
    );
}
