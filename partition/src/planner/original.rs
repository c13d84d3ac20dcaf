//! What the disk of a source was: its table, kept in the plan for the way back to a new disk.

use crate::extent::Extent;
use crate::identity::Identity;
use crate::table::{Partition, Scheme, Table};
use serde::{Serialize, Serializer};
use uuid::Uuid;

/// The most boot code of a first sector: what is before the disk signature.
pub const BOOT_CODE_BYTES: usize = 440;

/// How much of a boot loader before the first partition a plan has at most. GRUB's is 30 to 130 KiB. Written
/// in digits it is twice as long, and must fit into the copy of the plan that the drive carries.
pub const LOADER_BYTES_MAX: usize = 192 << 10;

/// Where partitions begin at the earliest today: before that there are boot loaders.
pub const LOADER_END_BYTES: u64 = 1 << 20;

/// What a disk has between its table and its first partition: the second part of a boot loader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loader {
    /// Where it begins.
    pub start_bytes: u64,
    /// All of it, up to [`LOADER_BYTES_MAX`]; whole sectors.
    #[serde(rename = "len_bytes", serialize_with = "length")]
    pub bytes: Vec<u8>,
}

fn length<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    bytes.len().serialize(serializer)
}

impl Loader {
    /// Where it lies; `None` when that is no range of bytes.
    #[must_use]
    pub fn extent(&self) -> Option<Extent> {
        Extent::new(self.start_bytes, u64::try_from(self.bytes.len()).ok()?)
    }
}

/// The disk that sources of a plan are or lie on, as it was when the plan was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Original {
    /// What the disk is recognized by.
    pub identity: Identity,
    /// The user's names for the sources that it is or that lie on it.
    pub groups: Vec<String>,
    /// Its size.
    pub size_bytes: u64,
    /// The unit in which its table counts.
    pub logical_sector_bytes: u32,
    /// Which kind of table it has.
    pub scheme: Scheme,
    /// GPT disk GUID.
    pub disk_guid: Option<Uuid>,
    /// MBR disk signature; 0 for GPT.
    pub disk_signature: u32,
    /// Boot code at the start of its first sector, without the zeroes at its end; at most
    /// [`BOOT_CODE_BYTES`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub boot_code: Vec<u8>,
    /// Whether there is more of a boot loader between its table and its first partition.
    pub has_loader_in_gap: bool,
    /// That, where it is small enough for the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loader: Option<Loader>,
    /// Its partitions in order of their numbers; of an MBR the extended one, too.
    pub partitions: Vec<Partition>,
}

impl Original {
    /// Its loader, where it can be brought to a disk with this table: in the same sectors, as it counts in them, and
    /// where nothing else is.
    #[must_use]
    pub fn loader_for(&self, table: &Table) -> Option<&Loader> {
        let loader = self.loader.as_ref()?;
        let extent = loader.extent()?;
        let is_clear = table.logical_sector_bytes == self.logical_sector_bytes
            && table.scheme == self.scheme
            && table.usable.contains(extent)
            && !(table.partitions.iter()).any(|one| one.extent.overlaps(extent));
        is_clear.then_some(loader)
    }

    /// The disk `identity` of `size_bytes` with `table`; its names, and what is outside of partitions,
    /// are the caller's to fill in.
    #[must_use]
    pub fn new(identity: Identity, size_bytes: u64, table: &Table) -> Self {
        Self {
            identity,
            groups: Vec::new(),
            size_bytes,
            logical_sector_bytes: table.logical_sector_bytes,
            scheme: table.scheme,
            disk_guid: table.disk_guid,
            disk_signature: match table.scheme {
                Scheme::Gpt => 0,
                Scheme::Mbr => table.disk_signature,
            },
            boot_code: Vec::new(),
            has_loader_in_gap: false,
            loader: None,
            partitions: table.partitions.clone(),
        }
    }

    /// The number of the partition with this PARTUUID, or for want of one with this number; `None` when
    /// there is none on this disk.
    #[must_use]
    pub fn number_of(&self, partuuid: Option<&str>, number: Option<u32>) -> Option<u32> {
        let is_it = |partition: &&Partition| match (partuuid, number) {
            (Some(partuuid), _) => {
                let own = self.partuuid(partition);
                own.is_some_and(|own| own.eq_ignore_ascii_case(partuuid))
            }
            (None, number) => number == Some(partition.number),
        };
        let mut partitions = self.partitions.iter();
        partitions.find(is_it).map(|partition| partition.number)
    }

    /// `PARTUUID` of one of its partitions, as the kernel writes it.
    #[must_use]
    pub fn partuuid(&self, partition: &Partition) -> Option<String> {
        match partition.guid {
            Some(guid) => Some(guid.to_string()),
            None if self.disk_signature != 0 => Some(format!(
                "{:08x}-{:02x}",
                self.disk_signature, partition.number
            )),
            None => None,
        }
    }
}
