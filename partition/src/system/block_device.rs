//! Block devices as sysfs describes them (`Documentation/ABI/stable/sysfs-block` of Linux).

use super::attribute::attribute;
use super::{DeviceNumber, serial, transport};
use crate::device::{FileId, ioctl};
use crate::error::{Error, Result};
use crate::extent::Extent;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Sizes and positions in sysfs count in this unit, whatever the device's sectors are.
const SYSFS_UNIT_BYTES: u64 = 512;

/// What sysfs says of one disk or partition.
#[derive(Clone, Debug)]
pub(super) struct BlockDevice {
    /// The kernel's name, as in `sda1`.
    pub(super) name: String,
    pub(super) number: DeviceNumber,
    pub(super) size_bytes: u64,
    pub(super) logical_sector_bytes: u32,
    pub(super) physical_sector_bytes: u32,
    pub(super) partition: Option<PartitionOf>,
    pub(super) holders: Vec<String>,
    pub(super) slaves: Vec<String>,
    pub(super) is_read_only: bool,
    pub(super) is_rotational: bool,
    pub(super) is_removable: bool,
    pub(super) model: Option<String>,
    pub(super) serial: Option<String>,
    /// Others claim the same serial number, so that it identifies none of them.
    pub(super) has_shared_serial: bool,
    pub(super) wwn: Option<String>,
    /// The slot that it is in: a link below `/dev/disk/by-path`.
    pub(super) slot: Option<String>,
    pub(super) transport: transport::Transport,
    pub(super) loop_file: Option<LoopFile>,
    /// Name under /dev/mapper.
    pub(super) mapper_name: Option<String>,
    /// Device-mapper's UUID of it, which says whose it is: `LVM-…`, `CRYPT-…`.
    pub(super) mapper_uuid: Option<String>,
    /// An LVM volume or a partition mapped by kpartx, which shares no bytes with its siblings.
    pub(super) is_shared_out: bool,
}

/// Where a partition lies.
#[derive(Clone, Debug)]
pub(super) struct PartitionOf {
    /// The kernel's name of the disk.
    pub(super) disk: String,
    pub(super) number: u32,
    pub(super) start_bytes: u64,
}

/// What a loop device shows.
#[derive(Clone, Debug)]
pub(super) struct LoopFile {
    pub(super) path: PathBuf,
    pub(super) offset_bytes: u64,
    /// 0 for no limit.
    pub(super) size_limit_bytes: u64,
    /// The name is gone, so what bears it now is something else.
    pub(super) is_deleted: bool,
    /// Which file it is, whatever the name is now.
    pub(super) id: Option<FileId>,
}

impl LoopFile {
    /// Whether the loop device shows all of a file that can still be found.
    pub(super) const fn is_whole(&self) -> bool {
        !self.is_deleted && self.offset_bytes == 0 && self.size_limit_bytes == 0
    }
}

impl BlockDevice {
    /// Its node in /dev.
    pub(super) fn path(&self) -> PathBuf {
        Path::new("/dev").join(self.name.replace('!', "/"))
    }

    /// The slot, if the disk stays in it: disks of virtual machines do, and often have no serial
    /// number. A drive that is plugged in may take another drive's slot.
    pub(super) fn lasting_slot(&self) -> Option<&str> {
        let is_fixed = match self.transport {
            transport::Transport::Virtio | transport::Transport::Scsi => !self.is_removable,
            _ => false,
        };
        let is_nameless = self.serial.is_none() && !self.has_shared_serial;
        let is_disk = self.partition.is_none();
        let slot = self.slot.as_deref();
        slot.filter(|_| is_fixed && is_nameless && is_disk)
    }

    /// Where it lies on its disk, or all of it; `None` when it has no bytes.
    pub(super) fn extent(&self) -> Option<Extent> {
        let start_bytes = self.partition.as_ref().map_or(0, |part| part.start_bytes);
        Extent::new(start_bytes, self.size_bytes)
    }
}

/// Reads all block devices of the system under `root`, in order of their names.
pub(super) fn all(root: &Path) -> Result<Vec<BlockDevice>> {
    let class = root.join("sys/class/block");
    let names = names_in(&class).map_err(|source| Error::Open {
        path: class.clone(),
        doing: "list block devices",
        source,
    })?;
    let mut slots = slots(root);
    // A device that vanishes meanwhile is not there.
    let devices = names.into_iter().filter_map(|name| {
        let slot = slots.remove(&name);
        let device = read(root, &class.join(&name), name)?;
        Some(BlockDevice { slot, ..device })
    });
    Ok(devices.collect())
}

