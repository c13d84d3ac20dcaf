//! The state directory: finding, reading and checking records.

mod digests;

use super::format::{HEADER_LEN, NAME};
use super::leftover::remove_left_over;
use super::manifest::Manifest;
use super::outline::Outline;
use super::own_identity::OwnIdentity;
use super::reader::{Metadata, Reader, check_bad};
use super::scan::Sections;
use super::writer::RecordWriter;
use crate::chunk::{self, Digest, Digested, Pieces};
use crate::durable;
use crate::error::{Result, corrupt, io_error};
use crate::source::FillTexts;
use klon_partition::error::Corrupt;
use klon_partition::{Extent, ExtentMap, Identity};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// File name extension of write-intent logs.
const LOG_EXTENSION: &str = "klonlog";

/// File name extension of map files of rescues.
const MAP_EXTENSION: &str = "map";

/// File name extension of evidence.
const EVIDENCE_EXTENSION: &str = "evidence";

/// File name extension of records.
const EXTENSION: &str = "klonrec";

/// A directory of records.
#[derive(Clone, Debug)]
pub struct RecordStore {
    directory: PathBuf,
}

/// A volume that an image has snapshots of.
#[derive(Clone, Copy, Debug)]
pub struct ImageSource<'a> {
    /// The source that the volume is on.
    pub identity: &'a Identity,
    /// The name that the user gave to the source.
    pub given_name: Option<&'a str>,
    /// The number of the partition; 0 for the whole source.
    pub partition: u32,
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

    /// The file of evidence: what the last run to `target` kept of the source's files.
    #[must_use]
    pub fn evidence_path(&self, target: &Identity) -> PathBuf {
        self.directory
            .join(format!("{}.{EVIDENCE_EXTENSION}", file_stem(target)))
    }

    /// The file of the evidence for a volume in an image. The last run that added a snapshot of it wrote the
    /// file. The image is known by its UUID, wherever its file is.
    #[must_use]
    pub fn image_evidence_path(&self, image: Uuid, of: ImageSource<'_>) -> PathBuf {
        let ImageSource {
            identity,
            given_name,
            partition,
        } = of;
        let source = String::from(identity.clone());
        // No name has a control character.
        let text = format!("{source}\n{partition}\n{}", given_name.unwrap_or_default());
        let name = Digest::of(text.as_bytes()).to_string();
        self.directory.join(format!(
            "image-{image}-{}.{EVIDENCE_EXTENSION}",
            &name[..32]
        ))
    }

    /// Removes what killed runs left.
    pub(crate) fn remove_left_over(&self) {
        remove_left_over(&self.directory);
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

    /// The record of `target` without its digests, by the checksums of what is read of it; `None` when
    /// there is none. What is damaged elsewhere is found when the record is [loaded](Self::load).
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`], [`crate::Error::RecordCorrupt`].
    pub fn outline(&self, target: &Identity) -> Result<Option<Outline>> {
        let path = self.path(target);
        match Outline::open(&path) {
            Ok(outline) => {
                let outline = outline?;
                check_target(&path, target, &outline.manifest)?;
                Ok(Some(outline))
            }
            Err(_) if !path.exists() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The record of `target` at `path`.
    pub(super) fn load_at(path: &Path, target: &Identity) -> Result<Option<Record>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io_error(path, "open", source)),
        };
        let record = Record::read(path, file)?;
        check_target(path, target, &record.manifest)?;
        Ok(Some(record))
    }

    /// Begins a new record of `target` with digests of whole chunks, and removes what killed runs left of
    /// theirs.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`].
    pub fn begin(&self, target: &Identity, digests_count: u64) -> Result<RecordWriter> {
        self.begin_digested(target, digests_count, Digested::Whole)
    }

    /// The same, where the digests come about as `digested` says.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`].
    pub fn begin_digested(
        &self,
        target: &Identity,
        digests_count: u64,
        digested: Digested,
    ) -> Result<RecordWriter> {
        std::fs::create_dir_all(&self.directory)
            .map_err(|source| io_error(&self.directory, "create the directory", source))?;
        self.remove_left_over();
        RecordWriter::begin(self.path(target), digests_count, digested)
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

    /// The manifests of all records. A record whose manifest can't be read is left out.
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
                // A damaged record says nothing; the run that needs it names it.
                let outline = Outline::open(&path)?.ok();
                manifests.extend(outline.map(|outline| outline.manifest));
            }
        }
        Ok(manifests)
    }
}

fn check_target(path: &Path, target: &Identity, manifest: &Manifest) -> Result<()> {
    let found = &manifest.target;
    match found == target {
        true => Ok(()),
        false => Err(corrupt(
            path,
            Corrupt::new(NAME, "target", 0, target, found),
        )),
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
    /// What stands there beside zeroes.
    pub bad_fill: FillTexts,
    /// The bytes of the source that nobody proved free, and that were not copied.
    pub left_out: ExtentMap,
    /// The identity that the clone has of its own; `None` where it has its source's.
    pub own_identity: Option<OwnIdentity>,
    /// SHA-256 of the record: which one it is.
    pub digest: [u8; 32],
    /// How the digests of its chunks come about.
    pub digested: Digested,
    path: PathBuf,
    file: File,
    digests: Option<Extent>,
    pieces: Option<Extent>,
    metadata: Option<Metadata>,
}

impl Record {
    fn read(path: &Path, file: File) -> Result<Self> {
        let (sections, digest) = Sections::scan(path, &file)?;
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
        check_bad(path, &bad, &data)?;
        let bad_fill = reader.bad_fill()?;
        let left_out = reader.map_if_any(b"LEFT", "LEFT", end_bytes)?;
        let own_identity = reader.own_identity(end_bytes)?;
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
            own_identity,
            digest,
            digested: sections.digested,
            path: path.to_owned(),
            file,
            digests,
            pieces: sections.find(*b"PIEC"),
            metadata,
        };
        let wanted = record.wanted();
        record.check_digest_count("length of DGST", &wanted, record.digests)?;
        record.check_pieces()?;
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

    fn check_pieces(&self) -> Result<()> {
        const EACH: u64 = (Pieces::LEN / Digest::LEN) as u64;
        let expected = self.digests.map_or(0, Extent::len_bytes) * EACH;
        match self.pieces.map(Extent::len_bytes) {
            Some(found) if found != expected => {
                let fault =
                    Corrupt::new(NAME, "length of PIEC", HEADER_LEN as u64, expected, found);
                Err(corrupt(&self.path, fault))
            }
            _ => Ok(()),
        }
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

#[cfg(test)]
mod tests;
