//! Reading evidence.

use super::{Belonging, CRC_AT, EvidenceMeta, HEADER_LEN, MAGIC, META_BYTES_MAX, NAME, VERSION};
use crate::change::proven::{Identities, IdentitiesError, KeptExtents};
use crate::error::{Result, corrupt, io_error};
use crate::extents::decode_extents;
use crate::section::{Fault, Kind, Section, Sections, Tag};
use klon_partition::ExtentMap;
use klon_partition::bytes::{le32, le64};
use klon_partition::error::Corrupt;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Take};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const KIND: Kind = Kind {
    name: NAME,
    known: &[*b"SIGN", *b"PAST", *b"DMGD", *b"META"],
};
/// The payload of a map is never longer: its extents compress well.
const MAP_BYTES_MAX: u64 = 1 << 28;

/// The evidence of an earlier run, all of it checked but the identities, which check themselves as
/// they are read.
#[derive(Debug)]
pub struct Evidence {
    /// What it belongs to.
    pub belonging: Belonging,
    /// What was known of the volume and of the runs before.
    pub meta: EvidenceMeta,
    /// Where [signatures](crate::change::proven::signatures_in) were found.
    pub signatures: ExtentMap,
    /// What files have that are written past the filesystem.
    pub written_past: ExtentMap,
    /// What was damaged by the filesystem's checksums, or could not be compared with them.
    pub damaged: ExtentMap,
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) identities_bytes: u64,
}

impl Evidence {
    /// The evidence at `path`, of a volume of `size_bytes`; `None` when there is none.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`]; [`crate::Error::RecordCorrupt`] when it is not as it was written.
    pub fn open(path: &Path, size_bytes: u64) -> Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io_error(path, "open", source)),
        };
        let failed = |source| io_error(path, "read", source);
        let found_bytes = file.metadata().map_err(failed)?.len();
        let mut header = [0; HEADER_LEN];
        file.read_exact_at(&mut header, 0).map_err(failed)?;
        let header = parse(&header, found_bytes).map_err(|fault| corrupt(path, fault))?;
        let body = Body::scan(path, &file, header)?;
        let map = |tag, name: &'static str| -> Result<ExtentMap> {
            let payload = body.payload(tag, MAP_BYTES_MAX)?;
            decode_extents(&payload, size_bytes).map_err(|error| body.invalid(name, &error))
        };
        let meta = body.payload(*b"META", META_BYTES_MAX)?;
        let meta = serde_json::from_slice(&meta)
            .map_err(|error| body.invalid("META", &error.to_string()))?;
        Ok(Some(Self {
            belonging: header.belonging,
            meta,
            signatures: map(*b"SIGN", "SIGN")?,
            written_past: map(*b"PAST", "PAST")?,
            damaged: map(*b"DMGD", "DMGD")?,
            path: path.to_owned(),
            file,
            identities_bytes: header.identities_bytes,
        }))
    }

    /// What was kept of each file, from the first.
    ///
    /// # Errors
    /// [`IdentitiesError`].
    pub fn identities(&self) -> Result<Identities<BufReader<Take<File>>>, IdentitiesError> {
        Identities::begin(self.stream()?)
    }

    /// What was kept of each data extent, from the first, of a filesystem whose extents are compared.
    ///
    /// # Errors
    /// [`IdentitiesError`].
    pub fn extents(&self) -> Result<KeptExtents<BufReader<Take<File>>>, IdentitiesError> {
        KeptExtents::begin(self.stream()?)
    }

    fn stream(&self) -> io::Result<BufReader<Take<File>>> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(HEADER_LEN as u64))?;
        let stream = file.take(self.identities_bytes);
        Ok(BufReader::with_capacity(1 << 18, stream))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// What a header says.
#[derive(Clone, Copy)]
struct Header {
    belonging: Belonging,
    identities_bytes: u64,
    /// Where the sections begin, and where they end.
    sections_at: u64,
    len_bytes: u64,
}

