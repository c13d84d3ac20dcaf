//! qcow2, version 3, as QEMU's specification describes it (`docs/interop/qcow2`): numbers are
//! big-endian, clusters have 64 KiB.
//!
//! ```text
//! cluster 0           header, 112 bytes; magic "QFI\xfb", version 3, refcounts of 16 bits
//! from cluster 1 on   L1 table: where the L2 table of each 512 MiB is; 0 for none
//! then                data clusters, and L2 tables behind the data that they point to
//! at the end          refcount blocks, 32768 clusters each, then the refcount table
//! ```
//!
//! An L2 entry is 0 for a cluster that was not in use, 1 for one that is zero, its position with bit
//! 63 for a plain one, and with bit 62 for a compressed one: bits 0 to 53 its position, 54 to 61 how
//! many sectors of 512 bytes it touches beyond the first. Compressed clusters are zstd frames, packed
//! without gaps (incompatible feature bit 3, which QEMU knows since 5.1). zlib is not written: QEMU
//! unpacks it with a window of 4 KiB.

use super::{NewFile, Piece, Sink};
use crate::error::{Error, Result};
use klon_partition::bytes::is_zero;
use klon_partition::{Extent, ExtentMap};
use zstd::bulk::Compressor;

const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
const CLUSTER_LEN: usize = 1 << CLUSTER_BITS;
/// Entries of a table of one cluster.
const L2_ENTRIES: u64 = CLUSTER / 8;
const REFCOUNTS: usize = CLUSTER_LEN / 2;
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
const ZERO: u64 = 1;
const HEADER_LEN: u32 = 112;
/// What QEMU opens.
const L1_BYTES_MAX: u64 = 32 << 20;

/// Writes a qcow2 file. The refcounts are kept in memory: 32 MiB for a TiB of data.
pub struct Qcow2File<'a> {
    file: &'a NewFile,
    wanted: ExtentMap,
    size_bytes: u64,
    compressor: Option<Compressor<'static>>,
    l1: Vec<u64>,
    l2: Vec<u64>,
    /// Which L2 table `l2` is.
    l2_index: u64,
    /// Where the next byte goes.
    position: u64,
    refcounts: Vec<u16>,
}

/// More than the file for a disk of `size_bytes` with `data` can need.
#[must_use]
pub fn capacity_bytes(data: &ExtentMap, size_bytes: u64) -> u64 {
    let clusters = data.aligned_out(CLUSTER, u64::MAX).total_bytes() / CLUSTER;
    let tables = size_bytes.div_ceil(CLUSTER * L2_ENTRIES).saturating_mul(2) + 2;
    let all = clusters.saturating_add(tables);
    let refcounts = all.div_ceil(REFCOUNTS as u64 / 2).saturating_add(4);
    all.saturating_add(refcounts).saturating_mul(CLUSTER)
}

/// What fails when the compressor does.
const COMPRESSING: &str = "compress a cluster";

/// Where the table of refcount blocks is.
struct RefcountTable {
    offset_bytes: u64,
    clusters_count: u32,
}

impl<'a> Qcow2File<'a> {
    /// Begins a file for a disk of `size_bytes`. `wanted` is in use. With a `level` clusters are compressed
    /// by zstd.
    ///
    /// # Errors
    /// [`Error::Refused`] for a disk that is larger than QEMU takes; [`Error::Target`] when the
    /// compressor has no memory.
    pub fn new(
        file: &'a NewFile,
        wanted: ExtentMap,
        size_bytes: u64,
        level: Option<i32>,
    ) -> Result<Self> {
        let l1_entries = size_bytes.div_ceil(CLUSTER * L2_ENTRIES).max(1);
        if l1_entries * 8 > L1_BYTES_MAX {
            return Err(Error::Refused(format!(
                "{size_bytes} bytes are more than QEMU opens as a qcow2 image; export it as raw"
            )));
        }
        let compressor = level.map(Compressor::new).transpose();
        let l1_clusters = (l1_entries * 8).div_ceil(CLUSTER);
        let mut writer = Self {
            file,
            wanted,
            size_bytes,
            compressor: compressor.map_err(file.failed(COMPRESSING))?,
            l1: vec![0; to_len(l1_entries)],
            l2: vec![0; to_len(L2_ENTRIES)],
            l2_index: 0,
            position: (1 + l1_clusters) * CLUSTER,
            refcounts: Vec::new(),
        };
        writer.count(0, writer.position)?;
        Ok(writer)
    }

