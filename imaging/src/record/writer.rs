//! Writing a record: beside the old one, which it replaces when it is complete and durable.

use super::counted::Counted;
use super::format::header;
use super::manifest::Manifest;
use super::own_identity::OwnIdentity;
use super::reader::FILL_BYTES_MAX;
use super::spool::Spool;
use super::structure_digests::MetadataWriter;
use crate::chunk::{self, Digest, Digested, Pieces};
use crate::durable::{self, reserve};
#[cfg(doc)]
use crate::error::Error;
use crate::error::{Result, io_error};
use crate::extents::encode_extents;
use crate::section;
use crate::source::FillTexts;
use klon_partition::ExtentMap;
use sha2::{Digest as _, Sha256};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Room for what of a record is not digests, as far as it is known before: extents compress well.
const SLACK_BYTES: u64 = 64 << 10;

/// File name extension of records of runs that may not be complete on the target.
const PENDING_EXTENSION: &str = "pending";

/// A record being written. Dropped without [`into_place`](Self::into_place) it leaves no trace.
#[derive(Debug)]
pub struct RecordWriter {
    output: Hashing<BufWriter<NamedTempFile>>,
    path: PathBuf,
    digests: Counted,
    digests_count: u64,
    pieces: Option<Spool>,
    metadata: Option<MetadataWriter>,
    bad: ExtentMap,
    bad_fill: FillTexts,
    left_out: ExtentMap,
    own_identity: Option<OwnIdentity>,
}

impl RecordWriter {
    /// Begins a record that will be at `path` and have `digests_count` digests, which come about so.
    ///
    /// # Errors
    /// [`Error::RecordIo`].
    pub(super) fn begin(path: PathBuf, digests_count: u64, digested: Digested) -> Result<Self> {
        let payload_bytes = digests_count.saturating_mul(32);
        let begin = || -> io::Result<(Hashing<BufWriter<NamedTempFile>>, Option<Spool>)> {
            let file = durable::begin(&path, ".record-")?;
            // The digests of metadata are as many at most.
            let room_bytes = payload_bytes.saturating_mul(2).saturating_add(SLACK_BYTES);
            reserve(file.as_file(), room_bytes)?;
            let mut output = Hashing::new(BufWriter::new(file));
            output.write_all(&header(digested))?;
            output.begin_section(*b"DGST", payload_bytes)?;
            let pieces = match digested {
                Digested::Whole => None,
                Digested::InPieces => {
                    let len_bytes = digests_count.saturating_mul(Pieces::LEN as u64);
                    Some(Spool::begin(&path, len_bytes)?)
                }
            };
            Ok((output, pieces))
        };
        let (output, pieces) = begin().map_err(|source| io_error(&path, "begin", source))?;
        Ok(Self {
            output,
            path,
            digests: Counted::default(),
            digests_count,
            pieces,
            metadata: None,
            bad: ExtentMap::new(),
            bad_fill: FillTexts::default(),
            left_out: ExtentMap::new(),
            own_identity: None,
        })
    }

    /// Adds the digest of the next chunk.
    ///
    /// # Errors
    /// [`crate::Error::RecordIo`].
    pub fn push(&mut self, digest: Digest) -> Result<()> {
        self.push_in_pieces(digest, None)
    }

