//! The label of a physical volume: its UUID, and where its areas are.
//!
//! Layouts of `label_header` (lvm2, `lib/label/label.h`), `pv_header` and `pv_header_extension`
//! (`lib/format_text/layout.h`).

use crate::bytes::{le32, le64, text};
use crate::device::{ReadAt, read_vec};
use crate::error::{Checked, Corrupt, Result};
use crate::extent::Extent;

const STRUCTURE: &str = "LVM2 label";
const SECTOR_BYTES: usize = 512;
/// `LABEL_SCAN_SECTORS`
const SECTORS: u64 = 4;
/// A label starts with its own header of this length.
const HEADER_LEN: usize = 32;
/// `pv_uuid` and `device_size_xl`.
const PV_HEADER_LEN: usize = 40;
const LOCATION_LEN: usize = 16;
/// `PV_EXT_USED`
const EXTENSION_USED: u32 = 1;
/// `PV_HEADER_EXTENSION_VSN`
const EXTENSION_VERSION: u32 = 2;

/// A place on the device; what length 0 means depends on what lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) offset_bytes: u64,
    pub(super) len_bytes: u64,
}

impl Area {
    /// Its bytes; `None` when there are none.
    pub(super) const fn extent(self) -> Option<Extent> {
        Extent::new(self.offset_bytes, self.len_bytes)
    }
}

/// What follows the lists of areas (`pv_header_extension`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Extension {
    version: u32,
    flags: u32,
}

/// What a sound label says.
#[derive(Clone, Debug)]
pub(super) struct Label {
    /// Where the label's sector starts.
    pub(super) offset_bytes: u64,
    /// `pv_uuid`: 32 characters without hyphens.
    pub(super) uuid: [u8; 32],
    /// `device_size_xl`
    pub(super) device_bytes: u64,
    /// Where physical extents are.
    pub(super) data: Vec<Area>,
    /// Where metadata is.
    pub(super) metadata: Vec<Area>,
    /// Kept for boot loaders.
    pub(super) boot: Vec<Area>,
    /// `None` where LVM is too old for it.
    pub(super) extension: Option<Extension>,
}

impl Label {
    /// Whether a volume group has the volume; `None` when the label is too old to say.
    pub(super) fn is_in_use(&self) -> Option<bool> {
        let Extension { version, flags } = self.extension?;
        (version >= 2).then_some(flags & EXTENSION_USED != 0)
    }

    /// What in the extension klon doesn't know.
    pub(super) fn unknown(&self) -> Option<String> {
        let Extension { version, flags } = self.extension?;
        let is_known = version <= EXTENSION_VERSION && flags & !EXTENSION_USED == 0;
        (!is_known).then(|| format!("pv_header_extension version {version}, flags {flags:#x}"))
    }
}

/// A label, sound or not, and the volume's UUID as far as it can be read.
pub(super) struct Found {
    /// As `blkid` prints it.
    pub(super) uuid: Option<String>,
    pub(super) label: Checked<Label>,
}

/// Finds the label: the first one in the first four sectors that says of itself where it is.
///
/// # Errors
/// [`crate::Error::Io`] when the device fails.
pub(super) fn find(volume: &dyn ReadAt) -> Result<Option<Found>> {
    let sectors = volume.geometry().size_bytes / SECTOR_BYTES as u64;
    let len = SECTORS.min(sectors) as usize * SECTOR_BYTES;
    let head = read_vec(volume, 0, len)?;
    let mut damaged = None;
    for (sector, raw) in (0..).zip(head.chunks_exact(SECTOR_BYTES)) {
        let (id, sector_xl, kind) = (raw.get(..8), le64(raw, 8), raw.get(24..32));
        let is_one = id == Some(b"LABELONE") && kind == Some(b"LVM2 001") && sector_xl == sector;
        if !is_one {
            continue;
        }
        let offset_bytes = sector * SECTOR_BYTES as u64;
        let label = parse(raw, offset_bytes);
        let uuid = uuid(raw);
        if label.is_ok() {
            return Ok(Some(Found { uuid, label }));
        }
        damaged.get_or_insert(Found { uuid, label });
    }
    Ok(damaged)
}

/// The offset of `pv_header` in the label's sector; `None` when it does not fit.
fn header_at(raw: &[u8]) -> Option<usize> {
    let offset_xl = le32(raw, 20) as usize;
    let is_valid = offset_xl >= HEADER_LEN && offset_xl.checked_add(PV_HEADER_LEN)? <= raw.len();
    is_valid.then_some(offset_xl)
}

