//! File records and other blocks with an update sequence: `MFT_RECORD`, `ATTR_RECORD`.
//!
//! Linux-NTFS documentation, "File Record", "Fixup" and "Attribute Header":
//! <https://flatcap.github.io/linux-ntfs/ntfs/concepts/file_record.html>.

use super::address::{RecordNumber, Vcn};
use super::boot::BLOCK_BYTES;
use super::runs::Pairs;
use crate::bytes::{le16, le32, le64, u8_at};
use crate::error::{Checked, Corrupt};

pub(super) const STANDARD_INFORMATION: u32 = 0x10;
pub(super) const ATTRIBUTE_LIST: u32 = 0x20;
pub(super) const FILE_NAME: u32 = 0x30;
pub(super) const VOLUME_NAME: u32 = 0x60;
pub(super) const VOLUME_INFORMATION: u32 = 0x70;
pub(super) const DATA: u32 = 0x80;
pub(super) const INDEX_ROOT: u32 = 0x90;
pub(super) const INDEX_ALLOCATION: u32 = 0xa0;
pub(super) const BITMAP: u32 = 0xb0;
const END: u32 = 0xffff_ffff;

/// `MFT_RECORD_IN_USE`
const IN_USE: u16 = 0x0001;
/// `MFT_RECORD_IS_DIRECTORY`
const DIRECTORY: u16 = 0x0002;
/// Marks of files below `$Extend` and of indexes other than directories.
const SYSTEM: u16 = 0x0004 | 0x0008;

/// Checks the update sequence of a block, and puts the bytes back that it replaced.
///
/// # Errors
/// [`Corrupt`] when the array lies outside of the block or a sector was not written with the
/// others.
pub(super) fn fix_up(block: &mut [u8], structure: &'static str, offset_bytes: u64) -> Checked {
    let bad = |field, expected: String, found: String| {
        Err(Corrupt::new(
            structure,
            field,
            offset_bytes,
            expected,
            found,
        ))
    };
    let usa_ofs = usize::from(le16(block, 0x04));
    let usa_count = usize::from(le16(block, 0x06));
    // One number that each sector must end with, and one for each that the sector ended with.
    let needed = block.len() / BLOCK_BYTES + 1;
    let end = usa_ofs + usa_count * 2;
    let is_inside = usa_ofs >= 0x18 && usa_ofs.is_multiple_of(2) && end <= BLOCK_BYTES - 2;
    if usa_count != needed || !is_inside {
        let expected = format!("{needed} numbers in the first sector");
        let found = format!("{usa_count} at {usa_ofs:#x}");
        return bad("update sequence array", expected, found);
    }
    let array = block.get(usa_ofs..end).unwrap_or_default().to_vec();
    let (number, saved) = array.split_at_checked(2).unwrap_or_default();
    let pairs = block
        .chunks_exact_mut(BLOCK_BYTES)
        .zip(saved.chunks_exact(2));
    for (index, (sector, saved)) in pairs.enumerate() {
        let Some(last) = sector.last_chunk_mut::<2>() else {
            continue;
        };
        if last[..] != *number {
            let expected = format!("{:#06x} at the end of sector {index}", le16(number, 0));
            let found = format!("{:#06x}", le16(last, 0));
            return bad("update sequence number", expected, found);
        }
        last.copy_from_slice(saved);
    }
    Ok(())
}

/// A file record whose update sequence has been checked.
#[derive(Clone, Debug)]
pub(super) struct Record {
    bytes: Vec<u8>,
    pub(super) number: RecordNumber,
    /// Position on the volume, for messages.
    pub(super) offset_bytes: u64,
}

impl Record {
    /// Checks the header of a record as it is on the disk.
    ///
    /// # Errors
    /// [`Corrupt`] when it is no file record, was torn, or its header contradicts itself.
    pub(super) fn parse(
        mut bytes: Vec<u8>,
        number: RecordNumber,
        offset_bytes: u64,
    ) -> Checked<Self> {
        if !is_file_record(&bytes) {
            let found = format!("{:02x?}", bytes.get(..4).unwrap_or_default());
            return Err(bad(offset_bytes, "magic", "\"FILE\"", found));
        }
        fix_up(&mut bytes, "NTFS file record", offset_bytes)?;
        let attrs_offset = le16(&bytes, 0x14);
        let bytes_in_use = le32(&bytes, 0x18);
        let fits = bytes_in_use as usize <= bytes.len() && u32::from(attrs_offset) <= bytes_in_use;
        if !fits || attrs_offset < 0x2a || !attrs_offset.is_multiple_of(4) {
            let expected = format!("attributes within {} bytes", bytes.len());
            let found = format!("{attrs_offset:#x} to {bytes_in_use:#x}");
            return Err(bad(offset_bytes, "attrs_offset", expected, found));
        }
        Ok(Self {
            bytes,
            number,
            offset_bytes,
        })
    }

