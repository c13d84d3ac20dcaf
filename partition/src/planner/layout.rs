//! The plan itself: what lies where on the drive, the table that says so, and what that changes.

use super::new_table::{new_slots, new_usable};
use super::original::Original;
use super::size::SizePolicy;
use crate::error::{Error, Result};
use crate::extent::Extent;
use crate::filesystem::Kind;
use crate::identity::Identity;
use crate::table::{Partition, PartitionType, Scheme, Table};
use crate::text::quoted;
use serde::Serialize;
use std::fmt;
use uuid::Uuid;

/// The layout of a drive: the clone volumes on it and what is kept beside them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The drive that it is for.
    pub drive: PlannedDrive,
    /// Its table.
    pub table: PlannedTable,
    /// The clone volumes, in the order of the sources.
    pub volumes: Vec<PlannedVolume>,
    /// Partitions that are on the drive and stay as they are.
    pub kept: Vec<Partition>,
    /// The disks that the sources are or lie on, as they were when the plan was made; none in plans of
    /// earlier versions, and of sources that are single volumes.
    pub originals: Vec<Original>,
}

/// The drive that a plan is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedDrive {
    /// What it is recognised by.
    pub identity: Identity,
    /// Its size.
    pub size_bytes: u64,
    /// The unit in which its table counts.
    pub logical_sector_bytes: u32,
}

/// The table that a plan needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedTable {
    /// Which kind.
    pub scheme: Scheme,
    /// Whether it is a new table in place of whatever is on the drive.
    pub is_new: bool,
    /// GPT disk GUID.
    pub disk_guid: Option<Uuid>,
    /// MBR disk signature; 0 for GPT.
    pub disk_signature: u32,
    /// MBR: the extended partition to be made for logical ones.
    pub extended: Option<Extended>,
}

/// An extended partition to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Extended {
    /// Its slot, 1 to 4.
    pub number: u32,
    /// Where it lies.
    pub extent: Extent,
}

/// A volume on the drive that is the clone of a volume of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedVolume {
    /// Its name. Where the table holds names, its partition has it, too: `BootClone-ESP`.
    pub name: String,
    /// The user's name for the source: `Boot`.
    pub group: String,
    /// What it is a clone of.
    pub source: SourceRef,
    /// Slot in the drive's table.
    pub number: u32,
    /// Where it lies.
    pub extent: Extent,
    /// What its partition is for.
    pub partition_type: PartitionType,
    /// GPT unique partition GUID.
    pub guid: Option<Uuid>,
    /// GPT attribute bits.
    pub attributes: u64,
    /// MBR boot indicator.
    pub is_bootable: bool,
    /// How its size was chosen.
    pub size: SizePolicy,
    /// Size of the source volume.
    pub source_bytes: u64,
    /// The part of the source that a smaller clone must have room for: its filesystem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least_bytes: Option<u64>,
    /// How small the source's filesystem could be made when the plan was made, by its own tool; `None` when that
    /// was not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_bytes: Option<u64>,
    /// Whether the filesystem is made smaller on its way to the clone.
    pub is_shrunk: bool,
    /// What a clone copies of it; `None` when that was not found out.
    pub used_bytes: Option<u64>,
    /// What the source volume is formatted as, if it was recognised.
    pub filesystem: Option<Kind>,
}

/// Which volume of which source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceRef {
    /// The disk, the partition or the file.
    pub identity: Identity,
    /// Number of the partition when `identity` is a disk.
    pub partition: Option<u32>,
    /// `PARTUUID` of the partition, if it is one.
    pub partuuid: Option<String>,
    /// UUID of the filesystem, if it has one.
    pub fs_uuid: Option<String>,
}

/// One thing that carrying out a plan changes in the drive's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// A new table is written.
    NewTable {
        /// Which kind.
        scheme: Scheme,
    },
    /// A partition is lost.
    Remove {
        /// What is there now.
        partition: Partition,
    },
    /// A partition is made.
    Create {
        /// What will be there.
        partition: Partition,
    },
    /// The description of a partition changes, not its place.
    Update {
        /// What will be there.
        partition: Partition,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, partition) = match self {
            Self::NewTable {
                scheme: Scheme::Gpt,
            } => return f.write_str("write a new GPT"),
            Self::NewTable {
                scheme: Scheme::Mbr,
            } => return f.write_str("write a new MBR table"),
            Self::Remove { partition } => ("remove", partition),
            Self::Create { partition } => ("create", partition),
            Self::Update { partition } => ("rename or retype", partition),
        };
        let size = super::size::human_size(partition.extent.len_bytes());
        write!(f, "{verb} partition {}", partition.number)?;
        if !partition.name.is_empty() {
            write!(f, " {}", quoted(&partition.name))?;
        }
        write!(f, " ({size})")
    }
}

impl PlannedVolume {
    fn partition(&self, scheme: Scheme) -> Partition {
        Partition {
            number: self.number,
            extent: self.extent,
            partition_type: self.partition_type,
            guid: self.guid,
            name: match scheme {
                Scheme::Gpt => self.name.clone(),
                Scheme::Mbr => String::new(),
            },
            attributes: self.attributes,
            is_bootable: self.is_bootable,
        }
    }
}

impl Plan {
    /// What the partition of `volume` is recognised by once the table is written: its PARTUUID,
    /// which is the GPT partition GUID, or MBR disk signature and number.
    #[must_use]
    pub fn target(&self, volume: &PlannedVolume) -> Identity {
        Identity::PartUuid(match volume.guid {
            Some(guid) => guid.to_string(),
            None => format!("{:08x}-{:02x}", self.table.disk_signature, volume.number),
        })
    }

