//! A snapshot's manifest: what was imaged, which bytes, and where its pages are.

use super::reference::Reference;
use crate::extents::{decode_extents, encode_extents};
use crate::hex::Hex;
use crate::record::format::META_BYTES_MAX;
use crate::record::manifest::{Consistency, FilesystemId};
use crate::rung::Rung;
use crate::section::{self, Fault, Section, Sections, Tag};
use klon_partition::bytes::le64;
use klon_partition::error::Corrupt;
use klon_partition::{Error, Extent, ExtentMap, Identity, Outside, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use uuid::Uuid;

/// Everything of a snapshot but its chunks.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotManifest {
    /// What was imaged, when and how.
    pub meta: SnapshotMeta,
    /// Extents whose bytes are in the image.
    pub data: ExtentMap,
    /// Extents that are in use and zero.
    pub zero: ExtentMap,
    /// Extents of the data that could not be read from the source, and are zero.
    pub bad: ExtentMap,
    /// Extents of the source that are not proven free, and are left out of the image by choice.
    pub left_out: ExtentMap,
    /// Numbers and references of the pages that are not empty, ascending.
    pub tree: Vec<(u64, Reference)>,
}

/// The `META` section, as JSON. Unknown keys are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// What was imaged.
    pub source: Identity,
    /// What it was called then, for people.
    #[serde(with = "klon_partition::text::stored")]
    pub name: String,
    /// Whether it was a volume or a disk with partitions.
    pub kind: VolumeKind,
    /// Size of it.
    pub source_bytes: u64,
    /// Its logical sector size.
    pub sector_bytes: u32,
    /// For a volume: what it is formatted as, if klon recognized that.
    pub filesystem: Option<FilesystemId>,
    /// Of a volume: the filesystem's change token.
    pub token: Option<Hex>,
    /// Of a disk: the GUID of its GPT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_guid: Option<Uuid>,
    /// For a disk: its partitions, in the order of their numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PartitionId>,
    /// The name that the user gave to what was imaged, beside its identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_name: Option<String>,
    /// What the user says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(with = "klon_partition::text::stored_option")]
    pub note: Option<String>,
    /// Which of the bytes that are not proven free were imaged; absent when all were.
    #[serde(default, skip_serializing_if = "is_all")]
    pub outside: Outside,
    /// Whether a journal of the source was replayed for it: the source itself was not in the state that was
    /// imaged. `replayed`, absent when it was not.
    #[serde(
        default,
        rename = "replayed",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_replayed: bool,
    /// How the source was at rest when it was read; absent when nobody had it mounted for writing.
    #[serde(default, skip_serializing_if = "Consistency::is_still")]
    pub consistency: Consistency,
    /// When a clone was imaged: where it ends, by its record. Bytes behind it were on the drive before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone_bytes: Option<u64>,
    /// The run that made it.
    pub run: SnapshotRun,
}

/// Whether a choice need not be written.
pub(super) fn is_all(outside: &Outside) -> bool {
    *outside == Outside::All
}

/// Whether a volume or a disk with partitions was imaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeKind {
    /// A volume.
    Volume,
    /// A disk with a partition table.
    Disk,
}

/// A partition of an imaged disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionId {
    /// Its number in the table, from 1.
    pub number: u32,
    /// Where it lies on the disk: offset and length in bytes.
    pub extent: Extent,
    /// Its GPT name.
    #[serde(with = "klon_partition::text::stored")]
    pub name: String,
    /// Its unique GUID.
    pub guid: Option<Uuid>,
    /// What it is formatted as, if that was recognized.
    pub filesystem: Option<FilesystemId>,
    /// Bytes of it in use.
    pub used_bytes: u64,
    /// As [`SnapshotMeta::clone_bytes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone_bytes: Option<u64>,
    /// How it was at rest when it was read; absent when nobody had it mounted for writing.
    #[serde(default, skip_serializing_if = "Consistency::is_still")]
    pub consistency: Consistency,
}

/// How a partition of a disk was at rest when the disk was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRest {
    /// Its number in the table, from 1.
    pub number: u32,
    /// How it was.
    pub consistency: Consistency,
}

/// How the partitions of a disk were at rest; none where nobody had any of them mounted for writing.
pub(super) fn at_rest(partitions: &[PartitionId]) -> Vec<PartitionRest> {
    let all = partitions.iter().map(|partition| PartitionRest {
        number: partition.number,
        consistency: partition.consistency,
    });
    match partitions.iter().all(|it| it.consistency.is_still()) {
        true => Vec::new(),
        false => all.collect(),
    }
}

/// The run that made a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRun {
    /// When it ended, in seconds since 1970 UTC.
    pub ended_unix_seconds: u64,
    /// How changes were found.
    pub rung: Rung,
    /// Why that way.
    #[serde(with = "klon_partition::text::stored")]
    pub reason: String,
    /// Bytes of the source in use.
    pub used_bytes: u64,
    /// Bytes read from the source.
    pub read_source_bytes: u64,
    /// Plain bytes of chunks that the snapshot before did not have.
    pub changed_bytes: u64,
    /// Bytes of chunks added to the file, as stored.
    pub added_bytes: u64,
    /// How long it took.
    pub milliseconds: u64,
}

const TREE_ENTRY_LEN: usize = 8 + Reference::LEN;

