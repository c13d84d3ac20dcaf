//! The fold over a walk's files: each is compared with what was kept of it when all of its runs are
//! known.

use super::areas::{Area, Excess};
use super::horizon::{Horizon, is_of_clock};
use super::identities::{Counted, Entry, IdentitiesError, IdentityWriter};
use super::mapping::Mapping;
use super::request::Walk;
use super::rule::{Guard, Rule};
use super::signatures::HEAD_BYTES;
use super::verdict::{Count, Largest, Previous, ReadWhole, Verdict, WalkError};
use klon_partition::filesystem::files::{
    File, FileIdentity, FileKind, FileRun, FileVisitor, Next, RunKind, Stamp,
};
use klon_partition::{Extent, ExtentMap};
use std::collections::BTreeMap;
use std::io::{Read, Write};

/// Runs that are held of one file: 8 MiB.
const RUNS_MAX: usize = 1 << 19;

/// A walk under way.
pub(super) struct Fold<'a, R, W> {
    rule: &'a Rule,
    is_cancelled: &'a dyn Fn() -> bool,
    block_bytes: u64,
    shares_blocks: bool,
    /// When the filesystem was made, where it says so: seconds since 1970.
    made: Option<u64>,
    previous: Option<Previous<'a, R>>,
    keep: IdentityWriter<W>,
    current: Option<Current>,
    last: Option<u64>,
    proven: Area,
    others: Area,
    written_past: Area,
    files: BTreeMap<Verdict, Count>,
    largest: Largest,
    stopped: Option<WalkError>,
}

/// What a walk came to.
pub(super) struct Folded<W> {
    pub(super) keep: IdentityWriter<W>,
    /// Blocks of unchanged files.
    pub(super) proven: ExtentMap,
    /// Blocks of all that can make those of others doubtful.
    pub(super) others: ExtentMap,
    /// Blocks of files that are written past the filesystem.
    pub(super) written_past: ExtentMap,
    pub(super) files: BTreeMap<Verdict, Count>,
    pub(super) largest: Largest,
}

/// A file that can be proven, as far as its runs were told.
struct Current {
    number: u64,
    identity: FileIdentity,
    /// Of a count that is kept, or of none; without, the file can't be compared.
    counted: Option<Option<Counted>>,
    changed: Stamp,
    made_seconds: Option<i64>,
    cluster_bytes: u64,
    end_bytes: u64,
    is_written_past: bool,
    has_signature: bool,
    mapping: Mapping,
    written: Vec<Extent>,
    written_bytes: u64,
}

impl<'a, R: Read, W: Write> Fold<'a, R, W> {
    /// A walk over a filesystem that was `made` then, if it says so.
    pub(super) fn new(
        of: Walk<'a>,
        made: Option<u64>,
        previous: Option<Previous<'a, R>>,
        keep: IdentityWriter<W>,
    ) -> Self {
        let block_bytes = of.filesystem.summary().block_size_bytes;
        Self {
            rule: of.rule,
            is_cancelled: of.is_cancelled,
            block_bytes: u64::from(block_bytes).max(1),
            shares_blocks: of.filesystem.shares_blocks(),
            made,
            previous,
            keep,
            current: None,
            last: None,
            proven: Area::new(Excess::Dropped),
            others: Area::new(Excess::Closed),
            written_past: Area::new(Excess::Closed),
            files: BTreeMap::new(),
            largest: Largest::default(),
            stopped: None,
        }
    }

    /// Ends it, after the last file.
    pub(super) fn finish(mut self) -> Result<Folded<W>, WalkError> {
        self.end_file();
        if let Some(error) = self.stopped {
            return Err(error);
        }
        if let Some(previous) = self.previous {
            previous.identities.read_to_end()?;
        }
        Ok(Folded {
            keep: self.keep,
            proven: self.proven.finish(),
            others: self.others.finish(),
            written_past: self.written_past.finish(),
            files: self.files,
            largest: self.largest,
        })
    }

    /// Whether anything can be proven of a file of this kind.
    fn can_be_proven(&self, file: &File<'_>) -> bool {
        let is_regular = file.kind == FileKind::Regular || !self.rule.has(Guard::Regular);
        // The walk tells files in this order, and what is kept of them relies on it.
        let ascends = self.last.is_none_or(|last| file.number > last);
        is_regular && ascends && (!file.is_internal || !self.rule.has(Guard::Internal))
    }

    fn begin_file(&mut self, file: &File<'_>) {
        let blocks = file.size_bytes.div_ceil(self.block_bytes);
        let end_bytes = blocks.saturating_mul(self.block_bytes);
        self.last = Some(file.number);
        self.current = Some(Current {
            number: file.number,
            identity: file.identity_without(&self.rule.also_volatile),
            counted: match file.changes {
                Some(changes) => Counted::of(changes).map(Some),
                None => Some(None),
            },
            changed: file.changed,
            made_seconds: file.made_seconds,
            cluster_bytes: file.cluster_bytes.max(1),
            end_bytes: end_bytes.min(file.contents_end_bytes),
            is_written_past: file.is_immutable && self.rule.has(Guard::Immutable)
                || file.is_unstamped && self.rule.has(Guard::Unstamped),
            has_signature: false,
            mapping: Mapping::new(),
            written: Vec::new(),
            written_bytes: 0,
        });
    }