    /// The table to be written to a drive whose table is `current`.
    ///
    /// # Errors
    /// [`Error::Refused`] when the drive is not as it was when the plan was made: a kept table is
    /// gone or another one, a kept partition changed, or there is a partition that the plan does
    /// not know. [`Error::Invalid`] when the plan contradicts itself.
    pub fn table(&self, current: Option<&Table>) -> Result<Table> {
        self.check()?;
        // A new table that has been written is kept from then on: an old plan must not wipe what a
        // later one has added.
        let mut table = if self.replaces(current) {
            self.new_table()?
        } else {
            self.kept_table(current)?
        };
        let ours: Vec<Partition> = self.our_partitions().collect();
        for partition in &ours {
            if !table.usable.contains(partition.extent) {
                return Err(Error::Refused(format!(
                    "partition {} of the plan lies outside of the drive's room for partitions",
                    partition.number
                )));
            }
        }
        let is_other = |there: &Partition| ours.iter().all(|our| our.number != there.number);
        table.partitions.retain(is_other);
        table.partitions.extend(ours);
        table.partitions.sort_by_key(|partition| partition.number);
        Ok(table)
    }

    /// Partitions that the plan adds, in no order.
    pub(super) fn our_partitions(&self) -> impl Iterator<Item = Partition> + '_ {
        let extended = self.table.extended.map(|extended| Partition {
            number: extended.number,
            extent: extended.extent,
            partition_type: PartitionType::Mbr(0x0f),
            guid: None,
            name: String::new(),
            attributes: 0,
            is_bootable: false,
        });
        let volumes = self.volumes.iter();
        extended
            .into_iter()
            .chain(volumes.map(|volume| volume.partition(self.table.scheme)))
    }

    fn new_table(&self) -> Result<Table> {
        let drive = &self.drive;
        let usable = new_usable(
            self.table.scheme,
            drive.size_bytes,
            drive.logical_sector_bytes,
        );
        Ok(Table {
            scheme: self.table.scheme,
            disk_guid: self.table.disk_guid,
            disk_signature: self.table.disk_signature,
            logical_sector_bytes: drive.logical_sector_bytes,
            usable: usable.ok_or_else(|| {
                Error::Refused("the drive is too small for a partition table".to_owned())
            })?,
            slots_max: new_slots(self.table.scheme),
            entry_bytes: self.table.scheme.entry_bytes(),
            partitions: Vec::new(),
        })
    }

    fn kept_table(&self, current: Option<&Table>) -> Result<Table> {
        let changed = |what: String| {
            Error::Refused(format!(
                "{what} since the plan was made. Make a new plan to see what would change"
            ))
        };
        let Some(current) = current else {
            return Err(changed("the drive has lost its partition table".to_owned()));
        };
        if !self.is_same_table(current) {
            return Err(changed("the drive has got another table".to_owned()));
        }
        for kept in &self.kept {
            if !current.partitions.contains(kept) {
                return Err(changed(format!("partition {} has changed", kept.number)));
            }
        }
        for there in &current.partitions {
            if !self.kept.contains(there) && !self.is_ours(there) {
                let number = there.number;
                return Err(changed(format!("partition {number} is new or changed")));
            }
        }
        Ok(current.clone())
    }

    fn replaces(&self, current: Option<&Table>) -> bool {
        self.table.is_new && !current.is_some_and(|current| self.is_same_table(current))
    }

    fn is_same_table(&self, current: &Table) -> bool {
        current.scheme == self.table.scheme
            && current.logical_sector_bytes == self.drive.logical_sector_bytes
            && match current.scheme {
                Scheme::Gpt => current.disk_guid == self.table.disk_guid,
                Scheme::Mbr => current.disk_signature == self.table.disk_signature,
            }
    }

    fn is_ours(&self, there: &Partition) -> bool {
        self.our_partitions().any(|our| {
            our.number == there.number && our.extent == there.extent && our.guid == there.guid
        })
    }

    /// What carrying out the plan changes on a drive whose table is `current`; nothing when the
    /// table is as planned already.
    ///
    /// # Errors
    /// As [`Plan::table`].
    pub fn changes(&self, current: Option<&Table>) -> Result<Vec<Change>> {
        let planned = self.table(current)?;
        let is_same = current.is_some_and(|current| self.is_same_table(current));
        let before = current.map_or(&[][..], |current| &current.partitions);
        if is_same && before == planned.partitions {
            return Ok(Vec::new());
        }
        let mut changes = Vec::new();
        if self.replaces(current) {
            let scheme = self.table.scheme;
            changes.push(Change::NewTable { scheme });
        }
        for partition in before {
            if !planned
                .partitions
                .iter()
                .any(|new| is_in_place(new, partition))
            {
                let partition = partition.clone();
                changes.push(Change::Remove { partition });
            }
        }
        for partition in planned.partitions {
            match before.iter().find(|old| is_in_place(&partition, old)) {
                None => changes.push(Change::Create { partition }),
                Some(old) if *old != partition => changes.push(Change::Update { partition }),
                Some(_) => {}
            }
        }
        Ok(changes)
    }
}

fn is_in_place(new: &Partition, old: &Partition) -> bool {
    new.number == old.number && new.extent == old.extent && new.guid == old.guid
}
