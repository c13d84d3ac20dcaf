//! qcow2 images, versions 2 and 3, read at any place: plain, zlib- and zstd-compressed clusters.
//!
//! See QEMU's `docs/interop/qcow2`; numbers are big-endian. Refcounts say nothing that a reader needs.

mod cluster;
mod header;
mod snapshots;

use crate::foreign::check_end;
use crate::pieces::Units;
use cluster::{Entry, inflate};
use header::Header;
use klon_partition::device::read_vec;
use klon_partition::error::Corrupt;
use klon_partition::extent::ExtentMapBuilder;
use klon_partition::locks::lock;
use klon_partition::{Extent, ExtentMap, Geometry, ReadAt, Result};
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};

/// The first bytes of every qcow2 image (header field `magic`).
pub const MAGIC: &[u8; 4] = b"QFI\xfb";
/// Tables and unpacked clusters that are kept at hand.
const KEPT: usize = 16;
const NAME: &str = "qcow2 image";

/// The disk in a qcow2 image, versions 2 and 3, as a device: its active state, not its snapshots.
pub struct Qcow2<D> {
    file: D,
    header: Header,
    /// Where the L2 tables are; 0 for none.
    l1: Vec<u64>,
    tables: Kept,
    clusters: Kept,
}

type Kept = Mutex<VecDeque<(u64, Arc<Vec<u8>>)>>;

impl<D: ReadAt> Qcow2<D> {
    /// Opens an image that is all of `file`.
    ///
    /// # Errors
    /// [`klon_partition::Error::Corrupt`]; [`klon_partition::Error::Unsupported`] for backing files,
    /// encryption and others, with what to do; [`klon_partition::Error::Io`].
    pub fn open(file: D) -> Result<Self> {
        let header = Header::read(&file)?;
        let bytes = read_vec(&file, header.l1_offset, header.l1_entries * 8)?;
        let mut seen = HashSet::new();
        let mut l1 = Vec::with_capacity(header.l1_entries);
        for (at, entry) in bytes.chunks_exact(8).enumerate() {
            let entry = u64::from_be_bytes(entry.try_into().unwrap_or_default());
            let table = entry & OFFSET_MASK;
            // Two entries with one table would make a small file say much.
            if !table.is_multiple_of(header.cluster_bytes()) || (table != 0 && !seen.insert(table))
            {
                let expected = "a table of its own at a cluster's start";
                let position = header.l1_offset + at as u64 * 8;
                let found = format!("{entry:#x}");
                return Err(
                    Corrupt::new("qcow2 L1 table", "entry", position, expected, found).into(),
                );
            }
            if table != 0 {
                check_end(&file, NAME, table.saturating_add(header.cluster_bytes()))?;
            }
            l1.push(table);
        }
        Ok(Self {
            file,
            header,
            l1,
            tables: Mutex::default(),
            clusters: Mutex::default(),
        })
    }

    /// The size of a cluster. The image has a cluster of the disk as a whole, or not at all.
    pub const fn cluster_bytes(&self) -> u64 {
        self.header.cluster_bytes()
    }

    /// The names of the snapshots inside of the image, in the order of its snapshot table. What is in
    /// them is not read.
    ///
    /// # Errors
    /// [`klon_partition::Error::Corrupt`] for a table that contradicts itself,
    /// [`klon_partition::Error::Io`].
    pub fn snapshots(&self) -> Result<Vec<String>> {
        let (count, offset_bytes) = self.header.snapshots;
        snapshots::names(&self.file, count, offset_bytes)
    }