    fn end_file(&mut self) {
        let Some(mut current) = self.current.take() else {
            return;
        };
        let written = std::mem::take(&mut current.written);
        let (written_bytes, cluster_bytes) = (current.written_bytes, current.cluster_bytes);
        let verdict = match self.judge(current, written.len()) {
            Ok(verdict) => verdict,
            Err(error) => {
                self.stopped = Some(error);
                return;
            }
        };
        let count = self.files.entry(verdict).or_default();
        count.files = count.files.saturating_add(1);
        count.bytes = count.bytes.saturating_add(written_bytes);
        if let Some(&extent) = written.first()
            && !matches!(verdict, Verdict::Unchanged | Verdict::Empty)
        {
            self.largest.add(ReadWhole {
                bytes: written_bytes,
                verdict,
                extent,
            });
        }
        let area = match verdict {
            Verdict::Unchanged => &mut self.proven,
            // Who writes past the filesystem writes to blocks that are shared, too.
            Verdict::WrittenPast => &mut self.written_past,
            // The filesystem does not: it takes a new block.
            _ if self.shares_blocks && verdict != Verdict::Scattered => return,
            _ => &mut self.others,
        };
        // Nobody else writes to the rest of a file's clusters. What of it was not written is in
        // `others`, and so is what lies behind the end.
        let grown = |extent| clusters(extent, cluster_bytes);
        let extents = written.into_iter().filter_map(grown);
        extents.for_each(|extent| area.push(extent));
    }

    /// Compares a file with what was kept of it, and keeps what it is now.
    fn judge(&mut self, current: Current, runs: usize) -> Result<Verdict, WalkError> {
        if current.is_written_past {
            return Ok(Verdict::WrittenPast);
        }
        if runs > RUNS_MAX {
            return Ok(Verdict::Scattered);
        }
        if current.written_bytes == 0 {
            return Ok(Verdict::Empty);
        }
        let Some(counted) = current.counted else {
            return Ok(Verdict::New);
        };
        let mapping = current.mapping.finish();
        let now = Entry {
            number: current.number,
            identity: current.identity,
            mapping: if self.rule.has(Guard::Mapping) {
                mapping
            } else {
                [0; 16]
            },
            counted,
        };
        self.keep.push(&now).map_err(WalkError::Keep)?;
        let then = self.then(current.number)?;
        if current.has_signature {
            return Ok(Verdict::WrittenPast);
        }
        let Some((then, horizon)) = then else {
            return Ok(Verdict::New);
        };
        let is_explained = match (then.counted, now.counted) {
            (Some(then), Some(now)) => then.is_explained(now),
            (then, now) => then == now,
        };
        let is_told = horizon.is_after(current.changed)
            && is_of_clock(current.changed, current.made_seconds, self.made);
        let is_racy = !is_told && self.rule.has(Guard::Horizon);
        Ok(match () {
            () if then.identity != now.identity => Verdict::Changed,
            () if !is_explained && self.rule.has(Guard::Changes) => Verdict::Changed,
            () if then.mapping != now.mapping => Verdict::Moved,
            () if is_racy => Verdict::Racy,
            () => Verdict::Unchanged,
        })
    }

    /// What was kept of a file, and the horizon of that run.
    fn then(&mut self, number: u64) -> Result<Option<(Entry, Horizon)>, IdentitiesError> {
        let Some(previous) = &mut self.previous else {
            return Ok(None);
        };
        let horizon = previous.identities.horizon();
        let entry = previous.identities.find(number)?;
        Ok(entry.map(|entry| (entry, horizon)))
    }
}

impl<R: Read, W: Write> FileVisitor for Fold<'_, R, W> {
    fn file(&mut self, file: &File<'_>) -> Next {
        self.end_file();
        if (self.is_cancelled)() {
            self.stopped = Some(WalkError::Interrupted);
        }
        if self.stopped.is_some() {
            return Next::Stop;
        }
        if self.can_be_proven(file) {
            self.begin_file(file);
        }
        Next::Continue
    }

    fn run(&mut self, _file: &File<'_>, run: &FileRun) -> Next {
        let rule = self.rule;
        let signatures = self.previous.as_ref().map(|previous| previous.signatures);
        let Some(current) = &mut self.current else {
            self.others.push(run.extent);
            return Next::Continue;
        };
        current.mapping.push(run, rule.has(Guard::State));
        let has_content = run.is_written || !rule.has(Guard::Written);
        if run.kind != RunKind::Contents || !has_content {
            self.others.push(run.extent);
            return Next::Continue;
        }
        let head_bytes = HEAD_BYTES.saturating_sub(run.file_offset_bytes);
        if let Some(head) = first(run.extent, head_bytes)
            && signatures.is_some_and(|signatures| signatures.overlaps(head))
            && rule.has(Guard::Signatures)
        {
            current.has_signature = true;
        }
        let left_bytes = match rule.has(Guard::End) {
            true => current.end_bytes.saturating_sub(run.file_offset_bytes),
            false => u64::MAX,
        };
        let before = first(run.extent, left_bytes);
        let end_bytes = before.map_or(run.extent.offset_bytes(), Extent::end_bytes);
        if let Some(behind) = Extent::between(end_bytes, run.extent.end_bytes()) {
            self.others.push(behind);
        }
        if let Some(before) = before {
            current.written_bytes = current.written_bytes.saturating_add(before.len_bytes());
            // One more than may be held shows that there are more.
            if current.written.len() <= RUNS_MAX {
                current.written.push(before);
            } else {
                self.others.push(before);
            }
        }
        Next::Continue
    }
}

/// The first `len_bytes` of an extent, as far as there are so many.
fn first(extent: Extent, len_bytes: u64) -> Option<Extent> {
    Extent::new(extent.offset_bytes(), len_bytes.min(extent.len_bytes()))
}

/// The clusters that an extent touches.
fn clusters(extent: Extent, cluster_bytes: u64) -> Option<Extent> {
    let start_bytes = extent.offset_bytes() / cluster_bytes * cluster_bytes;
    let ends = extent.end_bytes().div_ceil(cluster_bytes);
    Extent::between(start_bytes, ends.saturating_mul(cluster_bytes))
}
