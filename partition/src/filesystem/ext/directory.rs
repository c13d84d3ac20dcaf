//! Entries of directories, read linearly. The blocks of a hash tree look like empty ones.
//!
//! `struct ext4_dir_entry_2` and `ext4_dir_entry_tail`: kernel documentation, "ext4 Data Structures
//! and Algorithms", section "Directory Entries":
//! <https://docs.kernel.org/filesystems/ext4/index.html>.

use super::address::Ino;
use super::blockmap::BlockMaps;
use super::checksum::crc32c;
use super::inode::{FileType, Inode};
use super::scan::Scan;
use crate::bytes::{le16, le32, u8_at};
use crate::device::read_vec;
use crate::error::Result;
use crate::extent::Extent;

const HEADER_LEN: usize = 8;
const TAIL_LEN: usize = 12;
const TAIL_TYPE: u8 = 0xde;

/// The most runs of one directory that are held.
const RUNS_MAX: usize = 1 << 20;

/// A name in a directory, and the inode that it stands for.
pub(super) struct Entry<'a> {
    pub(super) inode: Ino,
    pub(super) name: &'a [u8],
}

/// Gets each entry. Whether to go on.
pub(super) type Visit<'a> = dyn FnMut(Entry<'_>) -> bool + 'a;

/// Reads directories. All of them together may have no more blocks than was allowed.
pub(super) struct Directories<'a> {
    scan: Scan<'a>,
    maps: BlockMaps<'a>,
    blocks_left: u64,
}

impl<'a> Directories<'a> {
    pub(super) const fn new(scan: Scan<'a>, blocks_max: u64) -> Self {
        Self {
            scan,
            maps: BlockMaps::new(scan.superblock, scan.device),
            blocks_left: blocks_max,
        }
    }

    /// Visits the entries of directory `inode`, "." and ".." included. Of a directory that is kept
    /// inside its inode, only the part in `i_block` is read. Blocks that fail their check are noted
    /// as gaps and left out.
    pub(super) fn visit(&mut self, inode: &Inode, visit: &mut Visit<'_>) {
        let visited = self.visit_all(inode, visit);
        self.scan.gaps.tolerate(visited);
    }

    fn visit_all(&mut self, inode: &Inode, visit: &mut Visit<'_>) -> Result<()> {
        if inode.file_type != FileType::Directory {
            return Ok(());
        }
        if !inode.has_blocks {
            return visit_inline(inode, visit);
        }
        // A directory of 2 GiB, the most without large_dir, fits.
        let blocks = inode
            .size_bytes
            .div_ceil(self.scan.superblock.block_bytes.into());
        let runs_max = usize::try_from(blocks).map_or(RUNS_MAX, |blocks| blocks.min(RUNS_MAX));
        let mut runs = Vec::new();
        let mapped = self.maps.visit(inode, &mut |run| {
            runs.extend(run.file_block.map(|_| run.extent));
            runs.len() < runs_max
        });
        self.scan.gaps.tolerate(mapped);
        for run in runs {
            if !self.visit_run(inode, run, visit)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn visit_run(&mut self, inode: &Inode, run: Extent, visit: &mut Visit<'_>) -> Result<bool> {
        let Scan {
            superblock,
            device,
            gaps,
        } = self.scan;
        for block in run.split(superblock.block_bytes.into()) {
            let Some(left) = self.blocks_left.checked_sub(1) else {
                let expected = "no more directory blocks than the filesystem has blocks";
                return Err(inode.corrupt("i_block", expected, "more").into());
            };
            self.blocks_left = left;
            let raw = read_vec(device, block.offset_bytes(), superblock.block_len())?;
            let checked = if superblock.features.has_metadata_csum() {
                check_tail(inode, &raw)
            } else {
                Ok(())
            };
            let visited = checked.and_then(|()| entries(inode, &raw, visit));
            if gaps.tolerate(visited) == Some(false) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Visits a directory in `i_block`: the parent's inode, then entries.
fn visit_inline(inode: &Inode, visit: &mut Visit<'_>) -> Result<()> {
    let parent = Entry {
        inode: Ino(le32(&inode.block_map, 0)),
        name: b"..",
    };
    if visit(parent) {
        let rest = inode.block_map.get(4..).unwrap_or_default();
        entries(inode, rest, visit)?;
    }
    Ok(())
}

fn check_tail(inode: &Inode, raw: &[u8]) -> Result<()> {
    let covered_len = raw.len().saturating_sub(TAIL_LEN);
    let (covered, tail) = raw.split_at(covered_len);
    let det_reserved_zero1 = le32(tail, 0);
    let det_rec_len = le16(tail, 4);
    let det_reserved_ft = u8_at(tail, 7);
    let det_checksum = le32(tail, 8);
    let is_tail = det_reserved_zero1 == 0 && det_rec_len == 12 && det_reserved_ft == TAIL_TYPE;
    let computed = crc32c(inode.checksum_seed, covered);
    if !is_tail || is_hash_block(raw) || det_checksum == computed {
        return Ok(());
    }
    let expected = format!("{computed:#x}");
    let found = format!("{det_checksum:#x}");
    Err(inode.corrupt("det_checksum", expected, found).into())
}

/// Whether a block is the root or a node of a hash tree. Its last entry reaches over the place of
/// the tail, where an earlier tail may still be.
fn is_hash_block(raw: &[u8]) -> bool {
    let first = record_len(le16(raw, 4), raw.len());
    let second = record_len(le16(raw, 16), raw.len());
    first == raw.len() || first == 12 && second == raw.len().saturating_sub(12)
}

fn entries(inode: &Inode, mut raw: &[u8], visit: &mut Visit<'_>) -> Result<bool> {
    let block_len = raw.len();
    while raw.len() >= HEADER_LEN {
        let de_inode = le32(raw, 0);
        let rec_len = record_len(le16(raw, 4), block_len);
        let name_len = usize::from(u8_at(raw, 6));
        let split = raw.split_at_checked(rec_len);
        let Some((entry, rest)) = split.filter(|_| rec_len >= HEADER_LEN) else {
            let expected = format!("{HEADER_LEN} to {}", raw.len());
            return Err(inode.corrupt("rec_len", expected, rec_len).into());
        };
        // 0 stands for an entry that is not in use.
        if de_inode != 0 {
            // Behind an entry's name there is room up to its end.
            let after_header = entry.get(HEADER_LEN..).unwrap_or_default();
            let name = after_header.get(..name_len).unwrap_or(after_header);
            let entry = Entry {
                inode: Ino(de_inode),
                name,
            };
            if !visit(entry) {
                return Ok(false);
            }
        }
        raw = rest;
    }
    Ok(true)
}

/// The length of an entry. Blocks of 64 KiB need 17 bits, and the low two are spare.
fn record_len(stored: u16, block_len: usize) -> usize {
    if block_len < 1 << 16 {
        return stored.into();
    }
    match stored {
        0 | u16::MAX => block_len,
        _ => usize::from(stored & !3) | usize::from(stored & 3) << 16,
    }
}
