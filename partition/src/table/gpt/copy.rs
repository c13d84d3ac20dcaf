//! One copy of a GPT: its header and its array.

use super::entries::Entries;
use crate::bytes::{le32, le64};
use crate::device::{ReadAt, read_vec};
use crate::error::{Error, Result};
use crate::table::guard::{Header, SIGNATURE};
use crate::table::sectors::Sectors;

/// One copy of the table.
pub(in crate::table) struct Copy {
    pub(super) lba: u64,
    sector: Vec<u8>,
    pub(super) has_signature: bool,
    /// The header, then whether its own array is intact.
    pub(super) header: Result<Header>,
    array: Result<Vec<u8>>,
}

impl Copy {
    pub(super) fn load(disk: &dyn ReadAt, sectors: Sectors, lba: u64) -> Self {
        let sector = read_vec(disk, sectors.offset_bytes(lba), sectors.len());
        let has_signature = sector
            .as_ref()
            .is_ok_and(|sector| sector.starts_with(SIGNATURE));
        let (sector, header) = match sector {
            Ok(sector) => {
                let header = Header::parse(&sector, sectors, lba);
                (sector, header)
            }
            Err(error) => (Vec::new(), Err(error)),
        };
        let array = match &header {
            Ok(header) => header.read_array(disk, sectors, header.array_lba),
            Err(_) => Ok(Vec::new()),
        };
        Self {
            lba,
            sector,
            has_signature,
            header,
            array,
        }
    }

    /// The sector that it was looked for in.
    pub(in crate::table) const fn lba(&self) -> u64 {
        self.lba
    }

    /// The header, if it is intact.
    pub(in crate::table) fn header(&self) -> Option<&Header> {
        self.header.as_ref().ok()
    }

    /// The header's sector, if the header is intact.
    pub(in crate::table) fn header_sector(&self) -> Option<&[u8]> {
        self.header().map(|_| &*self.sector)
    }

    /// The array, if header and array are intact.
    pub(in crate::table) fn array(&self) -> Option<&[u8]> {
        self.intact().map(|entries| entries.array)
    }

    /// `PartitionEntryLBA` of a header that may be damaged.
    pub(super) fn named(&self) -> Option<u64> {
        (self.sector.len() >= 80).then(|| le64(&self.sector, 72))
    }

    /// `PartitionEntryArrayCRC32` of a header that may be damaged.
    pub(super) fn named_array_crc32(&self) -> Option<u32> {
        (self.has_signature && self.sector.len() >= 92).then(|| le32(&self.sector, 88))
    }

    /// Whether header and array are intact.
    pub(in crate::table) fn is_intact(&self) -> bool {
        self.intact().is_some()
    }

    /// What is wrong with it, in words.
    pub(super) fn damage(&self) -> Option<String> {
        let header = self.header.as_ref().err();
        header
            .or(self.array.as_ref().err())
            .map(ToString::to_string)
    }

    pub(super) fn intact(&self) -> Option<Entries<'_>> {
        Some(Entries {
            header: self.header.as_ref().ok()?,
            array: self.array.as_deref().ok()?,
        })
    }

    /// The error that stands for this copy when no other can be used.
    pub(super) fn into_error(self) -> Option<Error> {
        self.header.err().or(self.array.err())
    }
}
