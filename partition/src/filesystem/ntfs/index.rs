//! Names in the root directory: `INDEX_ROOT`, `INDEX_BLOCK`, `INDEX_HEADER`, `INDEX_ENTRY`.
//!
//! Linux-NTFS documentation, "Index Record":
//! <https://flatcap.github.io/linux-ntfs/ntfs/concepts/index_record.html>.

use super::mft::{self, Mft};
use super::record::{BITMAP, INDEX_ALLOCATION, INDEX_ROOT, Key, Record, Reference, fix_up};
use super::stream::Stream;
use crate::bytes::{le16, le32, le64, u8_at};
use crate::device::ReadAt;
use crate::error::{Corrupt, Error, Result};
use crate::filesystem::bits::{Order, is_set};

/// A root directory that is larger has some million names, and is not looked through.
const INDEX_BYTES_MAX: u64 = 1 << 30;
/// `INDEX_ENTRY_END`: the last entry of a node, which has no name.
const LAST: u16 = 0x0002;

/// The file of this name (ASCII, in any case) in the root directory.
///
/// All blocks of the index are looked through in the order in which they lie. So neither a loop
/// between them nor a foreign collation matters.
///
/// # Errors
/// [`Error::Corrupt`] when the index contradicts itself.
pub(super) fn lookup_in_root(
    mft: &Mft,
    device: &dyn ReadAt,
    name: &str,
) -> Result<Option<Reference>> {
    let record = mft.record(device, mft::ROOT)?;
    let Some(root) = mft.stream(device, &record, Key::index(INDEX_ROOT))? else {
        let expected = "an index of names";
        return Err(record.corrupt("$INDEX_ROOT", expected, "nothing").into());
    };
    let Stream::Resident(root) = root else {
        let expected = "a value in the record";
        return Err(record.corrupt("$INDEX_ROOT", expected, "clusters").into());
    };
    let node = Node {
        bytes: &root,
        header: 0x10,
        offset_bytes: record.offset_bytes,
    };
    if let Some(found) = node.lookup(name)? {
        return Ok(Some(found));
    }
    let Some(blocks) = mft.stream(device, &record, Key::index(INDEX_ALLOCATION))? else {
        return Ok(None);
    };
    let Some(bitmap) = mft.stream(device, &record, Key::index(BITMAP))? else {
        let expected = "bits of index blocks";
        return Err(record.corrupt("$BITMAP", expected, "nothing").into());
    };
    let blocks = Blocks {
        mft,
        device,
        record: &record,
        blocks,
        bitmap,
    };
    blocks.lookup(name)
}

/// The blocks of an index that are not in its root.
struct Blocks<'a> {
    mft: &'a Mft,
    device: &'a dyn ReadAt,
    record: &'a Record,
    blocks: Stream,
    bitmap: Stream,
}

impl Blocks<'_> {
    fn lookup(&self, name: &str) -> Result<Option<Reference>> {
        let len_bytes = self.blocks.written_bytes();
        if len_bytes > INDEX_BYTES_MAX || !self.blocks.is_plain() {
            return Err(Error::unsupported(
                format!("a root directory of {len_bytes} bytes"),
                "it is not looked through for a hibernated Windows",
            ));
        }
        let geometry = &self.mft.geometry;
        let mut block = vec![0; geometry.index_bytes];
        let block_bytes = geometry.index_bytes as u64;
        for index in 0..len_bytes / block_bytes {
            if !self.is_in_use(index)? {
                continue;
            }
            let at = index * block_bytes;
            self.blocks.read(self.device, geometry, at, &mut block)?;
            let offset_bytes = self.blocks.place_bytes(geometry, at);
            if !block.starts_with(b"INDX") {
                let found = format!("{:02x?}", block.get(..4).unwrap_or_default());
                let bad = Corrupt::new("NTFS index block", "magic", offset_bytes, "INDX", found);
                return Err(bad.into());
            }
            fix_up(&mut block, "NTFS index block", offset_bytes)?;
            let node = Node {
                bytes: &block,
                header: 0x18,
                offset_bytes,
            };
            if let Some(found) = node.lookup(name)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn is_in_use(&self, index: u64) -> Result<bool> {
        if index / 8 >= self.bitmap.written_bytes() {
            let expected = format!("a bit for index block {index}");
            return Err(self.record.corrupt("$BITMAP", expected, "its end").into());
        }
        let mut byte = [0];
        let geometry = &self.mft.geometry;
        let in_bitmap = index / 8;
        self.bitmap
            .read(self.device, geometry, in_bitmap, &mut byte)?;
        Ok(is_set(&byte, Order::LeastFirst, index % 8) == Some(true))
    }
}

/// Entries, and the header (`INDEX_HEADER`) that says where they are.
struct Node<'a> {
    bytes: &'a [u8],
    /// Where the header is in `bytes`.
    header: usize,
    offset_bytes: u64,
}

impl Node<'_> {
    fn lookup(&self, name: &str) -> Result<Option<Reference>> {
        let header = self.bytes.get(self.header..);
        let Some(header) = header.filter(|rest| rest.len() >= 0x10) else {
            return Err(self.bad("header", "16 bytes", self.bytes.len()));
        };
        let entries_offset = le32(header, 0x00);
        let index_length = le32(header, 0x04);
        let range = entries_offset as usize..index_length as usize;
        let Some(mut rest) = header.get(range).filter(|_| entries_offset >= 0x10) else {
            let found = format!("{entries_offset:#x} to {index_length:#x}");
            return Err(self.bad("entries", "inside the node", found));
        };
        loop {
            let length = if rest.len() < 0x10 {
                0
            } else {
                usize::from(le16(rest, 0x08))
            };
            let split = rest.split_at_checked(length).filter(|_| length >= 0x10);
            let Some((entry, after)) = split else {
                return Err(self.bad("entry", "at least 16 bytes in the node", length));
            };
            let indexed_file = Reference::parse(le64(entry, 0x00));
            let flags = le16(entry, 0x0c);
            if flags & LAST != 0 {
                return Ok(None);
            }
            if self.is_named(entry, name)? {
                return Ok(Some(indexed_file));
            }
            rest = after;
        }
    }

    /// Whether the entry's key (`FILE_NAME_ATTR`) has this name.
    fn is_named(&self, entry: &[u8], name: &str) -> Result<bool> {
        let key = entry.get(0x10..).filter(|key| key.len() >= 0x42);
        let Some(key) = key else {
            return Err(self.bad("file name", "66 bytes in its entry", entry.len()));
        };
        let file_name_length = usize::from(u8_at(key, 0x40));
        let Some(file_name) = key.get(0x42..0x42 + file_name_length * 2) else {
            let found = file_name_length * 2;
            return Err(self.bad("file name", "inside its entry", found));
        };
        let units = file_name.as_chunks::<2>().0;
        let is_same = |(unit, wanted): (&[u8; 2], u8)| {
            let unit = u16::from_le_bytes(*unit);
            u8::try_from(unit).is_ok_and(|unit| unit.eq_ignore_ascii_case(&wanted))
        };
        Ok(units.len() == name.len() && units.iter().zip(name.bytes()).all(is_same))
    }

    fn bad(&self, field: &'static str, expected: &str, found: impl std::fmt::Display) -> Error {
        Corrupt::new("NTFS index", field, self.offset_bytes, expected, found).into()
    }
}
