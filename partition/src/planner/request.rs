//! What a plan is asked for: the drive, the sources, the options.

use super::layout::Plan;
use super::minimum::Minimum;
use super::original::Original;
use super::role::Role;
use super::size::SizePolicy;
use crate::device::Geometry;
use crate::extent::{Extent, ExtentMap};
use crate::filesystem::{Recognized, Summary};
use crate::identity::Identity;
use crate::inspect::{DiskLayout, Unassigned, Volume};
use crate::table::{PartitionType, Scheme, Table};
use crate::text::quoted;

/// A drive, what shall be cloned to it, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where the clones go.
    pub drive: Drive,
    /// What is cloned, in the order in which it shall lie on the drive.
    pub sources: Vec<SourceRequest>,
    /// How.
    pub options: Options,
}

/// The drive as it is now.
#[derive(Clone, Debug)]
pub struct Drive {
    /// What it is recognised by.
    pub identity: Identity,
    /// Its size and sectors.
    pub geometry: Geometry,
    /// Its partition table, if there is one.
    pub table: Option<Table>,
    /// Why the table that is there can't be relied on; `table` is `None` then.
    pub doubt: Option<String>,
    /// Places that the table lists no partition in and others do: a hybrid MBR. Nothing is laid there
    /// as long as the table is kept.
    pub listed_elsewhere: ExtentMap,
    /// What is on a drive without a table, as in `ext4 "Old backups"`; `None` when it is blank
    /// or has a table.
    pub content: Option<String>,
}

/// A source and the name that its clone gets.
#[derive(Clone, Debug)]
pub struct SourceRequest {
    /// The user's name for it, as in `Boot`; the clone is called `BootClone`.
    pub name: String,
    /// How large its clone becomes.
    pub size: SizePolicy,
    /// What it is.
    pub source: Source,
}

/// A disk, a partition or a file to be cloned, as inspection found it.
#[derive(Clone, Debug)]
pub struct Source {
    /// What the disk, the partition or the file is recognized by. A partition in a file is
    /// recognized by the file.
    pub identity: Identity,
    /// The disk that it is or lies on; `None` for the file of a single volume.
    pub disk: Option<Identity>,
    /// The logical sector of that disk (512 for the file of a volume).
    pub logical_sector_bytes: u32,
    /// Whether there is an EFI system partition on the disk, which is the source or holds it.
    pub disk_has_esp: bool,
    /// Whether it is a disk with boot code in its first sector.
    pub has_boot_code: bool,
    /// The bytes of the disk that are in no partition and not zero, without boot code at its start.
    pub unassigned: Option<Unassigned>,
    /// The disk that it is or lies on, with its table; its groups are the planner's to fill in.
    pub original: Option<Original>,
    /// Its volumes: all partitions of a disk, or the one volume that it is.
    pub volumes: Vec<SourceVolume>,
}

/// A volume of a source.
#[derive(Clone, Debug)]
pub struct SourceVolume {
    /// Its number in the table of the source disk. `None` when the source is this one volume or
    /// partition, unless [`Source::identity`] is the identity of the file that the partition is in.
    pub number: Option<u32>,
    /// Where it lies on the source.
    pub extent: Extent,
    /// What its partition is for, if it is one.
    pub partition_type: Option<PartitionType>,
    /// GPT attribute bits of its partition.
    pub attributes: u64,
    /// MBR boot indicator of its partition.
    pub is_bootable: bool,
    /// `PARTUUID` of its partition, as the kernel writes it.
    pub partuuid: Option<String>,
    /// Its filesystem, if it was recognised.
    pub filesystem: Option<Summary>,
    /// Bytes that a clone copies; `None` for all of them.
    pub used_bytes: Option<u64>,
    /// Where its filesystem ends; `None` when a smaller clone would cut it.
    pub end_bytes: Option<u64>,
    /// How small its filesystem can be made.
    pub minimum: Minimum,
    /// The filesystem itself, where it is at hand: it tells what becomes of it in other sectors.
    pub recognized: Option<Recognized>,
}