    pub(super) fn is_in_use(&self) -> bool {
        self.flags() & IN_USE != 0
    }

    /// Whether it is one of the filesystem's own files below `$Extend`.
    pub(super) fn is_system(&self) -> bool {
        self.flags() & SYSTEM != 0
    }

    pub(super) fn is_directory(&self) -> bool {
        self.flags() & DIRECTORY != 0
    }

    fn flags(&self) -> u16 {
        le16(&self.bytes, 0x16)
    }

    pub(super) fn sequence_number(&self) -> u16 {
        le16(&self.bytes, 0x10)
    }

    /// The record that this one extends; `None` for a base record.
    pub(super) fn base(&self) -> Option<Reference> {
        let base_mft_record = le64(&self.bytes, 0x20);
        (base_mft_record != 0).then(|| Reference::parse(base_mft_record))
    }

    /// The number of the base record: the record itself, or the one that it extends.
    pub(super) fn base_number(&self) -> RecordNumber {
        self.base().map_or(self.number, |base| base.number)
    }

    /// The part of the record that is in use.
    pub(super) fn content(&self) -> &[u8] {
        let bytes_in_use = le32(&self.bytes, 0x18);
        self.bytes
            .get(..bytes_in_use as usize)
            .unwrap_or(&self.bytes)
    }

    /// All attributes in it, in order.
    pub(super) fn attributes(&self) -> Attributes<'_> {
        Attributes {
            record: self,
            at: usize::from(le16(&self.bytes, 0x14)),
            is_done: false,
        }
    }

    /// The first attribute of a type and name with `lowest_vcn`, if it is in this record.
    ///
    /// # Errors
    /// [`Corrupt`] when an attribute before it contradicts itself.
    pub(super) fn find(&self, key: Key<'_>, lowest_vcn: Vcn) -> Checked<Option<Attribute<'_>>> {
        for attribute in self.attributes() {
            let attribute = attribute?;
            if attribute.is(key) && attribute.lowest_vcn() == lowest_vcn {
                return Ok(Some(attribute));
            }
        }
        Ok(None)
    }

    /// A corrupt field of this record.
    pub(super) fn corrupt(
        &self,
        field: &'static str,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Corrupt {
        let found = format!("{found} in record {}", self.number);
        bad(self.offset_bytes, field, expected, found)
    }
}

/// Whether the bytes start as a file record does.
pub(super) fn is_file_record(bytes: &[u8]) -> bool {
    bytes.starts_with(b"FILE")
}

fn bad(
    offset_bytes: u64,
    field: &'static str,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Corrupt {
    Corrupt::new("NTFS file record", field, offset_bytes, expected, found)
}

/// A file reference: the number of a record, and how often it was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) number: RecordNumber,
    pub(super) sequence: u16,
}

impl Reference {
    pub(super) const fn parse(raw: u64) -> Self {
        Self {
            number: RecordNumber(raw & 0xffff_ffff_ffff),
            sequence: (raw >> 48) as u16,
        }
    }
}

/// Type code and name (UTF-16LE; empty for none) of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key<'a> {
    pub(super) code: u32,
    pub(super) name: &'a [u8],
}

impl Key<'_> {
    pub(super) const fn unnamed(code: u32) -> Self {
        Self { code, name: &[] }
    }

    /// `$Bad`, the clusters of `$BadClus`.
    pub(super) const fn bad_clusters() -> Self {
        Self {
            code: DATA,
            name: b"$\0B\0a\0d\0",
        }
    }

    /// `$I30`, the index of file names.
    pub(super) const fn index(code: u32) -> Self {
        Self {
            code,
            name: b"$\0I\x003\x000\0",
        }
    }
}

/// An attribute (`ATTR_RECORD`) whose parts lie inside its record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute<'a> {
    bytes: &'a [u8],
    pub(super) key: Key<'a>,
    /// Where it starts in its record.
    at: usize,
    offset_bytes: u64,
}

impl<'a> Attribute<'a> {
    pub(super) fn is(&self, key: Key<'_>) -> bool {
        self.key == key
    }

    /// Compressed, encrypted or sparse.
    pub(super) fn flags(&self) -> u16 {
        le16(self.bytes, 0x0c)
    }