fn read(root: &Path, entry: &Path, name: String) -> Option<BlockDevice> {
    let sysfs = fs::canonicalize(entry).ok()?;
    let device_number = DeviceNumber::parse(&attribute(&sysfs, "dev")?)?;
    let partition = partition_of(&sysfs);
    // Partitions share what is said of the disk.
    let disk = match partition {
        Some(_) => sysfs.parent()?.to_owned(),
        None => sysfs.clone(),
    };
    let logical_sector_bytes = number(&disk, "queue/logical_block_size").unwrap_or(512);
    let physical_sector_bytes = number(&disk, "queue/physical_block_size");
    let ids = match partition {
        Some(_) => serial::Ids::default(),
        None => serial::Ids::read(root, &disk, device_number),
    };
    let mapper_uuid = attribute(&sysfs, "dm/uuid");
    Some(BlockDevice {
        number: device_number,
        size_bytes: units(&sysfs, "size").unwrap_or(0),
        logical_sector_bytes,
        physical_sector_bytes: physical_sector_bytes.unwrap_or(logical_sector_bytes),
        partition,
        holders: names_in(&sysfs.join("holders")).unwrap_or_default(),
        slaves: names_in(&sysfs.join("slaves")).unwrap_or_default(),
        is_read_only: number(&sysfs, "ro") == Some(1) || number(&disk, "ro") == Some(1),
        is_rotational: number(&disk, "queue/rotational") == Some(1),
        is_removable: number(&disk, "removable") == Some(1),
        model: ids.model,
        serial: ids.serial,
        has_shared_serial: false,
        wwn: ids.wwn,
        slot: None,
        transport: transport::of(&disk),
        loop_file: loop_file(root, &sysfs, &name),
        is_shared_out: mapper_uuid.as_deref().is_some_and(is_shared_out),
        mapper_uuid,
        mapper_name: attribute(&sysfs, "dm/name"),
        name,
    })
}

/// Links of `/dev/disk/by-path`, by the kernel's name of the disk; of several the first.
fn slots(root: &Path) -> HashMap<String, String> {
    let directory = Path::new("/dev/disk/by-path");
    let links = fs::read_dir(root.join("dev/disk/by-path"));
    let mut slots = HashMap::<String, String>::new();
    // Without udev there are none.
    for entry in links.into_iter().flatten().flatten() {
        let target = fs::read_link(entry.path()).ok();
        let device = target.as_deref().and_then(Path::file_name);
        let link = directory.join(entry.file_name());
        let (Some(device), Some(link)) = (device.and_then(|name| name.to_str()), link.to_str())
        else {
            continue;
        };
        let slot = slots
            .entry(device.to_owned())
            .or_insert_with(|| link.to_owned());
        if link < slot.as_str() {
            link.clone_into(slot);
        }
    }
    slots
}

fn partition_of(sysfs: &Path) -> Option<PartitionOf> {
    Some(PartitionOf {
        disk: sysfs.parent()?.file_name()?.to_str()?.to_owned(),
        number: number(sysfs, "partition")?,
        start_bytes: units(sysfs, "start")?,
    })
}

fn loop_file(root: &Path, sysfs: &Path, name: &str) -> Option<LoopFile> {
    const DELETED: &[u8] = b" (deleted)";
    let shown = fs::read(sysfs.join("loop/backing_file")).ok()?;
    let shown = shown.strip_suffix(b"\n").unwrap_or(&shown);
    let bytes = |name| attribute(sysfs, name).and_then(|text| text.parse().ok());
    // A file may really be called so, and then it exists.
    let whole = Path::new(OsStr::from_bytes(shown));
    let short = shown.strip_suffix(DELETED).filter(|_| !whole.exists());
    let is_gone = short.is_some();
    let path = short.map_or(whole, |path| Path::new(OsStr::from_bytes(path)));
    let path = path.to_owned();
    let id = loop_file_id(root, name);
    let is_other = |id| {
        let found = fs::metadata(&path).ok().filter(fs::Metadata::is_file);
        found.is_some_and(|found| FileId::of(&found) != id)
    };
    let is_deleted = is_gone || id.is_some_and(is_other);
    Some(LoopFile {
        path,
        id,
        offset_bytes: bytes("loop/offset").unwrap_or(0),
        size_limit_bytes: bytes("loop/sizelimit").unwrap_or(0),
        is_deleted,
    })
}

/// Volumes of LVM are `LVM-…`, partitions of kpartx `part1-…`.
fn is_shared_out(uuid: &str) -> bool {
    let is_part = uuid
        .strip_prefix("part")
        .and_then(|rest| rest.split_once('-'));
    uuid.starts_with("LVM-") || is_part.is_some_and(|(number, _)| number.parse::<u32>().is_ok())
}

/// Which file a loop device of the running system shows, as far as we may ask.
fn loop_file_id(root: &Path, name: &str) -> Option<FileId> {
    let node = (root == Path::new("/")).then(|| Path::new("/dev").join(name))?;
    ioctl::loop_file(&fs::File::open(node).ok()?).ok()
}

/// Forgets serial numbers that several disks claim: such a number identifies no disk.
pub(super) fn drop_ambiguous(devices: &mut [BlockDevice]) {
    let serials: Vec<_> = devices
        .iter()
        .filter_map(|device| device.serial.clone())
        .collect();
    for device in devices {
        let same = |serial: &&String| Some(*serial) == device.serial.as_ref();
        if serials.iter().filter(same).count() > 1 {
            device.serial = None;
            device.has_shared_serial = true;
        }
    }
}

fn number(sysfs: &Path, name: &str) -> Option<u32> {
    attribute(sysfs, name)?.parse().ok()
}

fn units(sysfs: &Path, name: &str) -> Option<u64> {
    let units: u64 = attribute(sysfs, name)?.parse().ok()?;
    units.checked_mul(SYSFS_UNIT_BYTES)
}

/// The names in a directory, sorted.
pub(super) fn names_in(directory: &Path) -> io::Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(directory)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}
