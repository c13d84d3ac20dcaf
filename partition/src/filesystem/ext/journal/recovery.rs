//! What recovery makes of a log, in the three passes of the kernel: where the log ends, which blocks were
//! revoked, and which block of the log is the last of each place. Nothing is written and no block is
//! copied.
//!
//! Written after `do_one_pass` of `fs/jbd2/recovery.c` of Linux. Where that fails, this does, too.

use super::super::address::{Block, LogBlock};
use super::form::{BlockKind, ChecksumVersion, Form, Tag, commit_seconds, crc32_be, kind};
use super::log::{Log, refused};
use crate::device::redirected::Origin;
use crate::error::Result;
use crate::extent::{Extent, ExtentMap};
use std::collections::{BTreeMap, HashMap};

/// More descriptor and revoke blocks than this are not replayed: 12 MiB of memory.
const ENTRIES_MAX: usize = 1 << 20;
/// More blocks than this are not redirected: 64 MiB of memory.
const BLOCKS_MAX: usize = 1 << 21;
/// More blocks than this are not revoked: 36 MiB of memory.
const REVOKED_MAX: usize = 1 << 20;

/// A descriptor or revoke block of a transaction that is committed.
#[derive(Clone, Copy)]
struct Entry {
    kind: BlockKind,
    block: LogBlock,
    /// How many transactions of the log come before its own one.
    transaction: u32,
}

/// The log of a journal, to be recovered.
pub(super) struct Recovery<'a> {
    log: Log<'a>,
    form: Form,
    /// The number of the first transaction.
    sequence: u32,
    /// Size of the volume that the blocks belong to.
    volume_bytes: u64,
}

/// What recovery comes to.
pub(super) struct Recovered {
    /// Where the last version of each block is, that the log has one of.
    pub(super) blocks: BTreeMap<u64, Origin>,
    /// How many transactions were committed.
    pub(super) transactions: u32,
}

/// What the first pass knows of the transaction that it reads.
struct Scan {
    entries: Vec<Entry>,
    /// Transactions that were committed so far.
    committed: u32,
    /// A checksum was wrong. The block is of an earlier time, or damaged.
    is_doubtful: bool,
    last_commit_seconds: u64,
    /// Checksum of the transaction's blocks, in version 1.
    crc: u32,
}

/// Whether the log goes on behind a block.
enum Next {
    Block,
    End,
}

impl<'a> Recovery<'a> {
    pub(super) const fn new(log: Log<'a>, form: Form, sequence: u32, volume_bytes: u64) -> Self {
        Self {
            log,
            form,
            sequence,
            volume_bytes,
        }
    }

    /// Recovers the log from its block `start` on.
    ///
    /// # Errors
    /// [`crate::Error::Unsupported`] where the kernel would not recover it, or where it is too large;
    /// [`crate::Error::Io`] when the device fails.
    pub(super) fn run(mut self, start: LogBlock) -> Result<Recovered> {
        let scan = self.scan(start)?;
        let mut entries = scan.entries;
        entries.retain(|entry| entry.transaction < scan.committed);
        let revoked = self.revoked(&entries)?;
        let own = self.log.extents().clone();
        let mut blocks = BTreeMap::new();
        let descriptors = entries.iter();
        for entry in descriptors.filter(|entry| entry.kind == BlockKind::Descriptor) {
            self.replay(*entry, &revoked, &own, &mut blocks)?;
        }
        Ok(Recovered {
            blocks,
            transactions: scan.committed,
        })
    }

    /// The number of a transaction. Numbers wrap around.
    const fn sequence(&self, transaction: u32) -> u32 {
        self.sequence.wrapping_add(transaction)
    }

    /// The first pass: where the log ends.
    fn scan(&mut self, start: LogBlock) -> Result<Scan> {
        let mut scan = Scan {
            entries: Vec::new(),
            committed: 0,
            is_doubtful: false,
            last_commit_seconds: 0,
            crc: !0,
        };
        let (mut block, mut left) = (start, self.log.blocks());
        while let Some(rest) = left.checked_sub(1) {
            let sequence = self.sequence(scan.committed);
            let raw = self.log.read(block)?;
            let Some(kind) = kind(raw, sequence) else {
                return Ok(scan);
            };
            let (mut logged, whole) = (0, self.form.is_whole(raw));
            match kind {
                BlockKind::Commit => match scan.commit(self.form, raw, sequence)? {
                    Next::Block => {}
                    Next::End => return Ok(scan),
                },
                BlockKind::Revoke => scan.is_doubtful |= !whole,
                BlockKind::Descriptor => {
                    scan.is_doubtful |= !whole;
                    // As many as fit a block, at most.
                    logged = self.form.tags(raw).len() as u32;
                    scan.crc = crc_of(self.form, scan.crc, raw);
                }
            }
            scan.note(kind, block)?;
            if logged > rest {
                break;
            }
            let first = self.log.after(block, 1);
            self.add_logged(&mut scan, first, logged)?;
            block = self.log.after(first, logged);
            left = rest - logged;
        }
        Err(refused("its log has no end"))
    }

