//! How a disk is connected, by its place in the device tree.

use serde::Serialize;
use std::fmt;
use std::path::Path;

/// How a disk is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Transport {
    /// USB, whatever is behind the bridge.
    Usb,
    /// NVMe, also over a network.
    Nvme,
    /// ATA, parallel or serial.
    Ata,
    /// Serial-attached SCSI.
    Sas,
    /// SCSI over a network.
    Iscsi,
    /// SCSI of another kind.
    Scsi,
    /// A virtual machine's disk.
    Virtio,
    /// A memory card or soldered flash.
    Mmc,
    /// A file or a device shown as a disk.
    Loop,
    /// Device-mapper: LVM, encryption, multipath.
    DeviceMapper,
    /// Software RAID.
    Md,
    /// A network block device.
    Nbd,
    /// Compressed memory.
    Zram,
    /// Something else.
    Other,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Usb => "usb",
            Self::Nvme => "nvme",
            Self::Ata => "ata",
            Self::Sas => "sas",
            Self::Iscsi => "iscsi",
            Self::Scsi => "scsi",
            Self::Virtio => "virtio",
            Self::Mmc => "mmc",
            Self::Loop => "loop",
            Self::DeviceMapper => "dm",
            Self::Md => "md",
            Self::Nbd => "nbd",
            Self::Zram => "zram",
            Self::Other => "other",
        })
    }
}

/// How the disk at `sysfs` (a resolved path) is connected.
pub(super) fn of(sysfs: &Path) -> Transport {
    let steps: Vec<&str> = sysfs.iter().filter_map(|step| step.to_str()).collect();
    let name = steps.last().copied().unwrap_or_default();
    let by_name = [
        ("nvme", Transport::Nvme),
        ("mmcblk", Transport::Mmc),
        ("loop", Transport::Loop),
        ("dm-", Transport::DeviceMapper),
        ("md", Transport::Md),
        ("nbd", Transport::Nbd),
        ("zram", Transport::Zram),
    ];
    if let Some((_, transport)) = by_name.iter().find(|(start, _)| name.starts_with(start)) {
        return *transport;
    }
    // USB first: what is behind a bridge shows as SCSI too.
    let by_step = [
        ("usb", Transport::Usb),
        ("ata", Transport::Ata),
        ("session", Transport::Iscsi),
        ("end_device-", Transport::Sas),
        ("virtio", Transport::Virtio),
        ("host", Transport::Scsi),
    ];
    let is_step = |start: &str| {
        steps.iter().any(|step| {
            let rest = step.strip_prefix(start);
            rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        })
    };
    by_step
        .iter()
        .find(|(start, _)| is_step(start))
        .map_or(Transport::Other, |(_, transport)| *transport)
}
