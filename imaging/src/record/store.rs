//! The state directory: finding, reading and checking records.

mod digests;

use super::format::{HEADER_LEN, META_BYTES_MAX, NAME};
use super::leftover::remove_left_over;
use super::manifest::Manifest;
use super::scan::Sections;
use super::writer::RecordWriter;
use crate::chunk::{self, Digest};
use crate::durable;
use crate::error::{Result, corrupt, io_error};
use crate::extents::decode_extents;
use klon_partition::error::Corrupt;
use klon_partition::{Extent, ExtentMap, Identity};
use std::fmt::Display;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// File name extension of write-intent logs.
const LOG_EXTENSION: &str = "klonlog";

/// File name extension of map files of rescues.
const MAP_EXTENSION: &str = "map";

/// File name extension of records.
const EXTENSION: &str = "klonrec";

/// A directory of records.
#[derive(Clone, Debug)]
pub struct RecordStore {
    directory: PathBuf,
}

impl RecordStore {
    /// The records in `directory`, which is created when the first one is written.
    #[must_use]
    pub const fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Where the records are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file of the record of `target`.
    #[must_use]
    pub fn path(&self, target: &Identity) -> PathBuf {
        self.directory
            .join(format!("{}.{EXTENSION}", file_stem(target)))
    }

    /// The file of the write-intent log of a run to `target`.
    #[must_use]
    pub fn log_path(&self, target: &Identity) -> PathBuf {
        self.directory
            .join(format!("{}.{LOG_EXTENSION}", file_stem(target)))
    }

    /// Forgets the log of an interrupted run to `target`, if there is one.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`].
    pub fn remove_log(&self, target: &Identity) -> Result<()> {
        let path = self.log_path(target);
        durable::remove_lazily(&path)
            .map(drop)
            .map_err(|source| io_error(&path, "remove", source))
    }

    /// The record of `target`, its checksums verified; `None` when there is none.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`], [`crate::Error::RecordCorrupt`].
    pub fn load(&self, target: &Identity) -> Result<Option<Record>> {
        Self::load_at(&self.path(target), target)
    }

    /// The record of `target` at `path`.
    pub(super) fn load_at(path: &Path, target: &Identity) -> Result<Option<Record>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io_error(path, "open", source)),
        };
        let record = Record::read(path, file)?;
        if &record.manifest.target != target {
            let found = &record.manifest.target;
            return Err(corrupt(
                path,
                Corrupt::new(NAME, "target", 0, target, found),
            ));
        }
        Ok(Some(record))
    }

    /// Begins a new record of `target`, and removes what killed runs left of theirs.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`].
    pub fn begin(&self, target: &Identity, digests_count: u64) -> Result<RecordWriter> {
        std::fs::create_dir_all(&self.directory)
            .map_err(|source| io_error(&self.directory, "create the directory", source))?;
        remove_left_over(&self.directory);
        RecordWriter::begin(self.path(target), digests_count)
    }

    /// Forgets the record of `target`, durably, if there is one.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`].
    pub fn remove(&self, target: &Identity) -> Result<()> {
        let path = self.path(target);
        durable::remove(&path).map_err(|source| io_error(&path, "remove", source))
    }

    /// The map file of a rescue to `target`, where none is named.
    #[must_use]
    pub fn map_path(&self, target: &Identity) -> PathBuf {
        self.directory
            .join(format!("{}.{MAP_EXTENSION}", file_stem(target)))
    }

    /// Finds out whether a record of `target` could be written now.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`].
    pub fn check_writable(&self, target: &Identity) -> Result<()> {
        self.begin(target, 0).map(drop)
    }

    /// The manifests of all records that can be read.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`] when the directory exists but can't be listed.
    pub fn manifests(&self) -> Result<Vec<Manifest>> {
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(io_error(&self.directory, "list", source)),
        };
        let mut manifests = Vec::new();
        for entry in entries {
            let path = entry
                .map_err(|source| io_error(&self.directory, "list", source))?
                .path();
            if path
                .extension()
                .is_some_and(|extension| extension == EXTENSION)
            {
                let file = File::open(&path).map_err(|source| io_error(&path, "open", source))?;
                // A damaged record says nothing; the run that needs it names it.
                manifests.extend(Record::read(&path, file).ok().map(|record| record.manifest));
            }
        }
        Ok(manifests)
    }
}