    /// Adds the digest of the next chunk, and those of its pieces where they are known.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_in_pieces(&mut self, digest: Digest, pieces: Option<&Pieces>) -> Result<()> {
        self.digests.add();
        let mut write = || -> io::Result<()> {
            self.output.write_all(&digest.0)?;
            match &mut self.pieces {
                Some(spool) => spool.write(&Pieces::to_bytes(pieces)),
                None => Ok(()),
            }
        };
        write().map_err(|source| io_error(&self.path, "write", source))
    }

    /// Begins the digests of the metadata in `map`, which [`keep_metadata`](Self::keep_metadata)
    /// takes when they are complete.
    ///
    /// # Errors
    /// [`Error::RecordIo`].
    pub fn begin_metadata(&self, map: ExtentMap) -> Result<MetadataWriter> {
        MetadataWriter::begin(self.path.clone(), map)
    }

    /// Keeps the digests of the metadata in the record.
    pub fn keep_metadata(&mut self, metadata: MetadataWriter) {
        self.metadata = Some(metadata);
    }

    /// Says what of the data could not be read from the source, and what stands there, if it is
    /// not zeroes.
    pub fn set_bad(&mut self, bad: ExtentMap, fill: FillTexts) {
        self.bad = bad;
        self.bad_fill = fill;
    }

    /// Says what of the source no one proved free, and was not copied.
    pub fn set_left_out(&mut self, left_out: ExtentMap) {
        self.left_out = left_out;
    }

    /// Says which identity the clone has of its own; `None` for its source's.
    pub fn set_own_identity(&mut self, own_identity: Option<OwnIdentity>) {
        self.own_identity = own_identity;
    }

    /// Completes the record, makes it durable, and puts it in the place of the old one.
    ///
    /// # Errors
    /// [`Error::RecordIo`]; [`Error::Internal`] when there are more or fewer digests than chunks.
    pub fn into_place(
        self,
        manifest: &Manifest,
        data: &ExtentMap,
        zero: &ExtentMap,
        changed: &ExtentMap,
    ) -> Result<()> {
        self.complete(manifest, data, zero, changed)?.replace()
    }

    /// Completes the record and makes its content durable.
    ///
    /// # Errors
    /// As [`into_place`](Self::into_place).
    pub fn complete(
        self,
        manifest: &Manifest,
        data: &ExtentMap,
        zero: &ExtentMap,
        changed: &ExtentMap,
    ) -> Result<CompleteRecord> {
        self.digests.check("chunks", self.digests_count)?;
        if let Some(metadata) = &self.metadata {
            let chunks = chunk::chunks(&metadata.map, manifest.source_bytes);
            metadata.check(chunks.count() as u64)?;
        }
        let Self {
            mut output,
            path,
            pieces,
            metadata,
            bad,
            bad_fill,
            left_out,
            own_identity,
            ..
        } = self;
        let finish = || -> io::Result<(NamedTempFile, [u8; 32])> {
            output.end_section()?;
            if let Some(pieces) = pieces {
                output.begin_section(*b"PIEC", pieces.len_bytes())?;
                output.copy(pieces.rewind()?)?;
                output.end_section()?;
            }
            output.section(*b"DATA", &encode_extents(data)?)?;
            output.section(*b"ZERO", &encode_extents(zero)?)?;
            output.section(*b"CHNG", &encode_extents(changed)?)?;
            if let Some(metadata) = metadata {
                output.section(*b"MDEX", &encode_extents(&metadata.map)?)?;
                output.begin_section(*b"MDGS", metadata.len_bytes())?;
                output.copy(metadata.rewind()?)?;
                output.end_section()?;
            }
            if !bad.is_empty() {
                output.section(*b"BADS", &encode_extents(&bad)?)?;
                if !bad_fill.is_empty() {
                    output.section(*b"FILL", &encode_texts(&bad_fill)?)?;
                }
            }
            if !left_out.is_empty() {
                output.section(*b"LEFT", &encode_extents(&left_out)?)?;
            }
            if let Some(own) = own_identity {
                output.section(*b"IDNT", &serde_json::to_vec(&own)?)?;
                output.section(*b"IDEX", &encode_extents(&own.changed)?)?;
            }
            output.section(*b"META", &serde_json::to_vec(manifest)?)?;
            let digest = output.digest();
            output.section(*b"END ", &digest)?;
            let file = output.inner.into_inner()?;
            file.as_file().sync_all()?;
            Ok((file, digest))
        };
        let (file, digest) = finish().map_err(|source| io_error(&path, "write", source))?;
        Ok(CompleteRecord { file, path, digest })
    }
}

/// The payload of FILL.
fn encode_texts(texts: &FillTexts) -> io::Result<Vec<u8>> {
    let payload = texts.iter().collect::<Vec<_>>().join("\0").into_bytes();
    if payload.len() as u64 > FILL_BYTES_MAX {
        let message = "too many texts stand in the place of bad sectors";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(payload)
}

/// A record that is complete, but has no name yet. Dropped it leaves no trace.
#[derive(Debug)]
pub struct CompleteRecord {
    file: NamedTempFile,
    path: PathBuf,
    digest: [u8; 32],
}

impl CompleteRecord {
    /// Which record it is, as [`Record::digest`](super::Record::digest).
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Puts it in the place of the old one, durably.
    ///
    /// # Errors
    /// [`Error::RecordIo`].
    pub fn replace(self) -> Result<()> {
        let path = self.path.clone();
        self.persist(&path)
    }

    /// Puts it beside the old one, durably, until the run is complete that it describes.
    ///
    /// # Errors
    /// [`Error::RecordIo`].
    pub fn keep_pending(self) -> Result<()> {
        let path = pending_path(&self.path);
        self.persist(&path)
    }

    fn persist(self, path: &Path) -> Result<()> {
        durable::name(self.file, path)
            .map(drop)
            .map_err(|source| io_error(path, "write", source))
    }
}

/// The path of a pending record, beside the record at `path`. It waits until its run is complete on the target.
pub(super) fn pending_path(path: &Path) -> PathBuf {
    path.with_extension(PENDING_EXTENSION)
}

/// Keeps the checksums of what is written.
#[derive(Debug)]
pub(super) struct Hashing<W> {
    pub(super) inner: W,
    whole: Sha256,
    section_crc: u32,
}

impl<W: Write> Hashing<W> {
    pub(super) fn new(inner: W) -> Self {
        Self {
            inner,
            whole: Sha256::new(),
            section_crc: 0,
        }
    }

    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.whole.update(bytes);
        self.section_crc = crc32c::crc32c_append(self.section_crc, bytes);
        self.inner.write_all(bytes)
    }

    pub(super) fn copy(&mut self, mut from: impl Read) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match from.read(&mut buffer)? {
                0 => return Ok(()),
                len => self.write_all(&buffer[..len])?,
            }
        }
    }

    fn begin_section(&mut self, tag: [u8; 4], payload_bytes: u64) -> io::Result<()> {
        self.section_crc = 0;
        self.write_all(&section::header(tag, payload_bytes))
    }

    fn end_section(&mut self) -> io::Result<()> {
        let crc = self.section_crc.to_le_bytes();
        self.write_all(&crc)
    }

    pub(super) fn section(&mut self, tag: [u8; 4], payload: &[u8]) -> io::Result<()> {
        self.begin_section(tag, u64::try_from(payload.len()).unwrap_or(u64::MAX))?;
        self.write_all(payload)?;
        self.end_section()
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        self.whole.clone().finalize().into()
    }
}
