//! Going through a record once from front to back: where its sections are, and that every
//! checksum is right.

use super::format::{HEADER_LEN, NAME, check_header};
use crate::chunk::{Digest, Digested};
use crate::error::{Result, corrupt, io_error};
use crate::section::{self, Fault, Kind, Tag};
use klon_partition::Extent;
use klon_partition::error::Corrupt;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The sections of a record that this program knows and a reader may not skip.
const KIND: Kind = Kind {
    name: NAME,
    known: &[
        *b"DGST", *b"DATA", *b"ZERO", *b"CHNG", *b"BADS", *b"IDNT", *b"IDEX", *b"META", *b"END ",
    ],
};

/// A record has a section of each tag once, so more than these are no record.
const SECTIONS_MAX: usize = 64;

/// Where the payloads of a record lie.
#[derive(Debug)]
pub(super) struct Sections {
    /// `None` of one that is empty.
    payloads: BTreeMap<Tag, Option<Extent>>,
    /// How the digests of chunks come about.
    pub(super) digested: Digested,
}

impl Sections {
    /// The payload of a section that must be there; `None` when it is there and empty.
    pub(super) fn get(&self, path: &Path, tag: Tag) -> Result<Option<Extent>> {
        let extent = self.payloads.get(&tag).ok_or_else(|| {
            let tag = String::from_utf8_lossy(&tag).into_owned();
            corrupt(path, Corrupt::new(NAME, "section", 0, tag, "none"))
        })?;
        Ok(*extent)
    }

    /// The payload of a section that need not be there, or is empty.
    pub(super) fn find(&self, tag: Tag) -> Option<Extent> {
        *self.payloads.get(&tag)?
    }

    /// Whether there is such a section.
    pub(super) fn has(&self, tag: Tag) -> bool {
        self.payloads.contains_key(&tag)
    }

    /// Finds the sections by their lengths alone; no payload is read.
    pub(super) fn find_all(path: &Path, file: &File) -> Result<Self> {
        let failed = |source| io_error(path, "read", source);
        let file_bytes = file.metadata().map_err(failed)?.len();
        let mut header = [0; HEADER_LEN];
        file.read_exact_at(&mut header, 0).map_err(failed)?;
        let digested = check_header(&header).map_err(|fault| corrupt(path, fault))?;
        let mut payloads = BTreeMap::new();
        let mut position_bytes = HEADER_LEN as u64;
        for _ in 0..SECTIONS_MAX {
            let mut header = [0; section::HEADER_LEN];
            file.read_exact_at(&mut header, position_bytes)
                .map_err(failed)?;
            let found = section::found(KIND, &header, position_bytes, file_bytes);
            let (tag, payload) = found.map_err(|fault| corrupt(path, fault))?;
            if tag == *b"END " {
                return Ok(Self { payloads, digested });
            }
            if !section::is_known(KIND, tag) {
                // A damaged tag must not hide what the section says.
                let inner = Behind {
                    file,
                    position_bytes,
                };
                let mut sections = section::Sections::new(inner, KIND, position_bytes, file_bytes);
                sections.read().map_err(|fault| told(path, fault))?;
            }
            position_bytes = section::end_bytes(position_bytes, payload);
            payloads.insert(tag, payload);
        }
        let found = format!("more than {SECTIONS_MAX}");
        let fault = Corrupt::new(NAME, "sections", 0, "an end", found);
        Err(corrupt(path, fault))
    }

    /// Goes through all of a record: every checksum is right. Also gives the SHA-256 of everything
    /// before the end.
    pub(super) fn scan(path: &Path, file: &File) -> Result<(Self, [u8; 32])> {
        let failed = |source| io_error(path, "read", source);
        let file_bytes = file.metadata().map_err(failed)?.len();
        let mut reader = Hashed {
            inner: BufReader::with_capacity(1 << 16, file),
            whole: Sha256::new(),
        };
        let mut header = [0; HEADER_LEN];
        reader.read_exact(&mut header).map_err(failed)?;
        let digested = check_header(&header).map_err(|fault| corrupt(path, fault))?;
        let mut sections = section::Sections::new(reader, KIND, HEADER_LEN as u64, file_bytes);
        let mut payloads = BTreeMap::new();
        loop {
            let before = sections.inner.whole.clone();
            let section = sections.read().map_err(|fault| told(path, fault))?;
            if section.tag == *b"END " {
                let digest: [u8; 32] = before.finalize().into();
                if section.start != digest {
                    let (expected, found) = (Digest(digest), Digest(section.start));
                    let offset_bytes = section.offset_bytes;
                    let fault = Corrupt::new(NAME, "SHA-256", offset_bytes, expected, found);
                    return Err(corrupt(path, fault));
                }
                return Ok((Self { payloads, digested }, digest));
            }
            let payload = Extent::new(section.offset_bytes, section.len_bytes);
            payloads.insert(section.tag, payload);
        }
    }
}

fn told(path: &Path, fault: Fault) -> crate::Error {
    match fault {
        Fault::Io(source) => io_error(path, "read", source),
        Fault::Corrupt(fault) => corrupt(path, fault),
    }
}

/// A file from a position on.
struct Behind<'a> {
    file: &'a File,
    position_bytes: u64,
}

impl Read for Behind<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read_at(buffer, self.position_bytes)?;
        self.position_bytes = self.position_bytes.saturating_add(len as u64);
        Ok(len)
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
