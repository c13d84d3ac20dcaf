//! File records (`FILE_RECORD_SEGMENT_HEADER`) and other blocks with an update sequence.

use super::boot::BLOCK_BYTES;
use super::runs::Pairs;
use crate::bytes::{le16, le32, le64, u8_at};
use crate::error::Corrupt;

type Checked<T> = std::result::Result<T, Corrupt>;

pub(super) const STANDARD_ATTRIBUTE_LIST: u32 = 0x20;
pub(super) const FILE_NAME: u32 = 0x30;
pub(super) const VOLUME_NAME: u32 = 0x60;
pub(super) const VOLUME_INFORMATION: u32 = 0x70;
pub(super) const DATA: u32 = 0x80;
pub(super) const INDEX_ROOT: u32 = 0x90;
pub(super) const INDEX_ALLOCATION: u32 = 0xa0;
pub(super) const BITMAP: u32 = 0xb0;
const END: u32 = 0xffff_ffff;

/// `FILE_RECORD_SEGMENT_IN_USE`
const IN_USE: u16 = 0x0001;
/// Marks of files below `$Extend` and of indexes other than directories.
const SYSTEM: u16 = 0x0004 | 0x0008;

/// Checks the update sequence of a block and puts the bytes back that it stands for.
///
/// # Errors
/// [`Corrupt`] when the array lies outside of the block or a sector was not written with the
/// others.
pub(super) fn fix_up(block: &mut [u8], structure: &'static str, offset_bytes: u64) -> Checked<()> {
    let bad = |field, expected: String, found: String| {
        Err(Corrupt::new(
            structure,
            field,
            offset_bytes,
            expected,
            found,
        ))
    };
    let (start, count) = (usize::from(le16(block, 4)), usize::from(le16(block, 6)));
    let sectors = block.len() / BLOCK_BYTES;
    let end = start.saturating_add(count.saturating_mul(2));
    let is_inside = start >= 0x18 && start.is_multiple_of(2) && end <= BLOCK_BYTES - 2;
    if count != sectors.saturating_add(1) || !is_inside {
        let expected = format!("{} numbers in the first sector", sectors.saturating_add(1));
        return bad(
            "update sequence array",
            expected,
            format!("{count} at {start:#x}"),
        );
    }
    let array = block.get(start..end).unwrap_or_default().to_vec();
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
            return bad(
                "update sequence number",
                expected,
                format!("{:#06x}", le16(last, 0)),
            );
        }
        last.copy_from_slice(saved);
    }
    Ok(())
}

/// A file record whose update sequence has been checked.
#[derive(Clone, Debug)]
pub(super) struct Record {
    bytes: Vec<u8>,
    pub(super) number: u64,
    /// Position on the volume, for messages.
    pub(super) offset_bytes: u64,
}