/// A name that is safe in any directory and different for different identities.
fn file_stem(target: &Identity) -> String {
    let text = String::from(target.clone());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.len() <= 80 && target.value().chars().all(is_plain) {
        return text.replacen(':', "-", 1);
    }
    let kind = text.split(':').next().unwrap_or_default();
    format!("{kind}-{}", &Digest::of(text.as_bytes()).to_string()[..32])
}

/// A text that stands in the place of bad sectors is never longer: nothing needs more than a sector.
const FILL_BYTES_MAX: u64 = 4096;

/// The payload of a map is never longer: its extents compress well.
const MAP_BYTES_MAX: u64 = 1 << 30;

/// A record whose checksums were right when it was opened.
#[derive(Debug)]
pub struct Record {
    /// Everything but extents and digests.
    pub manifest: Manifest,
    /// Extents whose bytes are in use.
    pub data: ExtentMap,
    /// Extents that are in use and zero.
    pub zero: ExtentMap,
    /// Blocks that differed in the last run.
    pub changed: ExtentMap,
    /// Extents of the data that could not be read from the source, and are zero.
    pub bad: ExtentMap,
    /// What stands there, repeated from the start of each sector on; `None` for zeroes.
    pub bad_fill: Option<String>,
    /// What of the source no one proved free, and was not copied.
    pub left_out: ExtentMap,
    /// SHA-256 of the record: which one it is.
    pub digest: [u8; 32],
    path: PathBuf,
    file: File,
    digests: Option<Extent>,
    metadata: Option<Metadata>,
}

/// What a record keeps of a filesystem's metadata.
#[derive(Debug)]
struct Metadata {
    map: ExtentMap,
    digests: Extent,
}

/// The sections of a record that is being read.
struct Reader<'a> {
    path: &'a Path,
    file: &'a File,
    sections: &'a Sections,
}

impl Reader<'_> {
    /// The payload of a section that must be there.
    fn payload(&self, tag: &[u8; 4], bytes_max: u64) -> Result<Vec<u8>> {
        match self.sections.get(self.path, *tag)? {
            None => Ok(Vec::new()),
            Some(extent) if extent.len_bytes() > bytes_max => {
                let expected = format!("at most {bytes_max}");
                let (offset_bytes, found) = (extent.offset_bytes(), extent.len_bytes());
                let fault = Corrupt::new(NAME, "section length", offset_bytes, expected, found);
                Err(corrupt(self.path, fault))
            }
            Some(extent) => read_payload(self.file, extent)
                .map_err(|source| io_error(self.path, "read", source)),
        }
    }

    fn invalid(&self, section: &'static str, error: impl Display) -> crate::Error {
        corrupt(
            self.path,
            Corrupt::new(NAME, section, 0, "a valid section", error),
        )
    }

    fn manifest(&self) -> Result<Manifest> {
        let meta = self.payload(b"META", META_BYTES_MAX)?;
        let manifest: Manifest =
            serde_json::from_slice(&meta).map_err(|error| self.invalid("META", error))?;
        manifest
            .check()
            .map_err(|error| self.invalid("META", error))?;
        Ok(manifest)
    }

    /// A map of what lies below `end_bytes`.
    fn map(&self, tag: &[u8; 4], name: &'static str, end_bytes: u64) -> Result<ExtentMap> {
        let payload = self.payload(tag, MAP_BYTES_MAX)?;
        decode_extents(&payload, end_bytes).map_err(|error| self.invalid(name, error))
    }

    /// The same of a section that need not be there.
    fn map_if_any(&self, tag: &[u8; 4], name: &'static str, end_bytes: u64) -> Result<ExtentMap> {
        match self.sections.has(*tag) {
            true => self.map(tag, name, end_bytes),
            false => Ok(ExtentMap::new()),
        }
    }

    /// What stands in the place of bad sectors.
    fn bad_fill(&self) -> Result<Option<String>> {
        if !self.sections.has(*b"FILL") {
            return Ok(None);
        }
        let text = self.payload(b"FILL", FILL_BYTES_MAX)?;
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }

    fn metadata(&self, manifest: &Manifest) -> Result<Option<Metadata>> {
        let (map, digests) = (self.sections.find(*b"MDEX"), self.sections.find(*b"MDGS"));
        match (map, digests) {
            (Some(_), Some(digests)) if manifest.metadata_digest.is_some() => {
                let map = self.map(b"MDEX", "MDEX", manifest.target_bytes)?;
                Ok(Some(Metadata { map, digests }))
            }
            _ => Ok(None),
        }
    }
}