fn uuid(raw: &[u8]) -> Option<String> {
    let at = header_at(raw)?;
    let id = raw.get(at..at.checked_add(32)?).and_then(text)?;
    hyphenated(&id)
}

/// A UUID of 32 characters in groups, as LVM and `blkid` print it.
fn hyphenated(id: &str) -> Option<String> {
    if !id.is_ascii() || id.len() != 32 {
        return None;
    }
    let (first, rest) = id.split_at(6);
    let (middle, last) = rest.split_at(20);
    let middle: Vec<_> = middle
        .as_bytes()
        .chunks(4)
        .map(String::from_utf8_lossy)
        .collect();
    Some(format!("{first}-{}-{last}", middle.join("-")))
}

fn parse(raw: &[u8], offset_bytes: u64) -> Checked<Label> {
    let bad = |field, expected: String, found: String| {
        Corrupt::new(STRUCTURE, field, offset_bytes, expected, found)
    };
    // The checksum covers all that follows it.
    let (crc_xl, offset_xl) = (le32(raw, 16), le32(raw, 20));
    let computed = crc(raw.get(20..).unwrap_or_default());
    if crc_xl != computed {
        let (expected, found) = (format!("{computed:#010x}"), format!("{crc_xl:#010x}"));
        return Err(bad("crc_xl", expected, found));
    }
    let Some(at) = header_at(raw) else {
        let (expected, found) = ("room for a pv_header".to_owned(), offset_xl.to_string());
        return Err(bad("offset_xl", expected, found));
    };
    let header = raw.get(at..).unwrap_or_default();
    let pv_uuid = header.get(..32).and_then(|id| id.try_into().ok());
    let device_size_xl = le64(header, 32);
    let mut lists = Lists {
        raw: header.get(PV_HEADER_LEN..).unwrap_or_default(),
    };
    let endless = || {
        let (expected, found) = ("lists that end".to_owned(), "none".to_owned());
        bad("disk_areas_xl", expected, found)
    };
    let data = lists.next().ok_or_else(endless)?;
    let metadata = lists.next().ok_or_else(endless)?;
    let (extension, boot) = extension(lists).ok_or_else(endless)?;
    Ok(Label {
        offset_bytes,
        uuid: pv_uuid.unwrap_or([0; 32]),
        device_bytes: device_size_xl,
        data,
        metadata,
        boot,
        extension,
    })
}

/// The extension, if there is one, and its areas for boot loaders; `None` when these don't end.
fn extension(rest: Lists<'_>) -> Option<(Option<Extension>, Vec<Area>)> {
    let Some((header, raw)) = rest.raw.split_at_checked(8) else {
        return Some((None, Vec::new()));
    };
    match le32(header, 0) {
        0 => Some((None, Vec::new())),
        version => {
            let flags = le32(header, 4);
            Some((Some(Extension { version, flags }), Lists { raw }.next()?))
        }
    }
}

/// Lists of areas (`disk_locn`), each ended by one at offset 0.
struct Lists<'a> {
    raw: &'a [u8],
}

impl Lists<'_> {
    /// The next list; `None` when it does not end.
    fn next(&mut self) -> Option<Vec<Area>> {
        let mut areas = Vec::new();
        loop {
            let (raw, rest) = self.raw.split_at_checked(LOCATION_LEN)?;
            self.raw = rest;
            let area = Area {
                offset_bytes: le64(raw, 0),
                len_bytes: le64(raw, 8),
            };
            if area.offset_bytes == 0 {
                return (area.len_bytes == 0).then_some(areas);
            }
            areas.push(area);
        }
    }
}

/// LVM2's checksum: the usual CRC-32 polynomial with an initial value of its own and no final
/// inversion (lvm2, `lib/misc/crc.c`, `INITIAL_CRC`).
pub(super) fn crc(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(!0xf597_a6cf);
    hasher.update(bytes);
    !hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::crc;

    #[test]
    fn it_is_the_polynomial_bit_by_bit() {
        let bytes = b" LVM2 x[5A%r0N*>\x01\0\0\0";
        let expected = bytes.iter().fold(0xf597_a6cf_u32, |sum, &byte| {
            (0..8).fold(sum ^ u32::from(byte), |sum, _| {
                (sum >> 1) ^ (0xedb8_8320 * (sum & 1))
            })
        });
        assert_eq!(crc(bytes), expected);
    }
}