impl Drive {
    /// The drive that `layout` was found on; `listed_elsewhere` is the caller's to fill in.
    #[must_use]
    pub fn new(identity: Identity, layout: &DiskLayout) -> Self {
        let filesystem = layout.volumes.first().and_then(|v| v.filesystem.as_ref());
        let content = match filesystem {
            _ if layout.doubt().is_some() => {
                Some("unknown data, with a partition table that can't be relied on".to_owned())
            }
            _ if layout.table.is_some() => None,
            Some(summary) => Some(match &summary.label {
                Some(label) => format!("{} {}", summary.kind, quoted(label)),
                None => summary.kind.to_string(),
            }),
            None => (!layout.is_blank).then(|| "unknown data".to_owned()),
        };
        Self {
            identity,
            geometry: layout.geometry,
            table: layout.believed_table().cloned(),
            doubt: layout.doubt().map(str::to_owned),
            listed_elsewhere: ExtentMap::new(),
            content,
        }
    }
}

impl SourceVolume {
    /// A volume that inspection found on a disk with `table`. `used_bytes` of it get copied; what is known of its
    /// end and its least size is the caller's to fill in.
    #[must_use]
    pub fn new(volume: &Volume, table: Option<&Table>, used_bytes: Option<u64>) -> Self {
        let partition = volume.partition.as_ref();
        let partuuid = partition.and_then(|partition| match (partition.guid, table) {
            (Some(guid), _) => Some(guid.to_string()),
            (None, Some(table)) if table.disk_signature != 0 => {
                let number = partition.number;
                Some(format!("{:08x}-{number:02x}", table.disk_signature))
            }
            _ => None,
        });
        Self {
            number: partition.map(|partition| partition.number),
            extent: volume.extent,
            partition_type: partition.map(|partition| partition.partition_type),
            attributes: partition.map_or(0, |partition| partition.attributes),
            is_bootable: partition.is_some_and(|partition| partition.is_bootable),
            partuuid,
            filesystem: volume.filesystem.clone(),
            used_bytes,
            end_bytes: None,
            minimum: Minimum::Unknown("no tool was asked".to_owned()),
            recognized: volume.recognized.clone(),
        }
    }

    /// The least size of its clone, as long as its filesystem stays as large as it is.
    #[must_use]
    pub fn least_bytes(&self) -> u64 {
        let size_bytes = self.extent.len_bytes();
        self.end_bytes
            .map_or(size_bytes, |end_bytes| end_bytes.clamp(1, size_bytes))
    }

    /// Whether it is an EFI system partition.
    #[must_use]
    pub fn is_esp(&self) -> bool {
        self.partition_type.map(Role::of) == Some(Role::Esp)
    }

    /// Bytes that a clone copies.
    #[must_use]
    pub fn copied_bytes(&self) -> u64 {
        self.used_bytes.unwrap_or(self.extent.len_bytes())
    }
}

/// Space that is kept free of partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserve {
    /// How much.
    pub bytes: u64,
    /// Whether to refuse a plan without it; otherwise volumes that don't fit beside it come first.
    pub is_required: bool,
}

/// How to plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The kind of table. `None`: the kind of the table that is kept, or else GPT.
    pub scheme: Option<Scheme>,
    /// Whether a new table replaces what is on the drive, which is lost.
    pub replace_table: bool,
    /// Whether filesystems may be made smaller where the drive is too small for them.
    pub may_shrink: bool,
    /// A date for the names, as in `2026-11-21`.
    pub date_stamp: Option<String>,
    /// Space that belongs to no partition, in which updates of clones are staged.
    pub reserve: Reserve,
    /// Where partitions start: multiples of this; `None` for 1 MiB or what the drive likes best.
    pub alignment_bytes: Option<u64>,
    /// The plan that was last carried out on this drive. Where the table holds no names (MBR),
    /// volumes are found by it.
    pub previous: Option<Plan>,
}