fn parse(bytes: &[u8; HEADER_LEN], found_bytes: u64) -> Result<Header, Corrupt> {
    let wrong = |field, offset_bytes, expected: u64, found: u64| {
        let (expected, found) = (format!("{expected:#x}"), format!("{found:#x}"));
        Corrupt::new(NAME, field, offset_bytes, expected, found)
    };
    let crc = crc32c::crc32c(&bytes[..CRC_AT]);
    let fields = [
        ("magic", 0, le64(MAGIC, 0), le64(bytes, 0)),
        (
            "CRC-32C of the header",
            92,
            crc.into(),
            le32(bytes, CRC_AT).into(),
        ),
        ("version", 8, VERSION.into(), le32(bytes, 8).into()),
        ("header length", 12, 96, le32(bytes, 12).into()),
        ("feature bits", 16, 0, le64(bytes, 16)),
        ("length of the file", 72, found_bytes, le64(bytes, 72)),
    ];
    for (field, offset_bytes, expected, found) in fields {
        if expected != found {
            return Err(wrong(field, offset_bytes, expected, found));
        }
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(&bytes[32..64]);
    let code = le32(bytes, 24);
    let belonging = Belonging::of(code, digest)
        .ok_or_else(|| wrong("what it belongs to", 24, 1, code.into()))?;
    let identities_bytes = le64(bytes, 64);
    let sections_at = identities_bytes
        .checked_add(HEADER_LEN as u64)
        .filter(|&at| at <= found_bytes)
        .ok_or_else(|| {
            wrong(
                "length of the identities",
                64,
                found_bytes,
                identities_bytes,
            )
        })?;
    Ok(Header {
        belonging,
        identities_bytes,
        sections_at,
        len_bytes: found_bytes,
    })
}

/// The sections, whose checksums were right.
struct Body<'a> {
    path: &'a Path,
    file: &'a File,
    sections: BTreeMap<Tag, Section>,
}

impl<'a> Body<'a> {
    fn scan(path: &'a Path, file: &'a File, header: Header) -> Result<Self> {
        let failed = |source| io_error(path, "read", source);
        let mut reader = file;
        reader
            .seek(SeekFrom::Start(header.sections_at))
            .map_err(failed)?;
        let reader = BufReader::with_capacity(1 << 16, reader);
        let mut reader = Sections::new(reader, KIND, header.sections_at, header.len_bytes);
        let mut sections = BTreeMap::new();
        while !reader.is_at_end() {
            let section = reader.read().map_err(|fault| match fault {
                Fault::Io(source) => failed(source),
                Fault::Corrupt(fault) => corrupt(path, fault),
            })?;
            let (tag, offset_bytes) = (section.tag, section.offset_bytes);
            if sections.insert(tag, section).is_some() {
                let found = format!("{:?} once more", String::from_utf8_lossy(&tag));
                let fault = Corrupt::new(NAME, "section", offset_bytes, "each section once", found);
                return Err(corrupt(path, fault));
            }
        }
        Ok(Self {
            path,
            file,
            sections,
        })
    }

    fn payload(&self, tag: Tag, bytes_max: u64) -> Result<Vec<u8>> {
        let name = || String::from_utf8_lossy(&tag).into_owned();
        let wrong = |offset_bytes, expected: String, found: String| {
            let fault = Corrupt::new(NAME, "section", offset_bytes, expected, found);
            Err(corrupt(self.path, fault))
        };
        let Some(section) = self.sections.get(&tag) else {
            return wrong(0, name(), "none".to_owned());
        };
        if section.len_bytes > bytes_max {
            let expected = format!("{} of at most {bytes_max} bytes", name());
            return wrong(
                section.offset_bytes,
                expected,
                section.len_bytes.to_string(),
            );
        }
        let mut payload = vec![0; usize::try_from(section.len_bytes).unwrap_or(0)];
        let read = self.file.read_exact_at(&mut payload, section.offset_bytes);
        read.map_err(|source| io_error(self.path, "read", source))?;
        Ok(payload)
    }

    fn invalid(&self, section: &'static str, error: &str) -> crate::Error {
        let fault = Corrupt::new(NAME, section, 0, "a valid section", error);
        corrupt(self.path, fault)
    }
}