impl SnapshotMeta {
    /// How the partitions of a disk were at rest; none where nobody had any of them mounted for writing.
    #[must_use]
    pub fn at_rest(&self) -> Vec<PartitionRest> {
        at_rest(&self.partitions)
    }
}

impl SnapshotManifest {
    /// Everything that the source used.
    #[must_use]
    pub fn wanted(&self) -> ExtentMap {
        self.data.union(&self.zero)
    }

    /// The plain bytes of its frame.
    pub(super) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        section::push(&mut bytes, *b"META", &serde_json::to_vec(&self.meta)?);
        section::push(&mut bytes, *b"DATA", &encode_extents(&self.data)?);
        section::push(&mut bytes, *b"ZERO", &encode_extents(&self.zero)?);
        if !self.bad.is_empty() {
            section::push(&mut bytes, *b"BADS", &encode_extents(&self.bad)?);
        }
        if !self.left_out.is_empty() {
            section::push(&mut bytes, *b"LEFT", &encode_extents(&self.left_out)?);
        }
        let mut tree = Vec::with_capacity(self.tree.len() * TREE_ENTRY_LEN);
        for (number, reference) in &self.tree {
            tree.extend(number.to_le_bytes());
            tree.extend(reference.to_bytes());
        }
        section::push(&mut bytes, *b"TREE", &tree);
        Ok(bytes)
    }

    /// From the plain bytes of the frame at `position`.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub(super) fn parse(bytes: &[u8], position: u64) -> Result<Self> {
        let sections = Payloads::parse(bytes, position)?;
        let meta: SnapshotMeta = {
            let meta = sections.get(b"META")?;
            if meta.len() as u64 > META_BYTES_MAX {
                return Err(sections.wrong("META", "at most 16 MiB", meta.len().to_string()));
            }
            serde_json::from_slice(meta)
                .map_err(|error| sections.wrong("META", "valid JSON", error.to_string()))?
        };
        if !meta.sector_bytes.is_power_of_two() || !(512..=65536).contains(&meta.sector_bytes) {
            let found = meta.sector_bytes.to_string();
            return Err(sections.wrong("sector_bytes", "a power of two from 512 on", found));
        }
        let size_bytes = meta.source_bytes;
        let extents = |tag: &[u8; 4], payload: &[u8]| {
            decode_extents(payload, size_bytes).map_err(|why| {
                let field = if tag == b"DATA" { "DATA" } else { "extents" };
                sections.wrong(field, "extents in order", why)
            })
        };
        let data = extents(b"DATA", sections.get(b"DATA")?)?;
        let zero = extents(b"ZERO", sections.get(b"ZERO")?)?;
        let bad = match sections.find(b"BADS") {
            Some(payload) => extents(b"BADS", payload)?,
            None => ExtentMap::new(),
        };
        let left_out = match sections.find(b"LEFT") {
            Some(payload) => extents(b"LEFT", payload)?,
            None => ExtentMap::new(),
        };
        let tree = sections.get(b"TREE")?;
        let entries = tree.chunks_exact(TREE_ENTRY_LEN);
        let is_whole = entries.remainder().is_empty();
        let tree: Vec<_> = entries
            .map(|entry| (le64(entry, 0), Reference::parse(&entry[8..])))
            .collect();
        if !is_whole || !tree.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(sections.wrong("TREE", "pages in order", "others".to_owned()));
        }
        Ok(Self {
            meta,
            data,
            zero,
            bad,
            left_out,
            tree,
        })
    }
}

/// The sections of a manifest that this program knows and a reader may not skip.
const KIND: section::Kind = section::Kind {
    name: NAME,
    known: &[*b"META", *b"DATA", *b"ZERO", *b"BADS", *b"LEFT", *b"TREE"],
};
/// What a manifest is called in messages.
const NAME: &str = "manifest";

/// The payloads of a manifest; every checksum was right.
struct Payloads<'a> {
    payloads: BTreeMap<Tag, &'a [u8]>,
    position: u64,
}

impl<'a> Payloads<'a> {
    fn parse(bytes: &'a [u8], position: u64) -> Result<Self> {
        let mut found = Self {
            payloads: BTreeMap::new(),
            position,
        };
        let mut sections = Sections::new(bytes, KIND, 0, bytes.len() as u64);
        while !sections.is_at_end() {
            let Section {
                tag,
                offset_bytes,
                len_bytes,
                ..
            } = sections.read().map_err(|fault| match fault {
                Fault::Io(_) => found.wrong("section", "a whole one", "the end".to_owned()),
                Fault::Corrupt(fault) => found.wrong(fault.field, &fault.expected, fault.found),
            })?;
            // Both lie within the bytes.
            let start = usize::try_from(offset_bytes).unwrap_or(bytes.len());
            let end = usize::try_from(offset_bytes + len_bytes).unwrap_or(bytes.len());
            found.payloads.entry(tag).or_insert(&bytes[start..end]);
        }
        Ok(found)
    }

    fn wrong(&self, field: &'static str, expected: &str, found: String) -> Error {
        Corrupt::new(NAME, field, self.position, expected, found).into()
    }

    fn get(&self, tag: &Tag) -> Result<&'a [u8]> {
        self.find(tag).ok_or_else(|| {
            let tag = String::from_utf8_lossy(tag).into_owned();
            self.wrong("section", &tag, "none".to_owned())
        })
    }

    fn find(&self, tag: &Tag) -> Option<&'a [u8]> {
        self.payloads.get(tag).copied()
    }
}