    /// Writes the tables and the header; gives the length of the file.
    ///
    /// # Errors
    /// [`Error::Target`].
    pub fn finish(mut self) -> Result<u64> {
        self.go_to_table(self.l1.len() as u64)?;
        self.align();
        let table = self.refcount_blocks()?;
        let l1: Vec<u8> = self
            .l1
            .iter()
            .flat_map(|entry| entry.to_be_bytes())
            .collect();
        self.file.write_at(&l1, CLUSTER)?;
        let header = self.header(table);
        self.file.write_at(&header, 0)?;
        Ok(self.position)
    }

    fn put_cluster(&mut self, cluster: Extent, content: &[u8]) -> Result<()> {
        let number = cluster.offset_bytes() / CLUSTER;
        self.go_to_table(number / L2_ENTRIES)?;
        // What was not in use stays unallocated; the rest says that it is zero.
        if is_zero(content) {
            return Ok(());
        }
        let entry = match self.compressed(content)? {
            Some(packed) => {
                let at = self.position;
                self.write(&packed)?;
                let sectors = (self.position - 1) / 512 - at / 512;
                COMPRESSED | at | sectors << (62 - (CLUSTER_BITS - 8))
            }
            None => {
                self.align();
                let at = self.position;
                let mut whole = content.to_vec();
                whole.resize(CLUSTER_LEN, 0);
                self.write(&whole)?;
                COPIED | at
            }
        };
        self.l2[to_len(number % L2_ENTRIES)] = entry;
        Ok(())
    }

    fn compressed(&mut self, content: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(compressor) = &mut self.compressor else {
            return Ok(None);
        };
        let mut whole = content.to_vec();
        whole.resize(CLUSTER_LEN, 0);
        let packed = compressor.compress(&whole);
        let packed = packed.map_err(self.file.failed(COMPRESSING))?;
        Ok((packed.len() + 512 < CLUSTER_LEN).then_some(packed))
    }

    /// Writes the L2 tables up to the one of `index`.
    fn go_to_table(&mut self, index: u64) -> Result<()> {
        while self.l2_index < index {
            self.flush_table()?;
            self.l2_index += 1;
        }
        Ok(())
    }

    fn flush_table(&mut self) -> Result<()> {
        self.mark_zeroes();
        if self.l2.iter().all(|&entry| entry == 0) {
            return Ok(());
        }
        self.align();
        let at = self.position;
        let bytes: Vec<u8> = self
            .l2
            .iter()
            .flat_map(|entry| entry.to_be_bytes())
            .collect();
        self.write(&bytes)?;
        self.l1[to_len(self.l2_index)] = COPIED | at;
        self.l2.fill(0);
        Ok(())
    }

    /// Clusters that were in use and are zero say so.
    fn mark_zeroes(&mut self) {
        let span = CLUSTER * L2_ENTRIES;
        let start = self.l2_index * span;
        let Some(all) = Extent::between(start, (start + span).min(self.size_bytes)) else {
            return;
        };
        for part in self.wanted.within(all) {
            let first = (part.offset_bytes() - start) / CLUSTER;
            let last = (part.end_bytes() - 1 - start) / CLUSTER;
            for entry in &mut self.l2[to_len(first)..=to_len(last)] {
                if *entry == 0 {
                    *entry = ZERO;
                }
            }
        }
    }

