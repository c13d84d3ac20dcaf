//! The blocks of the log, each read by its number within the journal's file.

use super::super::address::{Block, Ino, LogBlock};
use super::super::blockmap::{BlockMaps, Run};
use super::super::superblock::Superblock;
use super::Journal;
use crate::device::{ReadAt, read_vec};
use crate::error::{Error, Result};
use crate::extent::{Extent, ExtentMap};

/// A journal in more pieces than this is not replayed: 24 MiB of memory.
const RUNS_MAX: usize = 1 << 20;
/// How much is read at once.
const WINDOW_BYTES: u64 = 256 << 10;

/// Where the log lies, and what was read of it last.
pub(super) struct Log<'a> {
    device: &'a dyn ReadAt,
    block_bytes: u32,
    /// The runs in order, as far as none is missing.
    runs: Vec<LogRun>,
    /// Where all of the file lies.
    extents: ExtentMap,
    /// First block of the log within the file.
    first: LogBlock,
    /// Its end within the file.
    end: LogBlock,
    window: Window,
}

/// Blocks that follow each other in the file and on the volume.
#[derive(Clone, Copy)]
struct LogRun {
    /// Its first block, counted from the start of the file.
    file_block: u64,
    /// Where that is on the volume.
    volume_block: Block,
    blocks: u64,
}

/// What was read last: whole blocks of one run.
#[derive(Default)]
struct Window {
    file_block: u64,
    bytes: Vec<u8>,
}

/// Why a log can't be read as one, in words.
pub(super) fn refused(reason: impl Into<String>) -> Error {
    Error::unsupported("replaying this journal", reason.into())
}

impl<'a> Log<'a> {
    /// Finds the blocks of a journal.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when its map is damaged; [`Error::Unsupported`] when a block of the log has no
    /// place, or the journal is in too many pieces.
    pub(super) fn open(
        superblock: &Superblock,
        journal: &Journal,
        device: &'a dyn ReadAt,
    ) -> Result<Self> {
        let block_bytes = u64::from(superblock.block_bytes);
        let mut runs: Vec<LogRun> = Vec::new();
        let mut add = |run: Run| {
            let Some(file_block) = run.file_block else {
                return true;
            };
            let found = LogRun {
                file_block,
                volume_block: Block(run.extent.offset_bytes() / block_bytes),
                blocks: run.extent.len_bytes() / block_bytes,
            };
            match runs.last_mut() {
                Some(last) if last.is_followed_by(&found) => last.blocks += found.blocks,
                _ => runs.push(found),
            }
            run.is_written && runs.len() < RUNS_MAX
        };
        let is_all = BlockMaps::new(superblock, device).visit(&journal.inode, &mut add)?;
        if !is_all {
            return Err(refused(
                "its file is in too many pieces, or partly unwritten",
            ));
        }
        let mut log = Self {
            device,
            block_bytes: superblock.block_bytes,
            extents: runs
                .iter()
                .filter_map(|run| run.extent(block_bytes))
                .collect(),
            runs,
            first: journal.first,
            end: journal.end,
            window: Window::default(),
        };
        log.check(journal)?;
        Ok(log)
    }

    /// Checks that the log begins and ends within its file, and that each block of it has one place.
    fn check(&mut self, journal: &Journal) -> Result<()> {
        let (first, end) = (self.first, self.end);
        let is_ordered =
            first >= LogBlock(1) && first < end && (first..end).contains(&journal.start);
        if !is_ordered {
            let start = journal.start;
            let how =
                format!("it starts with block {start} of the log, which has {first} to {end}");
            return Err(refused(how));
        }
        let mut next = 0;
        let is_next = |run: &&LogRun| {
            let is_next = run.file_block == next;
            next = next.saturating_add(run.blocks);
            is_next
        };
        let in_order = self.runs.iter().take_while(is_next).count();
        self.runs.truncate(in_order);
        let last = self.runs.last();
        let next = last.map_or(0, |run| run.file_block.saturating_add(run.blocks));
        if next < u64::from(end.0) {
            return Err(refused(format!("block {next} of the log is nowhere")));
        }
        Ok(())
    }

    /// How many blocks the log has.
    pub(super) const fn blocks(&self) -> u32 {
        self.end.0 - self.first.0
    }

    /// The block that comes `blocks` after one of the log: after its last comes its first again.
    pub(super) fn after(&self, block: LogBlock, blocks: u32) -> LogBlock {
        let in_log = u64::from(block.0 - self.first.0) + u64::from(blocks);
        // A rest of a number of 32 bits.
        LogBlock(self.first.0 + (in_log % u64::from(self.blocks())) as u32)
    }

    /// The run that a block of the log is in.
    fn run(&self, block: LogBlock) -> Result<&LogRun> {
        let file_block = u64::from(block.0);
        let index = self
            .runs
            .partition_point(|run| run.file_block <= file_block);
        let run = index.checked_sub(1).and_then(|index| self.runs.get(index));
        run.filter(|run| file_block - run.file_block < run.blocks)
            .ok_or_else(|| refused(format!("block {block} of the log is nowhere")))
    }

    /// Where a block of the log is on the volume.
    pub(super) fn place(&self, block: LogBlock) -> Result<Block> {
        let run = self.run(block)?;
        let ahead = u64::from(block.0).saturating_sub(run.file_block);
        Ok(Block(run.volume_block.0.saturating_add(ahead)))
    }

    /// The bytes of a block of the log.
    ///
    /// # Errors
    /// [`Error::Io`] when the device fails.
    pub(super) fn read(&mut self, block: LogBlock) -> Result<&[u8]> {
        let block_len = self.block_bytes as usize;
        let (file_block, held) = (u64::from(block.0), self.window.bytes.len() / block_len);
        let ahead = file_block.wrapping_sub(self.window.file_block);
        if ahead >= held as u64 {
            self.fill(block)?;
        }
        let ahead = (file_block - self.window.file_block) as usize;
        Ok(&self.window.bytes[ahead * block_len..][..block_len])
    }

    /// Reads on from a block, as far as its run goes.
    fn fill(&mut self, block: LogBlock) -> Result<()> {
        let (file_block, start) = (u64::from(block.0), self.place(block)?);
        let run = self.run(block)?;
        let blocks = run.file_block.saturating_add(run.blocks) - file_block;
        let block_bytes = u64::from(self.block_bytes);
        let most = (WINDOW_BYTES / block_bytes).max(1);
        // At most the window.
        let len = (blocks.min(most) * block_bytes) as usize;
        let bytes = read_vec(self.device, start.0.saturating_mul(block_bytes), len)?;
        self.window = Window { file_block, bytes };
        Ok(())
    }

    /// How long a block is, of the log and of the volume.
    pub(super) const fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    /// Where all of the journal's file lies.
    pub(super) const fn extents(&self) -> &ExtentMap {
        &self.extents
    }
}

impl LogRun {
    const fn is_followed_by(&self, next: &Self) -> bool {
        self.file_block.saturating_add(self.blocks) == next.file_block
            && self.volume_block.0.saturating_add(self.blocks) == next.volume_block.0
    }

    fn extent(&self, block_bytes: u64) -> Option<Extent> {
        let bytes = |blocks: u64| blocks.saturating_mul(block_bytes);
        Extent::new(bytes(self.volume_block.0), bytes(self.blocks))
    }
}

/// The journal's number in the superblock; `None` where it is not in the filesystem.
pub(super) fn number(superblock: &Superblock) -> Option<Ino> {
    let [number, ..] = superblock.internal_inodes;
    (superblock.features.has_journal() && number != Ino(0)).then_some(number)
}
