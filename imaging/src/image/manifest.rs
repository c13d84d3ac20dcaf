//! A snapshot's manifest: what was imaged, which bytes, and where its pages are.

use super::reference::Reference;
use crate::change::Rung;
use crate::record::format::{
    FLAG_CRITICAL, META_BYTES_MAX, SECTION_HEADER_LEN, decode_extents, encode_extents,
    section_header,
};
use crate::record::manifest::{FilesystemId, Hex};
use klon_partition::bytes::{le32, le64};
use klon_partition::error::Corrupt;
use klon_partition::{Error, Extent, ExtentMap, Identity, Outside, Result};
use serde::{Deserialize, Serialize};
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
    /// Extents of the source that no one proved free, and that are not in the image by choice.
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
    /// Of a volume: what it is formatted as, if that was recognized.
    pub filesystem: Option<FilesystemId>,
    /// Of a volume: the filesystem's change token.
    pub token: Option<Hex>,
    /// Of a disk: the GUID of its GPT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_guid: Option<Uuid>,
    /// Of a disk: its partitions, in the order of their numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PartitionId>,
    /// The name that the user gave to what was imaged, beside its identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_name: Option<String>,
    /// What the user says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(with = "klon_partition::text::stored_option")]
    pub note: Option<String>,
    /// What was taken of the bytes that no one proved free; left out for all of them.
    #[serde(default, skip_serializing_if = "is_all")]
    pub outside: Outside,
    /// Where the clone ends that was imaged, by its record; what lies behind was on the drive before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone_bytes: Option<u64>,
    /// The run that made it.
    pub run: SnapshotRun,
}

fn is_all(outside: &Outside) -> bool {
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

impl SnapshotManifest {
    /// Everything that the source used.
    #[must_use]
    pub fn wanted(&self) -> ExtentMap {
        self.data.union(&self.zero)
    }

    /// The plain bytes of its frame.
    pub(super) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        push_section(&mut bytes, *b"META", &serde_json::to_vec(&self.meta)?);
        push_section(&mut bytes, *b"DATA", &encode_extents(&self.data)?);
        push_section(&mut bytes, *b"ZERO", &encode_extents(&self.zero)?);
        if !self.bad.is_empty() {
            push_section(&mut bytes, *b"BADS", &encode_extents(&self.bad)?);
        }
        if !self.left_out.is_empty() {
            push_section(&mut bytes, *b"LEFT", &encode_extents(&self.left_out)?);
        }
        let mut tree = Vec::with_capacity(self.tree.len() * TREE_ENTRY_LEN);
        for (number, reference) in &self.tree {
            tree.extend(number.to_le_bytes());
            tree.extend(reference.to_bytes());
        }
        push_section(&mut bytes, *b"TREE", &tree);
        Ok(bytes)
    }

    /// From the plain bytes of the frame at `position`.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub(super) fn parse(bytes: &[u8], position: u64) -> Result<Self> {
        let sections = Sections { bytes, position };
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
        let bad = match sections.find(b"BADS")? {
            Some(payload) => extents(b"BADS", payload)?,
            None => ExtentMap::new(),
        };
        let left_out = match sections.find(b"LEFT")? {
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

fn push_section(bytes: &mut Vec<u8>, tag: [u8; 4], payload: &[u8]) {
    let start = bytes.len();
    bytes.extend(section_header(tag, payload.len() as u64));
    bytes.extend(payload);
    let crc = crc32c::crc32c(&bytes[start..]);
    bytes.extend(crc.to_le_bytes());
}

/// The sections of a manifest.
struct Sections<'a> {
    bytes: &'a [u8],
    position: u64,
}

impl<'a> Sections<'a> {
    fn wrong(&self, field: &'static str, expected: &str, found: String) -> Error {
        Corrupt::new("manifest", field, self.position, expected, found).into()
    }

    fn get(&self, tag: &[u8; 4]) -> Result<&'a [u8]> {
        self.find(tag)?.ok_or_else(|| {
            let tag = String::from_utf8_lossy(tag).into_owned();
            self.wrong("section", &tag, "none".to_owned())
        })
    }

    /// The payload of a section. All sections before it are checked.
    fn find(&self, tag: &[u8; 4]) -> Result<Option<&'a [u8]>> {
        const KNOWN: [&[u8; 4]; 6] = [b"META", b"DATA", b"ZERO", b"BADS", b"LEFT", b"TREE"];
        let mut rest = self.bytes;
        while !rest.is_empty() {
            let Some((header, behind)) = rest.split_at_checked(SECTION_HEADER_LEN) else {
                return Err(self.wrong("section", "a header", format!("{} bytes", rest.len())));
            };
            let len = usize::try_from(le64(header, 8)).unwrap_or(usize::MAX);
            let Some((payload, behind)) = behind.split_at_checked(len) else {
                return Err(self.wrong("section length", "within the frame", len.to_string()));
            };
            let Some((stored, behind)) = behind.split_at_checked(4) else {
                return Err(self.wrong("section", "a checksum", "the end".to_owned()));
            };
            let crc = crc32c::crc32c(&rest[..SECTION_HEADER_LEN + len]);
            if le32(stored, 0) != crc {
                let found = format!("{:#010x}", le32(stored, 0));
                return Err(self.wrong("CRC-32C of a section", &format!("{crc:#010x}"), found));
            }
            if !KNOWN.iter().any(|known| header.starts_with(*known))
                && le32(header, 4) & FLAG_CRITICAL != 0
            {
                let found = String::from_utf8_lossy(&header[..4]).into_owned();
                return Err(self.wrong("section tag", "a known one", found));
            }
            if header.starts_with(tag) {
                return Ok(Some(payload));
            }
            rest = behind;
        }
        Ok(None)
    }
}