    /// Writes the refcount blocks and the table that names them; gives where the table is.
    fn refcount_blocks(&mut self) -> Result<RefcountTable> {
        let clusters = self.position / CLUSTER;
        // Blocks and table count themselves, too.
        let (mut blocks, mut table) = (0, 0);
        loop {
            let all = clusters + blocks + table;
            let needed = (
                all.div_ceil(REFCOUNTS as u64),
                blocks.div_ceil(L2_ENTRIES).max(1),
            );
            if needed == (blocks, table) {
                break;
            }
            (blocks, table) = (blocks.max(needed.0), table.max(needed.1));
        }
        let start = self.position;
        let table_at = start + blocks * CLUSTER;
        self.count(start, (blocks + table) * CLUSTER)?;
        let refcounts = std::mem::take(&mut self.refcounts);
        let mut names = Vec::new();
        for counts in refcounts.chunks(REFCOUNTS) {
            let mut block: Vec<u8> = counts
                .iter()
                .flat_map(|count| count.to_be_bytes())
                .collect();
            block.resize(CLUSTER_LEN, 0);
            names.extend(self.position.to_be_bytes());
            self.file.write_at(&block, self.position)?;
            self.position += CLUSTER;
        }
        names.resize(to_len(table * CLUSTER), 0);
        self.file.write_at(&names, table_at)?;
        self.position = table_at + table * CLUSTER;
        Ok(RefcountTable {
            offset_bytes: table_at,
            clusters_count: u32::try_from(table).unwrap_or(u32::MAX),
        })
    }

    fn header(&self, table: RefcountTable) -> Vec<u8> {
        let incompatible: u64 = if self.compressor.is_some() { 1 << 3 } else { 0 };
        let mut header = Vec::new();
        header.extend(b"QFI\xfb");
        header.extend(3_u32.to_be_bytes());
        // No backing file.
        header.extend([0; 12]);
        header.extend(CLUSTER_BITS.to_be_bytes());
        header.extend(self.size_bytes.to_be_bytes());
        // Not encrypted.
        header.extend([0; 4]);
        let l1_entries = u32::try_from(self.l1.len()).unwrap_or(u32::MAX);
        header.extend(l1_entries.to_be_bytes());
        header.extend(CLUSTER.to_be_bytes());
        header.extend(table.offset_bytes.to_be_bytes());
        header.extend(table.clusters_count.to_be_bytes());
        // No snapshots of its own.
        header.extend([0; 12]);
        header.extend(incompatible.to_be_bytes());
        // Compatible and autoclear features.
        header.extend([0; 16]);
        // Refcounts of 2^4 bits.
        header.extend(4_u32.to_be_bytes());
        header.extend(HEADER_LEN.to_be_bytes());
        header.push(u8::from(self.compressor.is_some()));
        // Padding, and the end of the header's extensions.
        header.resize(HEADER_LEN as usize + 8, 0);
        header
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_at(bytes, self.position)?;
        self.count(self.position, bytes.len() as u64)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Counts one reference more to every cluster that some bytes touch.
    fn count(&mut self, position: u64, len_bytes: u64) -> Result<()> {
        let (first, last) = (position / CLUSTER, (position + len_bytes - 1) / CLUSTER);
        if self.refcounts.len() <= to_len(last) {
            self.refcounts.resize(to_len(last) + 1, 0);
        }
        // A packed cluster has more than one byte, so there are never so many. A count that wraps would be a
        // damaged image.
        for count in &mut self.refcounts[to_len(first)..=to_len(last)] {
            *count = count.checked_add(1).ok_or_else(|| {
                Error::Internal("more than 65535 compressed clusters in one".to_owned())
            })?;
        }
        Ok(())
    }

    const fn align(&mut self) {
        self.position = self.position.next_multiple_of(CLUSTER);
    }
}

impl Sink for Qcow2File<'_> {
    fn put(&mut self, piece: &Piece) -> Result<()> {
        for cluster in piece.chunk.split(CLUSTER) {
            let start = to_len(cluster.offset_bytes() - piece.chunk.offset_bytes());
            let content = &piece.content[start..start + to_len(cluster.len_bytes())];
            self.put_cluster(cluster, content)?;
        }
        Ok(())
    }
}

fn to_len(len_bytes: u64) -> usize {
    usize::try_from(len_bytes).unwrap_or(usize::MAX)
}
