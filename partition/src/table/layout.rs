//! Where a table's structures go on a disk of a given size; new tables, and tables that move to
//! another disk.

use super::sectors::Sectors;
use super::{Scheme, Table, mbr};
use crate::device::Geometry;
use crate::error::{Error, Result};
use crate::extent::Extent;
use uuid::Uuid;

/// What an MBR can count: 2 TiB of 512-byte sectors.
pub(super) const MBR_SECTORS_MAX: u64 = 1 << 32;

/// Slots of a new GPT.
const SLOTS: u32 = 128;

/// Space reserved for each array in a new table (UEFI specification, section 5.3.1).
const ARRAY_BYTES_MIN: u64 = 16_384;

/// Where the structures of a GPT go.
#[derive(Clone, Copy, Debug)]
pub(super) struct GptPlaces {
    /// Sectors of each array.
    pub(super) array_sectors: u64,
    /// The first sector of the backup array; the backup header is the last sector.
    pub(super) backup_array_lba: u64,
    /// What the structures leave.
    pub(super) usable: Extent,
}

impl GptPlaces {
    /// The places of a new table with arrays of `array_bytes`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the disk is too small.
    pub(super) fn of(sectors: Sectors, array_bytes: u64) -> Result<Self> {
        let array_sectors = sectors.covering(array_bytes);
        let last_lba = sectors.last_lba();
        let backup_array_lba = last_lba.checked_sub(array_sectors);
        backup_array_lba
            .and_then(|backup_array_lba| {
                let first_lba = array_sectors.checked_add(2)?;
                Some(Self {
                    array_sectors,
                    backup_array_lba,
                    usable: sectors.extent(first_lba, backup_array_lba.checked_sub(1)?)?,
                })
            })
            .ok_or_else(|| too_small(sectors))
    }

    /// The usable range beside an array that has at least the space that the specification reserves.
    fn roomy(sectors: Sectors, array_bytes: u64) -> Result<Extent> {
        Ok(Self::of(sectors, array_bytes.max(ARRAY_BYTES_MIN))?.usable)
    }
}

fn too_small(sectors: Sectors) -> Error {
    let (count, bytes) = (sectors.count(), sectors.bytes());
    Error::Invalid(format!(
        "a disk of {count} sectors of {bytes} bytes is too small for a partition table"
    ))
}

fn sectors(geometry: Geometry, sector_bytes: u32) -> Result<Sectors> {
    Sectors::of(geometry, sector_bytes).ok_or_else(|| {
        Error::Invalid(format!(
            "no partition table fits a disk of {} bytes in sectors of {sector_bytes}",
            geometry.size_bytes
        ))
    })
}

impl Scheme {
    /// Length of an entry of a new table, in bytes.
    #[must_use]
    pub const fn entry_bytes(self) -> u32 {
        match self {
            Self::Gpt => 128,
            Self::Mbr => 16,
        }
    }
}

impl Table {
    /// Length of a GPT's partition entry array.
    #[must_use]
    pub fn array_bytes(&self) -> u64 {
        u64::from(self.slots_max).saturating_mul(u64::from(self.entry_bytes))
    }

    /// The smallest disk with room for partitions up to `end_bytes` and for what the table has behind
    /// them: a GPT its backup.
    #[must_use]
    pub fn least_bytes(&self, end_bytes: u64) -> u64 {
        let sector_bytes = u64::from(self.logical_sector_bytes.max(1));
        let backup_bytes = match self.scheme {
            Scheme::Gpt => self
                .array_bytes()
                .div_ceil(sector_bytes)
                .saturating_add(1)
                .saturating_mul(sector_bytes),
            Scheme::Mbr => 0,
        };
        end_bytes.saturating_add(backup_bytes)
    }

    /// An empty GPT of 128 slots for a disk of `geometry`, in its logical sectors.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the disk is too small.
    pub fn new_gpt(geometry: Geometry, disk_guid: Uuid) -> Result<Self> {
        let sectors = sectors(geometry, geometry.logical_sector_bytes)?;
        Ok(Self {
            scheme: Scheme::Gpt,
            disk_guid: Some(disk_guid),
            disk_signature: 0,
            logical_sector_bytes: sectors.bytes(),
            usable: GptPlaces::roomy(sectors, ARRAY_BYTES_MIN)?,
            slots_max: SLOTS,
            entry_bytes: Scheme::Gpt.entry_bytes(),
            partitions: Vec::new(),
        })
    }

    /// An empty MBR for a disk of `geometry`, in its logical sectors. What lies beyond 2^32
    /// sectors is not usable.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the disk is too small.
    pub fn new_mbr(geometry: Geometry, disk_signature: u32) -> Result<Self> {
        let sectors = sectors(geometry, geometry.logical_sector_bytes)?;
        Ok(Self {
            scheme: Scheme::Mbr,
            disk_guid: None,
            disk_signature,
            logical_sector_bytes: sectors.bytes(),
            usable: mbr::usable(sectors).ok_or_else(|| too_small(sectors))?,
            slots_max: 4,
            entry_bytes: Scheme::Mbr.entry_bytes(),
            partitions: Vec::new(),
        })
    }
}

/// `table` for a disk of `size_bytes`: the partitions and the start of the usable range stay, and
/// it ends where the new disk does.
///
/// # Errors
/// [`Error::Invalid`] names the first partition that would not fit.
pub fn relocated(table: &Table, size_bytes: u64) -> Result<Table> {
    let sector_bytes = table.logical_sector_bytes;
    let sectors = sectors(Geometry::new(size_bytes, sector_bytes), sector_bytes)?;
    let array_bytes = table.array_bytes();
    let room = match table.scheme {
        Scheme::Gpt => GptPlaces::of(sectors, array_bytes)?.usable,
        Scheme::Mbr => mbr::usable(sectors).ok_or_else(|| too_small(sectors))?,
    };
    let roomy = match table.scheme {
        Scheme::Gpt => GptPlaces::roomy(sectors, array_bytes).unwrap_or(room),
        Scheme::Mbr => room,
    };
    let ends = table.partitions.iter().map(|it| it.extent.end_bytes());
    let last_end_bytes = ends.max().unwrap_or(0);
    let end_bytes = if last_end_bytes <= roomy.end_bytes() {
        roomy.end_bytes()
    } else {
        room.end_bytes()
    };
    let usable = Extent::between(table.usable.offset_bytes(), end_bytes)
        .ok_or_else(|| too_small(sectors))?;
    if let Some(partition) = table
        .partitions
        .iter()
        .find(|it| !usable.contains(it.extent))
    {
        return Err(Error::Invalid(format!(
            "partition {} ends at {} MiB, and on a disk of {} MiB partitions must end by {} MiB",
            partition.number,
            partition.extent.end_bytes().div_ceil(1 << 20),
            size_bytes >> 20,
            usable.end_bytes() >> 20
        )));
    }
    Ok(Table {
        usable,
        ..table.clone()
    })
}
