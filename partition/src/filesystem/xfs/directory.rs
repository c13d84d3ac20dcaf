//! Entries of directories: those in the inode, and those in blocks. Only blocks with entries are
//! read, not the hash tables that find them.
//!
//! XFS Algorithms & Data Structures, "Directories".

use super::bmap::{Bmaps, Run};
use super::checksum;
use super::inode::{Fork, Inode};
use super::superblock::Superblock;
use crate::bytes::{be16, be32, be64, u8_at};
use crate::device::{ReadAt, read_vec};
use crate::error::{Corrupt, Result};
use crate::filesystem::owners::Gaps;

const STRUCTURE: &str = "XFS directory block";
const FORMAT_LOCAL: u8 = 1;
/// `XFS_DIR2_LEAF_OFFSET`: hash tables start here in a directory's fork.
const DATA_BYTES_MAX: u64 = 1 << 35;
/// `XFS_DIR2_DATA_FREE_TAG`
const FREE_TAG: u16 = 0xffff;
/// `XFS_MAX_BLOCKSIZE`, which a directory's blocks may be as well.
const BLOCK_BYTES_MAX: u64 = 65_536;
/// Runs of one directory that are held.
const RUNS_MAX: usize = 1 << 20;

/// A name in a directory and the inode that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) inode: u64,
    pub(super) name: &'a [u8],
}

/// Told of each entry.
pub(super) type Visit<'a> = dyn FnMut(Entry<'_>) + 'a;

/// Reads directories, and altogether no more blocks than the filesystem has.
pub(super) struct Directories<'a> {
    superblock: &'a Superblock,
    device: &'a dyn ReadAt,
    gaps: &'a Gaps,
    maps: Bmaps<'a>,
    blocks_left: u64,
}

impl<'a> Directories<'a> {
    pub(super) const fn new(
        superblock: &'a Superblock,
        device: &'a dyn ReadAt,
        gaps: &'a Gaps,
    ) -> Self {
        Self {
            superblock,
            device,
            gaps,
            maps: Bmaps::new(superblock, device).tolerant(gaps),
            blocks_left: superblock.blocks,
        }
    }

    /// Visits the entries of a directory but "." and "..". What fails a check is noted as a gap.
    pub(super) fn visit(&mut self, inode: &Inode, visit: &mut Visit<'_>) {
        let fork = inode.data();
        let visited = if fork.format == FORMAT_LOCAL {
            self.local(inode, &fork, visit)
        } else {
            self.blocks(inode, &fork, visit)
        };
        self.gaps.tolerate(visited);
    }

    /// A header of counts and the parent's number, then entries.
    fn local(&self, inode: &Inode, fork: &Fork<'_>, visit: &mut Visit<'_>) -> Result<()> {
        let size = usize::try_from(inode.size_bytes()).unwrap_or(usize::MAX);
        let raw = fork.raw.get(..size).filter(|raw| raw.len() >= 6);
        let expected = format_args!("6 to {}", fork.raw.len());
        inode.check(raw.is_some(), "di_size", expected, size)?;
        let raw = raw.unwrap_or_default();
        let (count, wide) = (u8_at(raw, 0), u8_at(raw, 1));
        let number_len = if wide > 0 { 8 } else { 4 };
        let type_len = usize::from(self.superblock.features.has_ftype());
        let mut rest = raw.get(number_len + 2..).unwrap_or_default();
        for _ in 0..count {
            let name_len = rest.first().map_or(0, |&len| usize::from(len));
            let number = name_len.saturating_add(3).saturating_add(type_len);
            let len = number.saturating_add(number_len);
            let split = rest.split_at_checked(len).filter(|_| name_len > 0);
            let expected = "entries in the inode";
            inode.check(split.is_some(), "namelen", expected, name_len)?;
            let (entry, after) = split.unwrap_or_default();
            visit(Entry {
                inode: match number_len {
                    8 => be64(entry, number),
                    _ => be32(entry, number).into(),
                },
                name: entry.get(3..name_len + 3).unwrap_or_default(),
            });
            rest = after;
        }
        Ok(())
    }

    fn blocks(&mut self, inode: &Inode, fork: &Fork<'_>, visit: &mut Visit<'_>) -> Result<()> {
        let superblock = self.superblock;
        let mut runs = Vec::new();
        self.maps.visit(inode, fork, &mut |run| {
            let is_data = superblock.byte(run.file_block) < DATA_BYTES_MAX;
            runs.extend(is_data.then_some(run));
            is_data && runs.len() < RUNS_MAX
        })?;
        let block_bytes = u64::from(superblock.block_bytes);
        let log = u32::from(superblock.directory_blocks_log);
        let len_bytes = block_bytes.checked_shl(log).unwrap_or(0);
        let is_valid = (block_bytes..=BLOCK_BYTES_MAX).contains(&len_bytes);
        let expected = format_args!("blocks of at most {BLOCK_BYTES_MAX} bytes");
        inode.check(is_valid, "sb_dirblklog", expected, log)?;
        let mut gatherer = Gatherer {
            directories: self,
            inode,
            len: usize::try_from(len_bytes).unwrap_or(usize::MAX),
            raw: Vec::new(),
            offset_bytes: 0,
            next_block: 0,
        };
        for run in runs {
            gatherer.run(run, visit)?;
        }
        Ok(())
    }
}