    /// Adds logged blocks to the checksum of version 1.
    fn add_logged(&mut self, scan: &mut Scan, first: LogBlock, blocks: u32) -> Result<()> {
        if self.form.version() != ChecksumVersion::Commit {
            return Ok(());
        }
        for ahead in 0..blocks {
            let raw = self.log.read(self.log.after(first, ahead))?;
            scan.crc = crc_of(self.form, scan.crc, raw);
        }
        Ok(())
    }

    /// The second pass: the last transaction that revoked each block.
    fn revoked(&mut self, entries: &[Entry]) -> Result<HashMap<Block, u32>> {
        let mut revoked = HashMap::new();
        let blocks = entries.iter();
        for entry in blocks.filter(|entry| entry.kind == BlockKind::Revoke) {
            let raw = self.log.read(entry.block)?;
            let found = self.form.revoked(raw).ok_or_else(|| {
                let block = entry.block;
                refused(format!("block {block} of the log revokes more than it can"))
            })?;
            // Transactions come in order.
            revoked.extend(found.into_iter().map(|block| (block, entry.transaction)));
            if revoked.len() > REVOKED_MAX {
                return Err(refused(format!(
                    "it revokes more than {REVOKED_MAX} blocks"
                )));
            }
        }
        Ok(revoked)
    }

    /// The third pass, for one descriptor block.
    fn replay(
        &mut self,
        entry: Entry,
        revoked: &HashMap<Block, u32>,
        own: &ExtentMap,
        blocks: &mut BTreeMap<u64, Origin>,
    ) -> Result<()> {
        let tags = self.form.tags(self.log.read(entry.block)?);
        let mut from = entry.block;
        for tag in tags {
            from = self.log.after(from, 1);
            let is_revoked = |&by: &u32| by >= entry.transaction;
            if revoked.get(&tag.block).is_some_and(is_revoked) {
                continue;
            }
            self.check(&tag, from, entry.transaction, own)?;
            let origin = Origin {
                block: self.log.place(from)?.0,
                has_other_start: tag.is_escaped,
            };
            blocks.insert(tag.block.0, origin);
            if blocks.len() > BLOCKS_MAX {
                return Err(refused(format!("it has more than {BLOCKS_MAX} blocks")));
            }
        }
        Ok(())
    }

    /// Checks a logged block, and that it belongs to the volume and not into the log itself.
    fn check(
        &mut self,
        tag: &Tag,
        from: LogBlock,
        transaction: u32,
        own: &ExtentMap,
    ) -> Result<()> {
        let sequence = self.sequence(transaction);
        let raw = self.log.read(from)?;
        if !self.form.is_logged(tag, sequence, raw) {
            return Err(refused(format!(
                "block {from} of the log, of transaction {sequence}, fails its checksum"
            )));
        }
        let block_bytes = u64::from(self.log.block_bytes());
        let start_bytes = tag.block.0.checked_mul(block_bytes);
        let place = start_bytes.and_then(|start| Extent::new(start, block_bytes));
        let place = place.filter(|place| place.end_bytes() <= self.volume_bytes);
        match place {
            Some(place) if own.within(place).next().is_none() => Ok(()),
            Some(_) => Err(refused(format!(
                "transaction {sequence} has block {} of the volume, which is the journal's",
                tag.block
            ))),
            None => Err(refused(format!(
                "transaction {sequence} has block {}, which the volume does not have",
                tag.block
            ))),
        }
    }
}

impl Scan {
    fn note(&mut self, kind: BlockKind, block: LogBlock) -> Result<()> {
        if kind == BlockKind::Commit {
            return Ok(());
        }
        if self.entries.len() >= ENTRIES_MAX {
            return Err(refused(format!(
                "it has more than {ENTRIES_MAX} descriptors"
            )));
        }
        let transaction = self.committed;
        self.entries.push(Entry {
            kind,
            block,
            transaction,
        });
        Ok(())
    }

    /// A commit block of the transaction. What was there before in the log may have the number that
    /// comes next: then its time is an earlier one.
    fn commit(&mut self, form: Form, raw: &[u8], sequence: u32) -> Result<Next> {
        let seconds = commit_seconds(raw);
        let is_later = seconds >= self.last_commit_seconds;
        if self.is_doubtful {
            return match is_later {
                true => Err(refused(format!("transaction {sequence} fails a checksum"))),
                false => Ok(Next::End),
            };
        }
        let is_whole = match form.version() {
            ChecksumVersion::Commit => Form::is_committed(raw, self.crc),
            _ => form.is_whole_commit(raw),
        };
        if !is_whole {
            return match is_later && !form.is_async() {
                true => Err(refused(format!(
                    "the commit of transaction {sequence} fails its checksum"
                ))),
                false => Ok(Next::End),
            };
        }
        self.crc = !0;
        self.last_commit_seconds = seconds;
        self.committed = self.committed.saturating_add(1);
        Ok(Next::Block)
    }
}

/// The checksum of version 1, with one block more.
fn crc_of(form: Form, crc: u32, raw: &[u8]) -> u32 {
    match form.version() {
        ChecksumVersion::Commit => crc32_be(crc, raw),
        _ => crc,
    }
}
