//! Tagged sections, the parts of records and of the manifests of images: each one has a checksum,
//! and says whether a reader that does not know it may go on.
//!
//! ```text
//!  0   4  tag, four ASCII letters
//!  4   4  flags; bit 0: a reader that does not know the tag must refuse the file
//!  8   8  length of the payload
//! 16   n  payload
//!  +   4  CRC-32C of tag, flags, length and payload
//! ```
//!
//! The frames of a write-intent log are not such sections: they are shorter, and the first one that
//! is not intact ends the log instead of making it corrupt.

use klon_partition::Extent;
use klon_partition::bytes::{le32, le64};
use klon_partition::error::Corrupt;
use std::io::{self, Read};
use std::ops::Range;

/// Four ASCII letters that say what is in a section.
pub(crate) type Tag = [u8; 4];

/// Length of what stands before a payload.
pub(crate) const HEADER_LEN: usize = 16;
/// Length of the checksum behind it.
const CRC_LEN: usize = 4;
/// Flag: a reader that does not know the tag must refuse the file.
const CRITICAL: u32 = 1;
/// Tags of sections that a reader may skip.
const SKIPPABLE: [Tag; 5] = [*b"MDEX", *b"MDGS", *b"FILL", *b"LEFT", *b"PIEC"];
/// How much of a payload is read at once.
const PIECE_LEN: usize = 1 << 16;
/// How many of the first bytes of a payload are kept.
pub(crate) const START_LEN: usize = 32;

/// The bytes before a payload.
pub(crate) fn header(tag: Tag, payload_bytes: u64) -> [u8; HEADER_LEN] {
    let flags = match SKIPPABLE.contains(&tag) {
        true => 0,
        false => CRITICAL,
    };
    let mut bytes = [0; HEADER_LEN];
    bytes[..4].copy_from_slice(&tag);
    bytes[4..8].copy_from_slice(&flags.to_le_bytes());
    bytes[8..].copy_from_slice(&payload_bytes.to_le_bytes());
    bytes
}

/// Adds a section to `bytes`.
pub(crate) fn push(bytes: &mut Vec<u8>, tag: Tag, payload: &[u8]) {
    let start = bytes.len();
    bytes.extend(header(tag, payload.len() as u64));
    bytes.extend(payload);
    let crc = crc32c::crc32c(&bytes[start..]);
    bytes.extend(crc.to_le_bytes());
}

/// Whether this program has use for sections of this tag.
pub(crate) fn is_known(kind: Kind, tag: Tag) -> bool {
    kind.known.contains(&tag) || SKIPPABLE.contains(&tag)
}

/// The section around a payload: what stands before it, and its checksum.
pub(crate) const fn around(payload: Extent) -> Range<u64> {
    let start_bytes = payload.offset_bytes().saturating_sub(HEADER_LEN as u64);
    start_bytes..payload.end_bytes().saturating_add(CRC_LEN as u64)
}

/// Tag and payload of the section of a file of `end_bytes` that begins at `position_bytes` with this
/// header.
///
/// # Errors
/// When a reader must refuse the tag, or the payload reaches behind the file.
pub(crate) fn found(
    kind: Kind,
    header: &[u8; HEADER_LEN],
    position_bytes: u64,
    end_bytes: u64,
) -> Result<(Tag, Option<Extent>), Corrupt> {
    let tag = [header[0], header[1], header[2], header[3]];
    let len_bytes = le64(header, 8);
    let offset_bytes = position_bytes.saturating_add(HEADER_LEN as u64);
    let wrong = |field, expected: String, found: String| {
        Err(Corrupt::new(
            kind.name,
            field,
            offset_bytes,
            expected,
            found,
        ))
    };
    if !kind.known.contains(&tag) && le32(header, 4) & CRITICAL != 0 {
        let found = String::from_utf8_lossy(&tag).into_owned();
        return wrong("section tag", "a known one".to_owned(), found);
    }
    let rest_bytes = end_bytes.saturating_sub(offset_bytes);
    if len_bytes > rest_bytes {
        let expected = format!("at most {rest_bytes}");
        return wrong("section length", expected, len_bytes.to_string());
    }
    Ok((tag, Extent::new(offset_bytes, len_bytes)))
}

/// Where the section ends that begins at `position_bytes` and has this payload.
pub(crate) const fn end_bytes(position_bytes: u64, payload: Option<Extent>) -> u64 {
    match payload {
        Some(payload) => around(payload).end,
        None => position_bytes.saturating_add((HEADER_LEN + CRC_LEN) as u64),
    }
}

/// The payload of a `section` of all of its bytes, if its checksum is right. The payload lies at
/// `offset_bytes` of a file of what is called `name`.
///
/// # Errors
/// When the checksum is another.
pub(crate) fn payload(
    name: &'static str,
    mut section: Vec<u8>,
    offset_bytes: u64,
) -> Result<Vec<u8>, Corrupt> {
    let stored = section.split_off(section.len().saturating_sub(CRC_LEN));
    let crc = crc32c::crc32c(&section);
    if stored != crc.to_le_bytes() {
        return Err(wrong_crc(name, offset_bytes, crc, le32(&stored, 0)));
    }
    Ok(section.split_off(HEADER_LEN.min(section.len())))
}

