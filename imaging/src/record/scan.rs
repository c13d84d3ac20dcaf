//! Going through a record once from front to back: where its sections are, and that every
//! checksum is right.

use super::format::{HEADER_LEN, NAME, check_header};
use crate::chunk::Digest;
use crate::error::{Result, corrupt, io_error};
use crate::section::{self, Fault, Kind, Section, Tag};
use klon_partition::Extent;
use klon_partition::error::Corrupt;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// The sections of a record that this program knows and a reader may not skip.
const KIND: Kind = Kind {
    name: NAME,
    known: &[
        *b"DGST", *b"DATA", *b"ZERO", *b"CHNG", *b"BADS", *b"META", *b"END ",
    ],
};

/// Where the payloads of a record lie; every checksum was right.
pub(super) struct Sections {
    payloads: BTreeMap<Tag, Section>,
    /// SHA-256 of everything before the end.
    pub(super) digest: [u8; 32],
}

impl Sections {
    /// The payload of a section that must be there; `None` when it is there and empty.
    pub(super) fn get(&self, path: &Path, tag: Tag) -> Result<Option<Extent>> {
        let section = self.payloads.get(&tag).ok_or_else(|| {
            let tag = String::from_utf8_lossy(&tag).into_owned();
            corrupt(path, Corrupt::new(NAME, "section", 0, tag, "none"))
        })?;
        Ok(Extent::new(section.offset_bytes, section.len_bytes))
    }

    /// The payload of a section that need not be there, or is empty.
    pub(super) fn find(&self, tag: Tag) -> Option<Extent> {
        let section = self.payloads.get(&tag)?;
        Extent::new(section.offset_bytes, section.len_bytes)
    }

    /// Whether there is such a section.
    pub(super) fn has(&self, tag: Tag) -> bool {
        self.payloads.contains_key(&tag)
    }

    pub(super) fn scan(path: &Path, file: &File) -> Result<Self> {
        let failed = |source| io_error(path, "read", source);
        let file_bytes = file.metadata().map_err(failed)?.len();
        let mut reader = Hashed {
            inner: BufReader::with_capacity(1 << 16, file),
            whole: Sha256::new(),
        };
        let mut header = [0; HEADER_LEN];
        reader.read_exact(&mut header).map_err(failed)?;
        check_header(&header).map_err(|fault| corrupt(path, fault))?;
        let mut sections = section::Sections::new(reader, KIND, HEADER_LEN as u64, file_bytes);
        let mut payloads = BTreeMap::new();
        loop {
            let before = sections.inner.whole.clone();
            let section = sections.read().map_err(|fault| match fault {
                Fault::Io(source) => failed(source),
                Fault::Corrupt(fault) => corrupt(path, fault),
            })?;
            if section.tag == *b"END " {
                let digest: [u8; 32] = before.finalize().into();
                if section.start != digest {
                    let (expected, found) = (Digest(digest), Digest(section.start));
                    let offset_bytes = section.offset_bytes;
                    let fault = Corrupt::new(NAME, "SHA-256", offset_bytes, expected, found);
                    return Err(corrupt(path, fault));
                }
                return Ok(Self { payloads, digest });
            }
            payloads.insert(section.tag, section);
        }
    }
}

/// Keeps the SHA-256 of all that is read.
struct Hashed<R> {
    inner: R,
    whole: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buffer)?;
        self.whole.update(&buffer[..len]);
        Ok(len)
    }
}