impl Record {
    /// Checks the header of a record as it is on the disk.
    ///
    /// # Errors
    /// [`Corrupt`] when it is no file record, was torn, or its header contradicts itself.
    pub(super) fn parse(mut bytes: Vec<u8>, number: u64, offset_bytes: u64) -> Checked<Self> {
        if !is_file_record(&bytes) {
            let found = format!("{:02x?}", bytes.get(..4).unwrap_or_default());
            return Err(bad(offset_bytes, "magic", "\"FILE\"", found));
        }
        fix_up(&mut bytes, "NTFS file record", offset_bytes)?;
        let (first, used) = (le16(&bytes, 0x14), le32(&bytes, 0x18));
        let used_len = usize::try_from(used).unwrap_or(usize::MAX);
        let fits = used_len <= bytes.len() && usize::from(first) <= used_len;
        if !fits || first < 0x2a || !first.is_multiple_of(4) {
            let expected = format!("attributes within {} bytes", bytes.len());
            let found = format!("{first:#x} to {used:#x}");
            return Err(bad(offset_bytes, "first_attribute_offset", expected, found));
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

    fn flags(&self) -> u16 {
        le16(&self.bytes, 0x16)
    }

    pub(super) fn sequence_number(&self) -> u16 {
        le16(&self.bytes, 0x10)
    }

    /// The record that this one extends; `None` for a base record.
    pub(super) fn base(&self) -> Option<Reference> {
        let raw = le64(&self.bytes, 0x20);
        (raw != 0).then(|| Reference::parse(raw))
    }

    /// What is in use of it.
    pub(super) fn content(&self) -> &[u8] {
        let used = usize::try_from(le32(&self.bytes, 0x18)).unwrap_or(usize::MAX);
        self.bytes.get(..used).unwrap_or(&self.bytes)
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
    pub(super) fn find(&self, key: Key<'_>, lowest_vcn: u64) -> Checked<Option<Attribute<'_>>> {
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
    pub(super) number: u64,
    pub(super) sequence: u16,
}

impl Reference {
    pub(super) const fn parse(raw: u64) -> Self {
        Self {
            number: raw & 0xffff_ffff_ffff,
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

/// An attribute (`ATTRIBUTE_RECORD_HEADER`) whose parts lie inside its record.
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
        let len = usize::try_from(le32(self.bytes, 0x10)).ok()?;
        let start = usize::from(le16(self.bytes, 0x14));
        self.bytes.get(start..start.checked_add(len)?)
    }

    /// Where the value starts in the record, if it is there.
    pub(super) fn value_start(&self) -> usize {
        usize::from(le16(self.bytes, 0x14)).saturating_add(self.at)
    }

    pub(super) fn is_nonresident(&self) -> bool {
        u8_at(self.bytes, 8) != 0
    }

    pub(super) fn lowest_vcn(&self) -> u64 {
        if self.is_nonresident() {
            le64(self.bytes, 0x10)
        } else {
            0
        }
    }

    pub(super) fn highest_vcn(&self) -> u64 {
        le64(self.bytes, 0x18)
    }

    /// Valid in the part with `lowest_vcn` 0: size of the value, and how much of it was written.
    pub(super) fn sizes(&self) -> (u64, u64) {
        (le64(self.bytes, 0x30), le64(self.bytes, 0x38))
    }

    /// The mapping pairs of a nonresident attribute.
    pub(super) fn pairs(&self) -> Pairs<'a> {
        let start = usize::from(le16(self.bytes, 0x20));
        Pairs {
            bytes: self.bytes.get(start..).unwrap_or_default(),
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
        let len = le32(rest, 4);
        let bytes = usize::try_from(len).ok().and_then(|len| rest.get(..len));
        let Some(bytes) = bytes.filter(|_| len >= 0x18 && len.is_multiple_of(8)) else {
            return bad("attribute length", len.into());
        };
        let attribute = self.checked(bytes)?;
        self.at = self.at.saturating_add(bytes.len());
        Ok(Some(attribute))
    }

    fn checked(&self, bytes: &'a [u8]) -> Checked<Attribute<'a>> {
        let code = le32(bytes, 0);
        let bad = |field| {
            let found = format!("attribute {code:#x} at {:#x}", self.at);
            Err(self.record.corrupt(field, "inside its attribute", found))
        };
        let name_len = usize::from(u8_at(bytes, 9)).saturating_mul(2);
        let name_start = if name_len == 0 {
            0
        } else {
            usize::from(le16(bytes, 0x0a))
        };
        let name_end = name_start.saturating_add(name_len);
        let Some(name) = bytes.get(name_start..name_end) else {
            return bad("name");
        };
        let attribute = Attribute {
            bytes,
            key: Key { code, name },
            at: self.at,
            offset_bytes: self.record.offset_bytes,
        };
        if attribute.is_nonresident() {
            let is_sound = bytes.len() > 0x40 && usize::from(le16(bytes, 0x20)) >= 0x40;
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
