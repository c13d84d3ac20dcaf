//! Going through a record once from front to back: where its sections are, and that every
//! checksum is right.

use super::format::{FLAG_CRITICAL, HEADER_LEN, HeaderFault, SECTION_HEADER_LEN, check_header};
use super::writer::io_error;
use crate::chunk::Digest;
use crate::error::{Error, Result};
use klon_partition::Extent;
use klon_partition::bytes::{le32, le64};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// Where the payloads of a record lie; every checksum was right.
pub(super) struct Sections {
    payloads: BTreeMap<[u8; 4], (u64, u64)>,
    /// SHA-256 of everything before the end.
    pub(super) digest: [u8; 32],
}

impl Sections {
    /// The payload of a section that must be there; `None` when it is there and empty.
    pub(super) fn get(&self, path: &Path, tag: [u8; 4]) -> Result<Option<Extent>> {
        let &(offset_bytes, len_bytes) = self.payloads.get(&tag).ok_or_else(|| {
            let tag = String::from_utf8_lossy(&tag).into_owned();
            corrupt(path, ("section", 0, tag, "none".to_owned()))
        })?;
        Ok(Extent::new(offset_bytes, len_bytes))
    }

    /// The payload of a section that need not be there, or is empty.
    pub(super) fn find(&self, tag: [u8; 4]) -> Option<Extent> {
        let &(offset_bytes, len_bytes) = self.payloads.get(&tag)?;
        Extent::new(offset_bytes, len_bytes)
    }

    /// Whether there is such a section.
    pub(super) fn has(&self, tag: [u8; 4]) -> bool {
        self.payloads.contains_key(&tag)
    }

    pub(super) fn scan(path: &Path, file: &File) -> Result<Self> {
        let failed = |source| io_error(path, "read", source);
        let file_bytes = file.metadata().map_err(failed)?.len();
        let mut reader = Scanner::new(BufReader::with_capacity(1 << 16, file), file_bytes);
        let mut header = [0; HEADER_LEN];
        reader.read(&mut header).map_err(failed)?;
        check_header(&header).map_err(|fault| corrupt(path, fault))?;
        let mut sections = BTreeMap::new();
        loop {
            let before = reader.whole.clone();
            let section = reader.section(path)?;
            if section.tag == *b"END " {
                let expected: [u8; 32] = before.finalize().into();
                if section.end_digest != expected {
                    let (expected, found) = (Digest(expected), Digest(section.end_digest));
                    let fault = (
                        "SHA-256",
                        section.offset_bytes,
                        expected.to_string(),
                        found.to_string(),
                    );
                    return Err(corrupt(path, fault));
                }
                return Ok(Self {
                    payloads: sections,
                    digest: expected,
                });
            }
            sections.insert(section.tag, (section.offset_bytes, section.len_bytes));
        }
    }
}

struct Section {
    tag: [u8; 4],
    offset_bytes: u64,
    len_bytes: u64,
    end_digest: [u8; 32],
}

/// Reads a record once from front to back, keeping its checksums.
struct Scanner<R> {
    inner: R,
    file_bytes: u64,
    position_bytes: u64,
    whole: Sha256,
    crc: u32,
}

impl<R: Read> Scanner<R> {
    fn new(inner: R, file_bytes: u64) -> Self {
        Self {
            inner,
            file_bytes,
            position_bytes: 0,
            whole: Sha256::new(),
            crc: 0,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(buffer)?;
        self.whole.update(&*buffer);
        self.crc = crc32c::crc32c_append(self.crc, buffer);
        self.position_bytes = self.position_bytes.saturating_add(buffer.len() as u64);
        Ok(())
    }

    fn section(&mut self, path: &Path) -> Result<Section> {
        let failed = |source| io_error(path, "read", source);
        self.crc = 0;
        let mut header = [0; SECTION_HEADER_LEN];
        self.read(&mut header).map_err(failed)?;
        let tag = [header[0], header[1], header[2], header[3]];
        let len_bytes = le64(&header, 8);
        let offset_bytes = self.position_bytes;
        let known = [
            b"DGST", b"DATA", b"ZERO", b"CHNG", b"BADS", b"META", b"END ",
        ];
        if !known.contains(&&tag) && le32(&header, 4) & FLAG_CRITICAL != 0 {
            let found = String::from_utf8_lossy(&tag).into_owned();
            return Err(corrupt(
                path,
                ("section tag", offset_bytes, "a known one".into(), found),
            ));
        }
        let rest_bytes = self.file_bytes.saturating_sub(offset_bytes);
        if len_bytes > rest_bytes {
            let (expected, found) = (format!("at most {rest_bytes}"), len_bytes.to_string());
            return Err(corrupt(
                path,
                ("section length", offset_bytes, expected, found),
            ));
        }
        let end_digest = self.payload(len_bytes).map_err(failed)?;
        let crc = self.crc;
        let mut stored = [0; 4];
        self.read(&mut stored).map_err(failed)?;
        if u32::from_le_bytes(stored) != crc {
            let (expected, found) = (
                format!("{crc:#010x}"),
                format!("{:#010x}", u32::from_le_bytes(stored)),
            );
            return Err(corrupt(
                path,
                ("CRC-32C of a section", offset_bytes, expected, found),
            ));
        }
        Ok(Section {
            tag,
            offset_bytes,
            len_bytes,
            end_digest,
        })
    }

    /// Goes through a payload; its first 32 bytes are what an END section holds.
    fn payload(&mut self, len_bytes: u64) -> io::Result<[u8; 32]> {
        let mut first = [0; 32];
        let mut left_bytes = len_bytes;
        let mut buffer = vec![0; 1 << 16];
        while left_bytes > 0 {
            let len =
                usize::try_from(left_bytes).map_or(buffer.len(), |left| left.min(buffer.len()));
            self.read(&mut buffer[..len])?;
            if left_bytes == len_bytes && len >= 32 {
                first.copy_from_slice(&buffer[..32]);
            }
            left_bytes -= len as u64;
        }
        Ok(first)
    }
}

pub(crate) fn corrupt(path: &Path, (what, offset_bytes, expected, found): HeaderFault) -> Error {
    Error::RecordCorrupt {
        path: path.to_owned(),
        what,
        offset_bytes,
        expected,
        found,
    }
}
