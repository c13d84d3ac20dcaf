//! Directory entry sets: a primary entry and the secondary ones that belong to it (sections 6
//! and 7).

use crate::bytes::{le16, le32, le64, u8_at};
use crate::error::{Corrupt, Error, Result};
use crate::filesystem::cluster::Cluster;
use crate::text::sealed_utf16;

/// EntryType with InUse set.
pub(super) const ALLOCATION_BITMAP: u8 = 0x81;
pub(super) const UP_CASE_TABLE: u8 = 0x82;
pub(super) const VOLUME_LABEL: u8 = 0x83;
const FILE: u8 = 0x85;
const STREAM_EXTENSION: u8 = 0xc0;
const FILE_NAME: u8 = 0xc1;

const IN_USE: u8 = 0x80;
const SECONDARY: u8 = 0x40;
const BENIGN: u8 = 0x20;

/// FileAttributes: a directory.
const DIRECTORY: u16 = 0x10;

/// GeneralPrimaryFlags and GeneralSecondaryFlags.
const ALLOCATION_POSSIBLE: u8 = 1;
const NO_FAT_CHAIN: u8 = 2;

/// One directory entry.
pub(super) type Entry = [u8; 32];

/// Whether an entry ends its directory.
pub(super) const fn is_end(entry: &Entry) -> bool {
    entry[0] == 0
}

/// Whether an entry is one; else it was deleted, or is of no use yet.
pub(super) const fn is_in_use(entry: &Entry) -> bool {
    entry[0] & IN_USE != 0
}

/// How many entries follow a primary one in its set.
pub(super) const fn secondary_count(primary: &Entry) -> u8 {
    match primary[0] {
        // These have other fields there.
        ALLOCATION_BITMAP | UP_CASE_TABLE | VOLUME_LABEL => 0,
        _ => primary[1],
    }
}

/// Clusters that an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allocation {
    /// FirstCluster; `None` when there are none.
    pub(super) first_cluster: Option<Cluster>,
    /// DataLength.
    pub(super) len_bytes: u64,
    /// NoFatChain: they follow each other, and the FAT says nothing of them.
    pub(super) is_contiguous: bool,
}

impl Allocation {
    /// The clusters that a critical primary entry names: always a chain of the FAT.
    pub(super) fn of_primary(entry: &Entry) -> Self {
        Self::new(entry, 0)
    }

    fn new(entry: &Entry, flags: u8) -> Self {
        let (first_cluster, data_length) = (Cluster(le32(entry, 20)), le64(entry, 24));
        Self {
            first_cluster: Some(first_cluster).filter(|&first| first != Cluster::NONE),
            len_bytes: data_length,
            is_contiguous: flags & NO_FAT_CHAIN != 0,
        }
    }
}

/// An allocation, and where the entry set lies that names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    pub(super) allocation: Allocation,
    pub(super) set_bytes: u64,
}

/// What a set describes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    File {
        name: String,
        clusters: Allocation,
    },
    Directory {
        name: String,
        clusters: Allocation,
    },
    /// Something of the filesystem itself.
    Other,
}

/// A directory entry set, its checksum verified where it has one.
#[derive(Debug)]
pub(super) struct EntrySet {
    entries: Vec<Entry>,
    /// Where the primary entry lies on the volume.
    offset_bytes: u64,
}

impl EntrySet {
    /// Takes a primary entry and all secondary ones that it announces.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when they don't make a set; [`Error::Unsupported`] when one of them is
    /// critical and of a type that revision 1.00 does not have.
    pub(super) fn new(entries: Vec<Entry>, offset_bytes: u64) -> Result<Self> {
        let set = Self {
            entries,
            offset_bytes,
        };
        set.check_types()?;
        if set.is_critical() && set.kind() != FILE {
            return Ok(set);
        }
        let set_checksum = le16(set.primary(), 2);
        let expected = checksum(&set.entries);
        if set_checksum != expected {
            let (expected, found) = (format!("{expected:#06x}"), format!("{set_checksum:#06x}"));
            return Err(set.corrupt("SetChecksum", &expected, found));
        }
        Ok(set)
    }

    /// EntryType of the primary entry.
    pub(super) fn kind(&self) -> u8 {
        self.primary()[0]
    }

    pub(super) fn primary(&self) -> &Entry {
        self.entries.first().unwrap_or(&[0; 32])
    }

    pub(super) const fn offset_bytes(&self) -> u64 {
        self.offset_bytes
    }

    /// Whether only the root directory may have such a set.
    pub(super) fn is_of_root(&self) -> bool {
        self.is_critical() && self.kind() != FILE
    }