    /// The L2 entry of a cluster.
    fn entry(&self, cluster: u64) -> Result<Entry> {
        let per_table = self.header.cluster_bytes() / 8;
        let at = usize::try_from(cluster / per_table).unwrap_or(usize::MAX);
        let table = match self.l1.get(at) {
            None | Some(0) => return Ok(Entry::Unallocated),
            Some(&table) => table,
        };
        let bytes = self.table(table)?;
        let at = usize::try_from(cluster % per_table * 8).unwrap_or(0);
        let entry = klon_partition::bytes::be64(&bytes, at);
        let entry = Entry::parse(entry, &self.header, table + at as u64)?;
        let start = match entry {
            Entry::Unallocated | Entry::Zero => return Ok(entry),
            Entry::Plain(position) => position,
            Entry::Compressed(place) => place.offset_bytes(),
        };
        // The last cluster may be in the file in part: what is read of it is looked at then.
        check_end(&self.file, NAME, start.saturating_add(1))?;
        Ok(entry)
    }

    fn table(&self, table: u64) -> Result<Arc<Vec<u8>>> {
        keep(&self.tables, table, || {
            let len = usize::try_from(self.header.cluster_bytes()).unwrap_or(0);
            read_vec(&self.file, table, len)
        })
    }

    fn read_part(&self, part: Extent, out: &mut [u8]) -> Result<()> {
        let cluster_bytes = self.header.cluster_bytes();
        let number = part.offset_bytes() / cluster_bytes;
        let within = part.offset_bytes() % cluster_bytes;
        match self.entry(number)? {
            Entry::Unallocated | Entry::Zero => out.fill(0),
            Entry::Plain(position) => {
                let start = position + within;
                check_end(&self.file, NAME, start.saturating_add(out.len() as u64))?;
                self.file.read_exact_at(out, start)?;
            }
            Entry::Compressed(place) => {
                let content = keep(&self.clusters, number, || {
                    let end = self.file.geometry().size_bytes;
                    // The last sector may not be whole.
                    let stop = place.end_bytes().min(end);
                    let packed = Extent::between(place.offset_bytes(), stop).unwrap_or(place);
                    let len = usize::try_from(packed.len_bytes()).unwrap_or(usize::MAX);
                    let packed = read_vec(&self.file, packed.offset_bytes(), len)?;
                    inflate(&packed, &self.header, place.offset_bytes())
                })?;
                let start = usize::try_from(within).unwrap_or(0);
                out.copy_from_slice(&content[start..start + out.len()]);
            }
        }
        Ok(())
    }
}

/// Where in entries a position is.
const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;

fn keep(kept: &Kept, key: u64, make: impl FnOnce() -> Result<Vec<u8>>) -> Result<Arc<Vec<u8>>> {
    let lock = || lock(kept);
    if let Some((_, found)) = lock().iter().find(|found| found.0 == key) {
        return Ok(Arc::clone(found));
    }
    let made = Arc::new(make()?);
    let mut kept = lock();
    if kept.len() == KEPT {
        kept.pop_front();
    }
    kept.push_back((key, Arc::clone(&made)));
    Ok(made)
}

impl<D: ReadAt> ReadAt for Qcow2<D> {
    fn geometry(&self) -> Geometry {
        Geometry::new(self.header.size_bytes, 512)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<()> {
        let units = Units {
            geometry: self.geometry(),
            unit_bytes: self.header.cluster_bytes(),
        };
        units.fill(buffer, offset_bytes, |part, out| self.read_part(part, out))
    }

    fn data(&self, within: Extent) -> Result<ExtentMap> {
        let table_bytes = self.header.cluster_bytes() * (self.header.cluster_bytes() / 8);
        let mut builder = ExtentMapBuilder::new();
        for span in within.split(table_bytes) {
            let at = usize::try_from(span.offset_bytes() / table_bytes).unwrap_or(usize::MAX);
            if matches!(self.l1.get(at), None | Some(0)) {
                continue;
            }
            for part in span.split(self.header.cluster_bytes()) {
                let entry = self.entry(part.offset_bytes() / self.header.cluster_bytes())?;
                if matches!(entry, Entry::Plain(_) | Entry::Compressed(_)) {
                    builder.push(part);
                }
            }
        }
        Ok(builder.finish())
    }
}

#[cfg(test)]
mod tests;
