//! What is in the sections of a record, each by its own checksum.

use super::format::{META_BYTES_MAX, NAME};
use super::manifest::Manifest;
use super::own_identity::{self, OwnIdentity};
use super::scan::Sections;
use crate::error::{Result, corrupt, io_error};
use crate::extents::decode_extents;
use crate::section;
use crate::source::FillTexts;
use klon_partition::error::Corrupt;
use klon_partition::{Extent, ExtentMap};
use std::fmt::Display;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The texts that stand in the place of bad sectors are never longer: none needs more than a sector, and
/// a disk has few partitions.
pub(super) const FILL_BYTES_MAX: u64 = 1 << 20;

/// The payload of a map is never longer: its extents compress well.
const MAP_BYTES_MAX: u64 = 1 << 30;

/// What a record keeps of a filesystem's metadata.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) map: ExtentMap,
    pub(super) digests: Extent,
}

/// The sections of a record that is being read.
pub(super) struct Reader<'a> {
    pub(super) path: &'a Path,
    pub(super) file: &'a File,
    pub(super) sections: &'a Sections,
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
            Some(extent) => self.checked(extent),
        }
    }

    /// The payload at `extent`, if its checksum is right.
    fn checked(&self, extent: Extent) -> Result<Vec<u8>> {
        let failed = |source| io_error(self.path, "read", source);
        let whole = section::around(extent);
        let len = usize::try_from(whole.end - whole.start);
        let mut bytes = vec![0; len.map_err(|error| failed(io::Error::other(error)))?];
        let read = self.file.read_exact_at(&mut bytes, whole.start);
        read.map_err(failed)?;
        section::payload(NAME, bytes, extent.offset_bytes()).map_err(|it| corrupt(self.path, it))
    }

    fn invalid(&self, section: &'static str, error: impl Display) -> crate::Error {
        corrupt(
            self.path,
            Corrupt::new(NAME, section, 0, "a valid section", error),
        )
    }

    pub(super) fn manifest(&self) -> Result<Manifest> {
        let meta = self.payload(b"META", META_BYTES_MAX)?;
        let manifest: Manifest =
            serde_json::from_slice(&meta).map_err(|error| self.invalid("META", error))?;
        manifest
            .check()
            .map_err(|error| self.invalid("META", error))?;
        Ok(manifest)
    }

    /// A map of what lies below `end_bytes`.
    pub(super) fn map(
        &self,
        tag: &[u8; 4],
        name: &'static str,
        end_bytes: u64,
    ) -> Result<ExtentMap> {
        let payload = self.payload(tag, MAP_BYTES_MAX)?;
        decode_extents(&payload, end_bytes).map_err(|error| self.invalid(name, error))
    }

    /// The map of a section that need not be there.
    pub(super) fn map_if_any(
        &self,
        tag: &[u8; 4],
        name: &'static str,
        end_bytes: u64,
    ) -> Result<ExtentMap> {
        match self.sections.has(*tag) {
            true => self.map(tag, name, end_bytes),
            false => Ok(ExtentMap::new()),
        }
    }

    /// What stands in the place of bad sectors.
    pub(super) fn bad_fill(&self) -> Result<FillTexts> {
        if !self.sections.has(*b"FILL") {
            return Ok(FillTexts::default());
        }
        let texts = self.payload(b"FILL", FILL_BYTES_MAX)?;
        let texts = texts.split(|&byte| byte == 0);
        Ok(texts.map(String::from_utf8_lossy).collect())
    }

    /// The identity that the clone has of its own.
    pub(super) fn own_identity(&self, end_bytes: u64) -> Result<Option<OwnIdentity>> {
        if !self.sections.has(*b"IDNT") {
            return Ok(None);
        }
        let text = self.payload(b"IDNT", own_identity::BYTES_MAX)?;
        let found: OwnIdentity =
            serde_json::from_slice(&text).map_err(|error| self.invalid("IDNT", error))?;
        found.check().map_err(|error| self.invalid("IDNT", error))?;
        let changed = self.map(b"IDEX", "IDEX", end_bytes)?;
        Ok(Some(OwnIdentity { changed, ..found }))
    }

    pub(super) fn metadata(&self, manifest: &Manifest) -> Result<Option<Metadata>> {
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

/// Only what is in use can have been lost.
pub(super) fn check_bad(path: &Path, bad: &ExtentMap, data: &ExtentMap) -> Result<()> {
    let Some(extent) = bad.difference(data).iter().next() else {
        return Ok(());
    };
    let found = format!("{extent} is not in DATA");
    Err(corrupt(
        path,
        Corrupt::new(NAME, "BADS", 0, "a part of DATA", found),
    ))
}
