//! Metadata areas: a header, and after it a ring in which the text of the metadata goes around.
//!
//! Layouts of `mda_header` and `raw_locn` (lvm2, `lib/format_text/layout.h`).

use super::label::{Area, crc};
use crate::bytes::{le32, le64};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Error, Result};

const STRUCTURE: &str = "LVM2 mda_header";
/// `MDA_HEADER_SIZE`; the ring starts after it.
const HEADER_BYTES: u64 = 512;
/// `FMTT_MAGIC`
const MAGIC: &[u8; 16] = b" LVM2 x[5A%r0N*>";
/// `FMTT_VERSION`
const VERSION: u32 = 1;
/// `RAW_LOCN_IGNORED`
const IGNORED: u32 = 1;
/// Longer texts are left to a copy of the whole volume: this one has room for some ten thousand
/// logical volumes.
const TEXT_BYTES_MAX: u64 = 16 << 20;

/// What a metadata area holds.
pub(super) struct Contents {
    pub(super) text: Text,
    /// Whether a change was written and not committed (`raw_locns[1]`).
    pub(super) has_precommitted: bool,
}

/// The text in a metadata area.
pub(super) enum Text {
    /// The area is not kept up to date.
    Ignored,
    /// None was ever written, or it was withdrawn: no volume group.
    Empty,
    /// Its checksum is right.
    Committed(Committed),
}

/// A text that is valid.
pub(super) struct Committed {
    /// Where it starts on the device.
    pub(super) offset_bytes: u64,
    pub(super) bytes: Vec<u8>,
}

/// Where a text lies in its area (`raw_locn`).
struct Location {
    offset_bytes: u64,
    len_bytes: u64,
    checksum: u32,
    flags: u32,
}

impl Location {
    fn parse(raw: &[u8], at: usize) -> Self {
        Self {
            offset_bytes: le64(raw, at),
            len_bytes: le64(raw, at + 8),
            checksum: le32(raw, at + 16),
            flags: le32(raw, at + 20),
        }
    }

    const fn is_empty(&self) -> bool {
        self.offset_bytes == 0 && self.len_bytes == 0
    }
}

/// Reads what the metadata area at `area`, which lies on the volume, holds.
///
/// # Errors
/// [`Error::Corrupt`] when its header or its text fails a check; [`Error::Unsupported`] for
/// unknown flags or too long a text.
pub(super) fn read(volume: &dyn ReadAt, area: Area) -> Result<Contents> {
    let header = read_vec(volume, area.offset_bytes, HEADER_BYTES as usize)?;
    check(&header, area)?;
    // raw_locns
    let committed = Location::parse(&header, 40);
    let precommitted = Location::parse(&header, 64);
    let unknown = (committed.flags | precommitted.flags) & !IGNORED;
    if unknown != 0 {
        return Err(Error::unsupported(
            format!("an LVM2 metadata area with flags {unknown:#x}"),
            "klon does not know these flags",
        ));
    }
    let text = if committed.flags & IGNORED != 0 {
        Text::Ignored
    } else if committed.is_empty() {
        Text::Empty
    } else {
        text(volume, area, &committed)?
    };
    Ok(Contents {
        text,
        has_precommitted: !precommitted.is_empty(),
    })
}

fn corrupt(
    area: Area,
    field: &'static str,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Error {
    Corrupt::new(STRUCTURE, field, area.offset_bytes, expected, found).into()
}

fn check(header: &[u8], area: Area) -> Result<()> {
    let (checksum_xl, magic) = (le32(header, 0), header.get(4..20));
    let (version, start, size) = (le32(header, 20), le64(header, 24), le64(header, 32));
    let computed = crc(header.get(4..).unwrap_or_default());
    if checksum_xl != computed {
        let (expected, found) = (format!("{computed:#010x}"), format!("{checksum_xl:#010x}"));
        return Err(corrupt(area, "checksum_xl", expected, found));
    }
    if magic != Some(MAGIC) {
        let expected = "\" LVM2 x[5A%r0N*>\"";
        return Err(corrupt(area, "magic", expected, "other bytes"));
    }
    if version != VERSION {
        return Err(corrupt(area, "version", VERSION, version));
    }
    if start != area.offset_bytes {
        return Err(corrupt(area, "start", area.offset_bytes, start));
    }
    if size != area.len_bytes || size <= HEADER_BYTES {
        let expected = format!("{} as in the label, above 512", area.len_bytes);
        return Err(corrupt(area, "size", expected, size));
    }
    Ok(())
}

fn text(volume: &dyn ReadAt, area: Area, location: &Location) -> Result<Text> {
    let (offset, len) = (location.offset_bytes, location.len_bytes);
    // The header's check: the area is longer than its header, and lies on the device.
    let ring_bytes = area.len_bytes - HEADER_BYTES;
    if !(HEADER_BYTES..area.len_bytes).contains(&offset) || !(1..=ring_bytes).contains(&len) {
        let expected = format!("a text within {HEADER_BYTES} to {}", area.len_bytes);
        let found = format!("{len} bytes from {offset}");
        return Err(corrupt(area, "raw_locns", expected, found));
    }
    if len > TEXT_BYTES_MAX {
        return Err(Error::unsupported(
            format!("LVM2 metadata of {len} bytes"),
            format!("it is longer than {TEXT_BYTES_MAX} bytes"),
        ));
    }
    // What does not fit before the area's end goes on at the start of the ring.
    let before_end = len.min(area.len_bytes - offset);
    let offset_bytes = area.offset_bytes + offset;
    let mut bytes = read_vec(volume, offset_bytes, before_end as usize)?;
    let ring_start = area.offset_bytes + HEADER_BYTES;
    bytes.extend(read_vec(volume, ring_start, (len - before_end) as usize)?);
    let computed = crc(&bytes);
    if location.checksum != computed {
        let expected = format!("{computed:#010x}");
        let found = format!("{:#010x}", location.checksum);
        return Err(corrupt(area, "raw_locns checksum", expected, found));
    }
    Ok(Text::Committed(Committed {
        offset_bytes,
        bytes,
    }))
}