impl Record {
    fn read(path: &Path, file: File) -> Result<Self> {
        let sections = Sections::scan(path, &file)?;
        let reader = Reader {
            path,
            file: &file,
            sections: &sections,
        };
        let manifest = reader.manifest()?;
        let end_bytes = manifest.target_bytes;
        let data = reader.map(b"DATA", "DATA", end_bytes)?;
        let zero = reader.map(b"ZERO", "ZERO", end_bytes)?;
        let changed = reader.map(b"CHNG", "CHNG", end_bytes)?;
        let bad = reader.map_if_any(b"BADS", "BADS", end_bytes)?;
        if let Some(extent) = bad.difference(&data).iter().next() {
            return Err(bad_section(path, format!("{extent} is not in DATA")));
        }
        let bad_fill = reader.bad_fill()?;
        let left_out = reader.map_if_any(b"LEFT", "LEFT", end_bytes)?;
        let digests = sections.get(path, *b"DGST")?;
        let metadata = reader.metadata(&manifest)?;
        let record = Self {
            manifest,
            data,
            zero,
            changed,
            bad,
            bad_fill,
            left_out,
            digest: sections.digest,
            path: path.to_owned(),
            file,
            digests,
            metadata,
        };
        let wanted = record.wanted();
        record.check_digest_count("length of DGST", &wanted, record.digests)?;
        if let Some(Metadata { map, digests }) = &record.metadata {
            record.check_digest_count("length of MDGS", map, Some(*digests))?;
        }
        Ok(record)
    }

    fn check_digest_count(
        &self,
        what: &'static str,
        map: &ExtentMap,
        found: Option<Extent>,
    ) -> Result<()> {
        let found_bytes = found.map_or(0, Extent::len_bytes);
        // The map of a damaged record may have more chunks than anyone could count.
        let count_max = usize::try_from(found_bytes / 32).unwrap_or(usize::MAX);
        let count_max = count_max.saturating_add(1);
        let chunks = chunk::chunks(map, self.manifest.source_bytes);
        let count = chunks.take(count_max).count();
        let expected_bytes = u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(32);
        if expected_bytes == found_bytes {
            return Ok(());
        }
        let expected = match count == count_max {
            true => format!("at least {expected_bytes}"),
            false => expected_bytes.to_string(),
        };
        Err(corrupt(
            &self.path,
            Corrupt::new(NAME, what, HEADER_LEN as u64, expected, found_bytes),
        ))
    }

    /// Everything that target and source shared.
    #[must_use]
    pub fn wanted(&self) -> ExtentMap {
        self.data.union(&self.zero)
    }

    /// The file of the record.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn bad_section(path: &Path, found: String) -> crate::Error {
    corrupt(path, Corrupt::new(NAME, "BADS", 0, "a part of DATA", found))
}

fn read_payload(file: &File, extent: Extent) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let len = usize::try_from(extent.len_bytes()).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, extent.offset_bytes())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