/// Puts blocks of a directory together, which may be several blocks of the filesystem each.
struct Gatherer<'a, 'b> {
    directories: &'b mut Directories<'a>,
    inode: &'b Inode,
    len: usize,
    raw: Vec<u8>,
    /// Where the first of them lies on the volume.
    offset_bytes: u64,
    /// The block of the fork that is to follow.
    next_block: u64,
}

impl Gatherer<'_, '_> {
    fn run(&mut self, run: Run, visit: &mut Visit<'_>) -> Result<()> {
        let superblock = self.directories.superblock;
        let mut file_block = run.file_block;
        for piece in run.extent.split(superblock.block_bytes.into()) {
            if file_block != self.next_block {
                // The last one was not complete.
                self.raw.clear();
            }
            let left = self.directories.blocks_left.checked_sub(1);
            let expected = "no more blocks than the filesystem has";
            self.inode
                .check(left.is_some(), "extents", expected, "more")?;
            self.directories.blocks_left = left.unwrap_or(0);
            if self.raw.is_empty() {
                self.offset_bytes = piece.offset_bytes();
            }
            let len = usize::try_from(piece.len_bytes()).unwrap_or(usize::MAX);
            let read = read_vec(self.directories.device, piece.offset_bytes(), len)?;
            self.raw.extend(read);
            file_block = file_block.saturating_add(1);
            self.next_block = file_block;
            if self.raw.len() >= self.len {
                let visited = self.entries(visit);
                self.directories.gaps.tolerate(visited);
                self.raw.clear();
            }
        }
        Ok(())
    }

    fn corrupt(
        &self,
        field: &'static str,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Corrupt {
        Corrupt::new(STRUCTURE, field, self.offset_bytes, expected, found)
    }

    /// Where entries start and end in the block.
    fn range(&self) -> Result<(usize, usize)> {
        let raw = &self.raw;
        let is_v5 = self.directories.superblock.features.is_v5();
        let magic = raw.get(..4).unwrap_or_default();
        let has_table = match (magic, is_v5) {
            (b"XD2B", false) | (b"XDB3", true) => true,
            (b"XD2D", false) | (b"XDD3", true) => false,
            _ => {
                let found = format!("{magic:02x?}");
                return Err(self.corrupt("magic", "a block of entries", found).into());
            }
        };
        if is_v5 {
            checksum::check(STRUCTURE, self.offset_bytes, raw, 4)?;
            let (expected, found) = (self.offset_bytes / 512, be64(raw, 8));
            if found != expected {
                return Err(self.corrupt("blkno", expected, found).into());
            }
            let (expected, found) = (self.inode.number, be64(raw, 40));
            if found != expected {
                return Err(self.corrupt("owner", expected, found).into());
            }
        }
        let start = if is_v5 { 64 } else { 16 };
        if !has_table {
            return Ok((start, raw.len()));
        }
        // The tail: a count, and before it so many records of 8 bytes.
        let tail = raw.len().saturating_sub(8);
        let count = usize::try_from(be32(raw, tail)).unwrap_or(usize::MAX);
        let end = tail.checked_sub(count.saturating_mul(8));
        let end = end.filter(|&end| end >= start);
        let end = end.ok_or_else(|| self.corrupt("count", "a table in the block", count))?;
        Ok((start, end))
    }

    fn entries(&self, visit: &mut Visit<'_>) -> Result<()> {
        let (start, end) = self.range()?;
        let type_len = usize::from(self.directories.superblock.features.has_ftype());
        let mut rest = self.raw.get(start..end).unwrap_or_default();
        while rest.len() >= 8 {
            let is_free = be16(rest, 0) == FREE_TAG;
            let name_len = if is_free || rest.len() < 9 {
                0
            } else {
                usize::from(u8_at(rest, 8))
            };
            let len = if is_free {
                usize::from(be16(rest, 2))
            } else {
                // Number, length, name, type and tag, in units of 8 bytes.
                (name_len + type_len + 11).next_multiple_of(8)
            };
            let is_valid = len >= 8 && len.is_multiple_of(8) && (is_free || name_len > 0);
            let split = rest.split_at_checked(len).filter(|_| is_valid);
            let Some((entry, after)) = split else {
                let expected = format!("entries in the {} bytes left", rest.len());
                return Err(self.corrupt("namelen", expected, len).into());
            };
            let name = entry.get(9..name_len + 9).unwrap_or_default();
            if !is_free && name != b"." && name != b".." {
                let inode = be64(entry, 0);
                visit(Entry { inode, name });
            }
            rest = after;
        }
        Ok(())
    }
}