    /// The value, if it is in the record.
    pub(super) fn resident(&self) -> Option<&'a [u8]> {
        if self.is_nonresident() {
            return None;
        }
        let value_length = le32(self.bytes, 0x10);
        let value_offset = le16(self.bytes, 0x14);
        let value = self.bytes.get(value_offset.into()..)?;
        value.get(..value_length as usize)
    }

    /// Where the value starts in the record, if it is there.
    pub(super) fn value_start(&self) -> usize {
        let value_offset = le16(self.bytes, 0x14);
        self.at + usize::from(value_offset)
    }

    pub(super) fn is_nonresident(&self) -> bool {
        let non_resident = u8_at(self.bytes, 0x08);
        non_resident != 0
    }

    /// The first cluster of the attribute that a nonresident part has; 0 for one in the record.
    pub(super) fn lowest_vcn(&self) -> Vcn {
        if self.is_nonresident() {
            Vcn(le64(self.bytes, 0x10))
        } else {
            Vcn(0)
        }
    }

    /// The last cluster of the attribute that a nonresident part has.
    pub(super) fn highest_vcn(&self) -> i64 {
        le64(self.bytes, 0x18).cast_signed()
    }

    /// Size of the value of a nonresident attribute. The part with `lowest_vcn` 0 has it.
    pub(super) fn data_bytes(&self) -> u64 {
        le64(self.bytes, 0x30)
    }

    /// How much of the value of a nonresident attribute was written. The part with `lowest_vcn` 0
    /// has it.
    pub(super) fn initialized_bytes(&self) -> u64 {
        le64(self.bytes, 0x38)
    }

    /// The mapping pairs of a nonresident attribute.
    pub(super) fn pairs(&self) -> Pairs<'a> {
        let mapping_pairs_offset = usize::from(le16(self.bytes, 0x20));
        Pairs {
            bytes: self.bytes.get(mapping_pairs_offset..).unwrap_or_default(),
            lowest_vcn: self.lowest_vcn(),
            offset_bytes: self.offset_bytes,
        }
    }
}

/// The attributes of a record, each checked.
pub(super) struct Attributes<'a> {
    record: &'a Record,
    at: usize,
    is_done: bool,
}

impl<'a> Attributes<'a> {
    fn parse(&mut self) -> Checked<Option<Attribute<'a>>> {
        let content = self.record.content();
        let rest = content.get(self.at..).unwrap_or_default();
        if rest.len() >= 4 && le32(rest, 0) == END {
            return Ok(None);
        }
        let bad = |field, found: u64| {
            let expected = format!("inside the {:#x} bytes of the record", content.len());
            Err(self
                .record
                .corrupt(field, expected, format!("{found:#x} at {:#x}", self.at)))
        };
        if rest.len() < 0x18 {
            return bad("attribute header", rest.len() as u64);
        }
        let length = le32(rest, 0x04);
        let bytes = rest.get(..length as usize);
        let Some(bytes) = bytes.filter(|_| length >= 0x18 && length.is_multiple_of(8)) else {
            return bad("attribute length", length.into());
        };
        let attribute = self.checked(bytes)?;
        self.at += bytes.len();
        Ok(Some(attribute))
    }

    fn checked(&self, bytes: &'a [u8]) -> Checked<Attribute<'a>> {
        let attribute_type = le32(bytes, 0x00);
        let name_length = usize::from(u8_at(bytes, 0x09));
        let name_offset = usize::from(le16(bytes, 0x0a));
        let bad = |field| {
            let found = format!("attribute {attribute_type:#x} at {:#x}", self.at);
            Err(self.record.corrupt(field, "inside its attribute", found))
        };
        // A name is UTF-16.
        let name_len = name_length * 2;
        let name_start = if name_len == 0 { 0 } else { name_offset };
        let Some(name) = bytes.get(name_start..name_start + name_len) else {
            return bad("name");
        };
        let attribute = Attribute {
            bytes,
            key: Key {
                code: attribute_type,
                name,
            },
            at: self.at,
            offset_bytes: self.record.offset_bytes,
        };
        if attribute.is_nonresident() {
            let is_sound = bytes.len() > 0x40 && le16(bytes, 0x20) >= 0x40;
            return if is_sound {
                Ok(attribute)
            } else {
                bad("mapping pairs")
            };
        }
        if attribute.resident().is_none() {
            return bad("value");
        }
        Ok(attribute)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Checked<Attribute<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let found = self.parse().transpose();
        self.is_done = !matches!(found, Some(Ok(_)));
        found
    }
}
