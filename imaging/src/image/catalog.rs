//! The catalog: which snapshots there are.

use super::frame::FrameType;
use super::reference::Reference;
use crate::chunk::Digest;
use crate::record::manifest::Hex;
use klon_partition::Result;
use klon_partition::error::Corrupt;
use serde::{Deserialize, Serialize};

/// All snapshots of a file, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// Ascending by number.
    pub snapshots: Vec<CatalogEntry>,
    /// The number of the next snapshot.
    pub next_number: u64,
}

/// One snapshot, as much of it as a list shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogEntry {
    /// From 1 on; never given twice.
    pub number: u64,
    /// Its manifest.
    pub manifest: ManifestReference,
    /// When it was complete, in seconds since 1970 UTC.
    pub ended_unix_seconds: u64,
    /// What the user says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(with = "klon_partition::text::stored_option")]
    pub note: Option<String>,
    /// What was imaged.
    pub source: klon_partition::Identity,
    /// Size of that.
    pub source_bytes: u64,
    /// Bytes of it in use.
    pub used_bytes: u64,
    /// Bytes that it added to the file.
    pub added_bytes: u64,
}

/// A reference to a manifest, as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestReference {
    /// Position of the frame.
    pub position: u64,
    /// Length of the payload as stored.
    pub stored_bytes: u32,
    /// Length of the plain bytes.
    pub plain_bytes: u32,
    /// SHA-256 of the plain bytes: which snapshot it is.
    pub sha256: Hex,
}

impl From<Reference> for ManifestReference {
    fn from(reference: Reference) -> Self {
        Self {
            position: reference.position,
            stored_bytes: reference.stored_bytes,
            plain_bytes: reference.plain_bytes,
            sha256: Hex(reference.digest.0),
        }
    }
}

impl From<ManifestReference> for Reference {
    fn from(manifest: ManifestReference) -> Self {
        Self {
            position: manifest.position,
            stored_bytes: manifest.stored_bytes,
            plain_bytes: manifest.plain_bytes,
            digest: Digest(manifest.sha256.0),
        }
    }
}

impl Catalog {
    /// The snapshot of that number, or the last one.
    #[must_use]
    pub fn find(&self, number: Option<u64>) -> Option<&CatalogEntry> {
        match number {
            Some(number) => self.snapshots.iter().find(|entry| entry.number == number),
            None => self.snapshots.last(),
        }
    }

    pub(super) fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    /// From the plain bytes of the frame at `position`.
    pub(super) fn parse(bytes: &[u8], position: u64) -> Result<Self> {
        let wrong = |field, expected: &str, found: String| {
            let structure = FrameType::Catalog.name();
            Err(Corrupt::new(structure, field, position, expected, found).into())
        };
        let catalog: Self = match serde_json::from_slice(bytes) {
            Ok(catalog) => catalog,
            Err(error) => return wrong("JSON", "a catalog", error.to_string()),
        };
        let numbers: Vec<u64> = catalog.snapshots.iter().map(|entry| entry.number).collect();
        if !numbers.is_sorted_by(|a, b| a < b) {
            return wrong("numbers", "ascending", format!("{numbers:?}"));
        }
        if numbers
            .last()
            .is_some_and(|&last| last >= catalog.next_number)
        {
            let found = catalog.next_number.to_string();
            return wrong("next number", "above all others", found);
        }
        Ok(catalog)
    }
}
