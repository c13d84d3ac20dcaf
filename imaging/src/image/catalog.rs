//! The catalog: which snapshots there are.

pub(super) mod pages;

use super::frame::FrameType;
use super::manifest::{PartitionRest, is_all};
use super::reference::Reference;
use crate::chunk::Digest;
use crate::hex::Hex;
use crate::record::Consistency;
use klon_partition::error::Corrupt;
use klon_partition::{Error, Outside, Result};
use serde::{Deserialize, Serialize};

/// All snapshots of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// The name that the user gave to what was imaged, beside its identity: snapshots of one source
    /// with different names are of different things.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_name: Option<String>,
    /// What the user says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(with = "klon_partition::text::stored_option")]
    pub note: Option<String>,
    /// What was imaged.
    pub source: klon_partition::Identity,
    /// The size of the source.
    pub source_bytes: u64,
    /// Bytes of it in use.
    pub used_bytes: u64,
    /// Bytes that no one proved free and that it leaves out; unknown in entries of before there was this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out_bytes: Option<u64>,
    /// Which of the bytes that no one proved free it has; absent for all, and where that is not known.
    #[serde(default, skip_serializing_if = "is_all")]
    pub outside: Outside,
    /// Bytes that could not be read from the source; unknown in entries of before there was this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad_bytes: Option<u64>,
    /// How the source was at rest; absent when nobody had it mounted for writing, and in entries of before
    /// there was this.
    #[serde(default, skip_serializing_if = "Consistency::is_still")]
    pub consistency: Consistency,
    /// How each partition of a disk was at rest; absent when nobody had any of them mounted for writing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PartitionRest>,
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
    /// The snapshot with this number, or the last one.
    #[must_use]
    pub fn find(&self, number: Option<u64>) -> Option<&CatalogEntry> {
        match number {
            Some(number) => {
                let found = self
                    .snapshots
                    .binary_search_by_key(&number, |entry| entry.number);
                self.snapshots.get(found.ok()?)
            }
            None => self.snapshots.last(),
        }
    }
}

/// Checks the numbers of a catalog whose frame is at `position`.
fn ascending(catalog: &Catalog, position: u64) -> Result<()> {
    let numbers = || catalog.snapshots.iter().map(|entry| entry.number);
    if !numbers().is_sorted_by(|a, b| a < b) {
        let found = format!("{:?}", numbers().collect::<Vec<_>>());
        return Err(wrong("numbers", position, "ascending", found));
    }
    if numbers()
        .next_back()
        .is_some_and(|last| last >= catalog.next_number)
    {
        let found = catalog.next_number.to_string();
        return Err(wrong("next number", position, "above all others", found));
    }
    Ok(())
}

fn wrong(field: &'static str, position: u64, expected: &str, found: String) -> Error {
    Corrupt::new(FrameType::Catalog.name(), field, position, expected, found).into()
}
