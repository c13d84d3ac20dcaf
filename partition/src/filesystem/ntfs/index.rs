//! Names in the root directory (`INDEX_ROOT`, `INDEX_ALLOCATION_BUFFER`, `INDEX_ENTRY`).

use super::mft::{self, Mft};
use super::record::{BITMAP, INDEX_ALLOCATION, INDEX_ROOT, Key, Record, Reference, fix_up};
use super::stream::Stream;
use crate::bytes::{le16, le32, le64, u8_at};
use crate::device::ReadAt;
use crate::error::{Corrupt, Error, Result};

/// A root directory larger than this, of some million names, is not looked through.
const INDEX_BYTES_MAX: u64 = 1 << 30;
/// `INDEX_ENTRY_END`: the last entry of a node, which has no name.
const LAST: u16 = 0x0002;

/// The file of that name (ASCII, in any case) in the root directory.
///
/// All blocks of the index are looked through in the order in which they lie, so that no loop
/// between them and no foreign collation matters.
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
        return Err(record
            .corrupt("$INDEX_ROOT", "an index of names", "nothing")
            .into());
    };
    let Stream::Resident(root) = root else {
        return Err(record
            .corrupt("$INDEX_ROOT", "a value in the record", "clusters")
            .into());
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
        return Err(record
            .corrupt("$BITMAP", "bits of index blocks", "nothing")
            .into());
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
        let count = len_bytes.checked_div(block_bytes).unwrap_or(0);
        for index in 0..count {
            if !self.is_in_use(index)? {
                continue;
            }
            let at = index.saturating_mul(block_bytes);
            self.blocks.read(self.device, geometry, (at, &mut block))?;
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
        let bitmap = &self.bitmap;
        bitmap.read(self.device, &self.mft.geometry, (index / 8, &mut byte))?;
        Ok(byte[0] >> (index % 8) & 1 == 1)
    }
}

/// Entries, and the header (`INDEX_HEADER`) that says where they are.
struct Node<'a> {
    bytes: &'a [u8],
    header: usize,
    offset_bytes: u64,
}

impl Node<'_> {
    fn lookup(&self, name: &str) -> Result<Option<Reference>> {
        let Some(header) = self
            .bytes
            .get(self.header..)
            .filter(|rest| rest.len() >= 0x10)
        else {
            return Err(self.bad("header", "16 bytes", self.bytes.len()));
        };
        let (first, end) = (le32(header, 0), le32(header, 4));
        let range = usize::try_from(first).unwrap_or(usize::MAX)
            ..usize::try_from(end).unwrap_or(usize::MAX);
        let Some(mut rest) = header.get(range).filter(|_| first >= 0x10) else {
            return Err(self.bad(
                "entries",
                "inside the node",
                format!("{first:#x} to {end:#x}"),
            ));
        };
        loop {
            let len = if rest.len() < 0x10 {
                0
            } else {
                usize::from(le16(rest, 8))
            };
            let split = rest.split_at_checked(len).filter(|_| len >= 0x10);
            let Some((entry, after)) = split else {
                return Err(self.bad("entry", "at least 16 bytes in the node", len));
            };
            if le16(entry, 12) & LAST != 0 {
                return Ok(None);
            }
            if self.is_named(entry, name)? {
                return Ok(Some(Reference::parse(le64(entry, 0))));
            }
            rest = after;
        }
    }

    /// Whether the entry's key (`FILE_NAME`) has that name.
    fn is_named(&self, entry: &[u8], name: &str) -> Result<bool> {
        let Some(key) = entry.get(0x10..).filter(|key| key.len() >= 0x42) else {
            return Err(self.bad("file name", "66 bytes in its entry", entry.len()));
        };
        let len = usize::from(u8_at(key, 0x40)).saturating_mul(2);
        let Some(found) = key.get(0x42..len.saturating_add(0x42)) else {
            return Err(self.bad("file name", "inside its entry", len));
        };
        let units = found.as_chunks::<2>().0;
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