    fn is_critical(&self) -> bool {
        self.kind() & BENIGN == 0
    }

    pub(super) fn corrupt(&self, field: &'static str, expected: &str, found: String) -> Error {
        let structure = "exFAT directory entry set";
        Corrupt::new(structure, field, self.offset_bytes, expected, found).into()
    }

    fn check_types(&self) -> Result<()> {
        for (index, entry) in self.entries.iter().enumerate() {
            let kind = entry[0];
            let is_secondary = kind & SECONDARY != 0;
            if !is_in_use(entry) || is_secondary != (index > 0) {
                let expected = ["a primary entry", "a secondary entry"][usize::from(index > 0)];
                let found = format!("{kind:#04x} in entry {index}");
                return Err(self.corrupt("EntryType", expected, found));
            }
            let is_known = kind & BENIGN != 0
                || matches!(
                    kind,
                    ALLOCATION_BITMAP
                        | UP_CASE_TABLE
                        | VOLUME_LABEL
                        | FILE
                        | STREAM_EXTENSION
                        | FILE_NAME
                );
            if !is_known {
                let at = self.offset_bytes;
                return Err(Error::unsupported(
                    format!("exFAT directory entry type {kind:#04x} at byte {at:#x}"),
                    "it is critical and not of revision 1.00",
                ));
            }
        }
        Ok(())
    }

    /// What it describes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a file has no stream extension or no name.
    pub(super) fn content(&self) -> Result<Content> {
        if self.kind() != FILE {
            return Ok(Content::Other);
        }
        let stream = self.entries.get(1);
        let Some(stream) = stream.filter(|entry| entry[0] == STREAM_EXTENSION) else {
            let found = stream.map_or(0, |entry| entry[0]);
            let expected = "a stream extension (0xc0) first";
            return Err(self.corrupt("EntryType", expected, format!("{found:#04x}")));
        };
        let name = self.name(stream)?;
        let flags = u8_at(stream, 1);
        let clusters = Allocation::new(stream, flags);
        let has_any = clusters.first_cluster.is_some() || clusters.len_bytes != 0;
        if flags & ALLOCATION_POSSIBLE == 0 && has_any {
            let found = format!("{flags:#04x}");
            return Err(self.corrupt("GeneralSecondaryFlags", "AllocationPossible", found));
        }
        let file_attributes = le16(self.primary(), 4);
        if file_attributes & DIRECTORY != 0 {
            return Ok(Content::Directory { name, clusters });
        }
        Ok(Content::File { name, clusters })
    }

    /// FileName of as many entries as NameLength needs.
    fn name(&self, stream: &Entry) -> Result<String> {
        let name_length = usize::from(u8_at(stream, 3));
        let parts = self.entries.iter().skip(2);
        let units: Vec<u16> = parts
            .take_while(|entry| entry[0] == FILE_NAME)
            .flat_map(|entry| (2..32).step_by(2).map(|at| le16(entry, at)))
            .collect();
        match units.get(..name_length).filter(|_| name_length > 0) {
            Some(name) => Ok(sealed_utf16(name.iter().copied())),
            None => {
                let expected = format!("1 to {}, as there are file name entries", units.len());
                Err(self.corrupt("NameLength", &expected, name_length.to_string()))
            }
        }
    }

    /// The clusters that its entries name by the templates (sections 6.3 and 6.4), without the clusters of a
    /// file's contents.
    pub(super) fn other_allocations(&self) -> impl Iterator<Item = Allocation> {
        self.entries
            .iter()
            .enumerate()
            .filter_map(|(index, entry)| {
                let flags = match entry[0] {
                    ALLOCATION_BITMAP | UP_CASE_TABLE => {
                        return Some(Allocation::of_primary(entry));
                    }
                    VOLUME_LABEL | FILE | FILE_NAME => return None,
                    // Content has it.
                    STREAM_EXTENSION if index == 1 && self.kind() == FILE => return None,
                    _ if index == 0 => u8_at(entry, 4),
                    _ => u8_at(entry, 1),
                };
                (flags & ALLOCATION_POSSIBLE != 0).then(|| Allocation::new(entry, flags))
            })
    }
}

/// EntrySetChecksum (section 6.3.3), without itself.
pub(super) fn checksum(entries: &[Entry]) -> u16 {
    let bytes = entries.as_flattened().iter().enumerate();
    bytes
        .filter(|(index, _)| !matches!(index, 2 | 3))
        .fold(0, |sum: u16, (_, &byte)| {
            sum.rotate_right(1).wrapping_add(u16::from(byte))
        })
}
