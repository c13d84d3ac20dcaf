//! The volume descriptors from sector 16 on
//! ([ECMA-119](https://ecma-international.org/publications-and-standards/standards/ecma-119/),
//! section 8; ECMA-167, part 2, section 8).

use crate::bytes::{be16, be32, le16, le32, text, u8_at};
use crate::device::{ReadAt, read_vec};
use crate::error::{Checked, Corrupt, Result};

pub(super) const SECTOR_BYTES: u64 = 2048;
const FIRST_SECTOR: u64 = 16;
/// Discs have three or four.
const COUNT_MAX: u64 = 64;

/// What klon takes from the descriptors of a disc.
#[derive(Clone, Debug, Default)]
pub(super) struct Descriptors {
    pub(super) primary: Option<Primary>,
    /// Where the last of the volumes ends that share the disc (Joliet names the same space).
    pub(super) end_bytes: u64,
    /// Sectors of boot catalogs (El Torito).
    pub(super) catalogs: Vec<u64>,
    /// Whether NSR descriptors say that there is a UDF.
    pub(super) has_udf: bool,
    /// Why the end can't be told.
    pub(super) unfit: Option<String>,
}

/// The primary volume descriptor.
#[derive(Clone, Debug)]
pub(super) struct Primary {
    pub(super) label: Option<String>,
    /// Volume modification date, else creation date, as `blkid` names such a volume.
    pub(super) date: Option<String>,
    pub(super) block_bytes: u32,
    pub(super) damage: Option<Corrupt>,
}

impl Descriptors {
    /// Reads the descriptors of `volume`; `None` when the first is no descriptor of ISO 9660.
    pub(super) fn read(volume: &dyn ReadAt) -> Result<Option<Self>> {
        let volume_bytes = volume.geometry().size_bytes;
        let mut found = Self::default();
        for index in 0..COUNT_MAX {
            let at = (FIRST_SECTOR + index) * SECTOR_BYTES;
            if at + SECTOR_BYTES > volume_bytes {
                break;
            }
            let raw = read_vec(volume, at, SECTOR_BYTES as usize)?;
            if index == 0 && !is_first(&raw) {
                return Ok(None);
            }
            match &raw[1..6] {
                b"CD001" => found.add(&raw, at),
                b"NSR02" | b"NSR03" => found.has_udf = true,
                b"BEA01" | b"TEA01" | b"BOOT2" => {}
                _ => break,
            }
        }
        if found.end_bytes == 0 && volume_bytes < (FIRST_SECTOR + 1) * SECTOR_BYTES {
            return Ok(None);
        }
        if found.primary.is_none() {
            found.unfit = Some("it has no primary volume descriptor of version 1".to_owned());
        }
        Ok(Some(found))
    }

    fn add(&mut self, raw: &[u8], at: u64) {
        let (descriptor_type, version) = (u8_at(raw, 0), u8_at(raw, 6));
        match (descriptor_type, version) {
            (0, _) if raw[7..].starts_with(b"EL TORITO SPECIFICATION") => {
                self.catalogs.push(le32(raw, 71).into());
            }
            (1, 1) => {
                self.add_space(raw);
                let (volume_identifier, block_size) = (&raw[40..72], le16(raw, 128));
                let (creation, modification) = (&raw[813..829], &raw[830..846]);
                self.primary.get_or_insert_with(|| Primary {
                    label: text(volume_identifier),
                    date: date(modification).or_else(|| date(creation)),
                    block_bytes: block_size.into(),
                    damage: damage(raw, at).err(),
                });
            }
            (2, 1 | 2) => self.add_space(raw),
            _ => {}
        }
    }

    fn add_space(&mut self, raw: &[u8]) {
        // Volume Space Size, in both byte orders, and Logical Block Size.
        let (blocks, other, block_size) = (le32(raw, 80), be32(raw, 84), le16(raw, 128));
        let end_bytes = u64::from(blocks.max(other)) * u64::from(block_size);
        self.end_bytes = self.end_bytes.max(end_bytes);
    }
}

/// ISO 9660, or High Sierra, which came before it and has all fields elsewhere.
fn is_first(raw: &[u8]) -> bool {
    &raw[1..6] == b"CD001" || &raw[9..14] == b"CDROM"
}

/// Numbers are there in both byte orders.
fn damage(raw: &[u8], at: u64) -> Checked {
    let corrupt = |field, expected: String, found: String| {
        Corrupt::new("primary volume descriptor", field, at, expected, found)
    };
    let (blocks, other) = (le32(raw, 80), be32(raw, 84));
    if blocks != other || blocks == 0 {
        let (expected, found) = ("the same number twice".to_owned(), (blocks, other));
        return Err(corrupt("Volume Space Size", expected, format!("{found:?}")));
    }
    let (bytes, other) = (le16(raw, 128), be16(raw, 130));
    if bytes != other || !matches!(bytes, 512 | 1024 | 2048) {
        let (expected, found) = ("512, 1024 or 2048, twice".to_owned(), (bytes, other));
        let found = format!("{found:?}");
        return Err(corrupt("Logical Block Size", expected, found));
    }
    Ok(())
}

/// YYYYMMDDHHMMSScc with dashes.
fn date(digits: &[u8]) -> Option<String> {
    let is_date =
        digits.iter().all(u8::is_ascii_digit) && digits.iter().any(|&digit| digit != b'0');
    let date = std::str::from_utf8(digits).ok().filter(|_| is_date)?;
    let (year, rest) = date.split_at_checked(4)?;
    let pairs = rest.as_bytes().chunks(2).map(String::from_utf8_lossy);
    Some(pairs.fold(year.to_owned(), |all, pair| format!("{all}-{pair}")))
}