fn wrong_crc(name: &'static str, offset_bytes: u64, crc: u32, stored: u32) -> Corrupt {
    Corrupt::new(
        name,
        "CRC-32C of a section",
        offset_bytes,
        format!("{crc:#010x}"),
        format!("{stored:#010x}"),
    )
}

/// What kind of file sections are of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// What it is called in messages.
    pub(crate) name: &'static str,
    /// The tags that this program knows.
    pub(crate) known: &'static [Tag],
}

/// A section whose checksum was right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section {
    pub(crate) tag: Tag,
    /// Where its payload begins.
    pub(crate) offset_bytes: u64,
    /// Length of the payload.
    pub(crate) len_bytes: u64,
    /// The first bytes of the payload; zeroes when it is shorter.
    pub(crate) start: [u8; START_LEN],
}

/// Why a section can't be read.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The reader failed, or ended within the section.
    Io(io::Error),
    /// The section is not what it must be.
    Corrupt(Corrupt),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads sections one after the other.
pub(crate) struct Sections<R> {
    pub(crate) inner: R,
    kind: Kind,
    /// Where the next byte lies, and where the last one ends.
    position_bytes: u64,
    end_bytes: u64,
    crc: u32,
}

impl<R: Read> Sections<R> {
    /// The sections that `inner` gives from `position_bytes` of a file on, which is `end_bytes` long.
    pub(crate) const fn new(inner: R, kind: Kind, position_bytes: u64, end_bytes: u64) -> Self {
        Self {
            inner,
            kind,
            position_bytes,
            end_bytes,
            crc: 0,
        }
    }

    /// Whether every byte of the file was read.
    pub(crate) const fn is_at_end(&self) -> bool {
        self.position_bytes >= self.end_bytes
    }

    /// Reads the next section, and checks it.
    pub(crate) fn read(&mut self) -> Result<Section, Fault> {
        self.crc = 0;
        let mut header = [0; HEADER_LEN];
        self.fill(&mut header)?;
        let position_bytes = self.position_bytes.saturating_sub(HEADER_LEN as u64);
        let found = found(self.kind, &header, position_bytes, self.end_bytes);
        let (tag, payload) = found.map_err(Fault::Corrupt)?;
        let offset_bytes = self.position_bytes;
        let len_bytes = payload.map_or(0, Extent::len_bytes);
        let start = self.payload(len_bytes)?;
        let crc = self.crc;
        let mut stored = [0; CRC_LEN];
        self.fill(&mut stored)?;
        let stored = u32::from_le_bytes(stored);
        if stored != crc {
            let corrupt = wrong_crc(self.kind.name, offset_bytes, crc, stored);
            return Err(Fault::Corrupt(corrupt));
        }
        Ok(Section {
            tag,
            offset_bytes,
            len_bytes,
            start,
        })
    }

    /// Goes through a payload, and keeps its first bytes.
    fn payload(&mut self, len_bytes: u64) -> io::Result<[u8; START_LEN]> {
        let mut start = [0; START_LEN];
        let mut left_bytes = len_bytes;
        let mut buffer = vec![0; PIECE_LEN];
        while left_bytes > 0 {
            let len = usize::try_from(left_bytes).map_or(PIECE_LEN, |left| left.min(PIECE_LEN));
            self.fill(&mut buffer[..len])?;
            if left_bytes == len_bytes && len >= START_LEN {
                start.copy_from_slice(&buffer[..START_LEN]);
            }
            left_bytes -= len as u64;
        }
        Ok(start)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(buffer)?;
        self.crc = crc32c::crc32c_append(self.crc, buffer);
        self.position_bytes = self.position_bytes.saturating_add(buffer.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Kind, Sections, push};
    use proptest::prelude::{any, proptest};

    const KIND: Kind = Kind {
        name: "file",
        known: &[*b"KNOW"],
    };

    fn tags(bytes: &[u8]) -> Result<Vec<[u8; 4]>, Fault> {
        let mut sections = Sections::new(bytes, KIND, 0, bytes.len() as u64);
        let mut tags = Vec::new();
        while !sections.is_at_end() {
            tags.push(sections.read()?.tag);
        }
        Ok(tags)
    }

    #[test]
    fn unknown_sections_are_skipped_unless_they_are_critical() {
        let mut bytes = Vec::new();
        push(&mut bytes, *b"LEFT", b"skippable");
        push(&mut bytes, *b"KNOW", &[7; 100_000]);
        assert_eq!(tags(&bytes).unwrap(), [*b"LEFT", *b"KNOW"]);
        push(&mut bytes, *b"NEWS", b"");
        let Err(Fault::Corrupt(corrupt)) = tags(&bytes) else {
            panic!("a critical section was skipped");
        };
        assert_eq!((corrupt.field, &*corrupt.found), ("section tag", "NEWS"));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let mut bytes = Vec::new();
        push(&mut bytes, *b"KNOW", b"payload");
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(tags(&damaged).is_err(), "bit {bit}");
        }
        for len in 1..bytes.len() {
            assert!(tags(&bytes[..len]).is_err(), "{len}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = tags(&bytes);
        }
    }
}
